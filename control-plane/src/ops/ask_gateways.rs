//! Why a credential or a request of a tenant is refused, as its gateways say. What was asked is on record before anybody is
//! asked; of a credential its kind and a part of its hash, and never itself.

use super::OpError;
use crate::{
    db::{Database, audit, pools, tenants},
    domain::actor::Actor,
    questions::{Answers, Questions},
};
use attach_proto::{
    id::{PoolId, TenantId},
    question::{MAX_PASTED_BYTES, is_credential},
    v1::question::About,
};
use aws_lc_rs::digest::{SHA256, digest};
use serde_json::json;
use uuid::Uuid;

/// Of a credential's hash: enough to tell two of them apart, and of no use to who would guess one.
const HASH_BYTES: usize = 8;

/// What somebody wants explained.
#[derive(Debug)]
pub(crate) struct Asking {
    /// One of the two, and the other empty.
    pub(crate) credential: String,
    pub(crate) request_id: String,
}

pub(crate) async fn ask_gateways(
    db: &Database,
    actor: &Actor,
    tenant: &TenantId,
    asking: Asking,
    questions: &Questions,
) -> Result<Answers, OpError> {
    let (about, target) = about(asking)?;
    let mut tx = db.tenant(tenant.clone()).await?;
    let (connection, of) = tx.parts();
    tenants::find(connection, of).await?.ok_or(OpError::NotFound("tenant"))?;
    let members = pools::of_tenant(connection, of).await?;
    let pools: Vec<PoolId> = members.into_iter().map(|member| member.pool).collect();
    let entry =
        audit::Entry { actor, tenant: Some(of), action: "explain", target: &target, detail: json!({}) };
    audit::append(connection, entry).await?;
    tx.commit().await?;
    Ok(questions.ask(&pools, tenant, about).await)
}

/// What is asked, and what is written down of it.
fn about(asking: Asking) -> Result<(About, String), OpError> {
    let Asking { credential, request_id } = asking;
    let invalid = |field, problem| OpError::Invalid { field, problem };
    match (credential.trim(), request_id.trim()) {
        ("", "") => Err(invalid("credential", "is empty, and so is the request id: fill in one of the two")),
        (credential, "") if credential.len() > MAX_PASTED_BYTES => {
            Err(invalid("credential", "is longer than 32768 bytes, which no credential is"))
        }
        (credential, "") => {
            Ok((About::Credential(credential.to_owned()), format!("credential {}", hashed(credential))))
        }
        // It would be written down, and shown again.
        ("", id) if is_credential(id) => Err(invalid(
            "request_id",
            "is none: it has at most 128 letters, digits and -_.: and a token goes into the other field",
        )),
        // One that no gateway made may be a key of some other service.
        ("", id) => {
            let shown = if Uuid::try_parse(id).is_ok() { id.to_owned() } else { hashed(id) };
            Ok((About::RequestId(id.to_owned()), format!("request {shown}")))
        }
        (_, _) => Err(invalid("request_id", "is filled in beside a credential: ask about one at a time")),
    }
}

/// In the place of what must not be written down.
fn hashed(secret: &str) -> String {
    let hash = digest(&SHA256, secret.as_bytes());
    let hash: String = hash.as_ref().iter().take(HASH_BYTES).map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hash}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(credential: &str, request_id: &str) -> Result<(About, String), String> {
        let asking = Asking { credential: credential.to_owned(), request_id: request_id.to_owned() };
        about(asking).map_err(|error| error.to_string())
    }

    #[test]
    fn no_credential_is_taken_for_an_id_and_none_is_written_down() {
        let token = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2lnbmF0dXJl";
        let (about, target) = asked(&format!(" {token}\n"), "").unwrap();
        assert_eq!(about, About::Credential(token.to_owned()));
        assert!(target.starts_with("credential sha256:") && target.len() < 40, "{target}");
        let id = "01a201c8-ea96-764f-9759-26128ab71193";
        assert_eq!(asked("", &format!(" {id} ")).unwrap().1, format!("request {id}"));
        let (about, target) = asked("", "sk-other-0123456789").unwrap();
        assert_eq!(about, About::RequestId("sk-other-0123456789".to_owned()));
        assert!(target.starts_with("request sha256:") && target.len() < 40, "{target}");
        for (credential, request_id, problem) in [
            ("", "", "is empty"),
            (token, "refused-1", "one at a time"),
            ("", token, "goes into the other field"),
            ("", &format!("Bearer {token}"), "goes into the other field"),
            (&"x".repeat(MAX_PASTED_BYTES + 1), "", "no credential is"),
        ] {
            let error = asked(credential, request_id).unwrap_err();
            assert!(error.contains(problem) && !error.contains("eyJ"), "{error}");
        }
    }
}
