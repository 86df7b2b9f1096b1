//! Whether the callers of a core are still there, and how they are told to leave.
//!
//! hyper sees that a caller hung up when it reads the end of its stream. It does not read on while bytes behind the
//! request wait in its buffer, so one byte too much would keep an engine busy for nobody. The socket itself knows.
//!
//! All connections of a core are looked at by one task, now and then: a timer for each of them would be moved with
//! every request.

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::sockopt::set_socket_linger,
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

/// How many looks long a connection may take for the head of its next request, idle time included. Together 75 s: a
/// little above what SDKs and balancers keep idle connections for (60 s), so that the caller is the one who closes.
const PATIENCE: u32 = 150;

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
    in_progress: Cell<usize>,
    /// Looks in a row that found no request in progress, nor one since the look before.
    idle_looks: Cell<u32>,
    fate: Cell<Fate>,
    connection: RefCell<Waker>,
}

/// A request in progress, counted until its answer is out.
#[derive(Debug)]
pub(crate) struct InProgress(Rc<Shared>);

impl Peers {
    /// A connection that was just accepted.
    pub(crate) fn enter(&self, socket: &impl AsFd) -> io::Result<Peer> {
        let shared = Rc::new(Shared {
            socket: socket.as_fd().try_clone_to_owned()?,
            in_progress: Cell::new(0),
            idle_looks: Cell::new(0),
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
                if peer.has_hung_up() {
                    peer.meet(Fate::Gone);
                }
            } else {
                let looks = peer.idle_looks.get() + 1;
                // Half a head is no request: who is to leave has had the time of a look to take its last answer.
                let is_due = looks > PATIENCE || looks > 1 && peer.fate.get() == Fate::Leave;
                if is_due && !peer.is_blocked() {
                    peer.meet(Fate::Gone);
                } else {
                    peer.idle_looks.set(looks);
                }
            }
            true
        });
    }
}

impl Peer {
    pub(crate) fn begin(&self) -> InProgress {
        self.0.in_progress.set(self.0.in_progress.get() + 1);
        self.0.idle_looks.set(0);
        InProgress(Rc::clone(&self.0))
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
        self.0.break_off();
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.in_progress.set(self.0.in_progress.get().saturating_sub(1));
        self.0.idle_looks.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn fate(peer: &Peer) -> Fate {
        peer.fate(&Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_caller_that_sends_no_head_for_75_seconds_is_let_go_and_one_that_asks_now_and_then_is_not() {
        let (_far, near) = UnixStream::pair().unwrap();
        let peers = Peers::default();
        let [silent, busy, now_and_then] = [(); 3].map(|()| peers.enter(&near).unwrap());
        let _in_progress = busy.begin();
        let looks = 75_000 / LOOK_EVERY.as_millis();
        for look in 0..looks {
            if look % 100 == 99 {
                drop(now_and_then.begin());
            }
            peers.look();
            assert_eq!(fate(&silent), Fate::Stay, "after {look} looks");
        }
        peers.look();
        assert_eq!([&silent, &busy, &now_and_then].map(fate), [Fate::Gone, Fate::Stay, Fate::Stay]);
    }

    #[test]
    fn who_is_slow_to_take_its_answer_is_not_taken_for_silent() {
        use std::io::{Read as _, Write as _};
        let (mut far, mut near) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let peers = Peers::default();
        let slow = peers.enter(&near).unwrap();
        let mut sent = 0;
        while let Ok(bytes) = near.write(&[0; 4096]) {
            sent += bytes;
        }
        for _ in 0..2 * PATIENCE {
            peers.look();
        }
        peers.tell(Fate::Leave);
        peers.look();
        assert_eq!(fate(&slow), Fate::Leave);
        far.read_exact(&mut vec![0; sent]).unwrap();
        peers.look();
        assert_eq!(fate(&slow), Fate::Gone);
    }

    #[test]
    fn an_answer_that_is_cut_off_ends_with_a_reset_and_an_idle_connection_does_not() {
        use std::{
            io::{ErrorKind, Read as _},
            net::{TcpListener, TcpStream},
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        for (has_request, expected) in [(true, Err(ErrorKind::ConnectionReset)), (false, Ok(0))] {
            let mut far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (near, _) = listener.accept().unwrap();
            let peers = Peers::default();
            let peer = peers.enter(&near).unwrap();
            let in_progress = has_request.then(|| peer.begin());
            peers.tell(Fate::Gone);
            drop((near, peer, in_progress));
            assert_eq!(far.read(&mut [0]).map_err(|error| error.kind()), expected);
        }
    }

    #[test]
    fn who_is_to_leave_may_finish_its_request_and_take_the_answer() {
        let (_far, near) = UnixStream::pair().unwrap();
        let peers = Peers::default();
        let [idle, busy] = [(); 2].map(|()| peers.enter(&near).unwrap());
        let in_progress = busy.begin();
        peers.tell(Fate::Leave);
        peers.look();
        peers.look();
        assert_eq!([&idle, &busy].map(fate), [Fate::Gone, Fate::Leave]);
        drop(in_progress);
        peers.look();
        assert_eq!(fate(&busy), Fate::Leave);
        peers.look();
        assert_eq!(fate(&busy), Fate::Gone);
        assert_eq!(fate(&peers.enter(&near).unwrap()), Fate::Leave, "who comes later is told too");
    }
}
