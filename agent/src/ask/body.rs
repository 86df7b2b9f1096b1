//! The request's body, whole and bounded.

use crate::within::within;
use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// How long a caller may pause while it sends its body. Thirty seconds is what a bad mobile link recovers in.
pub(crate) const BODY_IDLE: Duration = Duration::from_secs(30);

/// How long a caller may take for all of its body: 32 MiB over a link of 1 Mbit/s.
const BODY_TOTAL: Duration = Duration::from_secs(300);

/// Share of the machine's memory that all buffered bodies may take together.
const MEMORY_SHARE: usize = 4;

/// Assumed when the machine does not say how much memory it has.
const FALLBACK_MEMORY: usize = 1 << 30;

/// Why a body could not be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyFault {
    TooLarge {
        limit: usize,
    },
    /// All bodies together fill their share of memory.
    NoRoom,
    TooSlow,
    /// The caller went away, or its framing broke.
    Broken,
}

/// What is left for buffered bodies, shared by all cores.
#[derive(Debug, Clone)]
pub(crate) struct BodyBudget(Arc<AtomicUsize>);

impl BodyBudget {
    pub(crate) fn of_this_machine() -> Self {
        Self(Arc::new(AtomicUsize::new(memory().unwrap_or(FALLBACK_MEMORY) / MEMORY_SHARE)))
    }

    /// No bytes of it.
    #[cfg(test)]
    pub(super) fn room(&self) -> Room {
        Room { budget: self.clone(), bytes: 0 }
    }

    fn take(&self, bytes: usize) -> Option<Room> {
        let take = |left: usize| left.checked_sub(bytes);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        Some(Room { budget: self.clone(), bytes })
    }
}

/// Bytes of the budget that are in use; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    budget: BodyBudget,
    bytes: usize,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.budget.0.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

impl Room {
    /// Whether there is room for this many bytes in all.
    fn grow_to(&mut self, bytes: usize) -> bool {
        let Some(more) = self.budget.take(bytes.saturating_sub(self.bytes)) else { return false };
        self.bytes += more.into_bytes();
        true
    }

    fn into_bytes(mut self) -> usize {
        std::mem::take(&mut self.bytes)
    }
}

/// Bytes that this process may use: the container's, or the machine's.
pub(crate) fn memory() -> Option<usize> {
    [machine_memory(), container_memory()].into_iter().flatten().min()
}

/// What the container may use, by either version of control groups.
fn container_memory() -> Option<usize> {
    ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .into_iter()
        .find_map(|file| std::fs::read_to_string(file).ok()?.trim().parse().ok())
}

/// `MemTotal` of Linux, in bytes.
fn machine_memory() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()?.checked_mul(1024)
}

/// Reads it all. What it takes of the budget is held by the [`Room`], for as long as the bytes live.
pub(crate) async fn collect(
    body: Incoming,
    limit: usize,
    budget: &BodyBudget,
) -> Result<(Bytes, Room), BodyFault> {
    within(BODY_TOTAL, collect_all(body, limit, budget)).await.unwrap_or(Err(BodyFault::TooSlow))
}

async fn collect_all(
    mut body: Incoming,
    limit: usize,
    budget: &BodyBudget,
) -> Result<(Bytes, Room), BodyFault> {
    let declared = body.size_hint().exact().map(usize::try_from);
    if matches!(declared, Some(Err(_))) || matches!(declared, Some(Ok(bytes)) if bytes > limit) {
        return Err(BodyFault::TooLarge { limit });
    }
    // Room is taken as bytes come: a length that is only promised shall not keep others out.
    let expected = declared.and_then(Result::ok).unwrap_or(0);
    let mut room = budget.take(0).ok_or(BodyFault::NoRoom)?;
    let mut whole: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    while let Some(frame) = next_frame(&mut body).await? {
        let Ok(data) = frame.into_data() else { continue };
        let length = whole.as_ref().map_or(0, Bytes::len) + rest.len() + data.len();
        if length > limit {
            return Err(BodyFault::TooLarge { limit });
        }
        if !room.grow_to(length) {
            return Err(BodyFault::NoRoom);
        }
        // Most bodies come in one piece, which is then taken as it is.
        match whole.take() {
            None if rest.is_empty() => whole = Some(data),
            first => {
                if let Some(first) = first {
                    rest.reserve(expected.max(length * 2).min(limit));
                    rest.extend_from_slice(&first);
                }
                rest.extend_from_slice(&data);
            }
        }
    }
    let bytes = whole.unwrap_or_else(|| rest.freeze());
    Ok((bytes, room))
}

async fn next_frame(body: &mut Incoming) -> Result<Option<Frame<Bytes>>, BodyFault> {
    let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context));
    let polled = within(BODY_IDLE, frame).await.ok_or(BodyFault::TooSlow)?;
    polled.transpose().map_err(|_| BodyFault::Broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_given_back_when_the_body_is_gone() {
        let budget = BodyBudget(Arc::new(AtomicUsize::new(100)));
        let room = budget.take(60).unwrap();
        assert!(budget.take(60).is_none());
        drop(room);
        assert!(budget.take(100).is_some());
    }
}
