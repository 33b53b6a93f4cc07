//! A million unauthenticated_clients who ask for an allocation, each from an address and port of its own.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use quinn_udp::{Transmit, UdpSocketState};
use stun::attributes::AttrType;
use stun::message as wire;

use crate::harness::server_process::ServerProcess;
use crate::harness::turn_client::{UDP, Wire as _, read, request, socket};

const MILLION: u32 = 1_000_000;
/// Source ports.
const DOORS: usize = 256;
/// Doors, and unauthenticated_clients at each, whose answers are awaited together: 512 overflow no usual buffer.
const TOGETHER: usize = 32;
const AT_A_TIME: usize = 16;
/// An answer that takes longer was lost.
const LOST: Duration = Duration::from_millis(300);

/// A source port that speaks from any address of 127/8.
struct Door {
    socket: UdpSocket,
    state: UdpSocketState,
}

impl Door {
    fn open() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        socket.set_read_timeout(Some(LOST)).unwrap();
        let state = UdpSocketState::new((&socket).into()).unwrap();
        socket.set_nonblocking(false).unwrap();
        Self { socket, state }
    }

    fn ask(&self, from: Ipv4Addr, to: SocketAddr, contents: &[u8]) {
        let transmit =
            Transmit { destination: to, ecn: None, contents, segment_size: None, src_ip: Some(from.into()) };
        self.state.send((&self.socket).into(), &transmit).unwrap();
    }

    /// Challenges, of as many as were asked for.
    fn challenges(&self) -> u32 {
        let mut buffer = [0; 2048];
        let answers = (0..AT_A_TIME)
            .map_while(|_| self.socket.recv(&mut buffer).ok().map(|_| buffer[..2] == [1, 0x13]));
        answers.map(u32::from).sum()
    }
}

/// Two doors for each address, so that it is a mix.
fn address(unauthenticated_client: u32) -> Ipv4Addr {
    let [_, a, b, c] = (unauthenticated_client / 2).to_be_bytes();
    Ipv4Addr::new(127, a + 1, b, c)
}

#[test]
fn million_unauthenticated_sources_leave_no_state() {
    let mut server = ServerProcess::new();
    let bytes = request(wire::METHOD_ALLOCATE, [3; 12], &[UDP]).raw;
    let doors: Vec<_> = (0..DOORS).map(|_| Door::open()).collect();
    let (before, lines, begun) = (server.usage(), server.logged(), Instant::now());
    let grown = |server: &ServerProcess| server.usage().resident_kib.saturating_sub(before.resident_kib);
    let (mut asked, mut answered, mut halfway) = (0, 0, None);
    let patience = Duration::from_secs(if server.release { 40 } else { 15 });
    while answered < MILLION && begun.elapsed() < patience {
        for doors in doors.chunks(TOGETHER) {
            for door in std::iter::repeat_n(doors, AT_A_TIME).flatten() {
                door.ask(address(asked), server.turn, &bytes);
                asked += 1;
            }
            answered += doors.iter().map(Door::challenges).sum::<u32>();
        }
        halfway = halfway.or_else(|| (answered >= MILLION / 2).then(|| grown(&server)));
    }
    let (after, growth, time) = (server.usage(), grown(&server), begun.elapsed().as_secs_f64());
    let lines = server.logged() - lines;
    println!(
        "unauthenticated_clients: {asked} Allocates, {answered} challenged at {:.0}/s, {} dropped by the kernel; grew {} KiB by \
         half a million, {growth} KiB to {} KiB in the end; descriptors {} -> {}; {lines} lines in {time:.1} s",
        f64::from(answered) / time,
        server.dropped(),
        halfway.map_or("?".into(), |growth| growth.to_string()),
        after.resident_kib,
        before.descriptors,
        after.descriptors,
    );
    assert!(answered >= if server.release { MILLION } else { 20_000 }, "this host is too slow to tell");
    assert!(growth < 10 * 1024);
    // What does not grow with them need not be gone a minute later.
    assert!(
        halfway.is_none_or(|halfway| growth.saturating_sub(halfway) < 1024),
        "it grows with the unauthenticated_clients"
    );
    assert_eq!(after.descriptors, before.descriptors);
    assert!(lines as f64 <= 20.0 * time.max(1.0));
    thread::sleep(Duration::from_secs(3));
    println!("three seconds later {} KiB of it are left", grown(&server));
    server.assert_healthy();
}

#[test]
fn datagram_full_of_attributes_costs_little() {
    let mut server = ServerProcess::new();
    let kinds = [("Binding", wire::METHOD_BINDING), ("Allocate", wire::METHOD_ALLOCATE)];
    let kinds = kinds.into_iter().flat_map(|kind| [(kind, 0x8001), (kind, 0x0033)]);
    for (last, ((name, method), attribute)) in (1..).zip(kinds) {
        let bytes = request(method, [5; 12], &vec![(AttrType(attribute), &b""[..]); 16_000]).raw;
        let (mut unauthenticated_client, before) = (socket([0, 4, last], server.turn), server.cpu_time());
        for _ in 0..100 {
            unauthenticated_client.send(&bytes).unwrap();
            read(&unauthenticated_client.receive().expect("within its burst of replies"));
        }
        let each = (server.cpu_time() - before) / 100;
        println!("{name} of {} bytes, 16,000 attributes {attribute:#x}: {each:?} of work each", bytes.len());
        assert!(each < Duration::from_millis(10));
    }
    server.assert_healthy();
}
