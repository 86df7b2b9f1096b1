//! The identify stage against issuers on real sockets. Names that start with `t` and a number are the attacks and
//! faults of that number.

mod algorithms;
mod applications;
mod cost;
mod did_documents;
mod did_messages;
mod did_tokens;
mod explained;
mod identities;
mod issuer;
mod key_policy;
mod keys;
mod mint;
mod outages;
mod policy;
mod possession;
mod products;
mod pushed;
mod rotation;
mod tokens;
mod told;
mod vectors;

use super::{
    Explained, Identifier, IdentityFault, Issuers, Principal, UsedProofs, explain, key_file::KeyFile,
    pace::Pace, source::Source,
};
use crate::{
    clock::Clock,
    dial::{Guard, tls_config},
    fetch::Fetcher,
    snapshot::Snapshot,
};
use attach_proto::{
    bundle::{
        ApiKey, Bundle, Durability, IdentityProvider, Permission, QuotaOutage, QuotaStore, QuotaStoreKind,
        Tenant,
    },
    id::Revision,
    v1,
};
use aws_lc_rs::digest::{SHA256, digest};
use http::{HeaderMap, HeaderValue, Request, request::Parts};
use issuer::TestIssuer;
use serde_json::{Value, json};
use std::{
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use tokio::{runtime::Handle, time::sleep};

/// 2027-01-15, in seconds.
const NOW: i64 = 1_800_000_000;
const AUDIENCE: &str = "https://gateway.test";

/// A gateway's identify stage, with a clock that the test moves.
struct World {
    clock: Arc<AtomicI64>,
    issuers: Arc<Issuers>,
    identifier: Identifier,
    snapshot: Snapshot,
    state: TempDir,
}

/// The pace of a day in a second.
fn quick() -> Pace {
    Pace {
        refresh: Duration::from_secs(3600),
        cool_down: Duration::from_millis(300),
        cool_down_after_change: Duration::from_millis(20),
        patience: Duration::from_millis(500),
        first_retry: Duration::from_millis(20),
        last_retry: Duration::from_millis(50),
        ..Pace::default()
    }
}

fn provider(id: &str, tenant: &str, issuer: &str, audience: &str) -> IdentityProvider {
    let wire = v1::IdentityProvider {
        id: id.to_owned(),
        tenant: tenant.to_owned(),
        issuer: issuer.to_owned(),
        audiences: vec![audience.to_owned()],
        algorithms: ["RS256", "ES256", "EdDSA"].map(str::to_owned).to_vec(),
        ..v1::IdentityProvider::default()
    };
    wire.try_into().unwrap()
}

fn api_key(id: &str, tenant: &str, secret: &str) -> ApiKey {
    ApiKey {
        id: id.parse().unwrap(),
        tenant: tenant.parse().unwrap(),
        sha256: digest(&SHA256, secret.as_bytes()).as_ref().try_into().unwrap(),
        previous: None,
        owner: format!("owner-of-{id}"),
        groups: vec!["ops".to_owned()],
        permissions: vec![Permission::Inference, Permission::Read],
        act_as: false,
        models: Vec::new(),
        expires_at: None,
    }
}

fn bundle(revision: u64, providers: Vec<IdentityProvider>, keys: Vec<ApiKey>) -> Snapshot {
    let tenant = |id: &str| Tenant {
        id: id.parse().unwrap(),
        name: id.to_owned(),
        quota_store: "local".parse().unwrap(),
        on_quota_outage: QuotaOutage::Deny,
        durability: Durability::Strict,
        did: None,
    };
    let bundle = Bundle {
        routes: attach_proto::bundle::Routes::default(),
        revision: Revision(revision),
        tenants: vec![tenant("acme"), tenant("globex")],
        quota_stores: vec![QuotaStore { id: "local".parse().unwrap(), kind: QuotaStoreKind::Local }],
        identity_providers: providers,
        keys,
        models: Vec::new(),
        limits: Vec::new(),
        access_rules: Vec::new(),
        upstreams: Vec::new(),
    };
    Snapshot::new(bundle, foldhash::HashMap::default())
}

fn claims(issuer: &str) -> Value {
    json!({"iss": issuer, "aud": AUDIENCE, "sub": "alice", "exp": NOW + 300, "iat": NOW - 10, "nbf": NOW - 10})
}

impl World {
    fn new(providers: Vec<IdentityProvider>) -> Self {
        Self::with(bundle(1, providers, vec![api_key("k1", "acme", "sk-good")]), quick())
    }

    fn with(snapshot: Snapshot, pace: Pace) -> Self {
        Self::on_disk(snapshot, pace, tempfile::tempdir().unwrap())
    }

    fn on_disk(snapshot: Snapshot, pace: Pace, state: TempDir) -> Self {
        let clock = Arc::new(AtomicI64::new(NOW * 1000));
        Self::at(clock, snapshot, pace, state)
    }

    fn at(clock: Arc<AtomicI64>, snapshot: Snapshot, pace: Pace, state: TempDir) -> Self {
        let fetcher = Fetcher::new(tls_config(), Guard::Operator);
        Self::whole(clock, fetcher, snapshot, pace, state)
    }

    fn fetching(fetcher: Fetcher, snapshot: Snapshot, pace: Pace) -> Self {
        let clock = Arc::new(AtomicI64::new(NOW * 1000));
        Self::whole(clock, fetcher, snapshot, pace, tempfile::tempdir().unwrap())
    }

    fn whole(
        clock: Arc<AtomicI64>,
        fetcher: Fetcher,
        snapshot: Snapshot,
        pace: Pace,
        state: TempDir,
    ) -> Self {
        let manual = Clock::Manual(Arc::clone(&clock));
        let issuers = Issuers::with_pace(Handle::current(), state.path(), manual.clone(), fetcher, pace);
        issuers.apply(&snapshot);
        let issuers = Arc::new(issuers);
        let used = Arc::new(UsedProofs::new(manual.now()));
        let identifier = Identifier::new(Arc::clone(&issuers), used, manual);
        Self { clock, issuers, identifier, snapshot, state }
    }

    /// One provider of tenant `acme`, whose keys are there.
    async fn of(issuer: &TestIssuer) -> Self {
        let world = Self::new(vec![provider("idp", "acme", &issuer.url, AUDIENCE)]);
        world.settled().await;
        world
    }

    /// Waits until each issuer was tried, and what it sent is on disk.
    async fn settled(&self) {
        for status in self.issuers.status() {
            let path_of = |provider: &IdentityProvider| {
                let file = KeyFile::new(&self.state.path().join("jwks"), &Source::of(provider));
                file.load().is_some()
            };
            eventually(&format!("{} is settled", status.issuer), || {
                let status = self.issuers.status().into_iter().find(|it| it.issuer == status.issuer).unwrap();
                let mut providers = self.snapshot.bundle().identity_providers.iter();
                let stored = providers.all(|it| it.issuer != status.issuer || path_of(it));
                (status.keys > 0 && stored) || status.last_error.is_some()
            })
            .await;
        }
    }

    /// The verdict; and it is explained as it is.
    async fn bearer(&self, token: &str) -> Result<Rc<Principal>, IdentityFault> {
        let explained = self.explain(token).await;
        let verdict = self.unexplained(token).await;
        // White space is no part of a credential that is pasted, and of one that is sent it is a fault.
        if !token.contains(|c: char| c.is_ascii_whitespace()) {
            explained::assert_agrees(&explained, verdict.as_deref(), token);
        }
        verdict
    }

    /// For those who count how often an issuer is asked, and how long that takes.
    async fn unexplained(&self, token: &str) -> Result<Rc<Principal>, IdentityFault> {
        self.headers(&[("authorization", &format!("Bearer {token}"))]).await
    }

    async fn explain(&self, pasted: &str) -> Explained {
        let Identifier { issuers, used, clock, .. } = &self.identifier;
        explain(pasted, &self.snapshot, issuers, used, clock).await
    }

    async fn headers(&self, lines: &[(&'static str, &str)]) -> Result<Rc<Principal>, IdentityFault> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        self.identifier.identify(&head(headers), &self.snapshot).await
    }

    /// `ok`, or the code of the check that failed.
    async fn verdict(&self, token: &str) -> &'static str {
        self.bearer(token).await.map_or_else(|fault| fault.code(), |_| "ok")
    }

    fn now(&self) -> jiff::Timestamp {
        Clock::Manual(Arc::clone(&self.clock)).now()
    }

    fn advance(&self, time: Duration) {
        self.clock.fetch_add(i64::try_from(time.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

/// Of a request with these headers.
fn head(headers: HeaderMap) -> Parts {
    let (mut head, ()) = Request::post("/v1/chat/completions").body(()).unwrap().into_parts();
    head.headers = headers;
    head
}

/// Waits for something that another task brings about.
async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        sleep(Duration::from_millis(5)).await;
    }
    panic!("{what}: not within 5 s");
}
