//! Usage on its way: whatever happens to a batch or to its answer, each event arrives, and counts once.

use super::*;
use crate::usage::Entry;
use attach_proto::{enrolment::reason, v1::UsageBatch};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// Events by spool, as a control plane that keeps to the contract commits them.
#[derive(Default)]
struct Ledger(BTreeMap<String, Vec<Vec<u8>>>);

impl Ledger {
    fn take(&mut self, batch: &UsageBatch) -> Result<u64, Status> {
        let spool = self.0.entry(batch.spool.clone()).or_default();
        let known = spool.len() as u64;
        if batch.first_seq > known + 1 {
            let metadata = HashMap::from([(reason::EXPECTED_SEQ.to_owned(), (known + 1).to_string())]);
            return Err(refusal(reason::USAGE_GAP, metadata));
        }
        for (seq, event) in (batch.first_seq..).zip(&batch.events) {
            match spool.get(usize::try_from(seq).unwrap() - 1) {
                Some(taken) if taken == event => {}
                Some(_) => return Err(refusal(reason::USAGE_CHANGED, HashMap::new())),
                None => spool.push(event.to_vec()),
            }
        }
        Ok(spool.len() as u64)
    }

    fn events(&self) -> Vec<Vec<u8>> {
        self.0.values().flatten().cloned().collect()
    }
}

fn refusal(reason: &str, metadata: HashMap<String, String>) -> Status {
    let details = ErrorDetails::with_error_info(reason, reason::DOMAIN, metadata);
    Status::with_error_details(Code::FailedPrecondition, "no", details)
}

/// A gateway that reports.
struct Reporting {
    spool: SpoolWriter,
    running: Running,
    standing: Arc<Standing>,
    follow: tokio::task::JoinHandle<()>,
    session: Session,
}

impl Reporting {
    async fn start(world: &mut World) -> Self {
        let managed = world.managed();
        let source = managed.source(Vec::new(), Environment::default(), world.looks()).unwrap();
        let Source::ControlPlane(nobody) = &source else { panic!("of a control plane") };
        let (sender, _) = watch::channel(Arc::new(nobody.nobody()));
        let standing = managed.standing();
        let receiver = sender.subscribe();
        let follow = tokio::spawn(async move {
            let _receiver = receiver;
            source.follow(sender, |_| {}).await;
        });
        let session = world.session().await;
        let plane = Destination::ControlPlane(managed.authority());
        let spool = SpoolWriter::start(world.state.path(), Clock::System, plane).unwrap();
        let running = managed.start(&spool);
        Self { spool, running, standing, follow, session }
    }

    async fn store(&self, bodies: std::ops::Range<u64>) {
        let (queue, mut reports) = self.spool.handle().attach_core();
        let mut entries: Vec<_> =
            bodies.map(|body| Entry { at_ms: 0, body: body.to_be_bytes().to_vec() }).collect();
        let up_to = queue.push(&mut entries).unwrap();
        while reports.next().await.up_to < up_to {}
    }

    /// As a power cut ends it: nothing more is sent, and no mark is kept.
    fn cut(self) {
        self.follow.abort();
        self.running.reporter.abort();
        self.running.renewer.abort();
        drop(self.session);
    }
}

fn bodies(range: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    range.map(|body| body.to_be_bytes().to_vec()).collect()
}

#[tokio::test]
async fn lost_answers_and_refused_batches_lose_and_double_nothing() {
    let mut world = World::new().await;
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let mut calls = 0;
    let kept = Arc::clone(&ledger);
    world.plane.takes_usage(move |batch| {
        calls += 1;
        match calls % 3 {
            // Nothing happened, and nothing is said but that.
            0 => Err(Status::unavailable("the database is away")),
            // It was committed, and the answer is lost.
            1 => kept.lock().take(batch).and(Err(Status::internal("the answer is lost"))),
            _ => kept.lock().take(batch),
        }
    });
    let gateway = Reporting::start(&mut world).await;
    gateway.store(0..2_300).await;
    gateway.store(2_300..2_310).await;
    eventually("all is acknowledged", || gateway.spool.handle().acknowledged() == 2_310).await;
    assert_eq!(ledger.lock().events(), bodies(0..2_310));
    gateway.cut();
}

#[tokio::test]
async fn a_control_plane_that_forgot_events_is_sent_them_again() {
    let mut world = World::new().await;
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let kept = Arc::clone(&ledger);
    world.plane.takes_usage(move |batch| kept.lock().take(batch));
    let gateway = Reporting::start(&mut world).await;
    gateway.store(0..50).await;
    eventually("all is acknowledged", || gateway.spool.handle().acknowledged() == 50).await;
    // Its database came back from a copy.
    ledger.lock().0.values_mut().for_each(|events| events.truncate(20));
    gateway.store(50..60).await;
    eventually("all is acknowledged", || gateway.spool.handle().acknowledged() == 60).await;
    assert_eq!(ledger.lock().events(), bodies(0..60));
    gateway.cut();
}

#[tokio::test]
async fn what_a_gateway_that_was_cut_off_left_behind_is_sent_by_the_next_one() {
    let mut world = World::new().await;
    let gateway = Reporting::start(&mut world).await;
    gateway.store(0..30).await;
    gateway.cut();
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let kept = Arc::clone(&ledger);
    world.plane.takes_usage(move |batch| kept.lock().take(batch));
    let gateway = Reporting::start(&mut world).await;
    gateway.store(30..40).await;
    eventually("both spools are sent", || ledger.lock().events().len() == 40).await;
    assert_eq!(ledger.lock().events(), bodies(0..40));
    assert_eq!(ledger.lock().0.len(), 2);
    // At a graceful end what is left goes out too.
    gateway.store(40..45).await;
    let Reporting { spool, running, follow, .. } = gateway;
    running.finish().await;
    assert_eq!(ledger.lock().events().len(), 45);
    follow.abort();
    spool.close().unwrap();
}

#[tokio::test]
async fn a_spool_that_is_not_taken_is_stopped_and_counted() {
    let mut world = World::new().await;
    let calls = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&calls);
    world.plane.takes_usage(move |_| {
        *counted.lock() += 1;
        Err(refusal(reason::USAGE_FOREIGN_SPOOL, HashMap::new()))
    });
    let gateway = Reporting::start(&mut world).await;
    gateway.store(0..3).await;
    eventually("it is stopped", || gateway.standing.look().stopped_spools == 1).await;
    gateway.store(3..6).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(*calls.lock(), 1, "it is not tried again");
    gateway.cut();
}
