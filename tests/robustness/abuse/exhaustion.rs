//! A server that has run out of file descriptors.

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use stun::attributes as attr;
use stun::message as wire;

use crate::harness::environment::Environment;
use crate::harness::participant::Participant;
use crate::harness::server_process::{ServerProcess, exclusive, startup_error};
use crate::harness::turn_client::{
    Framed, TEST_TIMEOUT, TurnClient, UDP, Wire as _, binding, channel_data, error_code, parse, socket,
};

/// Enough for the start and a few clients.
const DESCRIPTORS: usize = 64;
/// Flags of a relay in `public` scope whose peers are on loopback.
pub const PUBLIC: &[&str] = &[
    "--relay-scope",
    "public",
    "--external-ip",
    "127.0.0.1",
    "--allowed-peer-ip",
    "127.0.0.0/8",
    "--user-quota",
    "0",
];
const CHANNEL: u16 = 0x4000;

/// Asserts that a payload reaches the peer and another the client.
fn assert_relays(client: &mut TurnClient<UdpSocket>, peer: &UdpSocket, relayed: SocketAddr) {
    client.wire.send(&channel_data(CHANNEL, b"ping")).unwrap();
    let mut buffer = [0; 64];
    let (length, from) = peer.recv_from(&mut buffer).expect("the peer receives");
    assert_eq!((&buffer[..length], from), (&b"ping"[..], relayed));
    peer.send_to(b"pong", relayed).unwrap();
    assert_eq!(client.wire.receive().expect("the client receives"), channel_data(CHANNEL, b"pong"));
}

#[test]
fn allocate_without_descriptors_gets_508() {
    let mut server = ServerProcess::with(PUBLIC, Some(DESCRIPTORS));
    let (mut first, relayed) = TurnClient::with_allocation(socket([0, 6, 1], server.turn));
    let peer = UdpSocket::bind("127.0.6.6:0").unwrap();
    peer.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
    first.bind(CHANNEL, peer.local_addr().unwrap());
    assert_relays(&mut first, &peer, relayed);

    let (mut accepted, mut refused) = (Vec::new(), Vec::new());
    for number in 0..DESCRIPTORS as u8 {
        let mut client = TurnClient::new(socket([0, 6, 10 + number], server.turn));
        let reply = client.try_request(wire::METHOD_ALLOCATE, &[UDP], &[]);
        match error_code(&reply) {
            0 => accepted.push(client),
            508 => {
                assert!(reply.contains(attr::ATTR_MESSAGE_INTEGRITY), "an unsigned error response");
                refused.push(client);
            }
            other => panic!("{other}"),
        }
    }
    let full = server.usage().descriptors;
    assert_relays(&mut first, &peer, relayed);
    for client in &mut accepted[..8] {
        client.delete();
    }
    let again = refused.iter_mut().take(8).filter_map(|client| {
        Some(error_code(&client.try_request(wire::METHOD_ALLOCATE, &[UDP], &[]))).filter(|code| *code == 0)
    });
    let again = again.count();
    assert_relays(&mut first, &peer, relayed);
    println!(
        "{full} of {DESCRIPTORS} descriptors: {} allocated, {} refused with 508; after 8 were deleted, {again} of \
         these allocated",
        accepted.len(),
        refused.len()
    );
    assert!(full >= DESCRIPTORS && !accepted.is_empty() && refused.len() > 8);
    assert_eq!(again, 8);
    server.assert_healthy();
}

/// Opens more connections than there are descriptors; returns them and the CPU time of the next two seconds.
fn exhaust(server: &ServerProcess, to: SocketAddr) -> (Vec<TcpStream>, Duration) {
    let connections: Vec<_> = (0..2 * DESCRIPTORS).map(|_| server.tcp(to)).collect();
    let start = Instant::now();
    while server.usage().descriptors < DESCRIPTORS || !server.has_logged("raise the limit of open files") {
        assert!(start.elapsed() < TEST_TIMEOUT, "{} descriptors", server.usage().descriptors);
    }
    let before = server.cpu_time();
    std::thread::sleep(Duration::from_secs(2));
    (connections, server.cpu_time() - before)
}

#[test]
fn accept_pauses_without_descriptors_and_resumes() {
    let mut server = ServerProcess::with(&[], Some(DESCRIPTORS));
    let mut seat = Participant::join_room(&server, "early");
    for (name, to) in [("TCP", server.turn), ("HTTPS", server.https)] {
        let lines = server.line_count();
        let (connections, cpu) = exhaust(&server, to);
        let mut udp = socket([0, 6, 2], server.turn);
        udp.send(&binding(3)).unwrap();
        parse(&udp.receive().expect("a datagram needs no descriptor"));
        // Connections from before are still served.
        seat.ping();
        let lines = server.line_count() - lines;
        drop(connections);
        let start = Instant::now();
        assert_eq!(server.get("/").status, 200);
        let mut tcp = Framed::new(server.tcp(server.turn));
        tcp.send_message(&binding(1));
        parse(&tcp.receive().expect("a reply over TCP"));
        Participant::join_room(&server, "late").ping();
        println!(
            "{name}: {} connections for {DESCRIPTORS} descriptors; {cpu:?} of CPU time in 2 s, {lines} lines; page, \
             stream and WebSocket answered {:?} after they closed",
            2 * DESCRIPTORS,
            start.elapsed()
        );
        assert!(cpu < Duration::from_millis(300), "a busy loop");
        assert!(lines <= 4 && start.elapsed() < Duration::from_secs(6));
    }
    server.assert_healthy();
}

#[test]
fn soft_descriptor_limit_is_raised_to_the_hard_limit() {
    let environment = Arc::new(Environment::new());
    let mut server =
        ServerProcess::start(&environment, environment.with_descriptor_limit::<&str>(DESCRIPTORS, true, &[]));
    let _connections: Vec<_> = (0..2 * DESCRIPTORS).map(|_| server.tcp(server.turn)).collect();
    assert_eq!(server.get("/").status, 200);
    assert!(server.usage().descriptors > 2 * DESCRIPTORS);
    assert!(!server.has_logged("raise the limit"));
    server.assert_healthy();
}

#[test]
fn start_without_descriptors_is_one_line() {
    let (_guard, environment) = (exclusive(), Environment::new());
    // The limit is reached while the listeners are opened.
    for limit in [12, 14, 16] {
        let (error, time) = startup_error(environment.with_descriptor_limit::<&str>(limit, false, &[]));
        println!("{limit} descriptors: exit after {time:?}: {}", error.trim_end());
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.contains("too many files are open; raise the limit"), "{error}");
    }
}
