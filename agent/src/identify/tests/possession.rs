//! Tokens that are bound to a key or a certificate: good with the proof of it, and nothing without. Each refused request
//! differs in one thing from one that is served.

use super::{issuer::TestIssuer, mint::TestKey, *};
use crate::tls::ClientCertificate;
use attach_proto::bundle::Proof;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

struct Desk {
    world: World,
    issuer: TestIssuer,
    issuer_key: TestKey,
    /// The caller's own.
    key: TestKey,
}

/// What a request has beside its token.
struct Sent {
    scheme: &'static str,
    proofs: Vec<String>,
    method: &'static str,
    certificate: Option<[u8; 32]>,
    host: String,
}

impl Desk {
    async fn open(proofs: &[Proof]) -> Self {
        let (issuer_key, key) = (TestKey::p256("k"), TestKey::p256("mine"));
        let issuer = TestIssuer::start(&[&issuer_key]).await;
        let mut provider = provider("idp", "acme", &issuer.url, AUDIENCE);
        provider.proofs = proofs.to_vec();
        // What was signed before the gateway began could have been used before.
        let began = Arc::new(AtomicI64::new((NOW - 3600) * 1000));
        let folder = tempfile::tempdir().unwrap();
        let world = World::at(began, bundle(1, vec![provider], Vec::new()), quick(), folder);
        world.settled().await;
        world.advance(Duration::from_secs(3600));
        Self { world, issuer, issuer_key, key }
    }

    fn token(&self, confirmation: &Value) -> String {
        let mut claims = claims(&self.issuer.url);
        claims["cnf"] = confirmation.clone();
        self.issuer_key.token(&claims)
    }

    fn bound(&self) -> String {
        self.token(&json!({"jkt": thumbprint(&self.key)}))
    }

    /// Of a good proof for the token, changed by `edit`.
    fn proof(&self, token: &str, id: &str, edit: impl FnOnce(&mut Value, &mut Value)) -> String {
        let mut header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": public(&self.key)});
        let mut claims = json!({"jti": id, "htm": "POST", "iat": NOW, "ath": hash(token.as_bytes()),
            "htu": "https://gateway.example/v1/chat/completions"});
        edit(&mut header, &mut claims);
        self.key.sign(&header.to_string(), &claims.to_string(), "ES256")
    }

    async fn verdict(&self, token: &str, sent: Sent) -> &'static str {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::try_from(&sent.host).unwrap());
        headers.insert("authorization", HeaderValue::try_from(format!("{} {token}", sent.scheme)).unwrap());
        for proof in &sent.proofs {
            headers.append("dpop", HeaderValue::try_from(proof).unwrap());
        }
        let mut head = head(headers);
        head.method = sent.method.parse().unwrap();
        if let Some(sha256) = sent.certificate {
            let of = ClientCertificate { sha256, subject: String::new(), sans: Vec::new() };
            head.extensions.insert(Arc::new(of));
        }
        let verdict = self.world.identifier.identify(&head, &self.world.snapshot).await;
        verdict.map_or_else(|fault| fault.code(), |_| "ok")
    }
}

fn dpop(proofs: Vec<String>) -> Sent {
    Sent { scheme: "DPoP", proofs, method: "POST", certificate: None, host: "gateway.example".to_owned() }
}

fn public(key: &TestKey) -> Value {
    let mut jwk = key.jwk();
    jwk.as_object_mut().unwrap().retain(|name, _| ["kty", "crv", "x", "y"].contains(&name.as_str()));
    jwk
}

fn hash(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, bytes))
}

fn thumbprint(key: &TestKey) -> String {
    let jwk = public(key);
    let text = |name: &str| jwk[name].as_str().unwrap().to_owned();
    let canonical = format!(
        r#"{{"crv":"{}","kty":"{}","x":"{}","y":"{}"}}"#,
        text("crv"),
        text("kty"),
        text("x"),
        text("y")
    );
    hash(canonical.as_bytes())
}

type Edit = fn(&mut Value, &mut Value);

