//! What it costs to know who calls, beside the bare check of the same signature: printed, and never judged.
//!
//! `cargo test --release -p attach-gateway --lib -- --ignored --nocapture what_it_costs_to_know_who_calls`
//!
//! The targets are 2 µs for a caller whose credential was verified a moment ago, 8 µs above the bare check for any other,
//! and no more for one issuer or key among very many.

mod figures;

use super::{
    super::key::Key,
    issuer::jwks,
    mint::{TestKey, b64},
    *,
};
use attach_proto::{bundle::Algorithm, key_text};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use figures::{Row, each};
use mimalloc::MiMalloc;
use std::{
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
};

/// As in the program.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Verifications of a batch, which takes less than a millisecond: long beside a look at the clock, short beside a turn of the
/// scheduler, so that most batches are not interrupted.
const BATCH: usize = 20;

const ROUNDS: usize = 1_001;
const ROUNDS_OF_MANY: usize = 41;

const ISSUERS: usize = 10_000;
const KEYS: usize = 100_000;

/// Of those, so that their memory is not all in the nearest cache. Fewer than a core remembers, which are 5,000 at least.
const CALLERS: usize = 1_000;

#[tokio::test]
#[ignore = "a benchmark, meant for a release build; tests/run all"]
async fn what_it_costs_to_know_who_calls() {
    println!(
        "ns each by the clock (of CPU): the median of {ROUNDS} batches, or of {ROUNDS_OF_MANY} for callers among many"
    );
    println!(
        "{:<46}{:>18}{:>18}{:>18}{:>18}",
        "", "bare check", "not yet known", "above bare", "known already"
    );
    for (key, algorithm) in [
        (TestKey::rsa("a"), Algorithm::Rs256),
        (TestKey::p256("a"), Algorithm::Es256),
        (TestKey::ed25519("a"), Algorithm::EdDsa),
    ] {
        let gateway = Gateway::of_issuers(1, &key);
        let plain = gateway.callers(BATCH, &key, algorithm, plain_claims);
        gateway.measure(algorithm.name(), &plain, ROUNDS).print(None);
        if algorithm == Algorithm::Rs256 {
            let large = gateway.callers(BATCH, &key, algorithm, claims_of_keycloak);
            let name = format!("RS256, all that Keycloak says ({} bytes)", large[0].signed.len());
            gateway.measure(&name, &large, ROUNDS).print(None);
        }
    }
    let (gateway, callers) = Gateway::of_keys(BATCH);
    gateway.measure("API key, beside its SHA-256", &callers, ROUNDS).print(None);

    println!("\nThe same for one among many (and as a multiple of the line before)");
    let key = TestKey::rsa("a");
    let (one, many) = (Gateway::of_issuers(1, &key), Gateway::of_issuers(ISSUERS, &key));
    for count in [1, CALLERS] {
        let of = |gateway: &Gateway| {
            let callers = gateway.callers(count, &key, Algorithm::Rs256, plain_claims);
            let issuers = gateway.bundles[0].bundle().identity_providers.len();
            gateway.measure(&format!("callers {count}, issuers {issuers}"), &callers, ROUNDS_OF_MANY)
        };
        let alone = of(&one);
        alone.print(None);
        of(&many).print(Some(&alone));
    }
    let (many, all) = Gateway::of_keys(KEYS);
    for count in [1, CALLERS] {
        let (few, callers) = Gateway::of_keys(count);
        let alone = few.measure(&format!("callers {count}, API keys {count}"), &callers, ROUNDS_OF_MANY);
        alone.print(None);
        // Spread over the whole.
        let callers: Vec<_> = all.iter().skip(KEYS / count - 1).step_by(KEYS / count).collect();
        many.measure(&format!("callers {count}, API keys {KEYS}"), &callers, ROUNDS_OF_MANY)
            .print(Some(&alone));
    }
}

/// The identify stage of a core, with bundles that differ in their revision alone: what was verified by one of them counts for
/// nothing by the other.
struct Gateway {
    bundles: [Snapshot; 2],
    identifier: Identifier,
    _state: TempDir,
}

/// A request, and the least that a check of its credential has to do.
struct Caller {
    head: Parts,
    signed: Vec<u8>,
    bare: Bare,
}

enum Bare {
    Signature(Rc<Key>, Algorithm, Vec<u8>),
    Hash,
}

impl Gateway {
    fn new(providers: Vec<IdentityProvider>, keys: Vec<ApiKey>) -> Self {
        let bundles = [bundle(1, providers.clone(), keys.clone()), bundle(2, providers, keys)];
        let state = tempfile::tempdir().unwrap();
        let fetcher = Fetcher::new(tls_config(), Guard::Operator);
        // The real clock: to look at it is part of the cost.
        let issuers = Arc::new(Issuers::new(Handle::current(), state.path(), Clock::System, fetcher));
        issuers.apply(&bundles[0]);
        let used = Arc::new(UsedProofs::new(Clock::System.now()));
        Self { bundles, identifier: Identifier::new(issuers, used, Clock::System), _state: state }
    }

    fn of_issuers(count: usize, key: &TestKey) -> Self {
        let keys = jwks(&[key]).to_string();
        let providers = (0..count).map(|number| IdentityProvider {
            jwks: Some(keys.as_str().into()),
            ..provider(&format!("idp-{number}"), "acme", &issuer(number), AUDIENCE)
        });
        Self::new(providers.collect(), Vec::new())
    }

