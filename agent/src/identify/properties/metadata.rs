//! What an issuer says of itself.

use super::{assert_fit_for_a_log, written::Written};
use attach_issuer::discovery::{metadata_address, parse_metadata};

/// As people configure them: with the final slash and without, and one that may be asked without TLS.
const CONFIGURED: [&str; 4] = [
    "https://login.example.com",
    "https://login.example.com/",
    "https://login.example.com/realms/a",
    "http://127.0.0.1:8080/realms/a/",
];

pub fn metadata(input: &[u8]) {
    for configured in CONFIGURED {
        let metadata = match parse_metadata(input, configured) {
            Ok(metadata) => metadata,
            Err(fault) => {
                assert_fit_for_a_log(&fault);
                continue;
            }
        };
        let written: Option<Written> = serde_json::from_slice(input).ok();
        let said = |name| match written.as_ref().map(|it| it.all(name)).as_deref() {
            Some([one]) => one.text().map(str::to_owned),
            _ => None,
        };
        // The only one of its name, or another reader would have another.
        assert_eq!(said("issuer").as_deref(), Some(metadata.issuer.as_str()));
        let issuer = metadata.issuer.as_str();
        let differ_by_a_slash = format!("{issuer}/") == configured || issuer == format!("{configured}/");
        assert!(issuer == configured || differ_by_a_slash, "{issuer} for {configured}");

        let keys = &metadata.jwks_uri;
        let is_plain = keys.scheme() == "http" && configured.starts_with("http://");
        assert!(keys.scheme() == "https" || is_plain, "{keys} for {configured}");
        assert!(keys.host().is_some_and(|host| !host.to_string().is_empty()), "{keys}");
        assert_eq!(keys.as_str().parse().as_ref(), Ok(keys), "written again it is another");
        assert_eq!(said("jwks_uri").and_then(|text| text.parse().ok()).as_ref(), Some(keys));
        // Its own form of the issuer leads to the same place.
        assert_eq!(metadata_address(issuer), metadata_address(configured));
    }
}
