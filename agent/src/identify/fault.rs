//! Why a caller is not known: one variant for each check, so that a test can ask for the check and not for "401".

use super::excerpt::Excerpt;
use attach_proto::{bundle::Algorithm, did::InvalidDid, id::KeyId};
use jiff::Timestamp;
use std::time::Duration;
use thiserror::Error;

/// The text of each is for the operator: it may name the issuer, the key id, the claim and the clock, and never has
/// the credential itself.
#[derive(Debug, Clone, PartialEq, Error)]
pub(crate) enum IdentityFault {
    #[error("no credential: neither an Authorization header with a bearer token nor an x-api-key header")]
    NoCredential,
    #[error("more than one credential; which of them counts must not be a guess")]
    TwoCredentials,
    #[error("the Authorization header's scheme is neither Bearer nor Basic")]
    SchemeNotKnown,
    #[error("what comes after Basic is not the base64 of `user:key`")]
    MalformedBasic,
    #[error("the credential has {bytes} bytes, more than {max}")]
    TooLarge { bytes: usize, max: usize },

    #[error("an API key that is not whole: a character of it is missing, added or another")]
    MalformedApiKey,
    #[error("no API key of this bundle")]
    UnknownApiKey,
    #[error("API key {key} expired at {at}")]
    ExpiredApiKey { key: KeyId, at: Timestamp },
    /// Of an application that may act for others.
    #[error("{header}, which names the end user, {problem}")]
    NamedUser { header: &'static str, problem: &'static str },
    #[error("X-Attach-On-Behalf-Of and X-OpenWebUI-User-Id name two users")]
    TwoNamedUsers,

