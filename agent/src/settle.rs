//! Settled tickets of one core: their events to the spool, their reservations back to the quota store, a line to the
//! access log.
//!
//! One task per core takes whatever has settled since it last ran, so that a busy core pays for one push and one
//! wake-up per commit, not per request.

use crate::{
    access_log::AccessLog,
    admit::{QuotaStore, Settled, Settlement},
    metrics::Metrics,
    usage::{CoreQueue, CoreReports, Entry, Report, SpoolFault},
};
use attach_proto::{usage::UsageEvent, v1};
use prost::Message as _;
use std::{
    collections::VecDeque,
    future::Future as _,
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::Instant,
};

/// Tickets taken in one go. Beyond this the spool is told first, so that the earliest do not wait for the latest.
const BATCH: usize = 256;

/// How long the end of the process waits for the disk. Longer than that it does not answer at all.
const LAST_COMMITS: Duration = Duration::from_secs(10);

/// How long the end of the process waits for the quota stores. Their own call budget is 20 ms.
const LAST_SETTLEMENTS: Duration = Duration::from_secs(1);

/// How long an answer's end waits for its usage event. A commit takes well under a millisecond; a disk that stalls for
/// a second is out of order, and the caller should not wait for it to mend.
const DURABLE_WAIT: Duration = Duration::from_secs(1);

/// The answer's end waits on the other side; `None` when nobody does.
type Waiter = Option<oneshot::Sender<Result<(), SpoolFault>>>;

pub(crate) struct Settler {
    pub(crate) tickets: mpsc::Receiver<Settled>,
    pub(crate) spool: CoreQueue,
    pub(crate) reports: CoreReports,
    pub(crate) access_log: AccessLog,
    pub(crate) metrics: Arc<Metrics>,
}

impl Settler {
    /// Runs until every ticket that could come has come, and all are durable or known not to be.
    pub(crate) async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut waiting = Waiting::default();
        let mut settling = JoinSet::new();
        let mut is_open = true;
        // One timer for all that wait: it is looked at when it fires, and moved then.
        let mut patience = pin!(tokio::time::sleep(DURABLE_WAIT));
        let mut closed_at = Instant::now();
        while is_open || !waiting.is_empty() {
            tokio::select! {
                biased;
                count = self.tickets.recv_many(&mut batch, BATCH), if is_open => {
                    is_open = count > 0;
                    closed_at = Instant::now();
                    self.take(&mut batch, &mut waiting, &mut settling);
                    while settling.try_join_next().is_some() {}
                }
                report = self.reports.next(), if !waiting.is_empty() => {
                    self.reports.stalled(false);
                    waiting.resolve(&report);
                }
                () = patience.as_mut(), if !waiting.is_empty() => {
                    let now = Instant::now();
                    if waiting.give_up(now) {
                        self.reports.stalled(true);
                    }
                    if !is_open && now.duration_since(closed_at) > LAST_COMMITS {
                        tracing::error!("{} usage events are not known to be on disk", waiting.len());
                        break;
                    }
                    patience.as_mut().reset(waiting.next_deadline(now));
                }
            }
        }
        // What the quota store does not take by now lapses there by itself.
        let _ = tokio::time::timeout(LAST_SETTLEMENTS, settling.join_all()).await;
    }

    fn take(&self, batch: &mut Vec<Settled>, waiting: &mut Waiting, settling: &mut JoinSet<()>) {
        let mut entries = Vec::with_capacity(batch.len());
        let mut waiters = Vec::with_capacity(batch.len());
        let mut settlements: Vec<(Rc<QuotaStore>, Vec<Settlement>)> = Vec::new();
        for Settled { event, client, is_metered, hold, consumed, waiter } in batch.drain(..) {
            self.access_log.served(&event, client);
            self.metrics.settled(&event, is_metered);
            if is_metered {
                entries.push(entry(event));
                waiters.push(waiter);
            } else if let Some(waiter) = waiter {
                // The caller may have left; then nobody hears it.
                let _ = waiter.send(Ok(()));
            }
            if let Some(hold) = hold {
                let settlement = Settlement { reservation: hold.reservation, actual: consumed };
                match settlements.iter_mut().find(|(store, _)| Rc::ptr_eq(store, &hold.store)) {
                    Some((_, of_store)) => of_store.push(settlement),
                    None => settlements.push((hold.store, vec![settlement])),
                }
            }
        }
        if !entries.is_empty() {
            let pushed = self.spool.push(&mut entries);
            if let Err(error) = pushed {
                // What stayed in `entries` was not taken: the last of them.
                self.metrics.events_lost.inc_by(entries.len() as u64);
                tracing::error!("{} usage events could not be queued: {error}", entries.len());
                refuse(waiters.split_off(waiters.len() - entries.len()));
            }
            if !waiters.is_empty() {
                waiting.push(waiters);
            }
        }
        for (store, of_store) in settlements {
            let mut settlement = Box::pin(async move { store.settle(of_store).await });
            // A store in memory is done at once, and needs no task.
            let now = settlement.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            if now.is_pending() {
                settling.spawn_local(settlement);
            }
        }
    }
}

