//! All addresses on a real socket and a real Postgres, for the tests of the doors; and what holds for all of them.

use super::*;
use crate::{
    clock::Clock,
    listen,
    ops::{make_first_operator_token, tests::World},
    seal::Sealer,
    state::PublicUrl,
};
use attach_tests::Client;
use jiff::Timestamp;
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Two tenants, `acme` and `globex`, behind the real listener; it ends with the test.
pub(crate) struct Served {
    pub(crate) world: World,
    pub(crate) app: App,
    pub(crate) token: String,
    pub(crate) port: u16,
    time: Arc<AtomicI64>,
    _folder: tempfile::TempDir,
    _stop: DropGuard,
}

impl Served {
    pub(crate) async fn start() -> Option<Self> {
        let world = World::with_tenants(&["acme", "globex"]).await?;
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let time = Arc::new(AtomicI64::new(now.as_millisecond()));
        let clock = Clock::Manual(Arc::clone(&time));
        let token = make_first_operator_token(&world.db, &world.operator, now).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys");
        Sealer::make(&keys).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let app = App {
            questions: Arc::new(crate::questions::Questions::new()),
            jwks_ttl: Duration::from_secs(600),
            db: world.db.clone(),
            clock,
            sealer: Arc::new(Sealer::read(&keys).unwrap()),
            public_url: Arc::new(PublicUrl::parse(&format!("http://127.0.0.1:{port}")).unwrap()),
            authority_sha256: [7; 32],
            grpc_url: "https://127.0.0.1:8443".into(),
        };
        let stop = CancellationToken::new();
        tokio::spawn(listen::serve(listener, router(app.clone()), stop.clone()));
        let token = token.unwrap().as_str().to_owned();
        Some(Self { world, app, token, port, time, _folder: folder, _stop: stop.drop_guard() })
    }

    pub(crate) fn anybody(&self) -> Client {
        Client::new(self.port)
    }

    pub(crate) fn operator(&self) -> Client {
        self.anybody().with_bearer(&self.token)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.app.clock.now()
    }

    pub(crate) fn let_pass(&self, time: std::time::Duration) {
        self.time.fetch_add(i64::try_from(time.as_millis()).unwrap(), Ordering::Relaxed);
    }

    /// `agent-1`, which reports an engine and a refusal.
    pub(crate) fn with_an_agent(&self, host: &str) {
        let now = self.now();
        let host = host.replace('\'', "''");
        let statement = format!(
            r#"insert into agent values ('agent-1', 'main', '{host}', '{now}', null);
               insert into agent_state (agent_id, program_version, features, upstreams, health, connected_at, last_seen_at,
                   applied_revision, refused_revision, refusal)
               values ('agent-1', '1.0', '{{}}',
                   '[{{"id": "gpu", "kind": "UPSTREAM_KIND_VLLM", "url": "http://localhost:8000"}}]',
                   '[{{"upstream": "gpu", "models": ["llama3"]}}]', '{now}', '{now}', 1, 2, 'limits[acme/a].window: is missing')"#
        );
        self.world.test.as_superuser(&statement).unwrap();
    }

    /// One request of this many input tokens and twice as many output tokens, and its sums; each is later than the one
    /// before.
    pub(crate) fn with_usage(&self, tenant: &str, subject: &str, tokens: u32) {
        self.let_pass(std::time::Duration::from_millis(1));
        let (now, output) = (self.now(), tokens * 2);
        let subject = subject.replace('\'', "''");
        let statement = format!(
            r#"insert into usage_event select '{tenant}', '{now}', gen_random_uuid(), '{now}', 'main', 'agent-1',
                   gen_random_uuid(), 1, sha256('x'), 'request-{subject}', 'chat', 'openai', 'llama3', true, 1, '{subject}',
                   'https://login.example/', '', '[]', '', '[{{"kind": "input_tokens", "quantity": {tokens}}}]', 1, 200, 1,
                   '[]', 5, 50;
               insert into usage_hour select '{tenant}', date_trunc('hour', '{now}'::timestamptz), 1,
                   'https://login.example/', '{subject}', 'llama3', kind, 1, quantity, requests
               from (values ('input_tokens', {tokens}, 1), ('output_tokens', {output}, 0))
                   as sum (kind, quantity, requests)"#
        );
        self.world.test.as_superuser(&statement).unwrap();
    }
}

#[tokio::test]
async fn health_is_for_everybody_and_readiness_follows_the_database() {
    let Some(served) = Served::start().await else { return };
    assert_eq!(served.anybody().get("/healthz").await.status, 200);
    assert_eq!(served.anybody().get("/readyz").await.status, 200);
    let everything = served.anybody().get("/healthz").await;
    assert_eq!(everything.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(everything.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn while_the_database_is_away_the_api_says_so_and_recovers() {
    let Some(served) = Served::start().await else { return };
    let login = &served.world.test.serving_login;
    let database = &served.world.test.name;
    let end = "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and datname = current_database()";
    let refuse = format!("alter role {login} nologin");
    served.world.test.as_superuser(&refuse).unwrap();
    served.world.test.as_superuser(end).unwrap();
    assert_eq!(served.anybody().get("/healthz").await.status, 200, "{database}");
    assert_eq!(served.anybody().get("/readyz").await.status, 503);
    served.world.test.as_superuser(&format!("alter role {login} login")).unwrap();
    assert_eq!(served.operator().get("/api/v1/tenants").await.status, 200);
}
