//! TLS on the callers' port: from which certificate, and what is asked of callers.

use super::{Problem, acme};
use crate::{
    cli::{ServeArgs, TlsFrom},
    tls::{ClientSettings, TlsFiles, TlsOrigin, TlsSettings},
};
use foldhash::{HashSet, HashSetExt as _};
use rustix::system::uname;
use rustls::pki_types::ServerName;

/// `None`: plain HTTP, or what can't be told; then `problems` has grown.
pub(super) fn settings(args: &ServeArgs, problems: &mut Vec<Problem>) -> Option<TlsSettings> {
    let before = problems.len();
    let origin = origin(args, problems);
    let clients = args
        .tls
        .tls_client_ca
        .clone()
        .map(|authority| ClientSettings { authority, is_required: args.tls.tls_client_required });
    if clients.is_some() && origin.is_none() && problems.len() == before {
        problems.push(Problem::new(
            "--tls-client-ca",
            "asks for callers' certificates, but this gateway serves plain HTTP",
            "Give it a certificate of its own, by --tls-cert and --tls-key, or --tls self-signed.",
        ));
    }
    origin.map(|origin| TlsSettings { origin, clients })
}

fn origin(args: &ServeArgs, problems: &mut Vec<Problem>) -> Option<TlsOrigin> {
    let mode = args.tls.tls;
    let belongs = |flag: &str, to: TlsFrom| {
        Problem::new(
            flag,
            "is given, but the certificate comes from elsewhere",
            format!("Leave it out, or give --tls {}.", to.flag()),
        )
    };
    if args.tls.tls_cert.is_some() && mode.is_some_and(|mode| mode != TlsFrom::Files) {
        problems.push(belongs("--tls-cert", TlsFrom::Files));
    }
    if !args.tls.tls_name.is_empty() && mode != Some(TlsFrom::SelfSigned) {
        problems.push(belongs("--tls-name", TlsFrom::SelfSigned));
    }
    if let Some(flag) = acme::given(args).filter(|_| mode != Some(TlsFrom::Acme)) {
        problems.push(belongs(flag, TlsFrom::Acme));
    }
    match mode {
        Some(TlsFrom::Off) => None,
        Some(TlsFrom::SelfSigned) => Some(TlsOrigin::SelfSigned { names: names(args, problems) }),
        Some(TlsFrom::Acme) => Some(TlsOrigin::Acme(acme::settings(args, problems))),
        None => files(args, problems).map(TlsOrigin::Files),
        Some(TlsFrom::Files) => {
            let before = problems.len();
            let files = files(args, problems);
            if files.is_none() && problems.len() == before {
                problems.push(Problem::new(
                    "--tls files",
                    "is given, but there is neither --tls-cert nor certs/server.crt",
                    "Say where the certificate is: --tls-cert and --tls-key.",
                ));
            }
            files.map(TlsOrigin::Files)
        }
    }
}

/// What callers on this machine and in its network call it by, and what else it is called.
fn names(args: &ServeArgs, problems: &mut Vec<Problem>) -> Vec<String> {
    let mut names = Vec::new();
    for name in &args.tls.tls_name {
        if ServerName::try_from(name.as_str()).is_ok() {
            names.push(name.clone());
        } else {
            problems.push(Problem::new(
                "--tls-name",
                format!("is {name:?}, which is no host name and no address"),
                "Write it as callers do, as in gpu-7.example.com or 10.0.0.7.",
            ));
        }
    }
    // A host may be called what no certificate can say.
    let host = uname().nodename().to_string_lossy().into_owned();
    names.extend(Some(host).filter(|host| ServerName::try_from(host.as_str()).is_ok()));
    names.extend(Some(args.host).filter(|host| !host.is_unspecified()).map(|host| host.to_string()));
    names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    let mut seen = HashSet::new();
    names.retain(|name| seen.insert(name.to_ascii_lowercase()));
    names
}

/// As asked for; else those that Ollama Auth Proxy keeps in the working directory. One without the other is a mistake
/// that would end in plain HTTP.
fn files(args: &ServeArgs, problems: &mut Vec<Problem>) -> Option<TlsFiles> {
    if let (Some(certificate), Some(key)) = (&args.tls.tls_cert, &args.tls.tls_key) {
        return Some(TlsFiles { certificate: certificate.clone(), key: key.clone() });
    }
    let found = TlsFiles { certificate: "certs/server.crt".into(), key: "certs/server.key".into() };
    match (found.certificate.exists(), found.key.exists()) {
        (true, true) => Some(found),
        (false, false) => None,
        (has_certificate, _) => {
            let (there, missing) = if has_certificate {
                (&found.certificate, &found.key)
            } else {
                (&found.key, &found.certificate)
            };
            problems.push(Problem::new(
                there.display().to_string(),
                format!("is there, but {} is not", missing.display()),
                "Add it to serve HTTPS, or move the other away to serve plain HTTP.",
            ));
            None
        }
    }
}
