//! What the control plane speaks of. Types and rules; no SQL, no HTTP.

pub mod actor;
pub mod api_key;
pub mod secret;
