//! The callers' port: one listener per core on the same address, among which the kernel spreads connections.

use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io,
    net::{SocketAddr, TcpListener},
    num::NonZeroUsize,
};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    #[error("--port: {address} is in use by another program; choose another port, or stop that program")]
    InUse { address: SocketAddr },
    #[error("--host, --port: can't listen on {address}: {cause}")]
    Failed { address: SocketAddr, cause: io::Error },
}

/// As many listeners as there are workers.
pub(crate) fn bind(address: SocketAddr, workers: NonZeroUsize) -> Result<Vec<TcpListener>, ListenError> {
    let failed = |cause: io::Error| {
        if cause.kind() == io::ErrorKind::AddrInUse {
            return ListenError::InUse { address };
        }
        ListenError::Failed { address, cause }
    };
    // SO_REUSEPORT would let us share the port with another gateway of the same user without a word. A socket without
    // it can't be bound beside one, so this asks whether the port is free.
    drop(socket(address, false).map_err(failed)?);
    let first = socket(address, true).map_err(failed)?;
    let bound = first.local_addr().map_err(failed)?;
    let mut listeners = vec![first];
    for _ in 1..workers.get() {
        listeners.push(socket(bound, true).map_err(failed)?);
    }
    Ok(listeners)
}

fn socket(address: SocketAddr, is_shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // `::` takes callers by IPv4 too, whatever the machine's default is.
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    if is_shared {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    if is_shared {
        socket.listen(BACKLOG)?;
    }
    Ok(socket.into())
}
