//! The command line.

use crate::{
    authority::load_or_make,
    clock::Clock,
    db::{self, Database, DbError, audit},
    domain::actor::Actor,
    ops::{JOIN_TOKEN_LIFE, create_join_token, make_operator_token, make_sign_in_link},
    start::{self, Settings},
    state::PublicUrl,
};
use anyhow::Context as _;
use attach_proto::{destination::Exceptions, id::PoolId};
use clap::{Parser, Subcommand, value_parser};
use std::{
    io::{self, IsTerminal as _, Write as _},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};
use tracing_subscriber::EnvFilter;

/// The control plane of Attach Gateway: tenants, their policy and their usage, for many gateways.
#[derive(Debug, Parser)]
#[command(name = "attach-control-plane", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves until it is told to stop.
    Serve {
        /// The login to serve with.
        #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
        database_url: String,
        /// The same, past a pooler that gives each transaction another connection: changes are listened for here
        #[arg(long, env = "DATABASE_DIRECT_URL", hide_env_values = true, value_name = "DATABASE_URL")]
        database_direct_url: Option<String>,
        /// Address for gateways: gRPC over TLS, with certificates of this control plane's own authority
        #[arg(long, env = "ATTACH_GRPC_LISTEN", default_value = "127.0.0.1:8443")]
        listen_agents: SocketAddr,
        /// File with the keys that seal secrets in the database; made at the first start. Without it they are lost.
        #[arg(long, env = "ATTACH_SEAL_KEY_FILE", value_name = "FILE")]
        seal_key_file: PathBuf,
        /// Where gateways reach that address; `https://` and the address itself without a word
        #[arg(long, env = "ATTACH_GRPC_URL", value_name = "URL")]
        grpc_url: Option<String>,
        /// Address for people: the console and the REST API
        #[arg(long, env = "ATTACH_LISTEN", default_value = "127.0.0.1:8400")]
        listen: SocketAddr,
        /// Where people reach that address, such as `https://attach.example.com`; `http://` and the address itself without a word
        #[arg(long, env = "ATTACH_PUBLIC_URL", value_name = "URL")]
        public_url: Option<String>,
        /// File for the operator token that the very first start makes; standard output without it.
        #[arg(long, env = "ATTACH_OPERATOR_TOKEN_FILE", value_name = "FILE")]
        operator_token_file: Option<PathBuf>,
        /// Networks to which identity providers whose keys are fetched here may lead although they are not public, with commas
        /// between
        #[arg(
            long,
            env = "ALLOW_ADDRESSES",
            value_name = "CIDR[,…]",
            default_value = "",
            hide_default_value = true
        )]
        allow_addresses: Exceptions,
        /// Issuers' keys that this control plane fetches are renewed before they are so many seconds old
        #[arg(long, env = "JWKS_TTL", value_name = "SECONDS", default_value_t = 600, value_parser = value_parser!(u64).range(30..=86_400))]
        jwks_ttl: u64,
    },
    /// Makes a new operator token for the REST API, and prints it. Those before it end.
    OperatorToken {
        #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
        database_url: String,
    },
    /// Prints a link to sign in to the console with. It is good for one sign-in and ten minutes.
    SignInLink {
        #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
        database_url: String,
        /// As `serve` has it
        #[arg(long, env = "ATTACH_PUBLIC_URL", value_name = "URL", default_value = "http://127.0.0.1:8400")]
        public_url: String,
    },
    /// Makes a join token for a pool, and prints the line that a GPU host joins with. It is good for one host and an hour.
    JoinToken {
        #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
        database_url: String,
        #[arg(long, env = "ATTACH_SEAL_KEY_FILE", value_name = "FILE")]
        seal_key_file: PathBuf,
        /// Where gateways reach this control plane, as https://host:port
        #[arg(long, env = "ATTACH_GRPC_URL", value_name = "URL")]
        grpc_url: String,
        #[arg(long)]
        pool: PoolId,
    },
    /// Brings the database's schema up to this program's, and lets the login of `DATABASE_URL` serve.
    Migrate {
        /// Owns the schema; needs CREATEROLE the first time.
        #[arg(long, env = "DATABASE_OWNER_URL", hide_env_values = true)]
        database_owner_url: String,
        /// The login to serve with. It must be no superuser, own nothing, and inherit nothing (NOINHERIT).
        #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
        database_url: Option<String>,
    },
    /// Checks that the audit trail is whole: nothing changed, nothing missing.
    VerifyAudit {
        #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
        database_url: String,
    },
}

