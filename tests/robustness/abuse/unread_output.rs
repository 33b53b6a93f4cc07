//! Many connections of few sources that ask for much and read nothing: what they cost the box in
//! memory, its own and the kernel's, and what they cost others.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use socket2::{Domain, Socket, Type};
use stun::message as wire;

use super::streams::{neighbours, round_trip};
use crate::harness::server_process::{ProcessUsage, ServerProcess};
use crate::harness::turn_client::{Framed, TurnClient, UDP, Wire as _, binding, read, request};

/// Bytes that each connection sends as far as it can.
const SENT: usize = 3_000_000;
/// Four sources, each with as many connections as it may have.
const SOURCES: u8 = 4;
const EACH: usize = 250;

/// A connection from 127.`rest` whose own buffers are small.
fn connect(rest: [u8; 3], to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.set_send_buffer_size(8192).unwrap();
    let from = SocketAddr::from((Ipv4Addr::new(127, rest[0], rest[1], rest[2]), 0));
    socket.bind(&from.into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

/// What never reads what it asked for. TLS from many sources, since the rate of handshakes is limited.
struct Unread {
    stream: TcpStream,
    tls: Option<ClientConnection>,
    /// Repeated until enough has been sent.
    asks: Arc<[u8]>,
    sent: usize,
}

impl Unread {
    fn new(mut stream: TcpStream, config: Option<&Arc<ClientConfig>>, asks: &Arc<[u8]>) -> Self {
        let tls = config.map(|config| {
            let name = ServerName::try_from("localhost").unwrap();
            let mut tls = ClientConnection::new(Arc::clone(config), name).unwrap();
            while tls.is_handshaking() {
                tls.complete_io(&mut stream).unwrap();
            }
            tls
        });
        stream.set_nonblocking(true).unwrap();
        Self { stream, tls, asks: Arc::clone(asks), sent: 0 }
    }

    /// Sends on; whether it could. Ends where the box has closed it.
    fn push(&mut self) -> bool {
        if self.sent >= SENT {
            return false;
        }
        let written = match &mut self.tls {
            None => self.stream.write(&self.asks[self.sent % self.asks.len()..]),
            Some(tls) => {
                if !tls.wants_write() {
                    let count = tls.writer().write(&self.asks[self.sent % self.asks.len()..]).unwrap();
                    self.sent += count;
                }
                tls.write_tls(&mut self.stream).map(|_| 0)
            }
        };
        match written {
            Ok(count) => self.sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(_) => self.sent = SENT,
        }
        true
    }
}

/// Bytes in the kernel's queues of the box's own ends of TCP connections.
fn kernel_kib(server: &ServerProcess) -> u64 {
    let ports = [server.turn, server.https].map(|address| format!(":{:04X}", address.port()));
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let queued = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let (sending, receiving) = fields[4].split_once(':')?;
        let bytes = |field| u64::from_str_radix(field, 16).ok();
        let established = fields[3] == "01" && ports.iter().any(|port| fields[1].ends_with(port));
        established.then_some(bytes(sending)? + bytes(receiving)?)
    });
    queued.sum::<u64>() / 1024
}

/// What it costs at most, in KiB of the box's memory and of the kernel's, for `time`; `meanwhile` is done
/// again and again.
fn cost(
    server: &ServerProcess,
    before: ProcessUsage,
    unread: &mut [Unread],
    time: Duration,
    mut meanwhile: impl FnMut(),
) -> (u64, u64) {
    let (begun, mut most) = (Instant::now(), (0, 0));
    while begun.elapsed() < time {
        let moved = unread.iter_mut().map(Unread::push).filter(|moved| *moved).count();
        let grown = server.usage().resident_kib.saturating_sub(before.resident_kib);
        most = (most.0.max(grown), most.1.max(kernel_kib(server)));
        meanwhile();
        if moved == 0 {
            thread::sleep(Duration::from_millis(20));
        }
    }
    most
}

fn asks(message: &[u8]) -> Arc<[u8]> {
    message.repeat(1000).into()
}

