//! Reading a UDP socket one datagram at a time, where the kernel or a sandbox has no `recvmmsg` or lacks
//! an option that quinn-udp cannot do without.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc::{in_pktinfo, in6_pktinfo};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, RecvMsg, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use quinn_udp::RecvMeta;

/// Errors in a row after which a read ends: each is one datagram's, or it will not get better.
const MAX_CONSECUTIVE_ERRORS: usize = 16;

/// Whether `error` says that a system call is not to be had here, as opposed to one that failed.
pub(super) fn is_unsupported(error: &io::Error) -> bool {
    let missing = [Errno::ENOSYS, Errno::EOPNOTSUPP, Errno::EPERM, Errno::EACCES];
    missing.into_iter().any(|errno| error.raw_os_error() == Some(errno as i32))
}

/// Has the kernel say to which address a datagram came; where it cannot, replies leave from the address
/// that the kernel picks.
pub(super) fn ask_for_local_address(socket: &UdpSocket, local: SocketAddr) -> nix::Result<()> {
    if local.is_ipv4() {
        setsockopt(socket, sockopt::Ipv4PacketInfo, &true)
    } else {
        setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)
    }
}

/// Fills buffers until nothing is left or all are full; how many were filled.
///
/// # Errors
/// Nothing could be read but errors.
pub(super) fn receive(
    socket: &UdpSocket,
    buffers: &mut [Box<[u8]>],
    metas: &mut [RecvMeta],
) -> io::Result<usize> {
    let (mut filled, mut errors) = (0, 0);
    while let (Some(buffer), Some(meta)) = (buffers.get_mut(filled), metas.get_mut(filled)) {
        match receive_one(socket, buffer) {
            Ok(read) => {
                *meta = read;
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

fn receive_one(socket: &UdpSocket, buffer: &mut [u8]) -> nix::Result<RecvMeta> {
    let mut control = cmsg_space!(in_pktinfo, in6_pktinfo, i32, i32);
    let mut slices = [IoSliceMut::new(buffer)];
    let read = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut slices,
        Some(&mut control),
        MsgFlags::MSG_DONTWAIT,
    )?;
    let addr = read.address.as_ref().and_then(address).ok_or(Errno::EAFNOSUPPORT)?;
    let (dst_ip, segment) = control_info(&read);
    let stride = segment.unwrap_or(read.bytes);
    Ok(RecvMeta { addr, len: read.bytes, stride, dst_ip, ..RecvMeta::default() })
}

/// To which address it came, and how large the datagrams are that the kernel has joined.
fn control_info(read: &RecvMsg<'_, '_, SockaddrStorage>) -> (Option<IpAddr>, Option<usize>) {
    let (mut local, mut segment) = (None, None);
    for message in read.cmsgs().into_iter().flatten() {
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

fn address(from: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = from.as_sockaddr_in().map(|&from| SocketAddr::V4(from.into()));
    v4.or_else(|| from.as_sockaddr_in6().map(|&from| SocketAddr::V6(from.into())))
}
