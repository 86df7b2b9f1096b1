//! The form of who calls by a DID.

use super::*;

const DID: &str = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK";

const PATH: &str = "/tenants/acme/dids";

#[tokio::test]
async fn who_calls_by_a_did_is_set_told_in_a_sentence_and_taken_away() {
    let Some(served) = Served::start().await else { return };
    let browser = Browser::signed_in(&served).await;
    assert!(browser.page("/tenants/acme").await.contains("Nobody calls by a DID"));
    assert_eq!(browser.client().get(&format!("{PATH}/remove")).await.status, 404);
    let allowed = format!("*\r\n{DID}\r\ndid:web:agents.example");
    let fields = [
        ("allowed", allowed.as_str()),
        ("audiences", "https://llm.example\r\napi"),
        ("max_lifetime", "600"),
        ("rules", "one_time"),
        ("rules", "web"),
    ];
    let tenant = browser.done(PATH, &fields).await;
    for text in ["every did:key and did:pkh", "2 DIDs by name", "10 minutes, each for one request", DID] {
        assert!(tenant.contains(text), "{text}: {tenant}");
    }
    let row = "select did_policy ->> 'one_time', did_policy ->> 'max_lifetime' from tenant where tenant_id = 'acme'";
    assert_eq!(served.world.test.as_superuser(row).unwrap(), "true|600s");
    let tenant = bundle(&served).await.tenants.into_iter().find(|tenant| tenant.id == "acme").unwrap();
    let policy = tenant.did.unwrap();
    assert_eq!(
        (policy.allowed.len(), policy.audiences.len(), policy.one_time, policy.web),
        (3, 2, true, true)
    );
    assert_eq!(policy.domains, ["llm.example"], "of the audience that is a URL");

    let form = browser.page(PATH).await;
    assert!(
        form.contains(DID) && form.contains("value=\"600\"") && !form.contains("<details open>"),
        "{form}"
    );
    assert_eq!(form.matches(" checked").count(), 2);
    let domains = [&fields[..2], &[("domains", "wallet.example:8443"), ("rules", "web")]].concat();
    browser.done(PATH, &domains).await;
    assert!(browser.page(PATH).await.contains("<details open>"));

    assert!(browser.page(&format!("{PATH}/remove")).await.contains("Let nobody call by a DID?"));
    assert!(browser.done(&format!("{PATH}/remove"), &[]).await.contains("Nobody calls by a DID"));
    assert!(bundle(&served).await.tenants.iter().all(|tenant| tenant.did.is_none()));
    assert_eq!(browser.send(&format!("{PATH}/remove"), &[]).await.status, 404);
    let trail = browser.page("/audit").await;
    assert!(trail.contains("update tenant") && trail.contains("one_time"), "{trail}");
}

#[tokio::test]
async fn each_mistake_stands_beside_its_field_with_all_words_kept() {
    let Some(served) = Served::start().await else { return };
    let browser = Browser::signed_in(&served).await;
    browser.done("/tenants/globex/dids", &[("allowed", DID), ("audiences", "shared")]).await;
    for (field, value, problem) in [
        ("allowed", "", "needs at least one DID"),
        ("allowed", "alice", "alice"),
        ("allowed", "did:web:a.example", "is of the web"),
        ("allowed", DID, "call for another tenant by the same audience"),
        ("audiences", "", "needs at least one"),
        ("max_lifetime", "an hour", "must be a whole number"),
        ("max_lifetime", "86401", "must be at most 24h"),
        ("domains", "https://wallet.example", "is no host"),
        ("rules", "everything", "is not one of these"),
    ] {
        let usual = [
            ("allowed", "*"),
            ("audiences", "shared\r\nkeep-me"),
            ("max_lifetime", "60"),
            ("domains", "x.example"),
        ];
        let mut fields: Vec<_> = usual.into_iter().filter(|(name, _)| *name != field).collect();
        fields.push((field, value));
        let page = browser.refused(PATH, &fields).await;
        let (_, error) =
            page.split_once(&format!("id=\"{field}-error\">")).unwrap_or_else(|| panic!("{field}: {page}"));
        assert!(error.split('<').next().unwrap().contains(problem), "{field}: {page}");
        assert!(field == "audiences" || page.contains("keep-me"), "{field}: words are lost: {page}");
    }
    assert!(bundle(&served).await.tenants.iter().any(|tenant| tenant.id == "acme" && tenant.did.is_none()));
}
