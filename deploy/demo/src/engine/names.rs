//! The names that the one model answers to, folded as Ollama folds names.

use percent_encoding::percent_decode_str;

/// In the order of `/api/tags`. The others let the first commands of guides written for real models work as they stand.
const NAMES: [&str; 4] = ["demo", "llama3", "llama3.2", "tiny"];

/// The listed names, with their tag.
pub(super) fn listed() -> impl Iterator<Item = String> {
    NAMES.iter().map(|name| format!("{name}:latest"))
}

/// Whether the model answers to a name: case, the `latest` tag, and the default registry and library do not count.
pub(super) fn is_known(asked: &str) -> bool {
    let name = asked.to_ascii_lowercase();
    let name = name.strip_prefix("registry.ollama.ai/").unwrap_or(&name);
    let name = name.strip_prefix("library/").unwrap_or(name);
    let name = name.strip_suffix(":latest").unwrap_or(name);
    NAMES.contains(&name)
}

/// The name at the end of a path; a client may have escaped its colon.
pub(super) fn from_path(segment: &str) -> String {
    percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::is_known;

    #[test]
    fn one_model_has_many_names() {
        for name in
            ["demo", "DEMO:latest", "llama3:Latest", "llama3.2", "registry.ollama.ai/library/tiny:latest"]
        {
            assert!(is_known(name), "{name}");
        }
        for name in ["", "demo:7b", "llama", "evil/demo", "latest"] {
            assert!(!is_known(name), "{name}");
        }
    }
}
