//! What a client with a valid credential may cost the server and other clients.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use stun::attributes as attr;
use stun::attributes::AttrType;
use stun::message as wire;

use super::exhaustion::PUBLIC;
use super::streams::{Pair, relaying_pair};
use crate::harness::mutator::Mutator;
use crate::harness::participant::Participant;
use crate::harness::server_process::ServerProcess;
use crate::harness::turn_client::{TurnClient, UDP, Wire as _, channel_data, error_code, parse, socket};

const CHANNEL: u16 = 0x4000;
/// The limit of permissions, and of channels, of one allocation.
const LIMIT: u8 = 64;

fn client(server: &ServerProcess, last: u8) -> TurnClient<UdpSocket> {
    TurnClient::new(socket([0, 7, last], server.turn))
}

/// A peer address, where nothing needs to listen.
fn peer(number: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 8, number], 5000))
}

#[test]
fn full_allocation_costs_little_memory() {
    const ALLOCATIONS: u8 = 48;
    let mut server = ServerProcess::with(PUBLIC, None);
    client(&server, 200).allocate();
    let before = server.usage();
    let mut clients: Vec<_> = (0..ALLOCATIONS).map(|last| client(&server, last)).collect();
    for client in &mut clients {
        client.allocate();
    }
    let empty = server.usage().resident_kib - before.resident_kib;
    for client in &mut clients {
        (0..LIMIT).for_each(|number| client.bind(CHANNEL + u16::from(number), peer(number)));
        let refused = client.try_request(wire::METHOD_CREATE_PERMISSION, &[], &[peer(LIMIT)]);
        assert_eq!(error_code(&refused), 508);
    }
    let full = server.usage().resident_kib - before.resident_kib;
    clients.iter_mut().for_each(TurnClient::delete);
    server.wait_for_descriptors(before.descriptors);
    let after = server.usage();
    println!(
        "{ALLOCATIONS} allocations: {empty} KiB, with {LIMIT} permissions and channels each {full} KiB; {} KiB when \
         they are deleted",
        after.resident_kib.saturating_sub(before.resident_kib)
    );
    assert!(full < 64 * u64::from(ALLOCATIONS));
    server.assert_healthy();
}

#[test]
fn replaced_participant_loses_its_allocation() {
    let server = ServerProcess::with(&["--room-grace", "1"], None);
    let mut first = Participant::join_room(&server, "kitchen");
    let second = Participant::join_room(&server, "kitchen");
    let allocate = |seat: &Participant, last| {
        let mut client =
            TurnClient::with_credential(seat.credential.clone(), socket([0, 10, last], server.turn));
        let relayed = client.allocate();
        (client, relayed)
    };
    let ((mut first_client, first_at), (mut second_client, second_at)) =
        (allocate(&first, 1), allocate(&second, 2));
    second_client.bind(CHANNEL, first_at);
    first_client.bind(CHANNEL, second_at);
    drop(second);
    first.wait_for("peer-leave");
    second_client.wire.send(&channel_data(CHANNEL, b"still here")).unwrap();
    let received = first_client.wire.receive().expect("media continues without the WebSocket");
    assert_eq!(received[4..14], *b"still here");
    let third = Participant::join_room(&server, "kitchen");
    let (mut third_client, _) = allocate(&third, 3);
    let refresh = second_client.try_request(wire::METHOD_REFRESH, &[], &[]);
    assert_eq!(error_code(&refresh), 437, "another participant has its seat");
    third_client.bind(CHANNEL, first_at);
}

/// The round trips of two other clients through the relay, and the memory of the server, under a load.
struct Impact {
    /// How often the load ran.
    runs: u32,
    sent: u32,
    returned: u32,
    median: Duration,
    worst: Duration,
    /// In KiB, after the first second.
    growth: u64,
}

