//! What handlers take from a request, each refused with a problem that names what is wrong.

use super::problem::Problem;
use crate::{auth::operator_of, domain::actor::Actor, state::App};
use attach_proto::id::{
    AccessRuleId, AgentId, IdentityProviderId, KeyId, LimitId, ModelName, PoolId, TenantId,
};
use axum::{
    body::to_bytes,
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{HeaderMap, header, request::Parts},
};
use serde::de::{DeserializeOwned, IgnoredAny};
use std::str::FromStr;

/// The largest body; a hundred times what any has.
pub(crate) const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Whoever has the operator's token.
pub(crate) struct Operator(pub(crate) Actor);

impl FromRequestParts<App> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        Ok(Self(operator_of(&parts.headers, &app.db).await?))
    }
}

/// Ids of a path. What can't be one is the id of nothing.
pub(crate) struct Named<T>(pub(crate) T);

pub(crate) trait Name: FromStr {
    const NOUN: &'static str;
}

macro_rules! names {
    ($($name:ident: $noun:literal),* $(,)?) => {
        $(impl Name for $name {
            const NOUN: &'static str = $noun;
        })*
    };
}

names! {
    TenantId: "tenant", PoolId: "pool", KeyId: "key", LimitId: "limit", AccessRuleId: "access rule",
    IdentityProviderId: "identity provider", ModelName: "model", AgentId: "agent",
}

fn named<T: Name>(text: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| Problem::not_found(T::NOUN))
}

impl<S: Send + Sync, T: Name> FromRequestParts<S> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(text) = path.map_err(|_| Problem::not_found(T::NOUN))?;
        Ok(Self(named(&text)?))
    }
}

impl<S: Send + Sync, T: Name, U: Name> FromRequestParts<S> for Named<(T, U)> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<(String, String)>::from_request_parts(parts, state).await;
        let Path((first, second)) = path.map_err(|_| Problem::not_found(U::NOUN))?;
        Ok(Self((named(&first)?, named(&second)?)))
    }
}

/// The parameters behind the question mark. Unknown ones are refused: a mistyped filter must not be left out unseen.
pub(crate) struct Params<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = Query::<T>::try_from_uri(&parts.uri);
        // The library's error says what failed, and its cause which parameter and why.
        let cause = |error: &dyn std::error::Error| error.source().map(ToString::to_string);
        let Query(params) = query.map_err(|error| {
            let why = cause(&error).unwrap_or_else(|| error.to_string());
            Problem::malformed(format!("The query can't be read: {why}."))
        })?;
        Ok(Self(params))
    }
}

/// A JSON body.
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::not_json());
        }
        let bytes = to_bytes(request.into_body(), MAX_BODY_BYTES).await.map_err(|error| {
            let is_too_large = std::error::Error::source(&error)
                .is_some_and(|cause| cause.is::<http_body_util::LengthLimitError>());
            if is_too_large {
                Problem::too_large(MAX_BODY_BYTES)
            } else {
                Problem::malformed("The body broke off.")
            }
        })?;
        parse(&bytes).map(Self)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    media_type.is_some_and(|text| {
        let essence = text.split(';').next().unwrap_or(text).trim();
        essence.eq_ignore_ascii_case("application/json")
    })
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let inner = error.inner();
        let pointer = pointer_of(error.path());
        if inner.is_data() {
            return data_problem(&pointer, &inner.to_string());
        }
        // Where a word is to be, the library takes a number or a list for bad JSON.
        if serde_json::from_slice::<IgnoredAny>(bytes).is_ok() {
            return Problem::field(pointer, "is not of the type that it has to be");
        }
        Problem::malformed(format!("The body is not JSON: {inner}."))
    })?;
    json.end().map_err(|_| Problem::malformed("The body goes on after its JSON value."))?;
    // Postgres keeps no such text, and no name has it.
    if has_nul(bytes) {
        return Err(Problem::malformed("The body has the character U+0000 in a text."));
    }
    Ok(value)
}

/// As it is written in JSON: as itself it may not stand in a text. Behind an even number of backslashes it is no escape.
fn has_nul(json: &[u8]) -> bool {
    let mut backslashes = 0_usize;
    json.iter().enumerate().any(|(index, byte)| {
        if *byte == b'\\' {
            backslashes += 1;
            return false;
        }
        let is_escaped = std::mem::take(&mut backslashes) % 2 == 1;
        is_escaped && json.get(index..).is_some_and(|rest| rest.starts_with(b"u0000"))
    })
}

/// What is missing is named in the message; the path ends above it.
fn data_problem(parent: &str, message: &str) -> Problem {
    // The place in the text is of no use to whoever has the pointer.
    let message = message.split(" at line ").next().unwrap_or(message);
    let named = |beginning: &str| {
        let rest = message.strip_prefix(beginning)?.strip_prefix(" `")?;
        rest.split_once('`').map(|(name, _)| name)
    };
    if let Some(name) = named("missing field") {
        return Problem::field(format!("{parent}/{name}"), "is missing");
    }
    if let Some(name) = named("unknown field") {
        let known = message.split_once("expected").map_or("", |(_, known)| known);
        return Problem::field(parent, format!("`{name}` is not known here; expected{known}"));
    }
    Problem::field(parent, message)
}

fn pointer_of(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => {
                pointer.push_str(&format!("/{}", key.replace('~', "~0").replace('/', "~1")));
            }
            Segment::Enum { variant } => pointer.push_str(&format!("/{variant}")),
            Segment::Unknown => {}
        }
    }
    pointer
}
