//! Where events go.

/// Which control plane it is, as a spool keeps it: the first bytes of the SHA-256 of its authority's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AuthorityMark(i64);

impl AuthorityMark {
    pub(crate) fn new(sha256: [u8; 32]) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = sha256;
        Self(i64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }

    pub(super) fn kept(self) -> i64 {
        self.0
    }

    pub(super) fn from_kept(kept: i64) -> Self {
        Self(kept)
    }
}

/// What becomes of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destination {
    /// They stay here, for a month.
    ThisHost,
    /// They are kept until the control plane of this authority has them.
    ControlPlane(AuthorityMark),
}