/// Repeats `load` for `time` and measures its impact on two other clients.
fn measure_under(server: &ServerProcess, time: Duration, mut load: impl FnMut() + Send + 'static) -> Impact {
    let mut pair = relaying_pair(server);
    for client in [&pair.0, &pair.1] {
        client.wire.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    }
    // Memory that the server allocates once is allocated within the first second.
    let (stop, warm_up) = (Arc::new(AtomicBool::new(false)), Duration::from_secs(1));
    let load = {
        let stop = Arc::clone(&stop);
        thread::spawn(move || {
            let mut runs = 0;
            while !stop.load(Ordering::Relaxed) {
                load();
                runs += 1;
            }
            runs
        })
    };
    let (start, mut trips, mut sent, mut before, mut peak) = (Instant::now(), Vec::new(), 0_u32, None, 0);
    while start.elapsed() < time {
        trips.extend(round_trip(&mut pair, sent));
        sent += 1;
        let resident = server.usage().resident_kib;
        if start.elapsed() > warm_up {
            before = before.or(Some(resident));
            peak = peak.max(resident);
        }
    }
    stop.store(true, Ordering::Relaxed);
    let runs = load.join().expect("the load has not panicked");
    trips.sort();
    Impact {
        runs,
        sent,
        returned: trips.len() as u32,
        median: trips.get(trips.len() / 2).copied().unwrap_or_default(),
        worst: trips.last().copied().unwrap_or_default(),
        growth: peak - before.unwrap(),
    }
}

/// The round trip of one numbered packet through the relay; `None` if it was lost.
fn round_trip((one, other): &mut Pair, number: u32) -> Option<Duration> {
    let (start, ping) = (Instant::now(), channel_data(CHANNEL, &number.to_be_bytes().repeat(250)));
    let until = |socket: &mut UdpSocket| -> Option<()> {
        while socket.receive()? != ping {}
        Some(())
    };
    one.wire.send(&ping).unwrap();
    until(&mut other.wire)?;
    other.wire.send(&ping).unwrap();
    until(&mut one.wire)?;
    Some(start.elapsed())
}

impl Impact {
    fn print_and_check_growth(&self, name: &str) {
        let Self { runs, sent, returned, median, worst, growth } = self;
        println!(
            "{name}: {runs} times, grew {growth} KiB; other clients: {returned} of {sent} round trips, \
             median {median:?}, worst {worst:?}"
        );
        assert!(*growth < 3 * 1024);
    }

    fn assert_others_are_served(&self) {
        assert!(self.median < Duration::from_millis(300));
        assert!(f64::from(self.returned) > 0.9 * f64::from(self.sent));
    }
}

const LOAD_TIME: Duration = Duration::from_secs(3);

#[test]
fn thousands_of_peers_in_one_request_delay_no_client() {
    let mut server = ServerProcess::with(PUBLIC, None);
    for (name, count, expected) in [("of 64 addresses", 64_u16, 0), ("of 5000 addresses", 5000, 508)] {
        let mut client = client(&server, count as u8);
        client.allocate();
        let peers: Vec<_> = (0..5000_u16)
            .map(|number| (number % count).to_be_bytes())
            .map(|[high, low]| SocketAddr::from(([127, 9, high, low], 5000)))
            .collect();
        let mut request = move || {
            let reply = client.try_request(wire::METHOD_CREATE_PERMISSION, &[], &peers);
            assert_eq!(error_code(&reply), expected);
        };
        let before = server.cpu_time();
        (0..50).for_each(|_| request());
        let name = format!("5000 peers {name} in one CreatePermission");
        println!("{name}: {:?} of CPU time each", (server.cpu_time() - before) / 50);
        let impact = measure_under(&server, LOAD_TIME, request);
        impact.print_and_check_growth(&name);
        impact.assert_others_are_served();
    }
    server.assert_healthy();
}

/// Packets per second.
const FLOOD_RATE: u32 = 50_000;

#[test]
fn flood_to_a_closed_peer_affects_no_other_client() {
    let mut server = ServerProcess::with(PUBLIC, None);
    let (mut deleted, inside) = TurnClient::with_allocation(socket([0, 7, 1], server.turn));
    let closed = UdpSocket::bind("127.0.8.8:0").unwrap();
    let outside = closed.local_addr().unwrap();
    let mut clients =
        [("an allocation", inside, client(&server, 2)), ("a port", outside, client(&server, 3))];
    for (_, peer, client) in &mut clients {
        client.allocate();
        client.bind(CHANNEL, *peer);
    }
    deleted.delete();
    drop(closed);
    for (name, _, client) in clients {
        let data = channel_data(CHANNEL, &[7; 1200]);
        // A send may fail because a buffer of loopback is full.
        let send = Arc::new(move || drop(client.wire.send(&data)));
        let (at_a_rate, unlimited) = (repeat_at_rate(FLOOD_RATE, Arc::clone(&send)), move || send());
        let (dropped, cpu) = (server.dropped_datagrams(), server.cpu_time());
        let paced = measure_under(&server, LOAD_TIME, at_a_rate);
        paced.print_and_check_growth(&format!(
            "{FLOOD_RATE} packets/s of 1200 bytes to {name} that is closed"
        ));
        let dropped = server.dropped_datagrams() - dropped;
        println!("{dropped} dropped by the kernel, {:?} of CPU time", server.cpu_time() - cpu);
        if dropped < u64::from(paced.runs) / 100 {
            paced.assert_others_are_served();
        } else {
            println!("this host is too slow or too busy for a verdict");
        }
        // Beyond what the host can process, packets of all clients are lost; only the growth is checked.
        let unpaced = measure_under(&server, LOAD_TIME, unlimited);
        unpaced.print_and_check_growth(&format!(
            "the same as fast as possible, {:.0}/s",
            f64::from(unpaced.runs) / LOAD_TIME.as_secs_f64()
        ));
    }
    server.assert_healthy();
}

