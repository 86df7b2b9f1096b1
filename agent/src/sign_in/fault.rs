//! Why there is no token, in words for the person who wants one.

use crate::fetch::FetchError;
use oauth2::{ErrorResponse, ErrorResponseType, RequestTokenError, StandardErrorResponse};
use std::{fmt, io, path::PathBuf, time::Duration};
use thiserror::Error;

#[derive(Debug, Error)]
pub(crate) enum SignInError {
    #[error("the issuer {0:?} is no URL: {1}")]
    Issuer(String, String),
    #[error("the identity provider's metadata cannot be had from {address}: {cause}")]
    Unreachable { address: String, cause: FetchError },
    #[error("the metadata at {address} cannot be used: {problem}")]
    Metadata { address: String, problem: String },
    #[error("{doing}: the identity provider could not be asked: {cause}")]
    Ask { doing: &'static str, cause: String },
    #[error("{doing}: the identity provider's answer is not understood: {problem}")]
    Answer { doing: &'static str, problem: String },
    #[error("{doing}: the identity provider refuses: {refused}")]
    Refused { doing: &'static str, refused: Refused },
    #[error("the identity provider has no {what}; {instead}")]
    NoSuchWay { what: &'static str, instead: &'static str },
    #[error("nobody signed in within {} minutes; start again", .0.as_secs() / 60)]
    TooLate(Duration),
    #[error(
        "the answer that the browser brought is not of {expected}, but of {found}; nothing of it was used"
    )]
    OtherIssuer { expected: String, found: String },
    #[error(
        "cannot listen on {address} for the browser's return: {cause}; another one can be named with --redirect-uri"
    )]
    Listen { address: std::net::SocketAddr, cause: io::Error },
    #[error("{}: {cause}", .path.display())]
    Disk { path: PathBuf, cause: io::Error },
    #[error("the token is bound to a key ({0}), so nobody but its holder can use it; ask for bearer tokens")]
    NotBearer(String),
    #[error("somebody has to sign in: {0}")]
    NobodyThere(String),
}

/// The error of RFC 6749 section 5.2, RFC 8628 section 3.5 or RFC 6749 section 4.1.2.1.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(super) code: String,
    pub(super) description: Option<String>,
}

impl Refused {
    /// What the person can do. Keycloak and dex say some of them otherwise than the RFCs.
    fn advice(&self) -> &'static str {
        match self.code.as_str() {
            "access_denied" => "the sign-in was refused there; start again to sign in as another",
            "expired_token" => "the code was not entered in time; start again",
            "invalid_client" => {
                "check --client-id, and whether this client has a secret (--client-secret-file)"
            }
            "invalid_grant" => "what was presented is no longer good; start again",
            "invalid_scope" => "ask for other scopes with --scope",
            // Keycloak, of an account that may not be remembered.
            "not_allowed" => "ask for less: --scope openid",
            "invalid_target" => "the provider does not know the audience of --audience",
            "unauthorized_client" => {
                "the client may not sign in this way; allow it at the provider, or use another way"
            }
            "unsupported_grant_type" => "the provider does not know this way; try --device or --browser",
            "invalid_request" => {
                "check the client's settings at the provider, its redirect addresses among them"
            }
            "consent_required" | "interaction_required" | "login_required" => {
                "start again, and sign in there"
            }
            "temporarily_unavailable" | "server_error" => "try again in a moment",
            _ => "see the provider's documentation",
        }
    }

    /// The refresh token is used up, withdrawn or expired. dex says `invalid_request`.
    pub(super) fn is_the_end_of_a_refresh_token(&self) -> bool {
        matches!(self.code.as_str(), "invalid_grant" | "invalid_request")
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.code)?;
        if let Some(description) = &self.description {
            write!(f, " ({description})")?;
        }
        write!(f, "; {}", self.advice())
    }
}

/// Of what the protocol library reports.
pub(super) fn failed<E, T>(
    doing: &'static str,
    error: RequestTokenError<E, StandardErrorResponse<T>>,
) -> SignInError
where
    E: std::error::Error + 'static,
    T: ErrorResponseType + fmt::Display + 'static,
    StandardErrorResponse<T>: ErrorResponse,
{
    match error {
        RequestTokenError::ServerResponse(response) => SignInError::Refused {
            doing,
            refused: Refused {
                code: response.error().to_string(),
                description: response.error_description().cloned(),
            },
        },
        RequestTokenError::Request(cause) => SignInError::Ask { doing, cause: cause.to_string() },
        // The body stays out of the message: it may have a token.
        RequestTokenError::Parse(error, _body) => SignInError::Answer { doing, problem: error.to_string() },
        RequestTokenError::Other(problem) => SignInError::Answer { doing, problem },
    }
}
