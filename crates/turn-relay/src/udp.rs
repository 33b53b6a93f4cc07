//! The turn port's UDP sockets: batches in, segments out, and the address a packet came to as the
//! one its answer leaves from.

use std::cell::Cell;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn, SockaddrIn6, sendmsg, setsockopt, sockopt};
use quinn_udp::{RecvMeta, UdpSocketState};
use rustix::net::AddressFamily;
use rustix::net::sockopt::{
    Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ip_recvtos, set_ipv6_mtu_discover,
    set_ipv6_recvtclass,
};
use socket2::Socket;

use super::single;

/// Socket buffer asked for, each way: 212,992 bytes, the usual default, lose media under load.
pub(super) const SOCKET_BUFFER_BYTES: usize = 4 << 20;
/// A GRO batch, or one datagram of any size.
const RECV_BUFFER_BYTES: usize = 1 << 16;

/// A UDP socket that reads in batches and writes in segments.
#[derive(Debug)]
pub(super) struct BatchSocket {
    io: UdpSocket,
    /// What quinn-udp reads with; `None` where it cannot be set up.
    state: Option<UdpSocketState>,
    /// Whether several datagrams can be read at once.
    batches: Cell<bool>,
    segments: Cell<bool>,
    /// Socket options that are not to be had here.
    missing: Vec<&'static str>,
    /// What it is bound to, as the kernel sees it.
    local: SocketAddr,
}

/// Room for one batch; shared by all sockets of a worker.
pub(super) struct RecvBatch {
    buffers: Vec<Box<[u8]>>,
    metas: Vec<RecvMeta>,
}

/// Datagrams of one size that came one after the other from one place, as the kernel joins them;
/// the last may be smaller.
pub(super) struct GroBatch<'b> {
    /// From whom.
    pub(super) remote: SocketAddr,
    /// To which of our addresses; `None` where the kernel did not say.
    pub(super) local: Option<IpAddr>,
    bytes: &'b [u8],
    stride: usize,
}

/// The address that `wanted` stands for, its port picked where it is 0; an error where anybody
/// else has it, also by SO_REUSEPORT.
pub(super) fn free_address(wanted: SocketAddr) -> io::Result<SocketAddr> {
    let socket = crate::socket::udp(wanted)?;
    socket.bind(&wanted.into())?;
    socket.local_addr()?.as_socket().ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))
}

/// Asks for buffers of so many bytes; what the kernel grants may be less.
pub(super) fn ask_for_buffers(socket: &Socket, bytes: usize) {
    for port_error in [socket.set_recv_buffer_size(bytes), socket.set_send_buffer_size(bytes)] {
        if let Err(error) = port_error {
            tracing::debug!(%error, "no larger socket buffer");
        }
    }
}

/// Each relayed port of `public` would say it again.
static FALLBACK_LOGGED: AtomicBool = AtomicBool::new(false);

impl BatchSocket {
    /// Binds on the turn port, next to the other workers' sockets. Also tells how large a buffer the
    /// kernel grants.
    pub(super) fn bind(address: SocketAddr) -> io::Result<(Self, usize)> {
        let socket = crate::socket::udp(address)?;
        socket.set_reuse_port(true)?;
        ask_for_buffers(&socket, SOCKET_BUFFER_BYTES);
        socket.bind(&address.into())?;
        let size = socket.recv_buffer_size().and_then(|size| Ok(size.min(socket.send_buffer_size()?)));
        // The kernel reports twice what it grants, for its own bookkeeping.
        Ok((Self::new(socket.into())?, size.map_or(SOCKET_BUFFER_BYTES, |size| size / 2)))
    }

    /// Takes over a bound socket. Options that kernels and sandboxes may lack are asked for and not
    /// insisted on: without them it carries datagrams all the same.
    pub(super) fn new(socket: UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let local = socket.local_addr()?;
        let mut missing = Vec::new();
        let mut record = |option, outcome: io::Result<()>| {
            if let Err(error) = outcome {
                tracing::debug!(option, %error, "no socket option");
                missing.push(option);
            }
        };
        let state = UdpSocketState::new((&socket).into());
        if state.is_err() && local.ip().is_unspecified() {
            record("PKTINFO", single::ask_for_local_address(&socket, local).map_err(io::Error::from));
        }
        record("MTU_DISCOVER", forbid_fragments(&socket, false));
        record("RECVTOS", disable_unused_cmsgs(&socket, local));
        let mut state = state.map(Some).unwrap_or_else(|error| {
            record("batches", Err(error));
            None
        });
        let segments = Cell::new(state.as_mut().is_some_and(|state| state.max_gso_segments() > 1));
        Ok(Self { io: socket, batches: Cell::new(state.is_some()), state, segments, missing, local })
    }

