//! The life of one stream of configuration: Hello, updates and their answers, heartbeats, and how it ended.

use super::{
    Asked, ControlPlane, Seen,
    end::{End, end_of},
    good::{Good, MAX_HELD_BYTES, Refusal, brought_bytes, held_bytes},
    heartbeat::{HEARTBEAT_EVERY, SILENCE, Sent, duration_to_wire},
    questions::Questions,
};
use crate::{
    control_plane::{CALL, Connection, MAX_MESSAGE_BYTES},
    snapshot::Snapshot,
};
use attach_proto::{
    id::Revision,
    resources::{EXPLAINS, FEATURES, Resources},
    v1::{
        self, FromAgent, ToAgent, configuration_client::ConfigurationClient, from_agent::Message as Out,
        to_agent::Message as In,
    },
};
use prost::Message as _;
use std::sync::Arc;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// Messages that wait to be sent. Heartbeats and answers are small and rare; a control plane that leaves these many
/// lying does not listen.
const OUTBOX: usize = 16;

/// Room that wishes for keys leave to the others: strangers cause them, and must not be what ends the stream.
const ROOM_BESIDE_WISHES: usize = OUTBOX / 2;

/// Longest Hello: three quarters of a message, which names some 50,000 resources.
const MAX_HELLO_BYTES: usize = MAX_MESSAGE_BYTES / 4 * 3;

/// Longest reason that an answer gives.
const MAX_ERROR_BYTES: usize = 4_096;

/// One stream.
struct Stream<'a, B> {
    of: &'a mut ControlPlane,
    /// `None` once nothing more is to be said: then the control plane ends the stream.
    out: Option<mpsc::Sender<FromAgent>>,
    snapshots: &'a watch::Sender<Arc<Snapshot>>,
    before: &'a B,
    seen: watch::Receiver<Seen>,
    sent: Option<Sent>,
    questions: Questions,
    /// What both sides know that this gateway has: what it said in Hello, then what it applied. An update is a change to it.
    base: Arc<Resources>,
    /// That, and what came since of an update that is not whole yet.
    received: Arc<Resources>,
    /// Of what was received: at least as much as it is.
    bytes: usize,
}

impl ControlPlane {
    pub(super) async fn follow_once<B: Fn(&Snapshot)>(
        &mut self,
        snapshots: &watch::Sender<Arc<Snapshot>>,
        before: &B,
        seen: watch::Receiver<Seen>,
    ) -> End {
        let connection = match self.link.connect().await {
            Ok(connection) => connection,
            Err(error) => return End::Broken(format!("{}: {error}", self.link.identity().address)),
        };
        let is_fresh = std::mem::take(&mut self.start_over);
        let mut base = match &self.good {
            Some(good) if !is_fresh => good.resources(),
            Some(_) | None => Arc::default(),
        };
        let (out, outbox) = mpsc::channel(OUTBOX);
        let mut hello = v1::Hello {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            features: FEATURES.into_iter().chain([EXPLAINS]).map(str::to_owned).collect(),
            held: base.held(),
            upstreams: self.host.upstreams().to_vec(),
        };
        if hello.encoded_len() > MAX_HELLO_BYTES {
            // To be sent everything costs more, but a message that is refused would cost it all.
            base = Arc::default();
            hello.held.clear();
        }
        let bytes = held_bytes(&base);
        let received = Arc::clone(&base);
        let questions = Questions::new(self.looks.issuers.line().open());
        let mut stream = Stream {
            of: self,
            out: Some(out),
            snapshots,
            before,
            seen,
            sent: None,
            questions,
            base,
            received,
            bytes,
        };
        match stream.open(connection, hello, outbox).await {
            Ok(inbound) => stream.run(inbound).await,
            Err(end) => end,
        }
    }
}

