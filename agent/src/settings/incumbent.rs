//! Names that users of Attach Gateway (Python) and Ollama Auth Proxy have in their `.env`.
//!
//! Most are honoured where they belong. The ones here ask for something that this version does not do: they are
//! refused by name, because a gateway that starts and quietly leaves out memory or a token exchange is worse.

use super::{Environment, Problem};

/// A setting, the values of it that are harmless, and what to do about the others.
struct Refused {
    name: &'static str,
    harmless: &'static [&'static str],
    problem: &'static str,
    remedy: &'static str,
}

const OFF: &[&str] = &["none", "null", "false", "off"];

const REFUSED: &[Refused] = &[
    Refused {
        name: "USAGE_METERING",
        harmless: &["null", "none", "false", "off", "prometheus"],
        problem: "asks for an export that this version does not have",
        remedy: "Set it to prometheus or unset it: usage is always recorded, see `attach-gateway usage` and /metrics.",
    },
    Refused {
        name: "USAGE_BACKEND",
        harmless: &["null", "none", "false", "off", "prometheus"],
        problem: "(the old name of USAGE_METERING) asks for an export that this version does not have",
        remedy: "Set it to prometheus or unset it: usage is always recorded, see `attach-gateway usage` and /metrics.",
    },
    Refused {
        name: "MEM_BACKEND",
        harmless: OFF,
        problem: "asks for memory, which this version does not have",
        remedy: "Set it to none or unset it, together with WEAVIATE_URL.",
    },
    Refused {
        name: "TEMPORAL_URL",
        harmless: &[],
        problem: "belongs to the A2A task hub, which this version does not have",
        remedy: "Unset it, and send tasks to their agent directly.",
    },
    Refused {
        name: "TEMPORAL_QUEUE",
        harmless: &[],
        problem: "belongs to the A2A task hub, which this version does not have",
        remedy: "Unset it, and send tasks to their agent directly.",
    },
    Refused {
        name: "AUTH_BACKEND",
        harmless: &["auth0"],
        problem: "asks for a provider of its own kind, which this version does not have",
        remedy: "Unset it: any OpenID Connect provider works by OIDC_ISSUER, Descope's among them \
                 (https://api.descope.com/v1/apps/PROJECT).",
    },
    Refused {
        name: "ENABLE_DESCOPE_EXCHANGE",
        harmless: OFF,
        problem: "asks for Descope's token exchange, which this version does not have",
        remedy: "Unset it and let callers present Descope's own tokens: set OIDC_ISSUER to Descope's issuer.",
    },
];

/// Only of use with one of the above; alone they change nothing, as before.
const INERT: &[&str] = &[
    "WEAVIATE_URL",
    "OPENMETER_API_KEY",
    "OPENMETER_URL",
    "DESCOPE_BASE_URL",
    "DESCOPE_PROJECT_ID",
    "DESCOPE_CLIENT_ID",
    "DESCOPE_CLIENT_SECRET",
    "DESCOPE_JWKS_URL",
    "DESCOPE_AUD",
    "QUOTA_ENCODING",
];

pub(super) fn refused(environment: &Environment) -> Vec<Problem> {
    for name in INERT {
        if environment.get(name).is_some() {
            tracing::info!("{name} is set and has no effect in this version");
        }
    }
    let is_refused = |setting: &&Refused| {
        let value = environment.get(setting.name).map(str::to_lowercase);
        value.is_some_and(|value| !setting.harmless.contains(&value.as_str()))
    };
    REFUSED
        .iter()
        .filter(is_refused)
        .map(|setting| Problem::new(setting.name, setting.problem, setting.remedy))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_that_is_not_served_is_refused_by_name_with_an_alternative() {
        for setting in REFUSED {
            let problems = refused(&Environment::from([(setting.name, "weaviate")]));
            let [problem] = problems.as_slice() else { panic!("{}", setting.name) };
            assert_eq!(problem.setting, setting.name);
            assert!(!problem.remedy.is_empty());
        }
    }

    #[test]
    fn their_words_for_off_start_as_before() {
        let off = [
            ("MEM_BACKEND", "none"),
            ("USAGE_METERING", "null"),
            ("AUTH_BACKEND", "Auth0"),
            ("TEMPORAL_URL", ""),
        ];
        assert_eq!(refused(&Environment::from(off)), []);
    }
}
