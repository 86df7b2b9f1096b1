//! An agent's wish: a token names a key that is not among those that it was sent.

use super::{IssuerKeys, LEASE};
use crate::{
    db::{DbError, configuration, in_time, issuer_keys as rows},
    domain::issuer_keys::Source,
};
use attach_proto::id::PoolId;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

/// Between two looks whether another control plane's question has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What an agent is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LookedUp {
    /// Of the pool: what was found is in it.
    pub(crate) revision: u64,
    /// Empty when the issuer could be asked.
    pub(crate) problem: String,
}

/// Those under way: thousands of agents may see the same new key within a second, and one question serves them all.
pub(super) type Demands = Mutex<HashMap<(PoolId, Source), watch::Receiver<Option<LookedUp>>>>;

impl IssuerKeys {
    /// Has the issuer asked, unless it was a moment ago.
    pub(crate) async fn demand(self: &Arc<Self>, pool: PoolId, wanted: Source) -> LookedUp {
        let key = (pool, wanted);
        let mut looked_up = {
            let mut demands = self.demands.lock().unwrap_or_else(PoisonError::into_inner);
            // One whose task is gone without an answer is none.
            if let Some(under_way) = demands.get(&key).filter(|it| it.has_changed().is_ok()) {
                under_way.clone()
            } else {
                let (sender, receiver) = watch::channel(None);
                demands.insert(key.clone(), receiver.clone());
                // Apart: whoever wished it first may leave.
                tokio::spawn(Arc::clone(self).look_up(key, sender));
                receiver
            }
        };
        let found = looked_up.wait_for(Option::is_some).await.ok().and_then(|found| found.clone());
        found.unwrap_or_else(|| LookedUp {
            revision: 0,
            problem: "the control plane is being stopped".to_owned(),
        })
    }

    async fn look_up(self: Arc<Self>, key: (PoolId, Source), answer: watch::Sender<Option<LookedUp>>) {
        let (pool, wanted) = &key;
        let looked_up = self.ask_those_meant(pool, wanted).await.unwrap_or_else(|error| {
            tracing::warn!(issuer.url = %wanted.issuer, %error, "an agent's wish for an issuer's keys failed");
            LookedUp { revision: 0, problem: error.to_string() }
        });
        self.demands.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        answer.send_replace(Some(looked_up));
    }

    async fn ask_those_meant(&self, pool: &PoolId, wanted: &Source) -> Result<LookedUp, DbError> {
        let meant = in_time(async {
            let mut tx = self.db.system().await?;
            rows::meant(tx.connection(), pool, wanted).await
        });
        let meant: Vec<Source> = meant.await?;
        let mut problem = None;
        if meant.is_empty() {
            problem =
                Some("no identity provider of its pool has its keys fetched by the control plane".to_owned());
        }
        for source in &meant {
            problem = problem.or(self.ask_at_wish(source).await?);
        }
        let revisions = in_time(async {
            let mut tx = self.db.system().await?;
            configuration::revisions(tx.connection(), &[pool.as_str().to_owned()]).await
        });
        let revision = revisions.await?.first().map_or(0, |(_, revision)| *revision);
        Ok(LookedUp { revision, problem: problem.unwrap_or_default() })
    }

    /// Why the issuer could not be asked, if so.
    async fn ask_at_wish(&self, source: &Source) -> Result<Option<String>, DbError> {
        let claimed = in_time(async {
            let mut tx = self.db.system().await?;
            let claimed = rows::claim_demanded(tx.connection(), source, self.pace.cool_down, LEASE).await?;
            tx.commit().await?;
            Ok::<_, DbError>(claimed)
        });
        if let Some(due) = claimed.await? {
            // It is closed by nobody.
            let _permit = self.wished.acquire().await.ok();
            self.ask(&due).await;
        }
        // Ours has ended; another's may be under way still.
        let deadline = Instant::now() + self.pace.patience;
        loop {
            let outcome = in_time(async {
                let mut tx = self.db.system().await?;
                rows::outcome(tx.connection(), source).await
            });
            match outcome.await? {
                Some(outcome) => return Ok(outcome),
                None if Instant::now() >= deadline => {
                    return Ok(Some("the issuer does not answer".to_owned()));
                }
                None => sleep(LOOK_AGAIN).await,
            }
        }
    }
}
