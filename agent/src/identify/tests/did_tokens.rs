//! K7: tokens that DIDs have signed for themselves.

use super::{
    mint::b64,
    vectors::{bytes, cases, vectors},
    *,
};
use crate::identify::did::key::verifies;
use attach_proto::{
    did::{AllowedDids, Did, DidPolicy, KeyKind, PublicKey},
    usage::PrincipalKind,
};
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P256K1_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
        KeyPair,
    },
};

/// Somebody with a key, and so with a DID.
pub(super) struct Person {
    pub(super) did: Did,
    kind: KeyKind,
    pair: Pair,
}

enum Pair {
    Ed(Ed25519KeyPair),
    Ec(EcdsaKeyPair),
}

impl Person {
    pub(super) fn new(kind: KeyKind) -> Self {
        let pair = match kind {
            KeyKind::Ed25519 => Pair::Ed(Ed25519KeyPair::generate().unwrap()),
            KeyKind::P256 => Pair::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()),
            KeyKind::Secp256k1 => {
                Pair::Ec(EcdsaKeyPair::generate(&ECDSA_P256K1_SHA256_FIXED_SIGNING).unwrap())
            }
        };
        let public = match &pair {
            Pair::Ed(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ec(pair) => compressed(pair.public_key().as_ref()),
        };
        Self { did: Did::of_key(kind, &public).unwrap(), kind, pair }
    }

    fn algorithm(&self) -> &'static str {
        match self.kind {
            KeyKind::Ed25519 => "EdDSA",
            KeyKind::P256 => "ES256",
            KeyKind::Secp256k1 => "ES256K",
        }
    }

    fn header(&self) -> Value {
        let id = self.did.as_str().strip_prefix("did:key:").unwrap();
        json!({"alg": self.algorithm(), "typ": "JWT", "kid": format!("{}#{id}", self.did)})
    }

    fn claims(&self) -> Value {
        json!({"iss": self.did.as_str(), "sub": self.did.as_str(), "aud": AUDIENCE, "iat": NOW, "exp": NOW + 600,
            "jti": "proof-1"})
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    fn sign_text(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", b64(header), b64(claims));
        let signature = match &self.pair {
            Pair::Ed(pair) => pair.sign(signed.as_bytes()).as_ref().to_vec(),
            Pair::Ec(pair) => pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap().as_ref().to_vec(),
        };
        format!("{signed}.{}", b64(signature))
    }

    pub(super) fn token(&self) -> String {
        self.sign(&self.header(), &self.claims())
    }

    /// With these claims on top; `null` takes one away.
    fn with(&self, changes: &Value) -> String {
        self.sign(&self.header(), &merged(self.claims(), changes))
    }

    fn with_header(&self, changes: &Value) -> String {
        self.sign(&merged(self.header(), changes), &self.claims())
    }
}

fn merged(mut object: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            object.as_object_mut().unwrap().remove(name);
        } else {
            object[name] = value.clone();
        }
    }
    object
}

fn compressed(point: &[u8]) -> Vec<u8> {
    [&[2 + (point[64] & 1)][..], &point[1..33]].concat()
}

pub(super) fn policy(dids: &[&Did]) -> DidPolicy {
    DidPolicy {
        allowed: AllowedDids { any: dids.is_empty(), listed: dids.iter().map(|&did| did.clone()).collect() },
        audiences: vec![AUDIENCE.to_owned()],
        max_lifetime: Duration::from_secs(3600),
        one_time: false,
        domains: vec!["app.test".to_owned()],
    }
}

/// Tenants `acme` and `globex`, as far as they have policies.
pub(super) fn world(acme: DidPolicy, globex: Option<DidPolicy>) -> World {
    World::with(snapshot(acme, globex, Vec::new()), quick())
}

pub(super) fn snapshot(
    acme: DidPolicy,
    globex: Option<DidPolicy>,
    providers: Vec<IdentityProvider>,
) -> Snapshot {
    let mut bundle = bundle(1, providers, Vec::new()).bundle().clone();
    bundle.tenants[0].did = Some(acme);
    bundle.tenants[1].did = globex;
    Snapshot::new(bundle, foldhash::HashMap::default())
}

