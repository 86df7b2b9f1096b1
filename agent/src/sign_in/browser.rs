//! The authorization code with PKCE, and a redirect to loopback (RFC 8252).

use super::{
    Client,
    callback::{Answer, Callback},
    fault::{Refused, SignInError, failed},
    provider::Provider,
    request::{audience_parameters, by_http, token_client},
};
use crate::{fetch::Fetcher, usage::printable};
use oauth2::{
    AuthUrl, AuthorizationCode, CsrfToken, PkceCodeChallenge, RedirectUrl, Scope, basic::BasicTokenResponse,
};
use std::{
    io::{self, Write as _},
    process::{Command, Stdio},
    time::Duration,
};
use tokio::time::timeout;

/// Time to find the second factor. Providers give a sign-in page some minutes to half an hour.
const LONGEST_WAIT: Duration = Duration::from_secs(10 * 60);

const SIGNING_IN: &str = "signing in";
const REDEEMING: &str = "redeeming the code";

/// `opener`: the program that shows an address, as `$BROWSER` names it.
pub(super) async fn sign_in(
    client: &Client,
    provider: &Provider,
    scope: &str,
    opener: Option<&str>,
    web: &Fetcher,
) -> Result<BasicTokenResponse, SignInError> {
    let authorization = provider
        .authorization
        .as_ref()
        .ok_or(SignInError::NoSuchWay { what: "authorization endpoint", instead: "sign in with --device" })?;
    if provider.knows_pkce == Some(false) {
        return Err(SignInError::NoSuchWay {
            what: "PKCE with S256, without which a browser's answer can be stolen",
            instead: "sign in with --device",
        });
    }
    let callback = Callback::listen(&client.redirect_uri).await?;
    let redirect_uri = RedirectUrl::new(callback.uri().to_owned())
        .map_err(|error| SignInError::Answer { doing: SIGNING_IN, problem: error.to_string() })?;
    let oauth = token_client(client, provider)
        .set_auth_uri(AuthUrl::from_url(authorization.clone()))
        .set_redirect_uri(redirect_uri);
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let mut request = oauth.authorize_url(CsrfToken::new_random).set_pkce_challenge(challenge);
    for scope in scope.split_whitespace() {
        request = request.add_scope(Scope::new(scope.to_owned()));
    }
    for (name, value) in audience_parameters(client) {
        request = request.add_extra_param(name, value);
    }
    if let Some(prompt) = prompt(client, scope) {
        request = request.add_extra_param("prompt", prompt);
    }
    let (address, state) = request.url();
    show(address.as_str(), opener);
    let answer = timeout(LONGEST_WAIT, callback.answer(state.secret()))
        .await
        .map_err(|_elapsed| SignInError::TooLate(LONGEST_WAIT))?;
    let code = code(answer, provider)?;
    let mut request = oauth.exchange_code(AuthorizationCode::new(code)).set_pkce_verifier(verifier);
    for (name, value) in audience_parameters(client) {
        request = request.add_extra_param(name, value);
    }
    request.request_async(&by_http(web)).await.map_err(|error| failed(REDEEMING, error))
}

/// OpenID Connect Core section 11: who is to be remembered has to be asked, else a provider may leave that out.
fn prompt<'a>(client: &'a Client, scope: &str) -> Option<&'a str> {
    match &client.prompt {
        Some(word) => Some(word.as_str()).filter(|word| !word.is_empty()),
        None => scope.split_whitespace().any(|scope| scope == "offline_access").then_some("consent"),
    }
}

/// RFC 9207 section 2.4: before anything else of the answer is looked at, an error included.
fn code(answer: Answer, provider: &Provider) -> Result<String, SignInError> {
    let is_its = match &answer.issuer {
        Some(issuer) => *issuer == provider.issuer,
        None => !provider.names_itself,
    };
    if !is_its {
        return Err(SignInError::OtherIssuer {
            expected: provider.issuer.clone(),
            found: answer.issuer.unwrap_or_else(|| "nobody".to_owned()),
        });
    }
    if let Some(code) = answer.error {
        let refused = Refused { code, description: answer.error_description };
        return Err(SignInError::Refused { doing: SIGNING_IN, refused });
    }
    answer.code.ok_or_else(|| SignInError::Answer {
        doing: SIGNING_IN,
        problem: "the browser came back without a code".to_owned(),
    })
}

/// The address is always printed: there may be no browser here, or the wrong one.
fn show(address: &str, opener: Option<&str>) {
    let _ = writeln!(
        io::stderr(),
        "To sign in, open this address in a browser on this machine:\n{}",
        printable(address)
    );
    let default = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    // Whoever has none reads the address. What it prints must not come between the token and its reader.
    let opened = Command::new(opener.unwrap_or(default))
        .arg(address)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if let Ok(mut child) = opened {
        // Else it stays a zombie for as long as `connect` runs.
        std::thread::spawn(move || child.wait());
    }
}
