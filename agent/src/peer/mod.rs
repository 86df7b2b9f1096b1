//! Whether the callers of a core are still there and do their part in time, and how they are told to leave.
//!
//! hyper sees that a caller hung up when it reads the end of its stream. It does not read on while bytes behind the
//! request wait to be read, so one byte too much would keep an engine busy for nobody. The socket itself knows.
//!
//! All connections of a core are looked at by one task, now and then: a timer for each of them would be moved with
//! every request.

#[cfg(test)]
mod tests;

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::sockopt::{set_socket_linger, set_tcp_user_timeout},
};
use std::{
    cell::{Cell, RefCell},
    io,
    os::fd::{AsFd, OwnedFd},
    rc::{Rc, Weak},
    task::{Context, Waker},
    time::Duration,
};

/// How often connections are looked at. An engine is free again well within a second after its caller left, and a look
/// at ten thousand open connections costs a hundredth of a core.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How many looks long nothing may come between two requests. 75 s: a little above what SDKs and balancers keep idle
/// connections for (60 s), so that the caller is the one who closes.
const IDLE_LOOKS: u32 = 150;

/// How many looks long the head of a request may take from its first byte. 10 s: as many round trips as a head of 32 KiB
/// needs on a bad mobile link, many times over.
const HEAD_LOOKS: u32 = 20;

/// How many looks long a caller may go on sending what is no longer read. 2 s: it has its answer by then, or never.
const LINGER_LOOKS: u32 = 4;

/// How many looks long a caller may leave all that it asked for untouched. 30 s, as [`SLOWEST_READ`].
const STALL_LOOKS: u32 = 60;

/// How long what was sent may stay without acknowledgement, or unsent because the caller's window is shut (RFC 5482). A
/// caller that takes a little now and then goes on for as long as it likes; one that takes nothing frees the engine.
const SLOWEST_READ: Duration = Duration::from_secs(30);

/// The connections of one core.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    peers: RefCell<Vec<Weak<Shared>>>,
    fate: Cell<Fate>,
}

/// What a connection is to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    #[default]
    Stay,
    /// Finish the request in progress, and take no more.
    Leave,
    /// End now.
    Gone,
}

/// A caller's socket, and how many of its requests are in progress.
#[derive(Debug, Clone)]
pub(crate) struct Peer(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    socket: OwnedFd,
    /// Many requests share the connection, by HTTP/2: what breaks one off is no business of the socket.
    has_streams: Cell<bool>,
    in_progress: Cell<usize>,
    /// Requests whose answers are out.
    answered: Cell<u64>,
    wait: Cell<Wait>,
    /// Looks in a row that found no request in progress, nor one since the look before, and the same wait.
    looks: Cell<u32>,
    /// Answers of which the caller was given a piece, and nobody asked for the next one yet.
    untaken: Cell<usize>,
    /// Pieces of answers that were given.
    pieces: Cell<u64>,
    /// How many there were at the last look, and for how many looks there have been no more.
    stalled: Cell<(u64, u32)>,
    fate: Cell<Fate>,
    connection: RefCell<Waker>,
}

/// What a connection without a request in progress waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// For a request to begin.
    Idle,
    /// For the rest of a head.
    Head,
    /// For the caller to close it.
    Linger,
}

/// A request in progress, counted until its answer is out.
#[derive(Debug)]
pub(crate) struct InProgress {
    peer: Rc<Shared>,
    is_untaken: bool,
}

impl Peers {
    /// A connection that was just accepted.
    pub(crate) fn enter(&self, socket: &impl AsFd) -> io::Result<Peer> {
        // A kernel that can't leaves such callers to their patience; there is none that we run on.
        let _ = set_tcp_user_timeout(socket, SLOWEST_READ.as_millis().try_into().unwrap_or(u32::MAX));
        let shared = Rc::new(Shared {
            socket: socket.as_fd().try_clone_to_owned()?,
            has_streams: Cell::new(false),
            in_progress: Cell::new(0),
            answered: Cell::new(0),
            wait: Cell::new(Wait::Idle),
            looks: Cell::new(0),
            untaken: Cell::new(0),
            pieces: Cell::new(0),
            stalled: Cell::default(),
            fate: Cell::new(self.fate.get()),
            connection: RefCell::new(Waker::noop().clone()),
        });
        self.peers.borrow_mut().push(Rc::downgrade(&shared));
        Ok(Peer(shared))
    }

    /// Tells all connections. Nothing takes a fate back.
    pub(crate) fn tell(&self, fate: Fate) {
        self.fate.set(fate.max(self.fate.get()));
        for peer in self.peers.borrow().iter().filter_map(Weak::upgrade) {
            peer.meet(fate);
        }
    }

