//! What hostile clients may cost the real program and other clients, on loopback.

mod abandoned_sessions;
mod authenticated_clients;
mod closing_streams;
mod exhaustion;
mod forged_sources;
mod many_allocations;
mod streams;
mod unread_output;
mod usernames;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::mutator::Mutator;
use crate::harness::server_process::ServerProcess;
use crate::harness::turn_client::{TurnClient, UDP, Wire as _, binding, error_code, parse, request, socket};
use stun::message as wire;

/// Asserts that a Binding request is answered within ten seconds.
fn assert_answers(server: &ServerProcess, rest: [u8; 3]) {
    let mut socket = socket(rest, server.turn);
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let answered = (0..50).any(|_| {
        socket.send(&binding(1)).unwrap();
        socket.receive().is_some()
    });
    assert!(answered, "no reply to a Binding request");
}

#[test]
fn unauthenticated_replies_are_not_amplified() {
    let server = ServerProcess::new();
    let ratio = |socket: &mut UdpSocket, bytes: &[u8]| {
        socket.send(bytes).unwrap();
        let reply = socket.receive().expect("a reply");
        (reply.len() as f64 / bytes.len() as f64, bytes.len(), error_code(&parse(&reply)))
    };
    let mut client = socket([0, 2, 1], server.turn);
    let binding_ratio = ratio(&mut client, &binding(1));
    let bare = ratio(&mut client, &request(wire::METHOD_ALLOCATE, [3; 12], &[]).raw);
    assert_eq!((bare.1, bare.2), (20, 401));
    assert!(bare.0 * 20.0 <= 68.0, "{bare:?}");
    let refused = ratio(&mut client, &request(wire::METHOD_ALLOCATE, [2; 12], &[UDP]).raw);
    let mut client = TurnClient::new(client);
    client.nonce = b"made-up-made-up-made".to_vec();
    let signed = client.signed(request(wire::METHOD_ALLOCATE, [4; 12], &[UDP]));
    let stale = ratio(&mut client.wire, &signed);
    println!("bytes out per byte in: Binding {binding_ratio:?}, 401 {refused:?}, 438 {stale:?}");
    assert_eq!((binding_ratio.1, refused.1), (20, 28));
    assert_eq!((binding_ratio.2, refused.2, stale.2), (0, 401, 438));
    assert!(binding_ratio.0 <= 1.6 && refused.0 <= 3.0 && stale.0 <= 1.0);
}

