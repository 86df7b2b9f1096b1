//! The key that a `did:key` is.

use attach_proto::{
    bundle::Algorithm,
    did::{KeyKind, PublicKey},
};
use aws_lc_rs::{
    error::KeyRejected,
    signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P256K1_SHA256_FIXED, ED25519, ParsedPublicKey},
};

/// One for each kind of key (RFC 8037 section 3.1, RFC 7518 section 3.4, RFC 8812 section 3.2): the header of a token may
/// only repeat what the key says.
pub(super) fn algorithm(kind: KeyKind) -> Algorithm {
    match kind {
        KeyKind::Ed25519 => Algorithm::EdDsa,
        KeyKind::P256 => Algorithm::Es256,
        KeyKind::Secp256k1 => Algorithm::Es256K,
    }
}

/// Also `false` for a point that is not on its curve.
pub(in crate::identify) fn verifies(key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
    parsed(key).is_ok_and(|key| key.verify_sig(message, signature).is_ok())
}

/// # Errors
/// The point is not on its curve.
pub(in crate::identify) fn parsed(key: &PublicKey) -> Result<ParsedPublicKey, KeyRejected> {
    match key.kind {
        KeyKind::Ed25519 => ParsedPublicKey::new(&ED25519, &key.bytes),
        KeyKind::P256 => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &key.bytes),
        KeyKind::Secp256k1 => ParsedPublicKey::new(&ECDSA_P256K1_SHA256_FIXED, &key.bytes),
    }
}
