//! What somebody asks about when a request was refused: a credential, or a request by its id. They are told apart by their form,
//! so that no credential is ever searched for, shown or kept as if it were an id.

use crate::key_text;

/// The longest request id that gateways take over from callers: two UUIDs and a bit, which is what tracing systems send.
pub const MAX_REQUEST_ID_BYTES: usize = 128;

/// Longest text that may be pasted: a credential ends at 16 KiB, and as much again is for line breaks and what stands before it.
pub const MAX_PASTED_BYTES: usize = 32 * 1024;

/// Whether a text can be a request id.
pub fn is_request_id(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
    !text.is_empty() && text.len() <= MAX_REQUEST_ID_BYTES && text.bytes().all(plain)
}

/// Whether a text is a credential by its form, though it may have the form of an id as well. An API key of another maker's form
/// is not told from an id.
pub fn is_credential(text: &str) -> bool {
    let text = text.trim();
    // Of a token's two inner dots the second ends the claims, which are an object: `{"` in base64url.
    let mut parts = text.split('.');
    let header = parts.next().unwrap_or_default();
    let is_token = header.starts_with("ey") && parts.next().is_some() && parts.next().is_some();
    let is_proof = text.starts_with("did:") || text.starts_with("caip122.");
    is_token || is_proof || key_text::claims_to_be_key(text.as_bytes()) || !is_request_id(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_told_from_request_ids_by_their_form() {
        for id in [
            "0198f3a2-7c1e-7d2a-9b5e-3f6a1c2d4e5f",
            "refused-1",
            "a.b.c",
            "eyes-only",
            "trace:1_2",
            &"x".repeat(MAX_REQUEST_ID_BYTES),
        ] {
            assert!(is_request_id(id) && !is_credential(id), "{id}");
        }
        for credential in [
            "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln",
            "eyJhbGciOiJub25lIn0.eyJpc3MiOiJ4In0.",
            "eyJhbGciOiJSUzI1NiJ9.a.b.c.d",
            "Bearer abc",
            "Authorization: Bearer abc",
            "atk_0123456789abcdef_cut",
            "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK",
            "caip122.aGk.c2ln",
            "",
            "two words",
            &"x".repeat(MAX_REQUEST_ID_BYTES + 1),
        ] {
            assert!(is_credential(credential), "{credential}");
        }
    }
}
