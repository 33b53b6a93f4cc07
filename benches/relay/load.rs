//! The load: flows through a server, paced or as fast as it takes them, counted and timed at their end.

use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, EventData, EventFlags};

use super::cases::{Arrival, Load, Pace, Path, Size};
use super::client::{Guest, head, payload};
use super::figures::{Sample, cpu_nanos};
use super::house::{Contestant, House, Houses};
use super::table::Outcome;
use super::wire::{Basket, Datagrams, Way, Wire};

/// Flows of one case through one server.
pub struct Flows {
    load: Load,
    ends: Vec<End>,
    /// From which end, with what in front of the payload.
    flows: Vec<(usize, Vec<u8>)>,
    /// Of each flow: packets made, and the last that arrived.
    numbers: Vec<(u32, u32)>,
    poll: std::os::fd::OwnedFd,
    epoch: Instant,
    basket: Basket,
    chance: u64,
}

enum End {
    Guest(Guest),
    Plain(Wire),
}

/// Packets under way at saturation: enough to keep a server busy, few enough for its buffers.
const UNDER_WAY: u64 = 1024;
/// A saturating load whose packets were lost begins anew after this.
const GIVEN_UP: Duration = Duration::from_millis(100);
/// After the last packet was sent.
const DRAIN: Duration = Duration::from_millis(150);
/// First byte of a payload: neither STUN, nor ChannelData, nor a floor's mark.
const MARK: u8 = 0x80;
/// A payload's mark, flow, number and the time of its sending.
const STAMP: usize = 16;
const SOUND: usize = 160;
const PICTURE: usize = 1200;

/// Measures a case on all that have it, in turn, round after round.
pub fn compare(houses: &mut Houses, load: &Load, rounds: usize, seconds: f64) -> Outcome {
    let contestants: Vec<Contestant> =
        houses.contestants.iter().filter(|one| takes_part(one, load)).cloned().collect();
    let mut flows: Vec<Flows> =
        contestants.iter().map(|one| Flows::open(*load, houses.of(one, load.path.scope()), one)).collect();
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); contestants.len()];
    for _ in 0..rounds {
        for (at, contestant) in contestants.iter().enumerate() {
            let pid = houses.of(contestant, load.path.scope()).pid;
            let sample = flows[at].measure(pid, seconds);
            assert!(sample.received > 0, "{} delivers nothing", contestant.name());
            let ordered = sample.disordered == 0 || !matches!(contestant, Contestant::Box(_));
            assert!(ordered, "{} packets out of order, or twice", sample.disordered);
            samples[at].push(sample);
        }
    }
    flows.into_iter().for_each(Flows::close);
    let names = contestants.iter().map(|one| one.name().to_owned());
    Outcome::Packets(names.zip(samples).collect())
}

fn takes_part(contestant: &Contestant, load: &Load) -> bool {
    let floor = contestant.is_floor() && (load.way != Way::Udp || !load.channel);
    contestant.has(load.path.scope()) && !floor
}

impl Flows {
    /// Makes the ends and what they need to reach each other.
    pub fn open(load: Load, house: &House, contestant: &Contestant) -> Self {
        let mut basket = Basket::new();
        let (mut ends, mut flows) = (Vec::new(), Vec::new());
        if contestant.is_floor() {
            joined(&load, house, &mut ends, &mut flows, &mut basket);
        } else if load.path == Path::Room {
            roomed(&load, house, &mut ends, &mut flows, &mut basket);
        } else {
            published(&load, house, &mut ends, &mut flows, &mut basket);
        }
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        for (at, end) in ends.iter().enumerate() {
            epoll::add(&poll, end.wire_ref().as_fd(), EventData::new_u64(at as u64), EventFlags::IN).unwrap();
        }
        let (numbers, epoch) = (vec![(0, 0); flows.len()], Instant::now());
        let mut flows = Self { load, ends, flows, numbers, poll, epoch, basket, chance: 1 };
        // Whatever is lazily made is made now.
        flows.run(Pace::Rate(1000.0), 0.1);
        flows
    }

    /// Sends for `seconds` and sums up.
    pub fn measure(&mut self, pid: u32, seconds: f64) -> Sample {
        let pace = match self.load.pace {
            Pace::OfSaturation(part) => {
                Pace::Rate(part * self.run(Pace::Saturating, seconds.min(0.5)).rate())
            }
            pace @ (Pace::Rate(_) | Pace::Saturating) => pace,
        };
        let before = cpu_nanos(pid);
        let mut sample = self.run(pace, seconds);
        sample.cpu_nanos = cpu_nanos(pid) - before;
        sample.delays.sort_unstable();
        sample
    }

