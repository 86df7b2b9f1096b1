//! An issuer whose tokens a tenant's callers present, new or changed.

use super::OpError;
use crate::{
    db::{Database, DbError, audit, heads, identity_providers, pools},
    domain::actor::Actor,
};
use attach_proto::bundle::{IdentityProvider, JsonPointer};
use serde_json::json;

pub async fn set_identity_provider(
    db: &Database,
    actor: &Actor,
    provider: &IdentityProvider,
) -> Result<(), OpError> {
    let mut tx = db.tenant(provider.tenant.clone()).await?;
    let (connection, tenant) = tx.parts();
    let version = heads::next_config(connection).await?;
    identity_providers::put(connection, provider, version).await.map_err(refused)?;
    pools::touch_those_of(connection, tenant, version).await?;
    let algorithms: Vec<_> = provider.algorithms.iter().map(|of| of.name()).collect();
    let entry = audit::Entry {
        actor,
        tenant: Some(tenant),
        action: "set_identity_provider",
        target: provider.id.as_str(),
        detail: json!({
            "issuer": provider.issuer,
            "audiences": provider.audiences,
            "algorithms": algorithms,
            "jwks_url": provider.jwks_url.as_ref().map(|url| url.as_str()),
            "clock_skew_ms": u64::try_from(provider.clock_skew.as_millis()).ok(),
            "user_claim": provider.claims.user.as_str(),
            "groups_claim": provider.claims.groups.as_str(),
            "project_claim": provider.claims.project.as_ref().map(JsonPointer::as_str),
        }),
    };
    audit::append(connection, entry).await?;
    Ok(tx.commit().await?)
}

fn refused(error: DbError) -> OpError {
    match error {
        DbError::Conflict { constraint } => match constraint.as_str() {
            "identity_provider_tenant_id_fkey" => OpError::NotFound("tenant"),
            "identity_audience_leads_to_one_tenant" => OpError::Invalid {
                field: "audiences",
                problem: "has one that is taken: an issuer and audience lead to exactly one identity provider",
            },
            "identity_audience_audience_check" => {
                OpError::Invalid { field: "audiences", problem: "has an empty one" }
            }
            _ => OpError::Invalid { field: "clock_skew_ms", problem: "must be at most 10 minutes" },
        },
        error @ (DbError::Unavailable(_) | DbError::Value(_) | DbError::Statement(_)) => error.into(),
    }
}
