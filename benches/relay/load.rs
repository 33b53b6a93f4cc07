//! Load: flows of packets through a server, at a fixed rate or as fast as it takes them, counted and timed where they arrive.

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, EventData, EventFlags};

use super::cases::{Arrival, Load, Pace, Path, Size};
use super::client::{TurnClient, header, payload};
use super::results::{Outcome, Sample};
use super::servers::{Server, Servers, Target};
use super::transport::{ClientSocket, RecvBuffers, Transport, UdpClient};

/// The flows of one case through one server.
pub struct Flows {
    load: Load,
    network: Network,
    /// The last number that was sent and the last that was received, by flow.
    numbers: Vec<(u32, u32)>,
    poll: OwnedFd,
    epoch: Instant,
    buffers: RecvBuffers,
    rng: u64,
}

/// Clients and peers with their flows.
#[derive(Default)]
struct Network {
    endpoints: Vec<Endpoint>,
    /// The index of the sending endpoint, and the bytes before each payload.
    flows: Vec<(usize, Vec<u8>)>,
}

enum Endpoint {
    Turn(TurnClient),
    Plain(ClientSocket),
}

/// Packets in flight at saturation: enough to keep a server busy, few enough for its buffers.
const IN_FLIGHT: u64 = 1024;
/// After this time without a packet, those in flight count as lost.
const LOSS_TIMEOUT: Duration = Duration::from_millis(100);
/// How long packets may arrive after the last one was sent.
const DRAIN: Duration = Duration::from_millis(150);
/// The first byte of a payload: neither STUN nor ChannelData nor a request to the baseline.
const MARK: u8 = 0x80;
/// Bytes of a payload for mark, flow, number and send time.
const STAMP: usize = 16;
const AUDIO: usize = 160;
const VIDEO: usize = 1200;

/// Measures a case on all targets that support it. They alternate within each round.
pub fn compare(servers: &mut Servers, load: &Load, rounds: usize, seconds: f64) -> Outcome {
    let scope = load.path.scope();
    let targets: Vec<Target> =
        servers.targets.iter().filter(|target| is_supported(target, load)).cloned().collect();
    let mut flows: Vec<Flows> =
        targets.iter().map(|target| Flows::open(*load, servers.of(target, scope), target)).collect();
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); targets.len()];
    for _ in 0..rounds {
        for (index, target) in targets.iter().enumerate() {
            let sample = flows[index].measure(servers.of(target, scope), seconds);
            assert!(sample.received > 0, "{} delivers nothing", target.name());
            let ordered = sample.disordered == 0 || !target.is_webrtc_box();
            assert!(ordered, "{} packets out of order or duplicated", sample.disordered);
            samples[index].push(sample);
        }
    }
    flows.into_iter().for_each(Flows::close);
    let names = targets.iter().map(|target| target.name().to_owned());
    Outcome::Packets(names.zip(samples).collect())
}

/// The baseline has no streams and no indications.
fn is_supported(target: &Target, load: &Load) -> bool {
    let by_protocol = load.transport != Transport::Udp || !load.channel;
    target.supports(load.path.scope()) && !(target.is_baseline() && by_protocol)
}

impl Flows {
    /// Opens the endpoints and connects them.
    pub fn open(load: Load, server: &Server, target: &Target) -> Self {
        let mut buffers = RecvBuffers::new();
        let mut network = Network::default();
        if target.is_baseline() {
            network.open_baseline(&load, server, &mut buffers);
        } else if load.path == Path::Room {
            network.open_room(&load, server, &mut buffers);
        } else {
            network.open_public(&load, server, &mut buffers);
        }
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        for (index, endpoint) in network.endpoints.iter().enumerate() {
            let data = EventData::new_u64(index as u64);
            epoll::add(&poll, endpoint.socket().as_fd(), data, EventFlags::IN).unwrap();
        }
        let (numbers, epoch) = (vec![(0, 0); network.flows.len()], Instant::now());
        let mut flows = Self { load, network, numbers, poll, epoch, buffers, rng: 1 };
        // Warm-up, so that lazy initialization is not measured.
        flows.run(Pace::Rate(1000.0), 0.1);
        flows
    }

