//! Where callers come from: how many connections each place may have, and which places speak for others.
//!
//! Looked at once a connection, and for a request only behind a proxy that an operator named.

mod places;
mod proxies;

pub(crate) use places::{Full, Place, Places};
pub(crate) use proxies::{Proxies, parse_net};