/// Calls `load` `rate` times per second on average, catching up after a delay.
fn repeat_at_rate(rate: u32, load: Arc<impl Fn()>) -> impl FnMut() {
    let (mut start, mut done) = (None, 0_u128);
    move || {
        let start = *start.get_or_insert_with(Instant::now);
        while done >= start.elapsed().as_micros() * u128::from(rate) / 1_000_000 {
            thread::sleep(Duration::from_micros(200));
        }
        load();
        done += 1;
    }
}

/// Attributes of requests, and two unknown ones.
const KINDS: [AttrType; 12] = [
    attr::ATTR_REQUESTED_TRANSPORT,
    attr::ATTR_REQUESTED_ADDRESS_FAMILY,
    attr::ATTR_LIFETIME,
    attr::ATTR_CHANNEL_NUMBER,
    attr::ATTR_XOR_PEER_ADDRESS,
    attr::ATTR_EVEN_PORT,
    attr::ATTR_RESERVATION_TOKEN,
    attr::ATTR_DONT_FRAGMENT,
    attr::ATTR_DATA,
    attr::ATTR_USERNAME,
    AttrType(0x8000),
    AttrType(0x0033),
];
const METHODS: [wire::Method; 5] = [
    wire::METHOD_ALLOCATE,
    wire::METHOD_REFRESH,
    wire::METHOD_CREATE_PERMISSION,
    wire::METHOD_CHANNEL_BIND,
    wire::METHOD_BINDING,
];
/// Values that are valid for one attribute or another.
const VALUES: [&[u8]; 8] = [
    &[17, 0, 0, 0],
    &[1, 0, 0, 0],
    &[2, 0, 0, 0],
    &[0x40, 0, 0, 0],
    &[0x80],
    &[],
    &[0, 1, 0x12, 0x34, 0x5e, 0x12, 0xa4, 0x4a],
    &[0, 0, 2, 0x58],
];

#[test]
fn authenticated_random_messages_crash_nothing() {
    let mut server = ServerProcess::with(PUBLIC, None);
    let mut mutator = Mutator::new(5766);
    let values: Vec<Vec<u8>> = VALUES.iter().map(|value| value.to_vec()).collect();
    let mut clients: Vec<_> = (0..8).map(|last| client(&server, last)).collect();
    for client in &clients {
        // Some of the messages get no reply.
        client.wire.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    }
    let mut codes = std::collections::BTreeMap::new();
    let (sender, received) = std::sync::mpsc::channel();
    let impact = measure_under(&server, Duration::from_secs(10), move || {
        let index = mutator.below(clients.len());
        let client = &mut clients[index];
        let chosen: Vec<_> = (0..mutator.below(5))
            .map(|_| (KINDS[mutator.below(KINDS.len())], mutator.next(&values, 40)))
            .collect();
        let mut attributes: Vec<_> = chosen.iter().map(|(kind, value)| (*kind, &value[..])).collect();
        let method = METHODS[mutator.below(METHODS.len())];
        if method == wire::METHOD_ALLOCATE && mutator.below(2) == 0 {
            attributes.insert(0, UDP);
        }
        let (_, bytes) = client.prepare(method, &attributes, &[]);
        client.wire.send(&bytes).unwrap();
        if let Some(reply) = client.wire.receive() {
            sender.send(error_code(&parse(&reply))).unwrap();
        }
    });
    received.iter().for_each(|code| *codes.entry(code).or_insert(0_u32) += 1);
    impact.print_and_check_growth("signed random messages");
    impact.assert_others_are_served();
    println!("replies by error code, 0 for success: {codes:?}");
    assert!(codes.contains_key(&0) && codes.contains_key(&400));
    server.assert_healthy();
}
