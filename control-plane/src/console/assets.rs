//! Style sheet and icon, embedded. Their addresses have their hash, so a browser may keep them for ever.

use crate::domain::secret::sha256_of_bytes;
use axum::{
    extract::Path,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use std::sync::LazyLock;

/// A year, the longest that is customary (RFC 9111 knows no bound).
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// Bytes of the hash in an address: two versions do not meet.
const HASH_BYTES: usize = 8;

pub(super) struct Asset {
    file: String,
    kind: &'static str,
    bytes: &'static [u8],
}

pub(super) static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("console", "css", "text/css; charset=utf-8", include_bytes!("../../../web/static/console.css"))
});

pub(super) static ICON: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("icon", "svg", "image/svg+xml", include_bytes!("../../../web/static/icon.svg"))
});

impl Asset {
    fn new(name: &str, ending: &str, kind: &'static str, bytes: &'static [u8]) -> Self {
        let hash: String =
            sha256_of_bytes(bytes).iter().take(HASH_BYTES).map(|byte| format!("{byte:02x}")).collect();
        Self { file: format!("{name}.{hash}.{ending}"), kind, bytes }
    }

    pub(super) fn path(&self) -> String {
        format!("/static/{}", self.file)
    }
}

pub(super) async fn get(Path(file): Path<String>, headers: HeaderMap) -> Response {
    let Some(asset) = [&*STYLE, &*ICON].into_iter().find(|asset| asset.file == file) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let tag = format!("\"{file}\"");
    let cached = [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, FOR_EVER.to_owned())];
    if headers.get(header::IF_NONE_MATCH).is_some_and(|held| held.as_bytes() == tag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, cached).into_response();
    }
    (cached, [(header::CONTENT_TYPE, asset.kind)], asset.bytes).into_response()
}
