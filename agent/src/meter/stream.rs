//! A streamed answer on its way to the caller.
//!
//! Bytes go on as they come. Only the end marker is held back, until the usage event is durable; a stream without it
//! ends in an error, however cleanly the engine closed it. Dropping the body (the caller hung up) closes the
//! connection to the engine, which then stops, and settles the ticket.

use super::{
    End, LengthEnd, Scanner,
    silence::{PING_EVERY, Silence, Silent},
};
use crate::{
    admit::{Durable, STEP, StoreFault, Ticket},
    forward::{EngineBody, EngineFault},
    refusal::Refusal,
    route::Place,
};
use attach_proto::{bundle::Durability, usage::Outcome};
use bytes::Bytes;
use http_body::{Body, Frame};
use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::Instant;

type Extension = Pin<Box<dyn Future<Output = (crate::admit::Reservation, Result<bool, StoreFault>)>>>;

pub(crate) struct MeteredBody {
    /// Gone once the engine is done or given up.
    engine: Option<(EngineBody, Place)>,
    /// `None` for what carries no usage.
    scanner: Option<Scanner>,
    ticket: Option<Box<Ticket>>,
    ready: VecDeque<Bytes>,
    phase: Phase,
    allowance: Allowance,
    extension: Option<Extension>,
    silence: Silence,
    /// Whether the answer's wire has a way to end in an error.
    is_stream: bool,
    /// What the status line says of an answer that comes to its end.
    outcome_of_whole: Outcome,
}

enum Phase {
    Streaming,
    /// The end marker is here; it leaves when the usage event is durable.
    Recording {
        durable: Durable,
        durability: Durability,
        end: Ending,
    },
    /// The end marker has left; what the engine still sends (a last blank line) goes on.
    Trailing,
    /// Nothing more comes, but for what is ready.
    Ended,
    /// The framing of the answer has no way to say that it failed, so the connection must.
    Aborting(EngineFault),
}

/// What leaves when the usage event is durable.
enum Ending {
    /// The engine's own, which the scanner holds until then: an answer that can't be recorded ends in an error, and
    /// only a scanner that has not given it away can tell where that error has to go on.
    Engines,
    /// The one that we made, at a limit.
    Ours(Bytes),
}

/// The body ended in a way that only closing the connection can tell.
#[derive(Debug, thiserror::Error)]
#[error("the answer was interrupted: {0:?}")]
pub(crate) struct Interrupted(EngineFault);

/// How much output may still pass.
struct Allowance {
    /// Tokens that one extension adds.
    step: u64,
    /// No extension is needed beyond what the caller itself asked for.
    ceiling: Option<u64>,
    is_exhausted: bool,
}

impl MeteredBody {
    pub(super) fn new(
        ticket: Box<Ticket>,
        engine: (EngineBody, Place),
        begun: Bytes,
        scanner: Option<Scanner>,
        between_bytes: Duration,
        outcome_of_whole: Outcome,
    ) -> Self {
        let choices = ticket.ask().choices().max(1);
        let allowance = Allowance {
            step: STEP.saturating_mul(choices),
            ceiling: ticket.ask().output_asked().map(|asked| asked.saturating_mul(choices)),
            is_exhausted: false,
        };
        let ping_every = scanner.as_ref().filter(|scanner| scanner.has_events()).map(|_| PING_EVERY);
        let mut body = Self {
            engine: Some(engine),
            scanner,
            ticket: Some(ticket),
            ready: VecDeque::new(),
            phase: Phase::Streaming,
            allowance,
            extension: None,
            silence: Silence::new(between_bytes, ping_every),
            is_stream: begun.is_empty(),
            outcome_of_whole,
        };
        if !begun.is_empty() {
            body.take(begun);
        }
        body
    }

    /// A piece of the answer came.
    fn take(&mut self, data: Bytes) {
        let Some(scanner) = &mut self.scanner else {
            self.ready.push_back(data);
            return;
        };
        let mut released = Vec::new();
        scanner.feed(data, &mut released);
        self.ready.extend(released);
        if scanner.marker_held() {
            // Some engines say that they failed, and then end as if they had not.
            let failed = scanner.reading().engine_error;
            self.record(if failed { Outcome::EngineError } else { Outcome::Complete });
        } else {
            self.watch_allowance();
        }
    }

