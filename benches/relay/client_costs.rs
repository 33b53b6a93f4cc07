//! The cost of clients apart from their packets: an Allocate, a Binding, the memory of an idle allocation, and the effect of
//! idle allocations on the packets of others.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::cases::disturbed;
use super::client::{TurnClient, request};
use super::load::{Flows, connect};
use super::results::{Outcome, Sample, Value};
use super::servers::{Scope, Server, Servers, Target, slab};
use super::transport::{ClientSocket, RecvBuffers, Transport, UdpClient};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCost {
    /// CPU time of an Allocate, challenge and success, in microseconds.
    Handshake,
    /// Memory of an idle allocation with one permission and one channel: resident bytes, and bytes in the kernel.
    Idle(Scope),
    /// Replies to Bindings per second.
    Binding,
    /// CPU time per packet with no, 1,000 and 10,000 idle allocations, in nanoseconds.
    BesideIdle,
}

const HANDSHAKES: usize = 1000;
const IDLE_ALLOCATIONS: usize = 10_000;

impl ClientCost {
    pub const ALL: [Self; 5] = [
        Self::Handshake,
        Self::Binding,
        Self::Idle(Scope::Room),
        Self::Idle(Scope::Public),
        Self::BesideIdle,
    ];

    pub fn name(self) -> String {
        match self {
            Self::Handshake => "allocate handshake".to_owned(),
            Self::Binding => "binding".to_owned(),
            Self::Idle(Scope::Room) => "memory of an idle allocation, room".to_owned(),
            Self::Idle(Scope::Public) => "memory of an idle allocation, public".to_owned(),
            Self::BesideIdle => "media beside idle allocations".to_owned(),
        }
    }
}

/// Measures a cost on all targets that speak TURN, webrtc-box first.
pub fn compare(servers: &mut Servers, cost: ClientCost, rounds: usize, short: bool) -> Outcome {
    let count = if short { IDLE_ALLOCATIONS / 10 } else { IDLE_ALLOCATIONS };
    let targets: Vec<Target> =
        servers.targets.iter().filter(|target| is_supported(target, cost)).cloned().collect();
    if cost == ClientCost::BesideIdle {
        return Outcome::Values(beside_idle(&targets[0], count, rounds));
    }
    let mut values = Vec::new();
    // Memory does not vary between rounds.
    let rounds = if matches!(cost, ClientCost::Idle(_)) { 1 } else { rounds };
    for _ in 0..rounds {
        for target in &targets {
            let name = target.name().to_owned();
            let mut add = |measure: &str, value| {
                values.push(Value { target: name.clone(), measure: measure.into(), value });
            };
            match cost {
                ClientCost::Handshake => add("µs CPU", handshake(servers.of(target, Scope::Room))),
                ClientCost::Binding => {
                    let (rate, cpu) = binding(servers.of(target, Scope::Room));
                    add("replies/s", rate);
                    add("ns CPU", cpu);
                }
                ClientCost::Idle(scope) => {
                    let (own, kernel) = idle(target, scope, count);
                    add("bytes resident", own);
                    add("bytes of slab", kernel);
                }
                ClientCost::BesideIdle => {}
            }
        }
    }
    Outcome::Values(values)
}

fn is_supported(target: &Target, cost: ClientCost) -> bool {
    let is_turn = !target.is_baseline();
    match cost {
        ClientCost::BesideIdle => target.is_webrtc_box(),
        ClientCost::Idle(Scope::Public) => is_turn,
        ClientCost::Handshake | ClientCost::Binding | ClientCost::Idle(Scope::Room) => {
            is_turn && target.supports(Scope::Room)
        }
    }
}

/// CPU time of one handshake, in microseconds.
fn handshake(server: &Server) -> f64 {
    let mut buffers = RecvBuffers::new();
    let before = server.cpu_nanos();
    let clients: Vec<TurnClient> = (0..HANDSHAKES)
        .map(|number| {
            TurnClient::open(|| connect(Transport::Udp, server), &format!("one{number}"), &mut buffers)
        })
        .collect();
    let spent = server.cpu_nanos() - before;
    clients.into_iter().for_each(|client| client.leave(&mut buffers));
    spent as f64 / HANDSHAKES as f64 / 1e3
}

