//! The admin listener: health, readiness and metrics, for the operator's eyes.

use crate::{
    access_log::AccessLog,
    clock::Clock,
    control_plane::{Standing, State as ControlPlane},
    dial::is_reachable,
    identify::{IssuerStatus, Issuers},
    metrics::Metrics,
    snapshot::Snapshot,
    tls::{TlsStanding, TlsState},
    usage::SpoolHandle,
};
use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use jiff::Timestamp;
use serde::Serialize;
use std::{sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;

/// How long an engine may take to accept a connection before it counts as away.
const ENGINE_PATIENCE: Duration = Duration::from_millis(500);

/// Issuers that are shown, those in trouble first: more than a person reads.
const MAX_ISSUERS: usize = 100;

#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) snapshots: watch::Receiver<Arc<Snapshot>>,
    pub(crate) issuers: Arc<Issuers>,
    pub(crate) spool: SpoolHandle,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) access_log: AccessLog,
    pub(crate) clock: Clock,
    /// `None` for a gateway that belongs to no control plane.
    pub(crate) standing: Option<Arc<Standing>>,
    /// `None` for one that serves plain HTTP.
    pub(crate) tls: Option<Arc<TlsStanding>>,
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
    managed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    control_plane: Option<ControlPlaneState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<CertificateState>,
}

#[derive(Serialize)]
struct CertificateState {
    names: Vec<String>,
    ends: Option<Timestamp>,
    days_left: Option<f64>,
    /// Why the newest certificate is not the one that is served.
    problem: Option<String>,
    client_authority_problem: Option<String>,
}

#[derive(Serialize)]
struct ControlPlaneState {
    connected: bool,
    revoked: bool,
    /// Why there is no connection.
    problem: Option<String>,
    applied_revision: Option<u64>,
    refused_revisions: u64,
    /// Of the one refused last.
    refusal: Option<String>,
    seconds_since_last_word: Option<f64>,
    /// How far this clock is ahead.
    clock_offset_seconds: Option<f64>,
    unacknowledged_events: u64,
    stopped_spools: u64,
    certificate_days_left: Option<f64>,
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
    /// As its tokens must have it, where its metadata says so in another form.
    #[serde(skip_serializing_if = "Option::is_none")]
    effective_issuer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keys_from: Option<String>,
    usable: bool,
    keys: usize,
    skipped_keys: usize,
    stale: bool,
    fetched_at: Option<Timestamp>,
    fetches: u64,
    failed_fetches: u64,
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

/// Ready when an answer could be served and recorded: there is a bundle and an engine, and the spool takes events. Issuers
/// are shown but do not decide: while one is away, the callers of the others are served. Nor does the control plane, as long
/// as it has not revoked this gateway. Nor a certificate that ends: not every caller looks, but one there must be.
async fn readyz(State(admin): State<Admin>) -> impl IntoResponse {
    let snapshot = Arc::clone(&admin.snapshots.borrow());
    let mut engines = Vec::new();
    for upstream in &snapshot.bundle().upstreams {
        let reachable = is_reachable(&upstream.url, ENGINE_PATIENCE).await;
        engines.push(EngineState { id: upstream.id.to_string(), url: upstream.url.to_string(), reachable });
    }
    let issuers = admin.issuers.status_of(MAX_ISSUERS).into_iter().map(issuer_state);
    let spool = admin.spool.stats();
    let control_plane = admin.standing.as_ref().map(|standing| standing.look());
    let tls = admin.tls.as_ref().map(|standing| standing.look());
    let readiness = Readiness {
        ready: control_plane.as_ref().is_none_or(|state| state.applied_revision.is_some())
            && engines.iter().any(|engine| engine.reachable)
            && spool.fault.is_none()
            && tls.as_ref().is_none_or(|state| state.validity.is_some())
            && !admin.stop.is_cancelled(),
        bundle_revision: snapshot.bundle().revision.0,
        engines,
        issuers: issuers.collect(),
        usage_spool: SpoolState {
            stored: spool.stored,
            refused: spool.refused,
            error: spool.fault.map(|fault| fault.to_string()),
        },
        managed: control_plane.is_some(),
        control_plane: control_plane.map(|state| control_plane_state(state, admin.clock.now())),
        tls: tls.map(|state| certificate_state(state, admin.clock.now())),
    };
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness))
}

fn issuer_state(status: IssuerStatus) -> IssuerState {
    let IssuerStatus {
        issuer,
        source,
        effective_issuer,
        keys,
        skipped_keys,
        last_fetch,
        last_error,
        stale,
        usable,
        attempts,
    } = status;
    IssuerState {
        effective_issuer: effective_issuer.filter(|effective| *effective != issuer),
        issuer,
        keys_from: source,
        usable,
        keys,
        skipped_keys,
        stale,
        fetched_at: last_fetch,
        fetches: attempts.good,
        failed_fetches: attempts.failed,
        error: last_error,
    }
}

fn control_plane_state(state: ControlPlane, now: Timestamp) -> ControlPlaneState {
    ControlPlaneState {
        connected: state.connected,
        revoked: state.revoked,
        applied_revision: state.applied_revision,
        refused_revisions: state.refused_revisions,
        seconds_since_last_word: state.last_word.map(|at| at.elapsed().as_secs_f64()),
        clock_offset_seconds: state.clock_offset.map(|offset| offset.as_secs_f64()),
        unacknowledged_events: state.unacknowledged_events(),
        stopped_spools: state.stopped_spools,
        certificate_days_left: state.certificate_days(now),
        problem: state.problem,
        refusal: state.refusal,
    }
}

fn certificate_state(state: TlsState, now: Timestamp) -> CertificateState {
    let ends = state.validity.map(|validity| validity.not_after);
    CertificateState {
        names: state.names,
        ends,
        days_left: ends.map(|ends| ends.duration_since(now).as_secs_f64() / 86_400.0),
        problem: state.problem,
        client_authority_problem: state.client_authority_problem,
    }
}
