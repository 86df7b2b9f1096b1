//! That an explanation says what a request is told, and nothing that is secret. Each verdict of the other tests goes through
//! [`assert_agrees`] as well.

use super::{
    did_tokens::{Person, policy, world as dids},
    mint::TestKey,
    *,
};
use crate::identify::{
    Outcome,
    check::Check,
    credential::{Credential, Scheme},
    explain::Account,
    prove::{Evidence, prove},
    sha256,
    witness::Kind,
};
use attach_proto::{
    bundle::Proof,
    did::{DidPolicy, KeyKind},
    key_text,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use std::borrow::Cow;

pub(super) fn assert_agrees(
    explained: &Explained,
    verdict: Result<&Principal, &IdentityFault>,
    credential: &str,
) {
    let failed: Vec<_> = explained.rows.iter().filter(|row| row.outcome == Outcome::Failed).collect();
    match verdict {
        Ok(caller) => {
            assert!(failed.is_empty(), "{explained:#?}");
            assert_eq!(explained.caller.as_ref(), Some(caller));
        }
        // Asked of each request, and not of its credential.
        Err(fault) if fault.checks() == [Check::Possession] => {}
        Err(fault) => {
            assert!(explained.caller.is_none(), "{explained:#?}");
            let [row] = failed[..] else { panic!("one check fails it: {explained:#?}") };
            let explained = row.fault.as_ref().expect("what failed has a reason");
            assert_eq!(explained.code(), fault.code());
            assert!(fault.checks().contains(&row.check), "{row:?}");
        }
    }
    let first = explained.rows.iter().position(|row| row.outcome == Outcome::Failed);
    let after = explained.rows.iter().position(|row| row.outcome == Outcome::AlsoFails);
    assert!(after.is_none() || first < after, "{explained:#?}");
    for row in &explained.rows {
        assert_eq!(
            row.fault.is_some(),
            matches!(row.outcome, Outcome::Failed | Outcome::AlsoFails),
            "what fails has a reason, and nothing else: {row:?}"
        );
        let said =
            format!("{} {}", row.fault.as_ref().map(ToString::to_string).unwrap_or_default(), row.note);
        let secrets = credential.rsplit('.').take(2).filter(|part| part.len() > 20 && !part.contains(':'));
        secrets.for_each(|secret| assert!(!said.contains(secret), "{row:?}"));
    }
}

fn outcomes(explained: &Explained, wanted: Outcome) -> Vec<&'static str> {
    explained.rows.iter().filter(|row| row.outcome == wanted).map(|row| row.check.name()).collect()
}

/// The checks of an accepted credential, in the order in which the code made them.
async fn made(world: &World, credential: &str) -> (Kind, Vec<Check>) {
    let Identifier { issuers, used, clock, .. } = &world.identifier;
    let evidence = Evidence { snapshot: &world.snapshot, issuers, used, clock };
    let bytes = Cow::Borrowed(credential.as_bytes());
    let hash = sha256(&bytes);
    let mut account = Account::default();
    prove(&Credential { bytes, scheme: Scheme::Bearer }, &hash, evidence, &mut account)
        .await
        .unwrap_or_else(|fault| panic!("{fault}"));
    (world.explain(credential).await.kind.unwrap(), account.rows.iter().map(|row| row.check).collect())
}

#[tokio::test]
async fn the_order_that_is_shown_is_the_order_in_which_checks_are_made() {
    let key = TestKey::p256("k");
    let issuer = TestIssuer::start(&[&key]).await;
    let tokens = World::of(&issuer).await;
    let alice = Person::new(KeyKind::Ed25519);
    let dids = dids(DidPolicy { one_time: true, ..policy(&[&alice.did]) }, None);
    for (kind, (found, made)) in [
        (Kind::Token, made(&tokens, &key.token(&claims(&issuer.url))).await),
        (Kind::ApiKey, made(&tokens, "sk-good").await),
        (Kind::DidToken, made(&dids, &alice.token()).await),
    ] {
        assert_eq!(found, kind);
        // What is read before, and what each request is asked, is not of `prove`.
        let aside = [Check::Credential, Check::Possession, Check::NamedUser];
        let shown: Vec<_> = kind.checks().iter().copied().filter(|check| !aside.contains(check)).collect();
        assert_eq!(made, shown);
    }
}

