//! The request path. One function, top to bottom; each stage takes the evidence of the one before by value.

use crate::{
    access_log::{AccessLog, RefusedRequest},
    admit::{Admitter, Standing},
    answer::AnswerBody,
    ask::{self, Ask, BodyBudget, BodyUse, Classified, Dialect, Operation, classify, dialect_of},
    authorize::{authorize, permit},
    clock::Clock,
    declared_models::declared_models,
    forward::{Forwarder, headers},
    identify::{Identifier, Principal},
    meter::{self, Collected},
    metrics::Metrics,
    own_routes::OwnRoutes,
    refusal::Refusal,
    snapshot::Snapshot,
    usage::SpoolHandle,
};
use attach_proto::{
    bundle::{Measure, Tenant},
    id::ModelName,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use std::{borrow::Cow, rc::Rc, sync::Arc};
use tokio::sync::watch;
use uuid::Uuid;

const X_LLM_MODEL: HeaderName = HeaderName::from_static("x-llm-model");
const X_TOKENS_IN: HeaderName = HeaderName::from_static("x-tokens-in");
const X_TOKENS_OUT: HeaderName = HeaderName::from_static("x-tokens-out");

/// By kind of measure: the amount, what remains of it, and when it is whole again.
const RATE_LIMITS: [(&[Measure], [HeaderName; 3]); 2] = [
    (
        &[Measure::Requests],
        [
            HeaderName::from_static("x-ratelimit-limit-requests"),
            HeaderName::from_static("x-ratelimit-remaining-requests"),
            HeaderName::from_static("x-ratelimit-reset-requests"),
        ],
    ),
    (
        &[Measure::TotalTokens, Measure::OutputTokens, Measure::InputTokens],
        [
            HeaderName::from_static("x-ratelimit-limit-tokens"),
            HeaderName::from_static("x-ratelimit-remaining-tokens"),
            HeaderName::from_static("x-ratelimit-reset-tokens"),
        ],
    ),
];

/// One core's stages.
pub(crate) struct Pipeline {
    pub(crate) snapshots: watch::Receiver<Arc<Snapshot>>,
    pub(crate) own_routes: OwnRoutes,
    pub(crate) identifier: Identifier,
    pub(crate) bodies: BodyBudget,
    pub(crate) max_request_bytes: usize,
    pub(crate) spool: SpoolHandle,
    pub(crate) admitter: Admitter,
    pub(crate) forwarder: Forwarder,
    pub(crate) access_log: AccessLog,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Clock,
}

/// What is known of a request when it is refused.
struct Known {
    dialect: Dialect,
    principal: Option<Rc<Principal>>,
    operation: Option<Cow<'static, str>>,
    model: Option<ModelName>,
}

impl Known {
    fn of(dialect: Dialect) -> Self {
        Self { dialect, principal: None, operation: None, model: None }
    }
}

impl Pipeline {
    /// Connects to the quota stores of the bundle that is served now.
    pub(crate) fn open_stores(&self) {
        let snapshot = Arc::clone(&self.snapshots.borrow());
        self.admitter.open_stores(&snapshot);
    }

    /// Answers a request, one way or the other.
    pub(crate) async fn serve(&self, request: Request<Incoming>) -> Response<AnswerBody> {
        let request_id = RequestId::of(request.headers());
        if let Some(mut response) = self.own_routes.public(&request) {
            response.headers_mut().insert(headers::X_REQUEST_ID, request_id.value);
            return response;
        }
        let mut known = Known::of(dialect_of(request.uri().path()));
        match self.answer(request, &request_id, &mut known).await {
            Ok(mut response) => {
                response.headers_mut().insert(headers::X_REQUEST_ID, request_id.value);
                response
            }
            Err(refusal) => self.refuse(&refusal, &request_id, &known),
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        request_id: &RequestId,
        known: &mut Known,
    ) -> Result<Response<AnswerBody>, Refusal> {
        // One snapshot from here to the end: a reload can't split a request.
        let snapshot = Arc::clone(&self.snapshots.borrow());
        let (head, body) = request.into_parts();
        check_host(&head)?;
        if OwnRoutes::is_private(&head) {
            let principal = self.identifier.identify(&head, &snapshot).await?;
            return Ok(self.own_routes.private(&principal));
        }

        let (path, query) = (head.uri.path(), head.uri.query());
        let classified = classify(&head.method, path, query, snapshot.allowed_routes())?;
        let classified = classified.with_named_upstream(&head.headers);
        known.dialect = classified.route.dialect;
        known.operation = Some(classified.operation_name());

        // Before the body is read, so that strangers can't make us hold any.
        let principal = self.identifier.identify(&head, &snapshot).await?;
        known.principal = Some(Rc::clone(&principal));

        let permit = permit(principal, classified.route.permission, &snapshot)?;

        let ask = self.read(classified, body, &snapshot).await?;
        known.model = ask.model().cloned();

        let grant = authorize(permit, ask, Arc::clone(&snapshot))?;
        if grant.ask().route().operation == Operation::Models && !snapshot.bundle().models.is_empty() {
            return Ok(declared_models(grant.ask().route().dialect, grant.principal(), &snapshot));
        }

        // An answer that could not be recorded would be held back in the end; better not to make it.
        let is_strict = snapshot.tenant(&grant.principal().tenant).is_none_or(Tenant::is_strict);
        if grant.ask().route().metering.is_metered() && is_strict && self.spool.is_out_of_order() {
            return Err(Refusal::SpoolOutOfOrder);
        }

        let mut ticket = self.admitter.admit(grant, Rc::clone(&request_id.text)).await?;
        let standing = ticket.take_standing();
        let model = ticket.ask().model().cloned();

        let answer = self.forwarder.forward(ticket, &head.headers, &request_id.value).await?;
        let mut response = match meter::collect(answer).await? {
            Collected::Whole { head, body, reading } => {
                let mut headers = headers::towards_caller(&head.headers);
                set_number(&mut headers, X_TOKENS_IN, reading.input);
                set_number(&mut headers, X_TOKENS_OUT, reading.output);
                respond(head.status, headers, AnswerBody::whole(body))
            }
            Collected::Passing { head, body } => {
                respond(head.status, headers::towards_caller(&head.headers), AnswerBody::stream(body))
            }
        };
        let headers = response.headers_mut();
        set_rate_limits(headers, &standing);
        if let Some(value) = model.and_then(|model| HeaderValue::try_from(model.as_str()).ok()) {
            headers.insert(X_LLM_MODEL, value);
        }
        Ok(response)
    }

    async fn read(
        &self,
        classified: Classified,
        body: Incoming,
        snapshot: &Snapshot,
    ) -> Result<Box<Ask>, Refusal> {
        let body_use = classified.body_use();
        match body_use {
            BodyUse::Ignored => return Ok(Box::new(ask::read_without_body(classified)?)),
            BodyUse::Streams => return Ok(Box::new(ask::read_upload(classified, body)?)),
            BodyUse::Asks | BodyUse::Changes | BodyUse::PassesWhole => {}
        }
        let (bytes, room) = ask::collect(body, self.max_request_bytes, &self.bodies).await?;
        Ok(Box::new(match body_use {
            BodyUse::Changes => {
                ask::read_change(classified, bytes, room, &snapshot.bundle().routes.registries)?
            }
            BodyUse::PassesWhole => ask::read_as_it_is(classified, bytes, room),
            BodyUse::Ignored | BodyUse::Streams | BodyUse::Asks => ask::read(classified, bytes, room)?,
        }))
    }

    fn refuse(&self, refusal: &Refusal, request_id: &RequestId, known: &Known) -> Response<AnswerBody> {
        self.metrics.refused(refusal);
        self.access_log.refused(&RefusedRequest {
            time: self.clock.now(),
            request_id: &request_id.text,
            principal: known.principal.as_deref(),
            operation: known.operation.as_deref(),
            model: known.model.as_ref().map(ModelName::as_str),
            refusal,
        });
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(headers::X_REQUEST_ID, request_id.value.clone());
        if let Some(value) = refusal.retry_after() {
            headers.insert(header::RETRY_AFTER, value);
        }
        if let Some(value) = refusal.challenge() {
            headers.insert(header::WWW_AUTHENTICATE, value);
        }
        if let Some(value) = refusal.allow() {
            headers.insert(header::ALLOW, value);
        }
        if let Some(standing) = refusal.standing() {
            set_rate_limits(&mut headers, &[standing]);
        }
        let body = Bytes::from(refusal.body(known.dialect, &request_id.text));
        respond(refusal.status(), headers, AnswerBody::whole(body))
    }
}

/// The caller's own name for the request, when it is one that can stand in a log; else one of ours.
struct RequestId {
    text: Rc<str>,
    value: HeaderValue,
}

impl RequestId {
    fn of(headers: &HeaderMap) -> Self {
        /// As long as two UUIDs and a bit, which is what tracing systems send.
        const LONGEST: usize = 128;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
        let given = headers.get(headers::X_REQUEST_ID).filter(|value| {
            let bytes = value.as_bytes();
            !bytes.is_empty() && bytes.len() <= LONGEST && bytes.iter().all(|&byte| plain(byte))
        });
        let given = given.and_then(|value| Some((value.to_str().ok()?, value)));
        match given {
            Some((text, value)) => Self { text: text.into(), value: value.clone() },
            None => {
                let mut room = Uuid::encode_buffer();
                let text: &str = Uuid::now_v7().hyphenated().encode_lower(&mut room);
                // A UUID is always a header value.
                let value = HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("none"));
                Self { text: text.into(), value }
            }
        }
    }
}

/// Exactly one `Host` (RFC 9112 section 3.2); HTTP/1.0 may leave it out.
fn check_host(head: &http::request::Parts) -> Result<(), Refusal> {
    match head.headers.get_all(header::HOST).into_iter().count() {
        1 => Ok(()),
        0 if head.version == Version::HTTP_10 => Ok(()),
        _ => Err(Refusal::Host),
    }
}

fn respond(status: StatusCode, headers: HeaderMap, body: AnswerBody) -> Response<AnswerBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// The headers that OpenAI's SDKs know, for the tightest limit of each kind.
fn set_rate_limits(headers: &mut HeaderMap, standing: &[Standing]) {
    for (measures, [limit, remaining, reset]) in RATE_LIMITS {
        let of_kind = standing.iter().filter(|standing| measures.contains(&standing.measure));
        if let Some(tightest) = of_kind.min_by_key(|standing| standing.remaining) {
            set_number(headers, limit, Some(tightest.amount));
            set_number(headers, remaining, Some(tightest.remaining));
            let mut text = itoa::Buffer::new().format(tightest.resets_in.as_millis()).to_owned();
            text.push_str("ms");
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.insert(reset, value);
            }
        }
    }
}

fn set_number(headers: &mut HeaderMap, name: HeaderName, number: Option<u64>) {
    // Digits are always a header value; the copy of them costs half of what `HeaderValue::from` does.
    if let Some(Ok(value)) = number.map(|number| HeaderValue::from_str(itoa::Buffer::new().format(number))) {
        headers.insert(name, value);
    }
}
