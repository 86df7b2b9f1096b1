//! Sends usage events to the control plane: each spool in order, one batch at a time, until it is acknowledged.
//!
//! Nothing waits for it. A batch that may have arrived is sent again as it was; the control plane passes over what it has,
//! so a lost acknowledgement, a doubled batch or a crash between the two loses and doubles nothing.

mod answer;
mod shipment;

use crate::{
    backoff::Backoff,
    control_plane::Standing,
    enrolment::Link,
    usage::{AuthorityMark, Found, Outbox, OutboxError, Outgoing, SpoolHandle},
};
use shipment::{Shipment, Went};
use std::{path::Path, sync::Arc, time::Duration};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How often the live spool is looked at: one atomic number, and no core is asked to wake anybody. An event is sent within
/// this of being durable.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How often the folder is looked through for spools of processes that have ended.
const ENDED_EVERY: Duration = Duration::from_secs(5);

/// After a failure: soon, for a control plane that restarts; and then within half a minute of its return.
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// How long the end of the process waits for what is left to be sent. The rest is sent by the next start.
pub(crate) const LAST_WORK: Duration = Duration::from_secs(5);

pub(crate) struct Reporter {
    outbox: Outbox,
    spool: SpoolHandle,
    link: Link,
    standing: Arc<Standing>,
}

impl Reporter {
    pub(crate) fn new(
        state: &Path,
        own: Uuid,
        spool: SpoolHandle,
        link: Link,
        standing: Arc<Standing>,
    ) -> Self {
        let authorities = link.identity().authorities_sha256().map(AuthorityMark::new).collect();
        Self { outbox: Outbox::new(state, own, spool.clone(), authorities), spool, link, standing }
    }

    /// Runs until all is sent after `drain`; before that, for ever.
    pub(crate) async fn run(self, drain: CancellationToken) {
        let Self { outbox, spool, link, standing } = self;
        let live = match outbox.live() {
            Ok(live) => live,
            // The writer has made the file before this was started.
            Err(error) => return tracing::error!(%error, "usage is not sent before the next start"),
        };
        let shipment = || Shipment::new(link.clone(), Arc::clone(&standing));
        tokio::join!(
            ship_live(live, spool, shipment(), &standing, &drain),
            ship_ended(outbox, shipment(), &standing, &drain),
        );
    }
}

async fn ship_live(
    live: Outgoing,
    spool: SpoolHandle,
    mut shipment: Shipment,
    standing: &Standing,
    drain: &CancellationToken,
) {
    let mut backoff = Backoff::new(FIRST_RETRY, LAST_RETRY);
    let mut live = Some(live);
    loop {
        let waiting = spool.last_seq().saturating_sub(spool.acknowledged()).unsigned_abs();
        standing.note(|state| state.unacknowledged_live = waiting);
        let pause = match live.take() {
            Some(outgoing) if waiting > 0 => {
                let (outgoing, went) = shipment.ship(outgoing).await;
                live = outgoing;
                match went {
                    Went::Well => {
                        backoff.reset();
                        LOOK_EVERY
                    }
                    Went::Away => LOOK_EVERY,
                    Went::Later => backoff.next(),
                    Went::Stopped => {
                        // It goes on being filled, and counted; a person has to see why it is not taken.
                        live = None;
                        LOOK_EVERY
                    }
                }
            }
            outgoing if drain.is_cancelled() => {
                drop(outgoing);
                return;
            }
            outgoing => {
                live = outgoing;
                LOOK_EVERY
            }
        };
        // Told to end, it does not sit out a pause, and does not hammer either.
        let is_ending = drain.is_cancelled();
        tokio::select! {
            () = sleep(if is_ending { pause.min(LOOK_EVERY) } else { pause }) => {}
            () = drain.cancelled(), if !is_ending => {}
        }
    }
}

async fn ship_ended(outbox: Outbox, mut shipment: Shipment, standing: &Standing, drain: &CancellationToken) {
    let mut backoff = Backoff::new(FIRST_RETRY, LAST_RETRY);
    let mut outbox = Some(outbox);
    while !drain.is_cancelled() {
        let begun = Instant::now();
        let Some(mut taken) = outbox.take() else { return };
        let mut waiting = 0;
        let mut is_well = true;
        for found in taken.ended().unwrap_or_else(|error| cannot_look(&error)) {
            if drain.is_cancelled() {
                break;
            }
            let id = found.id;
            let opened = spawn_blocking(move || {
                let opened = taken.open(&found);
                (taken, opened)
            });
            let Ok((returned, opened)) = opened.await else { return };
            taken = returned;
            let outgoing = match opened {
                Ok(Some(outgoing)) => outgoing,
                Ok(None) => continue,
                Err(error @ OutboxError::Store(_)) => {
                    tracing::warn!(%error, "a spool of an earlier start is not sent before the next start");
                    taken.settle(id);
                    continue;
                }
                // Somebody else is claiming or removing a directory just now.
                Err(error) => {
                    tracing::debug!(%error, "a spool of an earlier start can't be sent yet");
                    continue;
                }
            };
            let (outgoing, went) = shipment.ship(outgoing).await;
            match went {
                Went::Well | Went::Away => {}
                Went::Later => is_well = false,
                Went::Stopped => taken.settle(id),
            }
            waiting += outgoing.as_ref().map_or(0, left);
        }
        outbox = Some(taken);
        standing.note(|state| state.unacknowledged_ended = waiting);
        let pause = if is_well {
            backoff.reset();
            ENDED_EVERY.saturating_sub(begun.elapsed())
        } else {
            backoff.next().max(LOOK_EVERY)
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = drain.cancelled() => {}
        }
    }
}

fn left(outgoing: &Outgoing) -> u64 {
    outgoing.last_seq().saturating_sub(outgoing.acknowledged())
}

fn cannot_look(error: &OutboxError) -> Vec<Found> {
    tracing::warn!(%error, "cannot look for spools of earlier starts");
    Vec::new()
}
