//! One order: names in, a chain and its key out.

use super::{
    AcmeChallenge, AcmeSettings,
    challenges::{AnswerFault, Challenges},
};
use crate::tls::pair::{Pair, PairFault};
use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Error, Identifier, NewOrder, Order, OrderStatus, Problem,
    RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use std::{io, path::PathBuf, time::Duration};

/// The library asks three times where a nonce is refused; of a server that refuses three in ten it then gives up on one
/// request in forty, and an order has a dozen. So many times three leave one in two million.
pub(super) const NONCE_ROUNDS: usize = 3;

/// Between two looks at an order, unless the authority says how long.
const LOOK: Duration = Duration::from_millis(250);

/// An authority that looks from several places takes ten seconds at most.
const LOOK_FOR: Duration = Duration::from_secs(120);

#[derive(Debug, thiserror::Error)]
pub(super) enum OrderFault {
    #[error(transparent)]
    Protocol(#[from] Error),
    #[error("{name} could not be shown to be ours: {problem}; {advice}")]
    NotShown { name: String, problem: String, advice: String },
    #[error("{name}: the authority offers no {challenge:?}; choose the other --acme-challenge")]
    NotOffered { name: String, challenge: ChallengeType },
    #[error("{}: {cause}", .path.display())]
    Disk { path: PathBuf, cause: io::Error },
    #[error("no key or request can be made: {0}")]
    Make(#[from] rcgen::Error),
    #[error("no handshake for the authority can be made: {0}")]
    Handshake(#[from] AnswerFault),
    #[error("the certificate that was issued {0}")]
    Pair(#[from] PairFault),
}

impl OrderFault {
    /// Whether the authority has said no, and would say so again in a moment.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            Self::Protocol(Error::Api(problem)) => {
                !is_bad_nonce(problem)
                    && problem.status.is_none_or(|status| status < 500)
                    && !is_unknown(problem)
            }
            Self::NotShown { .. } | Self::NotOffered { .. } => true,
            Self::Protocol(_) | Self::Disk { .. } | Self::Make(_) | Self::Handshake(_) | Self::Pair(_) => {
                false
            }
        }
    }

    pub(super) fn is_of_unknown_account(&self) -> bool {
        matches!(self, Self::Protocol(Error::Api(problem)) if is_unknown(problem))
    }
}

fn has_type(problem: &Problem, kind: &str) -> bool {
    problem.r#type.as_deref().and_then(|full| full.strip_prefix("urn:ietf:params:acme:error:")) == Some(kind)
}

fn is_unknown(problem: &Problem) -> bool {
    has_type(problem, "accountDoesNotExist")
}

pub(super) fn is_bad_nonce(problem: &Problem) -> bool {
    has_type(problem, "badNonce")
}

/// The request, made again where nothing but its nonce was refused. Such an answer brings a new one.
macro_rules! persistently {
    ($request:expr) => {{
        let mut rounds = $crate::tls::acme::order::NONCE_ROUNDS;
        loop {
            match $request.await {
                Err(instant_acme::Error::Api(problem))
                    if rounds > 0 && $crate::tls::acme::order::is_bad_nonce(&problem) =>
                {
                    rounds -= 1;
                }
                outcome => break outcome,
            }
        }
    }};
}
pub(super) use persistently;

/// The pair, and the text in PEM that it is kept as.
pub(super) async fn complete(
    account: &Account,
    settings: &AcmeSettings,
    challenges: &Challenges,
) -> Result<(Pair, String), OrderFault> {
    let names: Vec<_> = settings.domains.iter().cloned().map(Identifier::Dns).collect();
    let mut order = persistently!(account.new_order(&NewOrder::new(&names)))?;
    persistently!(fetch_authorizations(&mut order))?;
    show(&mut order, settings, challenges).await?;

    let policy = RetryPolicy::new().initial_delay(LOOK).backoff(1.5).timeout(LOOK_FOR);
    let ready = persistently!(order.poll_ready(&policy));
    if let Ok(OrderStatus::Invalid) | Err(Error::Api(_)) = &ready
        && let Some(fault) = why_not_shown(&mut order, settings).await
    {
        return Err(fault);
    }
    if ready? == OrderStatus::Invalid {
        return Err(Error::Str("the order became invalid without a reason").into());
    }
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(settings.domains.clone())?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key)?;
    persistently!(order.finalize_csr(request.der()))?;
    let chain = persistently!(order.poll_certificate(&policy))?;

    let text = format!("{}{chain}", key.serialize_pem());
    Ok((Pair::from_pem(text.as_bytes())?, text))
}

/// What was fetched stays with the order, so that it can be gone through again.
async fn fetch_authorizations(order: &mut Order) -> Result<(), Error> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        authorization?;
    }
    Ok(())
}

/// Prepares the answer for each name, and then asks the authority to look.
async fn show(order: &mut Order, settings: &AcmeSettings, challenges: &Challenges) -> Result<(), OrderFault> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        // Shown at an earlier order, not long ago.
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let name = authorization.identifier().to_string();
        let kind = settings.challenge.kind();
        let challenge = authorization.challenge(kind.clone());
        let mut challenge =
            challenge.ok_or(OrderFault::NotOffered { name: name.clone(), challenge: kind })?;
        let key_authorization = challenge.key_authorization();
        match settings.challenge {
            AcmeChallenge::TlsAlpn01 => {
                challenges.answer_handshake(&name, key_authorization.digest().as_ref())?
            }
            AcmeChallenge::Http01(_) => {
                challenges.answer_request(challenge.token.clone(), key_authorization.as_str().to_owned());
            }
        }
        persistently!(challenge.set_ready())?;
    }
    Ok(())
}

/// What the authority saw when it looked. `None` when it does not say.
async fn why_not_shown(order: &mut Order, settings: &AcmeSettings) -> Option<OrderFault> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.ok()?;
        persistently!(authorization.refresh()).ok()?;
        let mut errors = authorization.challenges.iter().filter_map(|challenge| challenge.error.as_ref());
        if let Some(problem) = errors.next() {
            let name = authorization.identifier().to_string();
            let seen = problem.detail.clone().unwrap_or_else(|| problem.to_string());
            let advice = settings.challenge.advice(&name, settings.port);
            return Some(OrderFault::NotShown { name, problem: seen, advice });
        }
    }
    None
}

impl AcmeChallenge {
    fn kind(self) -> ChallengeType {
        match self {
            Self::TlsAlpn01 => ChallengeType::TlsAlpn01,
            Self::Http01(_) => ChallengeType::Http01,
        }
    }

    fn advice(self, name: &str, port: u16) -> String {
        let (public, ours) = match self {
            Self::TlsAlpn01 => (443, format!("{port}, the port of callers")),
            Self::Http01(address) => (80, format!("{address}, which --acme-http-port sets")),
        };
        format!("the name {name} has to lead here, and its port {public} to {ours}")
    }
}
