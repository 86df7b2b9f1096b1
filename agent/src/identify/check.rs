//! The checks by which a caller is known, by name.

use super::{fault::IdentityFault, witness::Kind};

/// Each is one line of an explanation. Which come when is in the code that makes them; [`Kind::checks`] repeats the order for
/// those that were not reached, and a test holds the two together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Check {
    Credential,
    KeyForm,
    KeyKnown,
    KeyTime,
    Form,
    Header,
    Parts,
    Claims,
    Message,
    Issuer,
    Audience,
    Organisation,
    Algorithm,
    Times,
    Kind,
    Client,
    RequiredClaims,
    Binding,
    User,
    KeysHeld,
    IssuerForm,
    Key,
    Signature,
    Scopes,
    Did,
    DidSubject,
    DidAllowed,
    Domain,
    Lifetime,
    ProofId,
    OneTime,
    Possession,
    NamedUser,
}

impl Check {
    /// A stable word for programs.
    pub(crate) fn name(self) -> &'static str {
        self.words().0
    }

    /// What holds when it passes.
    pub(crate) fn title(self) -> &'static str {
        self.words().1
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Credential => ("credential", "It is one credential, in a scheme that is known"),
            Self::KeyForm => ("key_form", "The key is whole"),
            Self::KeyKnown => ("key_known", "There is such a key, and it was not revoked"),
            Self::KeyTime => ("key_time", "The key has not ended"),
            Self::Form => ("form", "It has the form of a signed token or message"),
            Self::Header => ("header", "Its header can be read, and asks for nothing that is refused"),
            Self::Parts => ("parts", "Its claims and its signature can be decoded"),
            Self::Claims => ("claims", "Its claims are a JSON object that has each name once"),
            Self::Message => ("message", "The message is a sign-in of EIP-4361"),
            Self::Issuer => ("issuer", "Its issuer is known here"),
            Self::Audience => ("audience", "Its audience leads to one identity provider or tenant"),
            Self::Organisation => ("organisation", "Its organisation leads to one tenant"),
            Self::Algorithm => ("algorithm", "Its algorithm is allowed"),
            Self::Times => ("times", "It has begun, and has not ended"),
            Self::Kind => ("kind", "It is the kind of token that callers come with"),
            Self::Client => ("client", "It was issued to a client that is accepted"),
            Self::RequiredClaims => {
                ("required_claims", "It has the claims that the provider's settings require")
            }
            Self::Binding => ("binding", "What it is bound to can be proved here"),
            Self::User => ("user", "It names its user"),
            Self::KeysHeld => ("keys_held", "The keys of the issuer are held"),
            Self::IssuerForm => ("issuer_form", "The issuer is written as its metadata writes it"),
            Self::Key => ("key", "The key that it names is the issuer's, and for its algorithm"),
            Self::Signature => ("signature", "The signature verifies"),
            Self::Scopes => ("scopes", "It was granted the scopes that the provider's settings require"),
            Self::Did => ("did", "Its issuer is a DID of a known kind"),
            Self::DidSubject => ("did_subject", "The DID speaks for itself alone"),
            Self::DidAllowed => ("did_allowed", "The DID may call by this audience"),
            Self::Domain => ("domain", "It was signed for a domain of the tenant"),
            Self::Lifetime => ("lifetime", "It is not good for longer than the tenant allows"),
            Self::ProofId => ("proof_id", "It has an id, by which it serves once"),
            Self::OneTime => ("one_time", "It was not used before"),
            Self::Possession => {
                ("possession", "The request shows that its sender has what the token is bound to")
            }
            Self::NamedUser => ("named_user", "The request names its end user, if any, rightly"),
        }
    }
}

/// How a token begins, whoever signed it.
pub(super) const FORM: &[Check] = &[Check::Form, Check::Header, Check::Parts];

/// Whom a token is meant for.
pub(super) const MEANT: &[Check] = &[Check::Audience, Check::Organisation];

/// What a provider demands beyond the general.
pub(super) const DEMANDS: &[Check] = &[Check::Client, Check::RequiredClaims];

/// The key, on the way to the signature.
pub(super) const KEY: &[Check] = &[Check::KeysHeld, Check::IssuerForm, Check::Key];

/// For whom a DID calls.
pub(super) const DID_MEANT: &[Check] = &[Check::Audience, Check::DidAllowed];

/// When a DID's proof was signed, and for how long.
pub(super) const DID_TIMES: &[Check] = &[Check::Times, Check::Lifetime];

/// A DID's key and signature.
pub(super) const DID_SIGNATURE: &[Check] = &[Check::Algorithm, Check::KeysHeld, Check::Key, Check::Signature];

