//! Many connections of few sources that send requests and read no reply: the memory they cost in the
//! server and the kernel, and the delay they cause for others.

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

use super::streams::{relaying_pair, round_trip};
use crate::harness::server_process::{ProcessUsage, ServerProcess};
use crate::harness::turn_client::{Framed, TurnClient, UDP, Wire as _, binding, parse, request};

/// The most bytes that each connection sends.
const SENT: usize = 3_000_000;
/// Four sources, each with as many connections as it may have.
const SOURCES: u8 = 4;
const PER_SOURCE: usize = 250;

/// A connection from 127.`rest` with small buffers on the client side.
fn connect(rest: [u8; 3], to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.set_send_buffer_size(8192).unwrap();
    let from = SocketAddr::from((Ipv4Addr::new(127, rest[0], rest[1], rest[2]), 0));
    socket.bind(&from.into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

/// A client that never reads replies. With TLS it needs many sources, because handshakes are rate limited.
struct NonReader {
    stream: TcpStream,
    tls: Option<ClientConnection>,
    /// Repeated until enough has been sent.
    requests: Arc<[u8]>,
    sent: usize,
}

impl NonReader {
    fn new(mut stream: TcpStream, config: Option<&Arc<ClientConfig>>, requests: &Arc<[u8]>) -> Self {
        let tls = config.map(|config| {
            let name = ServerName::try_from("localhost").unwrap();
            let mut tls = ClientConnection::new(Arc::clone(config), name).unwrap();
            while tls.is_handshaking() {
                tls.complete_io(&mut stream).unwrap();
            }
            tls
        });
        stream.set_nonblocking(true).unwrap();
        Self { stream, tls, requests: Arc::clone(requests), sent: 0 }
    }

    /// Sends more; whether it could. A closed connection counts as finished.
    fn push(&mut self) -> bool {
        if self.sent >= SENT {
            return false;
        }
        let written = match &mut self.tls {
            None => self.stream.write(&self.requests[self.sent % self.requests.len()..]),
            Some(tls) => {
                if !tls.wants_write() {
                    let count =
                        tls.writer().write(&self.requests[self.sent % self.requests.len()..]).unwrap();
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

/// KiB in the kernel's queues of the server's TCP sockets.
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

/// The peak growth during `time`, in KiB of the server's memory and of kernel queues; `meanwhile` is called
/// repeatedly.
fn peak_memory(
    server: &ServerProcess,
    before: ProcessUsage,
    clients: &mut [NonReader],
    time: Duration,
    mut meanwhile: impl FnMut(),
) -> (u64, u64) {
    let (start, mut peak) = (Instant::now(), (0, 0));
    while start.elapsed() < time {
        let moved = clients.iter_mut().map(NonReader::push).filter(|moved| *moved).count();
        let grown = server.usage().resident_kib.saturating_sub(before.resident_kib);
        peak = (peak.0.max(grown), peak.1.max(kernel_kib(server)));
        meanwhile();
        if moved == 0 {
            thread::sleep(Duration::from_millis(20));
        }
    }
    peak
}

fn repeated(message: &[u8]) -> Arc<[u8]> {
    message.repeat(1000).into()
}

#[test]
fn thousand_unread_streams_cost_at_most_64_mib() {
    webrtc_box::net::raise_fd_limit();
    let mut server = ServerProcess::new();
    let mut pair = relaying_pair(&server);
    let before = server.usage();
    let allocate = repeated(&request(wire::METHOD_ALLOCATE, [7; 12], &[UDP]).raw);
    let mut clients: Vec<_> = (0..SOURCES)
        .flat_map(|source| (0..PER_SOURCE).map(move |_| [0, 11, source + 1]))
        .map(|from| NonReader::new(connect(from, server.turn), None, &allocate))
        .collect();
    let (mut trips, mut connects, https) = (Vec::new(), Vec::new(), server.https);
    let (memory, kernel) = peak_memory(&server, before, &mut clients, Duration::from_secs(8), || {
        trips.push(round_trip(&mut pair));
        let start = Instant::now();
        // Always from another source, so that the limit of one source does not matter.
        let mut client = Framed::new(connect([0, 12, (connects.len() % 250) as u8], server.turn));
        client.send_message(&binding(1));
        parse(&client.receive().expect("a reply to another source"));
        connects.push(start.elapsed());
    });
    trips.sort();
    connects.sort();
    println!(
        "1,000 streams that do not read: {memory} KiB and {kernel} KiB in the kernel; {} round trips of \
         others, median {:?}, worst {:?}; connection and Binding of a new client: median {:?}",
        trips.len(),
        trips[trips.len() / 2],
        trips[trips.len() - 1],
        connects[connects.len() / 2],
    );
    assert!(memory + kernel <= 64 * 1024, "{memory} + {kernel} KiB");
    assert!(trips[trips.len() / 2] < Duration::from_millis(300), "media of others");
    assert!(connects[connects.len() / 2] < Duration::from_secs(1), "new clients");
    assert!(TcpStream::connect(https).is_ok());
    drop(clients);
    server.wait_for_descriptors(before.descriptors + 8);
    let left = server.usage().resident_kib.saturating_sub(before.resident_kib);
    println!("{left} KiB are still used after they have closed");
    assert!(left < 24 * 1024, "{left} KiB");
    server.assert_healthy();
}

#[test]
fn unread_tls_stream_costs_at_most_128_kib() {
    let mut server = ServerProcess::new();
    let before = server.usage();
    let allocate = repeated(&request(wire::METHOD_ALLOCATE, [7; 12], &[UDP]).raw);
    let mut clients: Vec<_> = (0..PER_SOURCE)
        .map(|number| connect([0, 12, number as u8], server.https))
        .map(|stream| NonReader::new(stream, Some(&server.config), &allocate))
        .collect();
    let (memory, kernel) = peak_memory(&server, before, &mut clients, Duration::from_secs(5), || ());
    println!("{PER_SOURCE} TLS streams that do not read: {memory} KiB and {kernel} KiB in the kernel");
    assert!(memory + kernel <= 128 * PER_SOURCE as u64, "{memory} + {kernel} KiB");
    server.assert_healthy();
}

#[test]
fn unread_pipelined_https_costs_at_most_176_kib() {
    let mut server = ServerProcess::new();
    let before = server.usage();
    for path in ["GET /", "HEAD /", "GET /nowhere"] {
        let get = repeated(format!("{path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        let connections = PER_SOURCE - 10;
        let mut clients: Vec<_> = (0..connections)
            .map(|number| connect([0, 13, number as u8], server.https))
            .map(|stream| NonReader::new(stream, Some(&server.config), &get))
            .collect();
        let (memory, kernel) = peak_memory(&server, before, &mut clients, Duration::from_secs(4), || ());
        println!("{connections} that pipeline {path}: {memory} KiB and {kernel} KiB in the kernel");
        assert!(memory + kernel <= 176 * connections as u64, "{memory} + {kernel} KiB");
        assert_eq!(server.get("/").status, 200);
        drop(clients);
        server.wait_for_descriptors(64);
    }
    server.assert_healthy();
}

#[test]
fn stream_with_stalled_writes_ends_after_ten_seconds() {
    // Without a limit on replies the server has enough to write.
    let mut server = ServerProcess::with(&["--unauth-reply-rate", "0"], None);
    let mut client = [NonReader::new(
        connect([0, 11, 30], server.turn),
        None,
        &repeated(&request(wire::METHOD_ALLOCATE, [7; 12], &[UDP]).raw),
    )];
    let start = Instant::now();
    while client[0].sent < SENT && start.elapsed() < Duration::from_secs(40) {
        if !client[0].push() {
            thread::sleep(Duration::from_millis(20));
        }
    }
    let time = start.elapsed();
    println!("a stream that does not read is closed after {time:.1?}");
    assert!(time > Duration::from_secs(9) && time < Duration::from_secs(30), "{time:?}");
    server.assert_healthy();
}

/// The 99th percentile of round trips of two other clients during `time`.
fn p99(pair: &mut super::streams::Pair, time: Duration) -> Duration {
    let (start, mut trips) = (Instant::now(), Vec::new());
    while start.elapsed() < time {
        trips.push(round_trip(pair));
        thread::sleep(Duration::from_millis(2));
    }
    trips.sort();
    trips[trips.len() * 99 / 100]
}

#[test]
fn flooding_stream_does_not_delay_media_of_others() {
    let mut server = ServerProcess::new();
    let mut pair = relaying_pair(&server);
    let unloaded = p99(&mut pair, Duration::from_secs(3));
    let stop = Arc::new(AtomicBool::new(false));
    let flood = {
        let (mut stream, stop) = (server.tcp(server.turn), Arc::clone(&stop));
        thread::spawn(move || flood(&mut stream, &stop))
    };
    let loaded = p99(&mut pair, Duration::from_secs(3));
    stop.store(true, Ordering::Relaxed);
    let (sent, bytes) = flood.join().unwrap();
    println!(
        "p99 of others' media: {unloaded:?}, during a flood on a stream {loaded:?} ({sent} requests sent, \
         {bytes} bytes of replies)"
    );
    // A burst of 200, and 20 per second; a busy machine may take longer.
    assert!(bytes <= 32 * 400, "{bytes}");
    assert!(loaded < unloaded * 9 + Duration::from_millis(20), "three times the goal");
    server.assert_healthy();
}

/// Sends Binding requests as fast as possible and reads all replies; requests sent, bytes of replies.
fn flood(stream: &mut TcpStream, stop: &AtomicBool) -> (usize, usize) {
    stream.set_nonblocking(true).unwrap();
    let (requests, mut buffer) = (binding(3).repeat(1000), [0; 1 << 14]);
    let (mut sent, mut received) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        let (written, read) = (stream.write(&requests[sent % 20..]), stream.read(&mut buffer));
        if written.is_err() && read.is_err() {
            thread::sleep(Duration::from_millis(1));
        }
        (sent, received) = (sent + written.unwrap_or(0), received + read.unwrap_or(0));
    }
    (sent / 20, received)
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
    let start = Instant::now();
    // From another source: an allocation takes two requests.
    let (_client, _) = TurnClient::with_allocation(Framed::new(connect([0, 11, 41], server.turn)));
    assert!(start.elapsed() < Duration::from_secs(5));
    while start.elapsed() < Duration::from_secs(3) {
        thread::sleep(Duration::from_millis(50));
    }
    let seconds = start.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    let bytes: usize = floods.into_iter().map(|flood| flood.join().unwrap()).sum();
    println!("eight flooding streams of one source: {} replies in {seconds:.1} s", bytes / 32);
    assert!(bytes as f64 / 32.0 <= 200.0 + 20.0 * (seconds + 1.0));
}
