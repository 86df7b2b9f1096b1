//! What changed, for those who hold an agent's stream: their pool's bundle, and whether the agent was revoked.
//!
//! A change is heard of by LISTEN within milliseconds, and looked for every few seconds in any case: a notification is lost
//! with the connection that it would have come by.

use crate::{
    authority::BundleSigner,
    bundle::{self, PoolBundle},
    db::{Database, DbError, agents, configuration, in_time},
    seal::Sealer,
};
use attach_proto::id::{AgentId, PoolId};
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A lost notification costs at most this; it is a query of a few rows.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Before a connection that was lost is tried again.
const RECONNECT_AFTER: Duration = Duration::from_millis(500);

/// A pool's bundle as the streams of its agents see it. `None` until it was built once.
pub(crate) type Bundles = watch::Receiver<Option<Arc<PoolBundle>>>;

/// All that the streams of this replica follow.
#[derive(Debug)]
pub(crate) struct Changes {
    db: Database,
    sealer: Arc<Sealer>,
    signer: Arc<BundleSigner>,
    followed: Mutex<Followed>,
    /// Raised by whoever begins to follow a pool.
    wanted: tokio::sync::Notify,
}

#[derive(Debug, Default)]
struct Followed {
    pools: HashMap<PoolId, watch::Sender<Option<Arc<PoolBundle>>>>,
    agents: HashMap<AgentId, Vec<CancellationToken>>,
}

/// An agent's stream, known to [`Changes`] for as long as this lives.
#[derive(Debug)]
pub(crate) struct Following {
    pub(crate) bundles: Bundles,
    /// Cancelled when the agent is revoked.
    pub(crate) revoked: CancellationToken,
    agent: AgentId,
    changes: Arc<Changes>,
}

impl Changes {
    pub(crate) fn new(db: Database, sealer: Arc<Sealer>, signer: Arc<BundleSigner>) -> Self {
        Self { db, sealer, signer, followed: Mutex::default(), wanted: tokio::sync::Notify::new() }
    }

    pub(crate) fn follow(self: &Arc<Self>, pool: &PoolId, agent: &AgentId) -> Following {
        let mut followed = self.followed();
        let bundles = match followed.pools.entry(pool.clone()) {
            Entry::Occupied(known) => known.get().subscribe(),
            Entry::Vacant(new) => new.insert(watch::Sender::new(None)).subscribe(),
        };
        let revoked = CancellationToken::new();
        followed.agents.entry(agent.clone()).or_default().push(revoked.clone());
        drop(followed);
        self.wanted.notify_one();
        Following { bundles, revoked, agent: agent.clone(), changes: Arc::clone(self) }
    }

    /// Runs until it is stopped.
    pub(crate) async fn run(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let heard = tokio::select! {
                () = stop.cancelled() => return,
                heard = self.listen() => heard,
            };
            if let Err(error) = heard {
                tracing::warn!(error = %error, "configuration changes are looked for without being heard of");
            }
            // Also without LISTEN.
            self.look_and_say().await;
            tokio::time::sleep(RECONNECT_AFTER).await;
        }
    }

    /// Looks at each notification, each time that somebody new follows, and now and then.
    async fn listen(&self) -> Result<(), DbError> {
        let mut listener = in_time(self.db.listen()).await?;
        loop {
            in_time(self.look()).await?;
            tokio::select! {
                heard = listener.recv() => {
                    heard?;
                    // What came in one go is looked at in one go.
                    while listener.next_buffered().is_some() {}
                }
                () = self.wanted.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    async fn look_and_say(&self) {
        if let Err(error) = in_time(self.look()).await {
            tracing::warn!(error = %error, "configuration changes can't be looked for");
        }
    }

    async fn look(&self) -> Result<(), DbError> {
        let (pools, agents): (Vec<String>, Vec<String>) = {
            let mut followed = self.followed();
            followed.pools.retain(|_, bundles| bundles.receiver_count() > 0);
            let pools = followed.pools.keys().map(|pool| pool.as_str().to_owned()).collect();
            (pools, followed.agents.keys().map(|agent| agent.as_str().to_owned()).collect())
        };
        if pools.is_empty() {
            return Ok(());
        }
        let mut tx = self.db.system().await?;
        let revoked = agents::revoked_among(tx.connection(), &agents).await?;
        let revisions = configuration::revisions(tx.connection(), &pools).await?;
        tx.commit().await?;
        for agent in revoked {
            let tokens = self.followed().agents.get(agent.as_str()).cloned().unwrap_or_default();
            tokens.iter().for_each(CancellationToken::cancel);
        }
        for (pool, revision) in revisions {
            let Ok(pool) = pool.parse::<PoolId>() else { continue };
            let built = self
                .followed()
                .pools
                .get(&pool)
                .and_then(|bundles| bundles.borrow().as_ref().map(|bundle| bundle.revision.0));
            if built.is_none_or(|built| built < revision) {
                self.build(&pool).await;
            }
        }
        Ok(())
    }

    /// A pool whose bundle can't be built keeps the one before, loudly; the others go on.
    async fn build(&self, pool: &PoolId) {
        match bundle::build(&self.db, &self.sealer, &self.signer, pool).await {
            Ok(bundle) => {
                if let Some(bundles) = self.followed().pools.get(pool) {
                    bundles.send_replace(Some(Arc::new(bundle)));
                }
            }
            Err(error) => {
                tracing::error!(pool.id = %pool, error = %error, "the configuration can't be built");
            }
        }
    }

    fn followed(&self) -> MutexGuard<'_, Followed> {
        // Whoever panicked had only looked things up.
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let mut followed = self.changes.followed();
        if let Entry::Occupied(mut of_agent) = followed.agents.entry(self.agent.clone()) {
            // Tokens of one origin have no name; one that is cancelled or ours goes.
            self.revoked.cancel();
            of_agent.get_mut().retain(|token| !token.is_cancelled());
            if of_agent.get().is_empty() {
                of_agent.remove();
            }
        }
    }
}
