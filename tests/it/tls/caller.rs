//! A caller over TLS, who looks at what it is shown.

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};
use std::{io, sync::Arc};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// The key of the callers in these tests.
pub(super) const KEY: &str = "sk-test-0123456789";

#[derive(Clone)]
pub(super) struct Caller {
    port: u16,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
}

/// An open connection, and the certificate that it was opened with.
pub(super) struct Connection {
    stream: TlsStream<TcpStream>,
    pub(super) server: CertificateDer<'static>,
}

fn roots(trusted: &[&CertificateDer<'static>]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for certificate in trusted {
        roots.add((*certificate).clone()).expect("a certificate");
    }
    roots
}

impl Caller {
    /// Trusts these and nobody else.
    pub(super) fn new(port: u16, name: &str, trusted: &[&CertificateDer<'static>]) -> Self {
        Self::with(port, name, trusted, None)
    }

    pub(super) fn with_certificate(
        port: u16,
        trusted: &CertificateDer<'static>,
        own: (CertificateDer<'static>, PrivateKeyDer<'static>),
    ) -> Self {
        Self::with(port, "localhost", &[trusted], Some(own))
    }

    fn with(
        port: u16,
        name: &str,
        trusted: &[&CertificateDer<'static>],
        own: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
    ) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the usual versions")
            .with_root_certificates(roots(trusted));
        let config = match own {
            Some((certificate, key)) => {
                builder.with_client_auth_cert(vec![certificate], key).expect("a pair")
            }
            None => builder.with_no_client_auth(),
        };
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        Self { port, name, config: Arc::new(config) }
    }

    pub(super) async fn connect(&self) -> io::Result<Connection> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let stream = connector.connect(self.name.clone(), stream).await?;
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let server = shown.expect("a server shows one").clone().into_owned();
        Ok(Connection { stream, server })
    }

    /// The status of one request on a connection of its own.
    pub(super) async fn ask(&self) -> io::Result<String> {
        self.connect().await?.ask().await
    }
}

impl Connection {
    /// The status line of an answer; the connection stays open.
    pub(super) async fn ask(&mut self) -> io::Result<String> {
        let request =
            format!("GET /metrics HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {KEY}\r\n\r\n");
        self.stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        let mut piece = [0; 4096];
        loop {
            let read = self.stream.read(&mut piece).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            answer.extend_from_slice(&piece[..read]);
            if let Some(whole) = whole(&String::from_utf8_lossy(&answer)) {
                return Ok(whole);
            }
        }
    }
}

/// The status line, when head and body are there.
fn whole(answer: &str) -> Option<String> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
    (body.len() >= length.parse().ok()?).then(|| head.lines().next().unwrap_or_default().to_owned())
}
