//! Listening sockets, bound before anything else happens.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

use api_log::config::{ListenAddress, ListenHost};
use socket2::{Domain, Protocol, Socket, Type};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// Binds and listens. Without a host: on all interfaces, of both families where the system has both.
pub(crate) fn bind(address: &ListenAddress) -> io::Result<TcpListener> {
    let mut outcome = Err(io::ErrorKind::AddrNotAvailable.into());
    for candidate in candidates(address)? {
        outcome = bind_to(candidate);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// The addresses that a configured one stands for, the preferred one first.
fn candidates(address: &ListenAddress) -> io::Result<Vec<SocketAddr>> {
    Ok(match &address.host {
        ListenHost::Any => vec![([0u16; 8], address.port).into(), ([0u8; 4], address.port).into()],
        ListenHost::Ip(host) => vec![SocketAddr::new(*host, address.port)],
        ListenHost::Name(name) => (&**name, address.port).to_socket_addrs()?.collect(),
    })
}

fn bind_to(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // A restart must not wait for connections of the run before.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
