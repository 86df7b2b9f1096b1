//! API keys.

use super::DbError;
use crate::domain::{
    api_key::ApiKey,
    key_scope::KeyScope,
    page::{Page, Part},
    word::Word as _,
};
use attach_proto::id::{KeyId, TenantId};
use jiff_sqlx::{Timestamp, ToSqlx as _};
use sqlx::PgConnection;

struct Row {
    id: String,
    name: String,
    owner: String,
    groups: Vec<String>,
    scopes: Vec<String>,
    models: Vec<String>,
    expires_at: Option<Timestamp>,
    created_at: Timestamp,
    revoked_at: Option<Timestamp>,
    previous_until: Option<Timestamp>,
    last_used_at: Option<Timestamp>,
}

impl TryFrom<Row> for ApiKey {
    type Error = DbError;

    fn try_from(row: Row) -> Result<Self, DbError> {
        let corrupt = || DbError::corrupt("api_key", &row.id);
        let scopes = row.scopes.iter().map(|name| KeyScope::from_name(name).ok_or_else(corrupt));
        let models = row.models.iter().map(|name| name.parse().map_err(|_| corrupt()));
        Ok(Self {
            id: row.id.parse().map_err(|_| corrupt())?,
            scopes: match scopes.collect::<Result<Vec<_>, _>>()? {
                none if none.is_empty() => KeyScope::USUAL.to_vec(),
                scopes => scopes,
            },
            models: models.collect::<Result<_, _>>()?,
            name: row.name,
            owner: row.owner,
            groups: row.groups,
            expires_at: row.expires_at.map(Timestamp::to_jiff),
            created_at: row.created_at.to_jiff(),
            revoked_at: row.revoked_at.map(Timestamp::to_jiff),
            previous_until: row.previous_until.map(Timestamp::to_jiff),
            last_used_at: row.last_used_at.map(Timestamp::to_jiff),
        })
    }
}

/// In the order of their ids.
pub(crate) async fn list(
    connection: &mut PgConnection,
    tenant: &TenantId,
    page: &Page<String>,
) -> Result<Part<ApiKey>, DbError> {
    let rows = sqlx::query_as!(
        Row,
        r#"select id, name, owner, groups, scopes, models, expires_at as "expires_at: Timestamp",
               created_at as "created_at: Timestamp", revoked_at as "revoked_at: Timestamp",
               previous_until as "previous_until: Timestamp",
               (select last_used_at from key_use
                where key_use.tenant_id = api_key.tenant_id and key_use.key_id = api_key.id)
                   as "last_used_at: Timestamp"
           from api_key where tenant_id = $1 and ($2::text is null or id > $2) order by id limit $3"#,
        tenant.as_str(),
        page.after.as_deref(),
        page.rows(),
    )
    .fetch_all(connection)
    .await?;
    let keys = rows.into_iter().map(ApiKey::try_from).collect::<Result<_, _>>()?;
    Ok(page.part(keys))
}

pub(crate) async fn find(
    connection: &mut PgConnection,
    tenant: &TenantId,
    id: &KeyId,
) -> Result<Option<ApiKey>, DbError> {
    let row = sqlx::query_as!(
        Row,
        r#"select id, name, owner, groups, scopes, models, expires_at as "expires_at: Timestamp",
               created_at as "created_at: Timestamp", revoked_at as "revoked_at: Timestamp",
               previous_until as "previous_until: Timestamp",
               (select last_used_at from key_use
                where key_use.tenant_id = api_key.tenant_id and key_use.key_id = api_key.id)
                   as "last_used_at: Timestamp"
           from api_key where tenant_id = $1 and id = $2"#,
        tenant.as_str(),
        id.as_str(),
    )
    .fetch_optional(connection)
    .await?;
    row.map(ApiKey::try_from).transpose()
}

pub(crate) async fn insert(
    connection: &mut PgConnection,
    tenant: &TenantId,
    key: &ApiKey,
    sha256: &[u8; 32],
    version: i64,
) -> Result<(), DbError> {
    let scopes: Vec<String> = key.scopes.iter().map(|scope| scope.name().to_owned()).collect();
    let models: Vec<String> = key.models.iter().map(ToString::to_string).collect();
    sqlx::query!(
        "insert into api_key (tenant_id, id, name, sha256, owner, groups, scopes, models, expires_at, created_at, version)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        tenant.as_str(),
        key.id.as_str(),
        key.name,
        &sha256[..],
        key.owner,
        &key.groups,
        &scopes,
        &models,
        key.expires_at.map(|at| at.to_sqlx()) as Option<Timestamp>,
        key.created_at.to_sqlx() as Timestamp,
        version,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether there was such a key that was good until now.
pub(crate) async fn revoke(
    connection: &mut PgConnection,
    tenant: &TenantId,
    id: &KeyId,
    version: i64,
) -> Result<bool, DbError> {
    let revoked = sqlx::query!(
        "update api_key set revoked_at = now(), version = $3 where tenant_id = $1 and id = $2 and revoked_at is null",
        tenant.as_str(),
        id.as_str(),
        version
    )
    .execute(connection)
    .await?;
    Ok(revoked.rows_affected() > 0)
}

/// `previous_until` is `None` when the secret before ends at once.
pub(crate) async fn rotate(
    connection: &mut PgConnection,
    tenant: &TenantId,
    id: &KeyId,
    sha256: &[u8; 32],
    previous_until: Option<jiff::Timestamp>,
    version: i64,
) -> Result<(), DbError> {
    sqlx::query!(
        "update api_key
         set previous_sha256 = case when $4::timestamptz is not null then sha256 end, previous_until = $4,
             sha256 = $3, version = $5
         where tenant_id = $1 and id = $2",
        tenant.as_str(),
        id.as_str(),
        &sha256[..],
        previous_until.map(|at| at.to_sqlx()) as Option<Timestamp>,
        version,
    )
    .execute(connection)
    .await?;
    Ok(())
}
