//! One core's connection to a Redis: made when it is wanted, dropped when it does not answer, and never waited for
//! longer than the call budget.

use super::{
    breaker::Breaker,
    script::{Invocation, Source},
    store::StoreFault,
};
use ::redis::{
    AsyncConnectionConfig, Client, ErrorKind, FromRedisValue, RedisError, RedisResult, ServerErrorKind,
    aio::MultiplexedConnection,
};
use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::{Duration, Instant},
};
use tokio::{sync::Notify, time::timeout};

/// TCP, TLS and sign-in, four round trips of 200 ms; also the longest that an attempt which met a dead network keeps
/// the next one waiting. Callers wait for no more than their call budget; the attempt goes on without them.
const CONNECT_BUDGET: Duration = Duration::from_secs(1);

/// Calls that wait for room in the connection's own queue. More than one core has streams that end in one tick.
const PIPELINE: usize = 1024;

#[derive(Debug)]
pub(super) struct Link {
    client: Client,
    call_budget: Duration,
    state: RefCell<State>,
    breaker: RefCell<Breaker>,
    /// Rung when a call wants a connection.
    wanted: Notify,
    /// Rung when an attempt to connect is over, well or not.
    attempted: Notify,
}

#[derive(Debug, Default)]
struct State {
    connection: Option<MultiplexedConnection>,
    /// Tells a fault of this connection from one of an earlier one, which must not close it.
    generation: u64,
    is_wanted: bool,
    /// So that an outage is logged once.
    is_out: bool,
}

impl Link {
    pub(super) fn new(client: Client, call_budget: Duration) -> Self {
        Self {
            client,
            call_budget,
            state: RefCell::default(),
            breaker: RefCell::new(Breaker::new(call_budget)),
            wanted: Notify::new(),
            attempted: Notify::new(),
        }
    }

    /// One script within the call budget, the wait for a connection included.
    pub(super) async fn call<T: FromRedisValue>(
        &self,
        script: &Source,
        invocation: &Invocation,
    ) -> Result<T, StoreFault> {
        if !self.breaker.borrow_mut().lets_through(Instant::now()) {
            return Err(StoreFault::BreakerOpen);
        }
        let mut generation = None;
        let answer = within(self.call_budget, async {
            let (connection, current) = self.connection().await?;
            generation = Some(current);
            run(connection, script, invocation).await.map_err(|error| fault_of(&error))
        });
        let answer = answer.await;
        let answer = answer.unwrap_or(Err(match generation {
            Some(_) => StoreFault::TimedOut,
            None => StoreFault::Unavailable,
        }));
        match answer {
            Ok(_) | Err(StoreFault::Misbehaved) => self.answered(),
            Err(fault) => self.missed(fault, generation),
        }
        answer
    }

    /// Whether there is a connection, after an attempt to make one if there was none.
    pub(super) async fn is_up(&self) -> bool {
        if self.state.borrow().connection.is_some() {
            return true;
        }
        if !self.breaker.borrow_mut().lets_through(Instant::now()) {
            return false;
        }
        self.connect().await;
        let is_up = self.state.borrow().connection.is_some();
        if !is_up {
            self.missed(StoreFault::Unavailable, None);
        }
        is_up
    }

    /// Connects if a call is waiting for it.
    pub(super) async fn connect_if_wanted(&self) {
        let is_wanted = self.state.borrow().is_wanted;
        if is_wanted {
            self.connect().await;
        }
    }

    /// Until a call wants a connection, or [`Link::wake`].
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    pub(super) fn wake(&self) {
        self.wanted.notify_one();
    }

    async fn connection(&self) -> Result<(MultiplexedConnection, u64), StoreFault> {
        let attempted = self.attempted.notified();
        {
            let mut state = self.state.borrow_mut();
            if let Some(connection) = &state.connection {
                return Ok((connection.clone(), state.generation));
            }
            state.is_wanted = true;
        }
        self.wake();
        attempted.await;
        let state = self.state.borrow();
        let connection = state.connection.as_ref().ok_or(StoreFault::Unavailable)?;
        Ok((connection.clone(), state.generation))
    }

    async fn connect(&self) {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_pipeline_buffer_size(PIPELINE);
        let attempt = self.client.get_multiplexed_async_connection_with_config(&config);
        let connection = match timeout(CONNECT_BUDGET, attempt).await {
            Ok(Ok(connection)) => {
                self.breaker.borrow_mut().reached(Instant::now());
                Some(connection)
            }
            Ok(Err(error)) => {
                self.log_outage(error.category());
                None
            }
            Err(_) => {
                self.log_outage("no answer");
                None
            }
        };
        {
            let mut state = self.state.borrow_mut();
            state.connection = connection;
            state.generation += 1;
            state.is_wanted = false;
        }
        self.attempted.notify_waiters();
    }

    fn answered(&self) {
        self.breaker.borrow_mut().answered();
        if std::mem::take(&mut self.state.borrow_mut().is_out) {
            tracing::info!("the quota store is back");
        }
    }

    fn missed(&self, fault: StoreFault, generation: Option<u64>) {
        let is_open = self.breaker.borrow_mut().missed(Instant::now(), rand::random());
        if is_open {
            self.log_outage(if fault == StoreFault::TimedOut { "no answer" } else { "unreachable" });
        }
        // A hung connection would hang again, and one that broke is of no use.
        if is_open || fault != StoreFault::TimedOut {
            let mut state = self.state.borrow_mut();
            if generation == Some(state.generation) {
                state.connection = None;
            }
        }
    }

    fn log_outage(&self, cause: &str) {
        if !std::mem::replace(&mut self.state.borrow_mut().is_out, true) {
            tracing::warn!(cause, "the quota store is away");
        }
    }
}

/// `None` when it took longer. A core that was busy with other requests for that long has the answer in its socket
/// unread: it gets two turns to deliver it, one for the connection's task and one for the call's, before the store
/// is blamed.
async fn within<T>(budget: Duration, call: impl Future<Output = T>) -> Option<T> {
    let mut call = pin!(call);
    if let Ok(answer) = timeout(budget, call.as_mut()).await {
        return Some(answer);
    }
    for _ in 0..2 {
        tokio::task::yield_now().await;
        if let Poll::Ready(answer) = poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await {
            return Some(answer);
        }
    }
    None
}

async fn run<T: FromRedisValue>(
    mut connection: MultiplexedConnection,
    script: &Source,
    invocation: &Invocation,
) -> RedisResult<T> {
    match script.by_hash(invocation).query_async(&mut connection).await {
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
            script.by_text(invocation).query_async(&mut connection).await
        }
        answer => answer,
    }
}

/// A server that is not ready (loading, read-only after a fail-over, without its master) is away; any other error
/// that it answers is an answer, and must not open the breaker for all tenants.
fn fault_of(error: &RedisError) -> StoreFault {
    let kind = error.kind();
    if kind == ErrorKind::Io {
        return StoreFault::ConnectionLost;
    }
    let is_away = matches!(
        kind,
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
                | ServerErrorKind::ReadOnly
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::TryAgain
        )
    );
    if is_away {
        return StoreFault::Unavailable;
    }
    tracing::warn!(error.code = error.code(), "the quota store answered with an error");
    StoreFault::Misbehaved
}