#[tokio::test]
async fn k7_a_caller_of_each_kind_of_key_is_known_by_its_did_and_by_nothing_else_that_it_says() {
    for kind in KeyKind::ALL {
        let alice = Person::new(kind);
        let world = world(policy(&[&alice.did]), None);
        let boasts = json!({"groups": ["admins"], "project": "p", "email": "a@b", "scope": "act_as"});
        let principal = world.bearer(&alice.with(&boasts)).await.unwrap();
        assert_eq!((principal.tenant.as_str(), principal.kind), ("acme", PrincipalKind::Did));
        assert_eq!((principal.subject.as_str(), &principal.issuer), (alice.did.as_str(), &None));
        assert!(principal.groups.is_empty() && principal.project.is_none());
        assert!(principal.forwarded_claims.is_none());
    }
}

#[tokio::test]
async fn k7_each_token_that_is_accepted_has_a_twin_that_differs_in_one_field_and_is_not() {
    for kind in KeyKind::ALL {
        let alice = Person::new(kind);
        let mallory = Person::new(kind);
        let other_kind = KeyKind::ALL.into_iter().find(|it| *it != kind).unwrap();
        let stranger = Person::new(other_kind);
        let world = world(policy(&[&alice.did, &stranger.did]), None);
        let did = alice.did.as_str();
        let id = did.strip_prefix("did:key:").unwrap();
        let foreign = mallory.did.as_str().strip_prefix("did:key:").unwrap();
        let (header, claims) = (alice.header(), alice.claims());
        let swapped = |token: &str, by: &Person| {
            let (signed, _) = token.rsplit_once('.').unwrap();
            let theirs = by.sign(&header, &claims);
            format!("{signed}.{}", theirs.rsplit_once('.').unwrap().1)
        };
        let table: &[(&str, String, &str)] = &[
            ("as it is", alice.token(), "ok"),
            ("its signature by another key", swapped(&alice.token(), &mallory), "bad_signature"),
            ("its DID alone", did.to_owned(), "bare_did"),
            ("a DID of any method alone", "did:pkh:eip155:1:0x0".to_owned(), "bare_did"),
            // aud
            ("two audiences, one ours", alice.with(&json!({"aud": ["x", AUDIENCE]})), "ok"),
            ("two audiences, none ours", alice.with(&json!({"aud": ["x", "y"]})), "did_audience"),
            ("no audience", alice.with(&json!({"aud": null})), "missing_audience"),
            ("an empty list of audiences", alice.with(&json!({"aud": []})), "missing_audience"),
            (
                "an audience with a slash more",
                alice.with(&json!({"aud": format!("{AUDIENCE}/")})),
                "did_audience",
            ),
            // exp, iat, nbf
            ("the longest life", alice.with(&json!({"exp": NOW + 3600})), "ok"),
            ("a second more", alice.with(&json!({"exp": NOW + 3601})), "lifetime_too_long"),
            ("no exp", alice.with(&json!({"exp": null})), "missing_expiry"),
            ("no iat", alice.with(&json!({"iat": null})), "missing_issue_time"),
            ("just not ended", alice.with(&json!({"iat": NOW - 600, "exp": NOW - 59})), "ok"),
            ("just ended", alice.with(&json!({"iat": NOW - 600, "exp": NOW - 60})), "expired"),
            ("a clock a minute ahead", alice.with(&json!({"iat": NOW + 60})), "ok"),
            ("a clock further ahead", alice.with(&json!({"iat": NOW + 61})), "issued_in_future"),
            ("nbf within the skew", alice.with(&json!({"nbf": NOW + 60})), "ok"),
            ("nbf beyond", alice.with(&json!({"nbf": NOW + 61})), "not_yet_valid"),
            ("exp as text", alice.with(&json!({"exp": "1800000600"})), "bad_time"),
            ("iat as text", alice.with(&json!({"iat": "1800000000"})), "bad_time"),
            // iss, sub
            ("no sub", alice.with(&json!({"sub": null})), "ok"),
            ("another's sub", alice.with(&json!({"sub": mallory.did.as_str()})), "foreign_subject"),
            ("a sub that is no text", alice.with(&json!({"sub": 1})), "foreign_subject"),
            (
                "another's iss and sub",
                {
                    let theirs = json!({"iss": mallory.did.as_str(), "sub": mallory.did.as_str()});
                    alice.with(&theirs)
                },
                "did_not_allowed",
            ),
            (
                "an allowed DID's iss",
                alice.with(&json!({"iss": stranger.did.as_str(), "sub": null})),
                "unknown_key",
            ),
            (
                "the same without a kid",
                {
                    let header = merged(header.clone(), &json!({"kid": null}));
                    let claims = merged(claims.clone(), &json!({"iss": stranger.did.as_str(), "sub": null}));
                    alice.sign(&header, &claims)
                },
                "key_not_for_algorithm",
            ),
            ("an iss with a fragment", alice.with(&json!({"iss": format!("{did}#{id}")})), "bad_did"),
            ("an iss in capitals", alice.with(&json!({"iss": did.replace("did:key", "did:KEY")})), "bad_did"),
            ("no iss", alice.with(&json!({"iss": null})), "missing_issuer"),
            (
                "an iss of a wallet",
                {
                    let theirs = "did:pkh:eip155:1:0xb9c5714089478a327f09197987f16f9e5d936e8a";
                    alice.with(&json!({"iss": theirs, "sub": null}))
                },
                "did_not_allowed",
            ),
            // kid
            ("no kid", alice.with_header(&json!({"kid": null})), "ok"),
            ("the DID as kid", alice.with_header(&json!({"kid": did})), "ok"),
            ("another's DID as kid", alice.with_header(&json!({"kid": mallory.did.as_str()})), "unknown_key"),
            (
                "another's fragment",
                alice.with_header(&json!({"kid": format!("{did}#{foreign}")})),
                "unknown_key",
            ),
            (
                "another's DID with our fragment",
                alice.with_header(&json!({"kid": format!("{}#{id}", mallory.did)})),
                "unknown_key",
            ),
            ("an empty fragment", alice.with_header(&json!({"kid": format!("{did}#")})), "unknown_key"),
            ("a fragment alone", alice.with_header(&json!({"kid": format!("#{id}")})), "unknown_key"),
            ("a kid that is no text", alice.with_header(&json!({"kid": 1})), "header_type"),
            // alg
            (
                "the algorithm of another kind",
                alice.with_header(&json!({"alg": stranger.algorithm()})),
                "key_not_for_algorithm",
            ),
            ("RS256", alice.with_header(&json!({"alg": "RS256"})), "key_not_for_algorithm"),
            ("none", alice.with_header(&json!({"alg": "none"})), "algorithm_not_allowed"),
            ("ES256K-R", alice.with_header(&json!({"alg": "ES256K-R"})), "algorithm_not_allowed"),
            ("HS256", alice.with_header(&json!({"alg": "HS256"})), "algorithm_not_allowed"),
            // what the other tokens may not have either
            ("crit", alice.with_header(&json!({"crit": ["b64"]})), "crit_present"),
            ("jwk", alice.with_header(&json!({"jwk": {}})), "embedded_key"),
            ("cnf", alice.with(&json!({"cnf": {"jkt": "x"}})), "confirmation_unproven"),
            (
                "an iss twice",
                {
                    let twice = claims.to_string().replacen('{', &format!("{{\"iss\":\"{did}\","), 1);
                    alice.sign_text(&header.to_string(), &twice)
                },
                "claim_duplicate",
            ),
            (
                "a DID spelt by an escape",
                {
                    let escaped = claims.to_string().replace("\"iss\":\"did:", "\"iss\":\"d\\u0069d:");
                    alice.sign_text(&header.to_string(), &escaped)
                },
                "ok",
            ),
        ];
        for (name, token, expected) in table {
            assert_eq!(world.verdict(token).await, *expected, "{kind:?}: {name}");
        }
    }
}

