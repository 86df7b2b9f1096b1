//! Which Ethereum account has signed a message.

use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};
use sha3::{Digest as _, Keccak256};

/// r, s and v.
pub(super) const SIGNATURE_BYTES: usize = 65;

/// The address whose key made this signature of `personal_sign` (EIP-191, version 0x45). `None` for what is no signature in
/// its one form: `s` in the lower half (EIP-2), `v` as 27 or 28, or as 0 or 1, which hardware wallets write.
pub(super) fn signer(message: &str, signature: &[u8; SIGNATURE_BYTES]) -> Option<[u8; 20]> {
    let (scalars, v) = signature.split_at_checked(64)?;
    let parity = match v.first()? {
        0 | 27 => false,
        1 | 28 => true,
        _ => return None,
    };
    let signature = Signature::from_slice(scalars).ok()?;
    if signature.normalize_s() != signature {
        return None;
    }
    let mut hash = Keccak256::new();
    hash.update(b"\x19Ethereum Signed Message:\n");
    hash.update(message.len().to_string());
    hash.update(message);
    let recovery = RecoveryId::new(parity, false);
    let key = VerifyingKey::recover_from_prehash(&hash.finalize(), &signature, recovery).ok()?;
    address_of(&key)
}

/// The last 20 bytes of the hash of both coordinates.
pub(in crate::identify) fn address_of(key: &VerifyingKey) -> Option<[u8; 20]> {
    let point = key.to_sec1_point(false);
    let coordinates = point.as_bytes().strip_prefix(&[4])?;
    Keccak256::digest(coordinates).last_chunk::<20>().copied()
}

/// EIP-55: a digit is upper case where the hash of all of them says so, which finds most typing mistakes.
pub(in crate::identify) fn checksummed(address: [u8; 20]) -> String {
    let digits: String = address.iter().map(|byte| format!("{byte:02x}")).collect();
    let hash = Keccak256::digest(&digits);
    let nibbles = hash.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let cased = digits.chars().zip(nibbles).map(
        |(digit, nibble)| {
            if nibble > 7 { digit.to_ascii_uppercase() } else { digit }
        },
    );
    format!("0x{}", cased.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use attach_proto::did::ethereum_address;

    #[test]
    fn the_examples_of_eip_55_are_written_as_it_writes_them() {
        for example in [
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
            "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
            "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
        ] {
            assert_eq!(checksummed(ethereum_address(example).unwrap()), example);
        }
    }
}
