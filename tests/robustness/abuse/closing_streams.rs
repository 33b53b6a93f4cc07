//! Clients that close their end of a stream right after asking.

use std::io::{Read, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use stun::message as wire;

use crate::harness::server_process::{ServerProcess, Tls};
use crate::harness::turn_client::{Framed, TurnClient, UDP, Wire, binding, code, read};

/// A stream of which one end can be closed.
trait HalfClose: Wire {
    fn close_our_end(&mut self);
}

impl HalfClose for Framed<TcpStream> {
    fn close_our_end(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }
}

impl HalfClose for Framed<Tls> {
    fn close_our_end(&mut self) {
        self.stream.conn.send_close_notify();
        self.stream.flush().unwrap();
        self.stream.sock.shutdown(Shutdown::Write).unwrap();
    }
}

/// Asks, closes, and reads to the end: the code of the Allocate's answer, and how long it took.
fn ask_and_close<S>(stream: Framed<S>) -> (u16, Duration)
where
    S: Read + std::io::Write,
    Framed<S>: HalfClose,
{
    let mut client = TurnClient::new(stream);
    let (name, allocate) = client.prepare(wire::METHOD_ALLOCATE, &[UDP], &[]);
    client.wire.say(&[binding(1), binding(2), allocate].concat());
    client.wire.close_our_end();
    let begun = Instant::now();
    let answers: Vec<_> =
        (0..3).map(|_| client.wire.receive().expect("what was asked is answered")).collect();
    assert_eq!((answers[0][8], answers[1][8], &answers[2][8..20]), (1, 2, &name[..]));
    // With TLS an end without a word of farewell would be an error.
    assert_eq!(client.wire.stream.read(&mut [0; 64]).expect("a clean end"), 0);
    (code(&read(&answers[2])), begun.elapsed())
}

#[test]
fn requests_before_a_half_close_are_answered_then_closed() {
    let mut server = ServerProcess::new();
    let before = server.usage();
    let mut worst = [Duration::ZERO; 2];
    for _ in 0..60 {
        let over_tcp = ask_and_close(Framed::new(server.tcp(server.turn)));
        let over_tls = ask_and_close(Framed::new(server.tls()));
        assert_eq!((over_tcp.0, over_tls.0), (0, 0));
        worst = [worst[0].max(over_tcp.1), worst[1].max(over_tls.1)];
    }
    println!(
        "asked and closed: 60 times answered and closed, at worst in {:?} over TCP, {:?} over TLS",
        worst[0], worst[1]
    );
    assert!(worst.iter().all(|worst| *worst < Duration::from_secs(3)));
    server.wait_for_descriptors(before.descriptors);
    server.assert_healthy();
}

/// Whose first words are its last: one message, answered, and a clean end.
fn say_and_close<S>(mut stream: Framed<S>)
where
    S: Read + std::io::Write,
    Framed<S>: HalfClose,
{
    stream.say(&binding(7));
    stream.close_our_end();
    read(&stream.receive().expect("what was asked is answered"));
    assert_eq!(stream.stream.read(&mut [0; 64]).expect("a clean end"), 0);
}

#[test]
fn request_with_immediate_half_close_is_answered() {
    let mut server = ServerProcess::new();
    for _ in 0..60 {
        say_and_close(Framed::new(server.tcp(server.turn)));
        say_and_close(Framed::new(server.tls()));
    }
    server.assert_healthy();
}

#[test]
fn client_that_closes_without_reading_is_closed() {
    let mut server = ServerProcess::new();
    let before = server.usage();
    let begun = Instant::now();
    for _ in 0..100 {
        let mut stream = Framed::new(server.tcp(server.turn));
        stream.say(&binding(1).repeat(100));
        stream.stream.shutdown(Shutdown::Write).unwrap();
    }
    server.wait_for_descriptors(before.descriptors);
    println!("closed without reading: 100 streams gone {:?} after the first", begun.elapsed());
    server.assert_healthy();
}
