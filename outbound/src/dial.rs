//! Opens one connection to an HTTP or HTTPS address: resolve, check, connect, TLS; all within one deadline.

use crate::{
    resolve::{ResolveError, Resolver},
    roots::TrustedRoots,
};
use attach_proto::destination::{Exceptions, Forbidden};
use rustls::{
    ClientConfig,
    pki_types::{CertificateDer, ServerName},
};
use std::{
    io::{self, IoSlice},
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use url::{Host, Url};

#[derive(Debug)]
pub enum Connection {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Whose word a URL is: where it may lead follows from that.
#[derive(Debug, Clone)]
pub enum Guard {
    /// The operator of this host wrote it, who can reach all of the host anyway.
    Operator,
    /// A tenant did, or somebody whom a tenant's URL led to: [`attach_proto::destination`] has the rules, and these are
    /// what the operator of this host excepts from them.
    Tenant(Arc<Exceptions>),
}

#[derive(Debug, Error)]
pub enum DialError {
    #[error("{0:?} is no scheme to connect by; http and https are")]
    Scheme(String),
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error("a tenant's address is not followed: {0}; the host's operator can allow it by --allow-addresses")]
    Forbidden(#[from] Forbidden),
    /// The last address's failure, when several were tried.
    #[error("cannot connect to {address}: {source}")]
    Connect { address: SocketAddr, source: io::Error },
    #[error("no secure connection: {0}")]
    Tls(io::Error),
    #[error("no connection within {0:?}")]
    TimedOut(Duration),
}

/// TLS 1.2 and 1.3 for HTTP/1.1, trusting the machine's and Mozilla's certificate authorities. Cheap: the
/// authorities are read at the first handshake.
pub fn tls_config() -> Arc<ClientConfig> {
    tls_config_with(Vec::new())
}

/// As [`tls_config`], trusting these authorities too.
pub fn tls_config_with(authorities: Vec<CertificateDer<'static>>) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let roots = Arc::new(TrustedRoots::new(Arc::clone(&provider), authorities));
    let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
    let mut config = match ClientConfig::builder_with_provider(provider).with_protocol_versions(&versions) {
        Ok(builder) => builder.dangerous().with_custom_certificate_verifier(roots).with_no_client_auth(),
        Err(error) => unreachable!("aws-lc-rs has the ciphers of both versions: {error}"),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

/// Connects to the host and port of `url`, trying each address that its name has, and speaks TLS when the scheme
/// is `https`. `connect_timeout` bounds all of it together.
///
/// # Errors
/// Says which step failed; the caller decides whether to try again.
pub async fn dial(
    url: &Url,
    connect_timeout: Duration,
    tls: &Arc<ClientConfig>,
) -> Result<Connection, DialError> {
    dial_guarded(url, connect_timeout, tls, &Resolver::System, &Guard::Operator).await
}

/// Connects as [`dial`] does, to where the guard lets `url` lead: what was checked is what is connected to, because a
/// name is resolved once.
///
/// # Errors
/// Those of [`dial`], and [`DialError::Forbidden`] before a packet was sent there.
pub async fn dial_guarded(
    url: &Url,
    connect_timeout: Duration,
    tls: &Arc<ClientConfig>,
    resolver: &Resolver,
    guard: &Guard,
) -> Result<Connection, DialError> {
    let deadline = Instant::now() + connect_timeout;
    let secure = match url.scheme() {
        "http" => false,
        "https" => true,
        other => return Err(DialError::Scheme(other.to_owned())),
    };
    let connect = async {
        let addresses = resolver.addresses(url).await?;
        if let Guard::Tenant(exceptions) = guard {
            exceptions.check(url, &addresses)?;
        }
        let stream = connect_to_any(&addresses, deadline).await?;
        if !secure {
            return Ok(Connection::Plain(stream));
        }
        let stream = TlsConnector::from(Arc::clone(tls)).connect(server_name(url)?, stream).await;
        stream.map(|stream| Connection::Tls(Box::new(stream))).map_err(DialError::Tls)
    };
    timeout_at(deadline, connect).await.unwrap_or(Err(DialError::TimedOut(connect_timeout)))
}

/// Connects as [`dial`] does, and leaves it to the caller what to speak.
pub async fn dial_tcp(url: &Url, connect_timeout: Duration) -> Result<TcpStream, DialError> {
    let deadline = Instant::now() + connect_timeout;
    let connect = async { connect_to_any(&Resolver::System.addresses(url).await?, deadline).await };
    timeout_at(deadline, connect).await.unwrap_or(Err(DialError::TimedOut(connect_timeout)))
}

/// Whether somebody listens there.
pub async fn is_reachable(url: &Url, connect_timeout: Duration) -> bool {
    dial_tcp(url, connect_timeout).await.is_ok()
}

/// One address that swallows packets must not use up the time of the others, so each gets an equal share of what
/// is left.
async fn connect_to_any(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, DialError> {
    let mut failure = DialError::Resolve(ResolveError::NoHost);
    for (tried, &address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let now = Instant::now();
        let share = now + deadline.saturating_duration_since(now) / left;
        let connected = match timeout_at(share, TcpStream::connect(address)).await {
            Ok(connected) => connected.and_then(|stream| stream.set_nodelay(true).map(|()| stream)),
            Err(_elapsed) => Err(io::ErrorKind::TimedOut.into()),
        };
        match connected {
            Ok(stream) => return Ok(stream),
            Err(source) => failure = DialError::Connect { address, source },
        }
    }
    Err(failure)
}

fn server_name(url: &Url) -> Result<ServerName<'static>, DialError> {
    match url.host().ok_or(ResolveError::NoHost)? {
        Host::Ipv4(ip) => Ok(ServerName::IpAddress(IpAddr::V4(ip).into())),
        Host::Ipv6(ip) => Ok(ServerName::IpAddress(IpAddr::V6(ip).into())),
        Host::Domain(name) => ServerName::try_from(name.to_owned())
            .map_err(|error| DialError::Tls(io::Error::new(io::ErrorKind::InvalidInput, error))),
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn localhost_is_found_whichever_loopback_address_the_server_listens_on() {
        for bound in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(bound).await else {
                eprintln!("SKIPPED: this machine has no {bound}");
                continue;
            };
            let port = listener.local_addr().unwrap().port();
            let url = url(&format!("http://localhost:{port}"));
            let connection = dial(&url, Duration::from_secs(2), &tls_config()).await.unwrap();
            let Connection::Plain(stream) = connection else { panic!("plain was asked for") };
            assert!(stream.nodelay().unwrap());
        }
    }

    #[tokio::test]
    async fn a_port_where_nobody_listens_is_refused_and_named() {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let error =
            dial(&url(&format!("http://127.0.0.1:{port}")), Duration::from_secs(2), &tls_config()).await;
        assert!(error.unwrap_err().to_string().contains(&port.to_string()));
    }

    #[tokio::test]
    async fn a_server_that_never_answers_the_handshake_is_given_up_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = url(&format!("https://127.0.0.1:{}", listener.local_addr().unwrap().port()));
        let started = Instant::now();
        let error = dial(&url, Duration::from_millis(100), &tls_config()).await.unwrap_err();
        assert!(matches!(error, DialError::TimedOut(_)), "{error}");
        assert!(started.elapsed() < Duration::from_secs(1));
    }

    #[tokio::test]
    async fn another_scheme_is_refused() {
        let error = dial(&url("ftp://127.0.0.1/"), Duration::from_secs(1), &tls_config()).await.unwrap_err();
        assert!(matches!(error, DialError::Scheme(_)), "{error}");
    }
}
