//! The command line.

use crate::db::{self, Database, DbError, audit};
use anyhow::Context as _;
use clap::{Parser, Subcommand};
use std::{
    io::{self, Write as _},
    process::ExitCode,
};

/// The control plane of Attach Gateway: tenants, their policy and their usage, for many gateways.
#[derive(Debug, Parser)]
#[command(name = "attach-control-plane", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Brings the database's schema up to this program's, and lets the login of `DATABASE_URL` serve.
    Migrate {
        /// Owns the schema; needs CREATEROLE the first time.
        #[arg(long, env = "DATABASE_OWNER_URL", hide_env_values = true)]
        owner_url: String,
        /// The login to serve with. It must be no superuser, own nothing, and inherit nothing (NOINHERIT).
        #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
        url: Option<String>,
    },
    /// Checks that the audit trail is whole: nothing changed, nothing missing.
    VerifyAudit {
        #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
        url: String,
    },
}

/// Runs a command of the command line.
pub fn main() -> ExitCode {
    // The database's notices tell an operator of nothing to do.
    tracing_subscriber::fmt().with_writer(io::stderr).with_max_level(tracing::Level::WARN).init();
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.context("no runtime").and_then(|runtime| runtime.block_on(run(cli.command)));
    match result {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "attach-control-plane: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Migrate { owner_url, url } => {
            let login = url.as_deref().map(login_of).transpose()?;
            db::migrate(&owner_url, login.as_deref()).await.context("DATABASE_OWNER_URL")?;
            if let Some(url) = url {
                // What could not serve is told now, not at the next start.
                Database::open(&url).await.context("DATABASE_URL")?;
            }
            writeln!(io::stdout(), "the schema is up to date")?;
            Ok(ExitCode::SUCCESS)
        }
        Command::VerifyAudit { url } => {
            let database = Database::open(&url).await.context("DATABASE_URL")?;
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
