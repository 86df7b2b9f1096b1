//! `v1::Routes` to [`Routes`]: what an operator lets through, checked against what nobody may.

use super::{Invalid, each, id, known};
use crate::{
    bundle::{AllowedRoute, Permission, Routes},
    route::{self, Dialect, Metering, PathPattern, RouteMethod},
    v1,
};

/// An API of an engine has some dozens of routes, and each request that is not in the table looks through them.
const MAX_ALLOWED_ROUTES: usize = 256;

/// Hosts that models come from: a few.
const MAX_REGISTRIES: usize = 64;

/// A host name has at most 253 bytes (RFC 1035 section 3.1), its port six more.
const MAX_REGISTRY_BYTES: usize = 259;

pub(super) fn convert(wire: v1::Routes) -> Result<Routes, Invalid> {
    let v1::Routes { allow, registries } = wire;
    if allow.len() > MAX_ALLOWED_ROUTES {
        return Err(Invalid::new("allow", format!("has more than {MAX_ALLOWED_ROUTES} routes; use `/*`")));
    }
    if registries.len() > MAX_REGISTRIES {
        return Err(Invalid::new("registries", format!("has more than {MAX_REGISTRIES} hosts")));
    }
    let allow = each(allow, "allow", allowed_route)?;
    for (index, route) in allow.iter().enumerate() {
        let earlier = allow.iter().take(index).position(|earlier| are_one(earlier, route));
        if let Some(first) = earlier {
            let covering = allow.get(first).map(|earlier| earlier.path.as_str()).unwrap_or_default();
            let path = route.path.as_str();
            let problem = format!("{path:?} is covered by allow[{first}], {covering:?}, for the same method");
            return Err(Invalid::new(format!("allow[{index}].path"), problem));
        }
    }
    let registries = registries.iter().enumerate().map(|(index, host)| {
        registry(host).ok_or_else(|| {
            let problem = format!("{host:?} is not a host such as hf.co or registry.example.com:5000");
            Invalid::new(format!("registries[{index}]"), problem)
        })
    });
    Ok(Routes { allow, registries: registries.collect::<Result<_, _>>()? })
}

fn are_one(a: &AllowedRoute, b: &AllowedRoute) -> bool {
    a.path.overlaps(&b.path) && a.methods.iter().any(|method| b.methods.contains(method))
}

fn allowed_route(wire: v1::AllowedRoute) -> Result<AllowedRoute, Invalid> {
    let v1::AllowedRoute { path, methods, permission, metering, dialect, upstream } = wire;
    let path = open_path(&path)?;
    if methods.is_empty() {
        return Err(Invalid::new("methods", "needs at least one, for example POST"));
    }
    let methods = methods.iter().enumerate().map(|(index, name)| {
        RouteMethod::from_name(name).ok_or_else(|| {
            let known: Vec<_> = RouteMethod::ALL.iter().map(|known| known.name()).collect();
            Invalid::new(format!("methods[{index}]"), format!("{name:?} is not one of {}", known.join(", ")))
        })
    });
    let methods = methods.collect::<Result<Vec<_>, _>>()?;
    let metering = match known(metering, "metering")? {
        v1::Metering::Unspecified => {
            return Err(Invalid::new(
                "metering",
                "is missing; METERING_NONE, METERING_REQUESTS or METERING_USAGE",
            ));
        }
        v1::Metering::None => Metering::None,
        v1::Metering::Requests => Metering::Requests,
        v1::Metering::Usage => Metering::Usage,
    };
    if metering == Metering::Usage && methods != [RouteMethod::Post] {
        return Err(Invalid::new(
            "metering",
            "METERING_USAGE reads the model from a body, so POST is the only method",
        ));
    }
    Ok(AllowedRoute {
        path,
        methods,
        permission: super::bundle::permission(permission, "permission")?,
        metering,
        dialect: match known(dialect, "dialect")? {
            v1::Dialect::Ollama => Dialect::Ollama,
            v1::Dialect::Unspecified | v1::Dialect::Openai => Dialect::OpenAi,
            v1::Dialect::Anthropic => Dialect::Anthropic,
        },
        upstream: if upstream.is_empty() { None } else { Some(id(&upstream, "upstream")?) },
    })
}

