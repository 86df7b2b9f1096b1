//! The request path. One function, top to bottom; each stage takes the evidence of the one before by value.

use crate::{
    access_log::{AccessLog, RefusedRequest},
    admit::{Admitter, Standing},
    answer::AnswerBody,
    ask::{self, Ask, BodyBudget, BodyFault, BodyUse, Classified, Dialect, Operation, classify, dialect_of},
    authorize::{authorize, permit},
    callers::Proxies,
    clock::Clock,
    cors::Cors,
    declared_models::declared_models,
    forward::{Forwarder, headers},
    front::{self, Fault, Given},
    identify::{Identifier, Principal},
    load::{CoreLoad, Overload},
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
    question::is_request_id,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body::Body as _;
use hyper::body::Incoming;
use std::{borrow::Cow, net::IpAddr, rc::Rc, sync::Arc};
use tokio::sync::watch;
use uuid::Uuid;

const X_LLM_MODEL: HeaderName = HeaderName::from_static("x-llm-model");
const X_TOKENS_IN: HeaderName = HeaderName::from_static("x-tokens-in");
const X_TOKENS_OUT: HeaderName = HeaderName::from_static("x-tokens-out");

/// Tells nginx, and those that took it over from there, to pass on what comes when it comes.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

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
    pub(crate) proxies: Proxies,
    pub(crate) cors: Cors,
    pub(crate) load: CoreLoad,
}

/// How a request came.
pub(crate) struct Arrival {
    /// The other end of the connection.
    pub(crate) address: IpAddr,
    /// What the front handed on; HTTP/2 has none.
    pub(crate) given: Option<Given>,
}

/// What is known of a request when it is refused.
struct Known {
    client: IpAddr,
    dialect: Dialect,
    principal: Option<Rc<Principal>>,
    operation: Option<Cow<'static, str>>,
    model: Option<ModelName>,
}

impl Known {
    fn of(client: IpAddr, dialect: Dialect) -> Self {
        Self { client, dialect, principal: None, operation: None, model: None }
    }
}

impl Pipeline {
    /// Connects to the quota stores of the bundle that is served now.
    pub(crate) fn open_stores(&self) {
        let snapshot = Arc::clone(&self.snapshots.borrow());
        self.admitter.open_stores(&snapshot);
    }

    /// Answers a request, one way or the other.
    pub(crate) async fn serve(&self, request: Request<Incoming>, arrival: &Arrival) -> Response<AnswerBody> {
        let origin = request.headers().get(header::ORIGIN).cloned();
        let mut response = self.serve_caller(request, arrival).await;
        self.cors.mark(origin.as_ref(), response.headers_mut());
        response
    }

    async fn serve_caller(&self, request: Request<Incoming>, arrival: &Arrival) -> Response<AnswerBody> {
        let given = arrival.given.as_ref();
        let request_id = RequestId::of(request.headers());
        let client = self.proxies.client(arrival.address, request.headers());
        let mut known = Known::of(client, dialect_of(request.uri().path()));
        if let Err(fault) = front::check(&request, given) {
            let mut response = self.refuse(&fault.into(), &request_id, &known);
            if given.is_none() {
                // HTTP/2 has no such header; a stream is all that ends.
                response.headers_mut().remove(header::CONNECTION);
            }
            return response;
        }
        let preflight = |headers| respond(StatusCode::NO_CONTENT, headers, AnswerBody::whole(Bytes::new()));
        let own = self.cors.preflight(&request).map(preflight).or_else(|| self.own_routes.public(&request));
        if let Some(mut response) = own {
            response.headers_mut().insert(headers::X_REQUEST_ID, request_id.value);
            return response;
        }
        match self.answer(request, &request_id, &mut known).await {
            Ok(mut response) => {
                if given.is_some() && !self.load.keeps_connections() {
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                response.headers_mut().insert(headers::X_REQUEST_ID, request_id.value);
                response
            }
            Err(refusal) => {
                // hyper knows that the body broke off; the front knows why.
                let why = given
                    .and_then(Given::fault)
                    .filter(|_| matches!(refusal, Refusal::Body(BodyFault::Broken)));
                self.refuse(&why.map_or(refusal, Refusal::from), &request_id, &known)
            }
        }
    }

    /// The bytes that answer what hyper never got to see. Whose dialect it is can't be told.
    pub(crate) fn refuse_unread(&self, fault: Fault, address: IpAddr) -> Vec<u8> {
        let refusal = Refusal::Front(fault);
        let request_id = RequestId::of(&HeaderMap::new());
        let known = Known::of(address, Dialect::OpenAi);
        let response = self.refuse(&refusal, &request_id, &known);
        let body = refusal.body(Dialect::OpenAi, &request_id.text);
        let mut bytes =
            format!("HTTP/1.1 {}\r\ncontent-length: {}\r\n", refusal.status(), body.len()).into_bytes();
        for (name, value) in response.headers() {
            bytes.extend_from_slice(name.as_str().as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&body);
        bytes
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        request_id: &RequestId,
        known: &mut Known,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let mut in_hand = self.load.take()?;
        // One snapshot from here to the end: a reload can't split a request.
        let snapshot = Arc::clone(&self.snapshots.borrow());
        let (head, body) = request.into_parts();
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
        let permit = permit(Rc::clone(&principal), classified.route.permission, &snapshot)?;

        let is_alone = snapshot.bundle().tenants.len() <= 1;
        self.load.belongs_to(&mut in_hand, &principal.tenant, is_alone)?;
        if classified.route.metering.is_metered() && self.forwarder.is_full(&snapshot) {
            return Err(Overload::Engines.into());
        }
        let is_held = classified.body_use() != BodyUse::Streams;
        if is_held && !self.load.takes_body(body.size_hint().exact()) {
            return Err(Overload::Memory.into());
        }

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
        ticket.came_from(known.client);
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
                let mut headers = headers::towards_caller(&head.headers);
                headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
                respond(head.status, headers, AnswerBody::stream(body))
            }
        };
        let headers = response.headers_mut();
        set_rate_limits(headers, &standing);
        if let Some(value) = model.and_then(|model| HeaderValue::try_from(model.as_str()).ok()) {
            headers.insert(X_LLM_MODEL, value);
        }
        Ok(response.map(|body| body.held(in_hand)))
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
            client: known.client,
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
        if let Some(value) = refusal.accept_encoding() {
            headers.insert(header::ACCEPT_ENCODING, value);
        }
        if refusal.closes() {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
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
        let given = headers.get(headers::X_REQUEST_ID);
        let given = given.and_then(|value| Some((value.to_str().ok()?, value)));
        let given = given.filter(|(text, _)| is_request_id(text));
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
