//! Applications whose key may act for others, and those who only say so.

use super::{issuer::TestIssuer, mint::TestKey, *};
use attach_proto::usage::PrincipalKind;

const ADA: (&str, &str) = ("x-attach-on-behalf-of", "ada");
const BOB: (&str, &str) = ("x-openwebui-user-id", "bob");

/// Of one tenant: two applications, and somebody's key that may not act for others. Of another: an application.
fn world() -> World {
    let application = |id: &str, tenant: &str| {
        let mut key = api_key(id, tenant, &format!("sk-{id}"));
        key.act_as = true;
        key.models = vec!["tiny".parse().unwrap()];
        key
    };
    let keys = vec![
        application("webui", "acme"),
        application("other", "acme"),
        api_key("plain", "acme", "sk-plain"),
        application("foreign", "globex"),
    ];
    World::with(bundle(1, Vec::new(), keys), quick())
}

async fn of(world: &World, key: &str, lines: &[(&'static str, &str)]) -> Rc<Principal> {
    let key = format!("sk-{key}");
    world.headers(&[&[("x-api-key", key.as_str())], lines].concat()).await.unwrap()
}

#[tokio::test]
async fn an_application_names_its_user_who_is_bounded_as_its_key_is() {
    let world = world();
    let ada = of(&world, "webui", &[ADA]).await;
    assert_eq!((ada.tenant.as_str(), ada.kind, ada.subject.as_str()), ("acme", PrincipalKind::User, "ada"));
    let key = Some("webui".parse().unwrap());
    assert_eq!((&ada.key, &ada.delegated_by, ada.issuer.as_ref()), (&key, &key, None));
    let itself = of(&world, "webui", &[]).await;
    assert_eq!((itself.kind, itself.subject.as_str()), (PrincipalKind::Key, "owner-of-webui"));
    assert_eq!(itself.delegated_by, None);
    assert_eq!((&ada.bounds, &ada.groups), (&itself.bounds, &itself.groups));
    assert!(ada.roles.is_empty() && ada.scopes.is_empty());
}

#[tokio::test]
async fn one_user_s_verdict_is_never_another_s() {
    let world = world();
    for _ in 0..3 {
        for (lines, subject) in
            [(&[ADA][..], "ada"), (&[BOB], "bob"), (&[], "owner-of-webui"), (&[ADA], "ada")]
        {
            assert_eq!(of(&world, "webui", lines).await.subject, subject);
        }
    }
    let (here, there) = (of(&world, "webui", &[ADA]).await, of(&world, "other", &[ADA]).await);
    assert_ne!(here.delegated_by, there.delegated_by);
}

#[tokio::test]
async fn a_user_of_another_tenant_can_be_named_by_name_only() {
    let world = world();
    let email = ("x-openwebui-user-email", "ada@globex.example");
    let ada = of(&world, "foreign", &[ADA, email, ("x-attach-tenant", "acme")]).await;
    assert_eq!((ada.tenant.as_str(), ada.email.as_deref()), ("globex", Some("ada@globex.example")));
    let ada = of(&world, "webui", &[ADA, ("x-attach-tenant", "globex")]).await;
    assert_eq!(ada.tenant.as_str(), "acme");
}

#[tokio::test]
async fn who_may_not_act_for_others_stays_who_it_is_whatever_its_headers_say() {
    let signer = TestKey::p256("k");
    let issuer = TestIssuer::start(&[&signer]).await;
    let mut world = World::of(&issuer).await;
    let providers = world.snapshot.bundle().identity_providers.clone();
    world.snapshot = bundle(2, providers, vec![api_key("plain", "acme", "sk-plain")]);
    let token = signer.token(&claims(&issuer.url));
    for lines in [&[ADA][..], &[BOB], &[ADA, BOB], &[("x-openwebui-user-id", "")], &[ADA, ADA]] {
        assert_eq!(of(&world, "plain", lines).await.subject, "owner-of-plain", "{lines:?}");
        let bearer = format!("Bearer {token}");
        let caller = world.headers(&[&[("authorization", bearer.as_str())], lines].concat()).await.unwrap();
        assert_eq!((caller.subject.as_str(), &caller.delegated_by), ("alice", &None), "{lines:?}");
    }
}

#[tokio::test]
async fn an_application_that_names_nobody_or_two_is_not_served_as_itself() {
    let world = world();
    for (lines, expected) in [
        (&[ADA, BOB][..], "two_named_users"),
        (&[ADA, ADA], "named_user"),
        (&[("x-attach-on-behalf-of", "")], "named_user"),
        (&[("x-openwebui-user-name", "Ada")], "named_user"),
    ] {
        let fault = world.headers(&[&[("x-api-key", "sk-webui")], lines].concat()).await.unwrap_err();
        assert_eq!(fault.code(), expected, "{lines:?}");
    }
}

#[tokio::test]
async fn a_flood_of_invented_users_pushes_nobody_out_and_is_kept_nowhere() {
    let signer = TestKey::p256("k");
    let issuer = TestIssuer::start(&[&signer]).await;
    let mut world = World::of(&issuer).await;
    let mut webui = api_key("webui", "acme", "sk-webui");
    webui.act_as = true;
    let providers = world.snapshot.bundle().identity_providers.clone();
    world.snapshot = bundle(2, providers, vec![webui]);
    let token = signer.token(&claims(&issuer.url));
    let alice = world.bearer(&token).await.unwrap();
    for number in 0..20_000 {
        let name = format!("user-{number}");
        assert_eq!(of(&world, "webui", &[("x-attach-on-behalf-of", &name)]).await.subject, name);
    }
    assert!(Rc::ptr_eq(&world.bearer(&token).await.unwrap(), &alice), "she is still remembered");
}
