//! K7: `did:web`, whose keys stand in a document at its domain.

use super::{
    did_tokens::{policy, snapshot},
    issuer::http,
    mint::{TestKey, b64},
    *,
};
use attach_outbound::resolve::Resolver;
use attach_proto::did::{Did, DidPolicy};
use parking_lot::Mutex;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::{collections::VecDeque, net::IpAddr, sync::atomic::AtomicUsize};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

const HOST: &str = "alice.test";

/// The web server of `alice.test`.
struct Domain {
    port: u16,
    document: Arc<Mutex<Value>>,
    requests: Arc<AtomicUsize>,
    tls: Arc<ClientConfig>,
}

impl Domain {
    async fn start() -> Self {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed([HOST.to_owned()]).unwrap();
        let provider = || Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let client = client.unwrap().with_root_certificates(roots).with_no_client_auth();
        let server = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let key = signing_key.serialize_der().try_into().unwrap();
        let server = server.unwrap().with_no_client_auth().with_single_cert(vec![cert.der().clone()], key);
        let acceptor = TlsAcceptor::from(Arc::new(server.unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let document = Arc::new(Mutex::new(Value::Null));
        let requests = Arc::new(AtomicUsize::new(0));
        let (served, counted) = (Arc::clone(&document), Arc::clone(&requests));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                counted.fetch_add(1, Ordering::SeqCst);
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = stream.read_u8().await else { break };
                    request.push(byte);
                }
                let answer = if request.starts_with(b"GET /.well-known/did.json ") {
                    let body = served.lock().to_string();
                    http("200 OK", "", body.as_bytes())
                } else {
                    http("404 Not Found", "", b"")
                };
                let _ = stream.write_all(&answer).await;
                let _ = stream.shutdown().await;
            }
        });
        Self { port, document, requests, tls: Arc::new(client) }
    }

    fn did(&self) -> Did {
        format!("did:web:{HOST}%3A{}", self.port).parse().unwrap()
    }

    /// A key of the document, by which its DID authenticates.
    fn method(&self, key: &TestKey) -> Value {
        let did = self.did().to_string();
        json!({"id": format!("{did}#{}", key.id), "type": "JsonWebKey2020", "controller": did,
            "publicKeyJwk": key.jwk()})
    }

    fn publish(&self, document: Value) {
        *self.document.lock() = document;
    }

    fn publish_keys(&self, keys: &[&TestKey]) {
        let methods: Vec<_> = keys.iter().map(|key| self.method(key)).collect();
        let ids: Vec<_> = methods.iter().map(|method| method["id"].clone()).collect();
        self.publish(
            json!({"id": self.did().as_str(), "verificationMethod": methods, "authentication": ids}),
        );
    }

    /// A gateway that a tenant's bundle lets the domain's DID call.
    async fn world(&self, guard: Guard) -> World {
        let policy = DidPolicy { one_time: false, ..policy(&[&self.did()]) };
        let address: Vec<IpAddr> = vec![[127, 0, 0, 1].into()];
        let resolver = Resolver::Scripted(Arc::new(Mutex::new(VecDeque::from([address]))));
        let fetcher = Fetcher::new(Arc::clone(&self.tls), guard).with_resolver(resolver);
        let snapshot = snapshot(policy, None, Vec::new());
        let world = World::fetching(fetcher, snapshot, quick());
        eventually("the document was asked for", || {
            let status = world.issuers.status();
            status.iter().all(|it| it.keys > 0 || it.last_error.is_some())
        })
        .await;
        world
    }

    fn token(&self, key: &TestKey) -> String {
        let did = self.did().to_string();
        let header = json!({"alg": key.algorithm(), "typ": "JWT", "kid": format!("{did}#{}", key.id)});
        let claims = json!({"iss": did, "aud": AUDIENCE, "iat": NOW, "exp": NOW + 600});
        key.sign(&header.to_string(), &claims.to_string(), key.algorithm())
    }
}

fn operator() -> Guard {
    Guard::Tenant(Arc::new("127.0.0.1".parse().unwrap()))
}

