//! What both planes must agree on of an issuer: its metadata, its keys, and how it is asked for them.
//!
//! A gateway verifies with these keys, whether it asked for them itself or its control plane did. What the one takes the
//! other must take too, or a good set would be refused where it arrives; so the rules stand here once. Nothing here keeps
//! anything: when to ask, and how long what was good stays good, `pace` says and the planes do.

pub mod ask;
pub mod discovery;
pub mod excerpt;
pub mod json;
pub mod key;
pub mod key_set;
pub mod pace;
