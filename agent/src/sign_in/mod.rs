//! Gets a person, or a service with a secret, an access token of its identity provider, and keeps it.
//!
//! Three ways to a token: the device flow (RFC 8628), for which any browser will do, also on another machine; the
//! authorization code with PKCE and a redirect to loopback (RFC 8252), for a browser on this one; and the client's own
//! credentials (RFC 6749 section 4.4). After that the refresh token is used for as long as the provider takes it.
//!
//! No ID token is ever read, so none has to be verified and no nonce is sent (OpenID Connect Core section 3.1.2.1: it ties
//! an ID token to a sign-in). What ties the code to this sign-in is PKCE, and what ties the answer to this provider is
//! `iss` (RFC 9207).

mod browser;
mod callback;
mod device;
mod fault;
mod kept;
mod login;
mod provider;
mod redirect;
mod request;

pub(crate) use fault::SignInError;
pub(crate) use kept::{Keeper, Kept};
pub(crate) use login::{Need, SignIn};
pub(crate) use redirect::RedirectUri;

use oauth2::ClientSecret;

/// As what a token is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    /// As the provider's own metadata names it, but for a final slash.
    pub(crate) issuer: String,
    pub(crate) client_id: String,
    pub(crate) secret: Option<ClientSecret>,
    pub(crate) audience: Option<String>,
    /// `None`: what the provider and the way suggest.
    pub(crate) scope: Option<String>,
    pub(crate) redirect_uri: RedirectUri,
    /// What the sign-in page is to ask for (OpenID Connect Core section 3.1.2.1). `None`: see [`browser`].
    pub(crate) prompt: Option<String>,
}

/// How the first token is got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// By device where the provider has that, else by browser.
    Person,
    Device,
    Browser,
    /// With the client's secret, for a service.
    Service,
}
