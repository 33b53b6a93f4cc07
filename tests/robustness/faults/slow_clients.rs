//! A thousand slow connections on each port, from many addresses, while somebody wants to join.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::mass_reconnect::take_all_descriptors;
use crate::harness::environment::Environment;
use crate::harness::participant::Participant;
use crate::harness::server_process::{ProcessUsage, ServerProcess, Tls};
use crate::harness::turn_client::{Framed, PATIENCE, Wire as _, binding, read};

const EACH: u32 = 1000;
/// Besides them, of the box as of this process.
const OTHER_DESCRIPTORS: u64 = 500;
/// Connections of one source; the box lets one have 256.
const OF_ONE_SOURCE: u32 = 200;
/// The head of a ClientHello that is to become 4 KiB long, of a request, and of a STUN message.
const CLIENT_HELLO: &[u8] = &[22, 3, 1, 0x10, 0, 1, 0, 0x0f, 0xfc, 3, 3];
const HTTP: &[u8] = b"GET / HTTP/1.1\r\nHost: local";
const STUN: &[u8] = &[0, 1, 0x10, 0, 0x21, 0x12, 0xa4, 0x42];
/// Those who are silent within TLS, and some on each of five ports.
const KINDS: u32 = 6;
const JOINS: u32 = 20;

/// A connection from 127.9.0.0/16.
fn from_source(source: u32, to: SocketAddr) -> TcpStream {
    let [_, _, high, low] = source.to_be_bytes();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 9, high, low), 0)).into()).unwrap();
    socket.connect_timeout(&to.into(), PATIENCE).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sources are told apart by the number of the port they go to.
fn sources(port: u32, each: u32) -> impl Iterator<Item = u32> {
    (0..each).map(move |number| 256 * port + number / OF_ONE_SOURCE)
}

/// Who says the beginning of something and no more.
fn half_way(port: u32, each: u32, to: SocketAddr, words: &[u8]) -> Vec<TcpStream> {
    let begin = |source| {
        let mut stream = from_source(source, to);
        stream.write_all(words).unwrap();
        stream
    };
    sources(port, each).map(begin).collect()
}

/// Who is through with TLS and says nothing; by two at a time, so that the last comes while the
/// first is still let live.
fn silent_in_tls(port: u32, each: u32, server: &ServerProcess) -> Vec<Tls> {
    let sources: Vec<_> = sources(port, each).collect();
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

/// How long each of some joins takes, from the first packet to the seat.
fn joins(server: &ServerProcess, name: &str) -> Vec<Duration> {
    let join = |number| {
        let begun = Instant::now();
        Participant::join_room(server, &format!("{name}-{number}"));
        begun.elapsed()
    };
    let mut times: Vec<_> = (0..JOINS).map(join).collect();
    times.sort();
    times
}

fn tell(name: &str, there: usize, times: &[Duration]) {
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    println!("{name}: {there} connections; {JOINS} joins, median {median:?}, worst {worst:?}");
    assert!(median < Duration::from_millis(600), "the goal is 200 ms");
}

/// Waits until the box has accepted all; on a slow machine the first have had their time by then.
fn all_there(server: &ServerProcess, descriptors: usize) -> ProcessUsage {
    let begun = Instant::now();
    loop {
        let figures = server.usage();
        if figures.descriptors >= descriptors || begun.elapsed() > Duration::from_secs(2) {
            assert!(figures.descriptors > descriptors / KINDS as usize, "{figures:?}");
            return figures;
        }
    }
}

#[test]
fn thousand_slow_connections_per_port_do_not_block_joins() {
    // Fewer only where the host allows few descriptors.
    let most = take_all_descriptors().saturating_sub(OTHER_DESCRIPTORS) / u64::from(KINDS);
    let each = most.min(u64::from(EACH)) as u32;
    let environment = Arc::new(Environment::named());
    let mut server = ServerProcess::start(&environment, environment.command::<&str>(&[]));
    tell("nobody else", 0, &joins(&server, "before"));
    let (begun, before) = (Instant::now(), server.usage());
    let silent = silent_in_tls(0, each, &server);
    let ports = [
        (environment.https, CLIENT_HELLO),
        (environment.http, HTTP),
        (environment.turn, STUN),
        (environment.turns, CLIENT_HELLO),
        (environment.metrics, HTTP),
    ];
    let slow = (1..).zip(ports).map(|(number, (to, words))| half_way(number, each, to, words));
    let slow: Vec<_> = slow.collect();
    let there = all_there(&server, before.descriptors + (KINDS * each) as usize);
    let opened = begun.elapsed();
    tell(&format!("{each} on each port"), there.descriptors - before.descriptors, &joins(&server, "crowded"));
    println!(
        "opened within {opened:?}; {:.1} KiB for each",
        (there.resident_kib - before.resident_kib) as f64 / f64::from(KINDS * each)
    );
    asks(server.tcp(environment.turn));
    asks(server.tls_over(server.tcp(environment.turns)));
    drop((silent, slow));
    server.wait_for_descriptors(before.descriptors + JOINS as usize);
    server.assert_healthy();
}

fn asks(stream: impl Read + Write) {
    let mut stream = Framed::new(stream);
    stream.say(&binding(1));
    read(&stream.receive().expect("an answer"));
}
