//! `attach-gateway join TOKEN@https://control:port`

use super::ServeArgs;
use crate::{
    enrolment::{Invitation, Joined, folder, join},
    settings::{Environment, InvalidSettings, Problem, Settings},
    start, telemetry,
};
use clap::Args;
use std::{
    convert::Infallible,
    fmt,
    io::{self, BufRead as _, Read as _, Write as _},
    path::Path,
    str::FromStr,
};

/// A line of standard input beyond this is no invitation: a token has 200 characters, a host's name 253 at most.
const MAX_LINE_BYTES: u64 = 4_096;

const VARIABLE: &str = "ATTACH_JOIN";

#[derive(Debug, Args)]
pub(crate) struct JoinArgs {
    /// The line that the console shows: a token, an @, and the control plane's address; `-` reads it from standard
    /// input, which keeps it out of the list of processes. Without it, `ATTACH_JOIN` is taken
    #[arg(value_name = "TOKEN@https://HOST:PORT")]
    invitation: Option<Given>,
    #[command(flatten)]
    serve: ServeArgs,
}

/// As it was given. It has a secret in it, so nothing shows it.
#[derive(Clone)]
struct Given(String);

impl FromStr for Given {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Given(…)")
    }
}

/// Joins, says so, and serves.
pub(super) fn run(args: &JoinArgs) -> anyhow::Result<()> {
    let environment = Environment::read(Path::new(".")).map_err(|problem| InvalidSettings(vec![problem]))?;
    telemetry::start(&environment);
    // Before the token is used up: what can't be served with is told first.
    let settings = Settings::new(&args.serve, &environment, true)?;
    let invitation = given(args.invitation.as_ref(), &environment)?.0.parse::<Invitation>()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let joined = runtime.block_on(join(&invitation, &settings.state_dir))?;
    drop(runtime);
    say(&joined, &settings.state_dir);
    start::serve(&settings, environment)
}

fn given(argument: Option<&Given>, environment: &Environment) -> anyhow::Result<Given> {
    match argument {
        Some(given) if given.0 != "-" => Ok(given.clone()),
        Some(_) => {
            let mut line = String::new();
            io::stdin().lock().take(MAX_LINE_BYTES).read_line(&mut line)?;
            Ok(Given(line))
        }
        None => environment.get(VARIABLE).map(|text| Given(text.to_owned())).ok_or_else(|| {
            let problem = Problem::new(
                VARIABLE,
                "is not set, and `join` was given nothing to join with",
                "Write attach-gateway join atj_…@https://host:port, as the console shows it.",
            );
            InvalidSettings(vec![problem]).into()
        }),
    }
}

fn say(joined: &Joined, state: &Path) {
    let (how, identity, of_token) = match joined {
        Joined::Now(identity) => ("joined", identity, ""),
        Joined::Before(identity) => ("belongs already to", identity, "; the token was not used"),
    };
    // Standard output is the access log's. Nothing else can be done when standard error is closed.
    let _ = writeln!(
        io::stderr(),
        "{how} {} as {} of the pool {}; the enrolment is in {}{of_token}",
        identity.address,
        identity.name.agent,
        identity.name.pool,
        folder(state).display()
    );
}