#[tokio::test]
async fn k7_a_did_that_is_no_key_of_ours_is_refused_by_what_is_wrong_with_it() {
    let alice = Person::new(KeyKind::P256);
    let world = world(policy(&[]), None);
    let Pair::Ec(pair) = &alice.pair else { panic!("P-256") };
    let point = pair.public_key().as_ref();
    let did = |bytes: &[&[u8]]| format!("did:key:z{}", base58(&bytes.concat()));
    let good = compressed(point);
    for (name, iss, expected) in [
        ("its own", did(&[&[0x80, 0x24], &good]), "ok"),
        ("the codec in a longer varint", did(&[&[0x80, 0xa4, 0x00], &good]), "bad_did"),
        ("the codec of P-384", did(&[&[0x81, 0x24], &good]), "bad_did"),
        ("the codec of X25519", did(&[&[0xec, 0x01], &good[1..]]), "bad_did"),
        ("the point uncompressed", did(&[&[0x80, 0x24], point]), "bad_did"),
        ("a byte short", did(&[&[0x80, 0x24], &good[..32]]), "bad_did"),
        ("a byte more", did(&[&[0x80, 0x24], &good, &[0]]), "bad_did"),
        ("the other point of the same x", did(&[&[0x80, 0x24], &[5 - good[0]], &good[1..]]), "bad_signature"),
        ("the same bytes as another curve", did(&[&[0xe7, 0x01], &good]), "key_not_for_algorithm"),
        ("another method", "did:ion:EiClkZMDxPKqC9c".to_owned(), "bad_did"),
    ] {
        let header = merged(alice.header(), &json!({"kid": null}));
        let token = alice.sign(&header, &merged(alice.claims(), &json!({"iss": iss, "sub": null})));
        assert_eq!(world.verdict(&token).await, expected, "{name}");
    }
    // No point of the curve has this x.
    let nowhere = (0..=255).map(|byte| [&[2], &[byte; 32][..]].concat()).find(|point| {
        let key = aws_lc_rs::signature::ParsedPublicKey::new(
            &aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED,
            point.as_slice(),
        );
        key.is_err()
    });
    let iss = did(&[&[0x80, 0x24], &nowhere.unwrap()]);
    let header = merged(alice.header(), &json!({"kid": null}));
    let token = alice.sign(&header, &merged(alice.claims(), &json!({"iss": iss, "sub": null})));
    assert_eq!(world.verdict(&token).await, "bad_signature");
}

