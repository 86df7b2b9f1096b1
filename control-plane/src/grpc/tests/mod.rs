//! Over real TLS, on a real Postgres, by an agent's own client.

mod agent;
mod following;
mod joining;
mod many;
mod reporting;

use super::*;
use crate::ops::tests::{World, id, limit, new_key, now, pool, tenant};
use crate::ops::{JOIN_TOKEN_LIFE, create_join_token};
use agent::Agent;
use jiff::SignedDuration;
use std::{
    net::SocketAddr,
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

/// A control plane's door in front of a database with two tenants, `acme` and `globex`, in the pool `main`.
struct Front {
    world: World,
    door: Door,
    address: SocketAddr,
    /// Milliseconds since the Unix epoch.
    time: Arc<AtomicI64>,
    _folder: tempfile::TempDir,
}

impl Front {
    /// `None` where there is no Postgres.
    async fn start() -> Option<Self> {
        let world = World::with_tenants(&["acme", "globex"]).await?;
        let time = Arc::new(AtomicI64::new(Clock::System.now().as_millisecond()));
        let clock = Clock::Manual(Arc::clone(&time));
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys");
        Sealer::make(&keys).unwrap();
        let sealer = Arc::new(Sealer::read(&keys).unwrap());
        let exceptions = Arc::new("127.0.0.1".parse().unwrap());
        let issuer_keys = Arc::new(IssuerKeys::new(world.db.clone(), exceptions, Duration::from_secs(600)));
        let door =
            Door::open(world.db.clone(), sealer, issuer_keys, clock, CancellationToken::new()).await.unwrap();
        let listener = Listener::bind(([127, 0, 0, 1], 0).into(), door.clone()).await.unwrap();
        let address = listener.address().unwrap();
        tokio::spawn(listener.run());
        Some(Self { world, door, address, time, _folder: folder })
    }

    /// A token for the pool `main`.
    async fn token(&self) -> String {
        let World { db, operator, .. } = &self.world;
        let (pool, pin) = (pool(), self.door.authority.sha256());
        let made = create_join_token(db, operator, pin, &pool, JOIN_TOKEN_LIFE, self.door.clock.now())
            .await
            .unwrap();
        made.0.as_str().to_owned()
    }

    fn later(&self, by: SignedDuration) {
        let by = i64::try_from(by.as_millis()).unwrap();
        self.time.fetch_add(by, Ordering::Relaxed);
    }

    async fn agent(&self) -> Agent {
        Agent::join(self, &self.token().await).await.unwrap()
    }

    fn alarms(&self) -> String {
        self.world.test.as_superuser("select kind from alarm order by id").unwrap()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.door.stop.cancel();
    }
}
