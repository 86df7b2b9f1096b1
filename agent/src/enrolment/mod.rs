//! Who this gateway is to its control plane: a key of its own and a certificate that names pool and agent.
//!
//! A join token gets the first certificate (`join`), the certificate the next one (`renewal`). All of it stands in one
//! file below the state folder (`identity`), so that it is there whole or not at all.

mod identity;
mod invitation;
mod join;
mod link;
mod pin;
mod renewal;
mod request;

pub(crate) use identity::{Identity, IdentityError, is_enrolled};
pub(crate) use invitation::Invitation;
pub(crate) use join::{Joined, join};
pub(crate) use link::Link;
pub(crate) use renewal::Renewer;

use std::path::{Path, PathBuf};

/// Where the enrolment is kept, below the state folder.
pub(crate) fn folder(state: &Path) -> PathBuf {
    state.join("enrolment")
}

#[cfg(test)]
pub(crate) mod tests;