fn base58(bytes: &[u8]) -> String {
    // Through the one encoder there is: of a DID whose bytes these are not checked to be.
    let alphabet = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut digits: Vec<u8> = vec![0];
    for &byte in bytes {
        let mut carry = u32::from(byte);
        for digit in &mut digits {
            carry += u32::from(*digit) << 8;
            *digit = u8::try_from(carry % 58).unwrap();
            carry /= 58;
        }
        while carry > 0 {
            digits.push(u8::try_from(carry % 58).unwrap());
            carry /= 58;
        }
    }
    digits.iter().rev().map(|digit| char::from(alphabet[usize::from(*digit)])).collect()
}

#[tokio::test]
async fn k7_a_star_lets_any_key_call_and_a_list_only_those_on_it() {
    let (alice, bob) = (Person::new(KeyKind::Ed25519), Person::new(KeyKind::P256));
    let listed = world(policy(&[&alice.did]), None);
    assert_eq!(listed.verdict(&alice.token()).await, "ok");
    assert_eq!(listed.verdict(&bob.token()).await, "did_not_allowed");
    let any = world(policy(&[]), None);
    assert_eq!((any.verdict(&alice.token()).await, any.verdict(&bob.token()).await), ("ok", "ok"));
    let none = World::new(Vec::new());
    assert_eq!(none.verdict(&alice.token()).await, "unknown_issuer");
    assert_eq!(none.verdict(alice.did.as_str()).await, "bare_did");
}

