//! TCP and TLS clients that do not read, send nothing, send slowly, or send garbage.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::UdpSocket;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use webrtc_box_relay::framing::{MessageBoundary, find_message};

use crate::harness::mutator::Mutator;
use crate::harness::server_process::ServerProcess;
use crate::harness::turn_client::{Framed, TurnClient, Wire, binding, channel_data, parse, socket};

const TO_PEER: u16 = 0x4000;
const FROM_PEER: u16 = 0x4001;
const PAYLOAD: usize = 1201;

/// The messages of the fuzz corpus.
pub fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus/stun_bytes");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// ChannelData with a numbered payload for the peer.
fn numbered(number: u32) -> Vec<u8> {
    let mut payload = vec![number as u8; PAYLOAD];
    payload[..4].copy_from_slice(&number.to_be_bytes());
    channel_data(TO_PEER, &payload)
}

/// Sends numbered payloads at 20,000 per second until `stop` is set; the next number.
fn send_numbered(socket: &UdpSocket, first: u32, stop: &AtomicBool) -> u32 {
    let (start, mut number) = (Instant::now(), first);
    while !stop.load(Ordering::Relaxed) && start.elapsed() < Duration::from_secs(20) {
        while u128::from(number - first) < start.elapsed().as_micros() / 50 {
            let _ = socket.send(&numbered(number));
            number += 1;
        }
        thread::sleep(Duration::from_micros(500));
    }
    number
}

/// The number in a frame; asserts that the frame is unchanged.
fn number_of(frame: &[u8]) -> u32 {
    assert_eq!(frame.len(), 4 + PAYLOAD.next_multiple_of(4));
    assert_eq!(frame[..4], channel_data(FROM_PEER, &[0; PAYLOAD])[..4]);
    let number = u32::from_be_bytes(frame[4..8].try_into().unwrap());
    assert!(frame[8..4 + PAYLOAD].iter().all(|byte| *byte == number as u8), "frames are mixed");
    assert!(frame[4 + PAYLOAD..].iter().all(|byte| *byte == 0), "padding is not zero");
    number
}

pub type Pair = (TurnClient<UdpSocket>, TurnClient<UdpSocket>);

/// Two clients that relay to each other.
pub fn relaying_pair(server: &ServerProcess) -> Pair {
    let (mut one, first) = TurnClient::with_allocation(socket([0, 3, 1], server.turn));
    let (mut other, second) = TurnClient::with_allocation(socket([0, 3, 2], server.turn));
    one.bind(TO_PEER, second);
    other.bind(TO_PEER, first);
    (one, other)
}

/// The time of a packet there and back through the relay.
pub fn round_trip((one, other): &mut Pair) -> Duration {
    let start = Instant::now();
    one.wire.send(&channel_data(TO_PEER, b"ping")).unwrap();
    let packet = other.wire.receive().expect("the packet");
    other.wire.send(&packet).unwrap();
    assert_eq!(one.wire.receive().expect("the packet back"), packet);
    start.elapsed()
}

#[test]
fn client_that_does_not_read_costs_little_and_delays_no_other() {
    let mut server = ServerProcess::new();
    let (mut slow, slow_at) = TurnClient::with_allocation(Framed::new(server.tcp(server.turn)));
    let (mut peer, peer_at) = TurnClient::with_allocation(socket([0, 3, 3], server.turn));
    slow.bind(FROM_PEER, peer_at);
    peer.bind(TO_PEER, slow_at);
    let mut pair = relaying_pair(&server);
    let first = read_during_flood(&mut slow, &peer);

    let before = server.usage().resident_kib;
    let stop = Arc::new(AtomicBool::new(false));
    let flood = {
        let (socket, stop) = (peer.wire.try_clone().unwrap(), Arc::clone(&stop));
        thread::spawn(move || send_numbered(&socket, first, &stop))
    };
    let (start, mut trips, mut peak) = (Instant::now(), Vec::new(), before);
    while start.elapsed() < Duration::from_secs(4) {
        trips.push(round_trip(&mut pair));
        peak = peak.max(server.usage().resident_kib);
    }
    stop.store(true, Ordering::Relaxed);
    let sent = flood.join().unwrap() - first;
    trips.sort();
    let (median, worst, growth) = (trips[trips.len() / 2], trips[trips.len() - 1], peak - before);

    let delivered = read_the_rest(&mut slow, &peer, first + sent);
    println!(
        "not reading: {sent} frames sent, grew {growth} KiB at most; {} round trips of other clients, \
         median {median:?}, worst {worst:?}; {delivered} complete frames afterwards",
        trips.len()
    );
    // The queue of the client holds 1 MiB; on a busy machine as much again is in flight or kept by the allocator.
    assert!(growth < 5 * 1024, "{growth} KiB");
    assert!(median < Duration::from_millis(100), "{median:?}");
    assert!(delivered < sent, "the flood was too small to fill anything");
    server.assert_healthy();
}

