//! An issuer whose tokens a tenant's callers present, new or changed.

use super::OpError;
use crate::{
    db::{Database, DbError, TenantTx, audit, heads, identity_providers, pools},
    domain::actor::Actor,
};
use attach_issuer::key_set::KeySet;
use attach_proto::{
    Invalid,
    bundle::{IdentityProvider, KeySource},
    v1,
};
use serde_json::json;
use std::time::Duration;

/// The longest that a tenant may let clocks be apart: one that is further off is out of order.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(600);

/// Takes the provider as it was said, when it is one that a gateway can serve by.
pub async fn set_identity_provider(
    db: &Database,
    actor: &Actor,
    said: v1::IdentityProvider,
) -> Result<(), OpError> {
    let provider = IdentityProvider::try_from(said.clone())?;
    check(&provider)?;
    // As gateways write it, who ask for the keys that are there.
    let jwks_url = provider.jwks_url.as_ref().map(ToString::to_string).unwrap_or_default();
    let said = v1::IdentityProvider { jwks_url, ..said };
    let mut tx = db.tenant(provider.tenant.clone()).await?;
    let (connection, tenant) = tx.parts();
    let version = heads::next_config(connection).await?;
    let detail = json!({ "provider": said });
    identity_providers::put(connection, tenant, &provider.id, said, version).await.map_err(refused)?;
    pools::touch_those_of(connection, tenant, version).await?;
    let entry = audit::Entry {
        actor,
        tenant: Some(tenant),
        action: "set_identity_provider",
        target: provider.id.as_str(),
        detail,
    };
    audit::append(connection, entry).await?;
    check_sharing(&mut tx, &provider).await?;
    Ok(tx.commit().await?)
}

fn check(provider: &IdentityProvider) -> Result<(), OpError> {
    let IdentityProvider { clock_skew, jwks, key_source, .. } = provider;
    if *clock_skew > MAX_CLOCK_SKEW {
        return Err(OpError::Invalid { field: "clock_skew", problem: "must be at most 10 minutes" });
    }
    if jwks.is_some() && *key_source == KeySource::ControlPlane {
        let problem = "is the control plane, and jwks is given too: leave out one of them";
        return Err(OpError::Invalid { field: "key_source", problem });
    }
    if let Some(jwks) = jwks {
        KeySet::parse(jwks.as_bytes()).map_err(|fault| Invalid {
            path: "jwks".to_owned(),
            problem: format!("can't be used: {fault}"),
        })?;
    }
    Ok(())
}

/// Gateways refuse the whole configuration of a pool in which two providers disagree about whose a token is, so none is let
/// in that would. The head of the configuration is locked by now, so nobody else sets one meanwhile.
async fn check_sharing(tx: &mut TenantTx, provider: &IdentityProvider) -> Result<(), OpError> {
    let IdentityProvider { tenant, id, issuer, audiences, .. } = provider;
    let others = identity_providers::sharing(tx.look().await?, tenant, id, issuer, audiences).await?;
    tx.look_away().await?;
    let mut others = others.into_iter().flat_map(IdentityProvider::try_from);
    if others.any(|other| !provider.reads_organisations_as(&other)) {
        let problem = "and audience_claim must be those of the other providers with this issuer and audience";
        return Err(Invalid { path: "claims.organisation".to_owned(), problem: problem.to_owned() }.into());
    }
    Ok(())
}

fn refused(error: DbError) -> OpError {
    match error {
        DbError::Conflict { constraint } => match constraint.as_str() {
            "identity_provider_tenant_id_fkey" => OpError::NotFound("tenant"),
            "identity_audience_leads_to_one_tenant" => OpError::Invalid {
                field: "audiences",
                problem: "has one that is taken: an issuer and audience (with an organisation, where providers have \
                          them) lead to exactly one identity provider",
            },
            "identity_audience_audience_check" => {
                OpError::Invalid { field: "audiences", problem: "has an empty one" }
            }
            _ => OpError::Invalid { field: "settings", problem: "has more than a provider can have" },
        },
        error @ (DbError::Full(_) | DbError::Unavailable(_) | DbError::Value(_) | DbError::Statement(_)) => {
            error.into()
        }
    }
}
