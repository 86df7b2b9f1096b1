//! The frames of an HTTP/2 connection, counted as they come.
//!
//! The protocol lets a caller make a server work for frames that ask for nothing: to answer pings, to open windows by a
//! byte, to take back what was just asked for. What a connection may send of them in a second is far above what any client
//! does, and far below what fills a core. The h2 crate bounds what they hold of memory; this bounds what they cost.

use crate::peer::Peer;
use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a client says before its first frame (RFC 9113 section 3.4).
const PREFACE_BYTES: u32 = 24;

/// Length, type, flags and stream.
const HEADER_BYTES: usize = 9;

const SPAN: Duration = Duration::from_secs(1);

/// Streams that are taken back in a second: all that can be open, and more.
const MAX_RESETS: u32 = 200;

/// Windows that are opened in a second: two for each of 128 streams at 50 tokens a second, and half as many again.
const MAX_WINDOW_UPDATES: u32 = 20_000;

/// All else that asks for nothing: settings, pings, priorities, frames without content. A client sends one in seconds.
const MAX_IDLE_FRAMES: u32 = 1_000;

pub(crate) struct Frames<S> {
    stream: S,
    peer: Peer,
    /// Of the frame, or of the preface, that is passing.
    payload_left: u32,
    header: [u8; HEADER_BYTES],
    header_bytes: usize,
    since: Instant,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    resets: u32,
    window_updates: u32,
    idle: u32,
}

impl<S> Frames<S> {
    pub(crate) fn new(stream: S, peer: Peer) -> Self {
        Self {
            stream,
            peer,
            payload_left: PREFACE_BYTES,
            header: [0; HEADER_BYTES],
            header_bytes: 0,
            since: Instant::now(),
            counts: Counts::default(),
        }
    }

    /// Whether there are too many of a kind.
    fn count(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            if self.payload_left > 0 {
                let here = usize::try_from(self.payload_left).unwrap_or(usize::MAX).min(bytes.len());
                self.payload_left -= u32::try_from(here).unwrap_or(self.payload_left);
                bytes = bytes.get(here..).unwrap_or_default();
                continue;
            }
            let Some((byte, rest)) = bytes.split_first() else { break };
            if let Some(place) = self.header.get_mut(self.header_bytes) {
                *place = *byte;
            }
            self.header_bytes += 1;
            bytes = rest;
            if self.header_bytes == HEADER_BYTES {
                self.header_bytes = 0;
                self.begin_frame();
            }
        }
        self.counts.resets > MAX_RESETS
            || self.counts.window_updates > MAX_WINDOW_UPDATES
            || self.counts.idle > MAX_IDLE_FRAMES
    }

    /// RFC 9113 section 6 has the types and flags.
    fn begin_frame(&mut self) {
        const END_STREAM: u8 = 0x1;
        const END_HEADERS: u8 = 0x4;
        let [high, middle, low, kind, flags, ..] = self.header;
        self.payload_left = u32::from_be_bytes([0, high, middle, low]);
        match kind {
            // DATA
            0 if self.payload_left > 0 || flags & END_STREAM != 0 => {}
            // HEADERS: a request, and more than one may be on its way by one connection.
            1 if flags & END_HEADERS != 0 => {}
            1 => self.peer.begin_head(),
            // RST_STREAM
            3 => self.counts.resets += 1,
            // WINDOW_UPDATE
            8 => self.counts.window_updates += 1,
            _ => self.counts.idle += 1,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Frames<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        let now = Instant::now();
        if now.duration_since(this.since) >= SPAN {
            this.since = now;
            this.counts = Counts::default();
        }
        if this.count(buffer.filled().get(before..).unwrap_or_default()) {
            return Poll::Ready(Err(io::Error::other("too many frames that ask for nothing")));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Frames<S> {
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

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
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
