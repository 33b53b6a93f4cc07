//! The turn port's UDP sockets: batches in, segments out, and the address a packet came to as the
//! one its answer leaves from.

use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::socket::{setsockopt, sockopt};
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use rustix::net::AddressFamily;
use rustix::net::sockopt::{
    Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover,
};

/// Socket buffer asked for, each way: 212,992 bytes, the usual default, lose media under load.
pub(super) const BUFFER: usize = 4 << 20;
/// A GRO batch, or one datagram of any size.
const DATAGRAM: usize = 1 << 16;

/// A UDP socket that reads in batches and writes in segments.
#[derive(Debug)]
pub(super) struct BatchSocket {
    io: UdpSocket,
    state: RefCell<UdpSocketState>,
    /// What it is bound to, as the kernel sees it.
    local: SocketAddr,
}

/// Room for one batch; shared by all sockets of a worker.
pub(super) struct Batch {
    buffers: Vec<Box<[u8]>>,
    metas: Vec<RecvMeta>,
}

/// One datagram of a batch.
pub(super) struct Received<'b> {
    /// From whom.
    pub(super) remote: SocketAddr,
    /// To which of our addresses; unspecified where the kernel did not say.
    pub(super) local: Option<IpAddr>,
    /// What.
    pub(super) bytes: &'b [u8],
}

/// The address that `wanted` stands for, its port picked where it is 0; an error where anybody
/// else has it, also by SO_REUSEPORT.
pub(super) fn free_address(wanted: SocketAddr) -> io::Result<SocketAddr> {
    let socket = crate::socket::udp(wanted)?;
    socket.bind(&wanted.into())?;
    socket.local_addr()?.as_socket().ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))
}

impl BatchSocket {
    /// Binds on the turn port, next to the other workers' sockets. Also tells how large a buffer the
    /// kernel grants.
    pub(super) fn bind(address: SocketAddr) -> io::Result<(Self, usize)> {
        let socket = crate::socket::udp(address)?;
        socket.set_reuse_port(true)?;
        socket.set_recv_buffer_size(BUFFER)?;
        socket.set_send_buffer_size(BUFFER)?;
        socket.bind(&address.into())?;
        // The kernel reports twice what it grants, for its own bookkeeping.
        let granted = socket.recv_buffer_size()?.min(socket.send_buffer_size()?) / 2;
        Ok((Self::new(socket.into())?, granted))
    }

    /// Takes over a bound socket.
    pub(super) fn new(socket: UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        forbid_fragments(&socket, false)?;
        let local = socket.local_addr()?;
        Ok(Self { io: socket, state: RefCell::new(state), local })
    }

    /// What it is bound to.
    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Reads what is there, up to a batch; how many buffers were filled. Fewer than a batch: nothing
    /// is left.
    pub(super) fn receive(&self, batch: &mut Batch) -> io::Result<usize> {
        let Batch { buffers, metas } = batch;
        let mut slices: [IoSliceMut<'_>; quinn_udp::BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(&mut []));
        for (slice, buffer) in slices.iter_mut().zip(buffers) {
            *slice = IoSliceMut::new(buffer);
        }
        match self.state.borrow().recv((&self.io).into(), &mut slices, metas) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            outcome => outcome,
        }
    }

    /// Sends one datagram, or several of `segment` bytes each but the last, from `source`.
    pub(super) fn send(
        &self,
        to: SocketAddr,
        source: Option<IpAddr>,
        contents: &[u8],
        segment: Option<usize>,
    ) -> io::Result<()> {
        let transmit = Transmit {
            destination: self.spelled(to),
            ecn: None,
            contents,
            segment_size: segment,
            src_ip: source.filter(|_| self.local.ip().is_unspecified()),
        };
        // Nobody waits for room: a full buffer loses the packet.
        let before = self.segments();
        let sent = self.state.borrow().try_send((&self.io).into(), &transmit);
        if sent.is_err() && segment.is_none() && self.segments() < before {
            self.restore_segments()?;
        }
        sent
    }

    /// quinn-udp takes any EINVAL for a kernel without segmentation offload and never tries again;
    /// a source address that the kernel refuses says EINVAL as well. Begins anew.
    pub(super) fn restore_segments(&self) -> io::Result<()> {
        tracing::debug!("segmentation offload restored after a send that the kernel refused");
        let state = UdpSocketState::new((&self.io).into())?;
        forbid_fragments(&self.io, false)?;
        *self.state.borrow_mut() = state;
        Ok(())
    }

