//! A token's claims, and the rules that they must keep before any key is looked for. Nothing here is verified yet.

use super::{
    excerpt::Excerpt,
    fault::IdentityFault,
    json::{JsonFault, parse_object},
};
use attach_proto::bundle::IdentityProvider;
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::time::Duration;

/// 9999-12-31T23:59:59Z: a later date is a mistake of units (milliseconds) or an attempt at "never".
const LAST_SECOND: f64 = 253_402_300_799.0;

/// Keycloak signs these with the key, and the header type, of its access tokens; its claim `typ` tells them apart.
const OTHER_KINDS: [(&str, &str); 5] = [
    ("ID", "an ID token"),
    ("Refresh", "a refresh token"),
    ("Offline", "a refresh token"),
    ("Logout", "a logout token"),
    ("DPoP", "a sender-constrained token"),
];

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

    /// The one of `providers` that the token is meant for.
    ///
    /// # Errors
    /// None, or more than one: then the tenant would depend on the order of the bundle.
    pub(super) fn audience<'a>(
        &self,
        providers: impl Iterator<Item = &'a IdentityProvider>,
    ) -> Result<&'a IdentityProvider, IdentityFault> {
        let audiences = self.audiences().ok_or(IdentityFault::MissingAudience)?;
        let shown = || Excerpt::of(&audiences.join(" "));
        let mut meant = providers
            .filter(|provider| audiences.iter().any(|&it| provider.audiences.iter().any(|a| a == it)));
        let provider = meant.next().ok_or_else(|| IdentityFault::WrongAudience(shown()))?;
        if meant.next().is_some() {
            return Err(IdentityFault::AmbiguousAudience(shown()));
        }
        Ok(provider)
    }

    /// `None` when absent, empty, or anything but a string or a list of strings: an empty list is no permission
    /// (Hydra sends one unless asked for more).
    pub(super) fn audiences(&self) -> Option<Vec<&str>> {
        let audiences = match self.get("aud")? {
            Value::String(one) => vec![one.as_str()],
            Value::Array(several) => several.iter().map(Value::as_str).collect::<Option<_>>()?,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => return None,
        };
        (!audiences.is_empty()).then_some(audiences)
    }

    /// Checks `exp`, `nbf` and `iat`, and returns the Unix time in milliseconds at which the token ends, the skew
    /// included.
    pub(super) fn check_times(&self, now: Timestamp, skew: Duration) -> Result<i64, IdentityFault> {
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
        if let Some(issued) = self.time("iat")?
            && issued > latest
        {
            return Err(IdentityFault::IssuedInFuture { claim: issued / 1000, now, skew });
        }
        Ok(ends)
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

    /// The token must be one that its bearer alone may use: an access token, bound to no key.
    pub(super) fn check_use(&self) -> Result<(), IdentityFault> {
        // RFC 7800; bound by DPoP (RFC 9449) or a client certificate (RFC 8705), it is nothing without the proof.
        if self.get("cnf").is_some() {
            return Err(IdentityFault::ConfirmationUnproven);
        }
        if let Some(found) = self.text("typ")
            && let Some((_, kind)) = OTHER_KINDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(found))
        {
            return Err(IdentityFault::NotAccessToken(kind));
        }
        // OpenID Connect Back-Channel Logout 1.0 section 2.4, for issuers that give it no type of its own.
        let logout = "http://schemas.openid.net/event/backchannel-logout";
        if self.get("events").is_some_and(|events| events.get(logout).is_some()) {
            return Err(IdentityFault::NotAccessToken("a logout token"));
        }
        Ok(())
    }

    /// The value at a pointer into the claims.
    pub(super) fn at(&self, pointer: &str) -> Option<&Value> {
        let mut names = pointer.strip_prefix('/')?.split('/').map(unescape);
        let first = self.0.get(&names.next()?)?;
        names.try_fold(first, |value, name| match value {
            Value::Object(members) => members.get(&name),
            Value::Array(elements) => elements.get(name.parse::<usize>().ok()?),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        })
    }
}

/// RFC 6901 section 4, in this order.
pub(super) fn unescape(name: &str) -> String {
    name.replace("~1", "/").replace("~0", "~")
}
