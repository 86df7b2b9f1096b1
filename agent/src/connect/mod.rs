//! A gateway for programs of this machine that can't send a credential, such as the `ollama` command: a server on loopback
//! that adds one to each request and forwards it.
//!
//! Whatever can reach this port acts as the person, so it is on loopback alone, and `guard` keeps the pages out that the
//! person's browser shows. Other users of the machine can reach it: it is for a machine of one's own.
//!
//! Each connection here has one of its own to the gateway, so neither waits for another's answer, and bytes pass as they
//! come.

mod answer;
mod credential;
mod guard;
mod relay;

pub(crate) use credential::{Credential, Renewed};
pub(crate) use relay::Gateway;

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use relay::Relay;
use std::{rc::Rc, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::Semaphore, task::spawn_local};

/// A program sends its head at once. Between two requests a connection may be idle for as long: clients take that in
/// their stride, for every server does it.
const HEAD: Duration = Duration::from_secs(75);

/// One person's programs have some tens; each costs two sockets and a few buffers.
const MAX_CONNECTIONS: usize = 256;

/// A full table of files mends itself when a connection ends.
const AFTER_FAILED_ACCEPT: Duration = Duration::from_millis(100);

/// Serves for as long as it is polled, in a `LocalSet`.
pub(crate) async fn serve(listener: TcpListener, port: u16, gateway: Gateway, credential: Credential) {
    let shared = Rc::new((gateway, credential));
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // Never closed.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(AFTER_FAILED_ACCEPT).await;
            continue;
        };
        // Small pieces of a stream must not wait for each other; a socket that can't be told still works.
        let _ = stream.set_nodelay(true);
        let relay = Rc::new(Relay::new(Rc::clone(&shared), port));
        spawn_local(async move {
            let _place = place;
            let service = service_fn(|request| {
                let relay = Rc::clone(&relay);
                async move { relay.answer(request).await }
            });
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(HEAD);
            // A client that breaks off, or does not speak HTTP, is its own affair.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
