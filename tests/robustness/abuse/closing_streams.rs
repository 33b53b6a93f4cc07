//! Clients that close their direction of a stream right after a request.

use std::io::{Read, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use stun::message as wire;

use crate::harness::server_process::{ServerProcess, Tls};
use crate::harness::turn_client::{Framed, TurnClient, UDP, Wire, binding, error_code, parse};

/// A stream whose sending direction can be closed.
trait HalfClose: Wire {
    fn close_write(&mut self);
}

impl HalfClose for Framed<TcpStream> {
    fn close_write(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }
}

impl HalfClose for Framed<Tls> {
    fn close_write(&mut self) {
        self.stream.conn.send_close_notify();
        self.stream.flush().unwrap();
        self.stream.sock.shutdown(Shutdown::Write).unwrap();
    }
}

/// Sends requests, closes, and reads to the end; the code of the Allocate's reply, and the time.
fn allocate_and_close<S>(stream: Framed<S>) -> (u16, Duration)
where
    S: Read + std::io::Write,
    Framed<S>: HalfClose,
{
    let mut client = TurnClient::new(stream);
    let (transaction, allocate) = client.prepare(wire::METHOD_ALLOCATE, &[UDP], &[]);
    client.wire.send_message(&[binding(1), binding(2), allocate].concat());
    client.wire.close_write();
    let start = Instant::now();
    let replies: Vec<_> = (0..3).map(|_| client.wire.receive().expect("a reply to each request")).collect();
    assert_eq!((replies[0][8], replies[1][8], &replies[2][8..20]), (1, 2, &transaction[..]));
    // With TLS, an end without close_notify would be an error.
    assert_eq!(client.wire.stream.read(&mut [0; 64]).expect("a clean end"), 0);
    (error_code(&parse(&replies[2])), start.elapsed())
}

#[test]
fn requests_before_a_half_close_are_answered_then_closed() {
    let mut server = ServerProcess::new();
    let before = server.usage();
    let mut worst = [Duration::ZERO; 2];
    for _ in 0..60 {
        let over_tcp = allocate_and_close(Framed::new(server.tcp(server.turn)));
        let over_tls = allocate_and_close(Framed::new(server.tls()));
        assert_eq!((over_tcp.0, over_tls.0), (0, 0));
        worst = [worst[0].max(over_tcp.1), worst[1].max(over_tls.1)];
    }
    println!(
        "60 half-closed streams answered and closed, at worst in {:?} over TCP, {:?} over TLS",
        worst[0], worst[1]
    );
    assert!(worst.iter().all(|worst| *worst < Duration::from_secs(3)));
    server.wait_for_descriptors(before.descriptors);
    server.assert_healthy();
}

/// Sends one request and closes; expects the reply and a clean end.
fn bind_and_close<S>(mut stream: Framed<S>)
where
    S: Read + std::io::Write,
    Framed<S>: HalfClose,
{
    stream.send_message(&binding(7));
    stream.close_write();
    parse(&stream.receive().expect("a reply"));
    assert_eq!(stream.stream.read(&mut [0; 64]).expect("a clean end"), 0);
}

#[test]
fn request_with_immediate_half_close_is_answered() {
    let mut server = ServerProcess::new();
    for _ in 0..60 {
        bind_and_close(Framed::new(server.tcp(server.turn)));
        bind_and_close(Framed::new(server.tls()));
    }
    server.assert_healthy();
}

#[test]
fn client_that_closes_without_reading_is_closed() {
    let mut server = ServerProcess::new();
    let before = server.usage();
    let start = Instant::now();
    for _ in 0..100 {
        let mut stream = Framed::new(server.tcp(server.turn));
        stream.send_message(&binding(1).repeat(100));
        stream.stream.shutdown(Shutdown::Write).unwrap();
    }
    server.wait_for_descriptors(before.descriptors);
    println!("closed without reading: 100 streams closed {:?} after the first", start.elapsed());
    server.assert_healthy();
}
