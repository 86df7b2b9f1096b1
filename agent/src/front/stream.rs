//! The socket as hyper sees it: nothing but requests that can be read in one way, one at a time.

use super::{
    Fault,
    body::Body,
    head::{Asked, HeadScan},
};
use crate::peer::Peer;
use foldhash::fast::RandomState;
use http::Request;
use std::{
    cell::Cell,
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Wraps a caller's connection. Heads are handed on when they are whole and have been read; of what follows, as much as
/// belongs to the body. Bytes behind a body whose answer is not out are dropped, and the connection closes after that
/// answer: nobody but an attacker sends them, and nothing can be smuggled into a request that is never read.
///
/// `R` makes the answer to what hyper never gets to see.
pub(crate) struct Front<S, R> {
    stream: S,
    peer: Peer,
    given: Given,
    refuse: R,
    state: State,
    scan: HeadScan,
    /// A head that came in pieces. Empty, and without memory, on a connection whose heads come whole.
    held: Vec<u8>,
    /// How much of `held` may go on, once its head is whole; and how much of that has.
    release: Option<Release>,
    /// Requests that were handed on.
    requests: u64,
    has_ended: bool,
    closing: Closing,
}

/// What was handed on last, to be compared with what came out. There is no next one before its answer is out.
#[derive(Clone)]
pub(crate) struct Given(Rc<LastGiven>);

struct LastGiven {
    asked: Cell<Option<Asked>>,
    /// No request comes after this one.
    is_last: Cell<bool>,
    /// Why its body breaks off.
    fault: Cell<Option<Fault>>,
    /// Seeded at random, so that nobody can make two requests that look alike.
    hasher: RandomState,
}

#[derive(Debug)]
enum State {
    /// Between two requests, or within a head.
    Head,
    Body(Body),
    /// The request is whole.
    Answer,
    /// Nothing is read any more. A fault of a body breaks it off; one of a head has its answer; else there were bytes
    /// behind the request.
    Over(Option<Fault>),
}

#[derive(Debug, Clone, Copy)]
struct Release {
    from: usize,
    to: usize,
}

enum Closing {
    /// With what is still to be said.
    Answering {
        answer: Vec<u8>,
        written: usize,
    },
    Shutting,
    /// What the caller still sends is read and forgotten for a while: to close on unread bytes would reset the connection,
    /// and could take the answer with it.
    Lingering,
}

impl Given {
    /// Whether this is the request that was handed on.
    pub(super) fn is_that<B: http_body::Body>(&self, request: &Request<B>) -> bool {
        self.0.asked.get().is_some_and(|asked| asked.is_that(request, &self.0.hasher))
    }

    /// What is wrong with its body, as far as that came.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.0.fault.get()
    }

    /// Whether the connection is to close with the answer in progress.
    pub(crate) fn is_last(&self) -> bool {
        self.0.is_last.get()
    }
}

impl<S, R> Front<S, R> {
    pub(crate) fn new(stream: S, peer: Peer, refuse: R) -> Self {
        let given = LastGiven {
            asked: Cell::new(None),
            is_last: Cell::new(false),
            fault: Cell::new(None),
            hasher: RandomState::default(),
        };
        Self {
            stream,
            peer,
            given: Given(Rc::new(given)),
            refuse,
            state: State::Head,
            scan: HeadScan::default(),
            held: Vec::new(),
            release: None,
            requests: 0,
            has_ended: false,
            closing: Closing::Answering { answer: Vec::new(), written: 0 },
        }
    }

    pub(crate) fn given(&self) -> Given {
        self.given.clone()
    }

    /// Bytes of a head came, the first of them or more. Gives how many of `bytes` may go on: none before it is whole.
    fn read_head(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let Some((end, asked)) = self.scan.advance(bytes, &self.given.0.hasher)? else { return Ok(0) };
        self.scan = HeadScan::default();
        self.requests += 1;
        self.given.0.asked.set(Some(asked));
        self.state = State::Body(Body::new(asked.framing));
        Ok(end + self.follow(bytes.get(end..).unwrap_or_default()))
    }

    /// Bytes behind the head: how many of them are of the body.
    fn follow(&mut self, bytes: &[u8]) -> usize {
        let State::Body(body) = &mut self.state else { return 0 };
        match body.take(bytes) {
            Ok(taken) => {
                if body.is_over() {
                    self.state = State::Answer;
                    if taken < bytes.len() {
                        self.stop(None);
                    }
                }
                taken
            }
            Err(fault) => {
                self.stop(Some(fault));
                0
            }
        }
    }

