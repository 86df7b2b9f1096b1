//! Who does something, as the audit trail names them.

use attach_proto::id::AgentId;

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
