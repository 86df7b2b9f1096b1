//! What the control plane speaks of. Types and rules; no SQL, no HTTP.

pub mod actor;
pub mod api_key;
pub mod fleet;
pub mod issuer_keys;
pub mod key_scope;
pub mod page;
pub mod secret;
pub mod sign_in;
pub mod tenant;
pub mod usage;
pub mod word;
