//! `v1::DidPolicy` to [`DidPolicy`], and what the policies of all tenants must keep together.

use super::{Invalid, identity_provider::MAX_URL_BYTES, positive_duration};
use crate::{
    bundle::Tenant,
    did::{AllowedDids, Did, DidPolicy, InvalidDid},
    v1,
};
use std::collections::HashMap;
use url::Url;

/// Stands for whoever proves a DID.
const ANY: &str = "*";

/// A tenant travels as one message of at most a megabyte; a `did:key` has 57 bytes, and the longest DID 512.
const MAX_ALLOWED: usize = 1_500;

/// Names of one gateway, and domains of its front ends. Each is an entry of every index for each DID.
const MAX_NAMES: usize = 16;

pub(super) fn convert(wire: v1::DidPolicy) -> Result<DidPolicy, Invalid> {
    let v1::DidPolicy { allowed, audiences, max_lifetime, one_time, web, domains } = wire;
    let allowed = allowed_dids(&allowed, web)?;
    if audiences.is_empty() {
        return Err(Invalid::new("audiences", "needs at least one, which the callers' tokens name in `aud`"));
    }
    let audiences = names(audiences, "audiences")?;
    let domains = if domains.is_empty() {
        audiences.iter().filter_map(|audience| authority(audience)).collect()
    } else {
        for (index, domain) in domains.iter().enumerate() {
            if authority(&format!("https://{domain}")).as_ref() != Some(domain) {
                let problem = format!("{domain:?} is no host in lower case with an optional port");
                return Err(Invalid::new(format!("domains[{index}]"), problem));
            }
        }
        names(domains, "domains")?
    };
    let max_lifetime =
        positive_duration(max_lifetime, "max_lifetime")?.unwrap_or(DidPolicy::DEFAULT_MAX_LIFETIME);
    if max_lifetime > DidPolicy::LONGEST_LIFETIME {
        return Err(Invalid::new("max_lifetime", "must be at most 24h: a proof cannot be revoked alone"));
    }
    Ok(DidPolicy { allowed, audiences, max_lifetime, one_time, domains })
}

fn allowed_dids(texts: &[String], web: bool) -> Result<AllowedDids, Invalid> {
    if texts.is_empty() {
        return Err(Invalid::new(
            "allowed",
            "needs at least one DID, or \"*\" for all that prove themselves",
        ));
    }
    if texts.len() > MAX_ALLOWED {
        return Err(Invalid::new("allowed", format!("has {} DIDs, more than {MAX_ALLOWED}", texts.len())));
    }
    let mut allowed = AllowedDids::default();
    for (index, text) in texts.iter().enumerate() {
        let invalid = |problem: String| Invalid::new(format!("allowed[{index}]"), problem);
        if text == ANY {
            allowed.any = true;
            continue;
        }
        let did: Did = text.parse().map_err(|error: InvalidDid| invalid(format!("{text:?} {error}")))?;
        if did.is_web() && !web {
            return Err(invalid(format!("{text:?} is of the web, and `web` is off; write `web: true`")));
        }
        allowed.listed.insert(did);
    }
    Ok(allowed)
}

impl From<&DidPolicy> for v1::DidPolicy {
    fn from(policy: &DidPolicy) -> Self {
        let DidPolicy { allowed, audiences, max_lifetime, one_time, domains } = policy;
        let any = allowed.any.then(|| ANY.to_owned());
        Self {
            allowed: any.into_iter().chain(allowed.listed.iter().map(ToString::to_string)).collect(),
            audiences: audiences.clone(),
            max_lifetime: Some(super::duration(*max_lifetime)),
            one_time: *one_time,
            web: allowed.listed.iter().any(Did::is_web),
            domains: domains.clone(),
        }
    }
}

/// Bounded, none empty; one that is written twice counts once.
fn names(texts: Vec<String>, field: &str) -> Result<Vec<String>, Invalid> {
    if texts.len() > MAX_NAMES {
        return Err(Invalid::new(field, format!("has {} entries, more than {MAX_NAMES}", texts.len())));
    }
    let mut names: Vec<String> = Vec::with_capacity(texts.len());
    for (index, text) in texts.into_iter().enumerate() {
        if text.is_empty() || text.len() > MAX_URL_BYTES {
            let problem = format!("must have between 1 and {MAX_URL_BYTES} bytes");
            return Err(Invalid::new(format!("{field}[{index}]"), problem));
        }
        if !names.contains(&text) {
            names.push(text);
        }
    }
    Ok(names)
}

