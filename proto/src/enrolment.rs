//! How the planes know each other on the wire.

use crate::id::{AgentId, PoolId};

/// The name in the control plane's certificate towards agents, and the one that they check, whatever address they reach it
/// by: its own authority signs for nothing else, so a proxy or a new address changes nothing.
pub const CONTROL_PLANE_NAME: &str = "attach-control-plane";

/// Who an agent is, in the subject alternative name of its certificate: `attach://pool/<pool>/agent/<agent>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AgentName {
    pub pool: PoolId,
    pub agent: AgentId,
}

impl AgentName {
    pub fn to_uri(&self) -> String {
        format!("attach://pool/{}/agent/{}", self.pool, self.agent)
    }

    /// `None` for any other form.
    pub fn from_uri(uri: &str) -> Option<Self> {
        let (pool, agent) = uri.strip_prefix("attach://pool/")?.split_once("/agent/")?;
        Some(Self { pool: pool.parse().ok()?, agent: agent.parse().ok()? })
    }
}

/// Reasons in the `ErrorInfo` of a refused call, under [`DOMAIN`](reason::DOMAIN).
pub mod reason {
    pub const DOMAIN: &str = "attach";
    /// The agent was revoked; it stops serving.
    pub const AGENT_REVOKED: &str = "AGENT_REVOKED";
    /// The agent's certificate is good, and nobody of its name is on record: the database is not the one that it joined, or
    /// stands as it was before. It goes on with what it has, for nobody revoked it.
    pub const AGENT_UNKNOWN: &str = "AGENT_UNKNOWN";
    /// The join token was used, has expired, was revoked, or is of another control plane; the message says which.
    pub const JOIN_TOKEN_REFUSED: &str = "JOIN_TOKEN_REFUSED";
    /// A usage batch leaves a gap; the metadata `expected_seq` says where the spool is to go on.
    pub const USAGE_GAP: &str = "USAGE_GAP";
    /// The spool belongs to another agent.
    pub const USAGE_FOREIGN_SPOOL: &str = "USAGE_FOREIGN_SPOOL";
    /// An event that was acknowledged came again with another content.
    pub const USAGE_CHANGED: &str = "USAGE_CHANGED";
    /// The metadata `expected_seq` of [`USAGE_GAP`].
    pub const EXPECTED_SEQ: &str = "expected_seq";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_was_written_and_nothing_else_is_one() {
        let name = AgentName { pool: "main".parse().unwrap(), agent: "agent-1".parse().unwrap() };
        assert_eq!(AgentName::from_uri(&name.to_uri()), Some(name));
        for other in [
            "",
            "attach://pool/main",
            "attach://pool/a/b/agent/c",
            "attach://pool//agent/c",
            "https://x/agent/c",
        ] {
            assert_eq!(AgentName::from_uri(other), None, "{other}");
        }
    }
}
