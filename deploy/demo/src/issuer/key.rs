//! The issuer's signing key: made once, kept in a file that only its owner reads.

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa::KeySize,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use jsonwebtoken::{
    Algorithm, EncodingKey, crypto, errors,
    jwk::{Jwk, ThumbprintHash},
};
use serde_json::{Value, json};
use std::{
    fmt, fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("cannot make a key")]
    Generate,
    #[error("the key in {path} cannot be used; remove the file to have a new key")]
    Unusable { path: PathBuf, source: errors::Error },
    #[error("cannot {doing} {path}")]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot sign")]
    Sign(#[from] errors::Error),
}

/// What the key signs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Es256,
    Rs256,
}

impl Scheme {
    /// The name in a token's header.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }

    fn algorithm(self) -> Algorithm {
        match self {
            Self::Es256 => Algorithm::ES256,
            Self::Rs256 => Algorithm::RS256,
        }
    }
}

/// A private key and the id under which its public half is published.
pub struct Key {
    scheme: Scheme,
    secret: EncodingKey,
    id: String,
    public: Value,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

impl Key {
    /// A new key, in memory only.
    ///
    /// # Errors
    /// When the machine has no randomness to give.
    pub fn generate(scheme: Scheme) -> Result<Self, KeyError> {
        Self::from_pem(scheme, &generate_pem(scheme)?).map_err(KeyError::Sign)
    }

    /// The key kept in a file; made there, readable by its owner only, when there is none.
    ///
    /// # Errors
    /// When the file cannot be read or written, or holds no ES256 key.
    pub fn load_or_make(path: &Path) -> Result<Self, KeyError> {
        let failed = |doing| move |source| KeyError::Io { doing, path: path.to_owned(), source };
        let pem = match fs::read_to_string(path) {
            Ok(pem) => pem,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let pem = generate_pem(Scheme::Es256)?;
                let mut file = fs::OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(path)
                    .map_err(failed("create"))?;
                file.write_all(pem.as_bytes()).map_err(failed("write"))?;
                pem
            }
            Err(error) => return Err(failed("read")(error)),
        };
        Self::from_pem(Scheme::Es256, &pem)
            .map_err(|source| KeyError::Unusable { path: path.to_owned(), source })
    }

    /// The `kid`: the key's RFC 7638 thumbprint, so that it follows from the key.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The public half as a JWK (RFC 7517) with `kid`, `alg` and `use`.
    #[must_use]
    pub fn public_jwk(&self) -> &Value {
        &self.public
    }

    /// Signs any header and claims, also ones that no honest issuer would: what a token says is the caller's matter.
    ///
    /// # Errors
    /// When the signature cannot be made.
    pub fn sign(&self, header: &Value, claims: &Value) -> Result<String, KeyError> {
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let signature = crypto::sign(message.as_bytes(), &self.secret, self.scheme.algorithm())?;
        Ok(format!("{message}.{signature}"))
    }

    fn from_pem(scheme: Scheme, pem: &str) -> Result<Self, errors::Error> {
        let secret = match scheme {
            Scheme::Es256 => EncodingKey::from_ec_pem(pem.as_bytes())?,
            Scheme::Rs256 => EncodingKey::from_rsa_pem(pem.as_bytes())?,
        };
        let jwk = Jwk::from_encoding_key(&secret, scheme.algorithm())?;
        let id = jwk.thumbprint(ThumbprintHash::SHA256)?;
        let mut public = serde_json::to_value(&jwk)?;
        if let Value::Object(fields) = &mut public {
            fields.insert("kid".to_owned(), json!(id));
            fields.insert("use".to_owned(), json!("sig"));
        }
        Ok(Self { scheme, secret, id, public })
    }
}

/// PKCS#8 in PEM, which other tools read too.
fn generate_pem(scheme: Scheme) -> Result<String, KeyError> {
    let der: Vec<u8> = match scheme {
        Scheme::Es256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .and_then(|pair| pair.to_pkcs8v1())
            .map_err(|_| KeyError::Generate)?
            .as_ref()
            .to_vec(),
        Scheme::Rs256 => {
            let pair = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).map_err(|_| KeyError::Generate)?;
            let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| KeyError::Generate)?;
            der.as_ref().to_vec()
        }
    };
    let text = BASE64_STANDARD.encode(der);
    let mut pem = "-----BEGIN PRIVATE KEY-----\n".to_owned();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    Ok(pem)
}
