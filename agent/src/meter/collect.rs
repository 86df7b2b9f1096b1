//! An answer in one piece, collected whole while it is small.

use super::{End, MeteredBody, Reading, Scanner, Wire, is_stream, wire_of};
use crate::{
    forward::{Answer, EngineFault},
    refusal::Refusal,
    within::within,
};
use attach_proto::{bundle::Durability, usage::Outcome};
use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode, response};
use std::future::poll_fn;

/// Answers up to this size are collected. A chat without streaming has some kilobytes; only batches of embeddings are
/// larger, and they pass through.
const MAX_COLLECTED_BYTES: usize = 1 << 20;

/// An engine's answer, ready to be sent on.
pub(crate) enum Collected {
    Whole {
        head: response::Parts,
        body: Bytes,
        reading: Reading,
    },
    /// A stream, or too large to hold: it passes as it comes.
    Passing {
        head: response::Parts,
        body: Box<MeteredBody>,
    },
}

/// Takes the body of an answer; streams are handed on at once.
pub(crate) async fn collect(mut answer: Answer) -> Result<Collected, Refusal> {
    let status = answer.head.status;
    if status.is_informational() || status.is_redirection() {
        // Nobody asked for another protocol or place, and the caller must not be sent to an engine's own address.
        return Err(fail(answer, EngineFault::Broken));
    }
    let wire = wire_of(&answer);
    let succeeded = answer.head.status.is_success();
    let mut scanner =
        wire.filter(|_| succeeded).map(|wire| Scanner::new(wire, answer.ticket.ask().hides_usage()));
    let passes_at_once = wire.map_or_else(|| is_stream(&answer), |wire| !matches!(wire, Wire::Json(_)));
    if succeeded && passes_at_once {
        return Ok(pass(answer, scanner, Bytes::new()));
    }
    let mut whole = Bytes::new();
    while let Some(data) = next_data(&mut answer).await? {
        whole = join(whole, data);
        if whole.len() > MAX_COLLECTED_BYTES {
            return Ok(pass(answer, scanner, whole));
        }
    }
    let mut reading = Reading::default();
    let mut outcome = outcome_of(answer.head.status);
    if let Some(scanner) = &mut scanner
        && *answer.ticket.ask().method() != Method::HEAD
    {
        let mut released = Vec::new();
        scanner.feed(whole.clone(), &mut released);
        let end = scanner.end_of_body(&mut released);
        reading = scanner.reading();
        answer.ticket.read(reading);
        match end {
            End::Complete => {}
            End::EngineError => outcome = Outcome::EngineError,
            End::Broken => return Err(fail(answer, EngineFault::Broken)),
        }
    }
    let Answer { mut ticket, head, body, place, .. } = answer;
    body.give_back();
    drop(place);
    ticket.answered(head.status.as_u16());
    let durability = ticket.durability();
    let must_be_recorded = succeeded && ticket.ask().route().metering.is_metered();
    let durable = ticket.settle(outcome);
    if must_be_recorded && !matches!(durable.await, Ok(Ok(()))) && durability == Durability::Strict {
        return Err(Refusal::NotRecorded);
    }
    Ok(Collected::Whole { head, body: whole, reading })
}

fn outcome_of(status: StatusCode) -> Outcome {
    if status.is_success() { Outcome::Complete } else { Outcome::EngineError }
}

fn pass(answer: Answer, scanner: Option<Scanner>, begun: Bytes) -> Collected {
    let Answer { mut ticket, head, body, place, timeouts } = answer;
    ticket.answered(head.status.as_u16());
    let (between_bytes, outcome) = (timeouts.between_bytes, outcome_of(head.status));
    let body = MeteredBody::new(ticket, (body, place), begun, scanner, between_bytes, outcome);
    Collected::Passing { head, body: Box::new(body) }
}

async fn next_data(answer: &mut Answer) -> Result<Option<Bytes>, Refusal> {
    loop {
        let frame = poll_fn(|context| answer.body.poll_frame(context));
        let fault = match within(answer.timeouts.between_bytes, frame).await {
            Some(None) => return Ok(None),
            Some(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => return Ok(Some(data)),
                Err(_trailers) => continue,
            },
            Some(Some(Err(error))) => {
                tracing::warn!("the engine's answer broke off: {error}");
                EngineFault::Broken
            }
            None => EngineFault::TimedOut,
        };
        let refusal = Refusal::Engine(fault);
        answer.ticket.failed(refusal.status().as_u16(), fault.outcome());
        return Err(refusal);
    }
}

fn fail(mut answer: Answer, fault: EngineFault) -> Refusal {
    let refusal = Refusal::Engine(fault);
    answer.ticket.failed(refusal.status().as_u16(), fault.outcome());
    refusal
}

/// Most answers come in one piece, which is then taken as it is.
fn join(first: Bytes, second: Bytes) -> Bytes {
    if first.is_empty() {
        return second;
    }
    let mut joined = first.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    joined.extend_from_slice(&second);
    joined.freeze()
}