const EDITS: &[(&str, Edit, &str)] = &[
    ("nothing", |_, _| {}, "ok"),
    (
        "the port that https has",
        |_, c| c["htu"] = json!("https://gateway.example:443/v1/chat/completions"),
        "ok",
    ),
    (
        "a query, which does not count",
        |_, c| c["htu"] = json!("https://gateway.example/v1/chat/completions?a=b"),
        "ok",
    ),
    ("as old as it may be", |_, c| c["iat"] = json!(NOW - 29), "ok"),
    // From then on it is forgotten that it was used.
    ("older", |_, c| c["iat"] = json!(NOW - 30), "dpop_proof"),
    ("from the future", |_, c| c["iat"] = json!(NOW + 30), "dpop_proof"),
    ("without a time", |_, c| remove(c, "iat"), "dpop_proof"),
    ("another method", |_, c| c["htm"] = json!("GET"), "dpop_proof"),
    ("the method in small letters", |_, c| c["htm"] = json!("post"), "dpop_proof"),
    ("another path", |_, c| c["htu"] = json!("https://gateway.example/v1/completions"), "dpop_proof"),
    ("another host", |_, c| c["htu"] = json!("https://other.example/v1/chat/completions"), "dpop_proof"),
    (
        "another port",
        |_, c| c["htu"] = json!("https://gateway.example:8443/v1/chat/completions"),
        "dpop_proof",
    ),
    (
        "an address with a user",
        |_, c| c["htu"] = json!("https://user@gateway.example/v1/chat/completions"),
        "dpop_proof",
    ),
    ("in the clear", |_, c| c["htu"] = json!("http://gateway.example/v1/chat/completions"), "dpop_proof"),
    ("a path alone", |_, c| c["htu"] = json!("/v1/chat/completions"), "dpop_proof"),
    ("another token", |_, c| c["ath"] = json!(hash(b"other")), "dpop_proof"),
    ("no token", |_, c| remove(c, "ath"), "dpop_proof"),
    ("no id", |_, c| remove(c, "jti"), "dpop_proof"),
    ("an empty id", |_, c| c["jti"] = json!(""), "dpop_proof"),
    ("an id as long as may be", |_, c| c["jti"] = json!("i".repeat(128)), "ok"),
    ("a longer one", |_, c| c["jti"] = json!("i".repeat(129)), "dpop_proof"),
    ("another type", |h, _| h["typ"] = json!("JWT"), "dpop_proof"),
    ("no type", |h, _| remove(h, "typ"), "dpop_proof"),
    ("an extension", |h, _| h["crit"] = json!(["exp"]), "dpop_proof"),
    ("a key by address", |h, _| h["jku"] = json!("https://evil.example"), "dpop_proof"),
    ("no key", |h, _| remove(h, "jwk"), "dpop_proof"),
    ("another algorithm", |h, _| h["alg"] = json!("ES384"), "dpop_proof"),
    ("no algorithm", |h, _| h["alg"] = json!("none"), "dpop_proof"),
    ("a private key", |h, _| h["jwk"]["d"] = json!("AAAA"), "dpop_proof"),
    ("another key", |h, _| h["jwk"] = public(&TestKey::p256("other")), "dpop_proof"),
];

fn remove(object: &mut Value, name: &str) {
    object.as_object_mut().unwrap().remove(name);
}

#[tokio::test]
async fn a_caller_with_a_bound_token_is_served_with_a_proof_made_for_this_request_and_not_otherwise() {
    let desk = Desk::open(&[Proof::Dpop]).await;
    let token = desk.bound();
    for (number, (name, edit, expected)) in EDITS.iter().enumerate() {
        let proof = desk.proof(&token, &format!("id-{number}"), edit);
        assert_eq!(desk.verdict(&token, dpop(vec![proof])).await, *expected, "{name}");
    }
    let good = |id: &str| desk.proof(&token, id, |_, _| {});
    assert_eq!(desk.verdict(&token, dpop(Vec::new())).await, "dpop_proof", "no proof");
    assert_eq!(desk.verdict(&token, dpop(vec![good("a"), good("b")])).await, "dpop_proof", "two proofs");
    // Base64 has no text of every length, but two such texts together have.
    let filled = |claim: usize, key_id: usize| {
        desk.proof(&token, &format!("filled-{claim}"), |h, c| {
            h["kid"] = json!("k".repeat(key_id));
            c["filler"] = json!("x".repeat(claim));
        })
    };
    let about = (8192 - filled(0, 0).len()) * 3 / 4;
    let sized = |bytes: usize| {
        let mut all = (about - 16..about + 16).flat_map(|claim| [filled(claim, 0), filled(claim, 1)]);
        all.find(|proof| proof.len() == bytes).unwrap()
    };
    assert_eq!(desk.verdict(&token, dpop(vec![sized(8192)])).await, "ok", "as large as may be");
    assert_eq!(desk.verdict(&token, dpop(vec![sized(8193)])).await, "dpop_proof", "one byte larger");
    let (one, other) = (good("e"), good("f"));
    let ((signed, _), (_, signature)) = (one.rsplit_once('.').unwrap(), other.rsplit_once('.').unwrap());
    let forged = format!("{signed}.{signature}");
    assert_eq!(desk.verdict(&token, dpop(vec![forged])).await, "dpop_proof", "the signature of another");
    let plain = |id: &str, host: &str| {
        let address = format!("http://{host}/v1/chat/completions");
        let proof = desk.proof(&token, &format!("{id}-{host}"), |_, c| c["htu"] = json!(address));
        Sent { host: host.to_owned(), ..dpop(vec![proof]) }
    };
    for (host, expected) in [
        ("127.0.0.1:8080", "ok"),
        ("[::1]:8080", "ok"),
        ("localhost:8080", "ok"),
        ("localhost.example:8080", "dpop_proof"),
        ("10.0.0.1:8080", "dpop_proof"),
        ("[fd00::1]:8080", "dpop_proof"),
    ] {
        assert_eq!(desk.verdict(&token, plain("plain", host)).await, expected, "{host} in the clear");
    }
    let get = Sent { method: "GET", ..dpop(vec![good("c")]) };
    assert_eq!(desk.verdict(&token, get).await, "dpop_proof", "a request of another method");
    let bearer = Sent { scheme: "Bearer", ..dpop(vec![good("d")]) };
    assert_eq!(desk.verdict(&token, bearer).await, "dpop_proof", "as if it were no one's");

    assert_eq!(desk.verdict(&token, dpop(vec![good("once")])).await, "ok");
    assert_eq!(desk.verdict(&token, dpop(vec![good("once")])).await, "replayed");
    assert_eq!(desk.verdict(&token, dpop(vec![good("twice")])).await, "ok");

    // Another caller's proof, well made with that one's own key.
    let thief = Desk { key: TestKey::p256("thief"), ..desk };
    let stolen = thief.proof(&token, "stolen", |_, _| {});
    assert_eq!(thief.verdict(&token, dpop(vec![stolen])).await, "dpop_proof");
    let free = thief.issuer_key.token(&claims(&thief.issuer.url));
    let proof = thief.proof(&free, "free", |_, _| {});
    assert_eq!(thief.verdict(&free, dpop(vec![proof])).await, "not_bound");
    assert_eq!(thief.verdict(&free, Sent { scheme: "Bearer", ..dpop(Vec::new()) }).await, "ok");
}

