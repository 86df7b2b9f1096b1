//! The claims of a token, and whom they would make its bearer if its signature were right.

use super::{
    super::{
        claims::Claims,
        demands::{check_claims, check_scopes},
        excerpt::Excerpt,
        fault::IdentityFault,
        kind::check_kind,
        mapping::{check_subject, principal},
        meant,
        possession::binding,
        principal::Principal,
        token::Header,
    },
    assert_fit_for_a_log,
    written::object,
};
use crate::snapshot::Snapshot;
use attach_proto::{
    bundle::{Algorithm, Bundle, IdentityProvider, TokenType},
    v1,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::{sync::LazyLock, time::Duration};

/// 2027-01-15T08:00:00Z, in milliseconds.
const NOW: i64 = 1_800_000_000_000;

/// 9999-12-31T23:59:59Z.
const LAST_SECOND: f64 = 253_402_300_799.0;

/// One provider that asks for little, one for all that can be asked for, one of ID tokens, and two tenants of one application.
const BUNDLE: &str = r#"{
    "tenants": [{"id": "acme", "quotaStore": "local"}, {"id": "globex", "quotaStore": "local"}],
    "quotaStores": [{"id": "local", "local": {}}],
    "identityProviders": [
        {"id": "plain", "tenant": "acme", "issuer": "https://a.test", "audiences": ["api"]},
        {"id": "strict", "tenant": "acme", "issuer": "https://a.test", "audiences": ["strict"], "tokenTypes": ["TOKEN_TYPE_AT_JWT"],
         "clients": ["web"], "requiredClaims": [{"claim": "/email_verified", "anyOf": ["true"]}], "requiredScopes": ["chat"],
         "maxAge": "3600s", "proofs": ["PROOF_DPOP", "PROOF_CERTIFICATE"],
         "claims": {"groups": "/groups", "roles": "*/roles", "email": "/email", "forwarded": ["/email", "/groups/0"]}},
        {"id": "ids", "tenant": "acme", "issuer": "https://b.test/", "audiences": ["web"], "tokenTypes": ["TOKEN_TYPE_ID"]},
        {"id": "first", "tenant": "acme", "issuer": "https://c.test", "audiences": ["app"], "organisations": ["org_a"],
         "claims": {"organisation": "/org_id"}},
        {"id": "second", "tenant": "globex", "issuer": "https://c.test", "audiences": ["app"], "organisations": ["org_b"],
         "claims": {"organisation": "/org_id"}}
    ]
}"#;

static SNAPSHOT: LazyLock<Snapshot> = LazyLock::new(|| {
    let wire: v1::Bundle = serde_json::from_str(BUNDLE).unwrap();
    let bundle = Bundle::try_from(wire).unwrap();
    Snapshot::new(bundle, foldhash::HashMap::default())
});

pub fn claims(input: &[u8]) {
    let claims = Claims::parse(input);
    let members = object(input);
    assert_eq!(claims.as_ref().ok().map(Claims::members), members.as_ref());
    let claims = match claims {
        Ok(claims) => claims,
        Err(fault) => return assert_fit_for_a_log(&fault),
    };
    for (skew, max_age) in [(0, None), (60, None), (0, Some(600)), (60, Some(3600))] {
        assert_times(&claims, Duration::from_secs(skew), max_age.map(Duration::from_secs));
    }
    for is_at_jwt in [false, true] {
        let header = Header { algorithm: Algorithm::Rs256, key_id: None, is_at_jwt };
        match judged(&claims, &header) {
            Ok((provider, principal)) => assert_is_due(claims.members(), &header, provider, &principal),
            Err(fault) => assert_fit_for_a_log(&fault),
        }
    }
}

/// All that `verify` asks of the claims. The order does not matter here: what passes has passed everything.
fn judged(claims: &Claims, header: &Header) -> Result<(&'static IdentityProvider, Principal), IdentityFault> {
    let issuer = claims.issuer()?;
    let of_issuer = SNAPSHOT.of_issuer(issuer);
    let of_issuer = of_issuer.ok_or_else(|| IdentityFault::UnknownIssuer(Excerpt::of(issuer)))?;
    let provider = meant::provider(claims, of_issuer, &SNAPSHOT)?;
    claims.check_times(at(NOW).unwrap(), provider.clock_skew, provider.max_age)?;
    check_kind(claims, header, provider)?;
    check_claims(claims, provider)?;
    check_scopes(claims, provider)?;
    let bound_to = binding(claims, provider)?;
    check_subject(claims, provider)?;
    Ok((provider, Principal { bound_to, ..principal(claims, issuer, provider)? }))
}

fn at(milliseconds: i64) -> Option<Timestamp> {
    Timestamp::from_millisecond(milliseconds).ok()
}

/// A token that is good now is good until the moment that is told, and no longer.
fn assert_times(claims: &Claims, skew: Duration, max_age: Option<Duration>) {
    let ends = match claims.check_times(at(NOW).unwrap(), skew, max_age) {
        Ok(ends) => ends,
        Err(fault) => return assert_fit_for_a_log(&fault),
    };
    assert!(ends > NOW);
    if let (Some(last), Some(end)) = (at(ends - 1), at(ends)) {
        assert_eq!(claims.check_times(last, skew, max_age).ok(), Some(ends));
        assert!(claims.check_times(end, skew, max_age).is_err(), "it never ends");
    }
    let seconds = |name: &str| claims.members().get(name).map(|value| value.as_f64().unwrap_or(f64::NAN));
    for name in ["exp", "nbf", "iat"] {
        assert!(seconds(name).is_none_or(|time| (0.0..=LAST_SECOND).contains(&time)), "{name}");
    }
    let (now, ends, skew) = (NOW as f64 / 1000.0, ends as f64 / 1000.0, skew.as_secs_f64());
    assert!(seconds("exp").is_some_and(|end| ends <= end + skew), "it outlives its own end");
    for name in ["nbf", "iat"] {
        // A token's time is cut to milliseconds.
        assert!(seconds(name).is_none_or(|time| time <= now + skew + 0.001), "{name} lies ahead");
    }
    if let Some(age) = max_age {
        assert!(seconds("iat").is_some_and(|issued| ends <= issued + age.as_secs_f64() + skew), "too old");
    }
}

