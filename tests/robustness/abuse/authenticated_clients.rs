//! What somebody with a valid credential may cost.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use stun::attributes as attr;
use stun::attributes::AttrType;
use stun::message as wire;

use super::exhaustion::PUBLIC;
use super::streams::{Pair, neighbours};
use crate::harness::mutator::Mutator;
use crate::harness::participant::Participant;
use crate::harness::server_process::ServerProcess;
use crate::harness::turn_client::{TurnClient, UDP, Wire as _, channel_data, code, read, socket};

const CHANNEL: u16 = 0x4000;
/// Permissions, and channels, of one allocation.
const MOST: u8 = 64;

fn client(server: &ServerProcess, last: u8) -> TurnClient<UdpSocket> {
    TurnClient::new(socket([0, 7, last], server.turn))
}

/// A peer that may be there or not.
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
    let bare = server.usage().resident_kib - before.resident_kib;
    for client in &mut clients {
        (0..MOST).for_each(|number| client.bind(CHANNEL + u16::from(number), peer(number)));
        let one_more = client.attempt(wire::METHOD_CREATE_PERMISSION, &[], &[peer(MOST)]);
        assert_eq!(code(&one_more), 508);
    }
    let full = server.usage().resident_kib - before.resident_kib;
    clients.iter_mut().for_each(TurnClient::delete);
    server.wait_for_descriptors(before.descriptors);
    let after = server.usage();
    println!(
        "{ALLOCATIONS} allocations: {bare} KiB, with {MOST} permissions and channels each {full} KiB; {} KiB when \
         they have gone",
        after.resident_kib.saturating_sub(before.resident_kib)
    );
    assert!(full < 64 * u64::from(ALLOCATIONS));
    server.assert_healthy();
}

#[test]
fn replaced_participant_loses_its_allocation() {
    let server = ServerProcess::with(&["--room-grace", "1"], None);
    let mut host = Participant::join_room(&server, "kitchen");
    let client = Participant::join_room(&server, "kitchen");
    let relayed = |seat: &Participant, last| {
        let mut client = TurnClient::holding(seat.credential.clone(), socket([0, 10, last], server.turn));
        let relayed = client.allocate();
        (client, relayed)
    };
    let ((mut talking, host_at), (mut lapsed, lapsed_at)) = (relayed(&host, 1), relayed(&client, 2));
    lapsed.bind(CHANNEL, host_at);
    talking.bind(CHANNEL, lapsed_at);
    drop(client);
    host.hear("peer-leave");
    lapsed.wire.send(&channel_data(CHANNEL, b"still here")).unwrap();
    let heard = talking.wire.receive().expect("the call runs on without its WebSocket");
    assert_eq!(heard[4..14], *b"still here");
    let next = Participant::join_room(&server, "kitchen");
    let (mut newcomer, _) = relayed(&next, 3);
    assert_eq!(code(&lapsed.attempt(wire::METHOD_REFRESH, &[], &[])), 437, "its seat is somebody else's");
    newcomer.bind(CHANNEL, host_at);
}

/// How neighbours fare while somebody does `deed` over and over, for this long.
struct Neighbours {
    deeds: u32,
    sent: u32,
    back: u32,
    median: Duration,
    worst: Duration,
    growth: u64,
}

fn meanwhile(server: &ServerProcess, time: Duration, mut deed: impl FnMut() + Send + 'static) -> Neighbours {
    let mut pair = neighbours(server);
    for client in [&pair.0, &pair.1] {
        client.wire.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    }
    // What the box takes once and for all has been taken when the first second is over.
    let (stop, settled) = (Arc::new(AtomicBool::new(false)), Duration::from_secs(1));
    let client = {
        let stop = Arc::clone(&stop);
        thread::spawn(move || {
            let mut deeds = 0;
            while !stop.load(Ordering::Relaxed) {
                deed();
                deeds += 1;
            }
            deeds
        })
    };
    let (begun, mut trips, mut sent, mut before, mut peak) = (Instant::now(), Vec::new(), 0_u32, None, 0);
    while begun.elapsed() < time {
        trips.extend(round_trip(&mut pair, sent));
        sent += 1;
        let resident = server.usage().resident_kib;
        if begun.elapsed() > settled {
            before = before.or(Some(resident));
            peak = peak.max(resident);
        }
    }
    stop.store(true, Ordering::Relaxed);
    let deeds = client.join().expect("the client has not panicked");
    trips.sort();
    Neighbours {
        deeds,
        sent,
        back: trips.len() as u32,
        median: trips.get(trips.len() / 2).copied().unwrap_or_default(),
        worst: trips.last().copied().unwrap_or_default(),
        growth: peak - before.unwrap(),
    }
}

