//! The baseline: receives and sends the same datagrams as a relay, without any protocol. What a relay costs beyond it is the
//! cost of the relay itself.
//!
//! Receives by recvmmsg with UDP_GRO, gathers datagrams to one destination in place, and sends with UDP_SEGMENT. Datagrams
//! that begin with 0xff select the sockets to join. Do not optimize this file: one side of a comparison must not move.
#![allow(unsafe_code, reason = "plain system calls on buffers that outlive them, all of it in this file")]

use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::ptr::null_mut;

use libc::{epoll_event, iovec, mmsghdr, msghdr, sockaddr_in};

const BATCH: usize = 32;
const BUFFER: usize = 1 << 16;
const PORTS: usize = 1 << 16;
const MARK: u8 = 0xff;

/// The index of a socket, and the destination.
type Route = (usize, sockaddr_in);

/// Serves until it is killed; prints its port.
pub fn run() {
    let poll = unsafe { libc::epoll_create1(0) };
    let mut baseline =
        Baseline { poll, sockets: vec![], routes: vec![None; PORTS], waiting: vec![None; PORTS] };
    println!("{}", baseline.open());
    let mut bytes = vec![0_u8; BATCH * BUFFER];
    let mut names = [unsafe { zeroed::<sockaddr_in>() }; BATCH];
    let mut controls = [[0_u64; 8]; BATCH];
    let mut events = [epoll_event { events: 0, u64: 0 }; 64];
    let mut batches: Vec<GsoBatch> = Vec::new();
    loop {
        let ready = unsafe { libc::epoll_wait(baseline.poll, events.as_mut_ptr(), 64, -1) };
        for event in &events[..ready.max(0) as usize] {
            let (from, mut received) = (event.u64 as usize, BATCH);
            while received == BATCH {
                let (mut headers, mut parts): ([mmsghdr; BATCH], [iovec; BATCH]) = unsafe { zeroed() };
                for at in 0..BATCH {
                    parts[at] = iovec { iov_base: bytes[at * BUFFER..].as_mut_ptr().cast(), iov_len: BUFFER };
                    let name = (&raw mut names[at]).cast();
                    headers[at].msg_hdr = header(name, &mut parts[at..=at], &mut controls[at], 64);
                }
                let (fd, into) = (baseline.sockets[from].as_raw_fd(), headers.as_mut_ptr());
                let outcome = unsafe { libc::recvmmsg(fd, into, 32, libc::MSG_DONTWAIT, null_mut()) };
                received = outcome.max(0) as usize;
                for at in 0..received {
                    let (length, name) = (headers[at].msg_len as usize, names[at]);
                    let datagram = &mut bytes[at * BUFFER..at * BUFFER + length];
                    if datagram.first() == Some(&MARK) {
                        baseline.join(datagram, from, name);
                    } else if let Some(route) = baseline.routes[port(name)] {
                        let control = unsafe { libc::CMSG_FIRSTHDR(&raw const headers[at].msg_hdr).as_ref() };
                        let size = |of| unsafe { *libc::CMSG_DATA(of).cast::<i32>() as usize };
                        gather(&mut batches, route, datagram, control.map_or(length, |of| size(of)));
                    }
                }
                batches.drain(..).for_each(|batch| send(batch, &baseline.sockets));
            }
        }
    }
}

struct Baseline {
    poll: i32,
    sockets: Vec<UdpSocket>,
    /// By source port.
    routes: Vec<Option<Route>>,
    waiting: Vec<Option<Route>>,
}

impl Baseline {
    fn open(&mut self) -> u16 {
        let (socket, on) = (UdpSocket::bind("127.0.0.1:0").unwrap(), 1_i32);
        super::transport::enlarge_buffers(&socket);
        let (fd, on, udp) = (socket.as_raw_fd(), (&raw const on).cast(), libc::SOL_UDP);
        let mut event = epoll_event { events: libc::EPOLLIN as u32, u64: self.sockets.len() as u64 };
        unsafe {
            assert_eq!(libc::setsockopt(fd, udp, libc::UDP_GRO, on, 4), 0, "the kernel lacks UDP_GRO");
            libc::epoll_ctl(self.poll, libc::EPOLL_CTL_ADD, fd, &raw mut event);
        }
        self.sockets.push(socket);
        self.sockets[self.sockets.len() - 1].local_addr().unwrap().port()
    }

    /// `[MARK, 0, pair, pair]` joins the two senders of the same pair. `[MARK, 1]` gets a port as its reply, and is joined
    /// to the first sender of `[MARK, 2]` to that port.
    fn join(&mut self, request: &[u8], from: usize, name: sockaddr_in) {
        let key = match request[1] {
            0 => usize::from(u16::from_be_bytes([request[2], request[3]])),
            1 => {
                let opened = self.open();
                self.waiting[usize::from(opened)] = Some((from, name));
                let reply = [[MARK; 2], opened.to_be_bytes()].concat();
                self.sockets[from].send_to(&reply, (Ipv4Addr::LOCALHOST, port(name) as u16)).unwrap();
                return;
            }
            _ => usize::from(self.sockets[from].local_addr().unwrap().port()),
        };
        let Some(other) = self.waiting[key].take() else { return self.waiting[key] = Some((from, name)) };
        self.routes[port(name)] = Some(other);
        self.routes[port(other.1)] = Some((from, name));
    }
}

/// One send: segments of one size for one destination.
struct GsoBatch {
    route: Route,
    parts: Vec<iovec>,
    size: usize,
    count: usize,
    open: bool,
}

fn gather(batches: &mut Vec<GsoBatch>, route: Route, bytes: &mut [u8], size: usize) {
    let (count, open) = (bytes.len().div_ceil(size.max(1)), bytes.len().is_multiple_of(size.max(1)));
    let part = iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let same_route = |batch: &&mut GsoBatch| (batch.route.0, port(batch.route.1)) == (route.0, port(route.1));
    match batches.iter_mut().rev().find(same_route) {
        Some(batch) if batch.open && size == batch.size && batch.count + count <= 64.min(65_000 / size) => {
            batch.parts.push(part);
            (batch.count, batch.open) = (batch.count + count, open);
        }
        _ => batches.push(GsoBatch { route, parts: vec![part], size, count, open }),
    }
}

fn send(mut batch: GsoBatch, sockets: &[UdpSocket]) {
    let mut control = [0_u64; 3];
    let to = (&raw mut batch.route.1).cast();
    let header = header(to, &mut batch.parts, &mut control, if batch.count > 1 { 24 } else { 0 });
    unsafe {
        if let Some(control) = libc::CMSG_FIRSTHDR(&raw const header).as_mut() {
            (control.cmsg_level, control.cmsg_type) = (libc::SOL_UDP, libc::UDP_SEGMENT);
            control.cmsg_len = libc::CMSG_LEN(2) as usize;
            libc::CMSG_DATA(control).cast::<u16>().write_unaligned(batch.size as u16);
        }
        libc::sendmsg(sockets[batch.route.0].as_raw_fd(), &raw const header, 0);
    }
}

fn header(name: *mut libc::c_void, parts: &mut [iovec], control: &mut [u64], controls: usize) -> msghdr {
    let mut header: msghdr = unsafe { zeroed() };
    (header.msg_name, header.msg_namelen) = (name, size_of::<sockaddr_in>() as u32);
    (header.msg_iov, header.msg_iovlen) = (parts.as_mut_ptr(), parts.len());
    (header.msg_control, header.msg_controllen) = (control.as_mut_ptr().cast(), controls);
    header
}

fn port(name: sockaddr_in) -> usize {
    usize::from(u16::from_be(name.sin_port))
}