impl Kind {
    /// All checks of such a credential, in their order.
    pub(super) fn checks(self) -> &'static [Check] {
        match self {
            Self::ApiKey => {
                &[Check::Credential, Check::KeyForm, Check::KeyKnown, Check::KeyTime, Check::NamedUser]
            }
            Self::Token => &[
                Check::Credential,
                Check::Form,
                Check::Header,
                Check::Parts,
                Check::Claims,
                Check::Issuer,
                Check::Audience,
                Check::Organisation,
                Check::Algorithm,
                Check::Times,
                Check::Kind,
                Check::Client,
                Check::RequiredClaims,
                Check::Binding,
                Check::User,
                Check::KeysHeld,
                Check::IssuerForm,
                Check::Key,
                Check::Signature,
                Check::Scopes,
                Check::Possession,
            ],
            Self::BareDid => &[Check::Credential, Check::Form],
            Self::DidToken => &[
                Check::Credential,
                Check::Form,
                Check::Header,
                Check::Parts,
                Check::Claims,
                Check::Issuer,
                Check::Did,
                Check::DidSubject,
                Check::Audience,
                Check::DidAllowed,
                Check::Times,
                Check::Lifetime,
                Check::Binding,
                Check::ProofId,
                Check::Algorithm,
                Check::KeysHeld,
                Check::Key,
                Check::Signature,
                Check::OneTime,
            ],
            Self::DidMessage => &[
                Check::Credential,
                Check::Form,
                Check::Parts,
                Check::Message,
                Check::Audience,
                Check::DidAllowed,
                Check::Domain,
                Check::Times,
                Check::Lifetime,
                Check::Signature,
                Check::OneTime,
            ],
        }
    }

    /// As an explanation calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ApiKey => "API key",
            Self::Token => "token of an identity provider",
            Self::BareDid => "DID without a proof",
            Self::DidToken => "token that a DID has signed",
            Self::DidMessage => "message that a wallet has signed",
        }
    }
}

impl IdentityFault {
    /// The checks that fail so: the one of them that the step made which failed.
    pub(super) fn checks(&self) -> &'static [Check] {
        match self {
            Self::NoCredential
            | Self::TwoCredentials
            | Self::SchemeNotKnown
            | Self::MalformedBasic
            | Self::TooLarge { .. } => &[Check::Credential],
            Self::MalformedApiKey => &[Check::KeyForm],
            // What has no form at all can only have been a key.
            Self::UnknownApiKey => &[Check::KeyKnown, Check::Form],
            Self::ExpiredApiKey { .. } => &[Check::KeyTime],
            Self::NamedUser { .. } | Self::TwoNamedUsers => &[Check::NamedUser],
            Self::Malformed { part: "header" | "message" } | Self::BareDid => &[Check::Form],
            Self::Malformed { .. } => &[Check::Parts],
            Self::Encrypted => &[Check::Form, Check::Header],
            Self::HeaderNotJson
            | Self::HeaderDuplicate(_)
            | Self::HeaderType(_)
            | Self::CritPresent
            | Self::Unencoded
            | Self::Compressed
            | Self::Nested
            | Self::EmbeddedKey(_)
            | Self::KeyIdTooLong { .. } => &[Check::Header],
            // An algorithm that nobody knows, or one that is not allowed here.
            Self::AlgorithmNotAllowed(_) => &[Check::Header, Check::Algorithm],
            Self::TypeNotAllowed(_) => &[Check::Header, Check::Kind],
            Self::ClaimsNotJson | Self::ClaimDuplicate(_) => &[Check::Claims],
            Self::MissingIssuer | Self::UnknownIssuer(_) => &[Check::Issuer],
            Self::IssuerForm { .. } => &[Check::IssuerForm],
            Self::MissingAudience
            | Self::WrongAudience(_)
            | Self::AmbiguousAudience(_)
            | Self::DidAudience(_) => &[Check::Audience],
            Self::WrongOrganisation(_) | Self::AmbiguousOrganisation(_) => &[Check::Organisation],
            Self::MissingExpiry
            | Self::MissingIssueTime
            | Self::TooOld { .. }
            | Self::BadTime(_)
            | Self::Expired { .. }
            | Self::NotYetValid { .. }
            | Self::IssuedInFuture { .. } => &[Check::Times],
            Self::NotAccessToken(_) => &[Check::Kind],
            Self::ConfirmationUnproven => &[Check::Binding],
            Self::DpopProof(_)
            | Self::ReplayedProof(_)
            | Self::NotBound
            | Self::CertificateNotPresented
            | Self::OtherCertificate => &[Check::Possession],
            Self::ClientNotAllowed(_) => &[Check::Client],
            Self::RequiredClaim { .. } => &[Check::RequiredClaims],
            Self::MissingScope(_) => &[Check::Scopes],
            Self::UserClaim { .. } => &[Check::User],
            Self::UnknownKey { .. } | Self::KeyNotForAlgorithm { .. } | Self::AmbiguousKey { .. } => {
                &[Check::Key]
            }
            Self::BadSignature { .. } => &[Check::Signature],
            Self::IssuerUnavailable { .. } => &[Check::KeysHeld],
            Self::BadDid { .. } => &[Check::Did],
            Self::AccountToken(_) => &[Check::Key],
            Self::ForeignSubject { .. } => &[Check::DidSubject],
            Self::DidNotAllowed(_) => &[Check::DidAllowed],
            Self::LifetimeTooLong { .. } => &[Check::Lifetime],
            Self::MissingTokenId => &[Check::ProofId],
            Self::Replayed(_) | Self::BeforeMemory { .. } | Self::ReplayMemoryFull { .. } => {
                &[Check::OneTime]
            }
            Self::BadMessage(_) => &[Check::Message],
            Self::MessageDomain(_) => &[Check::Domain],
        }
    }
}
