//! `attach-gateway did new` and `attach-gateway did token`

use crate::{
    clock::Clock,
    did_key::{DidKey, DidKeyError},
};
use attach_proto::did::KeyKind;
use clap::{Args, Subcommand, ValueEnum};
use jiff::SignedDuration;
use std::{io::Write, path::PathBuf, time::Duration};

#[derive(Debug, Args)]
pub(crate) struct DidArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a key, and print the DID that it is
    ///
    /// The DID goes into the `did` policy of the tenant; the key stays with whoever calls.
    New {
        /// Kind of the key
        #[arg(long = "type", value_name = "TYPE", default_value = "ed25519")]
        kind: Kind,
        /// New file for the private key, in PEM, for its owner alone to read
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Print a token that the key has signed, to be sent as `Authorization: Bearer`
    Token {
        /// The private key, in PEM
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// What the tenant's policy has among its `audiences`
        #[arg(long)]
        audience: String,
        /// How long it is good: 90s, 10m, 1h
        #[arg(long = "for", value_name = "TIME", default_value = "10m", value_parser = lifetime)]
        lifetime: Duration,
        /// Give it an id, which a tenant wants whose proofs serve once
        #[arg(long)]
        one_time: bool,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Ed25519,
    P256,
    Secp256k1,
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<SignedDuration>().ok().and_then(|it| Duration::try_from(it).ok());
    parsed.filter(|it| it.as_secs() > 0).ok_or_else(|| "must be a time such as 90s, 10m or 1h".to_owned())
}

pub(super) fn run(args: &DidArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    match &args.command {
        Command::New { kind, out: path } => {
            let key = DidKey::generate(match kind {
                Kind::Ed25519 => KeyKind::Ed25519,
                Kind::P256 => KeyKind::P256,
                Kind::Secp256k1 => KeyKind::Secp256k1,
            })?;
            key.write(path)?;
            writeln!(out, "{}", key.did)?;
        }
        Command::Token { key, audience, lifetime, one_time } => {
            let token: Result<String, DidKeyError> =
                DidKey::read(key)?.token(audience, Clock::System.now(), *lifetime, *one_time);
            writeln!(out, "{}", token?)?;
        }
    }
    Ok(())
}
