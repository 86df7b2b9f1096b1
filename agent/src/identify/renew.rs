//! The task that keeps one issuer's keys fresh.

use super::{
    did::web::key_set,
    excerpt::Excerpt,
    issuer_keys::{Attempts, Fetched, Held, IssuerKeys, RenewFault, State},
    key_file::KeyFile,
    source::Source,
};
use crate::{clock::Clock, fetch::Fetcher};
use attach_issuer::{ask, discovery::Metadata};
use bytes::Bytes;
use std::sync::Arc;
use tokio::time::{Instant, sleep_until};

pub(super) struct Renewer {
    pub(super) keys: Arc<IssuerKeys>,
    pub(super) file: Arc<KeyFile>,
    pub(super) clock: Clock,
    pub(super) fetcher: Fetcher,
}

/// What is asked of the issuer: keys may change at any time, where they lie hardly ever.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    Everything,
    KeysOnly,
}

impl Renewer {
    /// Runs until it is aborted. The answer to a demand does not put off the full renewal: else a stranger who asks
    /// for unknown keys could hold an issuer's metadata forever.
    pub(super) async fn run(self) {
        let mut failures: u32 = 0;
        let mut next_full = Instant::now();
        loop {
            let extent = tokio::select! {
                () = sleep_until(next_full) => Extent::Everything,
                () = self.keys.demanded() => Extent::KeysOnly,
            };
            self.keys.begin_attempt();
            let fetched = self.attempt(extent).await;
            let now = Instant::now();
            match (&fetched, extent) {
                (Ok(_), Extent::Everything) => {
                    failures = 0;
                    next_full = now + self.keys.pace.next_refresh();
                }
                (Ok(_), Extent::KeysOnly) => {}
                (Err(_), Extent::Everything | Extent::KeysOnly) => {
                    failures = failures.saturating_add(1);
                    let retry = now + self.keys.pace.retry(failures);
                    next_full = if next_full <= now { retry } else { next_full.min(retry) };
                }
            }
            self.publish(fetched, next_full).await;
        }
    }

    async fn attempt(&self, extent: Extent) -> Result<(Held, Bytes), RenewFault> {
        let Source { issuer: configured, jwks_url, .. } = &self.keys.source;
        let state = self.keys.state();
        let held = state.held.as_deref();
        let known = held.filter(|_| extent == Extent::KeysOnly);
        let known = known.and_then(|held| {
            let jwks_uri = held.fetched.as_ref()?.from.clone();
            Some(Metadata { issuer: held.issuer.clone(), jwks_uri })
        });
        let Metadata { issuer, jwks_uri } = match (jwks_url, known) {
            (Some(address), _) => Metadata { issuer: configured.clone(), jwks_uri: address.clone() },
            (None, Some(known)) => known,
            (None, None) => ask::metadata(&self.fetcher, configured).await?,
        };
        let body = ask::document(&self.fetcher, &jwks_uri).await?;
        let body = if self.keys.source.is_did() {
            let converted = key_set(&body, configured);
            converted
                .map(Bytes::from)
                .map_err(|fault| RenewFault::Document { address: Excerpt::of(jwks_uri.as_str()), fault })?
        } else {
            body
        };
        let keys = ask::key_set(&jwks_uri, &body)?;
        let generation = match held {
            Some(held) if held.keys.same_as(&keys) && held.issuer == issuer => held.generation,
            Some(held) => held.generation + 1,
            None => 1,
        };
        let fetched = Some(Fetched { from: jwks_uri, at: self.clock.now() });
        Ok((Held { issuer, keys, fetched, generation }, body))
    }

    /// After a failure what is held stays (until it is too old): an issuer that stumbles is no reason to turn
    /// everyone away.
    async fn publish(&self, fetched: Result<(Held, Bytes), RenewFault>, next_attempt: Instant) {
        let before = self.keys.state();
        match fetched {
            Ok((held, body)) => {
                let held = Arc::new(held);
                report_change(&self.keys.source, before.held.as_deref(), &held);
                let attempts = Attempts { good: before.attempts.good + 1, ..before.attempts };
                let state = State { held: Some(Arc::clone(&held)), failure: None, next_attempt, attempts };
                self.keys.end_attempt(state);
                self.store(held, body).await;
            }
            Err(fault) => {
                // Once for each time that the issuer is lost, not for each attempt.
                let first =
                    before.failure.as_deref().is_none_or(|it| matches!(it, RenewFault::NotYetFetched));
                if first {
                    let consequence = match before.held {
                        Some(_) => "the issuer's keys cannot be renewed; those held go on",
                        None => {
                            "the issuer's keys cannot be had; its tokens are answered with 503 until they can"
                        }
                    };
                    tracing::warn!(issuer.url = %self.keys.source.issuer, error = %fault, "{consequence}");
                }
                let failure = Some(Arc::new(fault));
                let attempts = Attempts { failed: before.attempts.failed + 1, ..before.attempts };
                self.keys.end_attempt(State { held: before.held.clone(), failure, next_attempt, attempts });
            }
        }
    }

    /// Requests do not wait for the disk; without the copy only a restart while the issuer is out is worse off.
    async fn store(&self, held: Arc<Held>, body: Bytes) {
        let file = Arc::clone(&self.file);
        let stored = tokio::task::spawn_blocking(move || file.store(&held, &body)).await;
        if let Ok(Err(error)) = stored {
            tracing::warn!(issuer.url = %self.keys.source.issuer, %error, "the issuer's keys cannot be stored");
        }
    }
}

fn report_change(source: &Source, before: Option<&Held>, now: &Held) {
    if before.is_some_and(|before| before.generation == now.generation) {
        return;
    }
    if now.issuer != source.issuer && before.is_none_or(|before| before.issuer != now.issuer) {
        tracing::info!(issuer.url = %source.issuer, issuer.effective = %now.issuer,
            "the issuer's metadata names it in another form, and that is the one that tokens must have");
    }
    tracing::info!(issuer.url = %source.issuer, keys = now.keys.len(), "the issuer's keys changed");
    for skipped in now.keys.skipped() {
        let id = skipped.id.as_ref().map(ToString::to_string).unwrap_or_default();
        tracing::warn!(issuer.url = %source.issuer, key.index = skipped.index, key.id = %id,
            reason = %skipped.fault, "a key of the issuer is not used");
    }
}
