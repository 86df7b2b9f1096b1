//! From flags and environment to the `v1::Bundle` that they mean.

use super::{Environment, Problem, engine, managed};
use crate::cli::ServeArgs;
use attach_proto::v1;
use std::{path::PathBuf, time::Duration};

/// The limit that Attach Gateway sets when nobody says anything.
const DEFAULT_MAX_TOKENS_PER_MIN: u64 = 60_000;
const DEFAULT_WINDOW_SECONDS: i64 = 60;

/// Attach Gateway's words for "no limit".
const NO_LIMIT: &[&str] = &["", "null", "none", "false", "infinite"];

const DEFAULT_ID: &str = "default";

/// Where the bundle comes from.
#[derive(Debug, Clone)]
pub(crate) enum BundleOrigin {
    Local(Box<LocalOrigin>),
    /// The control plane that this gateway has joined; the engines are this host's.
    ControlPlane {
        upstreams: Vec<v1::Upstream>,
    },
}

/// A bundle of this host's own.
#[derive(Debug, Clone)]
pub(crate) enum LocalOrigin {
    /// A bundle file, with what the host declares where the file is silent.
    File { path: PathBuf, host: Host },
    /// Environment and flags; the keys of `KEYS_FILE` are added at each read.
    Expanded { bundle: v1::Bundle, keys_file: Option<PathBuf> },
}

/// What flags and environment say beside a bundle file.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    /// An upstream and a quota store, for a file that has none.
    bundle: v1::Bundle,
    /// The settings that they come from, where somebody meant them: `OLLAMA_HOST` is Ollama's own, and may be set anyway.
    upstream_setting: Option<&'static str>,
    store_setting: Option<&'static str>,
}

/// `None` when it can't be told; then `problems` has grown.
pub(super) fn origin(
    args: &ServeArgs,
    environment: &Environment,
    is_enrolled: bool,
    problems: &mut Vec<Problem>,
) -> Option<BundleOrigin> {
    let engine = engine::url(args, environment).unwrap_or_else(|problem| {
        problems.push(problem);
        String::new()
    });
    let upstream = v1::Upstream { id: "engine".to_owned(), url: engine, ..Default::default() };
    if is_enrolled {
        problems.extend(managed::refused(args, environment));
        return Some(BundleOrigin::ControlPlane { upstreams: vec![upstream] });
    }
    let store = quota_store(environment.get("REDIS_URL"));
    match &args.config {
        Some(path) => {
            for name in ["OIDC_ISSUER", "OIDC_AUD", "KEYS_FILE", "MAX_TOKENS_PER_MIN", "WINDOW"] {
                if environment.get(name).is_some() {
                    problems.push(Problem::new(
                        name,
                        "is set, and --config is given too; which of the two counts can't be told",
                        format!("Put it into {}, or unset it (it may stand in .env).", path.display()),
                    ));
                }
            }
            let host = Host {
                bundle: v1::Bundle {
                    upstreams: vec![upstream],
                    quota_stores: vec![store],
                    ..Default::default()
                },
                upstream_setting: (args.upstream.as_ref().map(|_| "--upstream"))
                    .or(environment.get("ENGINE_URL").map(|_| "ENGINE_URL")),
                store_setting: environment.get("REDIS_URL").map(|_| "REDIS_URL"),
            };
            Some(BundleOrigin::Local(Box::new(LocalOrigin::File { path: path.clone(), host })))
        }
        None => {
            let identity_provider = identity_provider(environment, problems);
            let keys_file = environment.get("KEYS_FILE").map(PathBuf::from);
            if identity_provider.is_none() && keys_file.is_none() && problems.is_empty() {
                problems.push(nobody_could_call());
            }
            let bundle = v1::Bundle {
                tenants: vec![v1::Tenant {
                    id: DEFAULT_ID.to_owned(),
                    quota_store: DEFAULT_ID.to_owned(),
                    ..Default::default()
                }],
                quota_stores: vec![store],
                identity_providers: identity_provider.into_iter().collect(),
                limits: token_limit(environment, problems).into_iter().collect(),
                upstreams: vec![upstream],
                ..Default::default()
            };
            Some(BundleOrigin::Local(Box::new(LocalOrigin::Expanded { bundle, keys_file })))
        }
    }
}

