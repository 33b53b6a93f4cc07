//! TCP connections as the kernel sees them: buffers, the initial window, and whether the client has closed. Also creates
//! unbound sockets: non-blocking, and `::` for both families.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;
use tracing::debug;

use crate::queue_budget::{Charge, QueueShare};

/// Creates a UDP socket to bind to `address`.
pub fn udp(address: SocketAddr) -> io::Result<Socket> {
    unbound(address, Type::DGRAM, Protocol::UDP)
}

/// Creates a TCP socket to bind to `address`.
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

/// What a client may send before its connection is accepted. It is set on the listener, because an advertised window
/// cannot shrink. On older kernels it never grows either, so it is enough for media at 2 Mbit/s and a round trip of
/// 100 ms.
const INITIAL_WINDOW_BYTES: usize = 24 << 10;

/// Limits what the kernel holds for connections of `listener` that are not accepted yet.
pub fn limit_initial_window(listener: &TcpListener) {
    if let Err(error) = SockRef::from(listener).set_recv_buffer_size(INITIAL_WINDOW_BYTES) {
        debug!(%error, "cannot set the initial window of connections");
    }
}

/// A stream over a TCP connection.
pub trait HasTcpStream {
    /// The connection.
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

/// Kernel buffers of one TCP connection as requested, in bytes; the kernel doubles them for its bookkeeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketBuffers {
    send: usize,
    receive: usize,
}

impl SocketBuffers {
    /// For an unauthenticated client: fits a certificate, and a request with its headers.
    pub const SMALL: Self = Self { send: 8 << 10, receive: 16 << 10 };
    /// For HTTP and WebSockets: a page is sent in few round trips.
    pub const HTTP: Self = Self { send: 32 << 10, receive: 16 << 10 };
    /// For media of a source that has many streams: half of [`Self::MEDIA`].
    pub const CROWDED: Self = Self { send: 32 << 10, receive: 32 << 10 };
    /// For media: 5 Mbit/s in each direction at a round trip of 100 ms.
    pub const MEDIA: Self = Self { send: 64 << 10, receive: 64 << 10 };

    /// Bytes that the kernel may hold.
    pub const fn cost(self) -> usize {
        2 * (self.send + self.receive)
    }

    /// Sets the buffers of `stream`. If the kernel refuses, they stay as they are; its limits are above these sizes.
    pub fn set(self, stream: &TcpStream) {
        let socket = SockRef::from(stream);
        let set =
            socket.set_send_buffer_size(self.send).and_then(|()| socket.set_recv_buffer_size(self.receive));
        if let Err(error) = set {
            debug!(%error, "cannot set the buffers of a connection");
        }
    }
}

/// A stream that one task both reads and writes. The lock is never held across an await and never contended.
pub(crate) struct SharedStream<S>(Mutex<S>);

impl<S> SharedStream<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self(Mutex::new(stream))
    }

    fn lock(&self) -> MutexGuard<'_, S> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for &SharedStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for &SharedStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.lock()).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_shutdown(cx)
    }
}

/// What a reader needs of the connection below its stream.
pub(crate) trait StreamControl {
    /// Sets the kernel buffers for a client with or without an allocation.
    fn set_buffers(&mut self, allocated: bool);
    /// Whether the client has closed the connection or its sending side.
    fn is_half_closed(&self) -> bool;
}

/// The connection of a TURN stream, with its part of the budget for kernel buffers.
pub(crate) struct StreamSocket<'s, S> {
    stream: &'s SharedStream<S>,
    budget: Arc<QueueShare>,
    charge: Option<Charge>,
    /// Whether the buffers are those of a client with an allocation.
    for_media: bool,
}

impl<'s, S> StreamSocket<'s, S> {
    pub(crate) fn new(stream: &'s SharedStream<S>, budget: Arc<QueueShare>) -> Self {
        Self { stream, budget, charge: None, for_media: false }
    }
}

impl<S: HasTcpStream> StreamControl for StreamSocket<'_, S> {
    fn set_buffers(&mut self, allocated: bool) {
        if allocated == self.for_media {
            return;
        }
        self.for_media = allocated;
        self.charge = if allocated { self.budget.charge(SocketBuffers::MEDIA.cost()) } else { None };
        let buffers = match (allocated, &self.charge) {
            (true, Some(_)) => SocketBuffers::MEDIA,
            (true, None) => SocketBuffers::CROWDED,
            (false, _) => SocketBuffers::SMALL,
        };
        buffers.set(self.stream.lock().tcp());
    }

    fn is_half_closed(&self) -> bool {
        let stream = self.stream.lock();
        let mut fds = [PollFd::new(stream.tcp(), PollFlags::RDHUP)];
        let no_wait = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&no_wait)).is_ok_and(|ready| ready > 0)
    }
}
