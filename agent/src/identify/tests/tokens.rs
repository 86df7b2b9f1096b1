//! Tokens as attackers and careless issuers send them: each is refused by the check that is there for it, without
//! a question to the issuer, and its honest twin passes.

use super::{
    issuer::TestIssuer,
    mint::{TestKey, b64},
    *,
};

struct Desk {
    world: World,
    issuer: TestIssuer,
    rsa: TestKey,
    ec: TestKey,
    ed: TestKey,
}

impl Desk {
    async fn open() -> Self {
        let (rsa, ec, ed) = (TestKey::rsa("rsa-1"), TestKey::p256("ec-1"), TestKey::ed25519("ed-1"));
        let issuer = TestIssuer::start(&[&rsa, &ec, &ed]).await;
        let world = World::of(&issuer).await;
        Self { world, issuer, rsa, ec, ed }
    }

    fn claims(&self) -> Value {
        claims(&self.issuer.url)
    }
}

type Edit = fn(&mut Value, &mut Value);

/// What is changed in the header (`h`) and the claims (`c`) of a good token, and the verdict.
const EDITS: &[(&str, Edit, &str)] = &[
    ("nothing", |_, _| {}, "ok"),
    // Type
    ("typ absent", |h, _| remove(h, "typ"), "ok"),
    ("typ jwt", |h, _| h["typ"] = json!("jwt"), "ok"),
    ("typ at+jwt", |h, _| h["typ"] = json!("at+jwt"), "ok"),
    ("typ AT+JWT", |h, _| h["typ"] = json!("AT+JWT"), "ok"),
    ("typ application/at+jwt", |h, _| h["typ"] = json!("application/at+jwt"), "ok"),
    ("typ logout+jwt", |h, _| h["typ"] = json!("logout+jwt"), "type_not_allowed"),
    ("typ dpop+jwt", |h, _| h["typ"] = json!("dpop+jwt"), "type_not_allowed"),
    ("typ id_token+jwt", |h, _| h["typ"] = json!("id_token+jwt"), "type_not_allowed"),
    ("typ secevent+jwt", |h, _| h["typ"] = json!("secevent+jwt"), "type_not_allowed"),
    ("typ empty", |h, _| h["typ"] = json!(""), "type_not_allowed"),
    ("typ number", |h, _| h["typ"] = json!(1), "header_type"),
    ("typ null", |h, _| h["typ"] = json!(null), "header_type"),
    // Algorithm
    ("alg missing", |h, _| remove(h, "alg"), "header_type"),
    ("alg number", |h, _| h["alg"] = json!(256), "header_type"),
    ("alg list", |h, _| h["alg"] = json!(["RS256"]), "header_type"),
    ("alg lower case", |h, _| h["alg"] = json!("rs256"), "algorithm_not_allowed"),
    ("alg with a blank", |h, _| h["alg"] = json!("RS256 "), "algorithm_not_allowed"),
    ("alg HS256", |h, _| h["alg"] = json!("HS256"), "algorithm_not_allowed"),
    ("alg of the issuer, not of the provider", |h, _| h["alg"] = json!("RS512"), "algorithm_not_allowed"),
    ("alg of another kind of key", |h, _| h["alg"] = json!("ES256"), "key_not_for_algorithm"),
    // What would change how the token is read
    ("crit unknown", |h, _| h["crit"] = json!(["x"]), "crit_present"),
    ("crit empty", |h, _| h["crit"] = json!([]), "crit_present"),
    ("crit exp", |h, _| h["crit"] = json!(["exp"]), "crit_present"),
    ("b64 false", |h, _| h["b64"] = json!(false), "unencoded_payload"),
    ("b64 true", |h, _| h["b64"] = json!(true), "unencoded_payload"),
    ("zip", |h, _| h["zip"] = json!("DEF"), "compressed"),
    ("cty", |h, _| h["cty"] = json!("JWT"), "nested_token"),
    ("enc", |h, _| h["enc"] = json!("A256GCM"), "encrypted_token"),
    ("x5t", |h, _| h["x5t"] = json!("dGh1bWI"), "ok"),
    ("unknown member", |h, _| h["ver"] = json!("2"), "ok"),
    // Key
    ("kid of no key", |h, _| h["kid"] = json!("nope"), "unknown_key"),
    ("kid of another key", |h, _| h["kid"] = json!("ed-1"), "key_not_for_algorithm"),
    ("kid absent, one key fits", |h, _| remove(h, "kid"), "ok"),
    ("kid number", |h, _| h["kid"] = json!(7), "header_type"),
    ("kid null", |h, _| h["kid"] = json!(null), "header_type"),
    ("kid as long as may be", |h, _| h["kid"] = json!("k".repeat(1024)), "unknown_key"),
    ("kid too long", |h, _| h["kid"] = json!("k".repeat(1025)), "key_id_too_long"),
    // Issuer
    ("iss missing", |_, c| remove(c, "iss"), "missing_issuer"),
    ("iss number", |_, c| c["iss"] = json!(1), "missing_issuer"),
    ("iss list with ours", |_, c| c["iss"] = json!([c["iss"]]), "missing_issuer"),
    ("iss other", |_, c| c["iss"] = json!("https://evil.test"), "unknown_issuer"),
    (
        "iss with a slash more",
        |_, c| c["iss"] = json!(format!("{}/", c["iss"].as_str().unwrap())),
        "issuer_form",
    ),
    ("iss upper case", |_, c| c["iss"] = json!(c["iss"].as_str().unwrap().to_uppercase()), "unknown_issuer"),
    // Audience
    ("aud list", |_, c| c["aud"] = json!([AUDIENCE]), "ok"),
    ("aud list with others", |_, c| c["aud"] = json!(["account", AUDIENCE]), "ok"),
    ("aud missing", |_, c| remove(c, "aud"), "missing_audience"),
    ("aud null", |_, c| c["aud"] = json!(null), "missing_audience"),
    ("aud empty list", |_, c| c["aud"] = json!([]), "missing_audience"),
    ("aud list with a number", |_, c| c["aud"] = json!([AUDIENCE, 1]), "missing_audience"),
    ("aud object", |_, c| c["aud"] = json!({ AUDIENCE: true }), "missing_audience"),
    ("aud empty", |_, c| c["aud"] = json!(""), "wrong_audience"),
    ("aud other", |_, c| c["aud"] = json!("account"), "wrong_audience"),
    ("aud longer", |_, c| c["aud"] = json!(format!("{AUDIENCE}/x")), "wrong_audience"),
    ("aud upper case", |_, c| c["aud"] = json!(AUDIENCE.to_uppercase()), "wrong_audience"),
    // Times
    ("exp missing", |_, c| remove(c, "exp"), "missing_expiry"),
    ("exp past, within skew", |_, c| c["exp"] = json!(NOW - 59), "ok"),
    ("exp past, at the skew", |_, c| c["exp"] = json!(NOW - 60), "expired"),
    ("exp long past", |_, c| c["exp"] = json!(NOW - 3600), "expired"),
    ("exp zero", |_, c| c["exp"] = json!(0), "expired"),
    ("exp with a fraction", |_, c| c["exp"] = json!(NOW as f64 + 0.5), "ok"),
    ("exp text", |_, c| c["exp"] = json!("9999999999"), "bad_time"),
    ("exp null", |_, c| c["exp"] = json!(null), "bad_time"),
    ("exp true", |_, c| c["exp"] = json!(true), "bad_time"),
    ("exp list", |_, c| c["exp"] = json!([NOW + 300]), "bad_time"),
    ("exp negative", |_, c| c["exp"] = json!(-1), "bad_time"),
    ("exp 2^63", |_, c| c["exp"] = json!(1_u64 << 63), "bad_time"),
    ("exp 2^64-1", |_, c| c["exp"] = json!(u64::MAX), "bad_time"),
    ("exp 1e300", |_, c| c["exp"] = json!(1e300), "bad_time"),
    ("exp in milliseconds", |_, c| c["exp"] = json!((NOW + 300) * 1000), "bad_time"),
    ("exp end of 9999", |_, c| c["exp"] = json!(253_402_300_799_i64), "ok"),
    ("nbf absent", |_, c| remove(c, "nbf"), "ok"),
    ("nbf future, within skew", |_, c| c["nbf"] = json!(NOW + 60), "ok"),
    ("nbf future", |_, c| c["nbf"] = json!(NOW + 61), "not_yet_valid"),
    ("nbf text", |_, c| c["nbf"] = json!("0"), "bad_time"),
    ("iat absent", |_, c| remove(c, "iat"), "ok"),
    ("iat future, within skew", |_, c| c["iat"] = json!(NOW + 60), "ok"),
    ("iat future", |_, c| c["iat"] = json!(NOW + 61), "issued_in_future"),
    ("iat object", |_, c| c["iat"] = json!({}), "bad_time"),
    // Use
    ("cnf", |_, c| c["cnf"] = json!({"jkt": "x"}), "confirmation_unproven"),
    ("cnf null", |_, c| c["cnf"] = json!(null), "confirmation_unproven"),
    ("claim typ Bearer", |_, c| c["typ"] = json!("Bearer"), "ok"),
    ("claim typ ID", |_, c| c["typ"] = json!("ID"), "not_access_token"),
    ("claim typ Refresh", |_, c| c["typ"] = json!("Refresh"), "not_access_token"),
    ("claim typ Offline", |_, c| c["typ"] = json!("Offline"), "not_access_token"),
    ("claim typ DPoP", |_, c| c["typ"] = json!("DPoP"), "confirmation_unproven"),
    ("claim typ in another case", |_, c| c["typ"] = json!("rEFRESH"), "not_access_token"),
    ("claim typ Logout", |_, c| c["typ"] = json!("Logout"), "not_access_token"),
    (
        "logout event",
        |_, c| c["events"] = json!({"http://schemas.openid.net/event/backchannel-logout": {}}),
        "not_access_token",
    ),
    ("another event", |_, c| c["events"] = json!({"x": {}}), "ok"),
    // User
    ("sub missing", |_, c| remove(c, "sub"), "user_claim"),
    ("sub number", |_, c| c["sub"] = json!(7), "user_claim"),
    ("sub list", |_, c| c["sub"] = json!(["alice"]), "user_claim"),
    ("sub empty", |_, c| c["sub"] = json!(""), "user_claim"),
    ("sub of 256 bytes", |_, c| c["sub"] = json!("s".repeat(256)), "ok"),
    ("sub of 257 bytes", |_, c| c["sub"] = json!("s".repeat(257)), "user_claim"),
    ("sub with a line break", |_, c| c["sub"] = json!("a\r\nX-Attach-User: root"), "user_claim"),
    ("sub with NUL", |_, c| c["sub"] = json!("a\0b"), "user_claim"),
    ("sub in another script", |_, c| c["sub"] = json!("Алиса-爱丽丝"), "ok"),
];

