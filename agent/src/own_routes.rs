//! The few routes that the gateway answers itself, on the callers' port.

use crate::{answer::AnswerBody, identify::Principal, metrics::Metrics, settings::AuthConfig};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header, request::Parts};
use std::sync::Arc;

pub(crate) struct OwnRoutes {
    auth_config: Bytes,
    metrics: Arc<Metrics>,
}

impl OwnRoutes {
    pub(crate) fn new(auth_config: &AuthConfig, metrics: Arc<Metrics>) -> Self {
        let AuthConfig { issuer, domain, client_id, audience } = auth_config;
        let json = serde_json::json!({
            "issuer": issuer, "domain": domain, "client_id": client_id, "audience": audience,
        });
        Self { auth_config: json.to_string().into(), metrics }
    }

    /// Open to everyone, and telling nothing that is not public: liveness for a load balancer, and what a browser
    /// front end needs before it can sign anyone in.
    pub(crate) fn public<B>(&self, request: &Request<B>) -> Option<Response<AnswerBody>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return None;
        }
        match request.uri().path() {
            "/auth/config" => Some(respond(self.auth_config.clone(), "application/json")),
            "/health" => Some(respond(Bytes::from_static(b"{\"status\":\"ok\"}"), "application/json")),
            _ => None,
        }
    }

    pub(crate) fn is_private(head: &Parts) -> bool {
        head.method == Method::GET && head.uri.path() == "/metrics"
    }

    /// A caller's own counters. All of them are on the admin listener, for the operator.
    pub(crate) fn private(&self, principal: &Principal) -> Response<AnswerBody> {
        respond(self.metrics.render_for(principal).into(), "text/plain; version=0.0.4; charset=utf-8")
    }
}

fn respond(body: Bytes, content_type: &'static str) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::whole(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
