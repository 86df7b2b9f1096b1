//! Tenants that share an issuer and audience, each with organisations of its own.

use super::*;
use attach_proto::v1;

type Change = dyn Fn(&mut v1::IdentityProvider);

fn provider(tenant: &str, change: impl FnOnce(&mut v1::IdentityProvider)) -> v1::IdentityProvider {
    let mut provider = v1::IdentityProvider {
        id: "login".to_owned(),
        tenant: tenant.to_owned(),
        issuer: "https://login.example".to_owned(),
        audiences: vec!["https://gateway.example".to_owned()],
        organisations: vec![format!("{tenant}-org")],
        claims: organisation("/org"),
        ..Default::default()
    };
    change(&mut provider);
    provider
}

fn organisation(place: &str) -> Option<v1::ClaimMapping> {
    Some(v1::ClaimMapping { organisation: place.to_owned(), ..Default::default() })
}

/// A gateway would refuse the whole configuration of its pool, of all its tenants.
#[tokio::test]
async fn a_tenant_can_t_read_organisations_elsewhere_than_those_it_shares_an_audience_with() {
    let Some(world) = World::with_tenants(&["acme", "globex"]).await else { return };
    let set = async |said| set_identity_provider(&world.db, &world.operator, said).await;
    set(provider("acme", |_| ())).await.unwrap();
    let revision = world.revision();

    let elsewhere: [(&str, &Change); 5] = [
        ("another claim", &|it| it.claims = organisation("/tenant")),
        ("another claim for the audience", &|it| it.audience_claim = "/client_id".to_owned()),
        ("the claims of a product", &|it| {
            it.product = v1::IdentityProduct::EntraId.into();
            it.claims = None;
        }),
        ("the issuer with a slash", &|it| {
            it.issuer = "https://login.example/".to_owned();
            it.claims = organisation("/tenant");
        }),
        ("one shared audience of several", &|it| {
            it.audiences.insert(0, "https://other.example".to_owned());
            it.claims = organisation("/tenant");
        }),
    ];
    for (what, change) in elsewhere {
        let refused = set(provider("globex", change)).await;
        let Err(OpError::Contract(invalid)) = refused else { panic!("{what}: {refused:?}") };
        assert_eq!(invalid.path, "claims.organisation", "{what}");
        assert!(!invalid.to_string().contains("acme"), "{what} names another tenant: {invalid}");
    }
    assert_eq!(world.revision(), revision, "nothing of it happened");
    assert_eq!(world.test.as_superuser("select tenant_id from identity_provider"), Ok("acme".to_owned()));

    set(provider("globex", |_| ())).await.unwrap();
    let moved = set(provider("acme", |it| it.claims = organisation("/tenant"))).await;
    assert!(matches!(moved, Err(OpError::Contract(_))), "acme moves away from globex: {moved:?}");
    let other = |it: &mut v1::IdentityProvider| {
        it.audiences = vec!["https://other.example".to_owned()];
        it.claims = organisation("/tenant");
    };
    set(provider("acme", other)).await.unwrap();
}
