//! Which certificate authorities outbound connections trust, read when the first server shows its certificate.

use rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::sync::{Arc, OnceLock};

/// rustls's own verification over the machine's authorities and Mozilla's.
///
/// Reading the machine's store takes milliseconds, which a start with plain-HTTP engines need not pay; so this
/// hands every question to the verifier that it builds at the first one.
#[derive(Debug)]
pub struct TrustedRoots {
    provider: Arc<CryptoProvider>,
    /// Trusted beside those.
    more: Vec<CertificateDer<'static>>,
    verifier: OnceLock<Option<Arc<WebPkiServerVerifier>>>,
}

impl TrustedRoots {
    pub fn new(provider: Arc<CryptoProvider>, more: Vec<CertificateDer<'static>>) -> Self {
        Self { provider, more, verifier: OnceLock::new() }
    }

    fn verifier(&self) -> Result<&WebPkiServerVerifier, Error> {
        self.verifier
            .get_or_init(|| load(&self.provider, &self.more))
            .as_deref()
            .ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))
    }
}

impl ServerCertVerifier for TrustedRoots {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verifier()?.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier()?.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier()?.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The machine's store brings a company's own authority; Mozilla's list makes an empty root file system work.
fn load(
    provider: &Arc<CryptoProvider>,
    more: &[CertificateDer<'static>],
) -> Option<Arc<WebPkiServerVerifier>> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::debug!(%error, "a store of certificate authorities of this machine cannot be read");
    }
    roots.add_parsable_certificates(native.certs);
    roots.add_parsable_certificates(more.iter().cloned());
    let built = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
    built.inspect_err(|error| tracing::error!(%error, "no certificate authority is usable")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dial::{Connection, DialError, dial, tls_config};
    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use rustls::{ClientConfig, ServerConfig};
    use std::time::Duration;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    /// The port of a server with a certificate for `localhost` that only itself has signed, and the certificate.
    async fn server() -> (u16, CertificateDer<'static>) {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], signing_key.serialize_der().try_into().unwrap())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(acceptor.accept(stream));
            }
        });
        (port, cert.der().clone())
    }

    async fn connect(host: &str, port: u16, tls: &Arc<ClientConfig>) -> Result<Connection, DialError> {
        dial(&format!("https://{host}:{port}").parse().unwrap(), Duration::from_secs(5), tls).await
    }

    #[tokio::test]
    async fn a_server_that_no_authority_vouches_for_is_refused() {
        let (port, _) = server().await;
        let error = connect("localhost", port, &tls_config()).await.unwrap_err();
        assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    }

    #[tokio::test]
    async fn t13_a_server_is_known_by_its_own_name_and_refused_by_another() {
        let (port, certificate) = server().await;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let verifier = OnceLock::from(Some(verifier.build().unwrap()));
        let trusted = TrustedRoots { provider: Arc::clone(&provider), more: Vec::new(), verifier };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(trusted))
            .with_no_client_auth();
        let config = Arc::new(config);
        assert!(matches!(connect("localhost", port, &config).await, Ok(Connection::Tls(_))));
        let error = connect("127.0.0.1", port, &config).await.unwrap_err();
        assert!(error.to_string().contains("not valid for name"), "{error}");
    }
}
