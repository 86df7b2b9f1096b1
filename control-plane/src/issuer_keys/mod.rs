//! Asks issuers for their keys, for the gateways of whoever wants that of this control plane.
//!
//! Each control plane looks each second what is due, one at a time, and takes as much of it as it may ask at once. What it took
//! nobody else takes until a lease is over; so each issuer is asked once, whoever of them is stopped or slow. What was found
//! is an operation like any other (`ops`): new keys are a revision, and are pushed as one. What failed changes nothing but
//! what people are shown.

mod demand;

pub(crate) use demand::LookedUp;

use crate::{
    db::{Database, DbError, in_time, issuer_keys as rows},
    domain::issuer_keys::{Found, Pauses, Source},
    ops::{OpError, renew_issuer_keys, withdraw_issuer_keys},
};
use attach_issuer::{
    ask::{self, AskFault},
    discovery::Metadata,
    excerpt::Excerpt,
    pace::Pace,
};
use attach_outbound::{
    dial::{Guard, tls_config},
    fetch::Fetcher,
};
use attach_proto::destination::Exceptions;
use demand::Demands;
use rows::Due;
use std::{sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// A new provider has its keys within this and the time that its issuer takes; it is a query of a few rows.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Issuers that one control plane asks at once. One that hangs takes 10 s (two documents of 5) of each 40; so 128 of them
/// may hang before any other waits, and then for seconds.
const ASKED_AT_ONCE: usize = 32;

/// After this whoever took an issuer to ask has ended: twice what two documents and a transaction take at most.
const LEASE: Duration = Duration::from_secs(60);

/// As much of the reason of a failure as is kept.
const MAX_PROBLEM_CHARACTERS: usize = 500;

/// One for each process.
#[derive(Debug)]
pub(crate) struct IssuerKeys {
    db: Database,
    fetcher: Fetcher,
    pace: Pace,
    routine: Arc<Semaphore>,
    /// Apart from the routine, or issuers that hang would keep callers waiting.
    wished: Arc<Semaphore>,
    demands: Demands,
}

impl IssuerKeys {
    /// Asks at public addresses, and those that the operator excepts.
    pub(crate) fn new(db: Database, exceptions: Arc<Exceptions>, ttl: Duration) -> Self {
        Self {
            db,
            fetcher: Fetcher::new(tls_config(), Guard::Tenant(exceptions)),
            pace: Pace::default().with_ttl(ttl),
            routine: Arc::new(Semaphore::new(ASKED_AT_ONCE)),
            wished: Arc::new(Semaphore::new(ASKED_AT_ONCE)),
            demands: Demands::default(),
        }
    }

    /// Runs until it is stopped.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut is_well = true;
        while !stop.is_cancelled() {
            let looked = in_time(self.look()).await;
            if let (true, Err(error)) = (is_well, &looked) {
                tracing::warn!(%error, "which issuers are to be asked for their keys can't be looked up");
            }
            is_well = looked.is_ok();
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    async fn look(self: &Arc<Self>) -> Result<(), OpError> {
        let age = self.pace.max_stale;
        // Whatever keeps old keys from being taken out, others are asked for.
        let withdrawn = withdraw_issuer_keys(&self.db, age).await;
        for source in withdrawn.as_deref().unwrap_or_default() {
            tracing::error!(issuer.url = %source.issuer, "the issuer's keys are older than {age:?} and are taken out");
        }
        let mut permits = Vec::new();
        while let Ok(permit) = Arc::clone(&self.routine).try_acquire_owned() {
            permits.push(permit);
        }
        for (due, permit) in self.claim(permits.len()).await?.into_iter().zip(permits) {
            tokio::spawn(Arc::clone(self).ask_with(due, permit));
        }
        withdrawn.map(drop)
    }

    async fn claim(&self, most: usize) -> Result<Vec<Due>, DbError> {
        let mut tx = self.db.system().await?;
        if !rows::try_lock(tx.connection()).await? {
            return Ok(Vec::new());
        }
        rows::sync(tx.connection()).await?;
        let due = rows::claim_due(tx.connection(), most, LEASE).await?;
        tx.commit().await?;
        Ok(due)
    }

    async fn ask_with(self: Arc<Self>, due: Due, permit: OwnedSemaphorePermit) {
        self.ask(&due).await;
        drop(permit);
    }

    /// Asks the issuer, and keeps what it said. Whatever goes wrong is tried again later.
    async fn ask(&self, due: &Due) {
        let source = &due.source;
        let warn = |error: &dyn std::fmt::Display| {
            tracing::warn!(issuer.url = %source.issuer, %error, "what an issuer answered can't be kept");
        };
        let problem = match found(&self.fetcher, due).await {
            Ok(found) => match self.keep(source, &found).await {
                Ok(()) => return,
                Err(error) => {
                    warn(&error);
                    "what it answered can't be kept".to_owned()
                }
            },
            Err(fault) => fault.to_string(),
        };
        if let Err(error) = self.note(source, &problem).await {
            warn(&error);
        }
    }

    async fn keep(&self, source: &Source, found: &Found) -> Result<(), OpError> {
        let pauses = Pauses {
            refresh: self.pace.next_refresh(),
            // Half of a gateway's own pause, for its next wish must not come a moment too early.
            sooner_after_change: self.pace.cool_down.saturating_sub(self.pace.cool_down_after_change / 2),
        };
        if in_time(renew_issuer_keys(&self.db, source, found, pauses)).await? {
            tracing::info!(issuer.url = %source.issuer, keys = found.keys, "the issuer's keys changed");
        }
        Ok(())
    }

    async fn note(&self, source: &Source, problem: &str) -> Result<(), DbError> {
        let problem: String = problem.chars().filter(|c| *c != '\0').take(MAX_PROBLEM_CHARACTERS).collect();
        let failures = in_time(async {
            let mut tx = self.db.system().await?;
            let failures = rows::fail(tx.connection(), source, &problem).await?;
            rows::retry_after(tx.connection(), source, self.pace.retry(failures)).await?;
            tx.commit().await?;
            Ok::<_, DbError>(failures)
        });
        // Once for each time that the issuer is lost.
        if failures.await? == 1 {
            tracing::warn!(issuer.url = %source.issuer, error = problem, "the issuer's keys can't be had");
        }
        Ok(())
    }
}

/// What the issuer has now.
async fn found(fetcher: &Fetcher, due: &Due) -> Result<Found, AskFault> {
    let Source { issuer, jwks_url } = &due.source;
    let address = |text: &str| text.parse().map_err(|_| AskFault::Address(Excerpt::of(text)));
    let Metadata { issuer: effective_issuer, jwks_uri } = match (&due.known, jwks_url.as_str()) {
        (Some((effective, jwks_uri)), _) => {
            Metadata { issuer: effective.clone(), jwks_uri: address(jwks_uri)? }
        }
        (None, "") => ask::metadata(fetcher, issuer).await?,
        (None, given) => Metadata { issuer: issuer.clone(), jwks_uri: address(given)? },
    };
    let document = ask::document(fetcher, &jwks_uri).await?;
    let keys = ask::key_set(&jwks_uri, &document)?;
    let jwks = keys
        .usable(&document)
        .map_err(|fault| AskFault::Keys { address: Excerpt::of(jwks_uri.as_str()), fault })?;
    Ok(Found {
        effective_issuer,
        jwks_uri: jwks_uri.into(),
        jwks,
        keys: keys.len(),
        skipped_keys: keys.skipped().len(),
    })
}