type Slow = TurnClient<Framed<std::net::TcpStream>>;

/// Warms up the server, so that later growth is not memory that is allocated once.
fn read_during_flood(slow: &mut Slow, peer: &TurnClient<UdpSocket>) -> u32 {
    let stop = Arc::new(AtomicBool::new(false));
    let flood = {
        let (socket, stop) = (peer.wire.try_clone().unwrap(), Arc::clone(&stop));
        thread::spawn(move || send_numbered(&socket, 0, &stop))
    };
    for _ in 0..10_000 {
        number_of(&slow.wire.receive().expect("frames for a client that reads"));
    }
    stop.store(true, Ordering::Relaxed);
    flood.join().unwrap()
}

/// Reads up to the frame `last`, which is sent now; asserts complete frames in order and counts them.
fn read_the_rest(slow: &mut Slow, peer: &TurnClient<UdpSocket>, last: u32) -> u32 {
    let (mut count, mut before) = (0, None);
    slow.wire.stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    for _ in 0..20 {
        while let Some(frame) = slow.wire.receive() {
            let number = number_of(&frame);
            assert!(before.is_none_or(|before| before <= number), "out of order");
            (count, before) = (count + 1, Some(number));
        }
        if before == Some(last) {
            assert!(slow.wire.bytes.is_empty(), "a frame was cut");
            return count;
        }
        peer.wire.send(&numbered(last)).unwrap();
    }
    panic!("the last frame does not arrive: {before:?} of {last}");
}

