//! What this process was told: command line, environment and `.env`, read once and checked together.
//!
//! What concerns the process alone (addresses, folders, waits) becomes [`Settings`]. What concerns policy becomes
//! the same `v1::Bundle` that a file or the control plane would give ([`bundle`]), so that there is one converter.

mod acme;
mod bundle;
mod edge;
mod engine;
mod environment;
mod incumbent;
mod managed;
mod tls;

pub(crate) use bundle::{BundleOrigin, Host, LocalOrigin, complete};
pub(crate) use environment::Environment;

use crate::{
    callers::{Places, Proxies},
    cli::{AccessLogTo, ServeArgs},
    cors::Cors,
    tls::TlsSettings,
};
use attach_proto::destination::{Exceptions, InvalidExceptions};
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    num::NonZeroUsize,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

/// A body is buffered whole before it is checked, so this is also what one request may hold of memory. 32 MiB takes
/// a few photographs in base64, or a context window of millions of tokens.
const DEFAULT_MAX_REQUEST_BYTES: usize = 32 << 20;

#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) listen: SocketAddr,
    pub(crate) admin: AdminAddress,
    /// `None`: plain HTTP.
    pub(crate) tls: Option<TlsSettings>,
    pub(crate) state_dir: PathBuf,
    pub(crate) workers: NonZeroUsize,
    /// How long open answers may go on after a signal to stop.
    pub(crate) grace: Duration,
    pub(crate) max_request_bytes: usize,
    pub(crate) places: Places,
    pub(crate) proxies: Proxies,
    pub(crate) cors: Cors,
    pub(crate) max_in_progress: usize,
    /// How old an issuer's keys may get before they are renewed.
    pub(crate) jwks_ttl: Duration,
    pub(crate) access_log: AccessLogTo,
    pub(crate) origin: BundleOrigin,
    /// Where addresses that a tenant wrote may lead beside the public ones.
    pub(crate) allowed_addresses: Arc<Exceptions>,
    pub(crate) auth_config: AuthConfig,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum AdminAddress {
    /// Asked for by flag: it is this one or none.
    Fixed(SocketAddr),
    /// Nobody asked: a free port is as good when this one is taken.
    Preferred(SocketAddr),
}

/// What `GET /auth/config` tells a browser front end. Public by purpose.
#[derive(Debug, Clone, Default)]
pub(crate) struct AuthConfig {
    pub(crate) domain: Option<String>,
    pub(crate) client_id: Option<String>,
    pub(crate) audience: Option<String>,
}

/// One setting that can't be used: which, why, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) setting: String,
    pub(crate) problem: String,
    pub(crate) remedy: String,
}

impl Problem {
    pub(crate) fn new(
        setting: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { setting: setting.into(), problem: problem.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}\n    {}", self.setting, self.problem, self.remedy)
    }
}

/// All that is wrong, at once: nobody should have to start five times to learn of five mistakes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InvalidSettings(pub(crate) Vec<Problem>);

