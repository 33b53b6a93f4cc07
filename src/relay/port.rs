//! Real relay sockets, one for each relayed address (`public` only).

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use tokio::task::JoinHandle;

use super::udp::BatchSocket;
use crate::turn::address::{Families, Family, RelayedAddr};
use crate::turn::opening::PortError;

/// A worker's relay sockets, by the address clients were told.
#[derive(Debug, Default)]
pub(super) struct Ports {
    open: HashMap<RelayedAddr, OpenPort>,
}

#[derive(Debug)]
struct OpenPort {
    socket: Rc<BatchSocket>,
    reader: Option<JoinHandle<()>>,
}

/// A relay socket's buffers: many sockets, each with one call's media.
const BUFFER: usize = 1 << 19;

impl Ports {
    /// Binds the socket behind `relayed` on the local address of its family.
    pub(super) fn open(
        &mut self,
        relayed: RelayedAddr,
        bind: &Families<IpAddr>,
    ) -> Result<Rc<BatchSocket>, PortError> {
        let local = *bind.of(Family::of(relayed.0.ip())).ok_or(PortError::Unavailable)?;
        let socket =
            bound(SocketAddr::new(local, relayed.0.port())).and_then(BatchSocket::new).map_err(|error| {
                tracing::debug!(port = relayed.0.port(), %error, "no relay socket");
                if error.kind() == io::ErrorKind::AddrInUse {
                    PortError::InUse
                } else {
                    PortError::Unavailable
                }
            })?;
        let socket = Rc::new(socket);
        self.open.insert(relayed, OpenPort { socket: Rc::clone(&socket), reader: None });
        Ok(socket)
    }

    /// The task that reads from it ends when it closes.
    pub(super) fn read_by(&mut self, relayed: RelayedAddr, reader: JoinHandle<()>) {
        if let Some(port) = self.open.get_mut(&relayed) {
            port.reader = Some(reader);
        }
    }

    /// The socket behind `relayed`.
    pub(super) fn of(&self, relayed: RelayedAddr) -> Option<&BatchSocket> {
        self.open.get(&relayed).map(|port| &*port.socket)
    }

    /// Closes it.
    pub(super) fn close(&mut self, relayed: RelayedAddr) {
        if let Some(OpenPort { reader: Some(reader), .. }) = self.open.remove(&relayed) {
            reader.abort();
        }
    }
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
