//! The admin listener: health, readiness and metrics, for the operator's eyes.

use crate::{
    access_log::AccessLog, dial::is_reachable, identify::Issuers, metrics::Metrics, snapshot::Snapshot,
    usage::SpoolHandle,
};
use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use serde::Serialize;
use std::{sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;

/// How long an engine may take to accept a connection before it counts as away.
const ENGINE_PATIENCE: Duration = Duration::from_millis(500);

#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) snapshots: watch::Receiver<Arc<Snapshot>>,
    pub(crate) issuers: Arc<Issuers>,
    pub(crate) spool: SpoolHandle,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) access_log: AccessLog,
    /// Set when the gateway is told to stop: balancers shall send no more.
    pub(crate) stop: CancellationToken,
}

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    bundle_revision: u64,
    engines: Vec<EngineState>,
    issuers: Vec<IssuerState>,
    usage_spool: SpoolState,
}

#[derive(Serialize)]
struct EngineState {
    id: String,
    url: String,
    reachable: bool,
}

#[derive(Serialize)]
struct IssuerState {
    issuer: String,
    keys: usize,
    error: Option<String>,
}

#[derive(Serialize)]
struct SpoolState {
    stored: u64,
    refused: u64,
    error: Option<String>,
}

/// Serves until stopped for good.
pub(crate) async fn serve(
    admin: Admin,
    listener: TcpListener,
    end: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(admin);
    axum::serve(listener, router).with_graceful_shutdown(end.cancelled_owned()).await
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let spool = admin.spool.stats();
    admin.metrics.spool_stored.set(number(spool.stored));
    admin.metrics.spool_refused.set(number(spool.refused));
    admin.metrics.log_lines_dropped.set(number(admin.access_log.dropped()));
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], admin.metrics.render())
}

/// Ready when an answer could be served and recorded: an engine is there and the spool takes events. Issuers are
/// shown but do not decide: while one is away, the callers of the others are served.
async fn readyz(State(admin): State<Admin>) -> impl IntoResponse {
    let snapshot = Arc::clone(&admin.snapshots.borrow());
    let mut engines = Vec::new();
    for upstream in &snapshot.bundle().upstreams {
        let reachable = is_reachable(&upstream.url, ENGINE_PATIENCE).await;
        engines.push(EngineState { id: upstream.id.to_string(), url: upstream.url.to_string(), reachable });
    }
    let issuers = admin.issuers.status().into_iter().map(|status| IssuerState {
        issuer: status.issuer,
        keys: status.keys,
        error: status.last_error,
    });
    let spool = admin.spool.stats();
    let readiness = Readiness {
        ready: engines.iter().any(|engine| engine.reachable)
            && spool.fault.is_none()
            && !admin.stop.is_cancelled(),
        bundle_revision: snapshot.bundle().revision.0,
        engines,
        issuers: issuers.collect(),
        usage_spool: SpoolState {
            stored: spool.stored,
            refused: spool.refused,
            error: spool.fault.map(|fault| fault.to_string()),
        },
    };
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness))
}
