//! Where an issuer's keys come from.

use attach_proto::{
    bundle::{IdentityProvider, KeySource},
    did::{Did, Method},
};
use std::sync::Arc;
use url::Url;

/// Where keys come from. Providers of different tenants that name the same source share its keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Source {
    /// As configured.
    pub(super) issuer: String,
    pub(super) jwks_url: Option<Url>,
    /// The keys themselves, which nobody is asked for then.
    pub(super) jwks: Option<Arc<str>>,
    pub(super) key_source: KeySource,
}

impl Source {
    /// `None` for a DID that has no document.
    pub(super) fn of_did(did: &Did) -> Option<Self> {
        match did.method() {
            Method::Web(document) => {
                let issuer = did.as_str().to_owned();
                let jwks_url = Some(document.clone());
                Some(Self { issuer, jwks_url, jwks: None, key_source: KeySource::Gateway })
            }
            Method::Key(_) | Method::Pkh(_) => None,
        }
    }

    /// Whether its keys stand in a DID document, and not in a key set.
    pub(super) fn is_did(&self) -> bool {
        self.issuer.starts_with("did:")
    }

    pub(super) fn of(provider: &IdentityProvider) -> Self {
        Self {
            issuer: provider.issuer.clone(),
            jwks_url: provider.jwks_url.clone(),
            jwks: match provider.key_source {
                KeySource::Gateway => provider.jwks.clone(),
                // They come and go, and the issuer stays the same.
                KeySource::ControlPlane => None,
            },
            key_source: provider.key_source,
        }
    }

    /// Whether its keys come from the control plane.
    pub(super) fn is_pushed(&self) -> bool {
        self.key_source == KeySource::ControlPlane
    }
}