#[tokio::test]
async fn what_fails_beyond_the_first_is_told_as_what_would_fail_too() {
    let key = TestKey::p256("k");
    let issuer = TestIssuer::start(&[&key]).await;
    let world = World::of(&issuer).await;
    let mut claims = claims(&issuer.url);
    claims["aud"] = json!("another");
    claims["exp"] = json!(NOW - 3600);
    claims["token_use"] = json!("id");
    let explained = world.explain(&key.token(&claims)).await;
    assert_eq!(outcomes(&explained, Outcome::Failed), ["audience"]);
    assert_eq!(outcomes(&explained, Outcome::AlsoFails), ["times", "kind"]);
    assert!(explained.is_verified() && explained.caller.is_none());
    let audience = explained.rows.iter().find(|row| row.check == Check::Audience).unwrap();
    assert!(audience.note.contains("goes by idp of tenant acme"), "{audience:?}");

    // Nothing that depends on the signature is looked at when it is another's.
    let other = TestKey::p256("k");
    let explained = world.explain(&other.token(&claims)).await;
    assert_eq!(outcomes(&explained, Outcome::AlsoFails), ["times", "kind", "signature"]);
    assert_eq!(outcomes(&explained, Outcome::NotReached), ["organisation", "scopes", "possession"]);
    assert!(!explained.is_verified());
}

#[tokio::test]
async fn of_an_issuer_with_several_providers_no_rule_is_held_against_a_token_that_is_for_none_of_them() {
    let key = TestKey::p256("k");
    let issuer = TestIssuer::start(&[&key]).await;
    let providers = vec![
        provider("a", "acme", &issuer.url, "for-acme"),
        provider("b", "globex", &issuer.url, "for-globex"),
    ];
    let world = World::new(providers);
    world.settled().await;
    let mut claims = claims(&issuer.url);
    claims["exp"] = json!(NOW - 3600);
    let explained = world.explain(&key.token(&claims)).await;
    assert_eq!(outcomes(&explained, Outcome::Failed), ["audience"]);
    assert_eq!(outcomes(&explained, Outcome::AlsoFails), [""; 0]);
}

#[tokio::test]
async fn a_tenant_s_view_has_nothing_of_another_tenant() {
    let key = TestKey::p256("k");
    let issuer = TestIssuer::start(&[&key]).await;
    let providers = vec![provider("b", "globex", &issuer.url, AUDIENCE)];
    let keys = vec![api_key("k1", "acme", "sk-acme"), api_key("k2", "globex", "sk-globex")];
    let mut world = World::with(bundle(1, providers, keys), quick());
    world.settled().await;
    let whole = world.snapshot;
    assert!(whole.seen_by(&"nobody".parse().unwrap()).is_none());
    world.snapshot = whole.seen_by(&"acme".parse().unwrap()).unwrap();
    let token = key.token(&claims(&issuer.url));
    assert_eq!(world.verdict(&token).await, "unknown_issuer");
    assert_eq!(world.verdict("sk-globex").await, "unknown_api_key");
    assert_eq!(world.verdict("sk-acme").await, "ok");
    world.snapshot = whole.seen_by(&"globex".parse().unwrap()).unwrap();
    let explained = world.explain(&token).await;
    assert_eq!(explained.caller.map(|caller| caller.tenant.to_string()).as_deref(), Some("globex"));
}

