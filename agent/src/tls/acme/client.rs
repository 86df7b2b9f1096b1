//! HTTP towards the authority: one connection for each request, with our own roots and limits.

use super::AcmeError;
use crate::{
    dial::{self, DialError, dial},
    tls::files::certificates,
};
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};
use rustls::{ClientConfig, RootCertStore};
use std::{future::Future, path::Path, pin::Pin, sync::Arc, time::Duration};
use tokio::task::AbortHandle;
use url::{Position, Url};

/// Authorities answer in a second or two, and under load in ten.
const CALL: Duration = Duration::from_secs(30);

/// A chain of four certificates for a hundred names is 20 KB; nothing that an authority sends is larger.
const MAX_BODY_BYTES: usize = 1 << 20;

pub(super) struct AcmeClient {
    tls: Arc<ClientConfig>,
}

#[derive(Debug, thiserror::Error)]
enum CallFault {
    #[error("{0:?} is no https address")]
    Address(String),
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("the exchange broke off: {0}")]
    Exchange(#[from] hyper::Error),
    #[error("the answer is longer than {MAX_BODY_BYTES} bytes")]
    TooLong,
    #[error("no whole answer within {CALL:?}")]
    Silent,
}

/// Trusts what the machine trusts, or the one root that is named.
pub(super) fn tls(root: Option<&Path>) -> Result<Arc<ClientConfig>, AcmeError> {
    let Some(path) = root else { return Ok(dial::tls_config()) };
    let unusable = |problem: String| AcmeError::Root { path: path.to_owned(), problem };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path).map_err(|error| unusable(error.to_string()))? {
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| unusable(error.to_string()))?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

impl AcmeClient {
    pub(super) fn new(tls: Arc<ClientConfig>) -> Self {
        Self { tls }
    }
}

impl HttpClient for AcmeClient {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let tls = Arc::clone(&self.tls);
        Box::pin(async move {
            let answer = tokio::time::timeout(CALL, exchange(request, tls)).await;
            let answer = answer.unwrap_or(Err(CallFault::Silent));
            answer.map(BytesResponse::from).map_err(|fault| instant_acme::Error::Other(fault.into()))
        })
    }
}

async fn exchange(
    request: Request<BodyWrapper<Bytes>>,
    tls: Arc<ClientConfig>,
) -> Result<Response<Full<Bytes>>, CallFault> {
    let (mut head, body) = request.into_parts();
    let address = head.uri.to_string();
    // What is signed is signed for https; an authority has no reason to send us elsewhere.
    let url = Url::parse(&address).ok().filter(|url| url.scheme() == "https");
    let url = url.ok_or_else(|| CallFault::Address(address.clone()))?;
    let connection = dial(&url, CALL, &tls).await?;
    let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(connection)).await?;
    let _driver = AbortOnDrop(tokio::spawn(driver).abort_handle());
    let unfit = || CallFault::Address(address.clone());
    head.uri = url[Position::BeforePath..Position::AfterQuery].parse().map_err(|_| unfit())?;
    let host = HeaderValue::from_str(&url[Position::BeforeHost..Position::AfterPort]).map_err(|_| unfit())?;
    head.headers.insert(header::HOST, host);
    let (head, mut body) = sender.send_request(Request::from_parts(head, body)).await?.into_parts();
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            if read.len() + data.len() > MAX_BODY_BYTES {
                return Err(CallFault::TooLong);
            }
            read.extend_from_slice(&data);
        }
    }
    Ok(Response::from_parts(head, Full::new(read.freeze())))
}

/// The connection ends with the exchange, also when the server would keep it open.
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
