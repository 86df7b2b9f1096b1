//! Who may knock: Ollama's guard against web pages that reach for a server on loopback.

use http::{HeaderMap, Uri, header};
use std::net::IpAddr;

/// Whether a request names a local host, and comes from no foreign web page.
pub(super) fn admits(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).map(|host| host.to_str().is_ok_and(names_local_host));
    let origin = headers.get(header::ORIGIN).map(|origin| {
        origin
            .to_str()
            .ok()
            .and_then(|origin| origin.parse::<Uri>().ok())
            .and_then(|origin| origin.host().map(names_this_machine))
            .unwrap_or(false)
    });
    host.unwrap_or(true) && origin.unwrap_or(true)
}

fn names_local_host(host: &str) -> bool {
    let name = without_port(host);
    name.is_empty()
        || name.parse::<IpAddr>().is_ok()
        || name == "localhost"
        || [".localhost", ".local", ".internal"].iter().any(|end| name.ends_with(end))
}

fn names_this_machine(host: &str) -> bool {
    matches!(host, "localhost" | "127.0.0.1" | "0.0.0.0" | "[::1]")
}

fn without_port(host: &str) -> &str {
    if let Some((address, _)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address;
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::admits;
    use http::{HeaderMap, HeaderValue};

    #[test]
    fn a_foreign_host_or_page_is_turned_away() {
        let asked = |name: &'static str, value: &'static str| {
            admits(&HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_static(value))]))
        };
        for host in ["127.0.0.1:80", "[::1]:80", "localhost", "box.local:1", "gpu.internal"] {
            assert!(asked("host", host), "{host}");
        }
        assert!(!asked("host", "evil.example"));
        assert!(asked("origin", "http://localhost:3000"));
        assert!(!asked("origin", "https://evil.example"));
        assert!(!asked("origin", "null"));
    }
}