    /// Socket options that are not to be had here.
    pub(super) fn missing(&self) -> &[&'static str] {
        &self.missing
    }

    /// What it is bound to.
    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Reads what is there, up to a batch; how many buffers were filled. Fewer than a batch: nothing
    /// is left, since on Linux quinn-udp asks for the whole batch in one recvmmsg.
    pub(super) fn receive(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        if let Some(state) = self.state.as_ref().filter(|_| self.batches.get()) {
            match self.receive_batch(state, batch) {
                Err(error) if single::is_unsupported(&error) => {
                    if !FALLBACK_LOGGED.swap(true, Ordering::Relaxed) {
                        tracing::info!(%error, "datagrams cannot be read in batches: one by one from now on");
                    }
                    self.batches.set(false);
                }
                outcome => return outcome,
            }
        }
        single::receive(&self.io, &mut batch.buffers, &mut batch.metas)
    }

    fn receive_batch(&self, state: &UdpSocketState, batch: &mut RecvBatch) -> io::Result<usize> {
        let RecvBatch { buffers, metas } = batch;
        let mut slices: [IoSliceMut<'_>; quinn_udp::BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(&mut []));
        for (slice, buffer) in slices.iter_mut().zip(buffers) {
            *slice = IoSliceMut::new(buffer);
        }
        match state.recv((&self.io).into(), &mut slices, metas) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            outcome => outcome,
        }
    }

