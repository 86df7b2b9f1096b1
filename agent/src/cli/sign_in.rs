//! What `token` and `connect` are told of the identity provider, by flags, by the environment, or by a gateway.

use crate::{
    clock::Clock,
    dial::{Guard, tls_config_with},
    fetch::Fetcher,
    settings::{Environment, InvalidSettings, Problem},
    sign_in::{Client, Keeper, RedirectUri, SignIn, Way},
    tls::certificates,
};
use anyhow::{Context as _, bail};
use clap::Args;
use oauth2::ClientSecret;
use rustls::ClientConfig;
use serde::Deserialize;
use std::{
    io::{self, Write as _},
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};
use url::{Host, Url};

/// Secrets have some tens of characters; this is not one.
const MAX_SECRET_BYTES: u64 = 4_096;

#[derive(Debug, Args)]
pub(crate) struct SignInArgs {
    #[arg(
        long,
        value_name = "URL",
        help = "The identity provider, as its tokens name it [env: OIDC_ISSUER]"
    )]
    issuer: Option<String>,
    #[arg(long, value_name = "ID", help = "What this program is registered as there [env: OIDC_CLIENT_ID]")]
    client_id: Option<String>,
    #[arg(long, value_name = "AUDIENCE", help = "What the token is for [env: OIDC_AUD]")]
    audience: Option<String>,
    #[arg(
        long,
        value_name = "SCOPES",
        help = "Scopes, separated by blanks [env: OIDC_SCOPE] [default: openid and offline_access, where known]"
    )]
    scope: Option<String>,
    /// Sign in with a code, in any browser [default: so, where the provider has it]
    #[arg(long, conflicts_with = "browser")]
    device: bool,
    /// Sign in with a browser on this machine
    #[arg(long)]
    browser: bool,
    #[arg(
        long,
        value_name = "FILE",
        help = "File with the client's secret; without --device or --browser the token is then the client's own, and no \
                person's [env: OIDC_CLIENT_SECRET_FILE]"
    )]
    client_secret_file: Option<PathBuf>,
    /// Where the browser comes back to; port 0 takes a free one
    #[arg(long, value_name = "URI", default_value = "http://127.0.0.1:0/callback")]
    redirect_uri: RedirectUri,
    #[arg(
        long,
        value_name = "WORD",
        help = "What the browser's page is to ask for, such as select_account; an empty word asks for nothing \
                [default: consent, where offline_access is asked for]"
    )]
    prompt: Option<String>,
    /// Certificate authorities in PEM that are trusted beside the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// What a gateway says at `/auth/config`.
#[derive(Debug, Default, Deserialize)]
struct Suggested {
    issuer: Option<String>,
    client_id: Option<String>,
    audience: Option<String>,
}

impl SignInArgs {
    pub(super) fn tls(&self) -> anyhow::Result<Arc<ClientConfig>> {
        let authorities = self.ca.as_deref().map(|path| {
            certificates(path)
                .with_context(|| format!("{}: no certificate in PEM can be read", path.display()))
        });
        Ok(tls_config_with(authorities.transpose()?.unwrap_or_default()))
    }

