//! What a person pastes: a join token and where to take it.

use crate::control_plane::{Address, InvalidAddress};
use attach_proto::join_token::{InvalidJoinToken, JoinToken};
use std::str::FromStr;

/// `atj_…@https://host:port`. No log shows the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invitation {
    pub(super) token: JoinToken,
    pub(super) address: Address,
}

/// None of them repeats what was given: it may be a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidInvitation {
    #[error("there is no address behind the token; write atj_…@https://host:port, as the console shows it")]
    NoAddress,
    #[error(transparent)]
    Token(#[from] InvalidJoinToken),
    #[error(transparent)]
    Address(#[from] InvalidAddress),
}

impl FromStr for Invitation {
    type Err = InvalidInvitation;

    fn from_str(text: &str) -> Result<Self, InvalidInvitation> {
        let Some((token, address)) = text.trim().split_once('@') else {
            // A token that lost its end has lost the address too.
            text.trim().parse::<JoinToken>()?;
            return Err(InvalidInvitation::NoAddress);
        };
        Ok(Self { token: token.parse()?, address: address.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invitation_is_a_whole_token_and_an_address() {
        let token = JoinToken::new("0123456789abcdef", &"s".repeat(43), [7; 32]);
        let read: Invitation = format!(" {}@https://control:8443\n", token.as_str()).parse().unwrap();
        assert_eq!(read.token, token);
        assert_eq!(read.address.to_string(), "https://control:8443");
        for (text, expected) in [
            (token.as_str().to_owned(), "there is no address"),
            (format!("{}@control:8443", token.as_str()), "is no address of a control plane"),
            (token.as_str()[..50].to_owned(), "not whole"),
            (format!("{}@https://control", &token.as_str()[..50]), "not whole"),
            ("sk-abc@https://control".to_owned(), "a join token starts with"),
        ] {
            let error = text.parse::<Invitation>().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains("ssss") && !error.contains("sk-abc"), "{error}");
        }
    }
}
