//! Whether a login may serve: it must not be able to pass row-level security.

use sqlx::PgConnection;

/// The roles that transactions take; see `migrations/0001_foundation.sql`.
const ROLES: [&str; 4] = ["attach_app", "attach_operator", "attach_system", "attach_ingest"];

/// Why a login may not serve, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    #[error("the login {0} is a superuser, whom no policy holds; serve as another (DATABASE_URL)")]
    Superuser(String),
    #[error("the login {0} may bypass row-level security: alter role {0} nobypassrls")]
    BypassesPolicies(String),
    #[error(
        "the login {login} owns the table {table}; migrate as the owner (DATABASE_OWNER_URL), serve as another (DATABASE_URL)"
    )]
    Owner { login: String, table: String },
    #[error(
        "the login {login} inherits the role {role}, so its policies would always hold: alter role {login} noinherit"
    )]
    Inherits { login: String, role: &'static str },
    #[error(
        "the login {login} is no member of the role {role}: run `attach-control-plane migrate` with DATABASE_URL set"
    )]
    NoMember { login: String, role: &'static str },
    #[error("the login cannot be looked at")]
    Unknown(#[from] sqlx::Error),
}

pub(super) async fn check(connection: &mut PgConnection) -> Result<(), Unfit> {
    let role = sqlx::query!(
        r#"select rolname as "name!", rolsuper as "is_superuser!", rolbypassrls as "bypasses!"
           from pg_roles where rolname = current_user"#
    )
    .fetch_one(&mut *connection)
    .await?;
    let login = role.name;
    if role.is_superuser {
        return Err(Unfit::Superuser(login));
    }
    if role.bypasses {
        return Err(Unfit::BypassesPolicies(login));
    }
    let owned = sqlx::query_scalar!(
        r#"select relname::text as "name!" from pg_class
           where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')
               and pg_has_role(current_user, relowner, 'member')
           order by relname limit 1"#
    )
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(table) = owned {
        return Err(Unfit::Owner { login, table });
    }
    for role in ROLES {
        let has = sqlx::query!(
            r#"select pg_has_role(current_user, oid, 'member') as "member!", pg_has_role(current_user, oid, 'usage') as "inherits!"
               from pg_roles where rolname = $1"#,
            role
        )
        .fetch_optional(&mut *connection)
        .await?;
        match has {
            Some(has) if has.inherits => return Err(Unfit::Inherits { login, role }),
            Some(has) if has.member => {}
            Some(_) | None => return Err(Unfit::NoMember { login, role }),
        }
    }
    Ok(())
}

/// Makes a login a member of the roles.
pub(super) async fn admit(connection: &mut PgConnection, login: &str) -> sqlx::Result<()> {
    let quoted: String = sqlx::query_scalar!(r#"select quote_ident($1) as "quoted!""#, login)
        .fetch_one(&mut *connection)
        .await?;
    for statement in [
        format!("grant {} to {quoted}", ROLES.join(", ")),
        // To know at its start whether the schema is the one that it knows.
        format!("grant select on _sqlx_migrations to {quoted}"),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut *connection).await?;
    }
    Ok(())
}
