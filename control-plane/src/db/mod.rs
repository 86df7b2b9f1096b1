//! All SQL, and the only ways to run it.
//!
//! Nothing is read or written outside a transaction, and each transaction takes one role: [`TenantTx`] sees one tenant,
//! [`OperatorTx`] all of them. Row-level security holds them to it; each query of a tenant names the tenant as well, so
//! that either lock alone is enough.

pub(crate) mod access_rules;
pub(crate) mod agents;
pub(crate) mod alarms;
pub(crate) mod api_keys;
pub(crate) mod audit;
pub(crate) mod authorities;
pub(crate) mod configuration;
pub(crate) mod consumption;
mod error;
pub(crate) mod fleet;
pub(crate) mod heads;
pub(crate) mod identity_providers;
pub(crate) mod issuer_key_sets;
pub(crate) mod issuer_keys;
pub(crate) mod join_tokens;
pub(crate) mod limits;
pub(crate) mod models;
pub(crate) mod operator_tokens;
pub(crate) mod pools;
pub(crate) mod quota_stores;
pub(crate) mod routes;
mod serving_role;
pub(crate) mod sign_in;
pub(crate) mod tenants;
pub(crate) mod usage;

pub use error::{DbError, Full};
pub use serving_role::Unfit;

use attach_proto::id::{PoolId, TenantId};
use sqlx::{
    Connection as _, PgConnection, PgPool, Postgres, Transaction,
    migrate::{MigrateError, Migrator},
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};
use std::{io, str::FromStr, time::Duration};

pub(crate) static MIGRATOR: Migrator = sqlx::migrate!("../migrations");

/// Connections of one replica, for people, configuration and agents. Each is held for a few statements, so these serve some
/// hundred calls a second.
const MAX_CONNECTIONS: u32 = 16;

/// Connections that usage comes in by: what gateways send at once after an outage must not keep a revocation waiting.
const MAX_INGEST_CONNECTIONS: u32 = 8;

/// How long a request waits for a connection before it is told that the database is busy.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Beyond this a statement is out of order, and whoever waits for it has left. `lock_timeout` is shorter, so that what waits
/// for a lock says so.
const STATEMENT_TIMEOUT: &str = "20s";
const LOCK_TIMEOUT: &str = "10s";

/// How long anything waits for all its statements together: a server that hangs answers nothing, not even that it is late.
const PATIENCE: Duration = Duration::from_secs(25);

/// How long a look at readiness waits: below the second that balancers usually give it.
const PING_PATIENCE: Duration = Duration::from_millis(800);

/// Why the control plane does not start with this database.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("is no address of a database, such as postgres://login@host/name")]
    Address(#[source] sqlx::Error),
    #[error("DATABASE_DIRECT_URL is no address of a database, such as postgres://login@host/name")]
    Direct(#[source] sqlx::Error),
    #[error("cannot connect to {place}; is Postgres running there, and is the login one of its own?")]
    Connect { place: String, source: sqlx::Error },
    #[error("the database refused a statement")]
    Statement(#[source] sqlx::Error),
    #[error(transparent)]
    Unfit(#[from] Unfit),
    #[error(
        "the schema is older than this program (at {found:?}, needs {needed}): run `attach-control-plane migrate`"
    )]
    OlderSchema { found: Option<i64>, needed: i64 },
    #[error(
        "the schema is newer than this program ({found}, this one knows {known}): use the program that wrote it"
    )]
    NewerSchema { found: i64, known: i64 },
    #[error("the migrations failed")]
    Migrate(#[from] MigrateError),
}

/// The database, as the serving role.
#[derive(Debug, Clone)]
pub struct Database {
    pool: PgPool,
    ingest: PgPool,
    /// Of one connection, which is not to go through a pooler: it would be another session each time.
    direct: PgPool,
}

/// Sees and changes one tenant.
pub struct TenantTx {
    transaction: Transaction<'static, Postgres>,
    tenant: TenantId,
}

