//! The name of a gateway that belongs to no control plane.

use anyhow::Context as _;
use attach_proto::id::AgentId;
use std::{fs, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path};

/// Made at the first start in a state folder, and kept.
pub(super) fn agent_id(state: &Path) -> anyhow::Result<AgentId> {
    let file = state.join("agent-id");
    match fs::read_to_string(&file) {
        Ok(text) => text.trim().parse().with_context(|| format!("{}: is no id; remove it", file.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let id = format!("agent-{}", uuid::Uuid::now_v7());
            let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file);
            match made {
                Ok(mut made) => made.write_all(id.as_bytes()).with_context(|| file.display().to_string())?,
                // Another gateway on this folder was first.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return agent_id(state),
                Err(error) => return Err(error).with_context(|| file.display().to_string()),
            }
            Ok(id.parse()?)
        }
        Err(error) => Err(error).with_context(|| file.display().to_string()),
    }
}
