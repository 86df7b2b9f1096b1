//! Tokens that are bound to a key. Each refused request differs in one thing from one that is served.

use super::{
    CHAT, asks_for_proof, chat, engine,
    https::{Asked, Https, Version},
    setup,
};
use attach_tests::{Answer, Gateway, Issuer, Nginx, Signer, eventually, issuer::now, signer::sha256};
use http::Method;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::{Value, json};
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

/// A caller with a key of its own and a token that is bound to it.
struct Holder {
    key: Signer,
    token: String,
    made: AtomicUsize,
}

type Edit = fn(&mut Value, &mut Value);

/// What is changed in a good proof, its header and its claims.
const FAULTS: &[(&str, Edit)] = &[
    ("too old", |_, c| c["iat"] = json!(now() - 90)),
    ("from the future", |_, c| c["iat"] = json!(now() + 90)),
    ("without a time", |_, c| remove(c, "iat")),
    ("another method", |_, c| c["htm"] = json!("GET")),
    ("the method in small letters", |_, c| c["htm"] = json!("post")),
    ("no method", |_, c| remove(c, "htm")),
    ("another path", |_, c| change(c, "htu", CHAT, "/v1/completions")),
    ("another host", |_, c| change(c, "htu", "localhost", "gateway.example")),
    ("another port", |_, c| change(c, "htu", "localhost:", "localhost:1")),
    ("a path alone", |_, c| c["htu"] = json!(CHAT)),
    ("no address", |_, c| remove(c, "htu")),
    ("another token", |_, c| c["ath"] = json!(sha256("other"))),
    ("no token", |_, c| remove(c, "ath")),
    ("no id", |_, c| remove(c, "jti")),
    ("another type", |h, _| h["typ"] = json!("JWT")),
    ("an extension", |h, _| h["crit"] = json!(["exp"])),
    ("a key by address", |h, _| h["jku"] = json!("https://evil.example")),
    ("no key", |h, _| remove(h, "jwk")),
    ("no algorithm", |h, _| h["alg"] = json!("none")),
    ("another algorithm", |h, _| h["alg"] = json!("ES384")),
    ("a private key", |h, _| h["jwk"]["d"] = json!("AAAA")),
    ("another key", |h, _| h["jwk"] = Signer::new("other").public()),
];

fn remove(object: &mut Value, name: &str) {
    object.as_object_mut().expect("an object").remove(name);
}

fn change(object: &mut Value, name: &str, from: &str, to: &str) {
    object[name] = json!(object[name].as_str().expect("a text").replace(from, to));
}

impl Holder {
    fn new(issuer: &Issuer) -> Self {
        let key = Signer::new("mine");
        let token = issuer.token_with("alice", &json!({"cnf": {"jkt": key.thumbprint()}}));
        Self { key, token, made: AtomicUsize::new(0) }
    }

    /// A good proof for a chat at this address, changed by `edit`.
    fn proof(&self, address: &str, edit: impl FnOnce(&mut Value, &mut Value)) -> String {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let mut header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": self.key.public()});
        let mut claims = json!({"jti": format!("proof-{number}"), "htm": "POST", "iat": now(),
            "htu": format!("{address}{CHAT}"), "ath": sha256(&self.token)});
        edit(&mut header, &mut claims);
        self.key.sign(&header, &claims)
    }

    fn request(&self, proofs: &[String]) -> Asked {
        self.request_as("DPoP", proofs)
    }

    fn request_as(&self, scheme: &str, proofs: &[String]) -> Asked {
        let token = ("authorization", format!("{scheme} {}", self.token));
        let proofs = proofs.iter().map(|proof| ("dpop", proof.clone()));
        chat(CHAT, &std::iter::once(token).chain(proofs).collect::<Vec<_>>())
    }
}

fn authority(gateway: &Gateway) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(gateway.state().join("tls/ca.crt")).expect("it was made")
}

