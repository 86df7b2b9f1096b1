//! What the readers of this stage promise of any input, whatever a stranger made it of: one function for each reader,
//! which panics where the promise is broken. Each compares the reader with a second one, written here from the standard's
//! text and for nothing else.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a promise that is broken is told by a panic")]

mod api_key;
mod claims;
mod did;
mod document;
mod header;
mod key_set;
mod message;
mod metadata;
mod written;

pub use api_key::api_key;
pub use claims::claims;
pub use did::did;
pub use document::document;
pub use header::header;
pub use key_set::key_set;
pub use message::message;
pub use metadata::metadata;

use std::fmt::Display;

/// Whatever a stranger wrote, what is said of it stays one line of bounded length.
fn assert_fit_for_a_log(said: &impl Display) {
    // Two excerpts of 120 characters, each escaped to ten at most, and the words around them.
    const MAX_BYTES: usize = 4096;
    let said = said.to_string();
    assert!(!said.is_empty() && said.len() <= MAX_BYTES, "{} bytes", said.len());
    assert!(!said.chars().any(char::is_control), "{said:?}");
}
