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
use crate::harness::participant::Seat;
use crate::harness::server_process::House;
use crate::harness::turn_client::{Guest, UDP, Wire as _, channel_data, code, read, socket};

const CHANNEL: u16 = 0x4000;
/// Permissions, and channels, of one allocation.
const MOST: u8 = 64;

fn guest(house: &House, last: u8) -> Guest<UdpSocket> {
    Guest::new(socket([0, 7, last], house.turn))
}

/// A peer that may be there or not.
fn peer(number: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 8, number], 5000))
}

#[test]
fn full_allocation_costs_little_memory() {
    const ALLOCATIONS: u8 = 48;
    let mut house = House::with(PUBLIC, None);
    guest(&house, 200).allocate();
    let before = house.figures();
    let mut guests: Vec<_> = (0..ALLOCATIONS).map(|last| guest(&house, last)).collect();
    for guest in &mut guests {
        guest.allocate();
    }
    let bare = house.figures().resident_kib - before.resident_kib;
    for guest in &mut guests {
        (0..MOST).for_each(|number| guest.bind(CHANNEL + u16::from(number), peer(number)));
        let one_more = guest.attempt(wire::METHOD_CREATE_PERMISSION, &[], &[peer(MOST)]);
        assert_eq!(code(&one_more), 508);
    }
    let full = house.figures().resident_kib - before.resident_kib;
    guests.iter_mut().for_each(Guest::delete);
    house.comes_down_to(before.descriptors);
    let after = house.figures();
    println!(
        "{ALLOCATIONS} allocations: {bare} KiB, with {MOST} permissions and channels each {full} KiB; {} KiB when \
         they have gone",
        after.resident_kib.saturating_sub(before.resident_kib)
    );
    assert!(full < 64 * u64::from(ALLOCATIONS));
    house.is_well();
}

