//! A token's claims, and the rules that they must keep before any key is looked for. Nothing here is verified yet.

use super::{
    excerpt::Excerpt,
    fault::IdentityFault,
    json::{JsonFault, parse_object},
};
use attach_proto::bundle::ClaimPath;
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::time::Duration;

/// 9999-12-31T23:59:59Z: a later date is a mistake of units (milliseconds) or an attempt at "never".
const LAST_SECOND: f64 = 253_402_300_799.0;

#[derive(Debug)]
pub(super) struct Claims(Map<String, Value>);

impl Claims {
    pub(super) fn parse(json: &[u8]) -> Result<Self, IdentityFault> {
        parse_object(json).map(Self).map_err(|fault| match fault {
            JsonFault::Duplicate(name) => IdentityFault::ClaimDuplicate(Excerpt::of(&name)),
            JsonFault::NotJson | JsonFault::NotAnObject => IdentityFault::ClaimsNotJson,
        })
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str)
    }

    pub(super) fn issuer(&self) -> Result<&str, IdentityFault> {
        self.text("iss").ok_or(IdentityFault::MissingIssuer)
    }

    pub(super) fn members(&self) -> &Map<String, Value> {
        &self.0
    }

    /// The texts at a place that may have one or several: a string, a list of strings, or an object named by them.
    /// `None` for anything else, and for a list with anything else in it.
    pub(super) fn texts(&self, path: &ClaimPath) -> Option<Vec<&str>> {
        match path.look_up(&self.0)? {
            Value::String(one) => Some(vec![one]),
            Value::Array(several) => several.iter().map(Value::as_str).collect(),
            Value::Object(named) => Some(named.keys().map(String::as_str).collect()),
            Value::Null | Value::Bool(_) | Value::Number(_) => None,
        }
    }

    /// What the token was granted: `scope` as RFC 8693 section 4.2 writes it, and `scp` as Okta, Entra ID and Hydra do.
    pub(super) fn scopes(&self) -> impl Iterator<Item = &str> {
        let listed =
            |name| self.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let written = |name| self.text(name).unwrap_or_default().split_ascii_whitespace();
        written("scope").chain(written("scp")).chain(listed("scope")).chain(listed("scp"))
    }

    /// Checks `exp`, `nbf` and `iat`, and returns the Unix time in milliseconds at which the token ends, the skew
    /// included. With a `max_age`, it ends by its `iat` too.
    pub(super) fn check_times(
        &self,
        now: Timestamp,
        skew: Duration,
        max_age: Option<Duration>,
    ) -> Result<i64, IdentityFault> {
        let now_ms = now.as_millisecond();
        let skew_ms = i64::try_from(skew.as_millis()).unwrap_or(i64::MAX);
        let expiry = self.time("exp")?.ok_or(IdentityFault::MissingExpiry)?;
        let ends = expiry.saturating_add(skew_ms);
        if ends <= now_ms {
            return Err(IdentityFault::Expired { claim: expiry / 1000, now, skew });
        }
        let latest = now_ms.saturating_add(skew_ms);
        if let Some(not_before) = self.time("nbf")?
            && not_before > latest
        {
            return Err(IdentityFault::NotYetValid { claim: not_before / 1000, now, skew });
        }
        let issued = self.time("iat")?;
        if let Some(issued) = issued.filter(|issued| *issued > latest) {
            return Err(IdentityFault::IssuedInFuture { claim: issued / 1000, now, skew });
        }
        let Some(max_age) = max_age else { return Ok(ends) };
        let issued = issued.ok_or(IdentityFault::MissingIssueTime)?;
        let oldest = i64::try_from(max_age.as_millis()).unwrap_or(i64::MAX);
        let too_old = issued.saturating_add(oldest).saturating_add(skew_ms);
        if too_old <= now_ms {
            return Err(IdentityFault::TooOld { claim: issued / 1000, now, max_age });
        }
        Ok(ends.min(too_old))
    }

    /// Milliseconds. A date may have a fraction (RFC 7519 section 2, `NumericDate`).
    #[expect(clippy::cast_possible_truncation, reason = "in range: the line above checks it")]
    pub(super) fn time(&self, name: &'static str) -> Result<Option<i64>, IdentityFault> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        match value.as_f64() {
            Some(seconds) if (0.0..=LAST_SECOND).contains(&seconds) => Ok(Some((seconds * 1000.0) as i64)),
            Some(_) | None => Err(IdentityFault::BadTime(name)),
        }
    }
}