    pub fn close(mut self) {
        for end in self.ends {
            if let End::Guest(guest) = end {
                guest.leave(&mut self.basket);
            }
        }
    }

    fn run(&mut self, pace: Pace, seconds: f64) -> Sample {
        let (begun, mut sample) = (Instant::now(), Sample { seconds, ..Sample::default() });
        let (length, mut due, mut turn, mut heard) = (Duration::from_secs_f64(seconds), 0.0, 0, begun);
        let mut written_off = 0;
        while begun.elapsed() < length {
            match pace {
                Pace::Rate(rate) => {
                    let behind = begun.elapsed().as_secs_f64() - due;
                    if behind >= 0.0 {
                        let sent = self.send(turn);
                        sample.sent += sent;
                        (turn, due) = (turn + 1, due + sent as f64 / rate);
                    }
                }
                Pace::Saturating | Pace::OfSaturation(_) => {
                    if sample.sent - sample.received - written_off < UNDER_WAY {
                        sample.sent += self.send(turn);
                        turn += 1;
                    } else if heard.elapsed() > GIVEN_UP {
                        written_off = sample.sent - sample.received;
                    }
                }
            }
            if self.receive(&mut sample) {
                heard = Instant::now();
            }
        }
        let within = sample.received;
        while sample.received < sample.sent && begun.elapsed() < length + DRAIN {
            self.receive(&mut sample);
        }
        if pace == Pace::Saturating {
            // What came in time; the rest was under way.
            sample.sent -= sample.received - within;
        }
        sample
    }

    /// Sends the next frame of the flow whose turn it is; how many packets that were.
    fn send(&mut self, turn: usize) -> u64 {
        let flow = turn % self.flows.len();
        let (from, head) = &self.flows[flow];
        self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let count =
            if self.load.arrival == Arrival::Single { 1 } else { 5 + (self.chance >> 33) as usize % 6 };
        let (size, last) = match self.load.size {
            Size::Bytes(bytes) => (bytes, bytes),
            // A frame in eight is sound.
            Size::Call if turn / self.flows.len() % 8 == 7 => (SOUND, SOUND),
            Size::Call => (PICTURE, SOUND + (self.chance >> 40) as usize % (PICTURE - SOUND) / 4 * 4),
        };
        let sound = self.load.size == Size::Call && size == SOUND;
        let count = if sound { 1 } else { count };
        let stamp = self.epoch.elapsed().as_nanos() as u64;
        let mut bytes = Vec::with_capacity(count * (head.len() + size));
        for at in 0..count {
            let size = if at + 1 == count { last } else { size };
            let begin = bytes.len();
            bytes.extend_from_slice(head);
            bytes.resize(bytes.len() + size, 0);
            let body = begin + head.len();
            self.numbers[flow].0 += 1;
            bytes[body] = MARK;
            bytes[body + 2..body + 4].copy_from_slice(&(flow as u16).to_be_bytes());
            bytes[body + 4..body + 8].copy_from_slice(&self.numbers[flow].0.to_be_bytes());
            bytes[body + 8..body + STAMP].copy_from_slice(&stamp.to_be_bytes());
            if size != head_size(head, size) {
                mend(&mut bytes[begin..body], size);
            }
        }
        let (segment, wire) = (head.len() + size, self.ends[*from].wire());
        let taken = if self.load.arrival == Arrival::Trains {
            if wire.send(&bytes, segment) { count } else { 0 }
        } else {
            bytes.chunks(segment).filter(|packet| wire.send(packet, packet.len())).count()
        };
        if taken == 0 {
            // Nothing was taken: the pace goes on all the same.
            return 1;
        }
        taken as u64
    }

    fn receive(&mut self, sample: &mut Sample) -> bool {
        let mut events = Vec::with_capacity(64);
        let none = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        epoll::wait(&self.poll, rustix::buffer::spare_capacity(&mut events), Some(&none)).unwrap();
        let Self { ends, basket, epoch, numbers, .. } = self;
        for event in &events {
            let now = epoch.elapsed().as_nanos() as u64;
            ends[event.data.u64() as usize].wire().drain(basket, |packet| {
                let body = payload(packet);
                if body.first() == Some(&MARK) && body.len() >= STAMP {
                    let sent = u64::from_be_bytes(body[8..STAMP].try_into().unwrap());
                    let delay = now.saturating_sub(sent);
                    sample.received += 1;
                    let flow = usize::from(u16::from_be_bytes([body[2], body[3]]));
                    let number = u32::from_be_bytes([body[4], body[5], body[6], body[7]]);
                    sample.disordered += u64::from(number <= numbers[flow].1);
                    numbers[flow].1 = number;
                    sample.delays.push(delay.min(u64::from(u32::MAX)) as u32);
                }
            });
        }
        !events.is_empty()
    }
}