    /// Looks after the connections, for as long as it is polled.
    pub(crate) async fn look_after(&self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.look();
        }
    }

    fn look(&self) {
        self.peers.borrow_mut().retain(|peer| {
            let Some(peer) = peer.upgrade() else { return false };
            if peer.in_progress.get() > 0 {
                if peer.has_hung_up() || peer.has_stalled() {
                    peer.meet(Fate::Gone);
                }
            } else {
                let looks = peer.looks.get() + 1;
                let patience = match peer.wait.get() {
                    Wait::Idle => IDLE_LOOKS,
                    Wait::Head => HEAD_LOOKS,
                    Wait::Linger => LINGER_LOOKS,
                };
                // Half a head is no request: who is to leave has had the time of a look to take its last answer.
                let is_due = looks > patience || looks > 1 && peer.fate.get() == Fate::Leave;
                if is_due && !peer.is_blocked() {
                    peer.meet(Fate::Gone);
                } else {
                    peer.looks.set(looks);
                }
            }
            true
        });
    }
}

impl Peer {
    pub(crate) fn begin(&self) -> InProgress {
        self.0.in_progress.set(self.0.in_progress.get() + 1);
        self.0.wait(Wait::Idle);
        InProgress { peer: Rc::clone(&self.0), is_untaken: false }
    }

    /// A head has begun, and is not whole yet.
    pub(crate) fn begin_head(&self) {
        if self.0.wait.get() != Wait::Head {
            self.0.wait(Wait::Head);
        }
    }

    /// It speaks HTTP/2.
    pub(crate) fn has_streams(&self) {
        self.0.has_streams.set(true);
    }

    /// All is said; the caller is to close.
    pub(crate) fn linger(&self) {
        self.0.wait(Wait::Linger);
    }

    /// How many requests have been answered, from the first on.
    pub(crate) fn answered(&self) -> u64 {
        self.0.answered.get()
    }

    /// What the connection is to do now; the task is woken when that changes.
    pub(crate) fn fate(&self, context: &Context<'_>) -> Fate {
        let mut connection = self.0.connection.borrow_mut();
        if !connection.will_wake(context.waker()) {
            connection.clone_from(context.waker());
        }
        self.0.fate.get()
    }
}

impl Shared {
    fn meet(&self, fate: Fate) {
        if fate > self.fate.get() {
            if fate == Fate::Gone && self.in_progress.get() > 0 {
                self.break_off();
            }
            self.fate.set(fate);
            self.connection.borrow().wake_by_ref();
        }
    }

    fn wait(&self, wait: Wait) {
        self.wait.set(wait);
        self.looks.set(0);
    }

    /// The socket would take more, and yet no answer moves: by HTTP/2 a caller can shut the window of each stream.
    fn has_stalled(&self) -> bool {
        let pieces = self.pieces.get();
        let (before, looks) = self.stalled.get();
        let is_still = self.untaken.get() > 0 && pieces == before && !self.is_blocked();
        let looks = if is_still { looks + 1 } else { 0 };
        self.stalled.set((pieces, looks));
        looks > STALL_LOOKS
    }

    fn has_hung_up(&self) -> bool {
        self.polled(PollFlags::RDHUP).intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR)
    }

    /// The caller is slow to take its answer: hyper holds the rest of it, although the request itself is done.
    fn is_blocked(&self) -> bool {
        self.polled(PollFlags::OUT).is_empty()
    }

    fn polled(&self, wanted: PollFlags) -> PollFlags {
        let mut polled = [PollFd::new(&self.socket, wanted)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        match poll(&mut polled, Some(&now)) {
            Ok(_) => polled.iter().map(PollFd::revents).collect(),
            Err(_) => PollFlags::empty(),
        }
    }

    /// The connection ends with a reset. To a caller of HTTP/1.0 an orderly end would be the end of a whole body
    /// (RFC 9112 section 6.3).
    fn break_off(&self) {
        // A socket that can't be told is closed all the same.
        let _ = set_socket_linger(&self.socket, Some(Duration::ZERO));
    }
}

impl InProgress {
    /// The answer breaks off.
    pub(crate) fn break_off(&self) {
        if !self.peer.has_streams.get() {
            self.peer.break_off();
        }
    }

    /// The caller was given a piece of the answer; or else asked for one that is not there yet.
    pub(crate) fn gives(&mut self, is_piece: bool) {
        self.peer.pieces.set(self.peer.pieces.get() + u64::from(is_piece));
        if is_piece != self.is_untaken {
            self.is_untaken = is_piece;
            let untaken = self.peer.untaken.get();
            self.peer.untaken.set(if is_piece { untaken + 1 } else { untaken.saturating_sub(1) });
        }
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.gives(false);
        self.peer.in_progress.set(self.peer.in_progress.get().saturating_sub(1));
        self.peer.answered.set(self.peer.answered.get() + 1);
        self.peer.wait(Wait::Idle);
    }
}