/// What a token must say for such a verdict, by the texts that define it.
fn assert_is_due(
    members: &Map<String, Value>,
    header: &Header,
    provider: &IdentityProvider,
    caller: &Principal,
) {
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let texts = |name: &str| match members.get(name) {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let issuer = text("iss").unwrap_or_default();
    assert_eq!(issuer.strip_suffix('/').unwrap_or(issuer), provider.issuer.trim_end_matches('/'));
    assert!(texts("aud").iter().any(|audience| provider.audiences.iter().any(|known| known == audience)));
    if !provider.organisations.is_empty() {
        let named = texts("org_id");
        let [ours, others] =
            if provider.id.as_str() == "first" { ["org_a", "org_b"] } else { ["org_b", "org_a"] };
        let is_named =
            |organisation| named.contains(&organisation) || members["org_id"].get(organisation).is_some();
        assert!(is_named(ours) && !is_named(others), "{named:?}");
    }
    assert_eq!((&caller.tenant, caller.issuer.as_deref()), (&provider.tenant, Some(issuer)));
    assert_eq!(Some(caller.subject.as_str()), text("sub"));
    assert!((1..=256).contains(&caller.subject.len()) && !caller.subject.chars().any(char::is_control));

    assert_is_of_a_kind(members, header, provider);
    assert_eq!(caller.bound_to.is_some(), members.contains_key("cnf"));
    assert!(caller.bound_to.is_none() || !provider.proofs.is_empty(), "bound to what is not checked");
    if provider.id.as_str() == "strict" {
        assert!(
            header.is_at_jwt
                && ["azp", "client_id", "cid", "appid"].iter().any(|name| text(name) == Some("web"))
        );
        assert!(caller.scopes.iter().any(|scope| scope == "chat"));
        let verified = &members["email_verified"];
        let is_true = |value: &Value| *value == true || *value == "true";
        assert!(is_true(verified) || verified.as_array().is_some_and(|all| all.iter().any(is_true)));
    }
    assert!(caller.groups.iter().all(|group| texts("groups").contains(&group.as_str())));
    if let Some(forwarded) = &caller.forwarded_claims {
        let seen = URL_SAFE_NO_PAD.decode(forwarded).unwrap_or_default();
        let seen: Map<String, Value> = serde_json::from_slice(&seen).unwrap();
        assert!(forwarded.len() <= 4096 && seen.keys().all(|name| name == "email" || name == "0"));
    }
}

/// No token of a kind that an issuer hands out beside access tokens.
fn assert_is_of_a_kind(members: &Map<String, Value>, header: &Header, provider: &IdentityProvider) {
    let has = |name: &str| members.contains_key(name);
    let is = |name: &str, value: &str| {
        members.get(name).and_then(Value::as_str).is_some_and(|found| found.eq_ignore_ascii_case(value))
    };
    assert!(!["refresh", "offline", "logout"].iter().any(|kind| is("typ", kind)), "{members:?}");
    assert!(!(has("htm") && has("htu")), "a proof of possession");
    let looks_like_id = ["at_hash", "c_hash", "s_hash"].iter().any(|name| has(name)) || is("typ", "id");
    if looks_like_id || members.get("token_use").is_some_and(|it| it == "id") {
        assert!(provider.token_types.contains(&TokenType::Id) && !header.is_at_jwt, "an ID token");
    }
    if header.is_at_jwt {
        assert!(provider.token_types.contains(&TokenType::AtJwt));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_provider_has_claims_that_lead_to_it() {
        let times = |issuer: &str, more: Value| {
            let mut claims = json!({"iss": issuer, "sub": "ada", "iat": NOW / 1000, "exp": NOW / 1000 + 300});
            claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            claims
        };
        let strict = json!({"aud": ["strict"], "azp": "web", "email_verified": true, "scope": "chat",
            "email": "ada@a.test", "groups": ["g"], "cnf": {"jkt": "k"}});
        for (id, is_at_jwt, claims) in [
            ("plain", false, times("https://a.test", json!({"aud": "api"}))),
            ("strict", true, times("https://a.test", strict)),
            ("ids", false, times("https://b.test/", json!({"aud": "web", "at_hash": "h"}))),
            ("first", true, times("https://c.test", json!({"aud": "app", "org_id": "org_a"}))),
            ("second", true, times("https://c.test/", json!({"aud": "app", "org_id": ["org_b"]}))),
        ] {
            let claims = Claims::parse(claims.to_string().as_bytes()).unwrap();
            let header = Header { algorithm: Algorithm::Rs256, key_id: None, is_at_jwt };
            let (provider, _) = judged(&claims, &header).unwrap_or_else(|fault| panic!("{id}: {fault}"));
            assert_eq!(provider.id.as_str(), id);
        }
    }
}
