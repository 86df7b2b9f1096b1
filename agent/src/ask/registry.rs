//! Which host stands in a model's name. An engine that pulls or pushes calls that host, from inside its own network.

use attach_proto::id::ModelName;

/// Where names without a host lead.
const DEFAULT_REGISTRY: &str = "registry.ollama.ai";

/// Whether the engine would call only a host that it may: Ollama's own registry, or one that the operator named.
///
/// A name is `[host/][namespace/]model[:tag]`. What an engine might read in another way is not let out: more segments,
/// a scheme, or characters that no registry has.
pub(super) fn may_leave(name: &ModelName, allowed: &[String]) -> bool {
    let is_name =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b':' | b'/' | b'@');
    let segments: Vec<&str> = name.as_str().split('/').collect();
    if !name.as_str().bytes().all(is_name) || segments.iter().any(|segment| segment.is_empty()) {
        return false;
    }
    match segments.as_slice() {
        // A colon before the last slash would be a port, or the end of a scheme.
        [_] => true,
        [namespace, _] => !namespace.contains(':'),
        [host, namespace, _] => {
            let host = host.to_ascii_lowercase();
            !namespace.contains(':') && (host == DEFAULT_REGISTRY || allowed.contains(&host))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leaves_for_ollama_s_registry_or_one_that_was_allowed() {
        let allowed = ["hf.co".to_owned(), "registry.example:5000".to_owned()];
        for (name, expected) in [
            ("tiny", true),
            ("tiny:latest", true),
            ("library/tiny", true),
            ("registry.ollama.ai/library/tiny:latest", true),
            ("REGISTRY.ollama.ai/library/tiny", true),
            ("hf.co/org/tiny:Q4_K_M", true),
            ("HF.co/org/tiny", true),
            ("registry.example:5000/org/tiny", true),
            ("registry.example/org/tiny", false),
            ("evil.example/org/tiny", false),
            ("169.254.169.254/latest/meta-data", false),
            ("localhost:11434/a/b", false),
            ("localhost:11434/b", false),
            ("http://hf.co/org/tiny", false),
            ("https://evil.example/a/b", false),
            ("hf.co/a/b/c", false),
            ("hf.co//b", false),
            ("/a/b", false),
            ("hf.co/a/", false),
            ("hf.co@evil.example/a/b", false),
            ("evil.example\\a\\b", false),
            ("hf.co/a/b?x", false),
            ("hf.co/a/b%2f", false),
        ] {
            assert_eq!(may_leave(&name.parse().unwrap(), &allowed), expected, "{name}");
        }
    }
}
