//! The whole-system tests, a module for each promise.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod bad_input;
mod chunking;
mod durability;
mod ends;
mod engines;
mod first_commands;
mod identity;
mod layering;
mod limits;
mod managed;
mod operations;
mod outages;
mod people;
mod refused_start;
mod small;
mod streaming;
mod tls;
mod uploads;
mod whole_path;