fn entry(event: UsageEvent) -> Entry {
    Entry { at_ms: event.occurred_at.as_millisecond(), body: v1::UsageEvent::from(event).encode_to_vec() }
}

fn refuse(waiters: Vec<Waiter>) {
    for waiter in waiters.into_iter().flatten() {
        let _ = waiter.send(Err(SpoolFault::Io));
    }
}

/// Who waits for which event, in the order in which this core pushed them.
#[derive(Default)]
struct Waiting {
    batches: VecDeque<Batch>,
    /// Events whose fate is known.
    resolved: u64,
}

struct Batch {
    waiters: VecDeque<Waiter>,
    since: Instant,
    /// They have waited long enough and were told; what becomes of their events nobody hears.
    is_given_up: bool,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    fn push(&mut self, waiters: Vec<Waiter>) {
        let batch = Batch { waiters: waiters.into(), since: Instant::now(), is_given_up: false };
        self.batches.push_back(batch);
    }

    fn resolve(&mut self, report: &Report) {
        while let Some(batch) = self.batches.front_mut() {
            while self.resolved < report.up_to {
                let Some(waiter) = batch.waiters.pop_front() else { break };
                self.resolved += 1;
                if let Some(waiter) = waiter {
                    let _ = waiter.send(report.result);
                }
            }
            if !batch.waiters.is_empty() {
                return;
            }
            self.batches.pop_front();
        }
    }

    /// Whoever has waited long enough hears that its event is not known to be durable. Whether anyone has.
    fn give_up(&mut self, now: Instant) -> bool {
        let mut has_any = false;
        let waiting = self.batches.iter_mut().filter(|batch| !batch.is_given_up);
        for batch in waiting.take_while(|batch| batch.since + DURABLE_WAIT <= now) {
            has_any = true;
            batch.is_given_up = true;
            // Their places stay, so that the count of events goes on.
            batch.waiters.iter_mut().for_each(|waiter| drop(waiter.take()));
        }
        has_any
    }

    /// When the next will have waited long enough.
    fn next_deadline(&self, now: Instant) -> Instant {
        let next = self.batches.iter().find(|batch| !batch.is_given_up);
        next.map_or(now, |batch| batch.since) + DURABLE_WAIT
    }

    fn len(&self) -> usize {
        self.batches.iter().map(|batch| batch.waiters.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Heard = oneshot::Receiver<Result<(), SpoolFault>>;

    fn waiters<const N: usize>() -> (Vec<Waiter>, [Heard; N]) {
        let mut waiters = Vec::new();
        let heard = std::array::from_fn(|_| {
            let (waiter, heard) = oneshot::channel();
            waiters.push(Some(waiter));
            heard
        });
        (waiters, heard)
    }

    #[tokio::test]
    async fn whoever_waits_hears_of_its_own_event_also_after_others_have_given_up() {
        let mut waiting = Waiting::default();
        let (first, mut impatient) = waiters::<3>();
        waiting.push(first);
        waiting.give_up(Instant::now() + DURABLE_WAIT);
        for heard in &mut impatient {
            assert_eq!(heard.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        }
        let (second, [mut patient]) = waiters::<1>();
        waiting.push(second);
        waiting.resolve(&Report { up_to: 3, result: Err(SpoolFault::Io) });
        assert_eq!(patient.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        assert!(!waiting.is_empty());
        waiting.resolve(&Report { up_to: 4, result: Ok(()) });
        assert_eq!(patient.try_recv(), Ok(Ok(())));
        assert!(waiting.is_empty());
    }

    #[tokio::test]
    async fn one_report_ends_the_waits_of_several_batches_and_no_more() {
        let mut waiting = Waiting::default();
        let (first, mut of_first) = waiters::<2>();
        let (second, mut of_second) = waiters::<2>();
        waiting.push(first);
        waiting.push(second);
        waiting.resolve(&Report { up_to: 3, result: Ok(()) });
        let told = of_first.iter_mut().chain(&mut of_second).map(|heard| heard.try_recv().is_ok());
        assert_eq!(told.collect::<Vec<_>>(), [true, true, true, false]);
        waiting.give_up(Instant::now());
        assert_eq!(
            of_second[1].try_recv(),
            Err(oneshot::error::TryRecvError::Empty),
            "it has not waited long"
        );
        waiting.give_up(Instant::now() + DURABLE_WAIT);
        assert_eq!(of_second[1].try_recv(), Err(oneshot::error::TryRecvError::Closed));
        waiting.resolve(&Report { up_to: 4, result: Ok(()) });
        assert!(waiting.is_empty());
    }
}
