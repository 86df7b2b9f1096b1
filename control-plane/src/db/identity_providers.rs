//! Issuers, as a tenant uses them: each kept as it was said, for the gateway to fill in the rest.

use super::DbError;
use crate::domain::page::{Page, Part};
use attach_proto::{
    id::{IdentityProviderId, TenantId},
    v1,
};
use serde_json::Value;
use sqlx::PgConnection;

/// A row, as [`message`] wants it.
pub(super) struct Row {
    pub(super) tenant_id: String,
    pub(super) id: String,
    pub(super) issuer: String,
    pub(super) audiences: Vec<String>,
    pub(super) settings: Value,
}

/// The message of the contract that a row is.
pub(super) fn message(row: Row) -> Result<v1::IdentityProvider, DbError> {
    let Row { tenant_id, id, issuer, audiences, settings } = row;
    let said: v1::IdentityProvider =
        serde_json::from_value(settings).map_err(|_| DbError::corrupt("identity_provider", &id))?;
    Ok(v1::IdentityProvider { id, tenant: tenant_id, issuer, audiences, ..said })
}

/// In the order of their ids.
pub(crate) async fn list(
    connection: &mut PgConnection,
    tenant: &TenantId,
    page: &Page<String>,
) -> Result<Part<v1::IdentityProvider>, DbError> {
    let rows = sqlx::query_as!(
        Row,
        r#"select tenant_id, id, issuer, settings, array(
                   select distinct audience from identity_audience audience
                   where audience.tenant_id = provider.tenant_id and audience.provider_id = provider.id
                   order by audience) as "audiences!"
           from identity_provider provider
           where tenant_id = $1 and ($2::text is null or id > $2) order by id limit $3"#,
        tenant.as_str(),
        page.after.as_deref(),
        page.rows(),
    )
    .fetch_all(connection)
    .await?;
    let providers = rows.into_iter().map(message).collect::<Result<_, _>>()?;
    Ok(page.part(providers))
}

pub(crate) async fn find(
    connection: &mut PgConnection,
    tenant: &TenantId,
    id: &IdentityProviderId,
) -> Result<Option<v1::IdentityProvider>, DbError> {
    let row = sqlx::query_as!(
        Row,
        r#"select tenant_id, id, issuer, settings, array(
                   select distinct audience from identity_audience audience
                   where audience.tenant_id = provider.tenant_id and audience.provider_id = provider.id
                   order by audience) as "audiences!"
           from identity_provider provider where tenant_id = $1 and id = $2"#,
        tenant.as_str(),
        id.as_str(),
    )
    .fetch_optional(connection)
    .await?;
    row.map(message).transpose()
}

/// The other providers, of any tenant, that share an audience of its issuer; without keys of their own.
pub(crate) async fn sharing(
    connection: &mut PgConnection,
    tenant: &TenantId,
    id: &IdentityProviderId,
    issuer: &str,
    audiences: &[String],
) -> Result<Vec<v1::IdentityProvider>, DbError> {
    let rows = sqlx::query_as!(
        Row,
        r#"select tenant_id, id, issuer, settings - 'jwks' as "settings!", $4::text[] as "audiences!"
           from identity_provider
           where (tenant_id, id) <> ($1, $2) and (tenant_id, id) in (
               select taken.tenant_id, taken.provider_id
               from unnest($4::text[]) wanted join identity_audience taken
                   on point_of(rtrim(taken.issuer, '/') || ' ' || taken.audience)
                       && point_of(rtrim($3, '/') || ' ' || wanted))"#,
        tenant.as_str(),
        id.as_str(),
        issuer,
        audiences,
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(message).collect()
}

/// Makes the provider, or replaces the one of its id, audiences and all.
pub(crate) async fn put(
    connection: &mut PgConnection,
    tenant: &TenantId,
    id: &IdentityProviderId,
    provider: v1::IdentityProvider,
    version: i64,
) -> Result<(), DbError> {
    let v1::IdentityProvider { issuer, audiences, .. } = &provider;
    let (issuer, audiences) = (issuer.clone(), audiences.clone());
    let organisations =
        if provider.organisations.is_empty() { vec![String::new()] } else { provider.organisations.clone() };
    let said = v1::IdentityProvider {
        id: String::new(),
        tenant: String::new(),
        issuer: String::new(),
        audiences: Vec::new(),
        ..provider
    };
    let settings =
        serde_json::to_value(said).map_err(|_| DbError::corrupt("identity_provider", id.as_str()))?;
    // Those of another issuer would follow it to the new one.
    remove_audiences(&mut *connection, tenant, id).await?;
    sqlx::query!(
        "insert into identity_provider (tenant_id, id, issuer, settings, version) values ($1, $2, $3, $4, $5)
         on conflict (tenant_id, id) do update set
             issuer = excluded.issuer, settings = excluded.settings, version = excluded.version",
        tenant.as_str(),
        id.as_str(),
        issuer,
        settings,
        version,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "insert into identity_audience (tenant_id, provider_id, issuer, audience, organisation)
         select distinct $1, $2, $3, audience, organisation
         from unnest($4::text[]) audience, unnest($5::text[]) organisation",
        tenant.as_str(),
        id.as_str(),
        issuer,
        &audiences,
        &organisations,
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn remove_audiences(
    connection: &mut PgConnection,
    tenant: &TenantId,
    id: &IdentityProviderId,
) -> Result<(), DbError> {
    sqlx::query!(
        "delete from identity_audience where tenant_id = $1 and provider_id = $2",
        tenant.as_str(),
        id.as_str()
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether there was such a provider.
pub(crate) async fn remove(
    connection: &mut PgConnection,
    tenant: &TenantId,
    id: &IdentityProviderId,
) -> Result<bool, DbError> {
    let removed = sqlx::query!(
        "delete from identity_provider where tenant_id = $1 and id = $2",
        tenant.as_str(),
        id.as_str()
    )
    .execute(connection)
    .await?;
    Ok(removed.rows_affected() > 0)
}
