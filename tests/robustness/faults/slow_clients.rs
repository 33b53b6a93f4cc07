//! A thousand slow connections to each port, from many addresses, while others join.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::mass_reconnect::raise_descriptor_limit;
use crate::harness::environment::Environment;
use crate::harness::participant::Participant;
use crate::harness::server_process::{ProcessUsage, ServerProcess, Tls};
use crate::harness::turn_client::{Framed, TEST_TIMEOUT, Wire as _, binding, parse};

const PER_PORT: u32 = 1000;
/// Other descriptors of the server, and of this process.
const OTHER_DESCRIPTORS: u64 = 500;
/// Connections per source; the limit is 256.
const PER_SOURCE: u32 = 200;
/// Beginnings of a ClientHello of 4 KiB, of an HTTP request, and of a STUN message.
const CLIENT_HELLO: &[u8] = &[22, 3, 1, 0x10, 0, 1, 0, 0x0f, 0xfc, 3, 3];
const HTTP: &[u8] = b"GET / HTTP/1.1\r\nHost: local";
const STUN: &[u8] = &[0, 1, 0x10, 0, 0x21, 0x12, 0xa4, 0x42];
/// Groups of connections: silent after the TLS handshake, and incomplete requests to five ports.
const GROUPS: u32 = 6;
const JOINS: u32 = 20;

/// A connection from 127.9.0.0/16.
fn from_source(source: u32, to: SocketAddr) -> TcpStream {
    let [_, _, high, low] = source.to_be_bytes();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 9, high, low), 0)).into()).unwrap();
    socket.connect_timeout(&to.into(), TEST_TIMEOUT).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
    stream
}

/// Sources for `count` connections of one group.
fn sources(group: u32, count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(move |number| 256 * group + number / PER_SOURCE)
}

/// Connections that send `beginning` and nothing more.
fn incomplete_requests(group: u32, count: u32, to: SocketAddr, beginning: &[u8]) -> Vec<TcpStream> {
    let connect = |source| {
        let mut stream = from_source(source, to);
        stream.write_all(beginning).unwrap();
        stream
    };
    sources(group, count).map(connect).collect()
}

/// Connections that are silent after the TLS handshake, opened by two threads, so that the last is open
/// before the first times out.
fn silent_after_tls(group: u32, count: u32, server: &ServerProcess) -> Vec<Tls> {
    let sources: Vec<_> = sources(group, count).collect();
    thread::scope(|scope| {
        let halves = sources.chunks(sources.len() / 2).map(|half| {
            scope.spawn(move || {
                let stream = |source: &u32| server.tls_over(from_source(*source, server.https));
                half.iter().map(stream).collect::<Vec<_>>()
            })
        });
        let halves: Vec<_> = halves.collect();
        halves.into_iter().flat_map(|half| half.join().unwrap()).collect()
    })
}

/// The sorted times of some joins, from the first packet to the seat.
fn joins(server: &ServerProcess, name: &str) -> Vec<Duration> {
    let join = |number| {
        let start = Instant::now();
        Participant::join_room(server, &format!("{name}-{number}"));
        start.elapsed()
    };
    let mut times: Vec<_> = (0..JOINS).map(join).collect();
    times.sort();
    times
}

fn print_and_check(name: &str, connections: usize, times: &[Duration]) {
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    println!("{name}: {connections} connections; {JOINS} joins, median {median:?}, worst {worst:?}");
    assert!(median < Duration::from_millis(600), "the goal is 200 ms");
}

/// Waits until the server has accepted all connections; on a slow machine the first have timed out by then.
fn wait_until_accepted(server: &ServerProcess, descriptors: usize) -> ProcessUsage {
    let start = Instant::now();
    loop {
        let usage = server.usage();
        if usage.descriptors >= descriptors || start.elapsed() > Duration::from_secs(2) {
            assert!(usage.descriptors > descriptors / GROUPS as usize, "{usage:?}");
            return usage;
        }
    }
}

#[test]
fn thousand_slow_connections_per_port_do_not_block_joins() {
    // Fewer if the host allows few descriptors.
    let limit = raise_descriptor_limit().saturating_sub(OTHER_DESCRIPTORS) / u64::from(GROUPS);
    let count = limit.min(u64::from(PER_PORT)) as u32;
    let environment = Arc::new(Environment::with_domain());
    let mut server = ServerProcess::start(&environment, environment.command::<&str>(&[]));
    print_and_check("no other connections", 0, &joins(&server, "before"));
    let (start, before) = (Instant::now(), server.usage());
    let silent = silent_after_tls(0, count, &server);
    let ports = [
        (environment.https, CLIENT_HELLO),
        (environment.http, HTTP),
        (environment.turn, STUN),
        (environment.turns, CLIENT_HELLO),
        (environment.metrics, HTTP),
    ];
    let slow =
        (1..).zip(ports).map(|(number, (to, beginning))| incomplete_requests(number, count, to, beginning));
    let slow: Vec<_> = slow.collect();
    let full = wait_until_accepted(&server, before.descriptors + (GROUPS * count) as usize);
    let open_time = start.elapsed();
    let connections = full.descriptors - before.descriptors;
    print_and_check(&format!("{count} per group"), connections, &joins(&server, "during"));
    println!(
        "opened within {open_time:?}; {:.1} KiB each",
        (full.resident_kib - before.resident_kib) as f64 / f64::from(GROUPS * count)
    );
    assert_answers(server.tcp(environment.turn));
    assert_answers(server.tls_over(server.tcp(environment.turns)));
    drop((silent, slow));
    server.wait_for_descriptors(before.descriptors + JOINS as usize);
    server.assert_healthy();
}

fn assert_answers(stream: impl Read + Write) {
    let mut stream = Framed::new(stream);
    stream.send_message(&binding(1));
    parse(&stream.receive().expect("a reply"));
}