    /// Sends one datagram made of `parts`, or several of `segment` bytes each but the last, from
    /// `source`. Nobody waits for room: a full buffer loses the packet.
    pub(super) fn send(
        &self,
        to: SocketAddr,
        source: Option<IpAddr>,
        parts: &[IoSlice<'_>],
        segment: Option<u16>,
    ) -> io::Result<()> {
        let v4;
        let v6;
        // Without a source the kernel picks one.
        let source = match source.filter(|ip| self.local.ip().is_unspecified() && !ip.is_unspecified()) {
            None => None,
            Some(IpAddr::V4(ip)) => {
                v4 = packet_info_v4(ip);
                Some(ControlMessage::Ipv4PacketInfo(&v4))
            }
            Some(IpAddr::V6(ip)) => {
                v6 = packet_info_v6(ip);
                Some(ControlMessage::Ipv6PacketInfo(&v6))
            }
        };
        let segment = segment.as_ref().map(ControlMessage::UdpGsoSegments);
        let mut control = [ControlMessage::UdpGsoSegments(&0); 2];
        let mut count = 0;
        for message in source.into_iter().chain(segment) {
            control[count] = message;
            count += 1;
        }
        let (fd, control, flags) = (self.io.as_raw_fd(), &control[..count], MsgFlags::empty());
        loop {
            let outcome = match self.to_socket_family(to) {
                SocketAddr::V4(to) => sendmsg(fd, parts, control, flags, Some(&SockaddrIn::from(to))),
                SocketAddr::V6(to) => sendmsg(fd, parts, control, flags, Some(&SockaddrIn6::from(to))),
            };
            match outcome {
                Err(Errno::EINTR) => {}
                outcome => return Ok(outcome.map(|_| ())?),
            }
        }
    }

    /// Sends one datagram from wherever it is bound, with DF set for this one alone.
    pub(super) fn send_unfragmented(&self, to: SocketAddr, parts: &[IoSlice<'_>]) -> io::Result<()> {
        forbid_fragments(&self.io, true)?;
        let sent = self.send(to, None, parts, None);
        forbid_fragments(&self.io, false)?;
        sent
    }

    /// Whether one send may carry several datagrams.
    pub(super) fn segments(&self) -> bool {
        self.segments.get()
    }

    /// From now on one send carries one datagram: the way out cannot do more.
    pub(super) fn give_up_segments(&self) {
        tracing::debug!("no segmentation offload on the way out: packets leave one by one");
        self.segments.set(false);
    }

    /// Whether segments that met `error` can leave nowhere, for lack of checksum offload or because
    /// of IPsec. Anything else is one destination's: EMSGSIZE where its path's MTU is small, which
    /// whoever is there may have told the kernel by ICMP.
    pub(super) fn refuses_segments(error: &io::Error) -> bool {
        error.raw_os_error() == Some(Errno::EIO as i32)
    }

    /// Whether packets from `local` leave through this socket.
    pub(super) fn serves(&self, local: IpAddr) -> bool {
        let bound = self.local.ip().to_canonical();
        let any = bound == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        bound == local || any || (bound.is_unspecified() && local.is_ipv4())
    }

    /// An IPv4 address as an IPv6 socket wants it.
    fn to_socket_family(&self, to: SocketAddr) -> SocketAddr {
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

impl RecvBatch {
    /// How many buffers there are.
    pub(super) const SIZE: usize = quinn_udp::BATCH_SIZE;

    /// Pages are taken only as they are filled.
    pub(super) fn new() -> Self {
        Self {
            buffers: (0..quinn_udp::BATCH_SIZE)
                .map(|_| vec![0; RECV_BUFFER_BYTES].into_boxed_slice())
                .collect(),
            metas: vec![RecvMeta::default(); quinn_udp::BATCH_SIZE],
        }
    }

    /// What is in the first `filled` buffers.
    pub(super) fn gro_batches(&self, filled: usize) -> impl Iterator<Item = GroBatch<'_>> {
        self.metas[..filled].iter().zip(&self.buffers).map(|(meta, buffer)| GroBatch {
            remote: meta.addr,
            local: meta.dst_ip,
            bytes: &buffer[..meta.len],
            stride: meta.stride.max(1),
        })
    }
}

impl<'b> GroBatch<'b> {
    /// One by one.
    pub(super) fn datagrams(&self) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        let empty = self.bytes.is_empty().then_some(&[][..]);
        self.bytes.chunks(self.stride).chain(empty)
    }
}

fn packet_info_v4(source: Ipv4Addr) -> in_pktinfo {
    in_pktinfo {
        ipi_ifindex: 0,
        ipi_spec_dst: in_addr { s_addr: u32::from_ne_bytes(source.octets()) },
        ipi_addr: in_addr { s_addr: 0 },
    }
}

fn packet_info_v6(source: Ipv6Addr) -> in6_pktinfo {
    in6_pktinfo { ipi6_ifindex: 0, ipi6_addr: in6_addr { s6_addr: source.octets() } }
}

/// quinn-udp has the kernel tell of every datagram how it was marked, and to which address it came:
/// nobody here asks for the one, nor for the other where there is only one address.
fn disable_unused_cmsgs(socket: &UdpSocket, local: SocketAddr) -> io::Result<()> {
    let one_address = !local.ip().is_unspecified();
    let address = |outcome: nix::Result<()>| outcome.map_err(io::Error::from);
    if local.is_ipv4() {
        let marks = set_ip_recvtos(socket, false).map_err(io::Error::from);
        let address = one_address.then(|| address(setsockopt(socket, sockopt::Ipv4PacketInfo, &false)));
        marks.and(address.unwrap_or(Ok(())))
    } else {
        let marks = set_ipv6_recvtclass(socket, false).map_err(io::Error::from);
        let address = one_address.then(|| address(setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &false)));
        marks.and(address.unwrap_or(Ok(())))
    }
}

/// quinn-udp forbids fragments, as QUIC must. A relay passes whole datagrams on, whatever the
/// path's MTU, unless a client asks for DONT-FRAGMENT. What one option refuses the others are still
/// asked for.
fn forbid_fragments(socket: &impl AsFd, forbid: bool) -> io::Result<()> {
    let discovery = if forbid { Ipv4PathMtuDiscovery::DO } else { Ipv4PathMtuDiscovery::DONT };
    let v4 = set_ip_mtu_discover(socket, discovery).map_err(io::Error::from);
    if rustix::net::getsockname(socket)?.address_family() != AddressFamily::INET6 {
        return v4;
    }
    let discovery = if forbid { Ipv6PathMtuDiscovery::DO } else { Ipv6PathMtuDiscovery::DONT };
    let v6 = set_ipv6_mtu_discover(socket, discovery).map_err(io::Error::from);
    let whole = setsockopt(socket, sockopt::Ipv6DontFrag, &forbid).map_err(io::Error::from);
    v4.and(v6).and(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_leaves_from_the_address_it_is_told() {
        for (bind, peer, source) in [
            ("0.0.0.0:0", "127.0.0.1:0", "127.0.0.77"),
            ("[::]:0", "127.0.0.1:0", "127.0.0.77"),
            ("[::]:0", "[::1]:0", "::1"),
        ] {
            let socket = BatchSocket::bind(bind.parse().unwrap()).unwrap().0;
            let peer = UdpSocket::bind(peer).unwrap();
            let from = SocketAddr::new(source.parse().unwrap(), socket.local().port());
            for segment in [None, Some(4)] {
                let to = peer.local_addr().unwrap();
                socket.send(to, Some(from.ip()), &[IoSlice::new(b"reply")], segment).unwrap();
                assert_eq!(peer.recv_from(&mut [0; 9]).unwrap().1, from, "{bind} {segment:?}");
            }
        }
    }

    #[test]
    fn a_run_arrives_as_the_datagrams_it_was_made_of() {
        for bind in ["0.0.0.0:0", "[::]:0", "127.0.0.1:0"] {
            let (socket, peer) = (BatchSocket::bind(bind.parse().unwrap()).unwrap().0, peer());
            let parts = [&b"abc"[..], b"de", b"fghij", b"k"].map(IoSlice::new);
            socket.send(peer.local_addr().unwrap(), None, &parts, Some(5)).unwrap();
            let mut buffer = [0; 9];
            let got = [0; 3].map(|_| peer.recv(&mut buffer).map(|length| buffer[..length].to_vec()).unwrap());
            assert_eq!(got, [b"abcde".to_vec(), b"fghij".to_vec(), b"k".to_vec()]);
        }
    }

    fn peer() -> UdpSocket {
        UdpSocket::bind("127.0.0.1:0").unwrap()
    }

    #[test]
    fn fragments_are_allowed_but_for_a_packet_that_forbids_them() {
        let socket = BatchSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap().0;
        let discovery = || rustix::net::sockopt::ip_mtu_discover(&socket.io).unwrap();
        assert_eq!(discovery(), Ipv4PathMtuDiscovery::DONT);
        forbid_fragments(&socket.io, true).unwrap();
        assert_eq!(discovery(), Ipv4PathMtuDiscovery::DO);
        let whole = [IoSlice::new(b"whole")];
        socket.send_unfragmented(SocketAddr::from(([127, 0, 0, 1], 9)), &whole).unwrap();
        assert_eq!(discovery(), Ipv4PathMtuDiscovery::DONT);
    }

    #[test]
    fn a_small_mtu_on_one_path_ends_segments_on_no_other() {
        let refuses = |errno: Errno| BatchSocket::refuses_segments(&errno.into());
        assert!(refuses(Errno::EIO));
        assert!(![Errno::EMSGSIZE, Errno::EINVAL, Errno::EPERM, Errno::ENOBUFS].into_iter().any(refuses));
    }

    #[test]
    fn without_batches_datagrams_are_read_one_by_one_and_none_is_left() {
        for (bind, to) in [("0.0.0.0:0", "127.0.0.5:0"), ("[::]:0", "127.0.0.5:0"), ("[::]:0", "[::1]:0")] {
            let mut socket = BatchSocket::bind(bind.parse().unwrap()).unwrap().0;
            (socket.state, socket.batches) = (None, Cell::new(false));
            let to = SocketAddr::new(to.parse::<SocketAddr>().unwrap().ip(), socket.local().port());
            let peer = std::net::UdpSocket::bind(SocketAddr::new(to.ip(), 0)).unwrap();
            let sent: Vec<u8> = (0..5).collect();
            sent.iter().for_each(|number| assert_eq!(peer.send_to(&[*number], to).unwrap(), 1));
            let (mut batch, mut got) = (RecvBatch::new(), Vec::new());
            while got.len() < sent.len() {
                let filled = socket.receive(&mut batch).unwrap();
                for gro_batch in batch.gro_batches(filled) {
                    assert_eq!(gro_batch.local.map(|ip| ip.to_canonical()), Some(to.ip()), "{bind}");
                    assert_eq!(gro_batch.remote.port(), peer.local_addr().unwrap().port());
                    got.extend(gro_batch.datagrams().map(|datagram| datagram[0]));
                }
            }
            assert_eq!(got, sent);
            assert_eq!(socket.receive(&mut batch).unwrap(), 0, "nothing is left, which is no error");
        }
    }

    #[test]
    fn an_empty_datagram_is_a_datagram() {
        let socket = BatchSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap().0;
        let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.send_to(b"", socket.local()).unwrap();
        let mut batch = RecvBatch::new();
        let filled = (0..).map(|_| socket.receive(&mut batch).unwrap()).find(|filled| *filled > 0).unwrap();
        let lengths: Vec<Vec<usize>> = batch
            .gro_batches(filled)
            .map(|gro_batch| gro_batch.datagrams().map(<[u8]>::len).collect())
            .collect();
        assert_eq!(lengths, [[0]]);
    }
}
