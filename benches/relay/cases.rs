//! What is measured: the cases that the targets name, every combination, and a few for a smoke test.

use super::house::Scope;
use super::scenes::Scene;
use super::standing::Standing;
use super::wire::Way;

pub struct Case {
    pub name: String,
    pub quantity: Quantity,
}

pub enum Quantity {
    /// Packets on their way.
    Packets(Load),
    /// What it costs to have clients.
    Standing(Standing),
    /// Packets while something disturbs the box.
    Scene(Scene),
}

/// Packets that are sent.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub path: Path,
    /// Channels; else Send and Data indications.
    pub channel: bool,
    pub way: Way,
    pub size: Size,
    pub pace: Pace,
    /// Flows at once, each of a client of its own.
    pub clients: usize,
    pub arrival: Arrival,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Client to box to client.
    Room,
    /// Client to box to peer.
    ToPeer,
    /// Peer to box to client.
    FromPeer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    Bytes(usize),
    /// Video frames of 1200-byte packets with a shorter last one, 160-byte sound between them.
    Call,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Packets a second in all.
    Rate(f64),
    /// As much as passes: a bounded number under way at any time.
    Saturating,
    /// This part of what passed at saturation.
    OfSaturation(f64),
}

/// How packets come to the box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Each by itself, from another client than the one before.
    Single,
    /// Frames of 5 to 10 packets, one send for each packet: a path without offloads.
    Frames,
    /// Frames of 5 to 10 packets that the network card has joined again.
    Trains,
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
    /// 1200-byte packets of twenty clients by channels, 40,000 of them a second, in trains.
    fn usual(path: Path) -> Self {
        Self {
            path,
            channel: true,
            way: Way::Udp,
            size: Size::Bytes(1200),
            pace: Pace::Rate(40_000.0),
            clients: 20,
            arrival: Arrival::Trains,
        }
    }

    /// One 160-byte packet at a time.
    fn sound(path: Path) -> Self {
        Self {
            size: Size::Bytes(160),
            pace: Pace::Rate(10_000.0),
            arrival: Arrival::Single,
            ..Self::usual(path)
        }
    }

    fn case(self) -> Case {
        let mut words = vec![self.path.name().to_owned()];
        words.push(format!("{:?}", self.way).to_lowercase());
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
        Case { name: words.join(" "), quantity: Quantity::Packets(self) }
    }
}

const PATHS: [Path; 3] = [Path::Room, Path::ToPeer, Path::FromPeer];

/// What the project promises something about.
pub fn targets() -> Vec<Case> {
    let mut loads = Vec::new();
    for path in PATHS {
        let usual = Load::usual(path);
        loads.push(usual);
        loads.push(Load { pace: Pace::Saturating, ..usual });
        loads.push(Load { arrival: Arrival::Frames, ..usual });
        loads.push(Load { pace: Pace::OfSaturation(0.7), ..usual });
        loads.push(Load { size: Size::Call, ..usual });
        loads.push(Load::sound(path));
        loads.push(Load { clients: 1, pace: Pace::Rate(1000.0), ..Load::sound(path) });
        loads.push(Load { channel: false, ..usual });
    }
    for way in [Way::Tcp, Way::Tls] {
        loads.push(Load { way, pace: Pace::Rate(10_000.0), ..Load::usual(Path::Room) });
    }
    let loads = loads.into_iter().map(Load::case);
    loads.chain(standing()).chain(scenes()).collect()
}

/// Every combination.
pub fn all() -> Vec<Case> {
    let mut loads = Vec::new();
    for path in PATHS {
        for (channel, way) in [(true, Way::Udp), (false, Way::Udp), (true, Way::Tcp), (true, Way::Tls)] {
            for bytes in [160, 1200] {
                for pace in [Pace::Rate(10_000.0), Pace::Rate(40_000.0), Pace::Saturating] {
                    for clients in [1, 20, 500] {
                        for arrival in [Arrival::Single, Arrival::Frames, Arrival::Trains] {
                            let size = Size::Bytes(bytes);
                            loads.push(Load { path, channel, way, size, pace, clients, arrival });
                        }
                    }
                }
            }
        }
    }
    loads.into_iter().map(Load::case).chain(standing()).chain(scenes()).collect()
}

/// A smoke test: every kind of thing once.
pub fn short() -> Vec<Case> {
    let mut loads: Vec<Load> = PATHS.map(Load::usual).into();
    loads.push(Load { pace: Pace::Saturating, ..Load::usual(Path::Room) });
    loads.push(Load { channel: false, ..Load::usual(Path::Room) });
    loads.push(Load { clients: 1, pace: Pace::Rate(1000.0), ..Load::sound(Path::Room) });
    loads.push(Load { way: Way::Tcp, pace: Pace::Rate(5000.0), ..Load::usual(Path::Room) });
    loads.push(Load { way: Way::Tls, pace: Pace::Rate(5000.0), ..Load::usual(Path::Room) });
    let scene = Case { name: Scene::Flood.name(), quantity: Quantity::Scene(Scene::Flood) };
    loads.into_iter().map(Load::case).chain(standing()).chain([scene]).collect()
}

fn standing() -> impl Iterator<Item = Case> {
    Standing::ALL
        .into_iter()
        .map(|standing| Case { name: standing.name(), quantity: Quantity::Standing(standing) })
}

fn scenes() -> impl Iterator<Item = Case> {
    Scene::ALL.into_iter().map(|scene| Case { name: scene.name(), quantity: Quantity::Scene(scene) })
}

/// What the scenes disturb.
pub fn disturbed() -> Load {
    Load::usual(Path::Room)
}
