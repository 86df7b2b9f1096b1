//! Where the body of an HTTP/1 request ends.

use super::{Fault, chunks::Chunks, head::Framing};

#[derive(Debug)]
pub(super) enum Body {
    /// Bytes that are still to come.
    Length(u64),
    /// Boxed: a connection has one of these only while a chunked body comes.
    Chunked(Box<Chunks>),
}

impl Body {
    pub(super) fn new(framing: Framing) -> Self {
        match framing {
            Framing::Length(bytes) => Self::Length(bytes),
            Framing::Chunked => Self::Chunked(Box::new(Chunks::new())),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunks) => chunks.is_over(),
        }
    }

    /// Reads on; gives how many of these bytes are of the body. They are all of them, until it is over.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        match self {
            Self::Length(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= here as u64;
                Ok(here)
            }
            Self::Chunked(chunks) => chunks.take(bytes),
        }
    }
}
