//! The floor: receives and sends the same datagrams as a relay, with nothing in between. What a relay
//! costs above this is its own doing.
//!
//! recvmmsg with UDP_GRO in; runs for one destination gathered where they lie, sendmmsg with
//! UDP_SEGMENT out. Told whom to join by datagrams that begin with 0xff. Frozen: do not improve one
//! side of a comparison.
#![allow(unsafe_code, reason = "plain system calls on buffers that outlive them, all of it in this file")]

use std::mem::{size_of, zeroed};
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;
use std::ptr::{null_mut, write};

use libc::{c_int, c_void, iovec, mmsghdr, msghdr, sockaddr_in};

const BATCH: usize = 32;
const ROOM: usize = 1 << 16;
const SEGMENTS: usize = 64;
const MARK: u8 = 0xff;

/// Where what comes from one port goes: by which of our sockets, and to whom.
type Routes = Vec<Option<(usize, sockaddr_in)>>;

/// One send: segments of one size for one destination.
struct Run {
    by: usize,
    to: sockaddr_in,
    parts: Vec<iovec>,
    size: usize,
    count: usize,
    open: bool,
    control: [u64; 4],
}

/// Serves until it is killed; prints its port.
pub fn run() {
    let mut sockets = vec![open()];
    // SAFETY: plain calls; the event outlives them.
    let poll = unsafe { libc::epoll_create1(0) };
    watch(poll, &sockets, 0);
    println!("{}", sockets[0].local_addr().unwrap().port());
    let (mut routes, mut waiting): (Routes, Routes) = (vec![None; ROOM], vec![None; ROOM]);
    let mut bytes = vec![0_u8; BATCH * ROOM];
    let mut names = [unsafe { zeroed::<sockaddr_in>() }; BATCH];
    let mut controls = [[0_u64; 8]; BATCH];
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; 64];
    let mut runs: Vec<Run> = Vec::new();
    loop {
        // SAFETY: as many events as there is room for.
        let ready = unsafe { libc::epoll_wait(poll, events.as_mut_ptr(), 64, -1) };
        for event in 0..ready.max(0) as usize {
            let from = events[event].u64 as usize;
            loop {
                let mut heads: [mmsghdr; BATCH] = unsafe { zeroed() };
                let mut parts: [iovec; BATCH] = unsafe { zeroed() };
                for at in 0..BATCH {
                    parts[at] = iovec { iov_base: bytes[at * ROOM..].as_mut_ptr().cast(), iov_len: ROOM };
                    let head: &mut msghdr = &mut heads[at].msg_hdr;
                    (head.msg_iov, head.msg_iovlen) = (&mut parts[at], 1);
                    (head.msg_name, head.msg_namelen) =
                        ((&raw mut names[at]).cast(), size_of::<sockaddr_in>() as u32);
                    (head.msg_control, head.msg_controllen) = ((&raw mut controls[at]).cast(), 64);
                }
                let fd = sockets[from].as_raw_fd();
                // SAFETY: every pointer is into a buffer above.
                let got = unsafe {
                    libc::recvmmsg(fd, heads.as_mut_ptr(), BATCH as u32, libc::MSG_DONTWAIT, null_mut())
                };
                for at in 0..got.max(0) as usize {
                    let (length, name) = (heads[at].msg_len as usize, names[at]);
                    let datagram = &mut bytes[at * ROOM..at * ROOM + length];
                    if datagram.first() == Some(&MARK) {
                        join(datagram, from, name, (&mut sockets, poll), (&mut routes, &mut waiting));
                    } else if let Some((by, to)) = routes[usize::from(u16::from_be(name.sin_port))] {
                        gather(&mut runs, by, to, datagram, segment(&heads[at].msg_hdr, length));
                    }
                }
                runs.drain(..).for_each(|run| send(&sockets[run.by], run));
                if got < BATCH as c_int {
                    break;
                }
            }
        }
    }
}

fn open() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let plain = socket2::SockRef::from(&socket);
    let _ = (plain.set_recv_buffer_size(4 << 20), plain.set_send_buffer_size(4 << 20));
    // SAFETY: an option of one int.
    let on: c_int = 1;
    let gro = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_GRO, (&raw const on).cast(), 4)
    };
    assert_eq!(gro, 0, "this kernel has no UDP_GRO");
    socket
}

