//! `attach-demo`: the demo engine, the demo issuer, and its tokens.

use anyhow::{Context, bail};
use attach_demo::{
    bind,
    engine::{self, Engine},
    issuer::{self, State, token::Grant},
};
use clap::{Args, Parser, Subcommand};
use jiff::SignedDuration;
use std::{
    io::{self, Write},
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    time::Duration,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

/// Longest life of a demo token: a year is enough for any demo, and short of the dates at which clocks overflow.
const MAX_TOKEN_LIFE: SignedDuration = SignedDuration::from_hours(366 * 24);

/// Stand-ins on loopback for trying Attach Gateway out: no real model, no real login.
#[derive(Parser)]
#[command(name = "attach-demo", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the demo engine: Ollama's, OpenAI's and Anthropic's routes over a tiny deterministic model.
    Engine {
        #[command(flatten)]
        listen: Listen,
        /// Milliseconds that one token takes.
        #[arg(long, default_value_t = 20, value_name = "MS")]
        delay_ms: u64,
    },
    /// Serve the demo issuer: OpenID metadata and the public key.
    Issuer {
        #[command(flatten)]
        listen: Listen,
        /// Folder that keeps the signing key; made when missing.
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
    },
    /// Print an access token of the demo issuer.
    Token {
        /// Folder of an issuer that was started.
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
        /// Who the token is for.
        #[arg(long)]
        sub: String,
        /// Which audience it is for.
        #[arg(long)]
        aud: String,
        /// How long it is good for: 90s, 15m, 24h.
        #[arg(long, default_value = "24h")]
        ttl: SignedDuration,
        /// Groups of the holder.
        #[arg(long, value_delimiter = ',', value_name = "A,B")]
        groups: Vec<String>,
    },
}

#[derive(Args)]
struct Listen {
    /// Loopback address to listen on.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// Port to listen on; 0 takes a free one.
    #[arg(long)]
    port: u16,
    /// File that gets the port once it is open.
    #[arg(long, value_name = "FILE")]
    port_file: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Engine { listen, delay_ms } => {
            let (listener, url) = open(&listen).await?;
            announce(&listen, &listener, &format!("demo engine (no real model) on {url}"))?;
            let engine = Engine::new(Duration::from_millis(delay_ms));
            tokio::select! {
                never = engine::serve(listener, engine) => match never {},
                ended = asked_to_end() => ended,
            }
        }
        Command::Issuer { listen, state } => {
            let state = State::open(&state)?;
            let key = state.key()?;
            let (listener, url) = open(&listen).await?;
            state.set_issuer(&url)?;
            announce(&listen, &listener, &format!("demo issuer (for trials only) {url}"))?;
            tokio::select! {
                never = issuer::serve(listener, &url, &key) => match never {},
                ended = asked_to_end() => ended,
            }
        }
        Command::Token { state, sub, aud, ttl, groups } => {
            if !(SignedDuration::from_secs(1)..=MAX_TOKEN_LIFE).contains(&ttl) {
                bail!("--ttl must be between 1s and 366 days");
            }
            let state = State::open(&state)?;
            let lifetime = Duration::try_from(ttl).context("--ttl")?;
            let grant = Grant { subject: sub, audience: aud, lifetime, groups };
            let issuer = state.issuer().context("start `attach-demo issuer` with this --state first")?;
            say(&issuer::token::mint(&state.key()?, &issuer, &grant)?)
        }
    }
}

async fn open(listen: &Listen) -> anyhow::Result<(TcpListener, String)> {
    let listener = bind(listen.host, listen.port).await?;
    let url = format!("http://{}", listener.local_addr()?);
    Ok((listener, url))
}

/// Tells the port only when it is open: whoever waits for the file may connect.
fn announce(listen: &Listen, listener: &TcpListener, line: &str) -> anyhow::Result<()> {
    if let Some(path) = &listen.port_file {
        let port = listener.local_addr()?.port();
        issuer::write_file(path, &format!("{port}\n"))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    say(line)
}

fn say(line: &str) -> anyhow::Result<()> {
    writeln!(io::stdout().lock(), "{line}").context("cannot write to standard output")
}

async fn asked_to_end() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}