    /// The engine's body is over.
    fn engine_ended(&mut self) {
        let mut released = Vec::new();
        let end = self.scanner.as_mut().map_or(End::Complete, |scanner| scanner.end_of_body(&mut released));
        self.ready.extend(released);
        match (end, &self.phase) {
            (_, Phase::Trailing) => self.finish(),
            (End::Complete, _) => self.record(self.outcome_of_whole),
            (End::Broken | End::EngineError, _) => self.fail(EngineFault::Broken),
        }
    }

    /// Settles, and holds the end back until the event is durable.
    fn record(&mut self, outcome: Outcome) {
        let end = match (&self.scanner, outcome) {
            (Some(scanner), Outcome::Cut) => Ending::Ours(length_tail(scanner, self.ticket.as_deref())),
            _ => Ending::Engines,
        };
        let Some(mut ticket) = self.ticket.take() else { return self.finish() };
        if let Some(scanner) = &self.scanner {
            ticket.read(scanner.reading());
        }
        let durability = ticket.durability();
        self.phase = Phase::Recording { durable: ticket.settle(outcome), durability, end };
    }

    fn recorded(&mut self, is_durable: bool) {
        let Phase::Recording { durability, end, .. } = std::mem::replace(&mut self.phase, Phase::Trailing)
        else {
            return;
        };
        if is_durable || durability == Durability::Relaxed {
            match (end, &mut self.scanner) {
                (Ending::Ours(tail), _) => self.ready.push_back(tail),
                (Ending::Engines, Some(scanner)) => self.ready.extend(scanner.take_held()),
                (Ending::Engines, None) => {}
            }
            if self.engine.is_none() {
                self.finish();
            }
        } else {
            self.end_in_error(&Refusal::NotRecorded, EngineFault::Broken);
        }
    }

    fn fail(&mut self, fault: EngineFault) {
        if let Some(mut ticket) = self.ticket.take() {
            if let Some(scanner) = &self.scanner {
                ticket.read(scanner.reading());
            }
            // Nobody waits for it: an error end is no end marker.
            drop(ticket.settle(fault.outcome()));
        }
        let engine_said_so = self.scanner.as_ref().is_some_and(|scanner| scanner.reading().engine_error);
        if engine_said_so {
            // Its own error is on its way already.
            self.engine = None;
            self.phase = Phase::Ended;
        } else {
            self.end_in_error(&Refusal::Engine(fault), fault);
        }
    }

    fn end_in_error(&mut self, refusal: &Refusal, fault: EngineFault) {
        self.engine = None;
        let tail =
            self.scanner.as_ref().map(|scanner| scanner.error_tail(&refusal.message(), refusal.code()));
        match tail {
            // A stream can say that it failed. A body in one piece may have been promised a length.
            Some(tail) if self.is_stream => {
                self.ready.push_back(tail);
                self.phase = Phase::Ended;
            }
            _ => self.phase = Phase::Aborting(fault),
        }
    }

    /// The whole answer has passed; the connection may serve again.
    fn finish(&mut self) {
        if let Some((engine, _place)) = self.engine.take() {
            engine.give_back();
        }
        self.phase = Phase::Ended;
    }

    /// Asks for more in time, and cuts the stream when there is no more.
    fn watch_allowance(&mut self) {
        let (Some(scanner), Some(ticket)) = (&self.scanner, &self.ticket) else { return };
        let Some(reserved) = ticket.reserved_output() else { return };
        let passed = scanner.reading().output.unwrap_or(0).max(scanner.reading().deltas);
        if self.allowance.is_exhausted && passed >= reserved {
            // Dropping the connection tells the engine to stop.
            self.engine = None;
            self.record(Outcome::Cut);
            return;
        }
        let is_near = passed + self.allowance.step / 4 >= reserved;
        // What the caller asked for is a hint: some engines do not obey the field that it stands in. One that does stops
        // right there.
        let may_need_more =
            passed > reserved || self.allowance.ceiling.is_none_or(|ceiling| reserved < ceiling);
        if is_near && may_need_more && !self.allowance.is_exhausted && self.extension.is_none() {
            let Some(hold) = ticket.hold() else { return };
            let store = std::rc::Rc::clone(&hold.store);
            let mut reservation = hold.reservation.clone();
            let step = self.allowance.step;
            self.extension = Some(Box::pin(async move {
                let granted = store.extend(&mut reservation, step).await;
                (reservation, granted)
            }));
        }
    }

