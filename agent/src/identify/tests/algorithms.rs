//! Every algorithm: a good token of it, and its twins that differ in one thing.

use super::{issuer::TestIssuer, mint::TestKey, *};
use attach_proto::bundle::Algorithm;

struct Keys {
    rsa: TestKey,
    p256: TestKey,
    p384: TestKey,
    p521: TestKey,
    ed: TestKey,
}

impl Keys {
    fn of(&self, algorithm: Algorithm) -> &TestKey {
        match algorithm {
            Algorithm::Rs256
            | Algorithm::Rs384
            | Algorithm::Rs512
            | Algorithm::Ps256
            | Algorithm::Ps384
            | Algorithm::Ps512 => &self.rsa,
            Algorithm::Es256 => &self.p256,
            Algorithm::Es384 => &self.p384,
            Algorithm::Es512 => &self.p521,
            Algorithm::EdDsa => &self.ed,
            Algorithm::Es256K => panic!("of DIDs alone"),
        }
    }
}

#[tokio::test]
async fn t1_a_token_of_each_algorithm_passes_and_by_any_other_name_does_not() {
    let keys = Keys {
        rsa: TestKey::rsa("rsa"),
        p256: TestKey::p256("p256"),
        p384: TestKey::p384("p384"),
        p521: TestKey::p521("p521"),
        ed: TestKey::ed25519("ed"),
    };
    let issuer = TestIssuer::start(&[&keys.rsa, &keys.p256, &keys.p384, &keys.p521, &keys.ed]).await;
    let with = |algorithms: Vec<Algorithm>| {
        let mut provider = provider("idp", "acme", &issuer.url, AUDIENCE);
        provider.algorithms = algorithms;
        World::new(vec![provider])
    };
    let world = with(Algorithm::ALL.to_vec());
    world.settled().await;
    let mut cases = 0;
    for algorithm in Algorithm::ALL {
        let key = keys.of(algorithm);
        let named = |name: &str| {
            let mut header = key.header();
            header["alg"] = json!(name);
            key.sign(&header.to_string(), &claims(&issuer.url).to_string(), algorithm.name())
        };
        let name = algorithm.name();
        assert_eq!(world.verdict(&named(name)).await, "ok", "{name}");
        for other in Algorithm::ALL.into_iter().filter(|other| *other != algorithm) {
            let same_key = std::ptr::eq(keys.of(other), key);
            let expected = if same_key { "bad_signature" } else { "key_not_for_algorithm" };
            assert_eq!(world.verdict(&named(other.name())).await, expected, "{name} called {}", other.name());
            cases += 1;
        }
        for spelling in [name.to_lowercase(), format!("{name} "), format!("{name}\0")] {
            // `EdDSA` alone has letters that a change of case changes.
            if spelling != name {
                assert_eq!(world.verdict(&named(&spelling)).await, "algorithm_not_allowed", "{spelling:?}");
                cases += 1;
            }
        }
        let without = with(Algorithm::ALL.into_iter().filter(|other| *other != algorithm).collect());
        without.settled().await;
        assert_eq!(without.verdict(&named(name)).await, "algorithm_not_allowed", "{name} not allowed");
        cases += 1;
    }
    println!("{cases} twins of {} algorithms", Algorithm::ALL.len());
}

#[tokio::test]
async fn t4_no_spelling_of_none_is_an_algorithm_and_no_public_key_is_a_secret() {
    let key = TestKey::rsa("rsa");
    let issuer = TestIssuer::start(&[&key]).await;
    let world = World::of(&issuer).await;
    let sign = |name: &str, signature: &[u8]| {
        let mut header = key.header();
        header["alg"] = json!(name);
        let signed =
            format!("{}.{}", mint::b64(header.to_string()), mint::b64(claims(&issuer.url).to_string()));
        (format!("{signed}.{}", mint::b64(signature)), signed)
    };
    // All sixteen ways to write it in capitals and small letters.
    for mask in 0..16_u8 {
        let name: String = "none"
            .chars()
            .enumerate()
            .map(|(index, c)| if mask & (1 << index) == 0 { c } else { c.to_ascii_uppercase() })
            .collect();
        assert_eq!(world.verdict(&sign(&name, b"x").0).await, "algorithm_not_allowed", "{name}");
        assert_eq!(
            world.verdict(&sign(&name, b"").0).await,
            "algorithm_not_allowed",
            "{name} without signature"
        );
    }
    // HMAC with what everybody knows of the key.
    let jwk = key.jwk();
    let texts = [jwk.to_string(), jwk["n"].as_str().unwrap().to_owned(), format!("{jwk}\n"), String::new()];
    for (hash, algorithm) in [
        ("HS256", aws_lc_rs::hmac::HMAC_SHA256),
        ("HS384", aws_lc_rs::hmac::HMAC_SHA384),
        ("HS512", aws_lc_rs::hmac::HMAC_SHA512),
    ] {
        for text in &texts {
            let (_, signed) = sign(hash, b"x");
            let secret = aws_lc_rs::hmac::Key::new(algorithm, text.as_bytes());
            let tag = aws_lc_rs::hmac::sign(&secret, signed.as_bytes());
            let forged = format!("{signed}.{}", mint::b64(tag.as_ref()));
            assert_eq!(world.verdict(&forged).await, "algorithm_not_allowed", "{hash}");
        }
    }
}
