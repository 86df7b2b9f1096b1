//! The ways to a first token.

use super::pages;
use attach_tests::{
    Client, Engine, Person, Provider,
    engine::samples,
    gateway::Setup,
    issuer::AUDIENCE,
    person::Ended,
    provider::{Poll, Return, SERVICE},
};
use serde_json::json;
use std::time::Duration;

async fn by_browser(person: &Person) -> Ended {
    let mut running = person.start(&["token", "--browser"]);
    pages::sign_in(&mut running).await;
    running.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_by_device_flow_is_served_and_nothing_else_is_on_standard_output() {
    let provider = Provider::start().await;
    let engine = Engine::start(samples::openai_chat(1, 1)).await;
    let setup = Setup::new().with("OIDC_ISSUER", &provider.url()).with("OIDC_AUD", AUDIENCE);
    let gateway = setup.with_engine(&engine).start().await;
    provider.poll_with(&[Poll::Pending, Poll::Broken, Poll::Pending]);

    let ended = Person::at(&provider).run(&["token"]).await;

    let token = ended.token();
    assert!(ended.stderr.contains("/activate and enter the code ABCD-EFGH"), "{}", ended.stderr);
    assert!(!ended.stderr.contains(&token));
    let body = json!({"model": "tiny", "messages": []});
    let answer = gateway.client().with_bearer(&token).post("/v1/chat/completions", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(provider.asked("device_code"), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_says_slow_down_is_asked_five_seconds_later_each_time() {
    let provider = Provider::start().await;
    provider.poll_with(&[Poll::SlowDown]);

    Person::at(&provider).token(&["--device"]).await;

    let [wait] = provider.waits().try_into().expect("two polls");
    assert!(wait >= Duration::from_secs(6), "the interval of 1 s and 5 s more, not {wait:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_nobody_enters_expires_and_a_sign_in_that_is_denied_says_so() {
    let provider = Provider::start().await;
    for (poll, said) in [
        (Poll::Expired, "expired_token (Too late); the code was not entered in time"),
        (Poll::Denied, "access_denied (The person said no)"),
    ] {
        provider.poll_with(&[poll]);
        let ended = Person::at(&provider).run(&["token", "--device"]).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(78), ""));
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
    }

    // One that would be pending for ever is given up when the code's life ends.
    provider.device_codes_live(1);
    provider.poll_with(&[Poll::Pending; 100]);
    let ended = Person::at(&provider).run(&["token", "--device"]).await;
    assert!(ended.stderr.contains("expired_token"), "{}", ended.stderr);
    assert!(provider.waits().len() < 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_by_browser_is_got_with_pkce_over_loopback() {
    let provider = Provider::start().await;

    let ended = by_browser(&Person::at(&provider)).await;

    ended.token();
    let [form] = provider.forms().try_into().expect("one request");
    // OpenID Connect Core section 11: else a provider need not remember anybody.
    assert_eq!(provider.authorizations()[0]["prompt"], "consent");
    assert!(form["code_verifier"].len() >= 43, "RFC 7636 section 4.1");
    assert!(form["redirect_uri"].starts_with("http://127.0.0.1:"));
    assert_eq!((form["audience"].as_str(), form.get("resource")), (AUDIENCE, None), "it is no address");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_with_another_state_is_not_believed_and_does_not_end_the_sign_in() {
    let provider = Provider::start().await;
    provider.send_back(Return { state: Some("of-somebody-else".to_owned()), ..Return::default() });
    let mut running = Person::at(&provider).start(&["token", "--browser"]);
    let back = pages::sent_back(&running.address().await).await;
    assert_eq!(pages::get(&back).await.status, 400);
    let twice = back.replace("state=", "state=x&state=");
    assert_eq!(pages::get(&twice).await.status, 400);
    assert_eq!(pages::get(&back.replace("/callback", "/favicon.ico")).await.status, 404);
    assert_eq!(provider.asked("authorization_code"), 0);
    drop(running);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_another_issuer_or_of_none_is_not_used() {
    let provider = Provider::start().await;
    for issuer in ["https://evil.example", ""] {
        provider.send_back(Return { issuer: Some(issuer.to_owned()), ..Return::default() });
        let ended = by_browser(&Person::at(&provider)).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(78), ""));
        assert!(ended.stderr.contains("nothing of it was used"), "{}", ended.stderr);
    }
    assert_eq!(provider.asked("authorization_code"), 0);

    // One that never said that it names itself need not.
    provider.say("authorization_response_iss_parameter_supported", json!(false));
    by_browser(&Person::at(&provider)).await.token();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_says_no_at_the_provider_is_told_so() {
    let provider = Provider::start().await;
    provider.send_back(Return { error: Some("access_denied".to_owned()), ..Return::default() });
    let ended = by_browser(&Person::at(&provider)).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(78), ""));
    assert!(ended.stderr.contains("access_denied (No thanks)"), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_return_is_taken_and_then_nobody_listens() {
    let provider = Provider::start().await;
    let mut running = Person::at(&provider).start(&["token", "--browser"]);
    let back = pages::sent_back(&running.address().await).await;
    assert_eq!(pages::get(&back).await.status, 200);
    running.end().await.token();
    let (port, _) = back["http://127.0.0.1:".len()..].split_once('/').expect("a path");
    let again = Client::new(port.parse().expect("a port")).try_send(http::Method::GET, "/callback", "").await;
    assert!(again.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_gets_its_own_token_with_its_secret_from_a_file() {
    let provider = Provider::start().await;
    let service = Person::at(&provider).with("OIDC_CLIENT_ID", SERVICE.0);
    let good = service.file("secret", &format!("{}\n", SERVICE.1));
    let wrong = service.file("wrong", "not-the-secret");

    service.token(&["--client-secret-file", &good]).await;

    assert_eq!(provider.asked("client_credentials"), 1);
    let ended = service.run(&["token", "--fresh", "--client-secret-file", &wrong]).await;
    assert!(ended.stderr.contains("invalid_client; check --client-id"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("not-the-secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_of_another_issuer_is_refused_before_anything_is_asked() {
    let provider = Provider::start().await;
    for (name, value, said) in [
        ("issuer", json!("https://evil.example"), "it describes"),
        ("token_endpoint", json!("gopher://127.0.0.1/"), "no https address"),
    ] {
        let kept = provider.metadata(name);
        provider.say(name, value);
        let ended = Person::at(&provider).run(&["token"]).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(78), ""));
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
        provider.say(name, kept);
    }
    assert!(provider.forms().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_named_all_at_once() {
    let ended = Person::new().run(&["token"]).await;
    assert_eq!(ended.code, Some(78));
    for name in ["--issuer", "OIDC_ISSUER", "--client-id", "OIDC_CLIENT_ID"] {
        assert!(ended.stderr.contains(name), "{}", ended.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_tells_where_to_sign_in() {
    let provider = Provider::start().await;
    let engine = Engine::start(samples::openai_chat(1, 1)).await;
    let setup = Setup::new()
        .with("OIDC_ISSUER", &provider.url())
        .with("OIDC_AUD", AUDIENCE)
        .with("OIDC_CLIENT_ID", attach_tests::provider::CLIENT_ID);
    let gateway = setup.with_engine(&engine).start().await;

    let token = Person::new().token(&["--gateway", &format!("http://127.0.0.1:{}", gateway.port)]).await;

    let answer = gateway.client().with_bearer(&token).get("/v1/models").await;
    assert_ne!(answer.status, 401);
}
