//! UDP sockets: receives batches of datagrams (`recvmmsg`, UDP_GRO), sends segments (UDP_SEGMENT), and replies from the
//! local address that a datagram was sent to.
//!
//! Where the kernel or a sandbox lacks `recvmmsg` or an option that quinn-udp requires, datagrams are received one by one.

use std::cell::Cell;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, RecvMsg, SockaddrIn, SockaddrIn6, SockaddrStorage,
    recvmsg, sendmsg, setsockopt, sockopt,
};
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSocketState};
use rustix::net::AddressFamily;
use rustix::net::sockopt::{
    Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ip_recvtos, set_ipv6_mtu_discover,
    set_ipv6_recvtclass,
};
use socket2::Socket;

/// Requested socket buffer in each direction. The usual default of 212,992 bytes loses media under load.
pub(super) const SOCKET_BUFFER_BYTES: usize = 4 << 20;
/// Fits one GRO batch, or one datagram of any size.
const RECV_BUFFER_BYTES: usize = 1 << 16;
/// Consecutive errors after which a read ends: each belongs to one datagram, or repeating does not help.
const MAX_CONSECUTIVE_ERRORS: usize = 16;

/// A UDP socket that receives batches and sends segments.
#[derive(Debug)]
pub(super) struct BatchSocket {
    io: UdpSocket,
    /// The state of quinn-udp; `None` if it cannot be set up.
    state: Option<UdpSocketState>,
    /// Whether one read can return several datagrams.
    batches: Cell<bool>,
    /// Whether one send can carry several datagrams.
    segments: Cell<bool>,
    /// Socket options that are unavailable here.
    missing: Vec<&'static str>,
    /// The bound address as the kernel reports it.
    local: SocketAddr,
}

/// Buffers for one batch, shared by all sockets of a worker.
pub(super) struct RecvBatch {
    buffers: Vec<Box<[u8]>>,
    metas: Vec<RecvMeta>,
}

/// Consecutive datagrams of one size from one sender, joined by the kernel; the last may be smaller.
pub(super) struct GroBatch<'b> {
    pub(super) remote: SocketAddr,
    /// The local address they were sent to; `None` if the kernel did not report it.
    pub(super) local: Option<IpAddr>,
    bytes: &'b [u8],
    stride: usize,
}

/// The address to bind for `wanted`, with a free port in place of port 0. Fails if another process uses the address,
/// including through SO_REUSEPORT.
pub(super) fn free_address(wanted: SocketAddr) -> io::Result<SocketAddr> {
    let socket = crate::socket::udp(wanted)?;
    socket.bind(&wanted.into())?;
    socket.local_addr()?.as_socket().ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))
}

/// Requests send and receive buffers of `bytes`; the kernel may grant less.
pub(super) fn request_buffers(socket: &Socket, bytes: usize) {
    for outcome in [socket.set_recv_buffer_size(bytes), socket.set_send_buffer_size(bytes)] {
        if let Err(error) = outcome {
            tracing::debug!(%error, "cannot set a socket buffer size");
        }
    }
}

/// Whether the fallback to single datagrams was logged; without it each relay socket would log it again.
static FALLBACK_LOGGED: AtomicBool = AtomicBool::new(false);

impl BatchSocket {
    /// Binds a socket of the TURN port beside those of other workers. Also returns the buffer size that the kernel
    /// grants, in bytes.
    pub(super) fn bind(address: SocketAddr) -> io::Result<(Self, usize)> {
        let socket = crate::socket::udp(address)?;
        socket.set_reuse_port(true)?;
        request_buffers(&socket, SOCKET_BUFFER_BYTES);
        socket.bind(&address.into())?;
        let size = socket.recv_buffer_size().and_then(|size| Ok(size.min(socket.send_buffer_size()?)));
        // The kernel reports twice the granted size, to cover its bookkeeping.
        Ok((Self::new(socket.into())?, size.map_or(SOCKET_BUFFER_BYTES, |size| size / 2)))
    }