#[tokio::test]
async fn k7_a_did_calls_for_the_tenant_of_its_audience_and_for_one_alone() {
    let (alice, bob) = (Person::new(KeyKind::Ed25519), Person::new(KeyKind::Ed25519));
    let globex = DidPolicy { audiences: vec!["globex".to_owned()], ..policy(&[&alice.did]) };
    let world = world(policy(&[&alice.did]), Some(globex));
    let tenant = async |token: String| world.bearer(&token).await.map(|it| it.tenant.to_string());
    assert_eq!(tenant(alice.token()).await.unwrap(), "acme");
    assert_eq!(tenant(alice.with(&json!({"aud": "globex"}))).await.unwrap(), "globex");
    let both = alice.with(&json!({"aud": [AUDIENCE, "globex"]}));
    assert_eq!(tenant(both).await.unwrap_err().code(), "ambiguous_audience");

    // One audience, and each tenant its own people.
    let shared = self::world(policy(&[&alice.did]), Some(policy(&[&bob.did])));
    for (person, expected) in [(&alice, "acme"), (&bob, "globex")] {
        assert_eq!(shared.bearer(&person.token()).await.unwrap().tenant.as_str(), expected);
    }
}

fn once(dids: &[&Did]) -> DidPolicy {
    DidPolicy { one_time: true, ..policy(dids) }
}

#[tokio::test]
async fn k7_a_token_that_serves_once_is_refused_the_second_time_and_by_every_core() {
    let alice = Person::new(KeyKind::Ed25519);
    let world = world(once(&[&alice.did]), None);
    let token = alice.token();
    assert_eq!((world.verdict(&token).await, world.verdict(&token).await), ("ok", "replayed"));
    // Its id is what was used up: another token of that id is no other proof.
    assert_eq!(world.verdict(&alice.with(&json!({"exp": NOW + 599}))).await, "replayed");
    assert_eq!(world.verdict(&alice.with(&json!({"jti": "proof-2"}))).await, "ok");
    for unfit in [json!(null), json!(""), json!(7), json!("x".repeat(129))] {
        assert_eq!(world.verdict(&alice.with(&json!({"jti": unfit}))).await, "missing_token_id", "{unfit}");
    }
    // A token that was refused was not used.
    let mallory = Person::new(KeyKind::Ed25519);
    let (forged, good) = (alice.with(&json!({"jti": "proof-3"})), alice.with(&json!({"jti": "proof-3"})));
    let (signed, _) = forged.rsplit_once('.').unwrap();
    let theirs = mallory.token();
    let forged = format!("{signed}.{}", theirs.rsplit_once('.').unwrap().1);
    assert_eq!((world.verdict(&forged).await, world.verdict(&good).await), ("bad_signature", "ok"));
    // What it shows itself costs no look at its signature.
    let nameless = alice.with(&json!({"jti": null}));
    let forged = format!("{}.{}", nameless.rsplit_once('.').unwrap().0, theirs.rsplit_once('.').unwrap().1);
    assert_eq!(world.verdict(&forged).await, "missing_token_id");

    // Without that policy a token serves until it ends.
    let world = self::world(policy(&[&alice.did]), None);
    assert_eq!((world.verdict(&token).await, world.verdict(&token).await), ("ok", "ok"));
}

#[tokio::test]
async fn k7_the_same_token_from_many_at_once_serves_one_of_them() {
    let alice = Person::new(KeyKind::Ed25519);
    let world = world(once(&[&alice.did]), None);
    let used = Arc::new(UsedProofs::new(world.now()));
    let token = alice.token();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (issuers, used) = (Arc::clone(&world.issuers), Arc::clone(&used));
            let (clock, token) = (Clock::Manual(Arc::clone(&world.clock)), token.clone());
            let snapshot = snapshot(once(&[&alice.did]), None, Vec::new());
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let identifier = Identifier::new(issuers, used, clock);
                let mut headers = HeaderMap::new();
                headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
                runtime.block_on(identifier.identify(&head(headers.clone()), &snapshot)).is_ok()
            })
        })
        .collect();
    let served = threads.into_iter().map(|it| usize::from(it.join().unwrap())).sum::<usize>();
    assert_eq!(served, 1);
}

