//! Who does something, as the audit trail names them.

/// Whoever an operation is done for. Proved at a door: by the operator's token, by a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// Who runs this control plane.
    Operator { name: String },
}

impl Actor {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Operator { .. } => "operator",
        }
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Operator { name } => name,
        }
    }
}
