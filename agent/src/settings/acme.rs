//! `--tls acme`: which authority, for which domains, and how it sees that they are ours.

use super::Problem;
use crate::{
    cli::{AcmeBy, ServeArgs},
    tls::{AcmeChallenge, AcmeSettings, MAX_DOMAINS},
};
use rustls::pki_types::ServerName;
use std::net::SocketAddr;
use url::Url;

const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Where public authorities look.
const HTTP_PORT: u16 = 80;

/// The first flag of these that was given.
pub(super) fn given(args: &ServeArgs) -> Option<&'static str> {
    let flags = [
        ("--acme-domain", !args.tls.acme_domain.is_empty()),
        ("--acme-email", args.tls.acme_email.is_some()),
        ("--acme-accept-terms", args.tls.acme_accept_terms),
        ("--acme-directory", args.tls.acme_directory.is_some()),
        ("--acme-challenge", args.tls.acme_challenge.is_some()),
        ("--acme-http-port", args.tls.acme_http_port.is_some()),
        ("--acme-ca-root", args.tls.acme_ca_root.is_some()),
    ];
    flags.into_iter().find_map(|(flag, is_given)| is_given.then_some(flag))
}

pub(super) fn settings(args: &ServeArgs, problems: &mut Vec<Problem>) -> AcmeSettings {
    if !args.tls.acme_accept_terms {
        problems.push(Problem::new(
            "--acme-accept-terms",
            "is not given, and without it the authority gives no certificate",
            "Read its terms (they are named at its directory's address), and give the flag if you accept them.",
        ));
    }
    let directory = args.tls.acme_directory.clone().unwrap_or_else(|| LETS_ENCRYPT.to_owned());
    if !Url::parse(&directory).is_ok_and(|url| url.scheme() == "https" && url.has_host()) {
        problems.push(Problem::new(
            "--acme-directory",
            format!("is {directory:?}, which is no https URL"),
            format!("Write the address of the authority's directory, as in {LETS_ENCRYPT}."),
        ));
    }
    let challenge = match args.tls.acme_challenge.unwrap_or(AcmeBy::TlsAlpn01) {
        AcmeBy::TlsAlpn01 => AcmeChallenge::TlsAlpn01,
        AcmeBy::Http01 => {
            AcmeChallenge::Http01(SocketAddr::new(args.host, args.tls.acme_http_port.unwrap_or(HTTP_PORT)))
        }
    };
    if args.tls.acme_http_port.is_some() && challenge == AcmeChallenge::TlsAlpn01 {
        problems.push(Problem::new(
            "--acme-http-port",
            "is given, but the authority does not look there",
            "Leave it out, or give --acme-challenge http-01.",
        ));
    }
    AcmeSettings {
        directory,
        domains: domains(args, problems),
        email: args.tls.acme_email.clone(),
        challenge,
        root: args.tls.acme_ca_root.clone(),
        port: args.port,
    }
}

fn domains(args: &ServeArgs, problems: &mut Vec<Problem>) -> Vec<String> {
    let mut domains: Vec<String> = Vec::new();
    for domain in &args.tls.acme_domain {
        let lower = domain.to_ascii_lowercase();
        let is_name = matches!(ServerName::try_from(lower.as_str()), Ok(ServerName::DnsName(_)));
        if !is_name || !lower.contains('.') {
            problems.push(Problem::new(
                "--acme-domain",
                format!("is {domain:?}, which is no domain that an authority can vouch for"),
                "Write a public name of this host, as in gpu-7.example.com; no wildcard and no address, which can't be \
                 shown to be ours in this way.",
            ));
        } else if !domains.contains(&lower) {
            domains.push(lower);
        }
    }
    if args.tls.acme_domain.is_empty() || domains.len() > MAX_DOMAINS {
        problems.push(Problem::new(
            "--acme-domain",
            format!("is given {} times; a certificate is for 1 to {MAX_DOMAINS}", domains.len()),
            "Give it for each name that callers use.",
        ));
    }
    domains
}