/// Runs a command of the command line.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // The database's notices tell an operator of nothing to do.
    let default = "info,sqlx::postgres::notice=warn";
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let is_terminal = io::stderr().is_terminal();
    tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(is_terminal).with_env_filter(filter).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = runtime.context("no runtime").and_then(|runtime| runtime.block_on(run(cli.command)));
    match result {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "attach-control-plane: {}", told(&error));
            ExitCode::FAILURE
        }
    }
}

/// What went wrong and why, without what a cause only repeats.
fn told(error: &anyhow::Error) -> String {
    let mut told = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if told.is_empty() {
            told = cause;
        } else if !told.ends_with(&cause) {
            told = format!("{told}: {cause}");
        }
    }
    told
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve {
            database_url,
            database_direct_url,
            listen_agents,
            seal_key_file,
            grpc_url,
            listen,
            public_url,
            operator_token_file,
            allow_addresses,
            jwks_ttl,
        } => {
            let settings = Settings {
                database_url,
                database_direct_url,
                listen_agents,
                seal_key_file,
                grpc_url,
                listen,
                public_url,
                operator_token_file,
                allowed_addresses: Arc::new(allow_addresses),
                jwks_ttl: Duration::from_secs(jwks_ttl),
            };
            start::serve(settings).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::OperatorToken { database_url } => {
            let database = Database::open(&database_url).await.context("DATABASE_URL")?;
            let token = make_operator_token(&database, &Actor::command_line(), Clock::System.now()).await?;
            writeln!(io::stdout(), "{}", token.as_str())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::SignInLink { database_url, public_url } => {
            let public_url = PublicUrl::parse(&public_url)?;
            let database = Database::open(&database_url).await.context("DATABASE_URL")?;
            let link = make_sign_in_link(&database, &Actor::command_line(), Clock::System.now()).await?;
            let path = format!("/sign-in/{}", link.as_str());
            writeln!(io::stdout(), "{}", public_url.link(&path))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::JoinToken { database_url, seal_key_file, grpc_url, pool } => {
            let db = Database::open(&database_url).await.context("DATABASE_URL")?;
            let sealer = start::sealer(&seal_key_file, &db).await?;
            let now = Clock::System.now();
            let (authority, _) = load_or_make(&db, &sealer, now).await?;
            let actor = Actor::command_line();
            let (token, _) =
                create_join_token(&db, &actor, authority.sha256(), &pool, JOIN_TOKEN_LIFE, now).await?;
            writeln!(io::stdout(), "attach-gateway join {}@{grpc_url}", token.as_str())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Migrate { database_owner_url, database_url } => {
            let login = database_url.as_deref().map(login_of).transpose()?;
            db::migrate(&database_owner_url, login.as_deref()).await.context("DATABASE_OWNER_URL")?;
            if let Some(database_url) = database_url {
                // What could not serve is told now, not at the next start.
                Database::open(&database_url).await.context("DATABASE_URL")?;
            }
            writeln!(io::stdout(), "the schema is up to date")?;
            Ok(ExitCode::SUCCESS)
        }
        Command::VerifyAudit { database_url } => {
            let database = Database::open(&database_url).await.context("DATABASE_URL")?;
            match first_broken(&database).await? {
                None => {
                    writeln!(io::stdout(), "the audit trail is whole")?;
                    Ok(ExitCode::SUCCESS)
                }
                Some(n) => {
                    writeln!(
                        io::stdout(),
                        "the audit trail is broken at entry {n}: it was changed, or entries before it are missing"
                    )?;
                    Ok(ExitCode::FAILURE)
                }
            }
        }
    }
}

async fn first_broken(database: &Database) -> Result<Option<i64>, DbError> {
    let mut tx = database.operator().await?;
    audit::first_broken(tx.connection()).await
}

fn login_of(url: &str) -> anyhow::Result<String> {
    let options: sqlx::postgres::PgConnectOptions = url.parse().context("DATABASE_URL")?;
    Ok(options.get_username().to_owned())
}
