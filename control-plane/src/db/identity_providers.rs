//! Issuers, as a tenant uses them.

use super::DbError;
use crate::domain::page::{Page, Part};
use attach_proto::{
    bundle::{Algorithm, ClaimMapping, IdentityProvider, JsonPointer},
    id::{IdentityProviderId, TenantId},
};
use sqlx::PgConnection;
use std::time::Duration;

struct Row {
    tenant_id: String,
    id: String,
    issuer: String,
    audiences: Vec<String>,
    algorithms: Vec<String>,
    jwks_url: Option<String>,
    clock_skew_ms: i32,
    user_claim: String,
    groups_claim: String,
    project_claim: String,
    forwarded_claims: Vec<String>,
}

impl TryFrom<Row> for IdentityProvider {
    type Error = DbError;

    fn try_from(row: Row) -> Result<Self, DbError> {
        let corrupt = || DbError::corrupt("identity_provider", &row.id);
        let pointer = |text: &str| JsonPointer::parse(text).ok_or_else(corrupt);
        let or = |text: &str, usual| pointer(if text.is_empty() { usual } else { text });
        let project = row.project_claim.as_str();
        Ok(Self {
            id: row.id.parse().map_err(|_| corrupt())?,
            tenant: row.tenant_id.parse().map_err(|_| corrupt())?,
            audiences: row.audiences,
            algorithms: row
                .algorithms
                .iter()
                .map(|name| Algorithm::from_name(name).ok_or_else(corrupt))
                .collect::<Result<_, _>>()?,
            jwks_url: row.jwks_url.as_deref().map(str::parse).transpose().map_err(|_| corrupt())?,
            clock_skew: u64::try_from(row.clock_skew_ms).map(Duration::from_millis).map_err(|_| corrupt())?,
            claims: ClaimMapping {
                user: or(&row.user_claim, "/sub")?,
                groups: or(&row.groups_claim, "/groups")?,
                project: if project.is_empty() { None } else { Some(pointer(project)?) },
                forwarded: row.forwarded_claims.iter().map(|text| pointer(text)).collect::<Result<_, _>>()?,
            },
            issuer: row.issuer,
        })
    }
}

/// In the order of their ids.
pub(crate) async fn list(
    connection: &mut PgConnection,
    tenant: &TenantId,
    page: &Page<String>,
) -> Result<Part<IdentityProvider>, DbError> {
    let rows = sqlx::query_as!(
        Row,
        r#"select tenant_id, id, issuer, algorithms, jwks_url, clock_skew_ms, user_claim, groups_claim, project_claim,
               forwarded_claims, array(
                   select audience from identity_audience audience
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
    let providers = rows.into_iter().map(IdentityProvider::try_from).collect::<Result<_, _>>()?;
    Ok(page.part(providers))
}

pub(crate) async fn find(
    connection: &mut PgConnection,
    tenant: &TenantId,
    id: &IdentityProviderId,
) -> Result<Option<IdentityProvider>, DbError> {
    let row = sqlx::query_as!(
        Row,
        r#"select tenant_id, id, issuer, algorithms, jwks_url, clock_skew_ms, user_claim, groups_claim, project_claim,
               forwarded_claims, array(
                   select audience from identity_audience audience
                   where audience.tenant_id = provider.tenant_id and audience.provider_id = provider.id
                   order by audience) as "audiences!"
           from identity_provider provider where tenant_id = $1 and id = $2"#,
        tenant.as_str(),
        id.as_str(),
    )
    .fetch_optional(connection)
    .await?;
    row.map(IdentityProvider::try_from).transpose()
}

/// Makes the provider, or replaces the one of its id, audiences and all.
pub(crate) async fn put(
    connection: &mut PgConnection,
    provider: &IdentityProvider,
    version: i64,
) -> Result<(), DbError> {
    let IdentityProvider { id, tenant, issuer, audiences, algorithms, jwks_url, clock_skew, claims } =
        provider;
    let algorithms: Vec<String> = algorithms.iter().map(|of| of.name().to_owned()).collect();
    let forwarded: Vec<String> = claims.forwarded.iter().map(|of| of.as_str().to_owned()).collect();
    // Those of another issuer would follow it to the new one.
    remove_audiences(&mut *connection, tenant, id).await?;
    sqlx::query!(
        "insert into identity_provider (tenant_id, id, issuer, algorithms, jwks_url, clock_skew_ms, user_claim,
             groups_claim, project_claim, forwarded_claims, version)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         on conflict (tenant_id, id) do update set
             issuer = excluded.issuer, algorithms = excluded.algorithms, jwks_url = excluded.jwks_url,
             clock_skew_ms = excluded.clock_skew_ms, user_claim = excluded.user_claim,
             groups_claim = excluded.groups_claim, project_claim = excluded.project_claim,
             forwarded_claims = excluded.forwarded_claims, version = excluded.version",
        tenant.as_str(),
        id.as_str(),
        issuer,
        &algorithms,
        jwks_url.as_ref().map(url::Url::as_str),
        i32::try_from(clock_skew.as_millis()).unwrap_or(i32::MAX),
        claims.user.as_str(),
        claims.groups.as_str(),
        claims.project.as_ref().map_or("", JsonPointer::as_str),
        &forwarded,
        version,
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "insert into identity_audience (tenant_id, provider_id, issuer, audience)
         select distinct $1, $2, $3, audience from unnest($4::text[]) audience",
        tenant.as_str(),
        id.as_str(),
        issuer,
        audiences,
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