/// How a misbehaving stream behaves.
#[derive(Clone, Copy)]
enum Behavior {
    Silent,
    /// One byte at a time of a long message with this beginning.
    Slow(&'static [u8]),
    Garbage,
}

/// Beginnings of messages of 4 KiB.
const STUN: &[u8] = &[0, 1, 0x10, 0, 0x21, 0x12, 0xa4, 0x42];
const CLIENT_HELLO: &[u8] = &[22, 3, 1, 0x10, 0, 1, 0, 0x0f, 0xfc, 3, 3];

/// The time until the server closes the stream, at most 20 seconds.
fn time_until_closed(mut stream: impl Read + Write, behavior: Behavior) -> Duration {
    let long = if let Behavior::Slow(head) = behavior { head } else { &[] };
    let long = long.iter().copied().chain(std::iter::repeat(0));
    let (start, mut chunk) = (Instant::now(), [0; 1024]);
    if matches!(behavior, Behavior::Garbage) {
        let _ = stream.write_all(&[0xff; 64]).and_then(|()| stream.flush());
    }
    for byte in long {
        if matches!(behavior, Behavior::Slow(_)) {
            // Fails once the stream is closed; the next read detects that.
            let _ = stream.write_all(&[byte]).and_then(|()| stream.flush());
        }
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
        if start.elapsed() > Duration::from_secs(20) {
            break;
        }
    }
    start.elapsed()
}

#[test]
fn slow_and_garbage_streams_are_closed_while_others_connect() {
    let mut server = ServerProcess::new();
    let bad = |name: &str, over_tcp: Behavior, before_tls: Behavior| {
        let (tcp, raw, tls) = (server.tcp(server.turn), server.tcp(server.https), server.tls());
        for stream in [&tcp, &raw, &tls.sock] {
            stream.set_read_timeout(Some(Duration::from_millis(250))).unwrap();
        }
        [
            (format!("{name} over TCP"), thread::spawn(move || time_until_closed(tcp, over_tcp))),
            (format!("{name} before TLS"), thread::spawn(move || time_until_closed(raw, before_tls))),
            (format!("{name} in TLS"), thread::spawn(move || time_until_closed(tls, over_tcp))),
        ]
    };
    let mut threads = Vec::from(bad("silence", Behavior::Silent, Behavior::Silent));
    threads.extend(bad("one byte at a time", Behavior::Slow(STUN), Behavior::Slow(CLIENT_HELLO)));
    threads.extend(bad("garbage", Behavior::Garbage, Behavior::Garbage));
    let (mut accepted, mut worst) = (0, Duration::ZERO);
    while threads.iter().any(|(_, thread)| !thread.is_finished()) {
        let start = Instant::now();
        let mut tcp = Framed::new(server.tcp(server.turn));
        tcp.send_message(&binding(1));
        parse(&tcp.receive().expect("a reply to a new client"));
        let mut tls = Framed::new(server.tls());
        tls.send_message(&binding(2));
        parse(&tls.receive().expect("a reply to a new client over TLS"));
        (accepted, worst) = (accepted + 2, worst.max(start.elapsed()));
        thread::sleep(Duration::from_millis(250));
    }
    println!("meanwhile {accepted} new clients were answered, two of them in {worst:?} at worst");
    let times: Vec<_> = threads.into_iter().map(|(name, thread)| (name, thread.join().unwrap())).collect();
    times.iter().for_each(|(name, time)| println!("{name}: closed after {time:.1?}"));
    assert!(times.iter().all(|(_, time)| *time <= Duration::from_secs(12)));
    assert!(worst < Duration::from_secs(2));
    server.assert_healthy();
}

/// A stream that sends nothing for this long has answered.
const QUIET_TIME: Duration = Duration::from_millis(30);

/// Sends mutated messages; asserts that the reply is complete messages or an HTTP error, and counts them.
fn send_mutated(mut stream: impl Read + Write, messages: &[Vec<u8>]) -> usize {
    for message in messages {
        if stream.write_all(message).is_err() {
            break;
        }
    }
    let _ = stream.flush();
    let (mut reply, mut chunk) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = stream.read(&mut chunk) {
        reply.extend_from_slice(&chunk[..count]);
    }
    if reply.starts_with(b"HTTP/1.1 400") {
        return 1;
    }
    let (mut at, mut count) = (0, 0);
    while let MessageBoundary::Complete(length) = find_message(&reply[at..]) {
        parse(&reply[at..at + length]);
        (at, count) = (at + length, count + 1);
    }
    assert_eq!(find_message(&reply[at..]), MessageBoundary::Incomplete, "{:?}", &reply[at..]);
    count
}

#[test]
fn mutated_streams_crash_nothing() {
    let mut server = ServerProcess::new();
    let corpus = corpus();
    let mut mutator = Mutator::new(5349);
    let (start, before) = (Instant::now(), server.usage());
    let (mut streams, mut replies) = (0_u32, 0);
    while start.elapsed() < Duration::from_secs(4) {
        let messages: Vec<_> = (0..4)
            .map(|n| if n % 2 == 0 { corpus[mutator.below(12)].clone() } else { mutator.next(&corpus, 2000) })
            .collect();
        let tcp = server.tcp(server.turn);
        let tls = server.tls();
        [&tcp, &tls.sock].into_iter().for_each(|s| s.set_read_timeout(Some(QUIET_TIME)).unwrap());
        replies += send_mutated(tcp, &messages) + send_mutated(tls, &messages);
        streams += 2;
    }
    let growth = server.usage().resident_kib.saturating_sub(before.resident_kib);
    println!("mutated streams: {streams} of 4 messages, {replies} well-formed replies, grew {growth} KiB");
    assert!(replies > 0 && growth < 10 * 1024);
    let mut last = Framed::new(server.tcp(server.turn));
    last.send_message(&binding(1));
    parse(&last.receive().expect("a reply"));
    server.assert_healthy();
}
