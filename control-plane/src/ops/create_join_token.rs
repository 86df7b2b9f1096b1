//! What a gateway joins a pool with. Its text is in the answer and nowhere else.

use super::OpError;
use crate::{
    db::{Database, DbError, audit, join_tokens},
    domain::{
        actor::Actor,
        secret::{self, random_text},
    },
};
use attach_proto::{
    id::PoolId,
    join_token::{ID_CHARACTERS, JoinToken, SECRET_CHARACTERS},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

/// Long enough to carry it to a host, short enough to forget.
pub const DEFAULT_LIFE: SignedDuration = SignedDuration::from_hours(1);

/// For machines that are set up over a weekend.
const LONGEST_LIFE: SignedDuration = SignedDuration::from_hours(7 * 24);

pub async fn create_join_token(
    db: &Database,
    actor: &Actor,
    authority_sha256: [u8; 32],
    pool: &PoolId,
    life: SignedDuration,
    now: Timestamp,
) -> Result<(JoinToken, Timestamp), OpError> {
    if !life.is_positive() || life > LONGEST_LIFE {
        return Err(OpError::Invalid {
            field: "expires_in",
            problem: "must be more than 0 and at most 7 days",
        });
    }
    let token =
        JoinToken::new(&random_text(ID_CHARACTERS)?, &random_text(SECRET_CHARACTERS)?, authority_sha256);
    let expires_at = now + life;
    let mut tx = db.operator().await?;
    let connection = tx.connection();
    join_tokens::insert(connection, token.id(), pool, &secret::sha256(token.as_str()), now, expires_at)
        .await
        .map_err(refused)?;
    let entry = audit::Entry {
        actor,
        tenant: None,
        action: "create_join_token",
        target: token.id(),
        detail: json!({ "pool": pool.as_str(), "expires_at": expires_at }),
    };
    audit::append(connection, entry).await?;
    tx.commit().await?;
    Ok((token, expires_at))
}

fn refused(error: DbError) -> OpError {
    match error {
        DbError::Conflict { .. } => OpError::NotFound("pool"),
        error @ (DbError::Full(_) | DbError::Unavailable(_) | DbError::Value(_) | DbError::Statement(_)) => {
            error.into()
        }
    }
}
