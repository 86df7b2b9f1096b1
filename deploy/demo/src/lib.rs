//! Stand-ins for the two services that a gateway needs beside it, for trying it out and for its tests: an [`engine`]
//! that speaks the dialects of Ollama, OpenAI and Anthropic over a tiny deterministic model with true token counts,
//! and an [`issuer`] of access tokens. Both say in what they send that they are a demo, and listen on loopback only.
//!
//! Neither knows the gateway, and the gateway does not know them: they meet over sockets.

mod clock;
pub mod engine;
pub mod issuer;
mod listen;

pub use listen::{BindError, bind};
