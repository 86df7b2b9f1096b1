//! Join tokens: what a gateway joins with.

use super::{
    extract::{Body, Name, Named, Operator, Params},
    paging::{List, Paging},
    problem::Problem,
};
use crate::{
    db::fleet,
    domain::fleet::JoinTokenRecord,
    ops::{JOIN_TOKEN_LIFE, create_join_token, revoke_join_token},
    state::App,
};
use attach_proto::id::InvalidId;
use axum::{Json, extract::State, http::StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::str::FromStr;
use utoipa::ToSchema;

/// The part of a token that is no secret.
pub(crate) struct JoinTokenId(String);

impl FromStr for JoinTokenId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        // It has the form of any id.
        text.parse::<attach_proto::id::KeyId>().map(|id| Self(id.into()))
    }
}

impl Name for JoinTokenId {
    const NOUN: &'static str = "join token";
}

/// Without its text, which nobody keeps.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JoinToken {
    id: String,
    pool: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    used_at: Option<Timestamp>,
    /// Who joined with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<Timestamp>,
}

impl From<JoinTokenRecord> for JoinToken {
    fn from(token: JoinTokenRecord) -> Self {
        let JoinTokenRecord { id, pool, created_at, expires_at, used_at, agent, revoked_at } = token;
        Self { id, pool: pool.into(), created_at, expires_at, used_at, agent, revoked_at }
    }
}

#[utoipa::path(get, path = "/join-tokens", operation_id = "list_join_tokens", tag = "Agents", params(Paging),
    responses((status = 200, body = List<JoinToken>)))]
pub(super) async fn list(
    _: Operator,
    State(app): State<App>,
    Params(paging): Params<Paging>,
) -> Result<Json<List<JoinToken>>, Problem> {
    let page = paging.page()?;
    let mut tx = app.db.operator().await?;
    let part = fleet::join_tokens(tx.connection(), &page).await?;
    Ok(Json(List::new(part, |token| token.id.clone(), JoinToken::from)))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewJoinToken {
    /// What the gateway joins.
    pool: String,
    /// 1 to 604800 (7 days); an hour without a word.
    expires_in_seconds: Option<u32>,
}

/// The only answer that has the token itself.
#[derive(Serialize, ToSchema)]
pub(crate) struct CreatedJoinToken {
    id: String,
    pool: String,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// Good for one gateway. It is kept nowhere: note it now.
    secret: String,
    /// The line to paste on the GPU host, token included.
    command: String,
}

#[utoipa::path(post, path = "/join-tokens", operation_id = "create_join_token", tag = "Agents",
    request_body = NewJoinToken, responses((status = 201, body = CreatedJoinToken)))]
pub(super) async fn create(
    Operator(actor): Operator,
    State(app): State<App>,
    Body(new): Body<NewJoinToken>,
) -> Result<(StatusCode, Json<CreatedJoinToken>), Problem> {
    let pool = new.pool.parse().map_err(|error| Problem::field("/pool", format!("{error}")))?;
    let life =
        new.expires_in_seconds.map_or(JOIN_TOKEN_LIFE, |seconds| SignedDuration::from_secs(seconds.into()));
    let names = [("/expires_in", "/expires_in_seconds")];
    let now = app.clock.now();
    let (token, expires_at) = create_join_token(&app.db, &actor, app.authority_sha256, &pool, life, now)
        .await
        .map_err(|error| Problem::of_op(error, &names))?;
    let created = CreatedJoinToken {
        id: token.id().to_owned(),
        pool: pool.into(),
        expires_at,
        command: app.join_line(&token),
        secret: token.as_str().to_owned(),
    };
    Ok((StatusCode::CREATED, Json(created)))
}

/// The end of a token that nobody has used.
#[utoipa::path(post, path = "/join-tokens/{id}/revoke", operation_id = "revoke_join_token", tag = "Agents",
    params(("id" = String, Path)), responses((status = 204)))]
pub(super) async fn revoke(
    Operator(actor): Operator,
    State(app): State<App>,
    Named(id): Named<JoinTokenId>,
) -> Result<StatusCode, Problem> {
    revoke_join_token(&app.db, &actor, &id.0).await?;
    Ok(StatusCode::NO_CONTENT)
}