    /// `gateway` is asked for what nobody said.
    pub(super) async fn resolve(
        &self,
        gateway: Option<&Url>,
        environment: &Environment,
        tls: &Arc<ClientConfig>,
    ) -> anyhow::Result<SignIn> {
        // The person's own word, and what the provider of their choice says of itself.
        let web = Fetcher::new(Arc::clone(tls), Guard::Operator);
        let or_env =
            |flag: &Option<String>, name| flag.clone().or_else(|| environment.get(name).map(str::to_owned));
        let (issuer, client_id) =
            (or_env(&self.issuer, "OIDC_ISSUER"), or_env(&self.client_id, "OIDC_CLIENT_ID"));
        let audience = or_env(&self.audience, "OIDC_AUD");
        let suggested = match gateway {
            Some(gateway) if issuer.is_none() || client_id.is_none() || audience.is_none() => {
                suggested_by(gateway, &web).await?
            }
            _ => Suggested::default(),
        };
        let mut missing = Vec::new();
        let mut need = |value: Option<String>, flag: &str, name: &str| {
            value.unwrap_or_else(|| {
                let problem = match gateway {
                    Some(_) => "is missing, and the gateway does not tell it",
                    None => "is missing",
                };
                let remedy = match gateway {
                    Some(_) => format!("Give it, or set {name} here or where the gateway is."),
                    None => format!("Give it, or set {name}; a gateway that tells it is named by its URL."),
                };
                missing.push(Problem::new(flag, problem, remedy));
                String::new()
            })
        };
        let issuer = need(issuer.or(suggested.issuer), "--issuer", "OIDC_ISSUER");
        let client_id = need(client_id.or(suggested.client_id), "--client-id", "OIDC_CLIENT_ID");
        if !missing.is_empty() {
            return Err(InvalidSettings(missing).into());
        }
        warn_of_plain_http(&issuer, "the sign-in");
        let secret = self.secret(environment)?;
        let client = Client {
            issuer,
            client_id,
            audience: audience.or(suggested.audience),
            scope: or_env(&self.scope, "OIDC_SCOPE"),
            redirect_uri: self.redirect_uri.clone(),
            prompt: self.prompt.clone(),
            secret,
        };
        let way = match (self.device, self.browser, &client.secret) {
            (true, _, _) => Way::Device,
            (_, true, _) => Way::Browser,
            (_, _, Some(_)) => Way::Service,
            (_, _, None) => Way::Person,
        };
        Ok(SignIn {
            keeper: Keeper::new(&folder(environment), &client, way),
            client,
            way,
            opener: environment.get("BROWSER").map(str::to_owned),
            web,
            clock: Clock::System,
        })
    }

    fn secret(&self, environment: &Environment) -> anyhow::Result<Option<ClientSecret>> {
        let named = || environment.get("OIDC_CLIENT_SECRET_FILE").map(PathBuf::from);
        let Some(path) = self.client_secret_file.clone().or_else(named) else { return Ok(None) };
        Ok(Some(ClientSecret::new(read_secret(&path)?)))
    }
}

/// The one line of a file, which is not shown whatever is wrong with it.
pub(super) fn read_secret(path: &Path) -> anyhow::Result<String> {
    let name = path.display();
    let bytes = crate::whole_file::read(path, MAX_SECRET_BYTES).with_context(|| name.to_string())?;
    let bytes = bytes.with_context(|| format!("{name}: there is no such file"))?;
    let text = String::from_utf8(bytes).ok().map(|text| text.trim().to_owned());
    match text {
        Some(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(text),
        _ => bail!("{name}: must have one line with the secret and nothing else"),
    }
}

/// Tokens that travel in the clear are anybody's on the way. It may be meant, in a network of one's own.
pub(super) fn warn_of_plain_http(url: &str, what: &str) {
    let Ok(url) = url.parse::<Url>() else { return };
    let is_loopback = match url.host() {
        Some(Host::Ipv4(ip)) => IpAddr::from(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::from(ip).is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => true,
    };
    if url.scheme() == "http" && !is_loopback {
        // Nothing else can be done when standard error is closed.
        let _ = writeln!(
            io::stderr(),
            "Note: {url} is plain HTTP, so {what} can be read by anybody on the way there."
        );
    }
}

async fn suggested_by(gateway: &Url, web: &Fetcher) -> anyhow::Result<Suggested> {
    let address = format!("{}/auth/config", gateway.as_str().trim_end_matches('/'));
    let address: Url = address.parse()?;
    let bytes = web
        .fetch(&address)
        .await
        .with_context(|| format!("the gateway is asked where to sign in, {address}"))?;
    serde_json::from_slice(&bytes).with_context(|| format!("{address} is not what a gateway says"))
}

/// As the XDG Base Directory Specification has it; a service without a home keeps them with the gateway's state.
fn folder(environment: &Environment) -> PathBuf {
    let cache = environment.get("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || environment.get("HOME").map(|home| Path::new(home).join(".cache"));
    match cache.or_else(home) {
        Some(cache) => cache.join("attach-gateway").join("tokens"),
        None => Path::new(super::DEFAULT_STATE).join("tokens"),
    }
}