impl fmt::Display for InvalidSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot start:")?;
        for problem in &self.0 {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for InvalidSettings {}

impl Settings {
    /// `is_enrolled`: this gateway has joined a control plane, or is about to.
    pub(crate) fn new(
        args: &ServeArgs,
        environment: &Environment,
        is_enrolled: bool,
    ) -> Result<Self, InvalidSettings> {
        let mut problems = incumbent::refused(environment);
        let max_request_bytes = match environment.get("MAX_REQUEST_BYTES") {
            None => DEFAULT_MAX_REQUEST_BYTES,
            Some(text) => text.parse().ok().filter(|&bytes| bytes > 0).unwrap_or_else(|| {
                problems.push(Problem::new(
                    "MAX_REQUEST_BYTES",
                    format!("is {text:?}, which is not a positive number of bytes"),
                    format!("Set it to a number such as {DEFAULT_MAX_REQUEST_BYTES}, or unset it."),
                ));
                DEFAULT_MAX_REQUEST_BYTES
            }),
        };
        let proxies = edge::proxies(args, environment, &mut problems);
        let cors = edge::cors(args, environment, &mut problems);
        let jwks_ttl = jwks_ttl(environment, &mut problems);
        let tls = tls::settings(args, &mut problems);
        let allowed_addresses = allowed_addresses(args, environment).unwrap_or_else(|problem| {
            problems.push(problem);
            Exceptions::default()
        });
        let origin = bundle::origin(args, environment, is_enrolled, &mut problems);
        match (origin, problems.is_empty()) {
            (Some(origin), true) => Ok(Self {
                listen: SocketAddr::new(args.host, args.port),
                admin: admin_address(args),
                tls,
                state_dir: args.state.clone(),
                workers: workers(args),
                grace: Duration::from_secs(args.grace),
                max_request_bytes,
                places: Places::new(args.max_connections.get(), args.max_connections_per_client.get()),
                proxies,
                cors,
                max_in_progress: args.max_in_progress.get(),
                jwks_ttl,
                access_log: args.access_log,
                origin,
                allowed_addresses: Arc::new(allowed_addresses),
                auth_config: AuthConfig {
                    domain: environment.get("AUTH0_DOMAIN").map(str::to_owned),
                    client_id: environment.get("AUTH0_CLIENT").map(str::to_owned),
                    audience: environment.get("OIDC_AUD").map(str::to_owned),
                },
            }),
            _ => Err(InvalidSettings(problems)),
        }
    }
}

fn jwks_ttl(environment: &Environment, problems: &mut Vec<Problem>) -> Duration {
    /// As Attach Gateway and Envoy have it.
    const USUAL: u64 = 600;
    /// Not below the pause between two questions about an unknown key; a day is as long as keys are ever used.
    const ALLOWED: std::ops::RangeInclusive<u64> = 30..=86_400;
    let seconds = match environment.get("JWKS_TTL") {
        None => USUAL,
        Some(text) => text.parse().ok().filter(|seconds| ALLOWED.contains(seconds)).unwrap_or_else(|| {
            problems.push(Problem::new(
                "JWKS_TTL",
                format!("is {text:?}, which is no number of seconds from 30 to 86400"),
                format!("Set it to a number such as {USUAL}, or unset it."),
            ));
            USUAL
        }),
    };
    Duration::from_secs(seconds)
}

fn allowed_addresses(args: &ServeArgs, environment: &Environment) -> Result<Exceptions, Problem> {
    let (setting, text) = match &args.allow_addresses {
        Some(text) => ("--allow-addresses", text.as_str()),
        None => ("ALLOW_ADDRESSES", environment.get("ALLOW_ADDRESSES").unwrap_or_default()),
    };
    text.parse().map_err(|error: InvalidExceptions| {
        Problem::new(
            setting,
            error.to_string(),
            "Write networks with commas between, for example 10.1.0.0/16,fd00::/8.",
        )
    })
}

fn admin_address(args: &ServeArgs) -> AdminAddress {
    /// Far enough from the usual ports of engines (8000, 8080, 11434) and easy to remember: 8080 has 9080.
    const OFFSET: u16 = 1000;
    let loopback = IpAddr::from([127, 0, 0, 1]);
    match (args.admin_port, args.admin_host) {
        (None, None) => {
            let port = if args.port == 0 { 0 } else { args.port.checked_add(OFFSET).unwrap_or(0) };
            AdminAddress::Preferred(SocketAddr::new(loopback, port))
        }
        (port, host) => AdminAddress::Fixed(SocketAddr::new(
            host.unwrap_or(loopback),
            port.or(args.port.checked_add(OFFSET)).unwrap_or(0),
        )),
    }
}

fn workers(args: &ServeArgs) -> NonZeroUsize {
    args.workers.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN)
}
