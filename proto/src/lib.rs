//! The contract between the planes of Attach Gateway.
//!
//! A [`bundle::Bundle`] is everything a gateway needs to serve; a [`usage::UsageEvent`] is what it reports. Both have
//! a wire form in [`v1`], generated from the `.proto` files, and a domain form that is valid by construction. The
//! `TryFrom` in [`bundle`] is the only way from the first to the second, whether the message came from a file, from the
//! environment or from a stream, and its error names the path of the field.
//!
//! What a gateway lets through is a table ([`route`]), which an operator may add to; [`destination`] says where a URL in a
//! bundle may lead. Between the planes a bundle travels in parts ([`resources`]); a gateway joins with a [`join_token`].
//!
//! This crate depends on nothing else of the project.

pub mod base62;
pub mod bundle;
mod convert;
pub mod destination;
pub mod did;
pub mod enrolment;
pub mod id;
pub mod join_token;
pub mod key_text;
pub mod question;
pub mod resources;
pub mod route;
pub mod usage;
pub mod v1;

pub use convert::{FilledIn, Invalid, Taken, duration};
pub use usage::timestamp;
