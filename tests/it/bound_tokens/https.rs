//! A caller over TLS, by HTTP/1.1 or HTTP/2, with a certificate of its own or without.

use attach_tests::Answer;
use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, HandshakeKind, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};
use std::{io, sync::Arc, time::Duration};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub(super) type Asked = Request<Full<Bytes>>;

pub(super) type Own = (CertificateDer<'static>, PrivateKeyDer<'static>);

/// Longer than anything that a test waits for on purpose.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

/// Each of its requests has a connection of its own; it resumes its sessions where it is let.
#[derive(Clone)]
pub(super) struct Https {
    port: u16,
    version: Version,
    config: Arc<ClientConfig>,
}

impl Https {
    /// To `localhost` at this port, whose certificate or whose authority it trusts.
    pub(super) fn new(
        port: u16,
        version: Version,
        trusted: &CertificateDer<'static>,
        own: Option<Own>,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.clone()).expect("a certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the usual versions")
            .with_root_certificates(roots);
        let mut config = match own {
            Some((certificate, key)) => {
                builder.with_client_auth_cert(vec![certificate], key).expect("a pair")
            }
            None => builder.with_no_client_auth(),
        };
        let protocol = if version == Version::Two { b"h2".to_vec() } else { b"http/1.1".to_vec() };
        config.alpn_protocols = vec![protocol];
        Self { port, version, config: Arc::new(config) }
    }

    /// As its requests have to name it.
    pub(super) fn authority(&self) -> String {
        format!("localhost:{}", self.port)
    }

    pub(super) async fn ask(&self, request: Asked) -> Answer {
        self.try_ask(request).await.expect("an answer").0
    }

    /// The answer, and whether its connection was one of a session from before.
    pub(super) async fn try_ask(&self, request: Asked) -> io::Result<(Answer, HandshakeKind)> {
        tokio::time::timeout(PATIENCE, self.exchange(request)).await.expect("in time")
    }

    async fn exchange(&self, mut request: Asked) -> io::Result<(Answer, HandshakeKind)> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = TlsConnector::from(Arc::clone(&self.config)).connect(name, stream).await?;
        let kind = stream.get_ref().1.handshake_kind().expect("it is over");
        let io = TokioIo::new(stream);
        let (head, body) = match self.version {
            Version::One => {
                request.headers_mut().insert("host", self.authority().parse().expect("a host"));
                let (mut sender, connection) = http1::handshake(io).await.map_err(io::Error::other)?;
                tokio::spawn(connection);
                sender.send_request(request).await.map_err(io::Error::other)?.into_parts()
            }
            Version::Two => {
                let whole = format!("https://{}{}", self.authority(), request.uri());
                *request.uri_mut() = whole.parse::<Uri>().expect("an address");
                let (mut sender, connection) =
                    http2::handshake(TokioExecutor::new(), io).await.map_err(io::Error::other)?;
                tokio::spawn(connection);
                sender.send_request(request).await.map_err(io::Error::other)?.into_parts()
            }
        };
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        Ok((Answer { status: head.status, headers: head.headers, body, broken: None }, kind))
    }
}
