//! Who gets in, for how long, and whose forms are taken.

use super::*;
use crate::domain::sign_in::{LINK_LIFETIME, SESSION_LIFETIME};
use axum::http::Method;
use std::time::Duration;

#[tokio::test]
async fn a_link_signs_in_once_and_looking_at_it_does_not_use_it_up() {
    let Some(served) = Served::start().await else { return };
    let link = link(&served).await;
    for _ in 0..3 {
        let page = served.anybody().get(&format!("/sign-in/{link}")).await;
        assert!(page.text().contains(&link) && page.header("set-cookie").is_none());
    }
    let first = post(served.anybody(), "/sign-in", &[("link", &link)]).await;
    assert_eq!(first.status, 303);
    let second = post(served.anybody(), "/sign-in", &[("link", &link)]).await;
    assert_eq!(second.status, 403);
    assert!(second.text().contains("it was used") && second.header("set-cookie").is_none());
    let everything = served.world.test.dump();
    assert!(!everything.contains(&link), "links are kept as their hashes alone");
}

#[tokio::test]
async fn a_link_is_good_for_ten_minutes_and_a_made_up_one_never() {
    let Some(served) = Served::start().await else { return };
    let link = link(&served).await;
    served.let_pass(LINK_LIFETIME);
    for bad in [link.as_str(), "made-up", ""] {
        assert_eq!(post(served.anybody(), "/sign-in", &[("link", bad)]).await.status, 403, "{bad}");
    }
    assert_eq!(post(served.anybody(), "/sign-in", &[]).await.status, 403);
}

#[tokio::test]
async fn a_session_ends_after_its_time_and_at_once_by_signing_out() {
    let Some(served) = Served::start().await else { return };
    let one = Browser::signed_in(&served).await;
    let other = Browser::signed_in(&served).await;
    let answer = one.send("/sign-out", &[]).await;
    assert!(answer.header("set-cookie").unwrap().contains("Max-Age=0"));
    let after = one.client().get("/").await;
    assert_eq!((after.status.as_u16(), after.header("location")), (303, Some("/sign-in")));
    other.page("/").await;
    served.let_pass(SESSION_LIFETIME - Duration::from_secs(1));
    other.page("/").await;
    served.let_pass(Duration::from_secs(1));
    assert_eq!(other.client().get("/").await.header("location"), Some("/sign-in"));
    let late = post(other.client(), "/pools", &[("id", "late"), ("name", "late")]).await;
    assert_eq!(late.header("location"), Some("/sign-in"));
}

#[tokio::test]
async fn who_is_not_signed_in_sees_no_page_and_changes_nothing() {
    let Some(served) = Served::start().await else { return };
    let before = served.world.test.dump();
    let pages =
        include_str!("../mod.rs").split(".route(\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    let pages: Vec<&str> = pages.collect();
    assert!(pages.len() > 20);
    for path in pages.into_iter().filter(|path| !path.starts_with("/sign-in") && !path.starts_with("/static"))
    {
        let path = path.replace("{tenant}", "acme").replace(['{', '}'], "");
        for method in [Method::GET, Method::POST] {
            let client = served.anybody().with_header("content-type", "application/x-www-form-urlencoded");
            let answer = client.send(method.clone(), &path, "").await.whole().await;
            let is_refused = answer.header("location") == Some("/sign-in") || answer.status == 405;
            assert!(is_refused, "{method} {path}: {}", answer.status);
        }
    }
    let cookie = served.anybody().with_header("cookie", "attach_session=made-up");
    assert_eq!(cookie.get("/").await.header("location"), Some("/sign-in"));
    assert_eq!(served.world.test.dump(), before);
}

#[tokio::test]
async fn a_form_without_its_word_or_of_another_session_or_site_is_not_taken() {
    let Some(served) = Served::start().await else { return };
    let browser = Browser::signed_in(&served).await;
    let foreign = Browser::signed_in(&served).await.csrf().await;
    let own = browser.csrf().await;
    let before = served.world.test.dump();
    let fields = |csrf| vec![("id", "x"), ("name", "X"), (CSRF_FIELD, csrf)];
    let from = |origin| browser.client().with_header("origin", origin);
    for (client, csrf) in [
        (browser.client(), ""),
        (browser.client(), "0"),
        (browser.client(), foreign.as_str()),
        (from("https://evil.example"), own.as_str()),
        (from("null"), own.as_str()),
    ] {
        let answer = post(client, "/pools", &fields(csrf)).await;
        assert_eq!(answer.status, 403, "{}", answer.text());
    }
    let login = post(from("https://evil.example"), "/sign-in", &[("link", &link(&served).await)]).await;
    assert_eq!(login.status, 403, "nobody is signed in from elsewhere");
    assert_eq!(served.world.test.as_superuser("select count(*) from pool"), Ok("1".to_owned()));
    assert!(before.contains("console_session"));
    let own_origin = format!("http://127.0.0.1:{}", served.port);
    assert_eq!(post(from(&own_origin), "/pools", &fields(&own)).await.status, 303);
}

#[tokio::test]
async fn of_twenty_who_use_one_link_at_once_one_gets_in() {
    let Some(served) = Served::start().await else { return };
    let link = link(&served).await;
    let tries = (0..20).map(|_| {
        let (client, link) = (served.anybody(), link.clone());
        tokio::spawn(async move { post(client, "/sign-in", &[("link", &link)]).await.status.as_u16() })
    });
    let mut got_in = 0;
    for one in tries.collect::<Vec<_>>() {
        got_in += u32::from(one.await.unwrap() == 303);
    }
    assert_eq!(got_in, 1);
    assert_eq!(served.world.test.as_superuser("select count(*) from console_session"), Ok("1".to_owned()));
}

#[tokio::test]
async fn over_https_the_cookie_is_for_this_host_alone_and_never_goes_out_in_the_clear() {
    let Some(served) = Served::start().await else { return };
    let public_url = crate::state::PublicUrl::parse("https://attach.example").unwrap();
    let secret = crate::domain::sign_in::SecretText::plain().unwrap();
    let cookie = crate::auth::session_cookie(&public_url, &secret);
    assert!(
        cookie.starts_with("__Host-") && cookie.ends_with("; Secure") && cookie.contains("Path=/;"),
        "{cookie}"
    );
    let cookie = crate::auth::session_cookie(&served.app.public_url, &secret);
    assert!(!cookie.contains("Secure") && !cookie.contains("__Host-"), "{cookie}");
}