fn remove(object: &mut Value, name: &str) {
    object.as_object_mut().unwrap().remove(name);
}

#[tokio::test]
async fn t1_each_edit_of_a_good_token_gets_exactly_its_verdict() {
    let desk = Desk::open().await;
    for (name, edit, expected) in EDITS {
        let (mut header, mut claims) = (desk.rsa.header(), desk.claims());
        edit(&mut header, &mut claims);
        let token = desk.rsa.sign(&header.to_string(), &claims.to_string(), "RS256");
        assert_eq!(desk.world.verdict(&token).await, *expected, "{name}");
    }
}

#[tokio::test]
async fn t1_a_token_of_each_kind_of_key_passes_and_with_another_signature_does_not() {
    let desk = Desk::open().await;
    for key in [&desk.rsa, &desk.ec, &desk.ed] {
        let good = key.token(&desk.claims());
        assert_eq!(desk.world.verdict(&good).await, "ok", "{}", key.id);
        for forged in [tampered(&good, 1), tampered(&good, 2)] {
            assert_ne!(desk.world.verdict(&forged).await, "ok", "{}", key.id);
        }
        let (signed, _) = good.rsplit_once('.').unwrap();
        for signature in [vec![0; 64], vec![0; 256], vec![1]] {
            let forged = format!("{signed}.{}", b64(signature));
            assert_eq!(desk.world.verdict(&forged).await, "bad_signature", "{}", key.id);
        }
    }
    let stranger = TestKey::other_rsa("rsa-1");
    assert_eq!(desk.world.verdict(&stranger.token(&desk.claims())).await, "bad_signature");
}