#[test]
fn thousand_unread_streams_cost_at_most_64_mib() {
    webrtc_box::net::raise_fd_limit();
    let mut server = ServerProcess::new();
    let mut pair = neighbours(&server);
    let before = server.usage();
    let allocate = asks(&request(wire::METHOD_ALLOCATE, [7; 12], &[UDP]).raw);
    let mut unread: Vec<_> = (0..SOURCES)
        .flat_map(|source| (0..EACH).map(move |_| [0, 11, source + 1]))
        .map(|from| Unread::new(connect(from, server.turn), None, &allocate))
        .collect();
    let (mut trips, mut newcomers, https) = (Vec::new(), Vec::new(), server.https);
    let (memory, kernel) = cost(&server, before, &mut unread, Duration::from_secs(8), || {
        trips.push(round_trip(&mut pair));
        let begun = Instant::now();
        // Each is a source of its own: what is measured is the crowd's cost, not this one's limit.
        let mut newcomer = Framed::new(connect([0, 12, (newcomers.len() % 250) as u8], server.turn));
        newcomer.say(&binding(1));
        read(&newcomer.receive().expect("another source is answered"));
        newcomers.push(begun.elapsed());
    });
    trips.sort();
    newcomers.sort();
    println!(
        "1,000 streams that do not read: {memory} KiB and {kernel} KiB in the kernel; {} round trips of \
         others, median {:?}, worst {:?}; a newcomer's Binding: median {:?}",
        trips.len(),
        trips[trips.len() / 2],
        trips[trips.len() - 1],
        newcomers[newcomers.len() / 2],
    );
    assert!(memory + kernel <= 64 * 1024, "{memory} + {kernel} KiB");
    assert!(trips[trips.len() / 2] < Duration::from_millis(300), "media of others");
    assert!(newcomers[newcomers.len() / 2] < Duration::from_secs(1), "newcomers");
    assert!(TcpStream::connect(https).is_ok());
    drop(unread);
    server.wait_for_descriptors(before.descriptors + 8);
    let left = server.usage().resident_kib.saturating_sub(before.resident_kib);
    println!("{left} KiB are left when they have hung up");
    assert!(left < 24 * 1024, "{left} KiB");
    server.assert_healthy();
}

#[test]
fn unread_tls_stream_costs_at_most_128_kib() {
    let mut server = ServerProcess::new();
    let before = server.usage();
    let allocate = asks(&request(wire::METHOD_ALLOCATE, [7; 12], &[UDP]).raw);
    let mut unread: Vec<_> = (0..EACH)
        .map(|number| connect([0, 12, number as u8], server.https))
        .map(|stream| Unread::new(stream, Some(&server.config), &allocate))
        .collect();
    let (memory, kernel) = cost(&server, before, &mut unread, Duration::from_secs(5), || ());
    println!("{EACH} TLS streams that do not read: {memory} KiB and {kernel} KiB in the kernel");
    assert!(memory + kernel <= 128 * EACH as u64, "{memory} + {kernel} KiB");
    server.assert_healthy();
}

