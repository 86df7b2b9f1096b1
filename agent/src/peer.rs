//! Whether the caller is still there.
//!
//! hyper sees that a caller hung up when it reads the end of its stream. It does not read on while bytes behind the
//! request wait in its buffer, so one byte too much would keep an engine busy for nobody. The socket itself knows.

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::sockopt::set_socket_linger,
};
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
#[derive(Debug, Clone)]
pub(crate) struct Peer(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    socket: OwnedFd,
    in_progress: Cell<usize>,
}

/// A request in progress, counted until its answer is out.
#[derive(Debug)]
pub(crate) struct InProgress(Rc<Shared>);

impl Peer {
    pub(crate) fn of(socket: &impl AsFd) -> io::Result<Self> {
        let socket = socket.as_fd().try_clone_to_owned()?;
        Ok(Self(Rc::new(Shared { socket, in_progress: Cell::new(0) })))
    }

    pub(crate) fn begin(&self) -> InProgress {
        self.0.in_progress.set(self.0.in_progress.get() + 1);
        InProgress(Rc::clone(&self.0))
    }

    /// Until the caller has hung up on a request.
    pub(crate) async fn gone(&self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.0.in_progress.get() > 0 && self.0.has_hung_up() {
                return;
            }
        }
    }

    /// Until no request is in progress, and what was last answered has had time to leave.
    pub(crate) async fn idle(&self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.0.in_progress.get() == 0 {
                return;
            }
        }
    }
}

impl Shared {
    fn has_hung_up(&self) -> bool {
        let mut polled = [PollFd::new(&self.socket, PollFlags::RDHUP)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let ended = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        poll(&mut polled, Some(&now)).is_ok() && polled.iter().any(|fd| fd.revents().intersects(ended))
    }
}

impl InProgress {
    /// The answer breaks off: the connection ends with a reset. To a caller of HTTP/1.0 an orderly end would be the end
    /// of a whole body (RFC 9112 section 6.3).
    pub(crate) fn break_off(&self) {
        // A socket that can't be told is closed all the same.
        let _ = set_socket_linger(&self.0.socket, Some(Duration::ZERO));
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.in_progress.set(self.0.in_progress.get().saturating_sub(1));
    }
}
