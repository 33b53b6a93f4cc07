//! What is measured: the cases with a goal, every combination, and a few cases for a smoke test.

use super::client_costs::ClientCost;
use super::scenarios::Scenario;
use super::servers::Scope;
use super::transport::Transport;

pub struct Case {
    pub name: String,
    pub subject: Subject,
}

/// What a case measures.
pub enum Subject {
    /// Relayed packets.
    Packets(Load),
    /// The cost of clients apart from their packets.
    ClientCost(ClientCost),
    /// Relayed packets under a disturbance.
    Scenario(Scenario),
}

/// The packets to relay.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub path: Path,
    /// Whether clients use channels; otherwise Send and Data indications.
    pub channel: bool,
    pub transport: Transport,
    pub size: Size,
    pub pace: Pace,
    /// Concurrent flows, each with its own client.
    pub clients: usize,
    pub arrival: Arrival,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Client to relay to client.
    Room,
    /// Client to relay to peer.
    ToPeer,
    /// Peer to relay to client.
    FromPeer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    Bytes(usize),
    /// Video frames of 1200-byte packets with a shorter last one, and 160-byte audio packets between them.
    Call,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Packets per second in all.
    Rate(f64),
    /// As fast as possible, with a limited number of packets in flight.
    Saturating,
    /// This fraction of the rate at saturation.
    OfSaturation(f64),
}

/// How packets arrive at the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// One at a time, each from another client than the one before.
    Single,
    /// Frames of 5 to 10 packets with one send per packet, as on a path without offloads.
    Frames,
    /// Frames of 5 to 10 packets with one send per frame, as a network card joins them.
    Joined,
}

impl Path {
    pub fn scope(self) -> Scope {
        if self == Self::Room { Scope::Room } else { Scope::Public }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Room => "room",
            Self::ToPeer => "public out",
            Self::FromPeer => "public in",
        }
    }
}

impl Load {
    /// 1200-byte packets of 20 clients by channels, 40,000 per second, in joined frames.
    fn usual(path: Path) -> Self {
        Self {
            path,
            channel: true,
            transport: Transport::Udp,
            size: Size::Bytes(1200),
            pace: Pace::Rate(40_000.0),
            clients: 20,
            arrival: Arrival::Joined,
        }
    }

    /// One 160-byte packet at a time.
    fn audio(path: Path) -> Self {
        Self {
            size: Size::Bytes(160),
            pace: Pace::Rate(10_000.0),
            arrival: Arrival::Single,
            ..Self::usual(path)
        }
    }

    fn case(self) -> Case {
        let mut words = vec![self.path.name().to_owned()];
        words.push(format!("{:?}", self.transport).to_lowercase());
        words.push(if self.channel { "channel" } else { "indication" }.to_owned());
        words.push(match self.size {
            Size::Bytes(bytes) => format!("{bytes}B"),
            Size::Call => "call".to_owned(),
        });
        words.push(match self.pace {
            Pace::Rate(rate) => format!("{}k/s", rate / 1000.0),
            Pace::Saturating => "saturating".to_owned(),
            Pace::OfSaturation(part) => format!("{:.0}% of saturation", part * 100.0),
        });
        words.push(format!("x{}", self.clients));
        words.push(format!("{:?}", self.arrival).to_lowercase());
        Case { name: words.join(" "), subject: Subject::Packets(self) }
    }
}

const PATHS: [Path; 3] = [Path::Room, Path::ToPeer, Path::FromPeer];

/// The cases with a goal.
pub fn with_goal() -> Vec<Case> {
    let mut loads = Vec::new();
    for path in PATHS {
        let usual = Load::usual(path);
        loads.push(usual);
        loads.push(Load { pace: Pace::Saturating, ..usual });
        loads.push(Load { arrival: Arrival::Frames, ..usual });
        loads.push(Load { pace: Pace::OfSaturation(0.7), ..usual });
        loads.push(Load { size: Size::Call, ..usual });
        loads.push(Load::audio(path));
        loads.push(Load { clients: 1, pace: Pace::Rate(1000.0), ..Load::audio(path) });
        loads.push(Load { channel: false, ..usual });
    }
    for transport in [Transport::Tcp, Transport::Tls] {
        loads.push(Load { transport, pace: Pace::Rate(10_000.0), ..Load::usual(Path::Room) });
    }
    let loads = loads.into_iter().map(Load::case);
    loads.chain(client_costs()).chain(scenarios()).collect()
}

/// Every combination.
pub fn all() -> Vec<Case> {
    let mut loads = Vec::new();
    for path in PATHS {
        let transports =
            [(true, Transport::Udp), (false, Transport::Udp), (true, Transport::Tcp), (true, Transport::Tls)];
        for (channel, transport) in transports {
            for bytes in [160, 1200] {
                for pace in [Pace::Rate(10_000.0), Pace::Rate(40_000.0), Pace::Saturating] {
                    for clients in [1, 20, 500] {
                        for arrival in [Arrival::Single, Arrival::Frames, Arrival::Joined] {
                            let size = Size::Bytes(bytes);
                            loads.push(Load { path, channel, transport, size, pace, clients, arrival });
                        }
                    }
                }
            }
        }
    }
    loads.into_iter().map(Load::case).chain(client_costs()).chain(scenarios()).collect()
}

/// A smoke test: each kind of case once.
pub fn short() -> Vec<Case> {
    let mut loads: Vec<Load> = PATHS.map(Load::usual).into();
    loads.push(Load { pace: Pace::Saturating, ..Load::usual(Path::Room) });
    loads.push(Load { channel: false, ..Load::usual(Path::Room) });
    loads.push(Load { clients: 1, pace: Pace::Rate(1000.0), ..Load::audio(Path::Room) });
    loads.push(Load { transport: Transport::Tcp, pace: Pace::Rate(5000.0), ..Load::usual(Path::Room) });
    loads.push(Load { transport: Transport::Tls, pace: Pace::Rate(5000.0), ..Load::usual(Path::Room) });
    let flood = scenarios().filter(|case| matches!(case.subject, Subject::Scenario(Scenario::Flood)));
    loads.into_iter().map(Load::case).chain(client_costs()).chain(flood).collect()
}

fn client_costs() -> impl Iterator<Item = Case> {
    ClientCost::ALL.into_iter().map(|cost| Case { name: cost.name(), subject: Subject::ClientCost(cost) })
}

fn scenarios() -> impl Iterator<Item = Case> {
    let case = |scenario: Scenario| Case { name: scenario.name(), subject: Subject::Scenario(scenario) };
    Scenario::ALL.into_iter().map(case)
}

/// The load that scenarios disturb.
pub fn disturbed() -> Load {
    Load::usual(Path::Room)
}
