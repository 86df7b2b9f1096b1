//! The demo issuer: publishes who it is (OpenID Connect Discovery 1.0) and its public key (RFC 7517). It has no login
//! page and gives tokens to nobody over the network: whoever may read its key mints them with [`token::mint`].

pub mod key;
pub mod token;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use key::{Key, KeyError};
use serde_json::{Value, json};
use std::{
    convert::Infallible,
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::net::TcpListener;

/// What the issuer keeps between starts: its key, and the name that its tokens carry.
#[derive(Debug)]
pub struct State {
    folder: PathBuf,
}

impl State {
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(folder: &Path) -> Result<Self, KeyError> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|source| KeyError::Io {
            doing: "create",
            path: folder.to_owned(),
            source,
        })?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// # Errors
    /// As [`Key::load_or_make`].
    pub fn key(&self) -> Result<Key, KeyError> {
        Key::load_or_make(&self.folder.join("signing-key.pem"))
    }

    /// The issuer's URL as of its last start.
    ///
    /// # Errors
    /// When it never started with this state.
    pub fn issuer(&self) -> Result<String, KeyError> {
        let path = self.issuer_file();
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text.trim().to_owned()),
            Err(source) => Err(KeyError::Io { doing: "read the name of the issuer from", path, source }),
        }
    }

    /// # Errors
    /// When the file cannot be written.
    pub fn set_issuer(&self, url: &str) -> Result<(), KeyError> {
        let path = self.issuer_file();
        write_file(&path, &format!("{url}\n")).map_err(|source| KeyError::Io { doing: "write", path, source })
    }

    fn issuer_file(&self) -> PathBuf {
        self.folder.join("issuer")
    }
}

/// Writes a small file that another process waits for: it is there whole, or not at all.
///
/// # Errors
/// Those of the file system.
pub fn write_file(path: &Path, text: &str) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    fs::write(&draft, text)?;
    fs::rename(&draft, path)
}

/// Serves the metadata and the key set until it is dropped.
pub async fn serve(listener: TcpListener, issuer: &str, key: &Key) -> Infallible {
    let documents = Arc::new(Documents {
        metadata: metadata(issuer, key),
        key_set: json!({"keys": [key.public_jwk()]}),
        issuer: issuer.to_owned(),
    });
    crate::listen::serve(listener, move |request| {
        let response = documents.respond(&request);
        async move { response }
    })
    .await
}

struct Documents {
    issuer: String,
    metadata: Value,
    key_set: Value,
}

impl Documents {
    fn respond(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = respond(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "GET only\n".to_owned());
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match request.uri().path() {
            "/.well-known/openid-configuration" | "/.well-known/oauth-authorization-server" => {
                respond(StatusCode::OK, "application/json", self.metadata.to_string())
            }
            "/jwks.json" => respond(StatusCode::OK, "application/json", self.key_set.to_string()),
            "/" => {
                let text =
                    format!("The demo issuer of Attach Gateway, {}: for trying things out.\n", self.issuer);
                respond(StatusCode::OK, "text/plain; charset=utf-8", text)
            }
            _ => {
                respond(StatusCode::NOT_FOUND, "text/plain", "the demo issuer has no such page\n".to_owned())
            }
        }
    }
}

/// Lists the endpoints that OpenID Connect Discovery demands; those for a login lead to a 404 that says why.
fn metadata(issuer: &str, key: &Key) -> Value {
    json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/jwks.json"),
        "authorization_endpoint": format!("{issuer}/no-login-in-a-demo"),
        "token_endpoint": format!("{issuer}/no-login-in-a-demo"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [key.scheme().name()],
        "service_documentation": format!("{issuer}/"),
    })
}

fn respond(status: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
