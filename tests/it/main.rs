//! The whole-system tests, a module for each promise.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod api_keys;
mod applications;
mod bad_input;
mod behind_nginx;
mod bound_tokens;
mod checks;
mod chunking;
mod connections;
mod cors;
mod deploy;
mod dids;
mod durability;
mod ends;
mod engines;
mod explain;
mod first_commands;
mod hostile_http;
mod http2;
mod identity;
mod issuer_keys;
mod issuers;
mod layering;
mod limits;
mod managed;
mod operations;
mod outages;
mod people;
mod refused_start;
mod routes;
mod small;
mod streaming;
mod tls;
mod uploads;
mod whole_path;