/// Host and port, when it is a URL of the web.
fn authority(text: &str) -> Option<String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "https" | "http"))?;
    let host = url.host_str()?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

impl DidPolicy {
    /// Whether there is a DID that may call by the same audience under both.
    pub fn overlaps(&self, other: &Self) -> bool {
        let has_audience = self.audiences.iter().any(|audience| other.audiences.contains(audience));
        let [mine, theirs] = [&self.allowed, &other.allowed];
        let has_did = (mine.any && theirs.any)
            || mine.listed.iter().any(|did| theirs.has(did))
            || theirs.listed.iter().any(|did| mine.has(did));
        has_audience && has_did
    }
}

/// One (audience, DID) must resolve to exactly one tenant, else the order of the bundle would decide who pays.
pub(super) fn check_disjoint(tenants: &[Tenant]) -> Result<(), Invalid> {
    /// Who may call by one audience: places in the list of tenants.
    #[derive(Default)]
    struct Claims<'a> {
        any: Option<usize>,
        /// The last that lists a DID that `*` stands for too.
        some: Option<usize>,
        listed: HashMap<&'a Did, usize>,
    }
    let mut seen: HashMap<&str, Claims<'_>> = HashMap::new();
    for (index, tenant) in tenants.iter().enumerate() {
        let Some(policy) = &tenant.did else { continue };
        for audience in &policy.audiences {
            let claims = seen.entry(audience).or_default();
            let taken = |by: usize, whom: &str| {
                let problem =
                    format!("{whom} may call for tenants[{by}] too, by the same audience {audience:?}");
                Err(Invalid::new(format!("tenants[{index}].did.allowed"), problem))
            };
            if policy.allowed.any
                && let Some(other) = claims.any.or(claims.some)
            {
                return taken(other, "a DID that \"*\" stands for");
            }
            for did in &policy.allowed.listed {
                if let Some(&other) = claims.listed.get(did).or(claims.any.as_ref().filter(|_| !did.is_web()))
                {
                    return taken(other, did.as_str());
                }
            }
            for did in &policy.allowed.listed {
                claims.listed.insert(did, index);
                if !did.is_web() {
                    claims.some = Some(index);
                }
            }
            if policy.allowed.any {
                claims.any = Some(index);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::Bundle;

    const ALICE: &str = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp";
    const BOB: &str = "did:pkh:eip155:1:0xb9c5714089478a327f09197987f16f9e5d936e8a";
    const WEB: &str = "did:web:example.com";

    fn policy(allowed: &[&str], audiences: &[&str]) -> v1::DidPolicy {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        v1::DidPolicy { allowed: texts(allowed), audiences: texts(audiences), ..Default::default() }
    }

    #[test]
    fn a_policy_in_few_words_has_the_usual_values() {
        let policy = convert(policy(&["*", ALICE], &["https://llm.example:8443/v1", "api"])).unwrap();
        assert!(policy.allowed.any && policy.allowed.listed.len() == 1);
        assert_eq!(policy.max_lifetime.as_secs(), 3600);
        assert_eq!(policy.domains, ["llm.example:8443"]);
        assert!(!policy.one_time);
    }

    #[test]
    fn a_policy_is_the_same_after_it_was_written_and_read_again() {
        let wire =
            v1::DidPolicy { web: true, one_time: true, ..policy(&["*", WEB, ALICE], &["https://a.test"]) };
        let policy = convert(wire).unwrap();
        assert_eq!(convert(v1::DidPolicy::from(&policy)), Ok(policy));
    }

    #[test]
    fn every_mistake_is_told_with_the_path_of_its_field() {
        let good = policy(&[ALICE], &["api"]);
        let hours = |hours: u64| Some(std::time::Duration::from_secs(hours * 3600).into());
        let many = (0..=MAX_ALLOWED).map(|_| ALICE.to_owned()).collect();
        for (wire, expected) in [
            (policy(&[], &["api"]), "allowed: needs at least one DID"),
            (policy(&[ALICE, "bob"], &["api"]), "allowed[1]: \"bob\" does not begin with did:"),
            (policy(&["did:key:zzz"], &["api"]), "allowed[0]"),
            (policy(&[WEB], &["api"]), "allowed[0]: \"did:web:example.com\" is of the web, and `web` is off"),
            (v1::DidPolicy { allowed: many, ..good.clone() }, "allowed: has 1501 DIDs"),
            (policy(&[ALICE], &[]), "audiences: needs at least one"),
            (policy(&[ALICE], &["api", ""]), "audiences[1]: must have between 1"),
            (policy(&[ALICE], &["a"; 17]), "audiences: has 17 entries"),
            (v1::DidPolicy { max_lifetime: hours(0), ..good.clone() }, "max_lifetime: must be more than 0s"),
            (v1::DidPolicy { max_lifetime: hours(25), ..good.clone() }, "max_lifetime: must be at most 24h"),
            (v1::DidPolicy { domains: vec!["https://a".to_owned()], ..good.clone() }, "domains[0]"),
            (v1::DidPolicy { domains: vec!["a.example/".to_owned()], ..good.clone() }, "domains[0]"),
            (v1::DidPolicy { domains: vec!["A.example".to_owned()], ..good.clone() }, "domains[0]"),
        ] {
            let error = convert(wire).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{expected}: {error}");
        }
        assert!(convert(v1::DidPolicy { web: true, ..policy(&[WEB], &["api"]) }).is_ok());
        assert!(convert(v1::DidPolicy { max_lifetime: hours(24), ..good }).is_ok());
    }

    /// Two tenants with these policies: `None` when the bundle is good.
    fn refused(first: v1::DidPolicy, second: v1::DidPolicy) -> Option<String> {
        let tenant = |id: &str, did| v1::Tenant {
            id: id.to_owned(),
            quota_store: "s".to_owned(),
            did: Some(v1::DidPolicy { web: true, ..did }),
            ..Default::default()
        };
        let local = v1::quota_store::Store::Local(v1::LocalStore {});
        let bundle = v1::Bundle {
            tenants: vec![tenant("acme", first), tenant("globex", second)],
            quota_stores: vec![v1::QuotaStore { id: "s".to_owned(), store: Some(local) }],
            ..Default::default()
        };
        Bundle::try_from(bundle).err().map(|error| error.to_string())
    }

    #[test]
    fn a_bundle_by_which_a_did_could_call_for_two_tenants_is_refused() {
        let upper = BOB.replace("0xb9c5", "0xB9C5");
        for (first, second, good) in [
            (policy(&[ALICE], &["a"]), policy(&[BOB], &["a"]), true),
            (policy(&[ALICE], &["a"]), policy(&[ALICE], &["b"]), true),
            (policy(&[ALICE], &["a"]), policy(&[ALICE], &["a"]), false),
            (policy(&[ALICE, BOB], &["b", "a"]), policy(&[BOB], &["a", "c"]), false),
            (policy(&[BOB], &["a"]), policy(&[&upper], &["a"]), false),
            (policy(&["*"], &["a"]), policy(&["*"], &["b"]), true),
            (policy(&["*"], &["a"]), policy(&["*"], &["a"]), false),
            (policy(&["*"], &["a"]), policy(&[ALICE], &["a"]), false),
            (policy(&[ALICE], &["a"]), policy(&["*"], &["a"]), false),
            (policy(&["*", ALICE], &["a", "a"]), policy(&[BOB], &["b"]), true),
            // `*` never stands for a did:web.
            (policy(&["*"], &["a"]), policy(&[WEB], &["a"]), true),
            (policy(&[WEB], &["a"]), policy(&["*"], &["a"]), true),
            (policy(&[WEB], &["a"]), policy(&["*", WEB], &["a"]), false),
        ] {
            let shown = format!("{first:?} {second:?}");
            let both = [&first, &second].map(|it| v1::DidPolicy { web: true, ..it.clone() });
            let [one, other] = both.map(|it| convert(it).unwrap());
            assert_eq!((one.overlaps(&other), other.overlaps(&one)), (!good, !good), "{shown}");
            let refusal = refused(first, second);
            assert_eq!(refusal.is_none(), good, "{shown}: {refusal:?}");
            if let Some(refusal) = refusal {
                assert!(refusal.starts_with("tenants[1].did.allowed: "), "{refusal}");
            }
        }
    }

    #[test]
    fn es256k_is_no_algorithm_of_an_identity_provider() {
        let wire = v1::IdentityProvider {
            id: "idp".to_owned(),
            tenant: "acme".to_owned(),
            issuer: "https://a.example".to_owned(),
            audiences: vec!["api".to_owned()],
            algorithms: vec!["ES256K".to_owned()],
            ..Default::default()
        };
        let error = crate::bundle::IdentityProvider::try_from(wire).unwrap_err();
        assert_eq!(error.path, "algorithms[0]");
    }
}
