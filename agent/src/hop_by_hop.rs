//! Which headers are of one connection alone.

use http::{HeaderMap, HeaderName, header};

/// Belong to one connection (RFC 9110 section 7.6.1), so they never cross.
///
/// A static, as the other tables of names: a constant would be made anew, and dropped, for each header it is asked about.
static HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

pub(crate) fn crosses(name: &HeaderName, connection_listed: &[String]) -> bool {
    !HOP_BY_HOP.contains(name) && !connection_listed.iter().any(|listed| listed == name.as_str())
}

/// Names that `Connection` declares to be of this hop.
pub(crate) fn connection_listed(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(header::CONNECTION).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|name| name.trim().to_ascii_lowercase()).collect()
}