#[test]
fn replaced_participant_loses_its_allocation() {
    let house = House::with(&["--room-grace", "1"], None);
    let mut host = Seat::take(&house, "kitchen");
    let guest = Seat::take(&house, "kitchen");
    let relayed = |seat: &Seat, last| {
        let mut client = Guest::holding(seat.credential.clone(), socket([0, 10, last], house.turn));
        let relayed = client.allocate();
        (client, relayed)
    };
    let ((mut talking, host_at), (mut lapsed, lapsed_at)) = (relayed(&host, 1), relayed(&guest, 2));
    lapsed.bind(CHANNEL, host_at);
    talking.bind(CHANNEL, lapsed_at);
    drop(guest);
    host.hear("peer-leave");
    lapsed.wire.send(&channel_data(CHANNEL, b"still here")).unwrap();
    let heard = talking.wire.receive().expect("the call runs on without its WebSocket");
    assert_eq!(heard[4..14], *b"still here");
    let next = Seat::take(&house, "kitchen");
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

fn meanwhile(house: &House, time: Duration, mut deed: impl FnMut() + Send + 'static) -> Neighbours {
    let mut pair = neighbours(house);
    for guest in [&pair.0, &pair.1] {
        guest.wire.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    }
    // What the box takes once and for all has been taken when the first second is over.
    let (stop, settled) = (Arc::new(AtomicBool::new(false)), Duration::from_secs(1));
    let guest = {
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
        let resident = house.figures().resident_kib;
        if begun.elapsed() > settled {
            before = before.or(Some(resident));
            peak = peak.max(resident);
        }
    }
    stop.store(true, Ordering::Relaxed);
    let deeds = guest.join().expect("the guest has not panicked");
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
    let mut house = House::with(PUBLIC, None);
    for (name, count, expected) in [("of 64 addresses", 64_u16, 0), ("of 5000 addresses", 5000, 508)] {
        let mut guest = guest(&house, count as u8);
        guest.allocate();
        let peers: Vec<_> = (0..5000_u16)
            .map(|number| (number % count).to_be_bytes())
            .map(|[high, low]| SocketAddr::from(([127, 9, high, low], 5000)))
            .collect();
        let mut ask = move || {
            let reply = guest.attempt(wire::METHOD_CREATE_PERMISSION, &[], &peers);
            assert_eq!(code(&reply), expected);
        };
        let before = house.worked();
        (0..50).for_each(|_| ask());
        let name = format!("5000 peers {name} in one CreatePermission");
        println!("{name}: {:?} of work each", (house.worked() - before) / 50);
        let served = meanwhile(&house, WHILE, ask);
        served.tell(&name);
        served.are_served();
    }
    house.is_well();
}

/// Packets a second.
const FLOOD: u32 = 50_000;

#[test]
fn flood_to_a_closed_peer_affects_no_other_client() {
    let mut house = House::with(PUBLIC, None);
    let (mut gone, inside) = Guest::allocated(socket([0, 7, 1], house.turn));
    let closed = UdpSocket::bind("127.0.8.8:0").unwrap();
    let outside = closed.local_addr().unwrap();
    let mut guests = [("an allocation", inside, guest(&house, 2)), ("a port", outside, guest(&house, 3))];
    for (_, peer, guest) in &mut guests {
        guest.allocate();
        guest.bind(CHANNEL, *peer);
    }
    gone.delete();
    drop(closed);
    for (name, _, guest) in guests {
        let data = channel_data(CHANNEL, &[7; 1200]);
        // A full buffer of loopback is no fault of the box.
        let send = Arc::new(move || drop(guest.wire.send(&data)));
        let (at_a_pace, all_it_can) = (pace(FLOOD, Arc::clone(&send)), move || send());
        let (dropped, worked) = (house.dropped(), house.worked());
        let paced = meanwhile(&house, WHILE, at_a_pace);
        paced.tell(&format!("{FLOOD} packets/s of 1200 bytes to {name} that has gone"));
        let dropped = house.dropped() - dropped;
        println!("{dropped} dropped by the kernel, worked {:?}", house.worked() - worked);
        if dropped < u64::from(paced.deeds) / 100 {
            paced.are_served();
        } else {
            println!("this host is too slow, or too busy, to tell");
        }
        // More than the host can take is lost, the neighbours' as well; what it costs is bounded.
        let unpaced = meanwhile(&house, WHILE, all_it_can);
        unpaced.tell(&format!(
            "the same as fast as can be, {:.0}/s",
            f64::from(unpaced.deeds) / WHILE.as_secs_f64()
        ));
    }
    house.is_well();
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
    let mut house = House::with(PUBLIC, None);
    let mut mutator = Mutator::new(5766);
    let values: Vec<Vec<u8>> = VALUES.iter().map(|value| value.to_vec()).collect();
    let mut guests: Vec<_> = (0..8).map(|last| guest(&house, last)).collect();
    for guest in &guests {
        // Not every one of them is answered.
        guest.wire.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    }
    let mut codes = std::collections::BTreeMap::new();
    let (tell, told) = std::sync::mpsc::channel();
    let served = meanwhile(&house, Duration::from_secs(10), move || {
        let at = mutator.below(guests.len());
        let guest = &mut guests[at];
        let chosen: Vec<_> = (0..mutator.below(5))
            .map(|_| (KINDS[mutator.below(KINDS.len())], mutator.next(&values, 40)))
            .collect();
        let mut attributes: Vec<_> = chosen.iter().map(|(kind, value)| (*kind, &value[..])).collect();
        let method = METHODS[mutator.below(METHODS.len())];
        if method == wire::METHOD_ALLOCATE && mutator.below(2) == 0 {
            attributes.insert(0, UDP);
        }
        let (_, bytes) = guest.prepare(method, &attributes, &[]);
        guest.wire.send(&bytes).unwrap();
        if let Some(reply) = guest.wire.receive() {
            tell.send(code(&read(&reply))).unwrap();
        }
    });
    told.iter().for_each(|code| *codes.entry(code).or_insert(0_u32) += 1);
    served.tell("signed nonsense");
    served.are_served();
    println!("answers by code, 0 for success: {codes:?}");
    assert!(codes.contains_key(&0) && codes.contains_key(&400));
    house.is_well();
}
