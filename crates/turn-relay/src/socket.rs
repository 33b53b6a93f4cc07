//! Sockets before they are bound: never blocking, and `::` for both families; and what the kernel may
//! hold for a connection.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;
use tracing::debug;

/// A UDP socket to be bound to `address`.
pub fn udp(address: SocketAddr) -> io::Result<Socket> {
    unbound(address, Type::DGRAM, Protocol::UDP)
}

/// A TCP socket to be bound to `address`.
pub fn tcp(address: SocketAddr) -> io::Result<Socket> {
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

/// What a client may send before its connection is accepted. Asked of the listener, since a window that
/// was offered cannot be taken back. On older kernels it never grows again either, so it suffices for
/// media at 2 Mbit/s and a round trip of 100 ms.
const INITIAL_WINDOW_BYTES: usize = 24 << 10;

/// Bounds what waits in the kernel for connections of `listener` that are not accepted yet.
pub fn limit_initial_window(listener: &TcpListener) {
    if let Err(error) = SockRef::from(listener).set_recv_buffer_size(INITIAL_WINDOW_BYTES) {
        debug!(%error, "the first window of connections cannot be set");
    }
}

/// What has a TCP socket at the bottom.
pub trait HasTcpStream {
    /// The socket.
    fn tcp(&self) -> &TcpStream;
}

impl HasTcpStream for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl<S: HasTcpStream> HasTcpStream for TlsStream<S> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0.tcp()
    }
}

impl<S: HasTcpStream + ?Sized> HasTcpStream for Box<S> {
    fn tcp(&self) -> &TcpStream {
        (**self).tcp()
    }
}

/// The kernel's buffers of one TCP connection, as they are asked for; it takes twice as much for its
/// own needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketBuffers {
    send: usize,
    receive: usize,
}

impl SocketBuffers {
    /// For a client that has not shown who it is: a certificate fits, and a request with its headers.
    pub const SMALL: Self = Self { send: 8 << 10, receive: 16 << 10 };
    /// For HTTP and WebSockets: a page leaves in few round trips.
    pub const HTTP: Self = Self { send: 32 << 10, receive: 16 << 10 };
    /// For media of a source that has many streams already: half of that.
    pub const CROWDED: Self = Self { send: 32 << 10, receive: 32 << 10 };
    /// For media: 5 Mbit/s each way at a round trip of 100 ms.
    pub const MEDIA: Self = Self { send: 64 << 10, receive: 64 << 10 };

    /// What the kernel may hold.
    pub const fn cost(self) -> usize {
        2 * (self.send + self.receive)
    }

    /// Gives `stream` these. The kernel's limits are above them; where it refuses, what was stays.
    pub fn set(self, stream: &TcpStream) {
        let socket = SockRef::from(stream);
        let set =
            socket.set_send_buffer_size(self.send).and_then(|()| socket.set_recv_buffer_size(self.receive));
        if let Err(error) = set {
            debug!(%error, "buffers of a connection cannot be set");
        }
    }
}