impl Host {
    /// Where nothing is set: a store in memory, and Ollama's default address.
    pub(crate) fn silent() -> Self {
        let upstream = v1::Upstream { url: engine::DEFAULT.to_owned(), ..Default::default() };
        let bundle = v1::Bundle {
            upstreams: vec![upstream],
            quota_stores: vec![quota_store(None)],
            ..Default::default()
        };
        Self { bundle, upstream_setting: None, store_setting: None }
    }

    /// The setting that says something else than the file, and the file's field.
    pub(crate) fn contradiction(&self, file: &v1::Bundle) -> Option<(&'static str, &'static str)> {
        let upstream = self.upstream_setting.filter(|_| !file.upstreams.is_empty());
        let store = self.store_setting.filter(|_| !file.quota_stores.is_empty());
        upstream.map(|it| (it, "upstreams")).or(store.map(|it| (it, "quota_stores")))
    }
}

/// Fills in what a file for one tenant need not say: the tenant itself, its store, ids, and the host's upstreams.
pub(crate) fn complete(mut file: v1::Bundle, host: &Host) -> v1::Bundle {
    if file.quota_stores.is_empty() {
        file.quota_stores.clone_from(&host.bundle.quota_stores);
    }
    if file.upstreams.is_empty() {
        file.upstreams.clone_from(&host.bundle.upstreams);
    }
    if file.tenants.is_empty() {
        file.tenants.push(v1::Tenant { id: DEFAULT_ID.to_owned(), ..Default::default() });
    }
    if let [only] = file.quota_stores.as_mut_slice() {
        fill(&mut only.id, || DEFAULT_ID.to_owned());
        for tenant in &mut file.tenants {
            fill(&mut tenant.quota_store, || only.id.clone());
        }
    }
    if let [only] = file.tenants.as_mut_slice() {
        fill(&mut only.id, || DEFAULT_ID.to_owned());
        let references = (file.identity_providers.iter_mut().map(|it| &mut it.tenant))
            .chain(file.keys.iter_mut().map(|it| &mut it.tenant))
            .chain(file.limits.iter_mut().map(|it| &mut it.tenant))
            .chain(file.access_rules.iter_mut().map(|it| &mut it.tenant));
        for tenant in references {
            fill(tenant, || only.id.clone());
        }
    }
    number(file.identity_providers.iter_mut().map(|it| &mut it.id), "idp");
    number(file.keys.iter_mut().map(|it| &mut it.id), "key");
    number(file.limits.iter_mut().map(|it| &mut it.id), "limit");
    number(file.access_rules.iter_mut().map(|it| &mut it.id), "rule");
    number(file.upstreams.iter_mut().map(|it| &mut it.id), "upstream");
    file
}

fn fill(text: &mut String, value: impl FnOnce() -> String) {
    if text.is_empty() {
        *text = value();
    }
}

fn number<'a>(ids: impl Iterator<Item = &'a mut String>, noun: &str) {
    for (index, id) in ids.enumerate() {
        fill(id, || format!("{noun}-{}", index + 1));
    }
}

fn nobody_could_call() -> Problem {
    Problem::new(
        "OIDC_ISSUER",
        "is not set, and neither is KEYS_FILE nor --config: nobody could call this gateway",
        "Set OIDC_ISSUER and OIDC_AUD to your identity provider and audience, for example\n    \
         OIDC_ISSUER=https://login.example.com/ OIDC_AUD=my-api attach-gateway\n    \
         or KEYS_FILE to a file like {\"keys\": [\"sk-…\"]}, or give --config bundle.yaml.",
    )
}