#[tokio::test]
async fn k7_a_did_of_the_web_is_known_by_the_keys_of_its_document() {
    let domain = Domain::start().await;
    let (ed, ec, other) = (TestKey::ed25519("ed"), TestKey::p256("ec"), TestKey::ed25519("ed"));
    domain.publish_keys(&[&ed, &ec]);
    let world = domain.world(operator()).await;
    for key in [&ed, &ec] {
        let principal = world.bearer(&domain.token(key)).await.unwrap();
        assert_eq!(principal.subject, domain.did().as_str());
    }
    assert_eq!(world.verdict(&domain.token(&other)).await, "bad_signature");
    assert_eq!(world.verdict(domain.did().as_str()).await, "bare_did");
    let rsa = TestKey::rsa("rsa");
    assert_eq!(world.verdict(&domain.token(&rsa)).await, "algorithm_not_allowed");
    assert_eq!(domain.requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn k7_a_document_that_lies_in_the_hosts_network_is_not_asked_for() {
    let domain = Domain::start().await;
    let key = TestKey::ed25519("ed");
    domain.publish_keys(&[&key]);
    let world = domain.world(Guard::Tenant(Arc::default())).await;
    let fault = world.bearer(&domain.token(&key)).await.unwrap_err();
    assert_eq!(fault.code(), "issuer_unavailable");
    assert!(fault.retry_after().is_some());
    let status = &world.issuers.status()[0];
    assert!(status.last_error.as_ref().unwrap().contains("loopback and not public"), "{status:?}");
    assert_eq!(domain.requests.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn k7_only_a_key_by_which_the_did_itself_authenticates_counts() {
    let domain = Domain::start().await;
    let did = domain.did().to_string();
    let key = TestKey::ed25519("k");
    let method = domain.method(&key);
    let with = |name: &str, value: Value| {
        let mut method = method.clone();
        method[name] = value;
        method
    };
    let document = |methods: Value, authentication: Value| json!({"id": did, "verificationMethod": methods, "authentication": authentication});
    let id = method["id"].clone();
    let multikey = {
        let raw = base64::Engine::decode(
            &base64::engine::general_purpose::URL_SAFE_NO_PAD,
            key.jwk()["x"].as_str().unwrap(),
        );
        let of_key = Did::of_key(attach_proto::did::KeyKind::Ed25519, &raw.unwrap()).unwrap();
        let mut method = method.clone();
        method.as_object_mut().unwrap().remove("publicKeyJwk");
        method["publicKeyMultibase"] = json!(of_key.as_str().strip_prefix("did:key:").unwrap());
        method
    };
    let mut two_forms = multikey.clone();
    two_forms["publicKeyJwk"] = key.jwk();
    for (name, published, expected) in [
        ("named", document(json!([method]), json!([id])), "ok"),
        ("named in short", document(json!([with("id", json!("#k"))]), json!(["#k"])), "ok"),
        ("standing there itself", document(json!([]), json!([method])), "ok"),
        ("as a Multikey", document(json!([multikey]), json!([id])), "ok"),
        ("in two forms at once", document(json!([two_forms]), json!([id])), "issuer_unavailable"),
        ("not for authentication", document(json!([method]), json!([])), "issuer_unavailable"),
        (
            "no word of authentication",
            json!({"id": did, "verificationMethod": [method]}),
            "issuer_unavailable",
        ),
        (
            "another DID's document",
            {
                let mut other = document(json!([method]), json!([id]));
                other["id"] = json!("did:web:mallory.test");
                other
            },
            "issuer_unavailable",
        ),
        (
            "another DID's key",
            { document(json!([with("controller", json!("did:web:mallory.test"))]), json!([id])) },
            "issuer_unavailable",
        ),
        (
            "a key with another DID's id",
            {
                let id = json!("did:web:mallory.test#k");
                document(json!([with("id", id.clone())]), json!([id]))
            },
            "issuer_unavailable",
        ),
        (
            "a private key",
            document(
                json!([with("publicKeyJwk", {
                    let mut jwk = key.jwk();
                    jwk["d"] = json!(b64([1; 32]));
                    jwk
                })]),
                json!([id]),
            ),
            "issuer_unavailable",
        ),
        ("no document", json!("hello"), "issuer_unavailable"),
    ] {
        domain.publish(published);
        let world = domain.world(operator()).await;
        assert_eq!(world.verdict(&domain.token(&key)).await, expected, "{name}");
    }
}

#[tokio::test]
async fn k7_a_key_that_was_taken_out_of_the_document_stops_and_a_new_one_is_found() {
    let domain = Domain::start().await;
    let (old, new) = (TestKey::ed25519("old"), TestKey::ed25519("new"));
    domain.publish_keys(&[&old]);
    let world = domain.world(operator()).await;
    assert_eq!(world.verdict(&domain.token(&old)).await, "ok");
    domain.publish_keys(&[&new]);
    sleep(quick().cool_down).await;
    // An unknown key makes the document be read again, and what is no longer in it is out at once, though it was cached.
    assert_eq!(world.verdict(&domain.token(&new)).await, "ok");
    assert_eq!(world.verdict(&domain.token(&old)).await, "unknown_key");
}
