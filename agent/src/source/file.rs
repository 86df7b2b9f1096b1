//! The bundle as a file: the proto-JSON form of `v1::Bundle`, written in YAML or JSON.

use attach_proto::v1;
use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
};

/// A bundle of 100,000 keys is 20 MB; a file beyond this is not a bundle.
const MAX_FILE_BYTES: u64 = 64 << 20;

#[derive(Debug, thiserror::Error)]
pub(crate) enum FileFault {
    #[error("{}: {cause}", .path.display())]
    Unreadable { path: PathBuf, cause: io::Error },
    #[error("{}: is larger than {MAX_FILE_BYTES} bytes", .path.display())]
    TooLarge { path: PathBuf },
    #[error("{}: {field}: {problem}", .path.display())]
    Malformed { path: PathBuf, field: String, problem: String },
}

/// Unknown keys are refused: a misspelt limit that is silently absent is worse than a gateway that does not start.
pub(crate) fn read(path: &Path) -> Result<v1::Bundle, FileFault> {
    let text = read_text(path)?;
    let malformed = |field: String, problem: String| FileFault::Malformed {
        path: path.to_owned(),
        field: if field.is_empty() || field == "." { "at the top".to_owned() } else { field },
        problem,
    };
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json")) {
        let mut json = serde_json::Deserializer::from_str(&text);
        let bundle = serde_path_to_error::deserialize(&mut json)
            .map_err(|error| malformed(error.path().to_string(), error.inner().to_string()))?;
        json.end().map_err(|error| malformed(String::new(), error.to_string()))?;
        return Ok(bundle);
    }
    let value: serde_json::Value =
        serde_saphyr::from_str(&text).map_err(|error| malformed(String::new(), error.to_string()))?;
    serde_path_to_error::deserialize(value)
        .map_err(|error| malformed(error.path().to_string(), error.inner().to_string()))
}

pub(super) fn read_text(path: &Path) -> Result<String, FileFault> {
    let unreadable = |cause| FileFault::Unreadable { path: path.to_owned(), cause };
    // A pipe or a device could keep us reading for ever.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(unreadable(io::Error::new(io::ErrorKind::InvalidInput, "is no regular file")));
    }
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(FileFault::TooLarge { path: path.to_owned() });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        settings::{Host, complete},
        source::validate,
    };

    fn check(name: &str, text: &str) -> Result<attach_proto::bundle::Bundle, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let wire = read(&path).map_err(|fault| fault.to_string())?;
        validate(complete(wire, &Host::silent()), "bundle.yaml").map_err(|fault| fault.to_string())
    }

    const SMALL: &str = "
identity_providers:
  - issuer: https://login.example.com/
    audiences: [api]
    clock_skew: 30s
limits:
  - counter: COUNTER_EACH_PRINCIPAL
    measure: MEASURE_TOTAL_TOKENS
    window: 60s
    amount: 1000
";

    #[test]
    fn a_file_for_one_tenant_needs_neither_tenant_nor_ids() {
        let bundle = check("bundle.yaml", SMALL).unwrap();
        assert_eq!(bundle.tenants.len(), 1);
        assert_eq!(bundle.limits[0].amount, 1000);
        assert_eq!(bundle.identity_providers[0].tenant.as_str(), "default");
        assert_eq!(bundle.identity_providers[0].clock_skew.as_secs(), 30);
    }

    #[test]
    fn json_is_read_with_either_spelling_of_field_names() {
        let json = r#"{"identityProviders": [{"issuer": "https://a.example", "audiences": ["x"]}]}"#;
        assert_eq!(check("bundle.json", json).unwrap().identity_providers.len(), 1);
    }

    #[test]
    fn every_mistake_is_told_with_the_path_of_its_field() {
        for (from, to, expected) in [
            ("window: 60s", "window: 0s", "limits[0].window: must be more than 0s"),
            ("window: 60s", "window: soon", "limits[0].window"),
            ("amount: 1000", "amount: -1", "limits[0].amount"),
            ("amount: 1000", "amount: 0", "limits[0].amount: must be between 1"),
            ("amount: 1000", "amuont: 1000", "unknown field `amuont`"),
            ("MEASURE_TOTAL_TOKENS", "MEASURE_JOY", "limits[0].measure"),
            ("https://login.example.com/", "login.example.com", "identity_providers[0].issuer"),
            ("audiences: [api]", "audiences: []", "identity_providers[0].audiences: needs at least one"),
            (
                "audiences: [api]",
                "audiences: [api]\n    tenant: other",
                "identity_providers[0].tenant: there is no tenant",
            ),
            (
                "audiences: [api]",
                "audiences: [api]\n    algorithms: [HS256]",
                "identity_providers[0].algorithms[0]",
            ),
            (
                "audiences: [api]",
                "audiences: [api]\n    claims: {user: sub}",
                "identity_providers[0].claims.user",
            ),
        ] {
            let error = check("bundle.yaml", &SMALL.replace(from, to)).unwrap_err();
            assert!(error.contains(expected), "{to}: {error}");
        }
        assert!(check("bundle.yaml", "a: [").is_err());
        assert!(check("bundle.json", r#"{"limits": [], "limits": []}"#).is_err());
    }
}