/// Replies per second from a busy core, and the CPU time of each in nanoseconds.
fn binding(server: &Server) -> (f64, f64) {
    let bytes = request(stun::message::METHOD_BINDING, [7; 12], &[]).raw;
    let mut socket = ClientSocket::Udp(UdpClient::open("127.0.0.1", Some(server.turn)));
    let (mut buffers, mut sample) = (RecvBuffers::new(), Sample { seconds: 0.5, ..Sample::default() });
    let (begun, before, mut received_at) = (Instant::now(), server.cpu_nanos(), Instant::now());
    while begun.elapsed().as_secs_f64() < sample.seconds {
        if sample.sent - sample.received < 256 || received_at.elapsed() > Duration::from_millis(20) {
            socket.send(&bytes, bytes.len());
            sample.sent += 1;
        }
        let count = sample.received;
        socket.drain(&mut buffers, |_| sample.received += 1);
        if sample.received > count {
            received_at = Instant::now();
        }
    }
    sample.cpu_nanos = server.cpu_nanos() - before;
    (sample.rate(), sample.cost())
}

/// Bytes per allocation, of the server and of the kernel.
fn idle(target: &Target, scope: Scope, count: usize) -> (f64, f64) {
    let server = Server::start(target, scope, &[]);
    // A few allocations first, so that lazy initialization is not measured.
    let first = allocate(&server, scope, 16);
    let (own, kernel) = (server.resident(), slab());
    let clients = allocate(&server, scope, count);
    let own_after = server.resident();
    // The sockets of the load generator are in the slab too.
    drop((first, clients));
    let per_allocation = |after: u64, before: u64| after.saturating_sub(before) as f64 / count as f64;
    (per_allocation(own_after, own), per_allocation(slab(), kernel))
}

/// Idle allocations with a permission and a channel. Their sockets stay open, so that no other client gets their ports.
fn allocate(server: &Server, scope: Scope, count: usize) -> Vec<TurnClient> {
    let (mut buffers, mut all) = (RecvBuffers::new(), Vec::with_capacity(count));
    for pair in 0..count / 2 {
        let room = format!("idle{pair}");
        let mut clients =
            [0, 1].map(|_| TurnClient::open(|| connect(Transport::Udp, server), &room, &mut buffers));
        let relayed = clients.each_ref().map(|client| client.relayed);
        for (index, client) in clients.iter_mut().enumerate() {
            let public_peer = unused_peer(client.socket.local().port());
            let peer = if scope == Scope::Room { relayed[1 - index] } else { public_peer };
            client.bind(peer, &mut buffers);
        }
        all.extend(clients);
    }
    all
}

/// A peer address without a socket, another one for each client: a relay that multiplexes peers distinguishes clients by it.
fn unused_peer(client_port: u16) -> SocketAddr {
    let [high, low] = client_port.to_be_bytes();
    ([127, 2, high, low], 40_000).into()
}

/// One server without idle allocations and two with many. All three are measured in each round.
fn beside_idle(target: &Target, most: usize, rounds: usize) -> Vec<Value> {
    let mut servers = [0, most / 10, most].map(|count| {
        let server = Server::start(target, Scope::Room, &[]);
        let mut flows = Flows::open(disturbed(), &server, target);
        let idle_clients = allocate(&server, Scope::Room, count);
        flows.measure(&server, 0.3);
        (count, server, flows, idle_clients)
    });
    let mut values = Vec::new();
    for _ in 0..rounds {
        let costs =
            servers.each_mut().map(|(count, server, flows, _)| (*count, flows.measure(server, 0.6).cost()));
        let mut add =
            |measure: String, value| values.push(Value { target: target.name().into(), measure, value });
        costs.iter().for_each(|(count, cost)| add(format!("ns per packet, {count} idle"), *cost));
        add(format!("{most} idle / 0 idle"), costs[2].1 / costs[0].1);
    }
    values
}
