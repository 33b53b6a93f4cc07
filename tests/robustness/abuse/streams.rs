//! TCP and TLS clients that do not read, say nothing, or say nonsense.

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
use crate::harness::turn_client::{Framed, TurnClient, Wire, binding, channel_data, read, socket};

const TO_PEER: u16 = 0x4000;
const FROM_PEER: u16 = 0x4001;
const PAYLOAD: usize = 1201;

/// Datagrams and messages of the fuzz corpus.
pub fn corpus() -> Vec<Vec<u8>> {
    let environment = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus/stun_bytes");
    let mut files: Vec<_> = fs::read_dir(environment).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// A numbered payload for the peer.
fn numbered(number: u32) -> Vec<u8> {
    let mut payload = vec![number as u8; PAYLOAD];
    payload[..4].copy_from_slice(&number.to_be_bytes());
    channel_data(TO_PEER, &payload)
}

/// Sends numbered payloads at 20,000 a second until told to stop; the next number.
fn pour(socket: &UdpSocket, first: u32, stop: &AtomicBool) -> u32 {
    let (begun, mut number) = (Instant::now(), first);
    while !stop.load(Ordering::Relaxed) && begun.elapsed() < Duration::from_secs(20) {
        while u128::from(number - first) < begun.elapsed().as_micros() / 50 {
            let _ = socket.send(&numbered(number));
            number += 1;
        }
        thread::sleep(Duration::from_micros(500));
    }
    number
}

/// The number in a frame that must be as it was sent.
fn number_of(frame: &[u8]) -> u32 {
    assert_eq!(frame.len(), 4 + PAYLOAD.next_multiple_of(4));
    assert_eq!(frame[..4], channel_data(FROM_PEER, &[0; PAYLOAD])[..4]);
    let number = u32::from_be_bytes(frame[4..8].try_into().unwrap());
    assert!(frame[8..4 + PAYLOAD].iter().all(|byte| *byte == number as u8), "a frame was mixed");
    assert!(frame[4 + PAYLOAD..].iter().all(|byte| *byte == 0), "pad bytes that say something");
    number
}

pub type Pair = (TurnClient<UdpSocket>, TurnClient<UdpSocket>);

/// Two who relay to each other.
pub fn neighbours(server: &ServerProcess) -> Pair {
    let (mut one, first) = TurnClient::allocated(socket([0, 3, 1], server.turn));
    let (mut other, second) = TurnClient::allocated(socket([0, 3, 2], server.turn));
    one.bind(TO_PEER, second);
    other.bind(TO_PEER, first);
    (one, other)
}

/// One way there and one back through the relay.
pub fn round_trip((one, other): &mut Pair) -> Duration {
    let begun = Instant::now();
    one.wire.send(&channel_data(TO_PEER, b"ping")).unwrap();
    let there = other.wire.receive().expect("the neighbours' packet");
    other.wire.send(&there).unwrap();
    assert_eq!(one.wire.receive().expect("and back"), there);
    begun.elapsed()
}

#[test]
fn client_that_does_not_read_costs_little_and_delays_no_other() {
    let mut server = ServerProcess::new();
    let (mut slow, slow_at) = TurnClient::allocated(Framed::new(server.tcp(server.turn)));
    let (mut peer, peer_at) = TurnClient::allocated(socket([0, 3, 3], server.turn));
    slow.bind(FROM_PEER, peer_at);
    peer.bind(TO_PEER, slow_at);
    let mut pair = neighbours(&server);
    let poured = read_while_pouring(&mut slow, &peer);

    let before = server.usage().resident_kib;
    let stop = Arc::new(AtomicBool::new(false));
    let flood = {
        let (socket, stop) = (peer.wire.try_clone().unwrap(), Arc::clone(&stop));
        thread::spawn(move || pour(&socket, poured, &stop))
    };
    let (begun, mut trips, mut peak) = (Instant::now(), Vec::new(), before);
    while begun.elapsed() < Duration::from_secs(4) {
        trips.push(round_trip(&mut pair));
        peak = peak.max(server.usage().resident_kib);
    }
    stop.store(true, Ordering::Relaxed);
    let sent = flood.join().unwrap() - poured;
    trips.sort();
    let (median, worst, growth) = (trips[trips.len() / 2], trips[trips.len() - 1], peak - before);

    let kept = read_the_rest(&mut slow, &peer, poured + sent);
    println!(
        "not reading: {sent} frames poured, grew {growth} KiB at most; {} round trips of the neighbours, \
         median {median:?}, worst {worst:?}; {kept} whole frames afterwards",
        trips.len()
    );
    // Its queue may have 1 MiB; on a busy machine as much again is on its way, or kept by the allocator.
    assert!(growth < 5 * 1024, "{growth} KiB");
    assert!(median < Duration::from_millis(100), "{median:?}");
    assert!(kept < sent, "the flood was too small to fill anything");
    server.assert_healthy();
}

type Slow = TurnClient<Framed<std::net::TcpStream>>;

/// So that what the box takes once and for all has been taken.
fn read_while_pouring(slow: &mut Slow, peer: &TurnClient<UdpSocket>) -> u32 {
    let stop = Arc::new(AtomicBool::new(false));
    let flood = {
        let (socket, stop) = (peer.wire.try_clone().unwrap(), Arc::clone(&stop));
        thread::spawn(move || pour(&socket, 0, &stop))
    };
    for _ in 0..10_000 {
        number_of(&slow.wire.receive().expect("frames while they are read"));
    }
    stop.store(true, Ordering::Relaxed);
    flood.join().unwrap()
}

/// Everything up to a last frame that is sent now; how many came, each whole and in order.
fn read_the_rest(slow: &mut Slow, peer: &TurnClient<UdpSocket>, last: u32) -> u32 {
    let (mut kept, mut before) = (0, None);
    slow.wire.stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    for _ in 0..20 {
        while let Some(frame) = slow.wire.receive() {
            let number = number_of(&frame);
            assert!(before.is_none_or(|before| before <= number), "out of order");
            (kept, before) = (kept + 1, Some(number));
        }
        if before == Some(last) {
            assert!(slow.wire.bytes.is_empty(), "a frame was cut");
            return kept;
        }
        peer.wire.send(&numbered(last)).unwrap();
    }
    panic!("nothing reaches the reader any more; last {before:?} of {last}");
}

/// How a bad stream behaves.
#[derive(Clone, Copy)]
enum Manner {
    Silent,
    /// One byte at a time of a long message that begins like this.
    Dripping(&'static [u8]),
    Garbage,
}

/// Heads of messages of 4 KiB.
const STUN: &[u8] = &[0, 1, 0x10, 0, 0x21, 0x12, 0xa4, 0x42];
const CLIENT_HELLO: &[u8] = &[22, 3, 1, 0x10, 0, 1, 0, 0x0f, 0xfc, 3, 3];

/// How long it is let live.
fn lives(mut stream: impl Read + Write, manner: Manner) -> Duration {
    let long = if let Manner::Dripping(head) = manner { head } else { &[] };
    let long = long.iter().copied().chain(std::iter::repeat(0));
    let (begun, mut chunk) = (Instant::now(), [0; 1024]);
    if matches!(manner, Manner::Garbage) {
        let _ = stream.write_all(&[0xff; 64]).and_then(|()| stream.flush());
    }
    for byte in long {
        if matches!(manner, Manner::Dripping(_)) {
            // Refused once it has been closed, which the next read tells.
            let _ = stream.write_all(&[byte]).and_then(|()| stream.flush());
        }
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
        if begun.elapsed() > Duration::from_secs(20) {
            break;
        }
    }
    begun.elapsed()
}

#[test]
fn slow_and_garbage_streams_are_closed_while_others_connect() {
    let mut server = ServerProcess::new();
    let bad = |name: &str, over_tcp: Manner, before_tls: Manner| {
        let (tcp, raw, tls) = (server.tcp(server.turn), server.tcp(server.https), server.tls());
        for stream in [&tcp, &raw, &tls.sock] {
            stream.set_read_timeout(Some(Duration::from_millis(250))).unwrap();
        }
        [
            (format!("{name} over TCP"), thread::spawn(move || lives(tcp, over_tcp))),
            (format!("{name} before TLS"), thread::spawn(move || lives(raw, before_tls))),
            (format!("{name} in TLS"), thread::spawn(move || lives(tls, over_tcp))),
        ]
    };
    let mut threads = Vec::from(bad("silence", Manner::Silent, Manner::Silent));
    threads.extend(bad("drips", Manner::Dripping(STUN), Manner::Dripping(CLIENT_HELLO)));
    threads.extend(bad("garbage", Manner::Garbage, Manner::Garbage));
    let (mut accepted, mut worst) = (0, Duration::ZERO);
    while threads.iter().any(|(_, thread)| !thread.is_finished()) {
        let begun = Instant::now();
        let mut tcp = Framed::new(server.tcp(server.turn));
        tcp.say(&binding(1));
        read(&tcp.receive().expect("a newcomer is answered"));
        let mut tls = Framed::new(server.tls());
        tls.say(&binding(2));
        read(&tls.receive().expect("a newcomer is answered in TLS"));
        (accepted, worst) = (accepted + 2, worst.max(begun.elapsed()));
        thread::sleep(Duration::from_millis(250));
    }
    println!("meanwhile {accepted} newcomers were answered, two of them in {worst:?} at worst");
    let lives: Vec<_> = threads.into_iter().map(|(name, thread)| (name, thread.join().unwrap())).collect();
    lives.iter().for_each(|(name, life)| println!("{name}: closed after {life:.1?}"));
    assert!(lives.iter().all(|(_, life)| *life <= Duration::from_secs(12)));
    assert!(worst < Duration::from_secs(2));
    server.assert_healthy();
}

/// After which nothing more is to come.
const SILENCE: Duration = Duration::from_millis(30);

/// Some mutated messages; what comes back until it is closed or silent is whole messages, or
/// HTTP's refusal.
fn nonsense(mut stream: impl Read + Write, messages: &[Vec<u8>]) -> usize {
    for message in messages {
        if stream.write_all(message).is_err() {
            break;
        }
    }
    let _ = stream.flush();
    let (mut back, mut chunk) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = stream.read(&mut chunk) {
        back.extend_from_slice(&chunk[..count]);
    }
    if back.starts_with(b"HTTP/1.1 400") {
        return 1;
    }
    let (mut at, mut whole) = (0, 0);
    while let MessageBoundary::Complete(length) = find_message(&back[at..]) {
        read(&back[at..at + length]);
        (at, whole) = (at + length, whole + 1);
    }
    assert_eq!(find_message(&back[at..]), MessageBoundary::Incomplete, "{:?}", &back[at..]);
    whole
}

#[test]
fn mutated_streams_crash_nothing() {
    let mut server = ServerProcess::new();
    let corpus = corpus();
    let mut mutator = Mutator::new(5349);
    let (begun, before) = (Instant::now(), server.usage());
    let (mut streams, mut replies) = (0_u32, 0);
    while begun.elapsed() < Duration::from_secs(4) {
        let messages: Vec<_> = (0..4)
            .map(|n| if n % 2 == 0 { corpus[mutator.below(12)].clone() } else { mutator.next(&corpus, 2000) })
            .collect();
        let tcp = server.tcp(server.turn);
        let tls = server.tls();
        [&tcp, &tls.sock].into_iter().for_each(|s| s.set_read_timeout(Some(SILENCE)).unwrap());
        replies += nonsense(tcp, &messages) + nonsense(tls, &messages);
        streams += 2;
    }
    let growth = server.usage().resident_kib.saturating_sub(before.resident_kib);
    println!("mutated streams: {streams} of 4 messages, {replies} well-formed replies, grew {growth} KiB");
    assert!(replies > 0 && growth < 10 * 1024);
    let mut last = Framed::new(server.tcp(server.turn));
    last.say(&binding(1));
    read(&last.receive().expect("the box answers"));
    server.assert_healthy();
}