    fn stop(&mut self, fault: Option<Fault>) {
        self.state = State::Over(fault);
        self.given.0.is_last.set(true);
        self.given.0.fault.set(fault);
        self.scan = HeadScan::default();
    }

    fn is_answered(&self) -> bool {
        self.peer.answered() >= self.requests
    }
}

impl<S: AsyncRead + Unpin, R: Fn(Fault) -> Vec<u8>> Front<S, R> {
    /// Reads from the socket behind what is filled; how many bytes came.
    fn read_more(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let came = buffer.filled().len() - before;
        self.has_ended |= came == 0;
        Poll::Ready(Ok(came))
    }

    /// More of a head. Whether the buffer has something for hyper now.
    fn take_head(&mut self, buffer: &mut ReadBuf<'_>, before: usize) -> bool {
        let read = if self.held.is_empty() {
            let new = buffer.filled().get(before..).unwrap_or_default();
            match self.read_head(new) {
                Ok(0) => {
                    self.held.extend_from_slice(new);
                    self.peer.begin_head();
                    buffer.set_filled(before);
                    return false;
                }
                Ok(taken) => {
                    buffer.set_filled(before + taken);
                    return true;
                }
                Err(fault) => Err(fault),
            }
        } else {
            let new = buffer.filled().get(before..).unwrap_or_default();
            self.held.extend_from_slice(new);
            let held = std::mem::take(&mut self.held);
            let read = self.read_head(&held);
            self.held = held;
            read
        };
        buffer.set_filled(before);
        match read {
            Ok(0) => {}
            Ok(taken) => self.release = Some(Release { from: 0, to: taken }),
            Err(fault) => {
                let answer = (self.refuse)(fault);
                self.closing = Closing::Answering { answer, written: 0 };
                self.held = Vec::new();
                self.stop(None);
            }
        }
        false
    }

    /// Hands on a head that was held.
    fn hand_on(&mut self, buffer: &mut ReadBuf<'_>, Release { from, to }: Release) {
        let bytes = self.held.get(from..to).unwrap_or_default();
        let now = bytes.len().min(buffer.remaining());
        buffer.put_slice(bytes.get(..now).unwrap_or_default());
        if from + now < to {
            self.release = Some(Release { from: from + now, to });
        } else {
            self.release = None;
            self.held = Vec::new();
        }
    }
}

impl<S: AsyncRead + Unpin, R: Fn(Fault) -> Vec<u8> + Unpin> AsyncRead for Front<S, R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        loop {
            if let Some(release) = this.release {
                this.hand_on(buffer, release);
                return Poll::Ready(Ok(()));
            }
            match &this.state {
                State::Over(Some(fault)) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, fault.message())));
                }
                // Whether the caller is still there is seen by `Peers`.
                State::Over(None) if !this.is_answered() => return Poll::Pending,
                State::Over(None) => return Poll::Ready(Ok(())),
                State::Answer if this.is_answered() => this.state = State::Head,
                State::Answer => {
                    if ready!(this.read_more(context, buffer))? == 0 {
                        return Poll::Ready(Ok(()));
                    }
                    buffer.set_filled(before);
                    this.stop(None);
                }
                State::Head => {
                    if ready!(this.read_more(context, buffer))? == 0 || this.take_head(buffer, before) {
                        return Poll::Ready(Ok(()));
                    }
                }
                State::Body(_) => {
                    if ready!(this.read_more(context, buffer))? == 0 {
                        return Poll::Ready(Ok(()));
                    }
                    let taken = this.follow(buffer.filled().get(before..).unwrap_or_default());
                    buffer.set_filled(before + taken);
                    if taken > 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, R: Fn(Fault) -> Vec<u8> + Unpin> AsyncWrite for Front<S, R> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// hyper has written all that it had.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            match &mut this.closing {
                Closing::Answering { answer, written } => {
                    let rest = answer.get(*written..).unwrap_or_default();
                    if rest.is_empty() {
                        this.closing = Closing::Shutting;
                    } else {
                        *written += ready!(Pin::new(&mut this.stream).poll_write(context, rest))?;
                    }
                }
                Closing::Shutting => {
                    ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
                    if this.has_ended || matches!(this.state, State::Head | State::Answer) {
                        return Poll::Ready(Ok(()));
                    }
                    this.peer.linger();
                    this.closing = Closing::Lingering;
                }
                Closing::Lingering => {
                    let mut forgotten = [0; 4096];
                    let mut buffer = ReadBuf::new(&mut forgotten);
                    if ready!(Pin::new(&mut this.stream).poll_read(context, &mut buffer)).is_err()
                        || buffer.filled().is_empty()
                    {
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }
}
