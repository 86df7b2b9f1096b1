//! The device flow (RFC 8628): the person signs in with any browser, and types a code.

use super::{
    Client,
    fault::{SignInError, failed},
    provider::Provider,
    request::{audience_parameters, by_http, device_address, token_client},
};
use crate::{fetch::Fetcher, usage::printable};
use oauth2::{PkceCodeChallenge, Scope, StandardDeviceAuthorizationResponse, basic::BasicTokenResponse};
use std::{
    io::{self, Write as _},
    time::Duration,
};

/// A provider that says less is asked no more often.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// Codes are good for five to thirty minutes; who has not signed in by then has gone.
const LONGEST_WAIT: Duration = Duration::from_secs(30 * 60);

const ASKING: &str = "asking for a device code";
const WAITING: &str = "waiting for the sign-in";

pub(super) async fn sign_in(
    client: &Client,
    provider: &Provider,
    scope: &str,
    web: &Fetcher,
) -> Result<BasicTokenResponse, SignInError> {
    let address = provider
        .device
        .as_ref()
        .ok_or(SignInError::NoSuchWay { what: "device flow", instead: "sign in with --browser" })?;
    let http = by_http(web);
    let oauth = token_client(client, provider).set_device_authorization_url(device_address(address));
    // Keycloak wants it of a client that must use PKCE, and it does no harm: a device code that is read on the way is
    // worth nothing without it.
    let pkce = (provider.knows_pkce == Some(true)).then(PkceCodeChallenge::new_random_sha256);
    let mut request = oauth.exchange_device_code();
    if let Some((challenge, _)) = &pkce {
        request = request
            .add_extra_param("code_challenge", challenge.as_str())
            .add_extra_param("code_challenge_method", challenge.method().as_str());
    }
    for scope in scope.split_whitespace() {
        request = request.add_scope(Scope::new(scope.to_owned()));
    }
    for (name, value) in audience_parameters(client) {
        request = request.add_extra_param(name, value);
    }
    let details: StandardDeviceAuthorizationResponse =
        request.request_async(&http).await.map_err(|error| failed(ASKING, error))?;
    say(&details);
    let mut polling = oauth.exchange_device_access_token(&details);
    if let Some((_, verifier)) = &pkce {
        polling = polling.add_extra_param("code_verifier", verifier.secret().as_str());
    }
    for (name, value) in audience_parameters(client) {
        polling = polling.add_extra_param(name, value);
    }
    let wait = |interval: Duration| tokio::time::sleep(interval.max(SHORTEST_INTERVAL));
    let longest = details.expires_in().min(LONGEST_WAIT);
    polling.request_async(&http, wait, Some(longest)).await.map_err(|error| failed(WAITING, error))
}

/// Nothing else can be done when standard error is closed. What the provider says may have control characters.
fn say(details: &StandardDeviceAuthorizationResponse) {
    let mut out = io::stderr().lock();
    let _ = writeln!(
        out,
        "To sign in, open {} and enter the code {}",
        printable(details.verification_uri()),
        printable(details.user_code().secret())
    );
    if let Some(complete) = details.verification_uri_complete() {
        let _ = writeln!(out, "or open {}", printable(complete.secret()));
    }
    let minutes = details.expires_in().min(LONGEST_WAIT).as_secs().div_ceil(60);
    let _ = writeln!(out, "Waiting; the code is good for {minutes} minutes.");
}
