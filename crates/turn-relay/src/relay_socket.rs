//! Relay sockets: one UDP socket per relayed address (`public` scope only).

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};

use rustix::io::Errno;

use super::epoll::{PollSource, Poller};
use super::udp::{BatchSocket, request_buffers};
use webrtc_box_turn::addr::{Families, Family, RelayedAddr};
use webrtc_box_turn::server::PortError;

/// The relay sockets of a worker, by relayed address and by slot.
#[derive(Debug, Default)]
pub(super) struct RelaySockets {
    slots: Vec<Option<RelaySocket>>,
    free: Vec<usize>,
    by_address: HashMap<RelayedAddr, usize>,
}

#[derive(Debug)]
pub(super) struct RelaySocket {
    pub(super) relayed: RelayedAddr,
    pub(super) socket: BatchSocket,
}

/// Requested buffer of a relay socket in each direction. There are many, each with the media of one call.
const SOCKET_BUFFER_BYTES: usize = 1 << 19;

impl RelaySockets {
    /// Binds the socket of `relayed` to the local address of its family and watches it. [`port_error`] maps an error to the
    /// reply to Allocate.
    pub(super) fn open(
        &mut self,
        relayed: RelayedAddr,
        bind: &Families<IpAddr>,
        poll: &Poller,
    ) -> io::Result<()> {
        let local = bind.of(Family::of(relayed.0.ip())).ok_or(io::ErrorKind::AddrNotAvailable)?;
        let slot = self.free.last().copied().unwrap_or(self.slots.len());
        let opened = bind_socket(SocketAddr::new(*local, relayed.0.port())).and_then(BatchSocket::new);
        let socket =
            opened.and_then(|socket| poll.watch(&socket, PollSource::Port(slot)).map(|()| socket))?;
        self.free.pop();
        if slot == self.slots.len() {
            self.slots.push(None);
        }
        self.slots[slot] = Some(RelaySocket { relayed, socket });
        self.by_address.insert(relayed, slot);
        Ok(())
    }

    /// The socket in a slot; `None` if it was closed after it was reported.
    pub(super) fn at(&self, slot: usize) -> Option<&RelaySocket> {
        self.slots.get(slot)?.as_ref()
    }

    /// The socket of `relayed`.
    pub(super) fn of(&self, relayed: RelayedAddr) -> Option<&BatchSocket> {
        self.at(*self.by_address.get(&relayed)?).map(|port| &port.socket)
    }

    pub(super) fn close(&mut self, relayed: RelayedAddr) {
        if let Some(slot) = self.by_address.remove(&relayed) {
            self.slots[slot] = None;
            self.free.push(slot);
        }
    }
}

/// Whether another port may succeed.
pub(super) fn port_error(error: &io::Error) -> PortError {
    if error.kind() == io::ErrorKind::AddrInUse { PortError::InUse } else { PortError::Unavailable }
}

/// Checks whether relay sockets can be bound to `local` now; `port` 0 is any port.
///
/// # Errors
/// The error of the bind. A used port or a lack of file descriptors or memory is no error here, because it does not
/// affect other ports or later binds.
pub fn can_bind(local: IpAddr, port: u16) -> io::Result<()> {
    let Err(error) = bind_socket(SocketAddr::new(local, port)) else { return Ok(()) };
    let temporary = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRINUSE];
    let is_temporary = Errno::from_io_error(&error).is_some_and(|errno| temporary.contains(&errno));
    if is_temporary { Ok(()) } else { Err(error) }
}

fn bind_socket(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = crate::socket::udp(address)?;
    if address.is_ipv6() {
        // Another allocation may have the same port of IPv4.
        socket.set_only_v6(true)?;
    }
    request_buffers(&socket, SOCKET_BUFFER_BYTES);
    socket.bind(&address.into())?;
    Ok(socket.into())
}
