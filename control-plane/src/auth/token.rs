//! The operator's token, as `Authorization: Bearer`.

use crate::{
    db::{Database, DbError, operator_tokens},
    domain::{actor::Actor, sign_in::SecretText},
};
use axum::http::{HeaderMap, header};

#[derive(Debug)]
pub(crate) enum TokenFault {
    Missing,
    /// Not a token, or one that is good no longer; nobody is told which.
    Refused,
    Db(DbError),
}

pub(crate) async fn operator_of(headers: &HeaderMap, db: &Database) -> Result<Actor, TokenFault> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Err(TokenFault::Missing) };
    let (scheme, token) =
        value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or(TokenFault::Missing)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(TokenFault::Missing);
    }
    let token = SecretText::presented(token.trim());
    let look_up = async {
        let mut tx = db.operator().await?;
        operator_tokens::good(tx.connection(), &token.sha256()).await
    };
    let id = look_up.await.map_err(TokenFault::Db)?.ok_or(TokenFault::Refused)?;
    Ok(Actor::of_token(&id))
}
