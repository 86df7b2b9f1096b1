//! An issuer's own description of itself (OpenID Connect Discovery 1.0).

use crate::{excerpt::Excerpt, json::from_object};
use serde::Deserialize;
use thiserror::Error;
use url::Url;

/// What we take from it.
#[derive(Debug, PartialEq, Eq)]
pub struct Metadata {
    /// In the form that the issuer writes into its tokens.
    pub issuer: String,
    pub jwks_uri: Url,
}

#[derive(Debug, Error)]
pub enum MetadataFault {
    #[error("it is no provider metadata: {0}")]
    NotMetadata(#[from] serde_json::Error),
    #[error("it describes issuer {found}, not {expected}; set the issuer to what its tokens have as `iss`")]
    OtherIssuer { found: Excerpt, expected: Excerpt },
    #[error("its jwks_uri {0} is no https address (http only for an http issuer)")]
    KeyAddress(Excerpt),
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    jwks_uri: String,
}

/// Where an issuer describes itself (section 4: a final slash is taken off before the path is added).
pub fn metadata_address(issuer: &str) -> Result<Url, url::ParseError> {
    Url::parse(&format!("{}/.well-known/openid-configuration", without_final_slash(issuer)))
}

/// # Errors
/// Section 4.3: metadata of another issuer must not be used. One slash more or less at the end is forgiven, because
/// people copy issuers without it; then the metadata's form is the one that tokens must have.
pub fn parse_metadata(json: &[u8], configured: &str) -> Result<Metadata, MetadataFault> {
    let Document { issuer, jwks_uri } = from_object(json)?;
    if without_final_slash(&issuer) != without_final_slash(configured) {
        return Err(MetadataFault::OtherIssuer {
            found: Excerpt::of(&issuer),
            expected: Excerpt::of(configured),
        });
    }
    let address = Url::parse(&jwks_uri).ok().filter(|address| is_as_safe_as(address, configured));
    let jwks_uri = address.ok_or_else(|| MetadataFault::KeyAddress(Excerpt::of(&jwks_uri)))?;
    Ok(Metadata { issuer, jwks_uri })
}

fn is_as_safe_as(address: &Url, issuer: &str) -> bool {
    let plain_is_fine = issuer.starts_with("http:");
    address.scheme() == "https" || (address.scheme() == "http" && plain_is_fine)
}

fn without_final_slash(issuer: &str) -> &str {
    issuer.strip_suffix('/').unwrap_or(issuer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(issuer: &str, jwks_uri: &str, configured: &str) -> Option<String> {
        let json = serde_json::json!({"issuer": issuer, "jwks_uri": jwks_uri, "more": 1}).to_string();
        parse_metadata(json.as_bytes(), configured).ok().map(|metadata| metadata.issuer)
    }

    #[test]
    fn an_issuer_may_differ_from_the_configured_one_by_a_final_slash_and_by_nothing_else() {
        let keys = "https://a.test/k";
        for (found, configured) in
            [("https://a.test", "https://a.test/"), ("https://a.test/", "https://a.test")]
        {
            assert_eq!(parse(found, keys, configured).as_deref(), Some(found));
        }
        for found in
            ["https://A.test", "http://a.test", "https://a.test//", "https://a.test/x", "https://b.test", ""]
        {
            assert_eq!(parse(found, keys, "https://a.test"), None, "{found}");
        }
    }

    #[test]
    fn metadata_that_is_a_list_of_the_right_values_is_no_metadata() {
        let list = br#" ["https://a.test", "https://a.test/k"]"#;
        let fault = parse_metadata(list, "https://a.test").unwrap_err();
        assert_eq!(fault.to_string(), "it is no provider metadata: it is no JSON object");
    }

    #[test]
    fn keys_of_an_https_issuer_are_never_fetched_over_http() {
        assert!(parse("https://a.test", "http://a.test/k", "https://a.test").is_none());
        assert!(parse("http://a.test", "http://a.test/k", "http://a.test").is_some());
        assert!(parse("http://a.test", "file:///etc/passwd", "http://a.test").is_none());
        assert!(parse("http://a.test", "/k", "http://a.test").is_none());
    }

    #[test]
    fn the_metadata_lies_below_the_issuer_with_or_without_its_final_slash() {
        for issuer in ["https://a.test/realms/x", "https://a.test/realms/x/"] {
            let address = metadata_address(issuer).unwrap();
            assert_eq!(address.as_str(), "https://a.test/realms/x/.well-known/openid-configuration");
        }
    }
}
