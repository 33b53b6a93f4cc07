//! The floor: receives and sends the same datagrams as a relay, with nothing in between. What a relay
//! costs above this is its own doing.
//!
//! recvmmsg with UDP_GRO in; runs for one destination gathered where they lie, UDP_SEGMENT out. Told
//! whom to join by datagrams that begin with 0xff. Frozen: one side of a comparison must not move.
#![allow(unsafe_code, reason = "plain system calls on buffers that outlive them, all of it in this file")]

use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::ptr::null_mut;

use libc::{epoll_event, iovec, mmsghdr, msghdr, sockaddr_in};

const BATCH: usize = 32;
const ROOM: usize = 1 << 16;
const MARK: u8 = 0xff;

/// By which of our sockets, and to whom.
type Route = (usize, sockaddr_in);

/// Serves until it is killed; prints its port.
pub fn run() {
    let poll = unsafe { libc::epoll_create1(0) };
    let mut floor = Floor { poll, sockets: vec![], routes: vec![None; ROOM], waiting: vec![None; ROOM] };
    println!("{}", floor.open());
    let mut bytes = vec![0_u8; BATCH * ROOM];
    let mut names = [unsafe { zeroed::<sockaddr_in>() }; BATCH];
    let mut controls = [[0_u64; 8]; BATCH];
    let mut events = [epoll_event { events: 0, u64: 0 }; 64];
    let mut runs: Vec<Run> = Vec::new();
    loop {
        let ready = unsafe { libc::epoll_wait(floor.poll, events.as_mut_ptr(), 64, -1) };
        for event in &events[..ready.max(0) as usize] {
            let (from, mut got) = (event.u64 as usize, BATCH);
            while got == BATCH {
                let (mut heads, mut parts): ([mmsghdr; BATCH], [iovec; BATCH]) = unsafe { zeroed() };
                for at in 0..BATCH {
                    parts[at] = iovec { iov_base: bytes[at * ROOM..].as_mut_ptr().cast(), iov_len: ROOM };
                    let name = (&raw mut names[at]).cast();
                    heads[at].msg_hdr = head(name, &mut parts[at..=at], &mut controls[at], 64);
                }
                let (fd, into) = (floor.sockets[from].as_raw_fd(), heads.as_mut_ptr());
                let outcome = unsafe { libc::recvmmsg(fd, into, 32, libc::MSG_DONTWAIT, null_mut()) };
                got = outcome.max(0) as usize;
                for at in 0..got {
                    let (length, name) = (heads[at].msg_len as usize, names[at]);
                    let datagram = &mut bytes[at * ROOM..at * ROOM + length];
                    if datagram.first() == Some(&MARK) {
                        floor.join(datagram, from, name);
                    } else if let Some(route) = floor.routes[port(name)] {
                        let control = unsafe { libc::CMSG_FIRSTHDR(&raw const heads[at].msg_hdr).as_ref() };
                        let size = |of| unsafe { *libc::CMSG_DATA(of).cast::<i32>() as usize };
                        gather(&mut runs, route, datagram, control.map_or(length, |of| size(of)));
                    }
                }
                runs.drain(..).for_each(|run| send(run, &floor.sockets));
            }
        }
    }
}

struct Floor {
    poll: i32,
    sockets: Vec<UdpSocket>,
    /// For each port that something may come from.
    routes: Vec<Option<Route>>,
    waiting: Vec<Option<Route>>,
}

impl Floor {
    fn open(&mut self) -> u16 {
        let (socket, on) = (UdpSocket::bind("127.0.0.1:0").unwrap(), 1_i32);
        super::wire::widen(&socket);
        let (fd, on, udp) = (socket.as_raw_fd(), (&raw const on).cast(), libc::SOL_UDP);
        let mut event = epoll_event { events: libc::EPOLLIN as u32, u64: self.sockets.len() as u64 };
        unsafe {
            assert_eq!(libc::setsockopt(fd, udp, libc::UDP_GRO, on, 4), 0, "no UDP_GRO here");
            libc::epoll_ctl(self.poll, libc::EPOLL_CTL_ADD, fd, &raw mut event);
        }
        self.sockets.push(socket);
        self.sockets[self.sockets.len() - 1].local_addr().unwrap().port()
    }

    /// `[MARK, 0, pair, pair]` joins the two that say it. Who says `[MARK, 1]` is told a port of its
    /// own, where the first to say `[MARK, 2]` is the other.
    fn join(&mut self, said: &[u8], from: usize, name: sockaddr_in) {
        let key = match said[1] {
            0 => usize::from(u16::from_be_bytes([said[2], said[3]])),
            1 => {
                let told = self.open();
                self.waiting[usize::from(told)] = Some((from, name));
                let answer = [[MARK; 2], told.to_be_bytes()].concat();
                self.sockets[from].send_to(&answer, (Ipv4Addr::LOCALHOST, port(name) as u16)).unwrap();
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
struct Run {
    route: Route,
    parts: Vec<iovec>,
    size: usize,
    count: usize,
    open: bool,
}

fn gather(runs: &mut Vec<Run>, route: Route, bytes: &mut [u8], size: usize) {
    let (count, open) = (bytes.len().div_ceil(size.max(1)), bytes.len().is_multiple_of(size.max(1)));
    let part = iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    match runs.iter_mut().rev().find(|run| (run.route.0, port(run.route.1)) == (route.0, port(route.1))) {
        Some(run) if run.open && size == run.size && run.count + count <= 64.min(65_000 / size) => {
            run.parts.push(part);
            (run.count, run.open) = (run.count + count, open);
        }
        _ => runs.push(Run { route, parts: vec![part], size, count, open }),
    }
}

fn send(mut run: Run, sockets: &[UdpSocket]) {
    let mut control = [0_u64; 3];
    let to = (&raw mut run.route.1).cast();
    let head = head(to, &mut run.parts, &mut control, if run.count > 1 { 24 } else { 0 });
    unsafe {
        if let Some(control) = libc::CMSG_FIRSTHDR(&raw const head).as_mut() {
            (control.cmsg_level, control.cmsg_type) = (libc::SOL_UDP, libc::UDP_SEGMENT);
            control.cmsg_len = libc::CMSG_LEN(2) as usize;
            libc::CMSG_DATA(control).cast::<u16>().write_unaligned(run.size as u16);
        }
        libc::sendmsg(sockets[run.route.0].as_raw_fd(), &raw const head, 0);
    }
}

fn head(name: *mut libc::c_void, parts: &mut [iovec], control: &mut [u64], controls: usize) -> msghdr {
    let mut head: msghdr = unsafe { zeroed() };
    (head.msg_name, head.msg_namelen) = (name, size_of::<sockaddr_in>() as u32);
    (head.msg_iov, head.msg_iovlen) = (parts.as_mut_ptr(), parts.len());
    (head.msg_control, head.msg_controllen) = (control.as_mut_ptr().cast(), controls);
    head
}

fn port(name: sockaddr_in) -> usize {
    usize::from(u16::from_be(name.sin_port))
}