    /// With a caller for each key.
    fn of_keys(count: usize) -> (Self, Vec<Caller>) {
        let text = |number| key_text::write(&format!("{number:016}"), &format!("{number:043}"));
        let keys = (0..count).map(|number| api_key(&format!("k{number}"), "acme", &text(number)));
        let caller = |number| {
            let text = text(number);
            Caller { head: request(&text), signed: text.into_bytes(), bare: Bare::Hash }
        };
        (Self::new(Vec::new(), keys.collect()), (0..count).map(caller).collect())
    }

    /// Each of another issuer, as far as there are as many.
    fn callers(
        &self,
        count: usize,
        key: &TestKey,
        algorithm: Algorithm,
        claims: fn(&str, usize, i64) -> Value,
    ) -> Vec<Caller> {
        let verifier = Rc::new(Key::parse(key.jwk().to_string().as_bytes()).unwrap());
        let issuers = self.bundles[0].bundle().identity_providers.len();
        let caller = |number| {
            let claims = claims(
                &issuer(number * (issuers / count).max(1) % issuers),
                number,
                Clock::System.now().as_second(),
            );
            let token = key.token(&claims);
            let (signed, signature) = token.rsplit_once('.').unwrap();
            let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
            Caller {
                head: request(&token),
                signed: signed.as_bytes().to_vec(),
                bare: Bare::Signature(Rc::clone(&verifier), algorithm, signature),
            }
        };
        (0..count).map(caller).collect()
    }

    fn measure<C: std::borrow::Borrow<Caller>>(&self, name: &str, callers: &[C], rounds: usize) -> Row {
        let [one, other] = &self.bundles;
        let callers: Vec<&Caller> = callers.iter().map(std::borrow::Borrow::borrow).collect();
        let turns = BATCH.div_ceil(callers.len());
        let all = || (0..turns).flat_map(|_| &callers);
        let count = turns * callers.len();
        let mut row = Row { name: name.to_owned(), ..Row::default() };
        for _ in 0..rounds {
            row.bare.push(each(count, || all().for_each(|caller| caller.check())));
            let not_yet_known = || {
                for _ in 0..turns {
                    for bundle in [one, other] {
                        callers.iter().for_each(|caller| self.identify(caller, bundle));
                    }
                }
            };
            row.not_yet_known.push(each(2 * count, not_yet_known));
            row.known.push(each(count, || all().for_each(|caller| self.identify(caller, other))));
        }
        row
    }

    #[inline(never)]
    fn identify(&self, caller: &Caller, bundle: &Snapshot) {
        let known = pin!(self.identifier.identify(&caller.head, bundle));
        match known.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(known) => drop(black_box(known.unwrap())),
            Poll::Pending => panic!("there is nothing to wait for"),
        }
    }
}

impl Caller {
    #[inline(never)]
    fn check(&self) {
        match &self.bare {
            Bare::Signature(key, algorithm, signature) => {
                black_box(key.verifier(*algorithm)).unwrap().verify_sig(&self.signed, signature).unwrap();
            }
            Bare::Hash => drop(black_box(digest(&SHA256, black_box(&self.signed)))),
        }
    }
}

fn issuer(number: usize) -> String {
    format!("https://issuer-{number}.example/tenant/acme")
}

/// As OpenAI's SDK for Python sends it.
fn request(credential: &str) -> Parts {
    let head = Request::post("/v1/chat/completions")
        .header("host", "gateway.example:8080")
        .header("accept-encoding", "gzip, deflate")
        .header("connection", "keep-alive")
        .header("accept", "application/json")
        .header("content-type", "application/json")
        .header("user-agent", "OpenAI/Python 2.8.1")
        .header("x-stainless-lang", "python")
        .header("x-stainless-package-version", "2.8.1")
        .header("x-stainless-os", "Linux")
        .header("x-stainless-arch", "x64")
        .header("x-stainless-runtime", "CPython")
        .header("x-stainless-runtime-version", "3.13.1")
        .header("authorization", format!("Bearer {credential}"))
        .header("x-stainless-async", "false")
        .header("x-stainless-retry-count", "0")
        .header("x-stainless-read-timeout", "600")
        .header("content-length", "97");
    head.body(()).unwrap().into_parts().0
}

fn plain_claims(issuer: &str, number: usize, now: i64) -> Value {
    json!({"iss": issuer, "aud": AUDIENCE, "sub": format!("user-{number}"), "exp": now + 3600, "iat": now, "nbf": now,
        "jti": b64(number.to_le_bytes()), "azp": "my-app", "scope": "openid profile email", "groups": ["staff", "ml"]})
}

fn claims_of_keycloak(issuer: &str, number: usize, now: i64) -> Value {
    json!({
        "exp": now + 3600, "iat": now, "auth_time": now, "jti": "onrtac:5f0d7f3e-3c0f-4f0b-8a44-0f3a5d4f6b6e",
        "iss": issuer, "aud": [AUDIENCE, "account"], "sub": format!("0c0a7c1e-6a55-4c8e-9d3b-{number:012}"),
        "typ": "Bearer", "azp": "open-webui", "sid": "7d3c6a51-7f0f-4a57-9f8c-4f3b0b7d8e21", "acr": "1",
        "allowed-origins": ["https://chat.acme.example", "http://localhost:3000"],
        "realm_access": {"roles": ["offline_access", "uma_authorization", "default-roles-acme", "engineer"]},
        "resource_access": {"account": {"roles": ["manage-account", "manage-account-links", "view-profile"]}},
        "scope": "openid email profile groups", "email_verified": true, "name": "Ada Lovelace",
        "groups": ["/staff", "/staff/ml", "/staff/on-call"], "preferred_username": format!("ada-{number}"),
        "given_name": "Ada", "family_name": "Lovelace", "email": format!("ada-{number}@acme.example"),
    })
}