#[tokio::test]
async fn k7_a_gateway_that_started_anew_takes_nothing_that_it_could_have_taken_before() {
    let alice = Person::new(KeyKind::Ed25519);
    let mut world = world(once(&[&alice.did]), None);
    let token = alice.token();
    assert_eq!(world.verdict(&token).await, "ok");
    world.advance(Duration::from_secs(5));
    let (issuers, clock) = (Arc::clone(&world.issuers), Clock::Manual(Arc::clone(&world.clock)));
    world.identifier = Identifier::new(issuers, Arc::new(UsedProofs::new(world.now())), clock);
    assert_eq!(world.verdict(&token).await, "before_memory");
    assert_eq!(world.verdict(&alice.with(&json!({"iat": NOW + 5}))).await, "ok");
}

#[tokio::test]
async fn k7_the_memory_of_used_tokens_is_bounded_by_tenant_and_in_all_and_forgets_what_has_ended() {
    let (alice, bob) = (Person::new(KeyKind::Ed25519), Person::new(KeyKind::Ed25519));
    let mut world = world(once(&[&alice.did]), Some(once(&[&bob.did])));
    let (issuers, clock) = (Arc::clone(&world.issuers), Clock::Manual(Arc::clone(&world.clock)));
    world.identifier =
        Identifier::new(issuers, Arc::new(UsedProofs::with_capacity(world.now(), 5, 3)), clock);
    let token = |person: &Person, number: u32| person.with(&json!({"jti": format!("n{number}")}));
    for number in 0..3 {
        assert_eq!(world.verdict(&token(&alice, number)).await, "ok");
    }
    let full = world.bearer(&token(&alice, 3)).await.unwrap_err();
    assert_eq!(full.code(), "replay_memory_full");
    assert_eq!(full.retry_after(), Some(Duration::from_secs(60)));
    // The other tenant has its share, until all is full.
    assert_eq!(world.verdict(&token(&bob, 0)).await, "ok");
    assert_eq!(world.verdict(&token(&bob, 1)).await, "ok");
    assert_eq!(world.verdict(&token(&bob, 2)).await, "replay_memory_full");
    // When the first have ended, there is room, and they are refused by their end.
    world.advance(Duration::from_secs(661));
    assert_eq!(world.verdict(&token(&alice, 0)).await, "expired");
    let later = |number| json!({"jti": format!("n{number}"), "iat": NOW + 661, "exp": NOW + 900});
    assert_eq!(world.verdict(&alice.with(&later(0))).await, "ok");
}

#[tokio::test]
async fn a_token_of_an_issuer_is_verified_as_before_where_dids_may_call_too() {
    let key = mint::TestKey::p256("k");
    let issuer = TestIssuer::start(&[&key]).await;
    let alice = Person::new(KeyKind::Ed25519);
    let providers = vec![provider("idp", "acme", &issuer.url, AUDIENCE)];
    let world = World::with(snapshot(policy(&[&alice.did]), None, providers), quick());
    world.settled().await;
    let mut claims = claims(&issuer.url);
    claims["act"] = json!({"iss": alice.did.as_str()});
    claims["sub"] = json!(alice.did.as_str());
    let principal = world.bearer(&key.token(&claims)).await.unwrap();
    assert_eq!(
        (principal.kind, principal.issuer.as_deref()),
        (PrincipalKind::User, Some(issuer.url.as_str()))
    );
    assert_eq!(world.verdict(&alice.token()).await, "ok");
    // An issuer that says it is a DID is none.
    claims["iss"] = json!(alice.did.as_str());
    assert_eq!(world.verdict(&key.token(&claims)).await, "unknown_key");
}

#[test]
fn t3_raw_signatures_of_wycheproof_on_secp256k1_are_accepted_and_refused_as_marked() {
    let Some(document) = vectors("ecdsa_secp256k1_sha256_p1363_test.json") else { return };
    let mut seen = 0;
    for (group, test) in cases(&document) {
        seen += 1;
        let point = compressed(&bytes(&group["publicKey"]["uncompressed"]));
        let key = PublicKey { kind: KeyKind::Secp256k1, bytes: point };
        let accepted = verifies(&key, &bytes(&test["msg"]), &bytes(&test["sig"]));
        assert_eq!(accepted, test["result"] == "valid", "{test}");
    }
    assert_eq!(seen, 252);
}
