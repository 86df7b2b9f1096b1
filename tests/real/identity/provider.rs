//! What the providers have in common: two clients, a person, and keys that change.

use super::{browser::Browser, dex, hydra, keycloak, oidc_provider, process::Process};
use attach_tests::{Person, gateway::Setup};

/// The client that people sign in with; also the audience of its access tokens, so that an ID token, whose audience is
/// always the client, differs from them in nothing that is easy to see.
pub(crate) const TERMINAL: &str = "terminal";
pub(crate) const SERVICE: &str = "service";
pub(crate) const SERVICE_SECRET: &str = "service-secret";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Keycloak,
    OidcProvider,
    Dex,
    Hydra,
}

pub(crate) struct Provider {
    pub(crate) kind: Kind,
    pub(crate) issuer: String,
    pub(crate) port: u16,
    /// Where its administration is.
    pub(crate) admin_port: u16,
    pub(crate) process: Process,
    #[expect(dead_code, reason = "it goes with us")]
    pub(crate) folder: tempfile::TempDir,
}

impl Provider {
    /// `None`: not on this machine, which has been said.
    pub(crate) async fn start(kind: Kind) -> Option<Self> {
        match kind {
            Kind::Keycloak => keycloak::start().await,
            Kind::OidcProvider => oidc_provider::start().await,
            Kind::Dex => dex::start().await,
            Kind::Hydra => hydra::start().await,
        }
    }

    /// Makes it sign with another key, from the next token on.
    pub(crate) async fn rotate(&self) {
        match self.kind {
            Kind::Keycloak => keycloak::rotate(self).await,
            Kind::OidcProvider => oidc_provider::rotate(self).await,
            Kind::Dex => dex::rotate().await,
            Kind::Hydra => hydra::rotate(self).await,
        }
    }

    pub(crate) fn has_device_flow(&self) -> bool {
        self.kind != Kind::Hydra
    }

    pub(crate) fn has_services(&self) -> bool {
        self.kind != Kind::Dex
    }

    /// Its token endpoint's path.
    pub(crate) fn token_path(&self) -> &'static str {
        match self.kind {
            Kind::Keycloak => "/realms/acme/protocol/openid-connect/token",
            Kind::OidcProvider => "/token",
            Kind::Dex => "/dex/token",
            Kind::Hydra => "/oauth2/token",
        }
    }

    /// Its device authorization endpoint's path; Hydra of this version has none.
    pub(crate) fn device_path(&self) -> &'static str {
        match self.kind {
            Kind::Keycloak => "/realms/acme/protocol/openid-connect/auth/device",
            Kind::OidcProvider => "/device/auth",
            Kind::Dex => "/dex/device/code",
            Kind::Hydra => "",
        }
    }

    /// What `--audience` has to be for a token with that audience.
    fn audience(&self) -> Option<&'static str> {
        match self.kind {
            // A mapper adds it, or it is the client in any case.
            Kind::Keycloak | Kind::Dex => None,
            Kind::OidcProvider => Some("urn:attach"),
            Kind::Hydra => Some(TERMINAL),
        }
    }

    pub(crate) fn person(&self) -> Person {
        let person = Person::new().with("OIDC_ISSUER", &self.issuer).with("OIDC_CLIENT_ID", TERMINAL);
        match self.audience() {
            Some(audience) => person.with("OIDC_AUD", audience),
            None => person,
        }
    }

    /// A service, and the file with its secret.
    pub(crate) fn service(&self) -> (Person, String) {
        let service = self.person().with("OIDC_CLIENT_ID", SERVICE);
        let secret = service.file("secret", SERVICE_SECRET);
        (service, secret)
    }

    /// For this provider's access tokens, as its operator would describe them.
    pub(crate) fn gateway(&self) -> Setup {
        let kind = match self.kind {
            // Known by its address.
            Kind::Keycloak => "",
            Kind::OidcProvider => ", token_types: [TOKEN_TYPE_AT_JWT]",
            Kind::Dex => ", product: IDENTITY_PRODUCT_DEX",
            Kind::Hydra => ", product: IDENTITY_PRODUCT_GENERIC",
        };
        let issuer = &self.issuer;
        Setup::new().with_bundle(&format!(
            "identity_providers:\n  - {{issuer: '{issuer}', audiences: [{TERMINAL}]{kind}}}\n"
        ))
    }

    /// dex signs ID tokens and nothing else: what it hands out as an access token is one too, but for the hash of the code
    /// that ID tokens of a sign-in have.
    pub(crate) fn has_access_tokens(&self) -> bool {
        self.kind != Kind::Dex
    }

    /// The person opens this, signs in, and agrees.
    pub(crate) async fn sign_in(&self, address: &str) {
        let page =
            Browser::default().sign_in(address, async |url| hydra::instead_of_a_page(self, url).await).await;
        assert!(
            page.answer.status.is_success(),
            "{} at {}:\n{}\n{}",
            page.answer.status,
            page.url,
            page.answer.text(),
            self.process.said()
        );
    }
}