    /// Sends one datagram from wherever it is bound, with DF set for this one alone.
    pub(super) fn send_unfragmented(&self, to: SocketAddr, contents: &[u8]) -> io::Result<()> {
        forbid_fragments(&self.io, true)?;
        let sent = self.send(to, None, contents, None);
        forbid_fragments(&self.io, false)?;
        sent
    }

    /// How many segments one send may carry: 1 where the kernel has no segmentation offload.
    pub(super) fn segments(&self) -> usize {
        self.state.borrow().max_gso_segments()
    }

    /// Whether packets from `local` leave through this socket.
    pub(super) fn serves(&self, local: IpAddr) -> bool {
        let bound = self.local.ip().to_canonical();
        let any = bound == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        bound == local || any || (bound.is_unspecified() && local.is_ipv4())
    }

    /// An IPv4 address as an IPv6 socket wants it.
    fn spelled(&self, to: SocketAddr) -> SocketAddr {
        match (self.local, to.ip()) {
            (SocketAddr::V6(_), IpAddr::V4(ip)) => SocketAddr::new(ip.to_ipv6_mapped().into(), to.port()),
            _ => to,
        }
    }
}

impl AsFd for BatchSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl Batch {
    /// How many buffers there are.
    pub(super) const SIZE: usize = quinn_udp::BATCH_SIZE;

    /// Pages are taken only as they are filled.
    pub(super) fn new() -> Self {
        Self {
            buffers: (0..quinn_udp::BATCH_SIZE).map(|_| vec![0; DATAGRAM].into_boxed_slice()).collect(),
            metas: vec![RecvMeta::default(); quinn_udp::BATCH_SIZE],
        }
    }

    /// The datagrams in the first `filled` buffers.
    pub(super) fn datagrams(&self, filled: usize) -> impl Iterator<Item = Received<'_>> {
        self.metas[..filled].iter().zip(&self.buffers).flat_map(|(meta, buffer)| {
            let empty = (meta.len == 0).then_some(&[][..]);
            let full = buffer[..meta.len].chunks(meta.stride.max(1));
            full.chain(empty).map(|bytes| Received { remote: meta.addr, local: meta.dst_ip, bytes })
        })
    }
}

/// quinn-udp forbids fragments, as QUIC must. A relay passes whole datagrams on, whatever the
/// path's MTU, unless a client asks for DONT-FRAGMENT.
fn forbid_fragments(socket: &impl AsFd, forbid: bool) -> io::Result<()> {
    let discovery = if forbid { Ipv4PathMtuDiscovery::DO } else { Ipv4PathMtuDiscovery::DONT };
    set_ip_mtu_discover(socket, discovery)?;
    if rustix::net::getsockname(socket)?.address_family() == AddressFamily::INET6 {
        let discovery = if forbid { Ipv6PathMtuDiscovery::DO } else { Ipv6PathMtuDiscovery::DONT };
        set_ipv6_mtu_discover(socket, discovery)?;
        setsockopt(socket, sockopt::Ipv6DontFrag, &forbid)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_address_that_the_kernel_refuses_does_not_cost_segmentation() {
        let address = free_address("0.0.0.0:0".parse().unwrap()).unwrap();
        let socket = BatchSocket::bind(address).unwrap().0;
        let (to, before) = (SocketAddr::from(([127, 0, 0, 1], 9)), socket.segments());
        for nobodys in ["45.9.9.9", "255.255.255.255"] {
            assert!(socket.send(to, Some(nobodys.parse().unwrap()), b"reply", None).is_err(), "{nobodys}");
            assert_eq!(socket.segments(), before);
        }
    }

    #[test]
    fn fragments_are_allowed_but_for_a_packet_that_forbids_them() {
        let socket = BatchSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap().0;
        let discovery = || rustix::net::sockopt::ip_mtu_discover(&socket.io).unwrap();
        assert_eq!(discovery(), Ipv4PathMtuDiscovery::DONT);
        forbid_fragments(&socket.io, true).unwrap();
        assert_eq!(discovery(), Ipv4PathMtuDiscovery::DO);
        socket.send_unfragmented(SocketAddr::from(([127, 0, 0, 1], 9)), b"whole").unwrap();
        assert_eq!(discovery(), Ipv4PathMtuDiscovery::DONT);
    }

    #[test]
    fn an_empty_datagram_is_a_datagram() {
        let socket = BatchSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap().0;
        let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.send_to(b"", socket.local()).unwrap();
        let mut batch = Batch::new();
        let filled = (0..).map(|_| socket.receive(&mut batch).unwrap()).find(|filled| *filled > 0).unwrap();
        let lengths: Vec<usize> = batch.datagrams(filled).map(|datagram| datagram.bytes.len()).collect();
        assert_eq!(lengths, [0]);
    }
}
