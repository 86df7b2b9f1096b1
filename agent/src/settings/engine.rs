//! Where the engine is, in the forms in which people write it.

use super::{Environment, Problem};
use crate::cli::ServeArgs;
use url::{Host, Url};

/// Ollama's own default.
pub(super) const DEFAULT: &str = "http://localhost:11434";

/// Ollama's port, for an `OLLAMA_HOST` that names only a host.
const OLLAMA_PORT: u16 = 11434;

/// The engine's URL: `--upstream`, else `ENGINE_URL`, else `OLLAMA_HOST`, else Ollama's default.
pub(super) fn url(args: &ServeArgs, environment: &Environment) -> Result<String, Problem> {
    let candidates = [
        ("--upstream", args.upstream.as_deref()),
        ("ENGINE_URL", environment.get("ENGINE_URL")),
        ("OLLAMA_HOST", environment.get("OLLAMA_HOST")),
    ];
    let Some((setting, value)) = candidates.into_iter().find_map(|(setting, value)| Some((setting, value?)))
    else {
        return Ok(DEFAULT.to_owned());
    };
    let url = parse(value).ok_or_else(|| {
        Problem::new(
            setting,
            format!("is {value:?}, which is no address of an engine"),
            "Write http://host:port, https://host, or host:port.",
        )
    })?;
    Ok(url.to_string())
}

/// Full URL, `host:port`, `host`, `:port`. Ollama uses the same variable for the address it listens on, so an
/// unspecified address means this machine.
fn parse(text: &str) -> Option<Url> {
    let (with_scheme, has_scheme) = match text.split_once("://") {
        Some((scheme, _)) if scheme != "http" && scheme != "https" => return None,
        Some(_) => (text.to_owned(), true),
        None if text.starts_with(':') => (format!("http://127.0.0.1{text}"), false),
        None => (format!("http://{text}"), false),
    };
    let mut url = Url::parse(&with_scheme).ok()?;
    let authority = with_scheme.split_once("://")?.1.split('/').next()?;
    let names_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if !has_scheme && !names_port {
        url.set_port(Some(OLLAMA_PORT)).ok()?;
    }
    let loopback = match url.host()? {
        Host::Ipv4(address) if address.is_unspecified() => Some("127.0.0.1"),
        Host::Ipv6(address) if address.is_unspecified() => Some("[::1]"),
        Host::Domain(_) | Host::Ipv4(_) | Host::Ipv6(_) => None,
    };
    if let Some(loopback) = loopback {
        url.set_host(Some(loopback)).ok()?;
    }
    (url.query().is_none() && url.username().is_empty()).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_ollama_host_finds_the_engine() {
        for (text, expected) in [
            ("http://gpu1:11434", "http://gpu1:11434/"),
            ("https://gpu1", "https://gpu1/"),
            ("gpu1:8000", "http://gpu1:8000/"),
            ("gpu1", "http://gpu1:11434/"),
            ("0.0.0.0", "http://127.0.0.1:11434/"),
            ("0.0.0.0:80", "http://127.0.0.1/"),
            (":9999", "http://127.0.0.1:9999/"),
            ("[::]:11434", "http://[::1]:11434/"),
            ("http://host/prefix", "http://host/prefix"),
        ] {
            assert_eq!(parse(text).map(|url| url.to_string()).as_deref(), Some(expected), "{text}");
        }
        for bad in ["ftp://gpu1", "http://", "gpu1:99999", "http://u:p@gpu1", "http://gpu1/?a=b", "a b"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