    #[error("not three non-empty parts of unpadded base64url: {part}")]
    Malformed { part: &'static str },
    #[error("the header is not a JSON object")]
    HeaderNotJson,
    #[error("the header has {0} twice")]
    HeaderDuplicate(Excerpt),
    #[error("the header's `{0}` has a wrong type or is missing")]
    HeaderType(&'static str),
    #[error("the header has `crit`: none of its extensions is understood here")]
    CritPresent,
    #[error("the header has `b64`: a token's payload is always encoded")]
    Unencoded,
    #[error("the header has `zip`: tokens are not compressed")]
    Compressed,
    #[error("the header has `cty`: tokens within tokens are not read")]
    Nested,
    #[error("the token is encrypted, not signed")]
    Encrypted,
    #[error("the header brings its own key by `{0}`; keys come from the issuer alone")]
    EmbeddedKey(&'static str),
    #[error("algorithm {0} is not allowed")]
    AlgorithmNotAllowed(Excerpt),
    #[error("type {0} is no access token's")]
    TypeNotAllowed(Excerpt),
    #[error("the key id has {bytes} bytes, more than {max}")]
    KeyIdTooLong { bytes: usize, max: usize },

    #[error("the claims are not a JSON object")]
    ClaimsNotJson,
    #[error("the claims have {0} twice")]
    ClaimDuplicate(Excerpt),
    #[error("no `iss` claim that is a string")]
    MissingIssuer,
    #[error("issuer {0} is not known")]
    UnknownIssuer(Excerpt),
    #[error("issuer {found} is not {expected}, character for character")]
    IssuerForm { found: Excerpt, expected: Excerpt },
    #[error("no `aud` claim that is a string or a list of strings")]
    MissingAudience,
    #[error("audience {0} is none of this issuer's providers'")]
    WrongAudience(Excerpt),
    #[error("audience {0} belongs to more than one provider")]
    AmbiguousAudience(Excerpt),
    #[error("organisation {0} is none of this issuer and audience's tenants'")]
    WrongOrganisation(Excerpt),
    #[error("of the organisations {0} several lead to a tenant; which is meant can't be told")]
    AmbiguousOrganisation(Excerpt),
    #[error("no `exp` claim")]
    MissingExpiry,
    #[error("no `iat` claim, which this provider's maximum age needs")]
    MissingIssueTime,
    #[error("`iat` is {claim}, the clock here {now}, the maximum age {max_age:?}")]
    TooOld { claim: i64, now: Timestamp, max_age: Duration },
    #[error("claim `{0}` is no time between 1970 and 9999 in seconds")]
    BadTime(&'static str),
    #[error("`exp` is {claim}, the clock here {now}, the allowed skew {skew:?}")]
    Expired { claim: i64, now: Timestamp, skew: Duration },
    #[error("`nbf` is {claim}, the clock here {now}, the allowed skew {skew:?}")]
    NotYetValid { claim: i64, now: Timestamp, skew: Duration },
    #[error("`iat` is {claim}, the clock here {now}, the allowed skew {skew:?}")]
    IssuedInFuture { claim: i64, now: Timestamp, skew: Duration },
    #[error("{0}, not an access token")]
    NotAccessToken(&'static str),
    #[error("bound to a key by `cnf`, and the proof of that key cannot be checked here")]
    ConfirmationUnproven,
    #[error("the DPoP proof {0}")]
    DpopProof(&'static str),
    #[error("the token is bound to no key, and came with the scheme DPoP")]
    NotBound,
    #[error("bound to a client certificate, and the connection has none")]
    CertificateNotPresented,
    #[error("bound to another client certificate than the connection's")]
    OtherCertificate,
    #[error("client {0} is none whose tokens this provider's configuration accepts")]
    ClientNotAllowed(Excerpt),
    #[error("claim {claim} {problem}, which this provider's configuration does not accept")]
    RequiredClaim { claim: Excerpt, problem: &'static str },
    #[error("the token was not granted the scope {0:?}")]
    MissingScope(Box<str>),
    #[error("the user claim at {pointer} {problem}")]
    UserClaim { pointer: Excerpt, problem: &'static str },

    #[error("issuer {issuer} has no key {kid}")]
    UnknownKey { issuer: Excerpt, kid: Excerpt },
    #[error("key {kid} of issuer {issuer} is not for {}", algorithm.name())]
    KeyNotForAlgorithm { issuer: Excerpt, kid: Excerpt, algorithm: Algorithm },
    #[error("the token names no key, and issuer {issuer} has several for {}", algorithm.name())]
    AmbiguousKey { issuer: Excerpt, algorithm: Algorithm },
    #[error("the signature does not verify with key {kid} of issuer {issuer}")]
    BadSignature { issuer: Excerpt, kid: Excerpt },
    /// The one fault that is not the caller's.
    #[error("the keys of issuer {issuer} are not to be had: {problem}")]
    IssuerUnavailable { issuer: Excerpt, problem: Excerpt, retry_after: Duration },

    #[error("a DID alone is a name and no proof of it: send a token that its key has signed")]
    BareDid,
    #[error("{did} {problem}")]
    BadDid { did: Excerpt, problem: InvalidDid },
    #[error("{0} proves itself by a message that its wallet has signed, not by a token")]
    AccountToken(Excerpt),
    #[error("`sub` is {subject}, and not {did}, which signed for itself alone")]
    ForeignSubject { did: Excerpt, subject: Excerpt },
    #[error("audience {0} is none that DIDs may call by")]
    DidAudience(Excerpt),
    #[error("{0} is none of the DIDs that may call by this audience")]
    DidNotAllowed(Excerpt),
    #[error("from `iat` to `exp` are {lifetime:?}, more than the {max:?} that the tenant allows")]
    LifetimeTooLong { lifetime: Duration, max: Duration },
    #[error("no `jti` of 1 to 128 bytes, and a token of this tenant's DIDs serves once")]
    MissingTokenId,
    #[error("the proof {0} was used already, and serves once")]
    Replayed(Excerpt),
    #[error("the DPoP proof {0} was used already, and serves once")]
    ReplayedProof(Excerpt),
    #[error(
        "signed at {issued}, before this gateway started at {started} and began to remember what was used"
    )]
    BeforeMemory { issued: Timestamp, started: Timestamp },
    /// Not the caller's fault either.
    #[error("too many proofs that serve once are remembered; there is room again in {retry_after:?}")]
    ReplayMemoryFull { retry_after: Duration },
    #[error("the signed message is not one of EIP-4361: {0}")]
    BadMessage(&'static str),
    #[error("the message was signed at {0}, which is no domain of this tenant")]
    MessageDomain(Excerpt),
}

impl IdentityFault {
    /// A stable word for logs, metrics and tests.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::NoCredential => "no_credential",
            Self::TwoCredentials => "two_credentials",
            Self::SchemeNotKnown => "scheme_not_known",
            Self::MalformedBasic => "malformed_basic",
            Self::TooLarge { .. } => "credential_too_large",
            Self::MalformedApiKey => "malformed_api_key",
            Self::UnknownApiKey => "unknown_api_key",
            Self::ExpiredApiKey { .. } => "expired_api_key",
            Self::NamedUser { .. } => "named_user",
            Self::TwoNamedUsers => "two_named_users",
            Self::Malformed { .. } => "malformed_token",
            Self::HeaderNotJson => "header_not_json",
            Self::HeaderDuplicate(_) => "header_duplicate",
            Self::HeaderType(_) => "header_type",
            Self::CritPresent => "crit_present",
            Self::Unencoded => "unencoded_payload",
            Self::Compressed => "compressed",
            Self::Nested => "nested_token",
            Self::Encrypted => "encrypted_token",
            Self::EmbeddedKey(_) => "embedded_key",
            Self::AlgorithmNotAllowed(_) => "algorithm_not_allowed",
            Self::TypeNotAllowed(_) => "type_not_allowed",
            Self::KeyIdTooLong { .. } => "key_id_too_long",
            Self::ClaimsNotJson => "claims_not_json",
            Self::ClaimDuplicate(_) => "claim_duplicate",
            Self::MissingIssuer => "missing_issuer",
            Self::UnknownIssuer(_) => "unknown_issuer",
            Self::IssuerForm { .. } => "issuer_form",
            Self::MissingAudience => "missing_audience",
            Self::WrongAudience(_) => "wrong_audience",
            Self::AmbiguousAudience(_) => "ambiguous_audience",
            Self::WrongOrganisation(_) => "wrong_organisation",
            Self::AmbiguousOrganisation(_) => "ambiguous_organisation",
            Self::MissingExpiry => "missing_expiry",
            Self::MissingIssueTime => "missing_issue_time",
            Self::TooOld { .. } => "too_old",
            Self::ClientNotAllowed(_) => "client_not_allowed",
            Self::RequiredClaim { .. } => "required_claim",
            Self::MissingScope(_) => "missing_scope",
            Self::BadTime(_) => "bad_time",
            Self::Expired { .. } => "expired",
            Self::NotYetValid { .. } => "not_yet_valid",
            Self::IssuedInFuture { .. } => "issued_in_future",
            Self::NotAccessToken(_) => "not_access_token",
            Self::ConfirmationUnproven => "confirmation_unproven",
            Self::DpopProof(_) => "dpop_proof",
            Self::NotBound => "not_bound",
            Self::CertificateNotPresented => "certificate_not_presented",
            Self::OtherCertificate => "other_certificate",
            Self::UserClaim { .. } => "user_claim",
            Self::UnknownKey { .. } => "unknown_key",
            Self::KeyNotForAlgorithm { .. } => "key_not_for_algorithm",
            Self::AmbiguousKey { .. } => "ambiguous_key",
            Self::BadSignature { .. } => "bad_signature",
            Self::IssuerUnavailable { .. } => "issuer_unavailable",
            Self::BareDid => "bare_did",
            Self::BadDid { .. } => "bad_did",
            Self::AccountToken(_) => "account_token",
            Self::ForeignSubject { .. } => "foreign_subject",
            Self::DidAudience(_) => "did_audience",
            Self::DidNotAllowed(_) => "did_not_allowed",
            Self::LifetimeTooLong { .. } => "lifetime_too_long",
            Self::MissingTokenId => "missing_token_id",
            Self::Replayed(_) | Self::ReplayedProof(_) => "replayed",
            Self::BeforeMemory { .. } => "before_memory",
            Self::ReplayMemoryFull { .. } => "replay_memory_full",
            Self::BadMessage(_) => "bad_message",
            Self::MessageDomain(_) => "message_domain",
        }
    }

    /// The same of a proof that came beside a token: the token is as good as before, and another proof is asked for.
    pub(super) fn of_dpop_proof(self) -> Self {
        if let Self::Replayed(id) = self {
            Self::ReplayedProof(id)
        } else if let Self::BeforeMemory { .. } = self {
            Self::DpopProof("is from before this gateway began")
        } else {
            self
        }
    }

    /// `Some` for the faults that may pass without a new credential: answer 503 and not 401, to be tried again then.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        if let Self::IssuerUnavailable { retry_after, .. } | Self::ReplayMemoryFull { retry_after } = self {
            Some(*retry_after)
        } else {
            None
        }
    }
}
