//! Wire types, generated from `gateway/v1/*.proto`, with their proto-JSON serde forms.
#![expect(
    clippy::all,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::doc_markdown,
    reason = "generated code"
)]

include!(concat!(env!("OUT_DIR"), "/attach.gateway.v1.rs"));
include!(concat!(env!("OUT_DIR"), "/attach.gateway.v1.serde.rs"));
