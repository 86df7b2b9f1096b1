//! Strangers who name keys that nobody has, so that a gateway asks its issuers without end.

use super::{engine, load::Load, setup};
use attach_tests::{
    Gateway, Issuer, Kept, Signer, eventually,
    issuer::{claims_of, now},
};
use serde_json::json;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

const ISSUERS: usize = 100;
const TOKENS: usize = 10_000;

/// Connections of strangers. With their pause they are done in some twenty seconds: within the half minute in which an
/// issuer may be asked once, and long enough that all together are asked, at ten a second.
const STRANGERS: usize = 20;
const PAUSE: Duration = Duration::from_millis(30);

/// Good callers, each of an issuer that is attacked too; twenty requests a second each.
const CALLERS: usize = 10;
const PACE: Duration = Duration::from_millis(50);

/// Between two questions to one issuer for the sake of keys that are not known: half a minute, less what the second may have
/// been quicker on its way.
const APART: Duration = Duration::from_secs(28);

struct Party {
    issuer: Issuer,
    key: Arc<Signer>,
}

/// Every second request brings a token that was never seen before.
fn callers(parties: &[Party]) -> Vec<impl FnMut() -> String + Send + 'static> {
    let caller = |(number, party): (usize, &Party)| {
        let (issuer, key) = (party.issuer.url(), Arc::clone(&party.key));
        let known = party.issuer.token_by(&key, &format!("caller-{number}"), &json!({}));
        let mut asked = 0_usize;
        move || {
            asked += 1;
            if asked.is_multiple_of(2) {
                return known.clone();
            }
            let unseen = json!({"jti": format!("{number}-{asked}-{}", now())});
            key.token(&claims_of(&issuer, &format!("caller-{number}"), &unseen))
        }
    };
    parties.iter().take(CALLERS).enumerate().map(caller).collect()
}

/// All that the strangers got: how often which status and code. Each token is good but for its key's name.
async fn flood(gateway: &Gateway, parties: &[Party]) -> BTreeMap<(u16, String), usize> {
    let mut strangers = JoinSet::new();
    for stranger in 0..STRANGERS {
        let port = gateway.port;
        let parties: Vec<_> =
            parties.iter().map(|party| (party.issuer.url(), Arc::clone(&party.key))).collect();
        strangers.spawn(async move {
            let mut connection = Kept::connect(port).await;
            let mut got: BTreeMap<_, usize> = BTreeMap::new();
            for number in 0..TOKENS / STRANGERS {
                let (issuer, key) = &parties[(number + stranger * ISSUERS / STRANGERS) % ISSUERS];
                let id = format!("key-{stranger}-{number}-{}", now());
                let token = key.token_named(&id, &claims_of(issuer, "mallory", &json!({})));
                let answer = connection.chat(&token).await;
                let code = answer.json()["error"]["code"].as_str().expect("a code").to_owned();
                match answer.status.as_u16() {
                    401 => {
                        assert!(answer.header("www-authenticate").is_some_and(|it| it.starts_with("Bearer")))
                    }
                    503 => assert!(answer.header("retry-after").is_some_and(|it| it.parse::<u64>().is_ok())),
                    other => panic!("{other}: {}", answer.text()),
                }
                *got.entry((answer.status.as_u16(), code)).or_default() += 1;
                tokio::time::sleep(PAUSE).await;
            }
            got
        });
    }
    let mut all = BTreeMap::new();
    while let Some(got) = strangers.join_next().await {
        for (kind, count) in got.expect("each was refused as it must be") {
            *all.entry(kind).or_default() += count;
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes half a minute of both cores, and prints what it measures; tests/run all"]
async fn ten_thousand_tokens_of_unknown_keys_ask_a_hundred_issuers_once_each_and_no_good_caller_is_refused() {
    let mut parties = Vec::new();
    for _ in 0..ISSUERS {
        let party = Party { issuer: Issuer::start().await, key: Arc::new(Signer::new("k")) };
        party.issuer.publish(&[&party.key]);
        parties.push(party);
    }
    let engine = engine().await;
    let urls: Vec<_> = parties.iter().map(|party| party.issuer.url()).collect();
    let gateway = setup(&urls, &engine).start().await;
    eventually("every issuer was heard", Duration::from_secs(60), async || {
        parties.iter().all(|party| party.issuer.key_fetches() == 1).then_some(())
    })
    .await;

    let load = Load::start(&gateway, PACE, callers(&parties));
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = load.end().await;
    let memory_before = gateway.resident_kib();

    let load = Load::start(&gateway, PACE, callers(&parties));
    let began = Instant::now();
    let got = flood(&gateway, &parties).await;
    let took = began.elapsed();
    let memory_after = gateway.resident_kib();
    let during = load.end().await;

    let times = parties.iter().map(|party| party.issuer.key_fetch_times());
    let times: Vec<Vec<_>> =
        times.map(|times| times.into_iter().filter(|asked| *asked >= began).collect()).collect();
    let fetches: Vec<_> = times.iter().map(Vec::len).collect();
    println!(
        "{TOKENS} tokens of unknown keys over {ISSUERS} issuers in {took:.1?}: {got:?}; {} fetches of keys, at most {} of one \
         issuer; memory {memory_before} KiB before, {memory_after} KiB after",
        fetches.iter().sum::<usize>(),
        fetches.iter().max().expect("some"),
    );
    for (when, served) in [("before", &before), ("during", &during)] {
        let (p50, p99) = (served.within(50), served.within(99));
        println!(
            "good callers {when}: {} served, none refused; p50 {p50:.1?}, p99 {p99:.1?}",
            served.all_well()
        );
    }
    assert_eq!(got.values().sum::<usize>(), TOKENS);
    let kinds: Vec<_> = got.keys().map(|(status, code)| (*status, code.as_str())).collect();
    assert!(
        kinds.iter().all(|it| [(401, "invalid_credential"), (503, "issuer_unavailable")].contains(it)),
        "{kinds:?}"
    );
    let are_apart = |times: &Vec<Instant>| times.windows(2).all(|pair| pair[1] - pair[0] >= APART);
    assert!(times.iter().all(are_apart), "{fetches:?}");
    assert!(fetches.iter().sum::<usize>() > 0, "somebody was asked");
    let served = before.all_well() + during.all_well();
    assert_eq!(engine.seen().len(), served, "the engine heard of good callers alone");
    assert!(memory_after.saturating_sub(memory_before) < 100 << 10, "{memory_after} KiB");
}
