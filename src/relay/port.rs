//! Real relay sockets, one for each relayed address (`public` only).

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};

use super::poll::{Poll, Source};
use super::udp::BatchSocket;
use crate::turn::address::{Families, Family, RelayedAddr};
use crate::turn::opening::PortError;

/// A worker's relay sockets: by the address clients were told, and by slot.
#[derive(Debug, Default)]
pub(super) struct Ports {
    slots: Vec<Option<OpenPort>>,
    free: Vec<usize>,
    by_address: HashMap<RelayedAddr, usize>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct OpenPort {
    /// The address it is lent as.
    pub(super) relayed: RelayedAddr,
    /// What it is read from and written to.
    pub(super) socket: BatchSocket,
}

/// A relay socket's buffers: many sockets, each with one call's media.
const BUFFER: usize = 1 << 19;

impl Ports {
    /// Binds the socket behind `relayed` on the local address of its family, and watches it.
    pub(super) fn open(
        &mut self,
        relayed: RelayedAddr,
        bind: &Families<IpAddr>,
        poll: &Poll,
    ) -> Result<(), PortError> {
        let local = *bind.of(Family::of(relayed.0.ip())).ok_or(PortError::Unavailable)?;
        let slot = self.free.last().copied().unwrap_or(self.slots.len());
        let opened = bound(SocketAddr::new(local, relayed.0.port())).and_then(BatchSocket::new);
        let watched = opened.and_then(|socket| poll.watch(&socket, Source::Port(slot)).map(|()| socket));
        let socket = watched.map_err(|error| refused(relayed, &error))?;
        self.free.pop();
        if slot == self.slots.len() {
            self.slots.push(None);
        }
        self.slots[slot] = Some(OpenPort { relayed, socket });
        self.by_address.insert(relayed, slot);
        Ok(())
    }

    /// What is in a slot; `None` where it has been closed since it was reported.
    pub(super) fn at(&self, slot: usize) -> Option<&OpenPort> {
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

fn refused(relayed: RelayedAddr, error: &io::Error) -> PortError {
    tracing::debug!(port = relayed.0.port(), %error, "no relay socket");
    if error.kind() == io::ErrorKind::AddrInUse { PortError::InUse } else { PortError::Unavailable }
}

fn bound(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = crate::socket::udp(address)?;
    if address.is_ipv6() {
        // The same port of IPv4 may be another allocation's.
        socket.set_only_v6(true)?;
    }
    socket.set_recv_buffer_size(BUFFER)?;
    socket.set_send_buffer_size(BUFFER)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}
