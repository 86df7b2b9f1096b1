//! The listener of the console and the REST API.

mod patience;

use axum::{Router, body::Body, http::StatusCode, response::IntoResponse as _};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use patience::Patient;
use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Connections at once; each takes some 20 KiB, and a console has few people.
const MAX_CONNECTIONS: usize = 2_048;

/// A browser's cookies and a token are far below that.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// For one request, its body included: a mebibyte at 64 kbit/s takes two minutes, and nobody sends one. Queries end sooner.
const REQUEST: Duration = Duration::from_secs(60);

/// For open requests at the end; within what the start gives all listeners.
const GRACE: Duration = Duration::from_secs(8);

/// How often a connection is looked after; deadlines are met that much later at most.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// After running out of file descriptors, time for some to be closed.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves until stopped, and then until the open requests have ended, within bounds.
pub(crate) async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let connections = TaskTracker::new();
    let abort = CancellationToken::new();
    loop {
        if connections.len() >= MAX_CONNECTIONS {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(PAUSE) => continue,
            }
        }
        let stream = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!("a connection could not be accepted: {error}");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            },
        };
        // Else an answer waits for the caller's delayed acknowledgement, up to 40 ms.
        let _ = stream.set_nodelay(true);
        let (stop, abort) = (stop.clone(), abort.clone());
        connections.spawn(connection(stream, router.clone(), stop, abort));
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(GRACE, connections.wait()).await.is_err() {
        tracing::warn!("{} requests are still open after the grace period and are closed", connections.len());
        abort.cancel();
        connections.wait().await;
    }
}

async fn connection(stream: TcpStream, router: Router, stop: CancellationToken, abort: CancellationToken) {
    let in_progress = Arc::default();
    let stream = Patient::new(TokioIo::new(stream), Arc::clone(&in_progress));
    let service = service_fn(move |request: Request<Incoming>| {
        let router = TowerToHyperService::new(router.clone());
        let counted = patience::InProgress::new(Arc::clone(&in_progress));
        async move {
            let _counted = counted;
            let answer = hyper::service::Service::call(&router, request.map(Body::new));
            let answer = match tokio::time::timeout(REQUEST, answer).await {
                Ok(Ok(answer)) => answer,
                Err(_) => (StatusCode::REQUEST_TIMEOUT, "the request took too long\n").into_response(),
            };
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        // `Patient` looks after that.
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(stream, service);
    let mut connection = pin!(connection);
    // How a connection ends is no event of ours: its requests tell their own story.
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            _ = connection.as_mut() => return,
            () = stop.cancelled() => break,
            // hyper reads no more until something comes; polled again, it meets the deadlines of `Patient`.
            _ = look.tick() => {}
        }
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        _ = connection => {}
        () = abort.cancelled() => {}
    }
}

#[cfg(test)]
mod tests;
