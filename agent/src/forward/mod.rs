//! Sends an admitted request to an engine and takes the head of its answer: [`Ticket`] → [`Answer`].

mod body;
pub(crate) mod headers;
mod link;
mod pool;
mod socket;
mod upload;

pub(crate) use link::EngineBody;
pub(crate) use pool::Pool;

use crate::{
    admit::Ticket,
    refusal::Refusal,
    route::{Engines, NoRoute, Place, Target},
    snapshot::Snapshot,
};
use attach_proto::{
    bundle::UpstreamTimeouts,
    id::UpstreamId,
    usage::{Attempt, Outcome},
};
use body::EngineRequestBody;
use http::{HeaderMap, HeaderValue, Request, header, response};
use http_body_util::Full;
use pool::SendFault;

/// Engines that one request may be sent to. The second only ever gets what the first was never sent.
const MAX_ATTEMPTS: usize = 2;

/// Why no whole answer came from the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EngineFault {
    Unreachable,
    TimedOut,
    Broken,
}

impl EngineFault {
    pub(crate) fn outcome(self) -> Outcome {
        match self {
            Self::TimedOut => Outcome::TimedOut,
            Self::Unreachable | Self::Broken => Outcome::EngineError,
        }
    }
}

/// The head of an engine's answer, with its body still to come, and the ticket it belongs to.
pub(crate) struct Answer {
    pub(crate) ticket: Box<Ticket>,
    pub(crate) head: response::Parts,
    pub(crate) body: EngineBody,
    pub(crate) place: Place,
    pub(crate) timeouts: UpstreamTimeouts,
}

/// One core's way to the engines.
pub(crate) struct Forwarder {
    pool: Pool,
    engines: Engines,
}

impl Forwarder {
    pub(crate) fn new(pool: Pool, engines: Engines) -> Self {
        Self { pool, engines }
    }

    /// Whether no engine would take another request.
    pub(crate) fn is_full(&self, snapshot: &Snapshot) -> bool {
        self.engines.are_full(snapshot)
    }

    /// A failure settles the ticket; what is returned is for the caller.
    pub(crate) async fn forward(
        &self,
        mut ticket: Box<Ticket>,
        from_caller: &HeaderMap,
        request_id: &HeaderValue,
    ) -> Result<Answer, Refusal> {
        if let Some(upload) = ticket.take_upload() {
            // Boxed: it is rare, and would make each request's future larger.
            return Box::pin(self.upload(ticket, upload, from_caller, request_id)).await;
        }
        let mut tried: Vec<UpstreamId> = Vec::new();
        let mut fault = None;
        while tried.len() < MAX_ATTEMPTS {
            let (target, place) = match self.engines.choose(&ticket, &tried) {
                Ok(chosen) => chosen,
                Err(no_route) => return Err(give_up(ticket, fault, no_route)),
            };
            let upstream = &target.engine.upstream;
            let sent = {
                let request = || request_for(&ticket, &target, from_caller, request_id);
                tokio::time::timeout(upstream.timeouts.first_byte, self.pool.send(&target.engine, request))
                    .await
            };
            let failed = match sent {
                Ok(Ok((head, body))) => {
                    ticket.attempted(attempt(&target, Some(head.status.as_u16()), None));
                    ticket.first_byte();
                    let timeouts = upstream.timeouts;
                    return Ok(Answer { ticket, head, body, place, timeouts });
                }
                Ok(Err(SendFault::Dial(error))) => {
                    tracing::warn!(upstream.id = %upstream.id, "{error}");
                    ticket.attempted(attempt(&target, None, Some("unreachable")));
                    self.engines.shun(&upstream.id);
                    EngineFault::Unreachable
                }
                Ok(Err(SendFault::Broken(error))) => {
                    tracing::warn!(upstream.id = %upstream.id, "the connection broke before an answer: {error}");
                    ticket.attempted(attempt(&target, None, Some("broken")));
                    // It may have worked on it for minutes: a generation is not paid for twice.
                    return Err(fail(ticket, EngineFault::Broken));
                }
                Err(_elapsed) => {
                    ticket.attempted(attempt(&target, None, Some("timed_out")));
                    // It had its time; another engine would keep the caller waiting as long again.
                    return Err(fail(ticket, EngineFault::TimedOut));
                }
            };
            fault = Some(failed);
            tried.push(upstream.id.clone());
        }
        Err(fail(ticket, fault.unwrap_or(EngineFault::Unreachable)))
    }
}

fn fail(mut ticket: Box<Ticket>, fault: EngineFault) -> Refusal {
    let refusal = Refusal::Engine(fault);
    ticket.failed(refusal.status().as_u16(), fault.outcome());
    refusal
}

fn give_up(mut ticket: Box<Ticket>, fault: Option<EngineFault>, no_route: NoRoute) -> Refusal {
    match fault {
        Some(fault) => fail(ticket, fault),
        None => {
            let refusal = Refusal::NoRoute(no_route);
            ticket.failed(refusal.status().as_u16(), Outcome::EngineError);
            refusal
        }
    }
}

fn request_for(
    ticket: &Ticket,
    target: &Target,
    from_caller: &HeaderMap,
    request_id: &HeaderValue,
) -> Request<EngineRequestBody> {
    let Target { engine, engine_model } = target;
    let ask = ticket.ask();
    let body = ask.body_for(engine.upstream.kind, engine_model.as_ref(), ticket.output_cap());
    let mut headers = headers::towards_engine(from_caller, ticket.principal(), request_id, ask.content());
    if let Some(host) = &engine.host {
        headers.insert(header::HOST, host.clone());
    }
    if let Some(credential) = &engine.credential {
        headers.insert(header::AUTHORIZATION, credential.clone());
    }
    let prefix = engine.upstream.url.path().trim_end_matches('/');
    let mut request = Request::new(EngineRequestBody::Whole(Full::new(body)));
    *request.method_mut() = ask.method().clone();
    *request.headers_mut() = headers;
    // Route and query were parsed as a URI before, and the prefix is a URL's path.
    if let Ok(uri) = ask.engine_path(prefix, engine_model.as_ref()).try_into() {
        *request.uri_mut() = uri;
    }
    request
}

fn attempt(target: &Target, http_status: Option<u16>, error: Option<&'static str>) -> Attempt {
    Attempt {
        upstream: target.engine.upstream.id.clone(),
        engine_model: target.engine_model.clone(),
        http_status,
        error: error.map(Into::into),
    }
}
