//! What a request must be before anything else looks at it.
//!
//! Two readers of one byte stream that do not agree on where a request ends are how one caller's bytes become another's
//! request. So a small parser of our own reads each head of HTTP/1 and finds the end of each body before hyper is given a
//! byte of either, takes only what can be read in one way, and is compared with what hyper read. It is not faster or
//! cleverer than hyper; it is stricter, and it is the second pair of eyes.
//!
//! * [`Front`] stands between the socket and hyper: [`head`] reads heads, [`body`] follows bodies. What fails there is
//!   answered without hyper, and the connection closes.
//! * [`Frames`] counts the frames of HTTP/2, where hyper reads alone: that protocol leaves no doubt about where a request ends.
//! * [`check`] judges the request that hyper made of it, or that came by HTTP/2: host, path, and what else a header
//!   could be misused for. What fails there is refused as any other request.

mod body;
mod chunks;
mod fault;
mod frames;
mod head;
mod host;
mod path;
#[cfg(any(test, fuzzing))]
pub(crate) mod properties;
mod request;
mod stream;
#[cfg(test)]
mod tests;

pub(crate) use fault::Fault;
pub(crate) use frames::Frames;
pub(crate) use request::check;
pub(crate) use stream::{Front, Given};
