//! Who does something, as the audit trail names them.

use super::{key_scope::HandOut, sign_in::SecretText};
use attach_proto::id::AgentId;

/// Tells the few sessions of an operator apart.
const SESSION_NAME_BYTES: usize = 4;

/// Whoever an operation is done for. Proved at a door: by the operator's token, by a session, by a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// Who runs this control plane.
    Operator { name: String },
    /// A gateway, by itself.
    Agent(AgentId),
    /// The control plane, by itself.
    System,
}

impl Actor {
    /// Whoever holds this session, by the beginning of its hash: which session it was, and nothing to sign in with.
    pub(crate) fn of_session(session: &SecretText) -> Self {
        let beginning: String =
            session.sha256().iter().take(SESSION_NAME_BYTES).map(|byte| format!("{byte:02x}")).collect();
        Self::Operator { name: format!("console {beginning}") }
    }

    pub(crate) fn of_token(id: &str) -> Self {
        Self::Operator { name: format!("token {id}") }
    }

    pub(crate) fn command_line() -> Self {
        Self::Operator { name: "command line".to_owned() }
    }

    /// What it may give to others by a key.
    pub(crate) fn may_hand_out(&self) -> HandOut {
        match self {
            Self::Operator { .. } => HandOut::Anything,
            Self::Agent(_) | Self::System => HandOut::NOTHING,
        }
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Operator { .. } => "operator",
            Self::Agent(_) => "agent",
            Self::System => "system",
        }
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Operator { name } => name,
            Self::Agent(id) => id.as_str(),
            Self::System => "attach-control-plane",
        }
    }
}
