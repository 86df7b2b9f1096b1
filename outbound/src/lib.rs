//! Connections that the planes open themselves, and small exchanges by them.
//!
//! From a URL to what is dialled: `resolve` has the addresses of its host, the guard of `dial` asks whether it may lead there
//! (`attach_proto::destination`), and what was checked is what is connected to, over TLS that trusts `roots`. `fetch` is the
//! one HTTP client for the few small documents that are needed from outside.

pub mod dial;
pub mod fetch;
pub mod resolve;
pub mod roots;
