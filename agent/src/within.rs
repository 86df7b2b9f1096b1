//! A time limit that costs nothing where there is nothing to wait for.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

/// What `future` comes to, or `None` after this long. A future that is ready at once costs no timer and no look at the
/// clock.
pub(crate) async fn within<F: Future>(longest: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    match poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await {
        Poll::Ready(output) => Some(output),
        Poll::Pending => tokio::time::timeout(longest, future).await.ok(),
    }
}