/// Sees and changes all.
pub struct OperatorTx(Transaction<'static, Postgres>);

/// Sees all, and changes what agents say of themselves.
pub(crate) struct SystemTx(Transaction<'static, Postgres>);

/// Takes in usage from the agents of one pool.
pub(crate) struct IngestTx(Transaction<'static, Postgres>);

impl Database {
    /// Connects, and makes sure that the login can see no more than the role of each transaction, and that the schema is
    /// the one that this program knows.
    ///
    /// # Errors
    /// Whatever stands against serving, in words for the operator.
    pub async fn open(url: &str) -> Result<Self, OpenError> {
        Self::open_with(url, None).await
    }

    /// As [`open`](Self::open); changes are listened for at another address, past a pooler.
    pub async fn open_with(url: &str, direct_url: Option<&str>) -> Result<Self, OpenError> {
        let options = PgConnectOptions::from_str(url).map_err(OpenError::Address)?;
        let options = options.application_name("attach-control-plane");
        // Without the pool, which tries again until its time is up and then tells of nothing but that.
        let mut connection = connect(&options).await?;
        serving_role::check(&mut connection).await?;
        check_schema(&mut connection).await?;
        let pool = |connections, options: &PgConnectOptions| {
            let pool = PgPoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE_TIMEOUT);
            pool.connect_lazy_with(options.clone())
        };
        let direct = direct_url.map(PgConnectOptions::from_str).transpose().map_err(OpenError::Direct)?;
        Ok(Self {
            pool: pool(MAX_CONNECTIONS, &options),
            ingest: pool(MAX_INGEST_CONNECTIONS, &options),
            direct: pool(1, &direct.unwrap_or(options)),
        })
    }

    /// Whether the database answers now.
    pub async fn is_reachable(&self) -> bool {
        let answer = async {
            let mut connection = self.pool.acquire().await.ok()?;
            sqlx::Connection::ping(&mut *connection).await.ok()
        };
        tokio::time::timeout(PING_PATIENCE, answer).await.is_ok_and(|answer| answer.is_some())
    }

    pub async fn tenant(&self, tenant: TenantId) -> Result<TenantTx, DbError> {
        let mut transaction = self.pool.begin().await?;
        take_role(&mut transaction, "attach_app", tenant.as_str()).await?;
        Ok(TenantTx { transaction, tenant })
    }

    pub async fn operator(&self) -> Result<OperatorTx, DbError> {
        let mut transaction = self.pool.begin().await?;
        take_role(&mut transaction, "attach_operator", "").await?;
        Ok(OperatorTx(transaction))
    }

    pub(crate) async fn system(&self) -> Result<SystemTx, DbError> {
        self.system_with("begin").await
    }

    /// Of one moment, however many statements look at it.
    pub(crate) async fn snapshot(&self) -> Result<SystemTx, DbError> {
        self.system_with("begin isolation level repeatable read, read only").await
    }

    async fn system_with(&self, begin: &'static str) -> Result<SystemTx, DbError> {
        let mut transaction = self.pool.begin_with(begin).await?;
        take_role(&mut transaction, "attach_system", "").await?;
        Ok(SystemTx(transaction))
    }

    pub(crate) async fn ingest(&self, pool: &PoolId) -> Result<IngestTx, DbError> {
        let mut transaction = self.ingest.begin().await?;
        sqlx::query!(
            "select set_config('role', 'attach_ingest', true) as role, set_config('attach.pool', $1, true) as pool,
                 set_config('statement_timeout', $2, true) as statement, set_config('lock_timeout', $3, true) as lock",
            pool.as_str(),
            STATEMENT_TIMEOUT,
            LOCK_TIMEOUT,
        )
        .fetch_one(&mut *transaction)
        .await?;
        Ok(IngestTx(transaction))
    }

    /// A connection of its own that hears of configuration changes.
    pub(crate) async fn listen(&self) -> Result<PgListener, DbError> {
        let mut listener = PgListener::connect_with(&self.direct).await?;
        listener.listen(heads::CONFIG_CHANNEL).await?;
        Ok(listener)
    }
}

/// What does not come to its end in time is told as a database that is not available.
pub(crate) async fn in_time<T, E: From<DbError>>(work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let late = || DbError::Unavailable(sqlx::Error::Io(io::ErrorKind::TimedOut.into()));
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(late().into()))
}

/// Brings the schema up to this program's, as the owner, and lets a login serve.
pub async fn migrate(owner_url: &str, serving_login: Option<&str>) -> Result<(), OpenError> {
    let options = PgConnectOptions::from_str(owner_url).map_err(OpenError::Address)?;
    let mut connection = connect(&options).await?;
    MIGRATOR.run(&mut connection).await?;
    sqlx::query!("call make_usage_partitions()")
        .execute(&mut connection)
        .await
        .map_err(OpenError::Statement)?;
    if let Some(login) = serving_login {
        serving_role::admit(&mut connection, login).await.map_err(OpenError::Statement)?;
    }
    Ok(())
}

async fn connect(options: &PgConnectOptions) -> Result<PgConnection, OpenError> {
    let place = || match options.get_socket() {
        Some(folder) => folder.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    };
    PgConnection::connect_with(options).await.map_err(|source| OpenError::Connect { place: place(), source })
}

/// An id as it is kept; the table's check holds it to the same form.
fn stored_id<I: FromStr>(text: &str) -> Result<I, DbError> {
    text.parse().map_err(|_| {
        DbError::Statement(sqlx::Error::Decode(format!("{text:?} stands where an id is").into()))
    })
}

async fn take_role(connection: &mut PgConnection, role: &str, tenant: &str) -> Result<(), DbError> {
    sqlx::query!(
        "select set_config('role', $1, true) as role, set_config('attach.tenant', $2, true) as tenant,
             set_config('statement_timeout', $3, true) as statement, set_config('lock_timeout', $4, true) as lock",
        role,
        tenant,
        STATEMENT_TIMEOUT,
        LOCK_TIMEOUT,
    )
    .fetch_one(connection)
    .await?;
    Ok(())
}

async fn check_schema(connection: &mut PgConnection) -> Result<(), OpenError> {
    let known = MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or(0);
    // The table is sqlx's own; before the first migration it is not there.
    let found: Option<i64> =
        match sqlx::query_scalar("select max(version) from _sqlx_migrations where success")
            .fetch_one(connection)
            .await
        {
            Ok(found) => found,
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42P01") => None,
            Err(error) => return Err(OpenError::Statement(error)),
        };
    match found {
        Some(found) if found == known => Ok(()),
        Some(found) if found > known => Err(OpenError::NewerSchema { found, known }),
        found => Err(OpenError::OlderSchema { found, needed: known }),
    }
}

impl TenantTx {
    pub(crate) fn parts(&mut self) -> (&mut PgConnection, &TenantId) {
        (&mut self.transaction, &self.tenant)
    }

    /// For a moment with other eyes: those that see what other tenants have.
    pub(crate) async fn look(&mut self) -> Result<&mut PgConnection, DbError> {
        take_role(&mut self.transaction, "attach_system", "").await?;
        Ok(&mut self.transaction)
    }

    pub(crate) async fn look_away(&mut self) -> Result<(), DbError> {
        take_role(&mut self.transaction, "attach_app", self.tenant.as_str()).await
    }

    pub async fn commit(self) -> Result<(), DbError> {
        Ok(self.transaction.commit().await?)
    }
}

impl SystemTx {
    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        &mut self.0
    }

    pub(crate) async fn commit(self) -> Result<(), DbError> {
        Ok(self.0.commit().await?)
    }
}

impl IngestTx {
    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        &mut self.0
    }

    /// For a moment with other eyes: those of the role that reads events.
    pub(crate) async fn look(&mut self) -> Result<&mut PgConnection, DbError> {
        take_role(&mut self.0, "attach_system", "").await?;
        Ok(&mut self.0)
    }

    pub(crate) async fn look_away(&mut self) -> Result<(), DbError> {
        take_role(&mut self.0, "attach_ingest", "").await
    }

    pub(crate) async fn commit(self) -> Result<(), DbError> {
        Ok(self.0.commit().await?)
    }
}

impl OperatorTx {
    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        &mut self.0
    }

    pub async fn commit(self) -> Result<(), DbError> {
        Ok(self.0.commit().await?)
    }
}
