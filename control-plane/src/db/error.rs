//! Why the database did not do what it was asked.

use sqlx::error::ErrorKind;

/// Why an operation did not happen.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// Trying again may help.
    #[error("the database is not available")]
    Unavailable(#[source] sqlx::Error),
    /// Another row has it already, or what is referred to is not there; by the constraint's name.
    #[error("the constraint {constraint} does not allow it")]
    Conflict { constraint: String },
    /// A tenant's configuration would leave too little of a gateway's memory to that of others (migration 9).
    #[error("{0}")]
    Full(Full),
    /// A value that no column or index of it takes.
    #[error("the database can't keep a value")]
    Value(#[source] sqlx::Error),
    /// A fault of the program.
    #[error("the database refused a statement")]
    Statement(#[source] sqlx::Error),
}

/// What has no room for more configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    #[error(
        "the tenant has as much configuration as gateways take of one (16 MiB): remove some of its keys first"
    )]
    Tenant,
    #[error(
        "a pool of the tenant has as much configuration as gateways take (32 MiB): let another pool serve some of its \
         tenants"
    )]
    Pool,
}

impl Full {
    fn of_constraint(name: &str) -> Option<Self> {
        match name {
            "tenant_has_room" => Some(Self::Tenant),
            "pool_has_room" => Some(Self::Pool),
            _ => None,
        }
    }
}

impl DbError {
    /// A row that this program would not have written.
    pub(super) fn corrupt(table: &'static str, id: &str) -> Self {
        Self::Statement(sqlx::Error::Decode(format!("{table} {id} is not as it should be").into()))
    }
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        let constraint = error.as_database_error().and_then(|of_database| match of_database.kind() {
            ErrorKind::UniqueViolation
            | ErrorKind::ExclusionViolation
            | ErrorKind::ForeignKeyViolation
            | ErrorKind::CheckViolation => of_database.constraint().map(str::to_owned),
            ErrorKind::NotNullViolation | ErrorKind::Other => None,
            // What later versions of sqlx tell apart is no conflict that anybody here could name.
            _ => None,
        });
        match (constraint, &error) {
            (Some(constraint), _) => match Full::of_constraint(&constraint) {
                Some(full) => Self::Full(full),
                None => Self::Conflict { constraint },
            },
            (
                None,
                sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed,
            ) => Self::Unavailable(error),
            (None, sqlx::Error::Database(of_database)) => match of_database.code().as_deref() {
                Some(code) if is_passing(code) => Self::Unavailable(error),
                Some(code) if is_of_value(code) => Self::Value(error),
                Some(_) | None => Self::Statement(error),
            },
            (None, _) => Self::Statement(error),
        }
    }
}

/// Whether the same statement may succeed a moment later: connections that break, logins that are refused while a server
/// fails over, a server that stops, starts, only reads or has no room, locks that were not to be had in time, transactions
/// that stood in each other's way (appendix A of the manual of Postgres).
fn is_passing(code: &str) -> bool {
    matches!(code.get(..2), Some("08" | "28" | "3D" | "40" | "53" | "57"))
        || matches!(code, "25006" | "55P03")
}

/// Data exceptions, and limits of the database such as the size of an index row.
fn is_of_value(code: &str) -> bool {
    matches!(code.get(..2), Some("22" | "54"))
}
