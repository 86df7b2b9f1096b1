//! Whether the caller is still there.
//!
//! hyper sees that a caller hung up when it reads the end of its stream. It does not read on while bytes behind the
//! request wait in its buffer, so one byte too much would keep an engine busy for nobody. The socket itself knows.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    cell::Cell,
    io,
    os::fd::{AsFd, OwnedFd},
    rc::Rc,
    time::Duration,
};

/// How often a connection with a request in progress is looked at. An engine is free again well within a second, and a
/// look at ten thousand open connections costs a hundredth of a core.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The caller's socket, and how many of its requests are in progress.
pub(crate) struct Peer {
    socket: OwnedFd,
    in_progress: Rc<Cell<usize>>,
}

/// A request in progress, counted until its answer is out.
#[derive(Debug)]
pub(crate) struct InProgress(Rc<Cell<usize>>);

impl Peer {
    pub(crate) fn of(socket: &impl AsFd) -> io::Result<Self> {
        Ok(Self { socket: socket.as_fd().try_clone_to_owned()?, in_progress: Rc::default() })
    }

    pub(crate) fn begin(&self) -> InProgress {
        self.in_progress.set(self.in_progress.get() + 1);
        InProgress(Rc::clone(&self.in_progress))
    }

    /// Until the caller has hung up on a request.
    pub(crate) async fn gone(&self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.in_progress.get() > 0 && self.has_hung_up() {
                return;
            }
        }
    }

    /// Until no request is in progress, and what was last answered has had time to leave.
    pub(crate) async fn idle(&self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.in_progress.get() == 0 {
                return;
            }
        }
    }

    fn has_hung_up(&self) -> bool {
        let mut polled = [PollFd::new(&self.socket, PollFlags::RDHUP)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let ended = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        poll(&mut polled, Some(&now)).is_ok() && polled.iter().any(|fd| fd.revents().intersects(ended))
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}