    fn poll_extension(&mut self, context: &mut Context<'_>) {
        let Some(extension) = &mut self.extension else { return };
        let Poll::Ready((reservation, granted)) = extension.as_mut().poll(context) else { return };
        self.extension = None;
        match granted {
            Ok(true) => {
                if let Some(ticket) = &mut self.ticket {
                    ticket.replace_reservation(reservation);
                }
            }
            Ok(false) => {
                self.allowance.is_exhausted = true;
                self.watch_allowance();
            }
            // What runs while the store is away runs on; it is asked again with the next chunk.
            Err(_) => {}
        }
    }

    fn is_trailing(&self) -> bool {
        matches!(self.phase, Phase::Trailing)
    }

    /// The engine's body does not come to its end.
    fn stop_short(&mut self, fault: EngineFault) {
        if self.is_trailing() {
            // The caller has all of the answer.
            self.engine = None;
            self.phase = Phase::Ended;
        } else {
            self.fail(fault);
        }
    }

    /// A comment, which readers of events skip, so that those in between see a byte now and then. Within an event it would
    /// be one more line of it, and its end the event's.
    fn ping(&mut self) {
        const PING: Bytes = Bytes::from_static(b": ping\n\n");
        let is_between = self.scanner.as_ref().is_some_and(Scanner::is_between_events);
        if is_between && matches!(self.phase, Phase::Streaming) {
            self.ready.push_back(PING);
        }
    }

    fn poll_engine(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some((engine, _)) = &mut self.engine else {
            // Given up: whatever the caller does not have yet does not come.
            self.stop_short(EngineFault::Broken);
            return Poll::Ready(());
        };
        match engine.poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                self.silence.last_byte = Instant::now();
                if let Ok(data) = frame.into_data() {
                    if self.is_trailing() {
                        self.ready.push_back(data);
                    } else {
                        self.take(data);
                    }
                }
                Poll::Ready(())
            }
            Poll::Ready(Some(Err(error))) => {
                tracing::warn!("the engine's answer broke off: {error}");
                self.stop_short(EngineFault::Broken);
                Poll::Ready(())
            }
            Poll::Ready(None) => {
                self.engine_ended();
                Poll::Ready(())
            }
            Poll::Pending => {
                match ready!(self.silence.poll(context)) {
                    Silent::Awhile => self.ping(),
                    Silent::TooLong => self.stop_short(EngineFault::TimedOut),
                }
                Poll::Ready(())
            }
        }
    }
}

/// The end that a caller would see if the engine itself had come to its limit.
fn length_tail(scanner: &Scanner, ticket: Option<&Ticket>) -> Bytes {
    let Some(ticket) = ticket else { return Bytes::new() };
    let reading = scanner.reading();
    let ask = ticket.ask();
    scanner.length_tail(&LengthEnd {
        id: &ticket.id().to_string(),
        model: ask.model().map_or("", |model| model.as_str()),
        now: ticket.occurred_at(),
        input: reading.input.unwrap_or(ask.input_estimate()),
        output: reading.output.unwrap_or(0).max(reading.deltas),
        choices: ask.choices(),
        usage: !ask.hides_usage(),
    })
}

impl Body for MeteredBody {
    type Data = Bytes;
    type Error = Interrupted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Interrupted>>> {
        let this = &mut *self;
        loop {
            if let Some(bytes) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            match &mut this.phase {
                Phase::Streaming => {
                    this.poll_extension(context);
                    if matches!(this.phase, Phase::Streaming) {
                        ready!(this.poll_engine(context));
                    }
                }
                Phase::Recording { durable, .. } => {
                    let is_durable = matches!(ready!(Pin::new(durable).poll(context)), Ok(Ok(())));
                    this.recorded(is_durable);
                }
                Phase::Trailing => ready!(this.poll_engine(context)),
                Phase::Ended => return Poll::Ready(None),
                Phase::Aborting(fault) => {
                    let interrupted = Interrupted(*fault);
                    this.phase = Phase::Ended;
                    return Poll::Ready(Some(Err(interrupted)));
                }
            }
        }
    }
}

impl Drop for MeteredBody {
    fn drop(&mut self) {
        if let (Some(ticket), Some(scanner)) = (&mut self.ticket, &self.scanner) {
            ticket.read(scanner.reading());
        }
    }
}