/// With one bit of the part's middle changed.
fn tampered(token: &str, part: usize) -> String {
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let middle = parts[part].len() / 2;
    let other = if parts[part].as_bytes()[middle] == b'A' { "B" } else { "A" };
    parts[part].replace_range(middle..=middle, other);
    parts.join(".")
}

/// A good token, its signature written in the alphabet of plain base64: the same bytes.
async fn other_alphabet(desk: &Desk) -> String {
    for number in 0.. {
        let mut claims = desk.claims();
        claims["sub"] = json!(format!("user-{number}"));
        let good = desk.rsa.token(&claims);
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let (first, last) = signature.split_at(signature.len() - 1);
        if first.contains(['-', '_']) {
            assert_eq!(desk.world.verdict(&good).await, "ok");
            return format!("{signed}.{}{last}", first.replace('-', "+").replace('_', "/"));
        }
    }
    unreachable!("one in 64 characters is a dash")
}

#[tokio::test]
async fn t1_a_token_that_names_no_key_where_two_could_have_signed_it_is_refused_without_a_question() {
    let (one, two) = (TestKey::p256("one"), TestKey::p256("two"));
    let issuer = TestIssuer::start(&[&one, &two]).await;
    let world = World::of(&issuer).await;
    let asked = issuer.requests();
    let mut header = one.header();
    remove(&mut header, "kid");
    let token = one.sign(&header.to_string(), &claims(&issuer.url).to_string(), "ES256");
    assert_eq!(world.verdict(&token).await, "ambiguous_key");
    assert_eq!(issuer.requests(), asked);
}

