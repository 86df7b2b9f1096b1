//! Sends an admitted request whose body passes on as it comes. What was passed is kept nowhere, so nothing is tried twice.

use super::{
    Answer, EngineFault, Forwarder, attempt,
    body::{EngineRequestBody, Feed},
    fail, give_up,
    link::{FeedFault, Link},
    request_for,
};
use crate::{
    admit::Ticket,
    ask::{BODY_IDLE, BodyFault, Upload},
    dial::DialError,
    refusal::Refusal,
};
use attach_proto::usage::Outcome;
use http::{HeaderMap, HeaderValue};

/// How a body that passes on can fail.
pub(super) enum UploadFault {
    Dial(DialError),
    Broken(hyper::Error),
    /// The engine stopped taking it, or did not answer when it had it.
    TimedOut,
    Caller(BodyFault),
}

impl From<FeedFault> for UploadFault {
    fn from(fault: FeedFault) -> Self {
        match fault {
            FeedFault::Broken(error) => Self::Broken(error),
            FeedFault::EngineSilent => Self::TimedOut,
            FeedFault::Caller(fault) => Self::Caller(fault),
        }
    }
}

impl Forwarder {
    /// As [`Forwarder::forward`].
    pub(super) async fn upload(
        &self,
        mut ticket: Box<Ticket>,
        mut upload: Upload,
        from_caller: &HeaderMap,
        request_id: &HeaderValue,
    ) -> Result<Answer, Refusal> {
        let (target, place) = match self.engines.choose(&ticket, &[]) {
            Ok(chosen) => chosen,
            Err(no_route) => return Err(give_up(ticket, None, no_route)),
        };
        let upstream = &target.engine.upstream;
        let feed = Feed::new(upload.length());
        let request = request_for(&ticket, &target, from_caller, request_id)
            .map(|_nothing_read| EngineRequestBody::Fed(feed.clone()));
        let patience = (BODY_IDLE, upstream.timeouts.first_byte);
        let send = async |link: &mut Link| Ok(link.send_fed(request, &feed, &mut upload, patience).await?);
        let fault = match self.pool.send_once(&target.engine, send).await {
            Ok((head, body)) => {
                ticket.attempted(attempt(&target, Some(head.status.as_u16()), None));
                ticket.first_byte();
                let timeouts = upstream.timeouts;
                return Ok(Answer { ticket, head, body, place, timeouts });
            }
            Err(fault) => fault,
        };
        let (fault, error) = match fault {
            UploadFault::Dial(error) => {
                tracing::warn!(upstream.id = %upstream.id, "{error}");
                self.engines.shun(&upstream.id);
                (EngineFault::Unreachable, "unreachable")
            }
            UploadFault::Broken(error) => {
                tracing::warn!(upstream.id = %upstream.id, "the connection broke before an answer: {error}");
                (EngineFault::Broken, "broken")
            }
            UploadFault::TimedOut => (EngineFault::TimedOut, "timed_out"),
            UploadFault::Caller(fault) => {
                ticket.attempted(attempt(&target, None, Some("caller_broke_off")));
                let refusal = Refusal::Upload(fault);
                ticket.failed(refusal.status().as_u16(), Outcome::ClientGone);
                return Err(refusal);
            }
        };
        ticket.attempted(attempt(&target, None, Some(error)));
        Err(fail(ticket, fault))
    }
}
