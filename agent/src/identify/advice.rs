//! What to change, for whoever asks why a credential is refused.

use super::fault::IdentityFault;

impl IdentityFault {
    /// One or two sentences for the operator, who may hand them on: what the caller, the identity provider or the
    /// configuration must do otherwise.
    pub(crate) fn advice(&self) -> &'static str {
        match self {
            Self::NoCredential => "Send the token or key as `Authorization: Bearer …`.",
            Self::TwoCredentials => {
                "Send one credential, once: look for a proxy or an SDK that adds a second header."
            }
            Self::SchemeNotKnown => "Write `Bearer` before the token or key.",
            Self::MalformedBasic => {
                "Encode `anything:KEY` in base64 after `Basic`, or send the key as a bearer."
            }
            Self::TooLarge { .. } => {
                "Have the identity provider put less into the token: groups are usually what makes it large."
            }
            Self::MalformedApiKey => "Copy the key again, whole, or make a new one.",
            Self::UnknownApiKey => {
                "Check that the key is this gateway's and was not revoked; a new one may take a second to arrive."
            }
            Self::ExpiredApiKey { .. } => "Make or rotate the key, and have its holder send the new one.",
            Self::NamedUser { .. } => "Correct the header that names the end user.",
            Self::TwoNamedUsers => "Send one of the two headers, or the same user in both.",
            Self::Malformed { .. } => "Copy the whole token, with both of its dots, and nothing around it.",
            Self::HeaderNotJson | Self::HeaderDuplicate(_) | Self::HeaderType(_) => {
                "This is not how an identity provider writes tokens: get a new one from it."
            }
            Self::CritPresent | Self::Unencoded | Self::Compressed | Self::Nested | Self::EmbeddedKey(_) => {
                "Have the identity provider issue plain signed tokens, without this member in the header."
            }
            Self::Encrypted => {
                "Turn token encryption off for this client at the identity provider; or ask for an access token that is \
                 a JWT, by naming the API's audience."
            }
            Self::AlgorithmNotAllowed(_) => {
                "Have the identity provider sign with RS256 or ES256, or add the algorithm to the provider's `algorithms`. \
                 `none` and shared secrets (HS256) are never taken."
            }
            Self::TypeNotAllowed(_) => {
                "Send the access token, not another; or add its type to the provider's `token_types`."
            }
            Self::KeyIdTooLong { .. } => "Give the identity provider's key a shorter id.",
            Self::ClaimsNotJson | Self::ClaimDuplicate(_) => "Get a new token from the identity provider.",
            Self::MissingIssuer => {
                "Get the token from an OpenID Connect provider, which names itself in `iss`."
            }
            Self::UnknownIssuer(_) => {
                "Add an identity provider with exactly this issuer, or get the token from one that is configured."
            }
            Self::IssuerForm { .. } => {
                "Correct the issuer in the configuration or at the identity provider: the final slash counts."
            }
            Self::MissingAudience => {
                "Ask the identity provider for a token for this API: `audience`, `resource` or a scope of the API, as it \
                 calls it."
            }
            Self::WrongAudience(_) => {
                "Ask for a token for the audience that is configured, or add this one to the provider's `audiences`."
            }
            Self::AmbiguousAudience(_) => "Ask for a token for one audience only.",
            Self::WrongOrganisation(_) => {
                "Sign in to an organisation that is configured, or add this one to the provider's `organisations`."
            }
            Self::AmbiguousOrganisation(_) => "Ask for a token for one organisation only.",
            Self::MissingExpiry => {
                "Have the identity provider set `exp`: a token without an end is not taken."
            }
            Self::MissingIssueTime => {
                "Have the token say when it was issued (`iat`), which the maximum age or lifetime is counted from."
            }
            Self::TooOld { .. } => "Get a new token, or raise the provider's `max_age`.",
            Self::BadTime(_) => "Write times in seconds since 1970, not milliseconds and not as text.",
            Self::Expired { .. } => {
                "Get a new token. If it was fresh, compare the clocks of this host and of the identity provider."
            }
            Self::NotYetValid { .. } | Self::IssuedInFuture { .. } => {
                "Compare the clocks of this host and of whoever issued it: one of them is wrong by more than the skew."
            }
            Self::NotAccessToken(_) => {
                "Send the access token of the same sign-in (`access_token`), not its ID, refresh or logout token."
            }
            Self::ConfirmationUnproven => {
                "Ask for a token that is not bound, or add `dpop` or `certificate` to the provider's `proofs`."
            }
            Self::DpopProof(_) | Self::ReplayedProof(_) => {
                "Send the scheme `DPoP`, and in the header `DPoP` a proof made anew for each request by the token's key."
            }
            Self::NotBound => "Send this token with the scheme `Bearer`.",
            Self::CertificateNotPresented | Self::OtherCertificate => {
                "Connect with the client certificate that the token was issued to, and to this gateway itself."
            }
            Self::ClientNotAllowed(_) => {
                "Use an application that is listed, or add this client to the provider's `clients`."
            }
            Self::RequiredClaim { .. } => {
                "Have the identity provider put the claim into access tokens, or change `required_claims`."
            }
            Self::MissingScope(_) => {
                "Ask the identity provider for this scope when signing in, or change `required_scopes`."
            }
            Self::UserClaim { .. } => {
                "Have the identity provider send the claim, or name another in the provider's `claims.user`."
            }
            Self::UnknownKey { .. } => {
                "The issuer was asked and has no such key: the token is of another environment or older than a rotation. \
                 Get a new one."
            }
            Self::KeyNotForAlgorithm { .. } => {
                "Have the identity provider sign with the algorithm that it publishes the key for."
            }
            Self::AmbiguousKey { .. } => "Have the identity provider name the key in the header (`kid`).",
            Self::BadSignature { .. } => {
                "It was changed, cut, or signed by somebody else: copy it again, or get a new one."
            }
            Self::IssuerUnavailable { .. } => {
                "See that this host reaches the issuer (`/readyz` shows each issuer), or give its keys in the \
                 configuration (`jwks`)."
            }
            Self::BareDid => {
                "Sign a token with the key of the DID: `attach-gateway did token --key FILE --audience …`."
            }
            Self::BadDid { .. } => {
                "Use did:key (Ed25519, P-256, secp256k1), did:web or did:pkh (eip155), as it is written there."
            }
            Self::AccountToken(_) => {
                "Have the wallet sign a message of EIP-4361, and send `caip122.MESSAGE.SIGNATURE`."
            }
            Self::ForeignSubject { .. } => "Leave `sub` out, or set it to the DID itself.",
            Self::DidAudience(_) => {
                "Sign for an audience of the tenant's DID policy, or add this one to its `audiences`."
            }
            Self::DidNotAllowed(_) => "Add the DID to `allowed` in the tenant's DID policy.",
            Self::LifetimeTooLong { .. } => {
                "Sign for a shorter time, or raise `max_lifetime` in the tenant's DID policy."
            }
            Self::MissingTokenId => "Give each token an id: `attach-gateway did token --one-time …`.",
            Self::Replayed(_) => "Sign a new one for each request.",
            Self::BeforeMemory { .. } => "Sign a new one, now.",
            Self::ReplayMemoryFull { .. } => {
                "Wait, or have callers sign for a shorter time: each is remembered until it ends."
            }
            Self::BadMessage(_) => "Have the wallet sign the message as EIP-4361 has it, with its end.",
            Self::MessageDomain(_) => {
                "Add the domain to `domains` in the tenant's DID policy, or sign there."
            }
        }
    }
}
