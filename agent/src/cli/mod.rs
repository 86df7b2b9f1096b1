//! The command line.

mod check;
mod connect;
mod did;
mod explain;
mod join;
mod sign_in;
mod tls;
mod token;

pub(crate) use tls::{AcmeBy, TlsArgs, TlsFrom};

use crate::{
    callers::parse_net,
    clock::Clock,
    enrolment::is_enrolled,
    settings::{Environment, InvalidSettings, Settings},
    start, telemetry,
    usage::{self, UsageArgs},
};
use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;
use std::{
    io::{self, Write as _},
    net::IpAddr,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Verifies who calls your engine, enforces quotas, streams the answer through and counts the tokens.
#[derive(Debug, Parser)]
#[command(
    name = "attach-gateway",
    version,
    long_about = LONG_ABOUT,
    after_long_help = AFTER_HELP,
    args_conflicts_with_subcommands = true
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
}

const LONG_ABOUT: &str = "\
Verifies who calls your engine, enforces quotas, streams the answer through and counts the tokens.

Start it in front of Ollama:

  OIDC_ISSUER=https://login.example.com/ OIDC_AUD=my-api attach-gateway
  KEYS_FILE=keys.json attach-gateway --upstream http://localhost:8000
  attach-gateway --config bundle.yaml

Or let a control plane say who may call, with the line that its console shows:

  attach-gateway join atj_…@https://control.example:8443";

const AFTER_HELP: &str = "\
Environment (a .env file in the working directory is read too; flags win over the environment, the environment \
wins over .env):
  OIDC_ISSUER, OIDC_AUD  identity provider and audience of the access tokens that callers present
  KEYS_FILE              JSON file with API keys: {\"keys\": [\"sk-…\"]}; for a key may stand an object with id, key or
                         sha256, owner, groups, scopes, models, expires_at, name; read again when it changes
  ENGINE_URL             the engine, as --upstream; OLLAMA_HOST works too (URL, or host:port)
  MAX_TOKENS_PER_MIN     tokens that each user may consume per window (60000); none means no limit
  WINDOW                 length of that window in seconds (60)
  REDIS_URL              share limits between gateways: redis://host:port
  MAX_REQUEST_BYTES      largest request body (33554432)
  TRUSTED_PROXIES, CORS_ORIGINS  as --trusted-proxies, --cors-origins
  JWKS_TTL               seconds after which an issuer's keys are renewed at the latest (600)
  ALLOW_ADDRESSES        as --allow-addresses: 10.1.0.0/16,fd00::/8
  AUTH0_DOMAIN, AUTH0_CLIENT  shown to browser front ends at /auth/config
  OIDC_CLIENT_ID, OIDC_SCOPE, OIDC_CLIENT_SECRET_FILE  for `attach-gateway token` and `connect`, with the two above
  ATTACH_JOIN            what to join with, for `attach-gateway join` without an argument
  RUST_LOG               what is logged on standard error (info); the access log goes to standard output";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Join a control plane, and then serve as it says
    ///
    /// Once is enough: after that, `attach-gateway` alone starts the gateway with what it was given.
    Join(Box<join::JoinArgs>),
    /// Sign in, and print an access token: OPENAI_API_KEY=$(attach-gateway token)
    ///
    /// It is kept in the user's cache folder and renewed with the provider's refresh token, so that one sign-in lasts.
    /// Everything but the token goes to standard error.
    Token(token::TokenArgs),
    /// Listen on loopback, and forward to a gateway with your credential, for programs that can't send one
    ///
    /// Without other words it asks the gateway where to sign in, and signs in as `attach-gateway token` does.
    Connect(connect::ConnectArgs),
    /// Show recorded usage by user and model
    Usage(UsageArgs),
    /// Check a bundle file, and say where it is wrong
    ///
    /// Of one that is good it says which product each identity provider is taken for, and what that filled in.
    Check {
        /// YAML or JSON
        file: PathBuf,
    },
    /// Make a key whose DID calls the gateway, and tokens that prove it
    Did(did::DidArgs),
    /// Say why a request was refused, or how a token or key fares: each check, the reason, and what to change
    ///
    /// A credential is checked by the gateway that runs on the state folder, with the keys that it holds, as a request's
    /// would be; nothing is used up, kept or logged by that, and no part of a secret is printed:
    ///
    ///   attach-gateway token | attach-gateway explain -
    #[command(verbatim_doc_comment)]
    Explain(explain::ExplainArgs),
}

/// Each takes some 20 KiB while it is idle, and two file descriptors: a third of a gigabyte in all.
const MAX_CONNECTIONS: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// A quarter of all, so that it takes more than one to keep all others out. An office behind one address has room.
const MAX_CONNECTIONS_PER_CLIENT: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();