#[tokio::test]
async fn where_tls_ends_here_no_proof_is_for_an_address_in_the_clear() {
    let mut desk = Desk::open(&[Proof::Dpop]).await;
    desk.world.identifier = desk.world.identifier.behind_own_tls(true);
    let token = desk.bound();
    for (scheme, expected) in [("https", "ok"), ("http", "dpop_proof")] {
        let address = format!("{scheme}://127.0.0.1:8443/v1/chat/completions");
        let proof = desk.proof(&token, scheme, |_, c| c["htu"] = json!(address));
        let sent = Sent { host: "127.0.0.1:8443".to_owned(), ..dpop(vec![proof]) };
        assert_eq!(desk.verdict(&token, sent).await, expected, "{scheme}");
    }
}

#[tokio::test]
async fn a_token_bound_to_a_certificate_is_good_on_its_connection_alone() {
    let desk = Desk::open(&[Proof::Certificate]).await;
    let token = desk.token(&json!({"x5t#S256": URL_SAFE_NO_PAD.encode([7; 32])}));
    let over = |certificate| Sent { scheme: "Bearer", certificate, ..dpop(Vec::new()) };
    // The second time from what was verified the first time.
    for _ in 0..2 {
        assert_eq!(desk.verdict(&token, over(Some([7; 32]))).await, "ok");
        assert_eq!(desk.verdict(&token, over(Some([8; 32]))).await, "other_certificate");
        assert_eq!(desk.verdict(&token, over(None)).await, "certificate_not_presented");
    }
    for (name, confirmation) in [
        ("cut", json!({"x5t#S256": URL_SAFE_NO_PAD.encode([7; 31])})),
        ("no text", json!({"x5t#S256": 7})),
        (
            "bound to a key too, which nobody checks",
            json!({"x5t#S256": URL_SAFE_NO_PAD.encode([7; 32]), "jkt": "x"}),
        ),
        ("bound to nothing known", json!({"kid": "x"})),
        ("bound to nothing", json!({})),
        ("no object", json!("x")),
    ] {
        let token = desk.token(&confirmation);
        assert_eq!(desk.verdict(&token, over(Some([7; 32]))).await, "confirmation_unproven", "{name}");
    }
    let both = Desk::open(&[Proof::Dpop, Proof::Certificate]).await;
    let key = json!(thumbprint(&both.key));
    for (name, key, hash, expected) in [
        ("a key and a certificate", &key, json!(URL_SAFE_NO_PAD.encode([7; 32])), "ok"),
        ("a certificate that is cut", &key, json!(URL_SAFE_NO_PAD.encode([7; 31])), "confirmation_unproven"),
        ("a certificate by no text", &key, json!(7), "confirmation_unproven"),
        ("a key by no text", &json!(7), json!(URL_SAFE_NO_PAD.encode([7; 32])), "confirmation_unproven"),
    ] {
        let token = both.token(&json!({"jkt": key, "x5t#S256": hash}));
        let proof = both.proof(&token, name, |_, _| {});
        let sent = Sent { certificate: Some([7; 32]), ..dpop(vec![proof]) };
        assert_eq!(both.verdict(&token, sent).await, expected, "{name}");
    }
    let not_checked = Desk::open(&[]).await;
    let token = not_checked.token(&json!({"x5t#S256": URL_SAFE_NO_PAD.encode([7; 32])}));
    assert_eq!(not_checked.verdict(&token, over(Some([7; 32]))).await, "confirmation_unproven");
}