#[tokio::test]
async fn t1_a_token_is_only_its_one_spelling() {
    let desk = Desk::open().await;
    let good = desk.rsa.token(&desk.claims());
    let parts: Vec<&str> = good.split('.').collect();
    let (h, p, s) = (parts[0], parts[1], parts[2]);
    // 256 bytes leave four bits of the last character over.
    let stray = format!("{}{}", &s[..s.len() - 1], char::from(s.as_bytes()[s.len() - 1] + 1));
    let cases = [
        ("as it is", good.clone(), "ok"),
        ("stray bits in the signature", format!("{h}.{p}.{stray}"), "malformed_token"),
        ("padding", format!("{h}.{p}.{s}=="), "malformed_token"),
        ("padded header", format!("{h}=.{p}.{s}"), "malformed_token"),
        ("other alphabet", other_alphabet(&desk).await, "malformed_token"),
        ("character between", format!("{h}.{p}.{}~{}", &s[..9], &s[9..]), "malformed_token"),
        ("empty header", format!(".{p}.{s}"), "malformed_token"),
        ("empty payload", format!("{h}..{s}"), "malformed_token"),
        ("empty signature", format!("{h}.{p}."), "malformed_token"),
        ("four parts", format!("{good}.eHh4"), "malformed_token"),
        ("six parts", format!("{good}.x.y.z"), "malformed_token"),
        ("dots", "..".to_owned(), "malformed_token"),
        ("two parts", format!("{h}.{p}"), "unknown_api_key"),
        ("a line break", format!("{h}.{p}.\u{9}{s}"), "two_credentials"),
    ];
    for (name, token, expected) in cases {
        assert_eq!(desk.world.verdict(&token).await, expected, "{name}");
    }
}

