//! `attach-gateway connect URL`

use super::sign_in::{SignInArgs, read_secret, warn_of_plain_http};
use crate::{
    clock::Clock,
    connect::{Credential, Gateway, Renewed, serve},
    settings::{Environment, InvalidSettings, Problem},
    sign_in::Need,
};
use anyhow::Context as _;
use clap::Args;
use std::{
    io::{self, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
};
use tokio::{net::TcpListener, task::LocalSet};
use url::Url;

#[derive(Debug, Args)]
pub(crate) struct ConnectArgs {
    /// The gateway
    url: Url,
    /// Address to listen on; loopback only
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:11434")]
    listen: SocketAddr,
    /// File with an API key, instead of signing in
    #[arg(long, value_name = "FILE", conflicts_with_all = ["issuer", "client_id", "client_secret_file", "device", "browser"])]
    key_file: Option<PathBuf>,
    #[command(flatten)]
    sign_in: SignInArgs,
}

/// Signs in, says so, and serves until it is ended.
pub(super) fn run(args: &ConnectArgs) -> anyhow::Result<()> {
    let environment = Environment::read(Path::new(".")).map_err(|problem| InvalidSettings(vec![problem]))?;
    if !args.listen.ip().is_loopback() {
        return Err(wrong(
            "--listen",
            format!("is {}, which others can reach", args.listen),
            "Listen on 127.0.0.1 or [::1]: whoever reaches this port acts as you.",
        ));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let tls = args.sign_in.tls()?;
        let gateway = Gateway::new(&args.url, tls.clone()).map_err(|problem| {
            wrong("URL", problem, "Name the gateway as http://HOST:PORT or https://HOST.")
        })?;
        warn_of_plain_http(args.url.as_str(), "the token");
        // Before anybody signs in: a port that is taken is told first.
        let listener = TcpListener::bind(args.listen).await;
        let listener = listener.with_context(|| {
            format!("cannot listen on {} (is Ollama running here? --listen names another port)", args.listen)
        })?;
        let port = listener.local_addr()?.port();
        let credential = credential(args, &environment, &tls).await?;
        say(args, &listener.local_addr()?);
        serve(listener, port, gateway, credential).await;
        Ok(())
    })
}

async fn credential(
    args: &ConnectArgs,
    environment: &Environment,
    tls: &std::sync::Arc<rustls::ClientConfig>,
) -> anyhow::Result<Credential> {
    if let Some(path) = &args.key_file {
        return Ok(Credential::key(&read_secret(path)?)?);
    }
    let sign_in = args.sign_in.resolve(Some(&args.url), environment, tls).await?;
    let first = sign_in.token(Need { other_than: None, is_fresh: false, has_person: true }).await?;
    Ok(Credential::Token(Box::new(Renewed::new(sign_in, first, Clock::System))))
}

/// Nothing else can be done when standard error is closed.
fn say(args: &ConnectArgs, address: &SocketAddr) {
    let _ = writeln!(
        io::stderr(),
        "Requests to http://{address} go to {} with your credential. For the ollama command: export OLLAMA_HOST={address}",
        args.url
    );
}

fn wrong(setting: &str, problem: impl Into<String>, remedy: &str) -> anyhow::Error {
    InvalidSettings(vec![Problem::new(setting, problem, remedy)]).into()
}