/// What was signed in the second in which the gateway began could have been used before.
async fn until_served(https: &Https, holder: &Holder, address: &str) {
    eventually("a proof is taken", Duration::from_secs(30), async || {
        let answer = https.ask(holder.request(&[holder.proof(address, |_, _| {})])).await;
        (answer.status == 200).then_some(())
    })
    .await;
}

fn refused(answer: &Answer, what: &str) {
    let challenge = answer.header("www-authenticate");
    assert!(asks_for_proof(answer, "invalid_dpop_proof"), "{what}: {} {challenge:?}", answer.status);
    assert_eq!(answer.json()["error"]["code"], "invalid_credential", "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_holder_of_a_bound_token_is_served_over_https_with_a_proof_of_each_request_and_nobody_else_is() {
    let (issuer, engine) = (Issuer::start().await, engine().await);
    let setup =
        setup(&issuer.url(), &engine, "PROOF_DPOP").with_argument("--tls").with_argument("self-signed");
    let gateway = setup.start().await;
    let authority = authority(&gateway);
    let holder = Holder::new(&issuer);
    for version in [Version::One, Version::Two] {
        let https = Https::new(gateway.port, version, &authority, None);
        let address = format!("https://{}", https.authority());
        let good = || holder.proof(&address, |_, _| {});
        until_served(&https, &holder, &address).await;
        let served = engine.seen().len();

        for (what, edit) in FAULTS {
            let proof = holder.proof(&address, edit);
            refused(&https.ask(holder.request(&[proof])).await, &format!("{version:?}: {what}"));
        }
        let clear = holder.proof(&address, |_, claims| change(claims, "htu", "https:", "http:"));
        refused(&https.ask(holder.request(&[clear])).await, "in the clear");
        refused(&https.ask(holder.request(&[])).await, "no proof");
        refused(&https.ask(holder.request(&[good(), good()])).await, "two proofs");
        refused(&https.ask(holder.request(&["x".repeat(9000)])).await, "too large");
        refused(&https.ask(holder.request_as("Bearer", &[good()])).await, "as if it were no one's");
        let mut elsewhere = holder.request(&[good()]);
        *elsewhere.uri_mut() = "/v1/completions".parse().expect("an address");
        refused(&https.ask(elsewhere).await, "a request to another address");
        let mut other_method = holder.request(&[good()]);
        *other_method.method_mut() = Method::GET;
        *other_method.uri_mut() = "/v1/models".parse().expect("an address");
        refused(&https.ask(other_method).await, "a request of another method");
        let thief = Holder { key: Signer::new("thief"), token: holder.token.clone(), made: 0.into() };
        refused(
            &https.ask(thief.request(&[thief.proof(&address, |_, _| {})])).await,
            "a thief with its own key",
        );
        assert_eq!(engine.seen().len(), served, "the engine heard of none of them");

        let once = good();
        assert_eq!(https.ask(holder.request(std::slice::from_ref(&once))).await.status, 200);
        refused(&https.ask(holder.request(std::slice::from_ref(&once))).await, "the same proof again");
        let query =
            holder.proof(&address, |_, claims| change(claims, "htu", CHAT, "/v1/chat/completions?a=b"));
        assert_eq!(https.ask(holder.request(&[query])).await.status, 200, "a query does not count");
        assert_eq!(https.ask(holder.request(&[good()])).await.status, 200, "another proof of the same token");
    }
    for seen in engine.seen() {
        assert!(
            seen.header("dpop").is_none() && seen.header("authorization").is_none(),
            "{:?}",
            seen.headers
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_bound_to_nothing_is_no_better_with_a_proof() {
    let (issuer, engine) = (Issuer::start().await, engine().await);
    let setup =
        setup(&issuer.url(), &engine, "PROOF_DPOP").with_argument("--tls").with_argument("self-signed");
    let gateway = setup.start().await;
    let https = Https::new(gateway.port, Version::Two, &authority(&gateway), None);
    let address = format!("https://{}", https.authority());
    let free = Holder { token: issuer.token("bob"), ..Holder::new(&issuer) };
    let answer = https.ask(free.request(&[free.proof(&address, |_, _| {})])).await;
    assert!(asks_for_proof(&answer, "invalid_token"), "{:?}", answer.headers);
    assert_eq!(https.ask(free.request_as("Bearer", &[])).await.status, 200);
}

/// The proof names what the caller dialled, so the proxy must pass on the name.
#[tokio::test(flavor = "multi_thread")]
async fn behind_a_proxy_that_ends_tls_a_proof_is_for_the_address_that_the_caller_dialled() {
    let (issuer, engine) = (Issuer::start().await, engine().await);
    let setup = setup(&issuer.url(), &engine, "PROOF_DPOP").with("TRUSTED_PROXIES", "127.0.0.1");
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let files = [
        setup.file("proxy.crt", &certified.cert.pem()),
        setup.file("proxy.key", &certified.signing_key.serialize_pem()),
    ];
    let gateway = setup.start().await;
    let files = [files[0].as_path(), files[1].as_path()];
    let host = "proxy_set_header Host $http_host;";
    let Some(proxy) = Nginx::start_https(gateway.port, files, host) else { return };
    let Some(nameless) = Nginx::start_https(gateway.port, files, "") else { return };
    let holder = Holder::new(&issuer);
    let https = Https::new(proxy.port, Version::One, certified.cert.der(), None);
    let address = format!("https://{}", https.authority());
    until_served(&https, &holder, &address).await;

    for (what, edit) in FAULTS {
        refused(&https.ask(holder.request(&[holder.proof(&address, edit)])).await, what);
    }
    let once = holder.proof(&address, |_, _| {});
    assert_eq!(https.ask(holder.request(std::slice::from_ref(&once))).await.status, 200);
    refused(&https.ask(holder.request(std::slice::from_ref(&once))).await, "the same proof again");
    let clear =
        holder.proof(&address, |_, claims| change(claims, "htu", "https://localhost", "http://gateway"));
    refused(&https.ask(holder.request(&[clear])).await, "in the clear");
    let inner = holder.proof(&format!("https://localhost:{}", gateway.port), |_, _| {});
    refused(&https.ask(holder.request(&[inner])).await, "the gateway's own address");

    // As an nginx is that was told no more than where to pass to: it names the gateway in place of itself.
    let https = Https::new(nameless.port, Version::One, certified.cert.der(), None);
    let proof = holder.proof(&format!("https://{}", https.authority()), |_, _| {});
    refused(&https.ask(holder.request(&[proof])).await, "the name was not passed on");
}

#[tokio::test(flavor = "multi_thread")]
async fn bound_tokens_are_refused_where_their_proofs_are_not_checked() {
    let (issuer, engine) = (Issuer::start().await, engine().await);
    let setup = setup(&issuer.url(), &engine, "").with_argument("--tls").with_argument("self-signed");
    let gateway = setup.start().await;
    let https = Https::new(gateway.port, Version::Two, &authority(&gateway), None);
    let address = format!("https://{}", https.authority());
    let by_key = Holder::new(&issuer);
    let confirmation = json!({"cnf": {"x5t#S256": sha256("certificate")}});
    let by_certificate = Holder { token: issuer.token_with("alice", &confirmation), ..Holder::new(&issuer) };
    for holder in [&by_key, &by_certificate] {
        for request in
            [holder.request(&[holder.proof(&address, |_, _| {})]), holder.request_as("Bearer", &[])]
        {
            let answer = https.ask(request).await;
            assert_eq!(answer.status, 401, "{}", answer.text());
        }
    }
    eventually("the refusals are explained", Duration::from_secs(20), async || {
        (gateway.access_log().matches("confirmation_unproven").count() == 4).then_some(())
    })
    .await;
    assert!(engine.seen().is_empty());
    assert_eq!(
        https.ask(Holder { token: issuer.token("bob"), ..by_key }.request_as("Bearer", &[])).await.status,
        200
    );
}