fn watch(poll: c_int, sockets: &[UdpSocket], at: usize) {
    let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: at as u64 };
    // SAFETY: both descriptors are open.
    unsafe { libc::epoll_ctl(poll, libc::EPOLL_CTL_ADD, sockets[at].as_raw_fd(), &mut event) };
}

/// `[MARK, 0, pair, pair]` joins the two that say it; `[MARK, 1]` is told a port of its own, where the
/// first to say `[MARK, 2]` is the other.
fn join(
    said: &[u8],
    from: usize,
    name: sockaddr_in,
    (sockets, poll): (&mut Vec<UdpSocket>, c_int),
    (routes, waiting): (&mut Routes, &mut Routes),
) {
    let port = |name: sockaddr_in| usize::from(u16::from_be(name.sin_port));
    if said[1] == 1 {
        sockets.push(open());
        let own = sockets.len() - 1;
        watch(poll, sockets, own);
        let told = sockets[own].local_addr().unwrap().port();
        waiting[usize::from(told)] = Some((from, name));
        let to = (std::net::Ipv4Addr::LOCALHOST, u16::from_be(name.sin_port));
        sockets[0].send_to(&[[MARK; 2], told.to_be_bytes()].concat(), to).unwrap();
        return;
    }
    let key = match said[1] {
        0 => usize::from(u16::from_be_bytes([said[2], said[3]])),
        _ => usize::from(sockets[from].local_addr().unwrap().port()),
    };
    match waiting[key].take() {
        None => waiting[key] = Some((from, name)),
        Some((by, other)) => {
            routes[port(name)] = Some((by, other));
            routes[port(other)] = Some((from, name));
        }
    }
}

/// The size of each datagram in what one receive brought.
fn segment(head: &msghdr, length: usize) -> usize {
    // SAFETY: the kernel has filled in what it says it has.
    unsafe {
        let control = libc::CMSG_FIRSTHDR(head);
        if control.is_null() { length } else { *libc::CMSG_DATA(control).cast::<c_int>() as usize }
    }
}

fn gather(runs: &mut Vec<Run>, by: usize, to: sockaddr_in, bytes: &mut [u8], size: usize) {
    let (count, whole) = (bytes.len().div_ceil(size.max(1)), bytes.len().is_multiple_of(size.max(1)));
    let part = iovec { iov_base: bytes.as_mut_ptr().cast::<c_void>(), iov_len: bytes.len() };
    let same = |run: &&mut Run| run.by == by && run.to.sin_port == to.sin_port;
    match runs.iter_mut().rev().find(same) {
        Some(run)
            if run.open
                && size == run.size
                && run.count + count <= SEGMENTS
                && (run.count + count) * size < 65_000 =>
        {
            run.parts.push(part);
            (run.count, run.open) = (run.count + count, whole);
        }
        _ => runs.push(Run { by, to, parts: vec![part], size, count, open: whole, control: [0; 4] }),
    }
}

fn send(socket: &UdpSocket, mut run: Run) {
    // SAFETY: every pointer is into `run` or into what was received, which both live on.
    unsafe {
        let mut head: msghdr = zeroed();
        (head.msg_name, head.msg_namelen) = ((&raw mut run.to).cast(), size_of::<sockaddr_in>() as u32);
        (head.msg_iov, head.msg_iovlen) = (run.parts.as_mut_ptr(), run.parts.len());
        if run.count > 1 {
            (head.msg_control, head.msg_controllen) =
                (run.control.as_mut_ptr().cast(), libc::CMSG_SPACE(2) as usize);
            let control = libc::CMSG_FIRSTHDR(&head);
            ((*control).cmsg_level, (*control).cmsg_type) = (libc::SOL_UDP, libc::UDP_SEGMENT);
            (*control).cmsg_len = libc::CMSG_LEN(2) as usize;
            write(libc::CMSG_DATA(control).cast(), run.size as u16);
        }
        libc::sendmsg(socket.as_raw_fd(), &head, 0);
    }
}
