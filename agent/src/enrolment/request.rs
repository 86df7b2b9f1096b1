//! A new key, and the request for a certificate of it.

use rcgen::{CertificateParams, KeyPair};

/// ECDSA on P-256. The key never leaves this machine.
pub(super) struct Request {
    /// PKCS #8, DER.
    pub(super) key: Vec<u8>,
    /// PKCS #10, DER.
    pub(super) request: Vec<u8>,
}

impl Request {
    /// Asks for no name: whose certificate it is, the control plane decides.
    pub(super) fn new() -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        let request = CertificateParams::default().serialize_request(&key)?;
        Ok(Self { key: key.serialize_der(), request: request.der().to_vec() })
    }
}