fn identity_provider(environment: &Environment, problems: &mut Vec<Problem>) -> Option<v1::IdentityProvider> {
    match (environment.get("OIDC_ISSUER"), environment.get("OIDC_AUD")) {
        (None, None) => None,
        (Some(_), None) => {
            problems.push(Problem::new(
                "OIDC_AUD",
                "is not set, but OIDC_ISSUER is",
                "Set it to the audience that your access tokens name in `aud`.",
            ));
            None
        }
        (None, Some(_)) => {
            problems.push(Problem::new(
                "OIDC_ISSUER",
                "is not set, but OIDC_AUD is",
                "Set it to your provider's issuer URL, as its tokens name it in `iss`.",
            ));
            None
        }
        (Some(issuer), Some(audience)) => Some(v1::IdentityProvider {
            id: DEFAULT_ID.to_owned(),
            tenant: DEFAULT_ID.to_owned(),
            issuer: issuer.to_owned(),
            audiences: vec![audience.to_owned()],
            // With one provider and no place to list them, all that its key set can hold.
            algorithms: attach_proto::bundle::Algorithm::ALL.iter().map(|it| it.name().to_owned()).collect(),
            ..Default::default()
        }),
    }
}

fn quota_store(redis: Option<&str>) -> v1::QuotaStore {
    let store = match redis {
        Some(url) => v1::quota_store::Store::Redis(v1::RedisStore { url: url.to_owned(), call_budget: None }),
        None => v1::quota_store::Store::Local(v1::LocalStore {}),
    };
    v1::QuotaStore { id: DEFAULT_ID.to_owned(), store: Some(store) }
}

fn token_limit(environment: &Environment, problems: &mut Vec<Problem>) -> Option<v1::Limit> {
    let mut positive = |name: &str, default: u64| match environment.get(name) {
        None => default,
        Some(text) => text.parse().ok().filter(|&number| number > 0).unwrap_or_else(|| {
            problems.push(Problem::new(
                name,
                format!("is {text:?}, which is not a positive whole number"),
                format!("Set it to a number such as {default}; MAX_TOKENS_PER_MIN=none means no limit."),
            ));
            default
        }),
    };
    let window = positive("WINDOW", DEFAULT_WINDOW_SECONDS.unsigned_abs());
    let configured = environment.get_even_if_empty("MAX_TOKENS_PER_MIN");
    if configured.is_some_and(|text| NO_LIMIT.contains(&text.to_lowercase().as_str())) {
        return None;
    }
    Some(v1::Limit {
        id: "max-tokens".to_owned(),
        tenant: DEFAULT_ID.to_owned(),
        counter: v1::Counter::EachPrincipal.into(),
        measure: v1::Measure::TotalTokens.into(),
        window: Some(Duration::from_secs(window).into()),
        amount: positive("MAX_TOKENS_PER_MIN", DEFAULT_MAX_TOKENS_PER_MIN),
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit<const N: usize>(pairs: [(&str, &str); N]) -> Result<Option<(u64, i64)>, Vec<Problem>> {
        let mut problems = Vec::new();
        let limit = token_limit(&Environment::from(pairs), &mut problems);
        if problems.is_empty() {
            Ok(limit.map(|limit| (limit.amount, limit.window.unwrap().seconds)))
        } else {
            Err(problems)
        }
    }

    #[test]
    fn without_a_word_the_limit_is_sixty_thousand_a_minute_and_their_words_for_off_work() {
        assert_eq!(limit([]), Ok(Some((60_000, 60))));
        assert_eq!(limit([("MAX_TOKENS_PER_MIN", "500"), ("WINDOW", "10")]), Ok(Some((500, 10))));
        for off in ["", "null", "None", "false", "infinite"] {
            assert_eq!(limit([("MAX_TOKENS_PER_MIN", off)]), Ok(None), "{off}");
        }
    }

    #[test]
    fn a_limit_that_is_no_number_is_refused_instead_of_meaning_sixty_thousand() {
        for bad in ["0", "-5", "lots", "1.5"] {
            assert!(limit([("MAX_TOKENS_PER_MIN", bad)]).is_err(), "{bad}");
            assert!(limit([("WINDOW", bad)]).is_err(), "{bad}");
        }
    }
}