/// Sends ten Binding requests per millisecond from 64 ports; requests sent and replies received.
fn flood(to: SocketAddr, time: Duration) -> (u32, u32) {
    let sockets: Vec<UdpSocket> = (0..64).map(|_| socket([0, 9, 1], to)).collect();
    sockets.iter().for_each(|socket| socket.set_nonblocking(true).unwrap());
    let (start, mut sent, mut replies, mut buffer) = (Instant::now(), 0, 0, [0; 2048]);
    let mut last_reply = start;
    while start.elapsed() < time || last_reply.elapsed() < Duration::from_millis(300) {
        for socket in &sockets {
            if start.elapsed() < time && u128::from(sent) < start.elapsed().as_micros() / 100 {
                sent += u32::from(socket.send(&binding(5)).is_ok());
            }
            while let Ok(length) = socket.recv(&mut buffer) {
                parse(&buffer[..length]);
                (replies, last_reply) = (replies + 1, Instant::now());
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
    (sent, replies)
}

#[test]
fn flood_gets_its_rate_limit_and_others_get_all_replies() {
    let server = ServerProcess::new();
    let (time, to) = (Duration::from_secs(4), server.turn);
    let flood = thread::spawn(move || flood(to, time));
    let mut other = socket([0, 9, 2], server.turn);
    let (start, mut sent_by_other, mut worst) = (Instant::now(), 0_u8, Duration::ZERO);
    while start.elapsed() < time {
        let at = Instant::now();
        other.send(&binding(sent_by_other)).unwrap();
        let reply = other.receive().expect("a reply to the other client");
        assert_eq!(reply[8..20], [sent_by_other; 12]);
        (sent_by_other, worst) = (sent_by_other + 1, worst.max(at.elapsed()));
        thread::sleep(Duration::from_millis(100));
    }
    let (sent, replies) = flood.join().unwrap();
    println!(
        "flood: {sent} Bindings, {replies} replies; another source: all {sent_by_other} answered, at worst {worst:?}"
    );
    let limit = 200 + 20 * time.as_secs() as u32;
    assert!(sent > 2 * limit && replies <= limit * 11 / 10, "{replies} of at most {limit}");
    assert!(replies >= 150, "two clients behind one NAT need this many");
    assert!(worst < Duration::from_secs(1));
}

/// Sends forged requests from changing ports of 127.0.9.3 until `stop` is set; how many.
fn send_forged(to: SocketAddr, stop: &AtomicBool) -> u32 {
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        let socket = socket([0, 9, 3], to);
        for number in 0..4_u32 {
            let transaction: [u8; 12] = std::array::from_fn(|at| (sent + number).to_be_bytes()[at % 4]);
            // The reply to a closed port is reported as an error of the next send.
            drop(socket.send(&request(wire::METHOD_ALLOCATE, transaction, &[UDP]).raw));
        }
        sent += 4;
        thread::sleep(Duration::from_millis(1));
    }
    sent
}

#[test]
fn forged_flood_does_not_block_the_real_owner_of_the_address() {
    let server = ServerProcess::new();
    let (mut owner, _) = TurnClient::with_allocation(socket([0, 9, 3], server.turn));
    let stop = Arc::new(AtomicBool::new(false));
    let (flag, to) = (Arc::clone(&stop), server.turn);
    let flood = thread::spawn(move || send_forged(to, &flag));
    // Waits until the flood has used up the rate limit of the address.
    let first = socket([0, 9, 3], server.turn);
    first.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let start = Instant::now();
    for number in 0_u32.. {
        assert!(start.elapsed() < Duration::from_secs(20), "the limit has no effect");
        let transaction: [u8; 12] = std::array::from_fn(|at| number.to_le_bytes()[at % 4]);
        first.send(&request(wire::METHOD_BINDING, transaction, &[]).raw).unwrap();
        if first.recv(&mut [0; 2048]).is_err() {
            break;
        }
    }
    let good = std::mem::replace(&mut owner.nonce, b"not-of-this-start-12".to_vec());
    let stale =
        (0..20).filter(|_| error_code(&owner.try_request(wire::METHOD_REFRESH, &[], &[])) == 438).count();
    owner.nonce = good;
    owner.refresh();
    let mut new_client = socket([0, 9, 3], server.turn);
    new_client.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let allocate = request(wire::METHOD_ALLOCATE, [0xab; 12], &[UDP]).raw;
    let tries = (1..=12).find(|_| {
        new_client.send(&allocate).unwrap();
        new_client.receive().is_some()
    });
    stop.store(true, Ordering::Relaxed);
    println!("{} forged; 438: {stale} of 20; a new client sent {tries:?} requests", flood.join().unwrap());
    assert_eq!(stale, 20);
    assert!(tries.is_some(), "a new client that retries every half second gets no nonce");
}

#[test]
fn non_requests_are_not_answered() {
    let server = ServerProcess::new();
    let mut socket = socket([0, 2, 2], server.turn);
    let message = |method, class| {
        let mut message = request(method, [9; 12], &[]);
        message.typ = wire::MessageType::new(method, class);
        message.write_header();
        message.raw
    };
    for method in [wire::METHOD_BINDING, wire::METHOD_ALLOCATE, wire::METHOD_REFRESH, wire::METHOD_CONNECT] {
        for class in [wire::CLASS_SUCCESS_RESPONSE, wire::CLASS_ERROR_RESPONSE, wire::CLASS_INDICATION] {
            socket.send(&message(method, class)).unwrap();
        }
    }
    socket.send(&message(wire::METHOD_DATA, wire::CLASS_INDICATION)).unwrap();
    socket.send(&message(wire::METHOD_SEND, wire::CLASS_INDICATION)).unwrap();
    socket.send(&message(wire::METHOD_CONNECT, wire::CLASS_REQUEST)).unwrap();
    socket.send(&crate::harness::turn_client::channel_data(0x4000, b"hello")).unwrap();
    for bytes in [&b""[..], b"\0", b"\xff\xff\xff\xff", b"GET / HTTP/1.1\r\n\r\n"] {
        socket.send(bytes).unwrap();
    }
    socket.send(&binding(7)).unwrap();
    let first = socket.receive().expect("a reply to the request");
    assert_eq!(first[8..20], [7; 12], "a reply to a message that is no request");
}

#[test]
fn fast_client_does_not_flood_the_log() {
    let server = ServerProcess::new();
    let mut client = TurnClient::new(socket([0, 2, 3], server.turn));
    let (lines, start, mut rounds) = (server.line_count(), Instant::now(), 0);
    // The limit is 20 lines in each second of the server; five of these overlap four seconds of the test.
    while start.elapsed() < Duration::from_secs(4) {
        client.allocate();
        client.delete();
        rounds += 1;
    }
    let (lines, seconds) = (server.line_count() - lines, start.elapsed().as_secs_f64());
    println!("{rounds} allocations opened and closed in {seconds:.1} s, {lines} lines");
    assert!(rounds > 50 && lines as f64 <= 21.0 * seconds);
}

#[test]
fn mutated_datagrams_crash_nothing() {
    let mut server = ServerProcess::new();
    let corpus = self::streams::corpus();
    let mut mutator = Mutator::new(3478);
    let (start, mut sent, mut replies, mut buffer) = (Instant::now(), 0_u32, 0_u32, [0; 2048]);
    let before = server.usage();
    while start.elapsed() < Duration::from_secs(4) {
        let [_, _, b, c] = sent.to_be_bytes();
        // Each address stays within the burst of the reply limit.
        let socket = socket([77, b, c], server.turn);
        for _ in 0..100 {
            let _ = UdpSocket::send(&socket, &mutator.next(&corpus, 1400));
            sent += 1;
        }
        socket.send(&binding(9)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        while let Ok(length) = socket.recv(&mut buffer) {
            parse(&buffer[..length]);
            replies += 1;
            if buffer[8..20] == [9; 12] {
                break;
            }
        }
    }
    assert_answers(&server, [0, 2, 4]);
    let growth = server.usage().resident_kib.saturating_sub(before.resident_kib);
    println!("mutated datagrams: {sent} sent, {replies} well-formed replies, grew {growth} KiB");
    assert!(replies > 0 && growth < 10 * 1024);
    server.assert_healthy();
}
