//! A control plane that these tests play, over real TLS and HTTP/2.

use crate::enrolment::tests::Authority;
use attach_proto::v1::{
    self, FromAgent, JoinReply, JoinRequest, RenewRequest, ToAgent, UsageAck, UsageBatch,
    configuration_server::{Configuration, ConfigurationServer},
    enrolment_server::{Enrolment, EnrolmentServer},
    from_agent::Message as Said,
    to_agent::Message as Say,
    usage_server::{Usage, UsageServer},
};
use hyper::{Request as HttpRequest, body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::mpsc, time::timeout};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tower::Service as _;

const PATIENCE: Duration = Duration::from_secs(20);

type TakeUsage = Box<dyn FnMut(&UsageBatch) -> Result<u64, Status> + Send>;

/// What it does with usage, and whom it hands each stream to.
#[derive(Clone)]
pub(super) struct ControlPlane {
    pub(super) authority: Arc<Authority>,
    pub(super) address: String,
    sessions: mpsc::Sender<Session>,
    take_usage: Arc<Mutex<TakeUsage>>,
    renewals: Arc<Mutex<u32>>,
}

/// One stream of configuration, in the hands of a test.
pub(super) struct Session {
    said: Streaming<FromAgent>,
    say: mpsc::Sender<Result<ToAgent, Status>>,
}

impl ControlPlane {
    pub(super) async fn start() -> (Self, mpsc::Receiver<Session>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("https://{}", listener.local_addr().unwrap());
        let authority = Arc::new(Authority::new());
        let acceptor = TlsAcceptor::from(Arc::new(authority.server_config()));
        let (sessions, begun) = mpsc::channel(8);
        let nobody: TakeUsage = Box::new(|_| Err(Status::unavailable("not now")));
        let plane = Self {
            authority,
            address,
            sessions,
            take_usage: Arc::new(Mutex::new(nobody)),
            renewals: Arc::default(),
        };
        tokio::spawn(plane.clone().serve(listener, acceptor));
        (plane, begun)
    }

    pub(super) fn takes_usage(&self, take: impl FnMut(&UsageBatch) -> Result<u64, Status> + Send + 'static) {
        *self.take_usage.lock() = Box::new(take);
    }

    pub(super) fn renewals(&self) -> u32 {
        *self.renewals.lock()
    }

    async fn serve(self, listener: TcpListener, acceptor: TlsAcceptor) {
        let configuration = ConfigurationServer::new(self.clone());
        let enrolment = EnrolmentServer::new(self.clone());
        let usage = UsageServer::new(self);
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            let services = (configuration.clone(), enrolment.clone(), usage.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let route = service_fn(move |request: HttpRequest<Incoming>| {
                    let (mut configuration, mut enrolment, mut usage) = services.clone();
                    async move {
                        match request.uri().path() {
                            path if path.contains("Configuration") => configuration.call(request).await,
                            path if path.contains("Enrolment") => enrolment.call(request).await,
                            _ => usage.call(request).await,
                        }
                    }
                });
                let connection = http2::Builder::new(TokioExecutor::new());
                let _ = connection.serve_connection(TokioIo::new(stream), route).await;
            });
        }
    }
}

#[tonic::async_trait]
impl Configuration for ControlPlane {
    type FollowStream = ReceiverStream<Result<ToAgent, Status>>;

    async fn follow(
        &self,
        request: Request<Streaming<FromAgent>>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        let (say, to_agent) = mpsc::channel(64);
        let _ = self.sessions.send(Session { said: request.into_inner(), say }).await;
        Ok(Response::new(ReceiverStream::new(to_agent)))
    }
}

#[tonic::async_trait]
impl Enrolment for ControlPlane {
    async fn join(&self, _: Request<JoinRequest>) -> Result<Response<JoinReply>, Status> {
        Err(Status::unimplemented("these tests have joined"))
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<v1::Certificate>, Status> {
        *self.renewals.lock() += 1;
        let mut certificate = self.authority.certify(&request.into_inner().certificate_request);
        // Another day.
        for end in [&mut certificate.not_before, &mut certificate.not_after] {
            end.as_mut().unwrap().seconds += 24 * 3600;
        }
        Ok(Response::new(certificate))
    }
}

#[tonic::async_trait]
impl Usage for ControlPlane {
    async fn report(&self, request: Request<UsageBatch>) -> Result<Response<UsageAck>, Status> {
        let acknowledged_seq = (self.take_usage.lock())(&request.into_inner())?;
        Ok(Response::new(UsageAck { acknowledged_seq }))
    }
}

impl Session {
    pub(super) async fn say(&self, message: Say) {
        self.say.send(Ok(ToAgent { message: Some(message) })).await.unwrap();
    }

    /// The last word.
    pub(super) async fn end(self, status: Status) {
        self.say.send(Err(status)).await.unwrap();
    }

    /// What the agent says next, heartbeats left out; `None` when it has no more to say.
    pub(super) async fn hear(&mut self) -> Option<Said> {
        loop {
            let said = timeout(PATIENCE, self.said.message()).await.expect("a word in time");
            match said.ok().flatten()?.message? {
                Said::Heartbeat(_) => {}
                said @ (Said::Hello(_) | Said::Ack(_) | Said::Answer(_) | Said::KeysWanted(_)) => {
                    return Some(said);
                }
            }
        }
    }

    pub(super) async fn hear_hello(&mut self) -> v1::Hello {
        match self.hear().await {
            Some(Said::Hello(hello)) => hello,
            other => panic!("Hello comes first, not {other:?}"),
        }
    }

    pub(super) async fn hear_ack(&mut self) -> v1::Ack {
        match self.hear().await {
            Some(Said::Ack(ack)) => ack,
            other => panic!("an answer was due, not {other:?}"),
        }
    }
}
