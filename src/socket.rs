//! Sockets before they are bound: never blocking, and `::` for both families.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};

/// A UDP socket to be bound to `address`.
pub(crate) fn udp(address: SocketAddr) -> io::Result<Socket> {
    unbound(address, Type::DGRAM, Protocol::UDP)
}

/// A TCP socket to be bound to `address`.
pub(crate) fn tcp(address: SocketAddr) -> io::Result<Socket> {
    unbound(address, Type::STREAM, Protocol::TCP)
}

fn unbound(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}