#[tokio::test]
async fn to_explain_a_proof_does_not_use_it_up() {
    let alice = Person::new(KeyKind::Ed25519);
    let world = dids(DidPolicy { one_time: true, ..policy(&[&alice.did]) }, None);
    let token = alice.token();
    for _ in 0..3 {
        assert!(world.explain(&token).await.caller.is_some());
    }
    // `verdict` explains as well.
    assert_eq!((world.verdict(&token).await, world.verdict(&token).await), ("ok", "replayed"));
    assert_eq!(outcomes(&world.explain(&token).await, Outcome::Failed), ["one_time"]);
}

#[tokio::test]
async fn a_credential_is_taken_as_people_paste_it() {
    let key = TestKey::p256("k");
    let issuer = TestIssuer::start(&[&key]).await;
    let world = World::of(&issuer).await;
    let token = key.token(&claims(&issuer.url));
    let (half, rest) = token.split_at(60);
    for pasted in [
        format!("  {token}\n"),
        format!("Bearer {token}"),
        format!("authorization: bearer {token}\r\n"),
        format!("Authorization:Bearer\t{half}\n  {rest}\n"),
        "Basic dXNlcjpzay1nb29k".to_owned(),
    ] {
        let explained = world.explain(&pasted).await;
        assert!(explained.caller.is_some(), "{pasted}: {explained:#?}");
    }
    for (pasted, code) in [
        ("", "no_credential"),
        ("Bearer ", "no_credential"),
        ("Basic !", "malformed_basic"),
        ("a,b", "two_credentials"),
        ("\u{0}", "two_credentials"),
        ("é", "unknown_api_key"),
        (&format!("Basic {}", mint::b64(format!("u:{token}"))), "malformed_basic"),
        (&"x".repeat(20_000), "credential_too_large"),
        (&format!("DPoP {token}"), "not_bound"),
    ] {
        let explained = world.explain(pasted).await;
        let fault = explained.rows.iter().find_map(|row| row.fault.as_ref());
        assert_eq!(fault.map(IdentityFault::code), Some(code), "{pasted}");
        assert!(explained.caller.is_none());
    }
}

#[tokio::test]
async fn what_no_rule_demands_and_what_each_request_must_show_are_told_apart() {
    let key = TestKey::p256("k");
    let issuer = TestIssuer::start(&[&key]).await;
    let mut bound = provider("idp", "acme", &issuer.url, AUDIENCE);
    bound.proofs = vec![Proof::Dpop, Proof::Certificate];
    bound.clients = vec!["web".to_owned()];
    let world = World::new(vec![bound]);
    world.settled().await;
    let mut claims = claims(&issuer.url);
    claims["azp"] = json!("web");
    claims["cnf"] = json!({"jkt": "x"});
    let explained = world.explain(&key.token(&claims)).await;
    assert!(explained.caller.is_some());
    assert_eq!(
        outcomes(&explained, Outcome::NotApplicable),
        ["organisation", "required_claims", "scopes"],
        "{explained:#?}"
    );
    assert_eq!(outcomes(&explained, Outcome::NotReached), ["possession"]);
    let possession = explained.rows.iter().find(|row| row.check == Check::Possession).unwrap();
    assert!(possession.note.contains("a DPoP proof"), "{possession:?}");
    assert!(world.explain(&format!("DPoP {}", key.token(&claims))).await.caller.is_some());

    claims["cnf"] = json!({"x5t#S256": URL_SAFE_NO_PAD.encode([7; 32])});
    let token = key.token(&claims);
    assert!(world.explain(&token).await.caller.is_some());
    let explained = world.explain(&format!("DPoP {token}")).await;
    assert_eq!(outcomes(&explained, Outcome::Failed), ["possession"], "it is bound to no key");
}

#[tokio::test]
async fn a_key_that_nobody_made_is_explained_as_a_key() {
    let world = World::new(Vec::new());
    let explained = world.explain(&key_text::write(&"0".repeat(16), &"s".repeat(43))).await;
    assert_eq!(explained.kind, Some(Kind::ApiKey));
    assert_eq!(outcomes(&explained, Outcome::Failed), ["key_known"]);
}
