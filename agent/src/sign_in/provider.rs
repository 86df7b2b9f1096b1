//! What a provider says of itself (OpenID Connect Discovery 1.0, RFC 8414): its endpoints, and what it can do.

use super::fault::SignInError;
use crate::fetch::Fetcher;
use serde::Deserialize;
use url::Url;

#[derive(Debug)]
pub(super) struct Provider {
    /// In the form of its own metadata.
    pub(super) issuer: String,
    pub(super) token: Url,
    pub(super) authorization: Option<Url>,
    pub(super) device: Option<Url>,
    /// Its answers to a browser name it (RFC 9207), so one that does not is another's.
    pub(super) names_itself: bool,
    /// The secret goes into the body: it takes none in a header (RFC 6749 section 2.3.1).
    pub(super) secret_in_body: bool,
    /// Whether it knows PKCE with S256. Not all that do say so: then `None`.
    pub(super) knows_pkce: Option<bool>,
    scopes: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    token_endpoint: Option<Url>,
    authorization_endpoint: Option<Url>,
    device_authorization_endpoint: Option<Url>,
    scopes_supported: Option<Vec<String>>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    code_challenge_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl Provider {
    pub(super) async fn discover(issuer: &str, web: &Fetcher) -> Result<Self, SignInError> {
        let address = format!("{}/.well-known/openid-configuration", without_final_slash(issuer));
        let address: Url = address
            .parse()
            .map_err(|error: url::ParseError| SignInError::Issuer(issuer.to_owned(), error.to_string()))?;
        let bytes = web
            .fetch(&address)
            .await
            .map_err(|cause| SignInError::Unreachable { address: address.to_string(), cause })?;
        let metadata = |problem: String| SignInError::Metadata { address: address.to_string(), problem };
        let document: Document =
            serde_json::from_slice(&bytes).map_err(|error| metadata(error.to_string()))?;
        document.check(issuer).map_err(metadata)
    }

    /// What a person wants: to be known, and to be remembered where that can be asked for.
    pub(super) fn scope_for_a_person(&self) -> String {
        let Some(scopes) = &self.scopes else { return "openid".to_owned() };
        let wanted = ["openid", "offline_access"].into_iter();
        wanted.filter(|wanted| scopes.iter().any(|scope| scope == wanted)).collect::<Vec<_>>().join(" ")
    }
}

impl Document {
    /// Section 4.3: metadata of another issuer must not be used. As for the gateway, a final slash more or less is forgiven.
    fn check(self, configured: &str) -> Result<Provider, String> {
        if without_final_slash(&self.issuer) != without_final_slash(configured) {
            return Err(format!("it describes {:?}, not {configured:?}: name the issuer so", self.issuer));
        }
        for endpoint in
            [&self.token_endpoint, &self.authorization_endpoint, &self.device_authorization_endpoint]
        {
            if let Some(endpoint) = endpoint
                && !is_as_safe_as(endpoint, configured)
            {
                return Err(format!(
                    "its endpoint {endpoint} is no https address (http only for an http issuer)"
                ));
            }
        }
        let secret_in_body = self.token_endpoint_auth_methods_supported.is_some_and(|methods| {
            !has(&methods, "client_secret_basic") && has(&methods, "client_secret_post")
        });
        Ok(Provider {
            issuer: self.issuer,
            token: self.token_endpoint.ok_or("it names no token endpoint")?,
            authorization: self.authorization_endpoint,
            device: self.device_authorization_endpoint,
            names_itself: self.authorization_response_iss_parameter_supported,
            secret_in_body,
            knows_pkce: self.code_challenge_methods_supported.map(|methods| has(&methods, "S256")),
            scopes: self.scopes_supported,
        })
    }
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == wanted)
}

fn is_as_safe_as(address: &Url, issuer: &str) -> bool {
    address.scheme() == "https" || (address.scheme() == "http" && issuer.starts_with("http:"))
}

fn without_final_slash(issuer: &str) -> &str {
    issuer.strip_suffix('/').unwrap_or(issuer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(changes: &Value) -> Result<Provider, String> {
        let mut document = json!({
            "issuer": "https://a.test", "token_endpoint": "https://a.test/token",
            "authorization_endpoint": "https://a.test/authorize",
        });
        for (name, value) in changes.as_object().unwrap() {
            document[name] = value.clone();
        }
        serde_json::from_value::<Document>(document)
            .map_err(|error| error.to_string())?
            .check("https://a.test")
    }

    #[test]
    fn metadata_of_another_issuer_or_with_an_unsafe_endpoint_is_not_used() {
        assert!(check(&json!({})).is_ok());
        assert!(check(&json!({"issuer": "https://a.test/"})).is_ok());
        for changes in [
            json!({"issuer": "https://b.test"}),
            json!({"issuer": "https://a.test/x"}),
            json!({"token_endpoint": "http://a.test/token"}),
            json!({"authorization_endpoint": "http://a.test/authorize"}),
            json!({"device_authorization_endpoint": "ftp://a.test/device"}),
            json!({"token_endpoint": null}),
        ] {
            assert!(check(&changes).is_err(), "{changes}");
        }
    }

    #[test]
    fn a_person_is_remembered_where_the_provider_says_that_it_can() {
        for (scopes, asked) in [
            (json!(null), "openid"),
            (json!(["openid", "email"]), "openid"),
            (json!(["offline_access", "openid"]), "openid offline_access"),
            (json!([]), ""),
        ] {
            assert_eq!(check(&json!({"scopes_supported": scopes})).unwrap().scope_for_a_person(), asked);
        }
    }
}
