//! Real relay sockets, one for each relayed address (`public` only).

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};

use rustix::io::Errno;

use super::epoll::{PollSource, Poller};
use super::udp::{BatchSocket, ask_for_buffers};
use webrtc_box_turn::addr::{Families, Family, RelayedAddr};
use webrtc_box_turn::allocate::PortError;

/// A worker's relay sockets: by the address clients were told, and by slot.
#[derive(Debug, Default)]
pub(super) struct RelaySockets {
    slots: Vec<Option<RelaySocket>>,
    free: Vec<usize>,
    by_address: HashMap<RelayedAddr, usize>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct RelaySocket {
    /// The address it is lent as.
    pub(super) relayed: RelayedAddr,
    /// What it is read from and written to.
    pub(super) socket: BatchSocket,
}

/// A relay socket's buffers: many sockets, each with one call's media.
const SOCKET_BUFFER_BYTES: usize = 1 << 19;

impl RelaySockets {
    /// Binds the socket behind `relayed` on the local address of its family, and watches it.
    ///
    /// # Errors
    /// As the kernel has it; see [`refused`] for what a client's Allocate makes of it.
    pub(super) fn open(
        &mut self,
        relayed: RelayedAddr,
        bind: &Families<IpAddr>,
        poll: &Poller,
    ) -> io::Result<()> {
        let local = bind.of(Family::of(relayed.0.ip())).ok_or(io::ErrorKind::AddrNotAvailable)?;
        let slot = self.free.last().copied().unwrap_or(self.slots.len());
        let opened = bound(SocketAddr::new(*local, relayed.0.port())).and_then(BatchSocket::new);
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

    /// What is in a slot; `None` where it has been closed since it was reported.
    pub(super) fn at(&self, slot: usize) -> Option<&RelaySocket> {
        self.slots.get(slot)?.as_ref()
    }

    /// The socket behind `relayed`.
    pub(super) fn of(&self, relayed: RelayedAddr) -> Option<&BatchSocket> {
        self.at(*self.by_address.get(&relayed)?).map(|port| &port.socket)
    }

    /// Closes it.
    pub(super) fn close(&mut self, relayed: RelayedAddr) {
        if let Some(slot) = self.by_address.remove(&relayed) {
            self.slots[slot] = None;
            self.free.push(slot);
        }
    }
}

/// Whether another port may do.
pub(super) fn port_error(error: &io::Error) -> PortError {
    if error.kind() == io::ErrorKind::AddrInUse { PortError::InUse } else { PortError::Unavailable }
}

/// Whether relay sockets can be bound on `local` at all, as of now; `port` 0 is any.
///
/// # Errors
/// They cannot. A port in use, or a lack of descriptors, is no error here: it says nothing of others.
pub fn can_bind(local: IpAddr, port: u16) -> io::Result<()> {
    let Err(error) = bound(SocketAddr::new(local, port)) else { return Ok(()) };
    let passing = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRINUSE];
    let passes = Errno::from_io_error(&error).is_some_and(|errno| passing.contains(&errno));
    if passes { Ok(()) } else { Err(error) }
}

fn bound(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = crate::socket::udp(address)?;
    if address.is_ipv6() {
        // The same port of IPv4 may be another allocation's.
        socket.set_only_v6(true)?;
    }
    ask_for_buffers(&socket, SOCKET_BUFFER_BYTES);
    socket.bind(&address.into())?;
    Ok(socket.into())
}
