//! How an issuer is asked: first where its keys are, then for them.

use crate::{
    discovery::{Metadata, MetadataFault, metadata_address, parse_metadata},
    excerpt::Excerpt,
    key_set::{KeySet, KeySetFault},
};
use attach_outbound::fetch::{FetchError, Fetcher};
use bytes::Bytes;
use thiserror::Error;
use url::Url;

/// Why an issuer's answer is none.
#[derive(Debug, Error)]
pub enum AskFault {
    #[error("{0} is no address")]
    Address(Excerpt),
    #[error("GET {address}: {fault}")]
    Fetch { address: Excerpt, fault: FetchError },
    #[error("metadata at {address}: {fault}")]
    Metadata { address: Excerpt, fault: MetadataFault },
    #[error("keys at {address}: {fault}")]
    Keys { address: Excerpt, fault: KeySetFault },
}

/// What an issuer, as configured, says of itself.
///
/// # Errors
/// Nothing whole came, or it is not this issuer's.
pub async fn metadata(fetcher: &Fetcher, configured: &str) -> Result<Metadata, AskFault> {
    let address = metadata_address(configured).map_err(|_| AskFault::Address(Excerpt::of(configured)))?;
    parse_metadata(&document(fetcher, &address).await?, configured)
        .map_err(|fault| AskFault::Metadata { address: Excerpt::of(address.as_str()), fault })
}

/// The document at an address that the issuer's own word led to.
///
/// # Errors
/// Anything but a whole answer of 200, from where the fetcher may go.
pub async fn document(fetcher: &Fetcher, address: &Url) -> Result<Bytes, AskFault> {
    let body = fetcher.fetch(address).await;
    body.map_err(|fault| AskFault::Fetch { address: Excerpt::of(address.as_str()), fault })
}

/// The keys of a document that came from this address.
///
/// # Errors
/// It is no key set, or not one of its keys can be used.
pub fn key_set(address: &Url, document: &[u8]) -> Result<KeySet, AskFault> {
    KeySet::parse(document).map_err(|fault| AskFault::Keys { address: Excerpt::of(address.as_str()), fault })
}
