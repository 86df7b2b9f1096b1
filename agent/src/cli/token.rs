//! `attach-gateway token`

use super::sign_in::SignInArgs;
use crate::{
    settings::{Environment, InvalidSettings},
    sign_in::Need,
};
use clap::Args;
use std::{
    io::{self, Write},
    path::Path,
};
use tokio::task::LocalSet;
use url::Url;

#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    #[command(flatten)]
    sign_in: SignInArgs,
    /// A gateway, to be asked where to sign in
    #[arg(long, value_name = "URL")]
    gateway: Option<Url>,
    /// Get a new one, also where the one that is kept is still good
    #[arg(long)]
    fresh: bool,
    /// Take what is kept off the disk, and get none
    #[arg(long, conflicts_with = "fresh")]
    forget: bool,
}

/// Writes the token, and nothing else, to `out`.
pub(super) fn run(args: &TokenArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let environment = Environment::read(Path::new(".")).map_err(|problem| InvalidSettings(vec![problem]))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let tls = args.sign_in.tls()?;
        let sign_in = args.sign_in.resolve(args.gateway.as_ref(), &environment, &tls).await?;
        if args.forget {
            let said =
                if sign_in.keeper.forget().await? { "The token is forgotten." } else { "None was kept." };
            // Nothing else can be done when standard error is closed.
            let _ = writeln!(io::stderr(), "{said}");
            return Ok(());
        }
        let need = Need { other_than: None, is_fresh: args.fresh, has_person: true };
        let kept = sign_in.token(need).await?;
        writeln!(out, "{}", kept.access_token.secret())?;
        Ok(())
    })
}