/// Half as many as connections. An engine has some hundred in hand at a time; this is for many engines, and for waits.
const MAX_IN_PROGRESS: NonZeroUsize = NonZeroUsize::new(8_192).unwrap();

/// In the working directory, beside `.env`.
pub(crate) const DEFAULT_STATE: &str = ".attach";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AccessLogTo {
    Stdout,
    // Refusals are kept for `explain` all the same.
    Off,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Address to listen on
    #[arg(long, default_value = "0.0.0.0")]
    pub(crate) host: IpAddr,
    /// Port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 8080)]
    pub(crate) port: u16,
    #[arg(long, value_name = "URL", help = "The engine [default: http://localhost:11434]")]
    pub(crate) upstream: Option<String>,
    /// Bundle file (YAML or JSON) with tenants, identity providers, keys, models, limits and upstreams; read again
    /// when it changes
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Folder for the enrolment, usage records, issuers' keys and refusals
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE)]
    pub(crate) state: PathBuf,
    /// Address of health checks and metrics [default: 127.0.0.1]
    #[arg(long)]
    pub(crate) admin_host: Option<IpAddr>,
    /// Port of health checks and metrics [default: 1000 above --port]
    #[arg(long)]
    pub(crate) admin_port: Option<u16>,
    /// Networks, with commas between, to which addresses that a tenant wrote may lead though they are not public. Of a
    /// gateway that has joined a control plane: what its own settings name may lie anywhere
    #[arg(long, value_name = "CIDR[,…]")]
    pub(crate) allow_addresses: Option<String>,
    /// Threads that serve requests [default: one for each core]
    #[arg(long)]
    pub(crate) workers: Option<NonZeroUsize>,
    /// Connections of callers at a time; who comes beyond it is told so and let go
    #[arg(long, value_name = "COUNT", default_value_t = MAX_CONNECTIONS)]
    pub(crate) max_connections: NonZeroUsize,
    /// Connections of one client at a time: one address, or one /64 network of IPv6. Not for --trusted-proxies
    #[arg(long, value_name = "COUNT", default_value_t = MAX_CONNECTIONS_PER_CLIENT)]
    pub(crate) max_connections_per_client: NonZeroUsize,
    /// Requests in progress at a time, of which one tenant among several may have half; more are answered 503 or 429
    #[arg(long, value_name = "COUNT", default_value_t = MAX_IN_PROGRESS)]
    pub(crate) max_in_progress: NonZeroUsize,
    /// Networks of proxies that are believed when they say for whom they call (X-Forwarded-For, Forwarded), for the access
    /// log
    #[arg(long, value_name = "CIDR,…", value_delimiter = ',', value_parser = parse_net)]
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// Origins of pages that may call from a browser; * for all
    #[arg(long, value_name = "ORIGIN,…", value_delimiter = ',')]
    pub(crate) cors_origins: Vec<String>,
    /// Where the access log goes, a JSON line for each request
    #[arg(long, value_name = "WHERE", default_value = "stdout")]
    pub(crate) access_log: AccessLogTo,
    /// Seconds that open answers may go on after a signal to stop
    #[arg(long, default_value_t = 60)]
    pub(crate) grace: u64,
    // The last, for its heading holds for what comes after.
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
}

/// Runs the command, and gives the process's exit code.
pub(crate) fn run() -> ExitCode {
    let cli = Cli::parse();
    let mut out = io::stdout().lock();
    let result = match &cli.command {
        None => {
            drop(out);
            serve(&cli.serve)
        }
        Some(Command::Join(args)) => {
            drop(out);
            join::run(args)
        }
        Some(Command::Token(args)) => token::run(args, &mut out),
        Some(Command::Connect(args)) => {
            drop(out);
            connect::run(args)
        }
        Some(Command::Usage(args)) => usage::run(args, Clock::System.now(), &mut out).map_err(Into::into),
        Some(Command::Check { file }) => check::run(file, &mut out),
        Some(Command::Did(args)) => did::run(args, &mut out),
        Some(Command::Explain(args)) => explain::run(args, &mut out),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing else can be done when standard error is closed.
            // A file may hold what would move the cursor.
            let text = format!("{error:#}");
            let lines: Vec<_> = text.lines().map(usage::printable).collect();
            let _ = writeln!(io::stderr(), "attach-gateway: {}", lines.join("\n"));
            ExitCode::from(EX_CONFIG)
        }
    }
}

/// `sysexits.h`: something in the configuration.
const EX_CONFIG: u8 = 78;

fn serve(args: &ServeArgs) -> anyhow::Result<()> {
    let environment = Environment::read(Path::new(".")).map_err(|problem| InvalidSettings(vec![problem]))?;
    telemetry::start(&environment);
    let settings = Settings::new(args, &environment, is_enrolled(&args.state))?;
    start::serve(&settings, environment)
}
