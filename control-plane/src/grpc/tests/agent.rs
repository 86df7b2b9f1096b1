//! An agent, as far as the wire goes.

use super::Front;
use attach_proto::{
    enrolment::CONTROL_PLANE_NAME,
    id::{PoolId, Revision},
    resources::{FEATURES, Resources},
    v1::{
        Ack, FromAgent, Hello, JoinReply, JoinRequest, Manifest, ToAgent, Update, UsageBatch,
        configuration_client::ConfigurationClient, enrolment_client::EnrolmentClient,
        from_agent::Message as Say, to_agent::Message as Said, usage_client::UsageClient,
    },
};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use hyper_util::rt::TokioIo;
use prost::Message as _;
use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpStream, sync::mpsc};
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Status, Streaming,
    transport::{Channel, Endpoint},
};

pub(super) struct Agent {
    pub(super) name: String,
    pub(super) channel: Channel,
    signing_key: Vec<u8>,
}

/// An open stream, and what came by it.
pub(super) struct Stream {
    say: mpsc::Sender<FromAgent>,
    said: Streaming<ToAgent>,
    pub(super) resources: Resources,
    pub(super) revision: u64,
    signing_key: Vec<u8>,
    /// Of the updates of the last revision, as they were on the wire.
    pub(super) bytes: usize,
    pub(super) largest: usize,
}

pub(super) fn request() -> (KeyPair, Vec<u8>) {
    let key = KeyPair::generate().unwrap();
    let request = CertificateParams::default().serialize_request(&key).unwrap().der().to_vec();
    (key, request)
}

/// A channel with or without a client certificate.
pub(super) fn channel(front: &Front, identity: Option<(Vec<u8>, &KeyPair)>) -> Channel {
    let mut roots = RootCertStore::empty();
    roots.add(front.door.authority.certificate().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        None => config.with_no_client_auth(),
        Some((certificate, key)) => {
            let key = PrivatePkcs8KeyDer::from(key.serialize_der());
            config.with_client_auth_cert(vec![CertificateDer::from(certificate)], key.into()).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    connect(front.address, TlsConnector::from(Arc::new(config)))
}

fn connect(address: SocketAddr, tls: TlsConnector) -> Channel {
    let connector = tower::service_fn(move |_| {
        let tls = tls.clone();
        async move {
            let socket = TcpStream::connect(address).await?;
            socket.set_nodelay(true)?;
            let stream = tls.connect(CONTROL_PLANE_NAME.try_into().unwrap(), socket).await?;
            Ok::<_, std::io::Error>(TokioIo::new(stream))
        }
    });
    Endpoint::from_static("http://control").connect_with_connector_lazy(connector)
}

pub(super) async fn join(front: &Front, token: &str) -> Result<(JoinReply, KeyPair), Status> {
    let (key, certificate_request) = request();
    let request = JoinRequest {
        token: token.to_owned(),
        certificate_request,
        host: "gpu-1".to_owned(),
        version: "test".to_owned(),
    };
    let reply = EnrolmentClient::new(channel(front, None)).join(request).await?;
    Ok((reply.into_inner(), key))
}

impl Agent {
    pub(super) async fn join(front: &Front, token: &str) -> Result<Self, Status> {
        let (reply, key) = join(front, token).await?;
        let certificate = reply.certificate.unwrap();
        Ok(Self {
            name: reply.agent,
            channel: channel(front, Some((certificate.certificate, &key))),
            signing_key: certificate.signing_keys[0].public_key.clone(),
        })
    }

    pub(super) async fn follow(&self) -> Result<Stream, Status> {
        self.follow_from(Resources::default(), &FEATURES).await
    }

    pub(super) async fn follow_from(&self, held: Resources, features: &[&str]) -> Result<Stream, Status> {
        let (say, said) = mpsc::channel(4);
        let hello = Hello {
            version: "test".to_owned(),
            features: features.iter().map(ToString::to_string).collect(),
            held: held.held(),
            upstreams: Vec::new(),
        };
        say.send(FromAgent { message: Some(Say::Hello(hello)) }).await.unwrap();
        let mut client = ConfigurationClient::new(self.channel.clone());
        let said = client.follow(ReceiverStream::new(said)).await?.into_inner();
        Ok(Stream {
            say,
            said,
            resources: held,
            revision: 0,
            signing_key: self.signing_key.clone(),
            bytes: 0,
            largest: 0,
        })
    }

    pub(super) async fn report(
        &self,
        spool: &str,
        first_seq: u64,
        events: &[Vec<u8>],
    ) -> Result<u64, Status> {
        let events = events.iter().map(|event| event.clone().into()).collect();
        let batch = UsageBatch { spool: spool.to_owned(), first_seq, events };
        let ack = UsageClient::new(self.channel.clone()).report(batch).await?;
        Ok(ack.into_inner().acknowledged_seq)
    }
}

impl Stream {
    pub(super) async fn say(&self, message: Say) {
        self.say.send(FromAgent { message: Some(message) }).await.unwrap();
    }

    pub(super) async fn hear(&mut self) -> Result<Option<Said>, Status> {
        let heard = tokio::time::timeout(Duration::from_secs(20), self.said.message()).await;
        Ok(heard.expect("it says something in time")?.and_then(|message| message.message))
    }

    /// A whole revision, checked as an agent does, but not answered; its nonce.
    pub(super) async fn receive(&mut self) -> Result<String, Status> {
        (self.bytes, self.largest) = (0, 0);
        loop {
            let Some(Said::Update(update)) = self.hear().await? else { continue };
            self.bytes += update.encoded_len();
            self.largest = self.largest.max(update.encoded_len());
            self.resources.apply(&update);
            if update.last {
                return Ok(self.check(update));
            }
        }
    }

    /// Receives and takes it.
    pub(super) async fn apply(&mut self) -> Result<(), Status> {
        let nonce = self.receive().await?;
        self.answer(nonce, "").await;
        Ok(())
    }

    pub(super) async fn answer(&self, nonce: String, error: &str) {
        let ack = Ack { nonce, revision: self.revision, error: error.to_owned() };
        self.say(Say::Ack(ack)).await;
    }

    fn check(&mut self, update: Update) -> String {
        let Manifest { head, signature, .. } = update.manifest.expect("the last one has it");
        let key = UnparsedPublicKey::new(&ED25519, &self.signing_key);
        key.verify(&head, &signature).expect("it is signed");
        let pool: PoolId = "main".parse().unwrap();
        let own = self.resources.manifest_head(&pool, Revision(update.revision));
        assert_eq!(own.encode_to_vec(), head, "what is held is what was signed");
        assert!(update.revision >= self.revision);
        self.revision = update.revision;
        update.nonce
    }
}
