//! From the token that is kept to a new sign-in, whichever is the least.

use super::{
    Client, Keeper, Kept, Way, browser, device,
    fault::{SignInError, failed},
    kept::Locked,
    provider::Provider,
    request::{audience_parameters, by_http, token_client},
};
use crate::{clock::Clock, fetch::Fetcher};
use jiff::SignedDuration;
use oauth2::{
    AccessToken, RefreshToken, Scope, TokenResponse as _,
    basic::{BasicTokenResponse, BasicTokenType},
};
use std::io::{self, Write as _};

const RENEWING: &str = "renewing the token";
const BY_SECRET: &str = "asking with the client's secret";

/// Everything that it takes to get one token again and again.
#[derive(Debug)]
pub(crate) struct SignIn {
    pub(crate) client: Client,
    pub(crate) way: Way,
    pub(crate) keeper: Keeper,
    /// What shows an address in a browser; `None` is the system's own.
    pub(crate) opener: Option<String>,
    pub(crate) web: Fetcher,
    pub(crate) clock: Clock,
}

/// What for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Need<'a> {
    /// Not this one: it was refused, or is not wanted. One that somebody else has got meanwhile is good.
    pub(crate) other_than: Option<&'a AccessToken>,
    /// Not one that is kept.
    pub(crate) is_fresh: bool,
    /// Whether somebody is there who could sign in.
    pub(crate) has_person: bool,
}

impl SignIn {
    /// A token that is good for a while.
    ///
    /// # Errors
    /// Says what failed, and what the person can do.
    pub(crate) async fn token(&self, need: Need<'_>) -> Result<Kept, SignInError> {
        let locked = self.keeper.lock().await?;
        let kept = self.keeper.read(&locked)?;
        if let Some(kept) = &kept
            && is_enough(kept, need, &self.clock)
        {
            return Ok(kept.clone());
        }
        let provider = match Provider::discover(&self.client.issuer, &self.web).await {
            Ok(provider) => provider,
            Err(error) => return self.spare(kept, need, error),
        };
        let refresh_token = kept.as_ref().and_then(|kept| kept.refresh_token.clone());
        if let Some(refresh_token) = &refresh_token {
            match self.renew(refresh_token, &provider).await {
                Ok(response) => return self.keep(&response, refresh_token.into(), &locked),
                Err(SignInError::Refused { refused, .. }) if refused.is_the_end_of_a_refresh_token() => {}
                Err(error) => return self.spare(kept, need, error),
            }
        }
        let response = self.sign_in(&provider, need).await?;
        self.keep(&response, None, &locked)
    }

    /// The provider cannot be had just now: what is kept is good enough for as long as it is alive.
    fn spare(&self, kept: Option<Kept>, need: Need<'_>, error: SignInError) -> Result<Kept, SignInError> {
        let is_spare = |kept: &Kept| is_wanted(kept, need) && kept.is_alive_at(self.clock.now());
        kept.filter(is_spare).ok_or(error)
    }

    async fn renew(
        &self,
        refresh_token: &RefreshToken,
        provider: &Provider,
    ) -> Result<BasicTokenResponse, SignInError> {
        let oauth = token_client(&self.client, provider);
        let mut request = oauth.exchange_refresh_token(refresh_token);
        for (name, value) in audience_parameters(&self.client) {
            request = request.add_extra_param(name, value);
        }
        request.request_async(&by_http(&self.web)).await.map_err(|error| failed(RENEWING, error))
    }

    async fn sign_in(&self, provider: &Provider, need: Need<'_>) -> Result<BasicTokenResponse, SignInError> {
        let way = match self.way {
            Way::Person if provider.device.is_some() => Way::Device,
            Way::Person => Way::Browser,
            asked @ (Way::Device | Way::Browser | Way::Service) => asked,
        };
        if way != Way::Service && !need.has_person {
            return Err(SignInError::NobodyThere(self.command()));
        }
        let suggested = || provider.scope_for_a_person();
        let scope = self.client.scope.clone();
        match way {
            Way::Service => self.by_secret(provider, &scope.unwrap_or_default()).await,
            Way::Browser => {
                let scope = scope.unwrap_or_else(suggested);
                browser::sign_in(&self.client, provider, &scope, self.opener.as_deref(), &self.web).await
            }
            Way::Device | Way::Person => {
                let scope = scope.unwrap_or_else(suggested);
                device::sign_in(&self.client, provider, &scope, &self.web).await
            }
        }
    }

    async fn by_secret(&self, provider: &Provider, scope: &str) -> Result<BasicTokenResponse, SignInError> {
        let oauth = token_client(&self.client, provider);
        let mut request = oauth.exchange_client_credentials();
        for scope in scope.split_whitespace() {
            request = request.add_scope(Scope::new(scope.to_owned()));
        }
        for (name, value) in audience_parameters(&self.client) {
            request = request.add_extra_param(name, value);
        }
        request.request_async(&by_http(&self.web)).await.map_err(|error| failed(BY_SECRET, error))
    }

    /// On disk before anybody sees it: a refresh token that was used is worth nothing any more.
    fn keep(
        &self,
        response: &BasicTokenResponse,
        used: Option<&RefreshToken>,
        locked: &Locked,
    ) -> Result<Kept, SignInError> {
        match response.token_type() {
            BasicTokenType::Bearer => {}
            BasicTokenType::Mac => return Err(SignInError::NotBearer("mac".to_owned())),
            BasicTokenType::Extension(kind) => return Err(SignInError::NotBearer(kind.clone())),
        }
        let access_token = response.access_token();
        check_text(access_token.secret())?;
        let obtained_at = self.clock.now();
        let life = response.expires_in().and_then(|life| SignedDuration::try_from(life).ok());
        let kept = Kept {
            access_token: access_token.clone(),
            obtained_at,
            expires_at: life.and_then(|life| obtained_at.checked_add(life).ok()),
            // RFC 6749 section 6: where none comes, the old one goes on.
            refresh_token: response.refresh_token().or(used).cloned(),
        };
        self.keeper.write(&kept, locked)?;
        if access_token.secret().split('.').count() != 3 {
            // Nothing else can be done when standard error is closed.
            let _ = writeln!(
                io::stderr(),
                "Note: this token is opaque, and a gateway verifies signed ones (JWT). Name what it is for with --audience, \
                 or have the provider issue JWTs."
            );
        }
        Ok(kept)
    }

    /// How the person would sign in.
    fn command(&self) -> String {
        let Client { issuer, client_id, audience, scope, .. } = &self.client;
        let option = |name: &str, value: &Option<String>| {
            value.as_ref().map(|value| format!(" --{name} '{value}'")).unwrap_or_default()
        };
        format!(
            "run attach-gateway token --issuer '{issuer}' --client-id '{client_id}'{}{} in a terminal, and try again",
            option("audience", audience),
            option("scope", scope)
        )
    }
}

fn is_enough(kept: &Kept, need: Need<'_>, clock: &Clock) -> bool {
    is_wanted(kept, need) && kept.is_good_at(clock.now())
}

fn is_wanted(kept: &Kept, need: Need<'_>) -> bool {
    !need.is_fresh && need.other_than.is_none_or(|token| token.secret() != kept.access_token.secret())
}

/// It stands in a header and in a shell's variable: RFC 6750 section 2.1 has no blank and no control character in it.
fn check_text(token: &str) -> Result<(), SignInError> {
    if token.is_empty() || token.bytes().any(|byte| !byte.is_ascii_graphic()) {
        let problem = "the token has characters that none may have".to_owned();
        return Err(SignInError::Answer { doing: "taking the token", problem });
    }
    Ok(())
}
