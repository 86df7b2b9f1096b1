//! The whole-system tests, a module for each promise.

mod bad_input;
mod durability;
mod ends;
mod first_commands;
mod identity;
mod layering;
mod limits;
mod operations;
mod quota_outage;
mod small;
mod streaming;
