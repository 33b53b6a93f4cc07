//! A box that has run out of descriptors.

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use stun::attributes as attr;
use stun::message as wire;

use crate::harness::environment::Environment;
use crate::harness::participant::Participant;
use crate::harness::server_process::{ServerProcess, exclusive, startup_error};
use crate::harness::turn_client::{
    Framed, PATIENCE, TurnClient, UDP, Wire as _, binding, channel_data, code, read, socket,
};

/// As few as a box can start with, and some for clients.
const DESCRIPTORS: usize = 64;
/// A general relay whose peers are on loopback.
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

/// There to the peer and back.
fn carries(client: &mut TurnClient<UdpSocket>, peer: &UdpSocket, relayed: SocketAddr) {
    client.wire.send(&channel_data(CHANNEL, b"ping")).unwrap();
    let mut buffer = [0; 64];
    let (length, from) = peer.recv_from(&mut buffer).expect("the peer hears");
    assert_eq!((&buffer[..length], from), (&b"ping"[..], relayed));
    peer.send_to(b"pong", relayed).unwrap();
    assert_eq!(client.wire.receive().expect("the client hears"), channel_data(CHANNEL, b"pong"));
}

#[test]
fn allocate_without_descriptors_gets_508() {
    let mut server = ServerProcess::with(PUBLIC, Some(DESCRIPTORS));
    let (mut first, relayed) = TurnClient::allocated(socket([0, 6, 1], server.turn));
    let peer = UdpSocket::bind("127.0.6.6:0").unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    first.bind(CHANNEL, peer.local_addr().unwrap());
    carries(&mut first, &peer, relayed);

    let (mut let_in, mut refused) = (Vec::new(), Vec::new());
    for number in 0..DESCRIPTORS as u8 {
        let mut client = TurnClient::new(socket([0, 6, 10 + number], server.turn));
        let reply = client.attempt(wire::METHOD_ALLOCATE, &[UDP], &[]);
        match code(&reply) {
            0 => let_in.push(client),
            508 => {
                assert!(reply.contains(attr::ATTR_MESSAGE_INTEGRITY), "a refusal that is not signed");
                refused.push(client);
            }
            other => panic!("{other}"),
        }
    }
    let full = server.usage().descriptors;
    carries(&mut first, &peer, relayed);
    for client in &mut let_in[..8] {
        client.delete();
    }
    let again = refused.iter_mut().take(8).filter_map(|client| {
        Some(code(&client.attempt(wire::METHOD_ALLOCATE, &[UDP], &[]))).filter(|code| *code == 0)
    });
    let again = again.count();
    carries(&mut first, &peer, relayed);
    println!(
        "{full} of {DESCRIPTORS} descriptors: {} let in, {} refused with 508; 8 went and {again} of those \
         came in",
        let_in.len(),
        refused.len()
    );
    assert!(full >= DESCRIPTORS && !let_in.is_empty() && refused.len() > 8);
    assert_eq!(again, 8);
    server.assert_healthy();
}

/// More connections than there are descriptors; the time it works in the next two seconds.
fn crowd(server: &ServerProcess, to: SocketAddr) -> (Vec<TcpStream>, Duration) {
    let crowd: Vec<_> = (0..2 * DESCRIPTORS).map(|_| server.tcp(to)).collect();
    let begun = Instant::now();
    while server.usage().descriptors < DESCRIPTORS || !server.has_logged("raise the limit of open files") {
        assert!(begun.elapsed() < PATIENCE, "{} descriptors", server.usage().descriptors);
    }
    let before = server.cpu_time();
    std::thread::sleep(Duration::from_secs(2));
    (crowd, server.cpu_time() - before)
}

#[test]
fn accept_pauses_without_descriptors_and_resumes() {
    let mut server = ServerProcess::with(&[], Some(DESCRIPTORS));
    let mut seat = Participant::join_room(&server, "early");
    for (name, to) in [("TCP", server.turn), ("HTTPS", server.https)] {
        let lines = server.logged();
        let (crowd, worked) = crowd(&server, to);
        let mut neighbour = socket([0, 6, 2], server.turn);
        neighbour.send(&binding(3)).unwrap();
        read(&neighbour.receive().expect("a datagram needs no descriptor"));
        // Who came before the crowd is still heard.
        seat.ping();
        let lines = server.logged() - lines;
        drop(crowd);
        let begun = Instant::now();
        assert_eq!(server.get("/"), "HTTP/1.1 200");
        let mut tcp = Framed::new(server.tcp(server.turn));
        tcp.say(&binding(1));
        read(&tcp.receive().expect("a stream is answered"));
        Participant::join_room(&server, "late").ping();
        println!(
            "{name}: {} connections for {DESCRIPTORS} descriptors; worked {worked:?} of 2 s, {lines} lines; page, \
             stream and WebSocket answered {:?} after they went",
            2 * DESCRIPTORS,
            begun.elapsed()
        );
        assert!(worked < Duration::from_millis(300), "a busy loop");
        assert!(lines <= 4 && begun.elapsed() < Duration::from_secs(6));
    }
    server.assert_healthy();
}

#[test]
fn soft_descriptor_limit_is_raised_to_the_hard_limit() {
    let environment = Arc::new(Environment::new());
    let mut server = ServerProcess::start(&environment, environment.limited::<&str>(DESCRIPTORS, true, &[]));
    let _crowd: Vec<_> = (0..2 * DESCRIPTORS).map(|_| server.tcp(server.turn)).collect();
    assert_eq!(server.get("/"), "HTTP/1.1 200");
    assert!(server.usage().descriptors > 2 * DESCRIPTORS);
    assert!(!server.has_logged("raise the limit"));
    server.assert_healthy();
}

#[test]
fn start_without_descriptors_is_one_line() {
    let (_turn, environment) = (exclusive(), Environment::new());
    // Enough to begin with; a listener more than there may be.
    for few in [12, 14, 16] {
        let (said, time) = startup_error(environment.limited::<&str>(few, false, &[]));
        println!("{few} descriptors: told after {time:?}: {}", said.trim_end());
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains("too many files are open; raise the limit"), "{said}");
    }
}
