//! What a request consumed, read from the answer as it passes.

mod counts;
mod members;
mod place;
mod scan;
mod tails;
#[cfg(test)]
mod tests;

pub(crate) use counts::Reading;
pub(crate) use scan::{End, Scanner, Wire};
pub(crate) use tails::LengthEnd;