impl<B: Fn(&Snapshot)> Stream<'_, B> {
    async fn open(
        &self,
        connection: Connection,
        hello: v1::Hello,
        outbox: mpsc::Receiver<FromAgent>,
    ) -> Result<Streaming<ToAgent>, End> {
        self.send(Out::Hello(hello))?;
        let origin = connection.origin();
        let mut client =
            ConfigurationClient::with_origin(connection, origin).max_decoding_message_size(MAX_MESSAGE_BYTES);
        match timeout(CALL, client.follow(ReceiverStream::new(outbox))).await {
            Ok(Ok(opened)) => Ok(opened.into_inner()),
            Ok(Err(status)) => Err(end_of(&status)),
            Err(_elapsed) => Err(End::Broken(format!("no answer within {CALL:?}"))),
        }
    }

    async fn run(&mut self, mut inbound: Streaming<ToAgent>) -> End {
        let mut heartbeats = interval(HEARTBEAT_EVERY);
        heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_word = Instant::now();
        loop {
            let went = tokio::select! {
                message = inbound.message() => match message {
                    Ok(Some(message)) => {
                        last_word = Instant::now();
                        self.hear(message).await
                    }
                    Ok(None) => Err(End::Broken("it ended the stream".to_owned())),
                    Err(status) => Err(end_of(&status)),
                },
                _ = heartbeats.tick() => self.beat(),
                wanted = self.questions.next(), if self.has_room_for_wishes() => self.send(Out::KeysWanted(wanted)),
                () = self.of.link.renewed() => Err(End::Renewed),
                () = sleep_until(last_word + SILENCE) => {
                    Err(End::Broken(format!("no word for {SILENCE:?}")))
                }
            };
            if let Err(end) = went {
                return end;
            }
        }
    }

    /// Looked at after each message; a heartbeat comes within seconds.
    fn has_room_for_wishes(&self) -> bool {
        self.out.as_ref().is_none_or(|out| out.capacity() > ROOM_BESIDE_WISHES)
    }

    fn send(&self, message: Out) -> Result<(), End> {
        let Some(out) = &self.out else { return Ok(()) };
        let sent = out.try_send(FromAgent { message: Some(message) });
        sent.map_err(|_| End::Broken("it does not take what is sent".to_owned()))
    }

    async fn hear(&mut self, message: ToAgent) -> Result<(), End> {
        let was_away = !self.of.standing.look().connected;
        self.of.standing.note(|state| {
            state.connected = true;
            state.problem = None;
            state.last_word = Some(Instant::now());
        });
        if was_away {
            tracing::info!("connected to the control plane at {}", self.of.link.identity().address);
        }
        match message.message {
            Some(In::Update(update)) => self.take(update).await,
            Some(In::HeartbeatReply(reply)) => {
                self.measure(&reply);
                Ok(())
            }
            Some(In::Question(question)) => self.pass_on(question),
            Some(In::KeysLookedUp(reply)) => {
                let applied = self.of.standing.look().applied_revision.unwrap_or_default();
                self.questions.answered(reply, applied);
                Ok(())
            }
            // Of a later version, which must not count on an answer.
            None => Ok(()),
        }
    }

    /// To whoever answers: that may take seconds, in which the stream goes on.
    fn pass_on(&self, question: v1::Question) -> Result<(), End> {
        let Some(out) = &self.out else { return Ok(()) };
        let question_id = question.id.clone();
        let asked = Asked { question, answer_to: out.clone() };
        if self.of.looks.questions.try_send(asked).is_ok() {
            return Ok(());
        }
        let busy = "the gateway has too many questions to answer at the moment; ask again".to_owned();
        self.send(Out::Answer(v1::Answer { question_id, answer: Some(v1::answer::Answer::Problem(busy)) }))
    }

    // === updates ===

    async fn take(&mut self, update: v1::Update) -> Result<(), End> {
        if self.out.is_none() {
            return Ok(());
        }
        self.bytes = self.bytes.saturating_add(brought_bytes(&update));
        // The chunks of an update that is too large are let pass, for only the last one is answered.
        if self.bytes <= MAX_HELD_BYTES {
            Arc::make_mut(&mut self.received).apply(&update);
        }
        if !update.last {
            return Ok(());
        }
        match self.check(&update).await {
            Ok((good, snapshot)) => self.apply(&update, good, snapshot).await,
            Err(refusal) => self.refuse(&update, &refusal),
        }
    }

    /// On a thread of its own: ten thousand keys take some ten milliseconds, in which health and issuers would wait.
    async fn check(&self, update: &v1::Update) -> Result<(Good, Snapshot), Refusal> {
        if self.bytes > MAX_HELD_BYTES {
            return Err(Refusal::TooLarge);
        }
        let resources = Arc::clone(&self.received);
        let (revision, manifest) = (Revision(update.revision), update.manifest.clone());
        let held = self.of.good.as_ref().map(Good::revision);
        let (identity, host) = (self.of.link.identity(), Arc::clone(&self.of.host));
        let checked = tokio::task::spawn_blocking(move || {
            let good = Good::check(resources, revision, manifest, &identity, held)?;
            let snapshot = good.snapshot(&host)?;
            Ok((good, snapshot))
        });
        checked.await.unwrap_or(Err(Refusal::Different))
    }

    async fn apply(&mut self, update: &v1::Update, good: Good, snapshot: Snapshot) -> Result<(), End> {
        let revision = good.revision();
        self.base = good.resources();
        self.begin_anew();
        (self.before)(&snapshot);
        self.snapshots.send_replace(Arc::new(snapshot));
        tracing::info!(bundle.revision = revision.0, "a revision of the control plane acts now");
        self.of.standing.note(|state| {
            state.applied_revision = Some(revision.0);
            state.refusal = None;
            state.revoked = false;
        });
        self.questions.applied(revision.0);
        self.of.good = Some(good.clone());
        // Kept before it is acknowledged: what the control plane counts as applied outlives a restart.
        let kept = Arc::clone(&self.of.kept);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || kept.store(&good)).await {
            tracing::error!("{error}; a restart without the control plane would serve an older revision");
        }
        self.acknowledge(update, String::new())
    }

    fn refuse(&mut self, update: &v1::Update, refusal: &Refusal) -> Result<(), End> {
        let serving = match &self.of.good {
            Some(good) => format!("revision {} serves on", good.revision()),
            None => "there is none to serve".to_owned(),
        };
        tracing::error!(
            bundle.revision = update.revision,
            "a revision of the control plane is refused: {refusal}; {serving}"
        );
        self.of.standing.note(|state| {
            state.refused_revisions += 1;
            state.refusal = Some(format!("revision {}: {refusal}", update.revision));
        });
        self.acknowledge(update, bounded(refusal.to_string()))?;
        self.begin_anew();
        if refusal.is_of_transport() {
            tracing::warn!("asking the control plane for all of it again");
            self.of.start_over = true;
            self.out = None;
        }
        Ok(())
    }

    /// The next update is a change to what both sides know that this gateway has.
    fn begin_anew(&mut self) {
        self.received = Arc::clone(&self.base);
        self.bytes = held_bytes(&self.base);
    }

    fn acknowledge(&self, update: &v1::Update, error: String) -> Result<(), End> {
        self.send(Out::Ack(v1::Ack { nonce: update.nonce.clone(), revision: update.revision, error }))
    }

    // === heartbeats ===

    fn beat(&mut self) -> Result<(), End> {
        let at = self.of.clock.now();
        self.sent = Some(Sent { at, instant: Instant::now() });
        let state = self.of.standing.look();
        let Seen { upstreams, issuers } = self.seen.borrow().clone();
        self.send(Out::Heartbeat(v1::Heartbeat {
            sent_at: Some(attach_proto::timestamp(at)),
            applied_revision: state.applied_revision.unwrap_or_default(),
            clock_offset: state.clock_offset.map(duration_to_wire),
            upstreams,
            unacknowledged_events: state.unacknowledged_events(),
            issuers,
        }))
    }

    fn measure(&mut self, reply: &v1::HeartbeatReply) {
        let Some(sent) = self.sent else { return };
        let offset = sent.offset(reply.sent_at.as_ref(), reply.received_at.as_ref(), Instant::now());
        if offset.is_some() {
            self.of.standing.note(|state| state.clock_offset = offset);
        }
    }
}

fn bounded(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_ERROR_BYTES));
    text
}
