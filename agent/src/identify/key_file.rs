//! The last good keys of an issuer on disk, so that a start does not need the issuer.

use super::{
    issuer_keys::{Fetched, Held},
    key_set::KeySet,
    source::Source,
};
use crate::whole_file;
use attach_proto::bundle::KeySource;
use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    path::{Path, PathBuf},
};
use url::Url;

#[derive(Debug)]
pub(super) struct KeyFile {
    path: PathBuf,
    source: Source,
}

/// The source is in it too, and not only its hash in the name, so that a file cannot stand for another issuer's.
#[derive(Serialize, Deserialize)]
struct Document {
    issuer: String,
    jwks_url: Option<String>,
    effective_issuer: String,
    jwks_uri: String,
    fetched_at: Timestamp,
    /// As the issuer sent it: the policy of the version that reads it applies.
    jwks: String,
}

impl KeyFile {
    pub(super) fn new(directory: &Path, source: &Source) -> Self {
        let address = source.jwks_url.as_ref().map_or("", Url::as_str);
        let hash = digest(&SHA256, format!("{}\n{address}", source.issuer).as_bytes());
        let name: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { path: directory.join(name).with_extension("json"), source: source.clone() }
    }

    /// `None` when there is none, or none that can be used: the issuer is asked in any case.
    pub(super) fn load(&self) -> Option<Held> {
        let bytes = fs::read(&self.path).ok()?;
        let held = serde_json::from_slice(&bytes).ok().and_then(|document| self.held(document));
        if held.is_none() {
            tracing::warn!(file = %self.path.display(), "the stored keys of an issuer are unusable and left out");
        }
        held
    }

    pub(super) fn store(&self, held: &Held, jwks: &[u8]) -> io::Result<()> {
        let Some(Fetched { from, at }) = &held.fetched else { return Ok(()) };
        let document = Document {
            issuer: self.source.issuer.clone(),
            jwks_url: self.source.jwks_url.as_ref().map(Url::to_string),
            effective_issuer: held.issuer.clone(),
            jwks_uri: from.to_string(),
            fetched_at: *at,
            jwks: String::from_utf8_lossy(jwks).into_owned(),
        };
        whole_file::replace(&self.path, &serde_json::to_vec(&document)?)
    }

    fn held(&self, document: Document) -> Option<Held> {
        let Document { issuer, jwks_url, effective_issuer, jwks_uri, fetched_at, jwks } = document;
        let jwks_url = jwks_url.map(|url| url.parse()).transpose().ok()?;
        let source = Source { issuer, jwks_url, jwks: None, key_source: KeySource::Gateway };
        let same_source = source == self.source;
        let fetched = Some(Fetched { from: jwks_uri.parse().ok()?, at: fetched_at });
        let keys = KeySet::parse(jwks.as_bytes()).ok()?;
        same_source.then_some(Held { issuer: effective_issuer, keys, fetched, generation: 1 })
    }
}