/// One numbered packet there and back through the relay; `None` where it was lost.
fn round_trip((one, other): &mut Pair, number: u32) -> Option<Duration> {
    let (begun, ping) = (Instant::now(), channel_data(CHANNEL, &number.to_be_bytes().repeat(250)));
    let until = |socket: &mut UdpSocket| -> Option<()> {
        while socket.receive()? != ping {}
        Some(())
    };
    one.wire.send(&ping).unwrap();
    until(&mut other.wire)?;
    other.wire.send(&ping).unwrap();
    until(&mut one.wire)?;
    Some(begun.elapsed())
}

impl Neighbours {
    fn tell(&self, name: &str) {
        let Self { deeds, sent, back, median, worst, growth } = self;
        println!(
            "{name}: {deeds} times, grew {growth} KiB; the neighbours: {back} of {sent} packets there and back, \
             median {median:?}, worst {worst:?}"
        );
        assert!(*growth < 3 * 1024);
    }

    fn are_served(&self) {
        assert!(self.median < Duration::from_millis(300));
        assert!(f64::from(self.back) > 0.9 * f64::from(self.sent));
    }
}

const WHILE: Duration = Duration::from_secs(3);

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
        let mut ask = move || {
            let reply = client.attempt(wire::METHOD_CREATE_PERMISSION, &[], &peers);
            assert_eq!(code(&reply), expected);
        };
        let before = server.cpu_time();
        (0..50).for_each(|_| ask());
        let name = format!("5000 peers {name} in one CreatePermission");
        println!("{name}: {:?} of work each", (server.cpu_time() - before) / 50);
        let served = meanwhile(&server, WHILE, ask);
        served.tell(&name);
        served.are_served();
    }
    server.assert_healthy();
}

/// Packets a second.
const FLOOD: u32 = 50_000;

#[test]
fn flood_to_a_closed_peer_affects_no_other_client() {
    let mut server = ServerProcess::with(PUBLIC, None);
    let (mut gone, inside) = TurnClient::allocated(socket([0, 7, 1], server.turn));
    let closed = UdpSocket::bind("127.0.8.8:0").unwrap();
    let outside = closed.local_addr().unwrap();
    let mut clients =
        [("an allocation", inside, client(&server, 2)), ("a port", outside, client(&server, 3))];
    for (_, peer, client) in &mut clients {
        client.allocate();
        client.bind(CHANNEL, *peer);
    }
    gone.delete();
    drop(closed);
    for (name, _, client) in clients {
        let data = channel_data(CHANNEL, &[7; 1200]);
        // A full buffer of loopback is no fault of the box.
        let send = Arc::new(move || drop(client.wire.send(&data)));
        let (at_a_pace, all_it_can) = (pace(FLOOD, Arc::clone(&send)), move || send());
        let (dropped, worked) = (server.dropped(), server.cpu_time());
        let paced = meanwhile(&server, WHILE, at_a_pace);
        paced.tell(&format!("{FLOOD} packets/s of 1200 bytes to {name} that has gone"));
        let dropped = server.dropped() - dropped;
        println!("{dropped} dropped by the kernel, worked {:?}", server.cpu_time() - worked);
        if dropped < u64::from(paced.deeds) / 100 {
            paced.are_served();
        } else {
            println!("this host is too slow, or too busy, to tell");
        }
        // More than the host can take is lost, the neighbours' as well; what it costs is bounded.
        let unpaced = meanwhile(&server, WHILE, all_it_can);
        unpaced.tell(&format!(
            "the same as fast as can be, {:.0}/s",
            f64::from(unpaced.deeds) / WHILE.as_secs_f64()
        ));
    }
    server.assert_healthy();
}

/// `deed` so often a second, whether it lasts long or not.
fn pace(rate: u32, deed: Arc<impl Fn()>) -> impl FnMut() {
    let (mut begun, mut done) = (None, 0_u128);
    move || {
        let begun = *begun.get_or_insert_with(Instant::now);
        while done >= begun.elapsed().as_micros() * u128::from(rate) / 1_000_000 {
            thread::sleep(Duration::from_micros(200));
        }
        deed();
        done += 1;
    }
}

/// Attributes that requests are made of, and some that nobody knows.
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
/// Values that mean something somewhere.
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
        // Not every one of them is answered.
        client.wire.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    }
    let mut codes = std::collections::BTreeMap::new();
    let (tell, told) = std::sync::mpsc::channel();
    let served = meanwhile(&server, Duration::from_secs(10), move || {
        let at = mutator.below(clients.len());
        let client = &mut clients[at];
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
            tell.send(code(&read(&reply))).unwrap();
        }
    });
    told.iter().for_each(|code| *codes.entry(code).or_insert(0_u32) += 1);
    served.tell("signed nonsense");
    served.are_served();
    println!("answers by code, 0 for success: {codes:?}");
    assert!(codes.contains_key(&0) && codes.contains_key(&400));
    server.assert_healthy();
}
