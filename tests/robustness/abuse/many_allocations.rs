//! A million unauthenticated Allocate requests, each from another address and port.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use quinn_udp::{Transmit, UdpSocketState};
use stun::attributes::AttrType;
use stun::message as wire;

use crate::harness::server_process::ServerProcess;
use crate::harness::turn_client::{UDP, Wire as _, parse, request, socket};

const MILLION: u32 = 1_000_000;
/// Sockets, each with its own source port.
const SOCKETS: usize = 256;
/// Sockets, and requests of each, per batch: 512 replies overflow no usual buffer.
const SOCKETS_PER_BATCH: usize = 32;
const REQUESTS_PER_SOCKET: usize = 16;
/// A reply that takes longer was lost.
const REPLY_TIMEOUT: Duration = Duration::from_millis(300);

/// A socket that can send from any address of 127/8.
struct SourcePort {
    socket: UdpSocket,
    state: UdpSocketState,
}

impl SourcePort {
    fn open() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        socket.set_read_timeout(Some(REPLY_TIMEOUT)).unwrap();
        let state = UdpSocketState::new((&socket).into()).unwrap();
        socket.set_nonblocking(false).unwrap();
        Self { socket, state }
    }

    fn send(&self, from: Ipv4Addr, to: SocketAddr, contents: &[u8]) {
        let transmit =
            Transmit { destination: to, ecn: None, contents, segment_size: None, src_ip: Some(from.into()) };
        self.state.send((&self.socket).into(), &transmit).unwrap();
    }

    /// The number of 401 replies to the last batch.
    fn challenges(&self) -> u32 {
        let mut buffer = [0; 2048];
        let replies = (0..REQUESTS_PER_SOCKET)
            .map_while(|_| self.socket.recv(&mut buffer).ok().map(|_| buffer[..2] == [1, 0x13]));
        replies.map(u32::from).sum()
    }
}

/// Two consecutive requests come from one address.
fn address(request: u32) -> Ipv4Addr {
    let [_, a, b, c] = (request / 2).to_be_bytes();
    Ipv4Addr::new(127, a + 1, b, c)
}

#[test]
fn million_unauthenticated_sources_leave_no_state() {
    let mut server = ServerProcess::new();
    let bytes = request(wire::METHOD_ALLOCATE, [3; 12], &[UDP]).raw;
    let ports: Vec<_> = (0..SOCKETS).map(|_| SourcePort::open()).collect();
    let (before, lines, start) = (server.usage(), server.line_count(), Instant::now());
    let grown = |server: &ServerProcess| server.usage().resident_kib.saturating_sub(before.resident_kib);
    let (mut sent, mut answered, mut halfway) = (0, 0, None);
    let time_limit = Duration::from_secs(if server.release { 40 } else { 15 });
    while answered < MILLION && start.elapsed() < time_limit {
        for ports in ports.chunks(SOCKETS_PER_BATCH) {
            for port in std::iter::repeat_n(ports, REQUESTS_PER_SOCKET).flatten() {
                port.send(address(sent), server.turn, &bytes);
                sent += 1;
            }
            answered += ports.iter().map(SourcePort::challenges).sum::<u32>();
        }
        halfway = halfway.or_else(|| (answered >= MILLION / 2).then(|| grown(&server)));
    }
    let (after, growth, time) = (server.usage(), grown(&server), start.elapsed().as_secs_f64());
    let lines = server.line_count() - lines;
    println!(
        "{sent} unauthenticated Allocates, {answered} challenged at {:.0}/s, {} dropped by the kernel; grew {} KiB by \
         half a million, {growth} KiB to {} KiB in the end; descriptors {} -> {}; {lines} lines in {time:.1} s",
        f64::from(answered) / time,
        server.dropped_datagrams(),
        halfway.map_or("?".into(), |growth| growth.to_string()),
        after.resident_kib,
        before.descriptors,
        after.descriptors,
    );
    assert!(answered >= if server.release { MILLION } else { 20_000 }, "this host is too slow for a verdict");
    assert!(growth < 10 * 1024);
    // A constant amount of memory may stay.
    assert!(
        halfway.is_none_or(|halfway| growth.saturating_sub(halfway) < 1024),
        "memory grows with the number of clients"
    );
    assert_eq!(after.descriptors, before.descriptors);
    assert!(lines as f64 <= 20.0 * time.max(1.0));
    thread::sleep(Duration::from_secs(3));
    println!("three seconds later {} KiB are still used", grown(&server));
    server.assert_healthy();
}

#[test]
fn datagram_full_of_attributes_costs_little() {
    let mut server = ServerProcess::new();
    let kinds = [("Binding", wire::METHOD_BINDING), ("Allocate", wire::METHOD_ALLOCATE)];
    let kinds = kinds.into_iter().flat_map(|kind| [(kind, 0x8001), (kind, 0x0033)]);
    for (last, ((name, method), attribute)) in (1..).zip(kinds) {
        let bytes = request(method, [5; 12], &vec![(AttrType(attribute), &b""[..]); 16_000]).raw;
        let (mut client, before) = (socket([0, 4, last], server.turn), server.cpu_time());
        for _ in 0..100 {
            client.send(&bytes).unwrap();
            parse(&client.receive().expect("a reply within the burst of the limit"));
        }
        let each = (server.cpu_time() - before) / 100;
        println!(
            "{name} of {} bytes, 16,000 attributes {attribute:#x}: {each:?} of CPU time each",
            bytes.len()
        );
        assert!(each < Duration::from_millis(10));
    }
    server.assert_healthy();
}
