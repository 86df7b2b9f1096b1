//! From the wire to the domain: the one place where a message becomes a [`Bundle`] or a [`UsageEvent`].
//!
//! Every error carries the path of the field as it is written in the file, such as `limits[2].window`.

mod api_key;
mod bundle;
mod did_policy;
mod identity_product;
mod identity_provider;
mod routes;
mod taken;
#[cfg(test)]
mod tests;
mod usage;

pub use taken::{FilledIn, Taken};

use crate::{bundle::Bundle, id::InvalidId, usage::UsageEvent};
use jiff::Timestamp;
use std::{fmt, str::FromStr, time::Duration};
use url::Url;

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// Path of the field, such as `keys[0].sha256`.
    pub path: String,
    /// A sentence without its subject, such as `must not be empty`.
    pub problem: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.problem)
    }
}

impl std::error::Error for Invalid {}

impl Invalid {
    fn new(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { path: path.into(), problem: problem.into() }
    }

    /// The same problem seen from one level up.
    fn below(self, parent: &str) -> Self {
        let path = if self.path.is_empty() { parent.to_owned() } else { format!("{parent}.{}", self.path) };
        Self { path, ..self }
    }
}

/// Converts each item; an error gets the item's place.
fn each<W, D>(
    items: Vec<W>,
    field: &str,
    convert: impl Fn(W) -> Result<D, Invalid>,
) -> Result<Vec<D>, Invalid> {
    items
        .into_iter()
        .enumerate()
        .map(|(index, item)| convert(item).map_err(|error| error.below(&format!("{field}[{index}]"))))
        .collect()
}

fn id<T: FromStr<Err = InvalidId>>(text: &str, field: &str) -> Result<T, Invalid> {
    text.parse().map_err(|error: InvalidId| Invalid::new(field, error.to_string()))
}

fn ids<T: FromStr<Err = InvalidId>>(texts: &[String], field: &str) -> Result<Vec<T>, Invalid> {
    texts.iter().enumerate().map(|(index, text)| id(text, &format!("{field}[{index}]"))).collect()
}

fn moment(wire: Option<pbjson_types::Timestamp>, field: &str) -> Result<Option<Timestamp>, Invalid> {
    let problem = |_| Invalid::new(field, "is not a moment between year -9999 and 9999");
    wire.map(|at| Timestamp::new(at.seconds, at.nanos).map_err(problem)).transpose()
}

fn address(text: &str, schemes: &[&str], field: &str) -> Result<Url, Invalid> {
    let problem = |why: String| {
        Invalid::new(
            field,
            format!("{text:?} {why}; write for example {}://host:port", schemes.join(":// or ")),
        )
    };
    let url = Url::parse(text).map_err(|error| problem(format!("is not a URL ({error})")))?;
    if !schemes.contains(&url.scheme()) {
        return Err(problem(format!("has the scheme {:?}", url.scheme())));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(problem("has no host".to_owned()));
    }
    Ok(url)
}

/// `None` stays `None`; anything negative, zero or beyond what a clock can add is an error.
fn positive_duration(wire: Option<pbjson_types::Duration>, field: &str) -> Result<Option<Duration>, Invalid> {
    /// A year is longer than any wait or window here, and far from overflowing any clock.
    const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);
    let Some(wire) = wire else { return Ok(None) };
    let seconds = u64::try_from(wire.seconds);
    let nanos = u32::try_from(wire.nanos);
    let (Ok(seconds), Ok(nanos)) = (seconds, nanos) else {
        return Err(Invalid::new(field, "must not be negative"));
    };
    let duration =
        Duration::from_secs(seconds.min(LONGEST.as_secs() + 1)) + Duration::from_nanos(nanos.into());
    if duration.is_zero() || duration > LONGEST {
        return Err(Invalid::new(field, "must be more than 0s and at most 366 days"));
    }
    Ok(Some(duration))
}

/// A length of time on the wire.
pub fn duration(duration: Duration) -> pbjson_types::Duration {
    pbjson_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or_default(),
    }
}

/// The enum value of a wire integer; a number that this version does not know is an error, never a default.
fn known<E: TryFrom<i32>>(value: i32, field: &str) -> Result<E, Invalid> {
    E::try_from(value).map_err(|_| Invalid::new(field, format!("{value} is not known to this version")))
}

impl TryFrom<crate::v1::Bundle> for Bundle {
    type Error = Invalid;

    fn try_from(wire: crate::v1::Bundle) -> Result<Self, Invalid> {
        bundle::convert(wire)
    }
}

/// For whoever has one of them alone; references to others are not looked at.
macro_rules! alone {
    ($($module:ident::$convert:ident: $name:ident),* $(,)?) => {
        $(impl TryFrom<crate::v1::$name> for crate::bundle::$name {
            type Error = Invalid;

            fn try_from(wire: crate::v1::$name) -> Result<Self, Invalid> {
                $module::$convert(wire)
            }
        })*
    };
}

alone! {
    bundle::tenant: Tenant,
    bundle::quota_store: QuotaStore,
    identity_provider::identity_provider: IdentityProvider,
    api_key::api_key: ApiKey,
    bundle::model: Model,
    bundle::limit: Limit,
    bundle::access_rule: AccessRule,
}

impl TryFrom<crate::v1::DidPolicy> for crate::did::DidPolicy {
    type Error = Invalid;

    fn try_from(wire: crate::v1::DidPolicy) -> Result<Self, Invalid> {
        did_policy::convert(wire)
    }
}

impl TryFrom<crate::v1::Routes> for crate::bundle::Routes {
    type Error = Invalid;

    fn try_from(wire: crate::v1::Routes) -> Result<Self, Invalid> {
        routes::convert(wire)
    }
}

impl TryFrom<crate::v1::UsageEvent> for UsageEvent {
    type Error = Invalid;

    fn try_from(wire: crate::v1::UsageEvent) -> Result<Self, Invalid> {
        usage::convert(wire)
    }
}
