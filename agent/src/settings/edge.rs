//! What the callers' port takes, and from whom.

use super::{Environment, Problem};
use crate::{
    callers::{Proxies, parse_net},
    cli::ServeArgs,
    cors::Cors,
};

/// By flag; else from the environment, where several are separated by commas.
pub(super) fn proxies(args: &ServeArgs, environment: &Environment, problems: &mut Vec<Problem>) -> Proxies {
    let mut networks = args.trusted_proxies.clone();
    if networks.is_empty() {
        for text in environment.get("TRUSTED_PROXIES").into_iter().flat_map(|text| text.split(',')) {
            match parse_net(text) {
                Ok(network) => networks.push(network),
                Err(problem) => problems.push(Problem::new(
                    "TRUSTED_PROXIES",
                    format!("is not right: {problem}"),
                    "List networks such as 10.0.0.0/8,fd00::/8, separated by commas.",
                )),
            }
        }
    }
    Proxies::new(networks)
}

/// As [`proxies`].
pub(super) fn cors(args: &ServeArgs, environment: &Environment, problems: &mut Vec<Problem>) -> Cors {
    let (setting, parsed) = if args.cors_origins.is_empty() {
        let listed = environment.get("CORS_ORIGINS").into_iter().flat_map(|text| text.split(','));
        ("CORS_ORIGINS", Cors::new(listed))
    } else {
        ("--cors-origins", Cors::new(args.cors_origins.iter().map(String::as_str)))
    };
    parsed.unwrap_or_else(|problem| {
        problems.push(Problem::new(
            setting,
            format!("is not right: {problem}"),
            "List origins such as https://app.example.com,http://localhost:3000, in lower case and without a path, or \
             write * alone.",
        ));
        Cors::Off
    })
}
