//! How a stream of configuration ended.

use crate::control_plane::{is_revoked, said};

pub(super) enum End {
    /// Another certificate is in force: the next connection shows it.
    Renewed,
    Revoked,
    /// In words.
    Broken(String),
}

pub(super) fn end_of(status: &tonic::Status) -> End {
    if is_revoked(status) { End::Revoked } else { End::Broken(said(status)) }
}
