//! Exchanges a join token for an identity.

use super::{
    folder,
    identity::{Identity, IdentityError, is_enrolled},
    invitation::Invitation,
    pin::{OTHER_CONTROL_PLANE, Pinned},
    request::Request,
};
use crate::control_plane::{
    Address, CALL, ConnectError, Connection, MAX_MESSAGE_BYTES, connect, reason, said, tls_builder,
};
use attach_proto::{
    enrolment::{AgentName, reason::JOIN_TOKEN_REFUSED},
    v1::{self, enrolment_client::EnrolmentClient},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::time::timeout;

#[derive(Debug, thiserror::Error)]
pub(crate) enum JoinError {
    #[error(
        "this gateway has joined another control plane, {address}: its enrolment is in {}. Nothing was sent, the token \
         is still good. To leave that one, move the folder away first; to stay, start without `join`",
        folder.display()
    )]
    Enrolled { address: Address, folder: PathBuf },
    #[error("no key can be made: {0}")]
    Key(#[from] rcgen::Error),
    #[error("TLS can't be set up: {0}")]
    Tls(#[from] rustls::Error),
    #[error("{address}: {cause}. Nothing was sent, the token is still good")]
    Unreachable { address: Address, cause: ConnectError },
    #[error(
        "{0}: this token is for another control plane, for the authority that it names is not this one's. \
         Nothing was sent. Take the line from this control plane's console, or check the address"
    )]
    OtherControlPlane(Address),
    #[error("{address} refused the token: {said}")]
    Refused { address: Address, said: String },
    #[error(
        "{address} did not answer: {said}. If the console shows the token as used, make another, for its \
         certificate is lost"
    )]
    Unanswered { address: Address, said: String },
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// How a gateway came to its identity.
pub(crate) enum Joined {
    Now(Identity),
    /// The token was not used.
    Before(Identity),
}

/// Joins, and keeps the identity below the state folder. Whoever belongs to that control plane already goes on as who it is:
/// a service or a container starts again with the line that it started with first.
///
/// # Errors
///
/// Each says whether the token is still good.
pub(crate) async fn join(invitation: &Invitation, state: &Path) -> Result<Joined, JoinError> {
    let Invitation { token, address } = invitation;
    let pinned = Arc::new(Pinned::new(*token.authority_sha256()));
    if is_enrolled(state) {
        let identity = Identity::load(state)?;
        return if identity.has_authority(|authority| pinned.is_pinned(authority)) {
            Ok(Joined::Before(identity))
        } else {
            Err(JoinError::Enrolled { address: identity.address, folder: folder(state) })
        };
    }
    let request = Request::new()?;
    let connection = connect_pinned(address, &pinned).await?;
    let asked = v1::JoinRequest {
        token: token.as_str().to_owned(),
        certificate_request: request.request,
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let reply = call(connection, asked, address).await?;
    let part = |text: &str, field: &str| IdentityError::Reply(format!("{field}: {text}"));
    let name = AgentName {
        pool: reply.pool.parse().map_err(|error| part(&format!("{error}"), "pool"))?,
        agent: reply.agent.parse().map_err(|error| part(&format!("{error}"), "agent"))?,
    };
    let certificate = reply.certificate.ok_or_else(|| part("is missing", "certificate"))?;
    let identity = Identity::issued(address, name, request.key, certificate)?;
    if !identity.has_authority(|authority| pinned.is_pinned(authority)) {
        return Err(part("the one that the token names is not among them", "authorities").into());
    }
    identity.store(state)?;
    Ok(Joined::Now(identity))
}

async fn connect_pinned(address: &Address, pinned: &Arc<Pinned>) -> Result<Connection, JoinError> {
    let verifier: Arc<Pinned> = Arc::clone(pinned);
    let mut tls = tls_builder()?.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    connect(address, Arc::new(tls)).await.map_err(|cause| {
        let address = address.clone();
        if is_other_control_plane(&cause) {
            JoinError::OtherControlPlane(address)
        } else {
            JoinError::Unreachable { address, cause }
        }
    })
}

fn is_other_control_plane(cause: &ConnectError) -> bool {
    let ConnectError::Tls(error) = cause else { return false };
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    cause == Some(&OTHER_CONTROL_PLANE)
}

async fn call(
    connection: Connection,
    request: v1::JoinRequest,
    address: &Address,
) -> Result<v1::JoinReply, JoinError> {
    let origin = connection.origin();
    let mut client =
        EnrolmentClient::with_origin(connection, origin).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let unanswered = |said: String| JoinError::Unanswered { address: address.clone(), said };
    let answer = timeout(CALL, client.join(request)).await;
    match answer.map_err(|_| unanswered(format!("no answer within {CALL:?}")))? {
        Ok(reply) => Ok(reply.into_inner()),
        Err(status) if reason(&status).is_some_and(|(reason, _)| reason == JOIN_TOKEN_REFUSED) => {
            Err(JoinError::Refused { address: address.clone(), said: status.message().to_owned() })
        }
        Err(status) => Err(unanswered(said(&status))),
    }
}
