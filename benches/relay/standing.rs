//! What it costs to have clients: to let one in, to keep ten thousand, to answer a Binding, and
//! whether those who are silent slow the others down.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::cases::disturbed;
use super::client::{Guest, request};
use super::figures::{Sample, cpu_nanos, resident, slab};
use super::house::{Contestant, House, Houses, Scope};
use super::load::{Flows, dial};
use super::table::{Outcome, Value};
use super::wire::{Basket, Datagrams, Way, Wire};

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Microseconds of the server for an Allocate: challenge and success.
    Handshake,
    /// Resident bytes, and the kernel's, of an idle allocation with one permission and one channel.
    Idle(Scope),
    /// Bindings answered a second.
    Binding,
    /// Nanoseconds for a packet with none, 1,000 and 10,000 idle allocations.
    Crowd,
}

const HANDSHAKES: usize = 1000;
const MANY: usize = 10_000;

impl Standing {
    pub const ALL: [Self; 5] =
        [Self::Handshake, Self::Binding, Self::Idle(Scope::Room), Self::Idle(Scope::Public), Self::Crowd];

    pub fn name(self) -> String {
        match self {
            Self::Handshake => "allocate handshake".to_owned(),
            Self::Binding => "binding".to_owned(),
            Self::Idle(Scope::Room) => "memory of an idle allocation, room".to_owned(),
            Self::Idle(Scope::Public) => "memory of an idle allocation, public".to_owned(),
            Self::Crowd => "media beside idle allocations".to_owned(),
        }
    }
}

/// Measures it on all servers that speak TURN, the box's own first.
pub fn compare(houses: &mut Houses, standing: Standing, rounds: usize, short: bool) -> Outcome {
    let many = if short { MANY / 10 } else { MANY };
    let contestants: Vec<Contestant> =
        houses.contestants.iter().filter(|one| takes_part(one, standing)).cloned().collect();
    if standing == Standing::Crowd {
        return Outcome::Values(crowd(&contestants[0], many, rounds));
    }
    let mut values = Vec::new();
    // Memory does not vary.
    let rounds = if matches!(standing, Standing::Idle(_)) { 1 } else { rounds };
    for _ in 0..rounds {
        for one in &contestants {
            let name = one.name().to_owned();
            let mut add =
                |what: &str, value| values.push(Value { who: name.clone(), what: what.into(), value });
            match standing {
                Standing::Handshake => add("µs CPU", handshake(houses.of(one, Scope::Room))),
                Standing::Binding => {
                    let (rate, cost) = binding(houses.of(one, Scope::Room));
                    add("answers/s", rate);
                    add("ns CPU", cost);
                }
                Standing::Idle(scope) => {
                    let (own, kernel) = idle(one, scope, many);
                    add("bytes resident", own);
                    add("bytes of slab", kernel);
                }
                Standing::Crowd => {}
            }
        }
    }
    Outcome::Values(values)
}

fn takes_part(one: &Contestant, standing: Standing) -> bool {
    let speaks = !one.is_floor();
    match standing {
        Standing::Crowd => matches!(one, Contestant::Box(_)),
        Standing::Idle(Scope::Public) => speaks,
        Standing::Handshake | Standing::Idle(Scope::Room) | Standing::Binding => {
            speaks && one.has(Scope::Room)
        }
    }
}

/// Microseconds of CPU for each.
fn handshake(house: &House) -> f64 {
    let mut basket = Basket::new();
    let before = cpu_nanos(house.pid);
    let guests: Vec<Guest> = (0..HANDSHAKES)
        .map(|at| Guest::open(|| dial(Way::Udp, house), &format!("one{at}"), &mut basket))
        .collect();
    let spent = cpu_nanos(house.pid) - before;
    guests.into_iter().for_each(|guest| guest.leave(&mut basket));
    spent as f64 / HANDSHAKES as f64 / 1e3
}

/// Answers a second from a busy core, and nanoseconds of CPU for each.
fn binding(house: &House) -> (f64, f64) {
    let bytes = request(stun::message::METHOD_BINDING, [7; 12], &[]).raw;
    let mut wire = Wire::Udp(Datagrams::open("127.0.0.1", Some(house.turn)));
    let (mut basket, mut sample) = (Basket::new(), Sample { seconds: 0.5, ..Sample::default() });
    let (begun, before, mut heard) = (Instant::now(), cpu_nanos(house.pid), Instant::now());
    while begun.elapsed().as_secs_f64() < sample.seconds {
        if sample.sent - sample.received < 256 || heard.elapsed() > Duration::from_millis(20) {
            wire.send(&bytes, bytes.len());
            sample.sent += 1;
        }
        let count = sample.received;
        wire.drain(&mut basket, |_| sample.received += 1);
        if sample.received > count {
            heard = Instant::now();
        }
    }
    sample.cpu_nanos = cpu_nanos(house.pid) - before;
    (sample.rate(), sample.cost())
}

/// Bytes for each allocation: the server's own, and the kernel's.
fn idle(one: &Contestant, scope: Scope, many: usize) -> (f64, f64) {
    let house = House::open(one, scope, &[]);
    // What is lazily made is made before.
    let first = fill(&house, scope, 16);
    let (own, kernel) = (resident(house.pid), slab());
    let guests = fill(&house, scope, many);
    let own_after = resident(house.pid);
    // Their own sockets are in the kernel's slab as well.
    drop((first, guests));
    let each = |after: u64, before: u64| after.saturating_sub(before) as f64 / many as f64;
    (each(own_after, own), each(slab(), kernel))
}

/// Allocations with a permission and a channel, whose clients say no more. Their ports must not be
/// anybody else's while the allocations live.
fn fill(house: &House, scope: Scope, count: usize) -> Vec<Guest> {
    let (mut basket, mut all) = (Basket::new(), Vec::with_capacity(count));
    for pair in 0..count / 2 {
        let room = format!("idle{pair}");
        let mut guests = [0, 1].map(|_| Guest::open(|| dial(Way::Udp, house), &room, &mut basket));
        let relayed = guests.each_ref().map(|guest| guest.relayed);
        for (at, guest) in guests.iter_mut().enumerate() {
            let peer = if scope == Scope::Room { relayed[1 - at] } else { absent(guest.wire.local().port()) };
            guest.bind(peer, &mut basket);
        }
        all.extend(guests);
    }
    all
}

/// Somebody for each client, and nobody there: a relay that multiplexes its peers tells clients apart
/// by them.
fn absent(client: u16) -> SocketAddr {
    let [high, low] = client.to_be_bytes();
    ([127, 2, high, low], 40_000).into()
}

/// A box with nobody else in it, and two with many silent clients; all three are asked in each round.
fn crowd(one: &Contestant, many: usize, rounds: usize) -> Vec<Value> {
    let mut crowds = [0, many / 10, many].map(|count| {
        let house = House::open(one, Scope::Room, &[]);
        let mut flows = Flows::open(disturbed(), &house, one);
        let silent = fill(&house, Scope::Room, count);
        flows.measure(house.pid, 0.3);
        (count, house, flows, silent)
    });
    let mut values = Vec::new();
    for _ in 0..rounds {
        let costs =
            crowds.each_mut().map(|(count, house, flows, _)| (*count, flows.measure(house.pid, 0.6).cost()));
        let mut add = |what: String, value| values.push(Value { who: one.name().into(), what, value });
        costs.iter().for_each(|(count, cost)| add(format!("ns a packet beside {count}"), *cost));
        add(format!("beside {many}, of that beside none"), costs[2].1 / costs[0].1);
    }
    values
}