/// A path that the gateway has no word on yet, and that is no engine's control route.
fn open_path(text: &str) -> Result<PathPattern, Invalid> {
    let invalid = |problem: &str| Invalid::new("path", format!("{text:?} {problem}"));
    let pattern = PathPattern::parse(text).map_err(|fault| invalid(&fault.to_string()))?;
    let (is_never, is_taken) = if pattern.is_prefix() {
        (route::is_never_below(pattern.path()), route::is_taken_below(pattern.path()))
    } else {
        (route::is_never(pattern.path()), route::is_taken(pattern.path()))
    };
    if is_never {
        return Err(invalid("leads to a control route of an engine, which is never let through"));
    }
    if is_taken {
        return Err(invalid("is a route that the gateway knows already; access rules say who may use it"));
    }
    Ok(pattern)
}

impl From<&Routes> for v1::Routes {
    fn from(routes: &Routes) -> Self {
        let allow = routes.allow.iter().map(|route| {
            let AllowedRoute { path, methods, permission, metering, dialect, upstream } = route;
            v1::AllowedRoute {
                path: path.as_str().to_owned(),
                methods: methods.iter().map(|method| method.name().to_owned()).collect(),
                permission: match permission {
                    Permission::Inference => v1::Permission::Inference,
                    Permission::Read => v1::Permission::Read,
                    Permission::Admin => v1::Permission::Admin,
                }
                .into(),
                metering: match metering {
                    Metering::None => v1::Metering::None,
                    Metering::Requests => v1::Metering::Requests,
                    Metering::Usage => v1::Metering::Usage,
                }
                .into(),
                dialect: match dialect {
                    Dialect::Ollama => v1::Dialect::Ollama,
                    Dialect::OpenAi => v1::Dialect::Openai,
                    Dialect::Anthropic => v1::Dialect::Anthropic,
                }
                .into(),
                upstream: upstream.as_ref().map(ToString::to_string).unwrap_or_default(),
            }
        });
        Self { allow: allow.collect(), registries: routes.registries.clone() }
    }
}