/// The payload's size that a head was made for.
fn head_size(head: &[u8], otherwise: usize) -> usize {
    match head.len() {
        0 => otherwise,
        at => usize::from(u16::from_be_bytes([head[at - 2], head[at - 1]])),
    }
}

/// Writes another payload size into a head.
fn mend(head: &mut [u8], size: usize) {
    let at = head.len();
    head[at - 2..].copy_from_slice(&(size as u16).to_be_bytes());
    if at > 4 {
        head[2..4].copy_from_slice(&((at - 20 + size) as u16).to_be_bytes());
    }
}

impl End {
    fn wire(&mut self) -> &mut Wire {
        match self {
            Self::Guest(guest) => &mut guest.wire,
            Self::Plain(wire) => wire,
        }
    }

    fn wire_ref(&self) -> &Wire {
        match self {
            Self::Guest(guest) => &guest.wire,
            Self::Plain(wire) => wire,
        }
    }
}

fn usual_size(load: &Load) -> usize {
    match load.size {
        Size::Bytes(bytes) => bytes,
        Size::Call => PICTURE,
    }
}

pub fn dial(way: Way, house: &House) -> Wire {
    Wire::open(way, "127.0.0.1", if way == Way::Tls { house.tls } else { house.turn })
}

/// Pairs of clients, each with an allocation; both directions are flows, but for a single client.
fn roomed(
    load: &Load,
    house: &House,
    ends: &mut Vec<End>,
    flows: &mut Vec<(usize, Vec<u8>)>,
    basket: &mut Basket,
) {
    for pair in 0..load.clients.div_ceil(2) {
        let room = format!("room{pair}");
        let mut guests = [0, 1].map(|_| Guest::open(|| dial(load.way, house), &room, basket));
        let relayed = guests.each_ref().map(|guest| guest.relayed);
        for (at, guest) in guests.iter_mut().enumerate() {
            let peer = relayed[1 - at];
            if load.channel {
                guest.bind(peer, basket)
            } else {
                guest.permit(peer, basket)
            }
            if flows.len() < load.clients {
                flows.push((ends.len() + at, head(load.channel, peer, usual_size(load))));
            }
        }
        ends.extend(guests.map(End::Guest));
    }
}

/// Clients with an allocation, each with a peer of its own.
fn published(
    load: &Load,
    house: &House,
    ends: &mut Vec<End>,
    flows: &mut Vec<(usize, Vec<u8>)>,
    basket: &mut Basket,
) {
    for client in 0..load.clients {
        let mut guest = Guest::open(|| dial(load.way, house), &format!("client{client}"), basket);
        let mut peer = Datagrams::open("127.0.0.1", None);
        peer.aim(guest.relayed);
        let peer = Wire::Udp(peer);
        let at = peer.local();
        if load.channel {
            guest.bind(at, basket)
        } else {
            guest.permit(at, basket)
        }
        let out = load.path == Path::ToPeer;
        let head = if out { head(load.channel, at, usual_size(load)) } else { Vec::new() };
        flows.push((ends.len() + usize::from(!out), head));
        ends.extend([End::Guest(guest), End::Plain(peer)]);
    }
}

/// The same through the floor, which is told whom to join and carries the bare payload.
fn joined(
    load: &Load,
    house: &House,
    ends: &mut Vec<End>,
    flows: &mut Vec<(usize, Vec<u8>)>,
    basket: &mut Basket,
) {
    for client in 0..load.clients {
        let mut wire = dial(Way::Udp, house);
        if load.path == Path::Room {
            let [high, low] = ((client / 2) as u16).to_be_bytes();
            let room = [0xff, 0, high, low];
            wire.send(&room, room.len());
            flows.push((ends.len(), Vec::new()));
            ends.push(End::Plain(wire));
            if load.clients == 1 {
                let mut other = dial(Way::Udp, house);
                other.send(&room, room.len());
                ends.push(End::Plain(other));
            }
            continue;
        }
        wire.send(&[0xff, 1], 2);
        let told = wire.hear(basket, |packet| packet.starts_with(&[0xff, 0xff])).expect("a port");
        let mut own = house.turn;
        own.set_port(u16::from_be_bytes([told[2], told[3]]));
        let mut peer = Datagrams::open("127.0.0.1", None);
        peer.aim(own);
        let mut peer = Wire::Udp(peer);
        peer.send(&[0xff, 2], 2);
        let out = load.path == Path::ToPeer;
        flows.push((ends.len() + usize::from(!out), Vec::new()));
        ends.extend([End::Plain(wire), End::Plain(peer)]);
    }
}