    /// Wraps a bound socket. Options that a kernel or sandbox may lack are optional: datagrams pass without them.
    pub(super) fn new(socket: UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let local = socket.local_addr()?;
        let mut missing = Vec::new();
        let mut record = |option, outcome: io::Result<()>| {
            if let Err(error) = outcome {
                tracing::debug!(option, %error, "socket option unavailable");
                missing.push(option);
            }
        };
        let state = UdpSocketState::new((&socket).into());
        if state.is_err() && local.ip().is_unspecified() {
            record("PKTINFO", enable_packet_info(&socket, local).map_err(io::Error::from));
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

    /// Socket options that are unavailable here.
    pub(super) fn missing(&self) -> &[&'static str] {
        &self.missing
    }

    /// The bound address.
    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Receives up to one batch and returns the number of filled buffers. Fewer than [`RecvBatch::SIZE`] means that the
    /// socket is empty, because quinn-udp requests the whole batch in one `recvmmsg` on Linux.
    pub(super) fn receive(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        if let Some(state) = self.state.as_ref().filter(|_| self.batches.get()) {
            match self.receive_batch(state, batch) {
                Err(error) if is_unsupported(&error) => {
                    if !FALLBACK_LOGGED.swap(true, Ordering::Relaxed) {
                        tracing::info!(%error, "recvmmsg unavailable; receiving datagrams one by one");
                    }
                    self.batches.set(false);
                }
                outcome => return outcome,
            }
        }
        self.receive_singly(batch)
    }

    fn receive_batch(&self, state: &UdpSocketState, batch: &mut RecvBatch) -> io::Result<usize> {
        let RecvBatch { buffers, metas } = batch;
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] = std::array::from_fn(|_| IoSliceMut::new(&mut []));
        for (slice, buffer) in slices.iter_mut().zip(buffers) {
            *slice = IoSliceMut::new(buffer);
        }
        match state.recv((&self.io).into(), &mut slices, metas) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            outcome => outcome,
        }
    }

    /// Receives one datagram per call until the socket is empty or all buffers are full. Fails if there were only errors.
    fn receive_singly(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        let RecvBatch { buffers, metas } = batch;
        let (mut filled, mut errors) = (0, 0);
        while let (Some(buffer), Some(meta)) = (buffers.get_mut(filled), metas.get_mut(filled)) {
            match receive_one(&self.io, buffer) {
                Ok(received) => {
                    *meta = received;
                    filled += 1;
                }
                Err(Errno::EAGAIN) => break,
                Err(_) if errors < MAX_CONSECUTIVE_ERRORS => errors += 1,
                Err(error) if filled == 0 => return Err(error.into()),
                Err(_) => break,
            }
        }
        Ok(filled)
    }

    /// Sends one datagram made of `parts`, or several of `segment` bytes each except the last, from the address `source`.
    /// Never blocks: a full buffer is an error.
    pub(super) fn send(
        &self,
        to: SocketAddr,
        source: Option<IpAddr>,
        parts: &[IoSlice<'_>],
        segment: Option<u16>,
    ) -> io::Result<()> {
        let v4;
        let v6;
        // Without a source address the kernel selects one.
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

    /// Sends one datagram from the bound address, with DF set for this datagram only.
    pub(super) fn send_unfragmented(&self, to: SocketAddr, parts: &[IoSlice<'_>]) -> io::Result<()> {
        forbid_fragments(&self.io, true)?;
        let sent = self.send(to, None, parts, None);
        forbid_fragments(&self.io, false)?;
        sent
    }

    /// Whether one send can carry several datagrams.
    pub(super) fn segments(&self) -> bool {
        self.segments.get()
    }

    /// Limits every later send to one datagram.
    pub(super) fn disable_segments(&self) {
        tracing::debug!("segmentation offload unavailable; sending packets one by one");
        self.segments.set(false);
    }

    /// Whether `error` means that no destination supports segments, because of missing checksum offload or IPsec. Other
    /// errors concern one destination: EMSGSIZE means a small path MTU, which that host can announce by ICMP.
    pub(super) fn refuses_segments(error: &io::Error) -> bool {
        error.raw_os_error() == Some(Errno::EIO as i32)
    }

    /// Whether packets with the source address `local` leave by this socket.
    pub(super) fn serves(&self, local: IpAddr) -> bool {
        let bound = self.local.ip().to_canonical();
        let any = bound == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        bound == local || any || (bound.is_unspecified() && local.is_ipv4())
    }

    /// An IPv6 socket takes IPv4 addresses in IPv4-mapped form.
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
    /// The number of buffers.
    pub(super) const SIZE: usize = BATCH_SIZE;

    /// The kernel provides a page only when it is first written.
    pub(super) fn new() -> Self {
        Self {
            buffers: (0..BATCH_SIZE).map(|_| vec![0; RECV_BUFFER_BYTES].into_boxed_slice()).collect(),
            metas: vec![RecvMeta::default(); BATCH_SIZE],
        }
    }

    /// The contents of the first `filled` buffers.
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
    /// The datagrams; an empty datagram counts.
    pub(super) fn datagrams(&self) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        let empty = self.bytes.is_empty().then_some(&[][..]);
        self.bytes.chunks(self.stride).chain(empty)
    }
}

/// Whether `error` means that a system call is unavailable here, as opposed to a call that failed.
fn is_unsupported(error: &io::Error) -> bool {
    let missing = [Errno::ENOSYS, Errno::EOPNOTSUPP, Errno::EPERM, Errno::EACCES];
    missing.into_iter().any(|errno| error.raw_os_error() == Some(errno as i32))
}

fn receive_one(socket: &UdpSocket, buffer: &mut [u8]) -> nix::Result<RecvMeta> {
    let mut control = cmsg_space!(in_pktinfo, in6_pktinfo, i32, i32);
    let mut slices = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_DONTWAIT;
    let received = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, Some(&mut control), flags)?;
    let addr = received.address.as_ref().and_then(socket_addr).ok_or(Errno::EAFNOSUPPORT)?;
    let (dst_ip, segment) = control_info(&received);
    let stride = segment.unwrap_or(received.bytes);
    Ok(RecvMeta { addr, len: received.bytes, stride, dst_ip, ..RecvMeta::default() })
}

/// The local address that the datagrams were sent to, and the size of those that the kernel has joined.
fn control_info(received: &RecvMsg<'_, '_, SockaddrStorage>) -> (Option<IpAddr>, Option<usize>) {
    let (mut local, mut segment) = (None, None);
    for message in received.cmsgs().into_iter().flatten() {
        if let ControlMessageOwned::Ipv4PacketInfo(info) = message {
            local = Some(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()).into());
        } else if let ControlMessageOwned::Ipv6PacketInfo(info) = message {
            local = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
        } else if let ControlMessageOwned::UdpGroSegments(size) = message {
            segment = usize::try_from(size).ok();
        }
    }
    (local, segment)
}

