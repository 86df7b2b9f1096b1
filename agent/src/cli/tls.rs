//! Flags of HTTPS.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(next_help_heading = "HTTPS")]
pub(crate) struct TlsArgs {
    /// HTTPS, and where its certificate comes from [default: files, where there are some, else off]
    #[arg(long, value_name = "FROM")]
    pub(crate) tls: Option<TlsFrom>,
    /// Certificate chain in PEM; serves HTTPS instead of HTTP, and is read again when it changes [default:
    /// certs/server.crt, where that file exists]
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Private key in PEM [default: certs/server.key, where that file exists]
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// With --tls self-signed, a host name or address that callers use beside this host's own name, localhost and its
    /// addresses; may be given again
    #[arg(long, value_name = "NAME")]
    pub(crate) tls_name: Vec<String>,
    /// With --tls acme, a domain that callers use; may be given again
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) acme_domain: Vec<String>,
    /// Where the ACME authority may write to
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) acme_email: Option<String>,
    /// The terms of the ACME authority are accepted; without that it gives no certificate
    #[arg(long)]
    pub(crate) acme_accept_terms: bool,
    /// The ACME authority [default: Let's Encrypt]
    #[arg(long, value_name = "URL")]
    pub(crate) acme_directory: Option<String>,
    /// How the ACME authority sees that a domain is ours [default: tls-alpn-01]
    #[arg(long, value_name = "HOW")]
    pub(crate) acme_challenge: Option<AcmeBy>,
    /// With http-01, the port that serves the authority's requests, and nothing else [default: 80]
    #[arg(long, value_name = "PORT")]
    pub(crate) acme_http_port: Option<u16>,
    /// Certificate in PEM that vouches for an ACME authority of one's own
    #[arg(long, value_name = "FILE")]
    pub(crate) acme_ca_root: Option<PathBuf>,
    /// Certificates in PEM of the authorities that vouch for callers: who presents a certificate has it checked, and its
    /// fingerprint counts as evidence (RFC 8705)
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_client_ca: Option<PathBuf>,
    /// Callers without a certificate get no connection
    #[arg(long, requires = "tls_client_ca")]
    pub(crate) tls_client_required: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TlsFrom {
    /// Plain HTTP
    Off,
    /// --tls-cert and --tls-key
    Files,
    /// An authority that this gateway makes for itself in the state folder; it says once how to trust it
    SelfSigned,
    /// An authority that speaks ACME, such as Let's Encrypt; renewed by itself
    Acme,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AcmeBy {
    /// A handshake on port 443 of the domain, which has to lead to --port
    #[value(name = "tls-alpn-01")]
    TlsAlpn01,
    /// A request on port 80 of the domain, which has to lead to --acme-http-port
    #[value(name = "http-01")]
    Http01,
}

impl TlsFrom {
    pub(crate) fn flag(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Files => "files",
            Self::SelfSigned => "self-signed",
            Self::Acme => "acme",
        }
    }
}
