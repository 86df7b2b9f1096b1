//! TLS on the callers' port: from which certificate, and what is asked of callers.

use super::Problem;
use crate::{
    cli::ServeArgs,
    tls::{ClientSettings, TlsFiles, TlsOrigin, TlsSettings},
};

/// `None`: plain HTTP, or what can't be told; then `problems` has grown.
pub(super) fn settings(args: &ServeArgs, problems: &mut Vec<Problem>) -> Option<TlsSettings> {
    let origin = files(args, problems).map(TlsOrigin::Files);
    let clients = args
        .tls_client_ca
        .clone()
        .map(|authority| ClientSettings { authority, is_required: args.tls_client_required });
    if clients.is_some() && origin.is_none() && problems.is_empty() {
        problems.push(Problem::new(
            "--tls-client-ca",
            "asks for callers' certificates, but this gateway serves plain HTTP",
            "Give it a certificate of its own: --tls-cert and --tls-key.",
        ));
    }
    origin.map(|origin| TlsSettings { origin, clients })
}

/// As asked for; else those that Ollama Auth Proxy keeps in the working directory. One without the other is a mistake
/// that would end in plain HTTP.
fn files(args: &ServeArgs, problems: &mut Vec<Problem>) -> Option<TlsFiles> {
    if let (Some(certificate), Some(key)) = (&args.tls_cert, &args.tls_key) {
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