fn socket_addr(from: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = from.as_sockaddr_in().map(|&from| SocketAddr::V4(from.into()));
    v4.or_else(|| from.as_sockaddr_in6().map(|&from| SocketAddr::V6(from.into())))
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

/// Requests the local address of each datagram. Without it the kernel selects the source address of a reply.
fn enable_packet_info(socket: &UdpSocket, local: SocketAddr) -> nix::Result<()> {
    if local.is_ipv4() {
        setsockopt(socket, sockopt::Ipv4PacketInfo, &true)
    } else {
        setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)
    }
}

/// Turns off what quinn-udp requests for each datagram and the relay does not use: the ECN mark, and on a socket that is
/// bound to one address also the local address.
fn disable_unused_cmsgs(socket: &UdpSocket, local: SocketAddr) -> io::Result<()> {
    let one_address = !local.ip().is_unspecified();
    let (marks, address) = if local.is_ipv4() {
        let address = one_address.then(|| setsockopt(socket, sockopt::Ipv4PacketInfo, &false));
        (set_ip_recvtos(socket, false), address)
    } else {
        let address = one_address.then(|| setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &false));
        (set_ipv6_recvtclass(socket, false), address)
    };
    marks?;
    Ok(address.unwrap_or(Ok(()))?)
}

/// Sets or clears DF. quinn-udp sets it, as QUIC requires; a relay forwards whole datagrams whatever the path MTU is,
/// unless a client asks for DONT-FRAGMENT. All options are set even if one of them fails.
fn forbid_fragments(socket: &impl AsFd, forbid: bool) -> io::Result<()> {
    let discovery = if forbid { Ipv4PathMtuDiscovery::DO } else { Ipv4PathMtuDiscovery::DONT };
    let v4 = set_ip_mtu_discover(socket, discovery).map_err(io::Error::from);
    if rustix::net::getsockname(socket)?.address_family() != AddressFamily::INET6 {
        return v4;
    }
    let discovery = if forbid { Ipv6PathMtuDiscovery::DO } else { Ipv6PathMtuDiscovery::DONT };
    let v6 = set_ipv6_mtu_discover(socket, discovery).map_err(io::Error::from);
    let dont_frag = setsockopt(socket, sockopt::Ipv6DontFrag, &forbid).map_err(io::Error::from);
    v4.and(v6).and(dont_frag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch_socket(address: &str) -> BatchSocket {
        BatchSocket::bind(address.parse().unwrap()).unwrap().0
    }

    fn peer() -> UdpSocket {
        UdpSocket::bind("127.0.0.1:0").unwrap()
    }

    #[test]
    fn a_reply_has_the_requested_source_address() {
        for (bind, peer, source) in [
            ("0.0.0.0:0", "127.0.0.1:0", "127.0.0.77"),
            ("[::]:0", "127.0.0.1:0", "127.0.0.77"),
            ("[::]:0", "[::1]:0", "::1"),
        ] {
            let (socket, peer) = (batch_socket(bind), UdpSocket::bind(peer).unwrap());
            let from = SocketAddr::new(source.parse().unwrap(), socket.local().port());
            for segment in [None, Some(4)] {
                let to = peer.local_addr().unwrap();
                socket.send(to, Some(from.ip()), &[IoSlice::new(b"reply")], segment).unwrap();
                assert_eq!(peer.recv_from(&mut [0; 9]).unwrap().1, from, "{bind} {segment:?}");
            }
        }
    }

    #[test]
    fn segments_arrive_as_separate_datagrams() {
        for bind in ["0.0.0.0:0", "[::]:0", "127.0.0.1:0"] {
            let (socket, peer) = (batch_socket(bind), peer());
            let parts = [&b"abc"[..], b"de", b"fghij", b"k"].map(IoSlice::new);
            socket.send(peer.local_addr().unwrap(), None, &parts, Some(5)).unwrap();
            let mut buffer = [0; 9];
            let received =
                [0; 3].map(|_| peer.recv(&mut buffer).map(|length| buffer[..length].to_vec()).unwrap());
            assert_eq!(received, [b"abcde".to_vec(), b"fghij".to_vec(), b"k".to_vec()]);
        }
    }

    #[test]
    fn fragments_are_allowed_except_for_a_packet_that_forbids_them() {
        let socket = batch_socket("127.0.0.1:0");
        let discovery = || rustix::net::sockopt::ip_mtu_discover(&socket.io).unwrap();
        assert_eq!(discovery(), Ipv4PathMtuDiscovery::DONT);
        forbid_fragments(&socket.io, true).unwrap();
        assert_eq!(discovery(), Ipv4PathMtuDiscovery::DO);
        let payload = [IoSlice::new(b"whole")];
        socket.send_unfragmented(SocketAddr::from(([127, 0, 0, 1], 9)), &payload).unwrap();
        assert_eq!(discovery(), Ipv4PathMtuDiscovery::DONT);
    }

    #[test]
    fn a_small_path_mtu_does_not_disable_segments_for_other_paths() {
        let refuses = |errno: Errno| BatchSocket::refuses_segments(&errno.into());
        assert!(refuses(Errno::EIO));
        assert!(![Errno::EMSGSIZE, Errno::EINVAL, Errno::EPERM, Errno::ENOBUFS].into_iter().any(refuses));
    }

    #[test]
    fn without_recvmmsg_all_datagrams_are_received_one_by_one() {
        for (bind, to) in [("0.0.0.0:0", "127.0.0.5:0"), ("[::]:0", "127.0.0.5:0"), ("[::]:0", "[::1]:0")] {
            let mut socket = batch_socket(bind);
            (socket.state, socket.batches) = (None, Cell::new(false));
            let to = SocketAddr::new(to.parse::<SocketAddr>().unwrap().ip(), socket.local().port());
            let peer = UdpSocket::bind(SocketAddr::new(to.ip(), 0)).unwrap();
            let sent: Vec<u8> = (0..5).collect();
            sent.iter().for_each(|number| assert_eq!(peer.send_to(&[*number], to).unwrap(), 1));
            let (mut batch, mut received) = (RecvBatch::new(), Vec::new());
            while received.len() < sent.len() {
                let filled = socket.receive(&mut batch).unwrap();
                for gro_batch in batch.gro_batches(filled) {
                    assert_eq!(gro_batch.local.map(|ip| ip.to_canonical()), Some(to.ip()), "{bind}");
                    assert_eq!(gro_batch.remote.port(), peer.local_addr().unwrap().port());
                    received.extend(gro_batch.datagrams().map(|datagram| datagram[0]));
                }
            }
            assert_eq!(received, sent);
            assert_eq!(socket.receive(&mut batch).unwrap(), 0, "an empty socket is not an error");
        }
    }

    #[test]
    fn an_empty_datagram_is_received() {
        let (socket, peer) = (batch_socket("127.0.0.1:0"), peer());
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