    /// Sends for `seconds` and returns the sample.
    pub fn measure(&mut self, server: &Server, seconds: f64) -> Sample {
        let pace = match self.load.pace {
            Pace::OfSaturation(part) => {
                Pace::Rate(part * self.run(Pace::Saturating, seconds.min(0.5)).rate())
            }
            pace @ (Pace::Rate(_) | Pace::Saturating) => pace,
        };
        let before = server.cpu_nanos();
        let mut sample = self.run(pace, seconds);
        sample.cpu_nanos = server.cpu_nanos() - before;
        sample.delays.sort_unstable();
        sample
    }

    /// Ends all allocations.
    pub fn close(mut self) {
        for endpoint in self.network.endpoints {
            if let Endpoint::Turn(client) = endpoint {
                client.leave(&mut self.buffers);
            }
        }
    }

    fn run(&mut self, pace: Pace, seconds: f64) -> Sample {
        let (begun, mut sample) = (Instant::now(), Sample { seconds, ..Sample::default() });
        let (length, mut due, mut turn, mut received_at) = (Duration::from_secs_f64(seconds), 0.0, 0, begun);
        let mut lost = 0;
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
                    if sample.sent - sample.received - lost < IN_FLIGHT {
                        sample.sent += self.send(turn);
                        turn += 1;
                    } else if received_at.elapsed() > LOSS_TIMEOUT {
                        lost = sample.sent - sample.received;
                    }
                }
            }
            if self.receive(&mut sample) {
                received_at = Instant::now();
            }
        }
        let in_time = sample.received;
        while sample.received < sample.sent && begun.elapsed() < length + DRAIN {
            self.receive(&mut sample);
        }
        if pace == Pace::Saturating {
            // Counts packets that arrived in time as sent; the others were in flight.
            sample.sent -= sample.received - in_time;
        }
        sample
    }

    /// Sends the next frame of flow number `turn`; returns the number of packets.
    fn send(&mut self, turn: usize) -> u64 {
        let flow = turn % self.network.flows.len();
        let (from, header) = &self.network.flows[flow];
        self.rng = self.rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let count = if self.load.arrival == Arrival::Single { 1 } else { 5 + (self.rng >> 33) as usize % 6 };
        let (size, last) = match self.load.size {
            Size::Bytes(bytes) => (bytes, bytes),
            // One frame in eight is audio.
            Size::Call if turn / self.network.flows.len() % 8 == 7 => (AUDIO, AUDIO),
            Size::Call => (VIDEO, AUDIO + (self.rng >> 40) as usize % (VIDEO - AUDIO) / 4 * 4),
        };
        let is_audio = self.load.size == Size::Call && size == AUDIO;
        let count = if is_audio { 1 } else { count };
        let stamp = self.epoch.elapsed().as_nanos() as u64;
        let mut bytes = Vec::with_capacity(count * (header.len() + size));
        for index in 0..count {
            let size = if index + 1 == count { last } else { size };
            let begin = bytes.len();
            bytes.extend_from_slice(header);
            bytes.resize(bytes.len() + size, 0);
            let body = begin + header.len();
            self.numbers[flow].0 += 1;
            bytes[body] = MARK;
            bytes[body + 2..body + 4].copy_from_slice(&(flow as u16).to_be_bytes());
            bytes[body + 4..body + 8].copy_from_slice(&self.numbers[flow].0.to_be_bytes());
            bytes[body + 8..body + STAMP].copy_from_slice(&stamp.to_be_bytes());
            if size != payload_size(header, size) {
                set_payload_size(&mut bytes[begin..body], size);
            }
        }
        let (segment, socket) = (header.len() + size, self.network.endpoints[*from].socket_mut());
        let accepted = if self.load.arrival == Arrival::Joined {
            if socket.send(&bytes, segment) { count } else { 0 }
        } else {
            bytes.chunks(segment).filter(|packet| socket.send(packet, packet.len())).count()
        };
        // The pace advances even if nothing was accepted.
        accepted.max(1) as u64
    }

    fn receive(&mut self, sample: &mut Sample) -> bool {
        let mut events = Vec::with_capacity(64);
        let no_wait = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        epoll::wait(&self.poll, rustix::buffer::spare_capacity(&mut events), Some(&no_wait)).unwrap();
        let Self { network, buffers, epoch, numbers, .. } = self;
        for event in &events {
            let now = epoch.elapsed().as_nanos() as u64;
            network.endpoints[event.data.u64() as usize].socket_mut().drain(buffers, |packet| {
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

/// The payload size in a header; `otherwise` without a header.
fn payload_size(header: &[u8], otherwise: usize) -> usize {
    match header.len() {
        0 => otherwise,
        end => usize::from(u16::from_be_bytes([header[end - 2], header[end - 1]])),
    }
}

/// Writes another payload size into a header.
fn set_payload_size(header: &mut [u8], size: usize) {
    let end = header.len();
    header[end - 2..].copy_from_slice(&(size as u16).to_be_bytes());
    if end > 4 {
        header[2..4].copy_from_slice(&((end - 20 + size) as u16).to_be_bytes());
    }
}

impl Endpoint {
    fn socket_mut(&mut self) -> &mut ClientSocket {
        match self {
            Self::Turn(client) => &mut client.socket,
            Self::Plain(socket) => socket,
        }
    }

    fn socket(&self) -> &ClientSocket {
        match self {
            Self::Turn(client) => &client.socket,
            Self::Plain(socket) => socket,
        }
    }
}

fn usual_size(load: &Load) -> usize {
    match load.size {
        Size::Bytes(bytes) => bytes,
        Size::Call => VIDEO,
    }
}

/// Opens a socket to the port of the server for `transport`.
pub fn connect(transport: Transport, server: &Server) -> ClientSocket {
    let to = if transport == Transport::Tls { server.tls } else { server.turn };
    ClientSocket::open(transport, "127.0.0.1", to)
}

impl Network {
    /// Pairs of clients, each with an allocation. Both directions of a pair are flows, except with a single client.
    fn open_room(&mut self, load: &Load, server: &Server, buffers: &mut RecvBuffers) {
        for pair in 0..load.clients.div_ceil(2) {
            let room = format!("room{pair}");
            let mut clients =
                [0, 1].map(|_| TurnClient::open(|| connect(load.transport, server), &room, buffers));
            let relayed = clients.each_ref().map(|client| client.relayed);
            for (index, client) in clients.iter_mut().enumerate() {
                let peer = relayed[1 - index];
                client.permit_or_bind(load.channel, peer, buffers);
                if self.flows.len() < load.clients {
                    let header = header(load.channel, peer, usual_size(load));
                    self.flows.push((self.endpoints.len() + index, header));
                }
            }
            self.endpoints.extend(clients.map(Endpoint::Turn));
        }
    }

    /// Clients with an allocation, each with its own peer.
    fn open_public(&mut self, load: &Load, server: &Server, buffers: &mut RecvBuffers) {
        for number in 0..load.clients {
            let room = format!("client{number}");
            let mut client = TurnClient::open(|| connect(load.transport, server), &room, buffers);
            let mut peer = UdpClient::open("127.0.0.1", None);
            peer.connect(client.relayed);
            let peer = ClientSocket::Udp(peer);
            client.permit_or_bind(load.channel, peer.local(), buffers);
            let out = load.path == Path::ToPeer;
            let header = if out { header(load.channel, peer.local(), usual_size(load)) } else { Vec::new() };
            self.flows.push((self.endpoints.len() + usize::from(!out), header));
            self.endpoints.extend([Endpoint::Turn(client), Endpoint::Plain(peer)]);
        }
    }

    /// The same endpoints through the baseline, which gets requests to join sockets, and plain payloads.
    fn open_baseline(&mut self, load: &Load, server: &Server, buffers: &mut RecvBuffers) {
        for client in 0..load.clients {
            let mut socket = connect(Transport::Udp, server);
            if load.path == Path::Room {
                let [high, low] = ((client / 2) as u16).to_be_bytes();
                let join = [0xff, 0, high, low];
                socket.send(&join, join.len());
                self.flows.push((self.endpoints.len(), Vec::new()));
                self.endpoints.push(Endpoint::Plain(socket));
                if load.clients == 1 {
                    let mut other = connect(Transport::Udp, server);
                    other.send(&join, join.len());
                    self.endpoints.push(Endpoint::Plain(other));
                }
                continue;
            }
            socket.send(&[0xff, 1], 2);
            let reply = socket.receive(buffers, |packet| packet.starts_with(&[0xff, 0xff])).expect("a port");
            let mut relayed = server.turn;
            relayed.set_port(u16::from_be_bytes([reply[2], reply[3]]));
            let mut peer = UdpClient::open("127.0.0.1", None);
            peer.connect(relayed);
            let mut peer = ClientSocket::Udp(peer);
            peer.send(&[0xff, 2], 2);
            let out = load.path == Path::ToPeer;
            self.flows.push((self.endpoints.len() + usize::from(!out), Vec::new()));
            self.endpoints.extend([Endpoint::Plain(socket), Endpoint::Plain(peer)]);
        }
    }
}