#[tokio::test]
async fn t1_a_token_whose_json_can_be_read_in_two_ways_is_refused() {
    let desk = Desk::open().await;
    let (header, claims) = (desk.rsa.header().to_string(), desk.claims().to_string());
    let with = |json: &str, more: &str| format!("{{{more},{}", &json[1..]);
    let nested = format!("{}1{}", "[".repeat(4000), "]".repeat(4000));
    let cases = [
        (header.clone(), claims.clone(), "ok"),
        (with(&header, r#""alg":"none""#), claims.clone(), "header_duplicate"),
        (with(&header, r#""\u0061lg":"none""#), claims.clone(), "header_duplicate"),
        (with(&header, r#""x":1,"x":2"#), claims.clone(), "header_duplicate"),
        (format!("[{header}]"), claims.clone(), "header_not_json"),
        (format!("{header}{header}"), claims.clone(), "header_not_json"),
        (format!("\u{feff}{header}"), claims.clone(), "header_not_json"),
        ("{}".to_owned(), claims.clone(), "header_type"),
        (with(&header, &format!(r#""x":{nested}"#)), claims.clone(), "header_not_json"),
        (header.clone(), with(&claims, r#""sub":"root""#), "claim_duplicate"),
        (header.clone(), with(&claims, r#""exp":9999999999"#), "claim_duplicate"),
        (header.clone(), with(&claims, r#""r":{"a":1,"a":2}"#), "claim_duplicate"),
        (header.clone(), format!("[{claims}]"), "claims_not_json"),
        (header.clone(), "null".to_owned(), "claims_not_json"),
        (header.clone(), with(&claims, &format!(r#""x":{nested}"#)), "claims_not_json"),
        (header.replace(r#":""#, r#" : ""#), claims.clone(), "ok"),
    ];
    for (header, claims, expected) in cases {
        let token = desk.rsa.sign(&header, &claims, "RS256");
        assert_eq!(desk.world.verdict(&token).await, expected, "{header:.80} {claims:.80}");
    }
    let mut bytes = claims.into_bytes();
    bytes[12] = 0xff;
    let token = format!("{}.{}.{}", b64(header), b64(bytes), b64([1]));
    assert_eq!(desk.world.verdict(&token).await, "claims_not_json");
}

#[tokio::test]
async fn t1_a_token_of_sixteen_kibibytes_is_read_and_a_longer_one_is_not() {
    let desk = Desk::open().await;
    let sized = |filler: usize| {
        let mut claims = desk.claims();
        claims["filler"] = json!("x".repeat(filler));
        desk.rsa.token(&claims)
    };
    let base = sized(0).len();
    let fitting = sized((16 * 1024 - base) * 3 / 4 - 3);
    assert!((16 * 1024 - 8..=16 * 1024).contains(&fitting.len()));
    assert_eq!(desk.world.verdict(&fitting).await, "ok");
    let longer = sized((16 * 1024 - base) * 3 / 4 + 8);
    assert_eq!(desk.world.verdict(&longer).await, "credential_too_large");
}

#[tokio::test]
async fn t4_a_token_without_a_signature_of_a_private_key_is_refused_however_it_says_so() {
    let desk = Desk::open().await;
    let claims = b64(desk.claims().to_string());
    for spelling in 0..16_u8 {
        let none: String = "none"
            .char_indices()
            .map(|(i, c)| if spelling >> i & 1 == 1 { c.to_ascii_uppercase() } else { c })
            .collect();
        let header = b64(json!({"alg": none, "kid": "rsa-1"}).to_string());
        for token in [format!("{header}.{claims}.AA"), format!("{header}.{claims}.")] {
            let verdict = desk.world.verdict(&token).await;
            assert!(["algorithm_not_allowed", "malformed_token"].contains(&verdict), "{none}: {verdict}");
        }
    }
}

#[tokio::test]
async fn t4_a_token_keyed_with_a_public_key_as_a_secret_is_refused_in_each_encoding_of_it() {
    use aws_lc_rs::hmac;
    let desk = Desk::open().await;
    let jwk = desk.rsa.jwk();
    let modulus = jwk["n"].as_str().unwrap();
    let secrets: [Vec<u8>; 6] = [
        jwk.to_string().into_bytes(),
        modulus.as_bytes().to_vec(),
        base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, modulus).unwrap(),
        serde_json::to_vec_pretty(&jwk).unwrap(),
        format!("-----BEGIN PUBLIC KEY-----\n{modulus}\n-----END PUBLIC KEY-----\n").into_bytes(),
        Vec::new(),
    ];
    for secret in secrets {
        for (name, kind) in
            [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)]
        {
            for kid in ["rsa-1", "ec-1"] {
                let header = json!({"alg": name, "typ": "JWT", "kid": kid}).to_string();
                let signed = format!("{}.{}", b64(header), b64(desk.claims().to_string()));
                let tag = hmac::sign(&hmac::Key::new(kind, &secret), signed.as_bytes());
                let token = format!("{signed}.{}", b64(tag));
                assert_eq!(desk.world.verdict(&token).await, "algorithm_not_allowed", "{name} {kid}");
            }
        }
    }
}

#[tokio::test]
async fn t5_a_hostile_key_id_is_data_and_shows_as_one_short_line() {
    let desk = Desk::open().await;
    let long = "k".repeat(10_000);
    for kid in ["../../../../etc/passwd", "' OR 1=1 --", "a\0b", "a\r\nb", "", &long] {
        let header = json!({"alg": "RS256", "kid": kid});
        let token = desk.rsa.sign(&header.to_string(), &desk.claims().to_string(), "RS256");
        let fault = desk.world.bearer(&token).await.unwrap_err();
        assert!(["unknown_key", "key_id_too_long"].contains(&fault.code()), "{kid:.40}: {fault}");
        let shown = fault.to_string();
        assert!(!shown.contains(char::is_control) && shown.len() < 400, "{shown:?}");
        assert!(!shown.contains(&token[..40]));
    }
}

#[tokio::test]
async fn t5_a_token_that_brings_its_own_key_is_refused_and_nobody_is_asked_for_it() {
    let desk = Desk::open().await;
    let canary = TestIssuer::start(&[]).await;
    let stranger = TestKey::other_rsa("own");
    for (name, value) in [
        ("jku", json!(format!("{}/keys", canary.url))),
        ("x5u", json!(format!("{}/cert", canary.url))),
        ("jwk", stranger.jwk()),
        ("x5c", json!(["MIIB"])),
        ("jwk", json!(null)),
    ] {
        for (key, kid) in [(&stranger, "own"), (&desk.rsa, "rsa-1")] {
            let mut header = json!({"alg": "RS256", "kid": kid});
            header[name] = value.clone();
            let token = key.sign(&header.to_string(), &desk.claims().to_string(), "RS256");
            assert_eq!(desk.world.verdict(&token).await, "embedded_key", "{name} {kid}");
        }
    }
    assert_eq!(canary.requests(), 0);
}

#[tokio::test]
async fn t7_a_token_that_shows_its_own_fault_costs_no_question_to_the_issuer() {
    let desk = Desk::open().await;
    let before = desk.issuer.requests();
    // Each names a key that is not known, for which a good token would ask.
    for (name, edit, expected) in EDITS {
        if ["ok", "unknown_key", "key_not_for_algorithm"].contains(expected) {
            continue;
        }
        let (mut header, mut claims) = (desk.rsa.header(), desk.claims());
        header["kid"] = json!(format!("unknown-{name}"));
        edit(&mut header, &mut claims);
        let token = desk.rsa.sign(&header.to_string(), &claims.to_string(), "RS256");
        let fault = desk.world.unexplained(&token).await.unwrap_err();
        assert_eq!(fault.code(), *expected, "{name}");
        assert_eq!(desk.issuer.requests(), before, "{name}");
    }
    for garbage in ["..", "a.b.c", "e30.e30.e30", "x", &b64("{}").repeat(3)] {
        assert_ne!(desk.world.verdict(garbage).await, "ok");
    }
    assert_eq!(desk.issuer.requests(), before);
    let (mut header, claims) = (desk.rsa.header(), desk.claims());
    header["kid"] = json!("unknown");
    let token = desk.rsa.sign(&header.to_string(), &claims.to_string(), "RS256");
    assert_eq!(desk.world.verdict(&token).await, "unknown_key");
    assert_eq!(desk.issuer.requests(), before + 1, "the twin does ask");
}

#[tokio::test]
async fn t9_a_token_that_begins_like_a_verified_one_is_verified_itself() {
    let desk = Desk::open().await;
    let good = desk.rsa.token(&desk.claims());
    for _ in 0..2 {
        assert_eq!(desk.world.verdict(&good).await, "ok");
    }
    for kept in [20, 100, good.len() - 20] {
        let mut forged = good[..kept].to_owned();
        let other = desk.rsa.token(&json!({"sub": "root"}));
        forged.push_str(&other[kept.min(other.len())..]);
        assert_ne!(desk.world.verdict(&forged).await, "ok", "{kept}");
    }
    assert_eq!(desk.world.verdict(&tampered(&good, 2)).await, "bad_signature");
    assert_eq!(desk.world.verdict(&good).await, "ok");
}

#[tokio::test]
async fn t14_a_clock_that_is_off_by_less_than_the_skew_changes_no_verdict() {
    let desk = Desk::open().await;
    let token = desk.rsa.token(&desk.claims());
    for (offset, expected) in [(0, "ok"), (359, "ok"), (360, "expired"), (-70, "ok"), (-71, "not_yet_valid")]
    {
        desk.world.clock.store((NOW + offset) * 1000, Ordering::Relaxed);
        let world = &desk.world;
        let used = Arc::new(UsedProofs::new(world.now()));
        let fresh =
            Identifier::new(Arc::clone(&world.issuers), used, Clock::Manual(Arc::clone(&world.clock)));
        let mut headers = HeaderMap::new();
        headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
        let verdict = fresh.identify(&head(headers.clone()), &world.snapshot).await;
        assert_eq!(verdict.map_or_else(|fault| fault.code(), |_| "ok"), expected, "{offset} s");
    }
}

#[tokio::test]
async fn a_cached_verdict_ends_with_its_token() {
    let desk = Desk::open().await;
    let token = desk.rsa.token(&desk.claims());
    assert_eq!(desk.world.verdict(&token).await, "ok");
    desk.world.advance(Duration::from_secs(359));
    assert_eq!(desk.world.verdict(&token).await, "ok");
    desk.world.advance(Duration::from_secs(1));
    assert_eq!(desk.world.verdict(&token).await, "expired");
}

#[tokio::test]
async fn t16_tokens_in_other_forms_are_refused_before_any_key_is_used() {
    let desk = Desk::open().await;
    let good = desk.rsa.token(&desk.claims());
    let parts: Vec<&str> = good.split('.').collect();
    let jwe = format!("{}.{}.{}.{}.{}", b64(r#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#), "a", "b", "c", "d");
    assert_eq!(desk.world.verdict(&jwe).await, "encrypted_token");
    // Five parts alone tell it, whatever the header says.
    let [header, payload, signature] = parts[..] else { panic!("three parts") };
    assert_eq!(desk.world.verdict(&format!("{header}.{payload}.YQ.YQ.{signature}")).await, "encrypted_token");
    let four = format!("{header}.{payload}.YQ");
    let four = format!("{four}.{}", b64(desk.rsa.signature(four.as_bytes(), "RS256")));
    assert_eq!(
        desk.world.verdict(&four).await,
        "malformed_token",
        "although the signature is over all of it"
    );
    for no_token in ["a", "a.b", &good.replace('.', "-")] {
        assert_eq!(desk.world.verdict(no_token).await, "unknown_api_key", "{no_token:.20}");
    }
    let mut headers = HeaderMap::new();
    let not_text = HeaderValue::from_bytes(b"Bearer a.b.\xff").unwrap();
    headers.insert("authorization", not_text);
    let verdict = desk.world.identifier.identify(&head(headers.clone()), &desk.world.snapshot).await;
    assert_eq!(verdict.unwrap_err().code(), "unknown_api_key");
    let detached = format!("{}..{}", parts[0], parts[2]);
    assert_eq!(desk.world.verdict(&detached).await, "malformed_token");
    let flattened = json!({"protected": parts[0], "payload": parts[1], "signature": parts[2]}).to_string();
    assert_ne!(desk.world.verdict(&flattened).await, "ok");
    let nested =
        desk.rsa.sign(&json!({"alg": "RS256", "kid": "rsa-1", "cty": "JWT"}).to_string(), &good, "RS256");
    assert_eq!(desk.world.verdict(&nested).await, "nested_token");
}

#[tokio::test]
async fn every_token_that_passes_also_passes_a_second_verifier() {
    let desk = Desk::open().await;
    for key in [&desk.rsa, &desk.ec, &desk.ed] {
        let token = key.token(&desk.claims());
        assert_eq!(desk.world.verdict(&token).await, "ok");
        let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(key.jwk()).unwrap();
        let decoding = jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap();
        let algorithm = key.algorithm().parse().unwrap();
        let mut rules = jsonwebtoken::Validation::new(algorithm);
        rules.set_audience(&[AUDIENCE]);
        rules.validate_exp = false;
        let second = jsonwebtoken::decode::<Value>(&token, &decoding, &rules).unwrap();
        assert_eq!(second.claims["sub"], "alice");
    }
}