/// In lower case, as it is compared with the host in a model's name.
fn registry(text: &str) -> Option<String> {
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|number| number > 0);
    let is_host =
        text.len() <= MAX_REGISTRY_BYTES && host.split('.').all(is_label) && port.is_none_or(is_port);
    is_host.then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(path: &str) -> v1::AllowedRoute {
        v1::AllowedRoute {
            path: path.to_owned(),
            methods: vec!["POST".to_owned()],
            permission: v1::Permission::Inference.into(),
            metering: v1::Metering::Requests.into(),
            ..Default::default()
        }
    }

    fn routes(allow: Vec<v1::AllowedRoute>) -> Result<Routes, Invalid> {
        Routes::try_from(v1::Routes { allow, registries: Vec::new() })
    }

    fn problem(allow: Vec<v1::AllowedRoute>) -> String {
        routes(allow).unwrap_err().to_string()
    }

    #[test]
    fn an_operator_opens_what_is_free() {
        let opened = routes(vec![route("/v1/images/generations"), route("/v1/audio/*")]).unwrap();
        let [images, audio] = opened.allow.as_slice() else { panic!("two") };
        assert!(images.path.covers("/v1/images/generations") && audio.path.covers("/v1/audio/speech"));
        assert_eq!((images.permission, images.metering), (Permission::Inference, Metering::Requests));
        assert_eq!((images.dialect, &images.upstream), (Dialect::OpenAi, &None));
    }

    #[test]
    fn control_routes_and_known_ones_can_not_be_opened_exactly_or_by_what_is_above_them() {
        for path in ["/pause", "/v1/load_lora_adapter", "/slots/*", "/api/experimental/*", "/debug/*"] {
            let said = problem(vec![route(path)]);
            assert!(said.starts_with("allow[0].path") && said.contains("never let through"), "{said}");
        }
        for path in [
            "/api/chat",
            "/v1/models/x",
            "/models/tiny",
            "/health",
            "/auth/*",
            "/api/blobs/x",
            "/v1/messages/*",
        ] {
            let said = problem(vec![route(path)]);
            assert!(said.starts_with("allow[0].path") && said.contains("knows already"), "{said}");
        }
    }

    #[test]
    fn two_routes_can_not_say_different_things_of_one_request() {
        let said = problem(vec![route("/v1/audio/*"), route("/v1/audio/speech")]);
        assert_eq!(
            said,
            "allow[1].path: \"/v1/audio/speech\" is covered by allow[0], \"/v1/audio/*\", for the same method"
        );
        let reading = v1::AllowedRoute { methods: vec!["GET".to_owned()], ..route("/v1/audio/speech") };
        assert!(routes(vec![route("/v1/audio/*"), reading]).is_ok());
    }

    #[test]
    fn what_is_missing_or_makes_no_sense_is_named() {
        let with = |change: fn(&mut v1::AllowedRoute)| {
            let mut route = route("/v1/x");
            change(&mut route);
            problem(vec![route])
        };
        for (said, expected) in [
            (
                with(|route| route.path = "/v1/../x".to_owned()),
                "allow[0].path: \"/v1/../x\" must be written plainly",
            ),
            (with(|route| route.methods.clear()), "allow[0].methods: needs at least one"),
            (
                with(|route| route.methods = vec!["get".to_owned()]),
                "allow[0].methods[0]: \"get\" is not one of GET",
            ),
            (with(|route| route.methods = vec!["CONNECT".to_owned()]), "allow[0].methods[0]"),
            (with(|route| route.permission = 0), "allow[0].permission: is not specified"),
            (with(|route| route.metering = 0), "allow[0].metering: is missing"),
            (with(|route| route.metering = 9), "allow[0].metering: 9 is not known"),
            (
                with(|route| {
                    route.metering = v1::Metering::Usage.into();
                    route.methods.push("GET".to_owned());
                }),
                "allow[0].metering: METERING_USAGE reads the model",
            ),
            (with(|route| route.upstream = "a b".to_owned()), "allow[0].upstream"),
        ] {
            assert!(said.starts_with(expected), "{said}");
        }
    }

    #[test]
    fn as_many_routes_and_registries_as_may_be_are_taken_and_one_more_is_not() {
        let many = |routes: usize, registries: usize| {
            let allow = (0..routes).map(|number| route(&format!("/v1/x{number}"))).collect();
            let registries = (0..registries).map(|number| format!("x{number}.example")).collect();
            Routes::try_from(v1::Routes { allow, registries })
        };
        let all = many(256, 64).unwrap();
        assert_eq!(many(257, 64).unwrap_err().to_string(), "allow: has more than 256 routes; use `/*`");
        assert_eq!(many(256, 65).unwrap_err().to_string(), "registries: has more than 64 hosts");
        assert_eq!(Routes::try_from(v1::Routes::from(&all)), Ok(all), "sent on, they are the same");
    }

    #[test]
    fn registries_are_hosts() {
        let registries = |host: &str| {
            Routes::try_from(v1::Routes { allow: Vec::new(), registries: vec![host.to_owned()] })
        };
        assert_eq!(registries("HF.co").unwrap().registries, ["hf.co"]);
        assert_eq!(registries("registry.example:5000").unwrap().registries, ["registry.example:5000"]);
        for host in ["", "https://hf.co", "hf.co/org", "a..b", "x:0", "x:port", "*", "a b", "[::1]:80"] {
            assert_eq!(registries(host).unwrap_err().path, "registries[0]", "{host}");
        }
    }
}