#[test]
fn unread_pipelined_https_costs_at_most_160_kib() {
    let mut server = ServerProcess::new();
    let before = server.usage();
    for path in ["GET /", "HEAD /", "GET /nowhere"] {
        let get = asks(format!("{path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        let connections = EACH - 10;
        let mut unread: Vec<_> = (0..connections)
            .map(|number| connect([0, 13, number as u8], server.https))
            .map(|stream| Unread::new(stream, Some(&server.config), &get))
            .collect();
        let (memory, kernel) = cost(&server, before, &mut unread, Duration::from_secs(4), || ());
        println!("{connections} that pipeline {path}: {memory} KiB and {kernel} KiB in the kernel");
        assert!(memory + kernel <= 160 * connections as u64, "{memory} + {kernel} KiB");
        assert_eq!(server.get("/"), "HTTP/1.1 200");
        drop(unread);
        server.wait_for_descriptors(64);
    }
    server.assert_healthy();
}

#[test]
fn stream_with_stalled_writes_ends_after_ten_seconds() {
    // Without a limit on replies there is something to write.
    let mut server = ServerProcess::with(&["--unauth-reply-rate", "0"], None);
    let mut unread = [Unread::new(
        connect([0, 11, 30], server.turn),
        None,
        &asks(&request(wire::METHOD_ALLOCATE, [7; 12], &[UDP]).raw),
    )];
    let begun = Instant::now();
    while unread[0].sent < SENT && begun.elapsed() < Duration::from_secs(40) {
        if !unread[0].push() {
            thread::sleep(Duration::from_millis(20));
        }
    }
    let life = begun.elapsed();
    println!("a stream that does not read lives for {life:.1?}");
    assert!(life > Duration::from_secs(9) && life < Duration::from_secs(30), "{life:?}");
    server.assert_healthy();
}

/// The 99th of a hundred of what two others' packets take for a while.
fn p99(pair: &mut super::streams::Pair, time: Duration) -> Duration {
    let (begun, mut trips) = (Instant::now(), Vec::new());
    while begun.elapsed() < time {
        trips.push(round_trip(pair));
        thread::sleep(Duration::from_millis(2));
    }
    trips.sort();
    trips[trips.len() * 99 / 100]
}

#[test]
fn flooding_stream_does_not_delay_media_of_others() {
    let mut server = ServerProcess::new();
    let mut pair = neighbours(&server);
    let quiet = p99(&mut pair, Duration::from_secs(3));
    let stop = Arc::new(AtomicBool::new(false));
    let flood = {
        let (mut stream, stop) = (server.tcp(server.turn), Arc::clone(&stop));
        thread::spawn(move || flood(&mut stream, &stop))
    };
    let noisy = p99(&mut pair, Duration::from_secs(3));
    stop.store(true, Ordering::Relaxed);
    let (sent, answers) = flood.join().unwrap();
    println!(
        "p99 of others' media: quiet {quiet:?}, beside a stream that floods {noisy:?} ({sent} requests sent, \
         {answers} bytes of answers)"
    );
    // Its burst of 200, and 20 a second for as long as it ran on a busy machine.
    assert!(answers <= 32 * 400, "{answers}");
    assert!(noisy < quiet * 9 + Duration::from_millis(20), "three times the goal");
    server.assert_healthy();
}

/// Sends Bindings as fast as they are taken and reads all answers: requests sent, bytes of answers.
fn flood(stream: &mut TcpStream, stop: &AtomicBool) -> (usize, usize) {
    stream.set_nonblocking(true).unwrap();
    let (asks, mut buffer) = (binding(3).repeat(1000), [0; 1 << 14]);
    let (mut sent, mut answers) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        let (written, heard) = (stream.write(&asks[sent % 20..]), stream.read(&mut buffer));
        if written.is_err() && heard.is_err() {
            thread::sleep(Duration::from_millis(1));
        }
        (sent, answers) = (sent + written.unwrap_or(0), answers + heard.unwrap_or(0));
    }
    (sent / 20, answers)
}

#[test]
fn streams_of_one_source_share_a_reply_limit() {
    let server = ServerProcess::new();
    let stop = Arc::new(AtomicBool::new(false));
    let floods: Vec<_> = (0..8)
        .map(|_| {
            let (mut stream, stop) = (connect([0, 11, 40], server.turn), Arc::clone(&stop));
            thread::spawn(move || flood(&mut stream, &stop).1)
        })
        .collect();
    let begun = Instant::now();
    // Of another source: an allocation takes two requests.
    let (_guest, _) = TurnClient::allocated(Framed::new(connect([0, 11, 41], server.turn)));
    assert!(begun.elapsed() < Duration::from_secs(5));
    while begun.elapsed() < Duration::from_secs(3) {
        thread::sleep(Duration::from_millis(50));
    }
    let seconds = begun.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    let answers: usize = floods.into_iter().map(|flood| flood.join().unwrap()).sum();
    println!("eight streams of a source that flood: {} answers in {seconds:.1} s", answers / 32);
    assert!(answers as f64 / 32.0 <= 200.0 + 20.0 * (seconds + 1.0));
}
