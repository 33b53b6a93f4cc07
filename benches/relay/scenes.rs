//! Media while something disturbs the box: it must cost no more and lose no more than undisturbed.

use std::io::Read as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::cases::{Load, Path, disturbed};
use super::client::{Guest, head, request};
use super::house::{Contestant, House, Houses};
use super::load::{Flows, dial};
use super::table::{Outcome, Value};
use super::wire::{Basket, Datagrams, Way, Wire};

/// What disturbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// 20,000 unauthenticated Bindings a second from another address.
    Flood,
    /// The same box with every refusal logged.
    DebugLog,
    /// Clients who came by TCP, are sent 20,000 packets a second and read none of them.
    SlowReaders,
    /// TLS handshakes on the page's port, and connections that say nothing, one after the other.
    Visitors,
    /// Two workers on one core, so that half of what is relayed goes from one to the other.
    Workers,
    /// Send and Data indications instead of channels.
    Indications(Path),
}

impl Scene {
    pub const ALL: [Self; 8] = [
        Self::Indications(Path::Room),
        Self::Indications(Path::ToPeer),
        Self::Indications(Path::FromPeer),
        Self::Flood,
        Self::DebugLog,
        Self::SlowReaders,
        Self::Visitors,
        Self::Workers,
    ];

    pub fn name(self) -> String {
        match self {
            Self::Flood => "scene: a flood of strangers",
            Self::DebugLog => "scene: log at debug",
            Self::SlowReaders => "scene: streams that nobody reads",
            Self::Visitors => "scene: visitors of the page",
            Self::Workers => "scene: two workers instead of one",
            Self::Indications(Path::Room) => "scene: indications instead of channels, room",
            Self::Indications(Path::ToPeer) => "scene: indications instead of channels, public out",
            Self::Indications(Path::FromPeer) => "scene: indications instead of channels, public in",
        }
        .to_owned()
    }

    /// Whether somebody else disturbs the box, and not the load itself.
    fn is_loud(self) -> bool {
        !matches!(self, Self::Workers | Self::Indications(_))
    }

    fn flags(self) -> &'static [&'static str] {
        // A box that meets strangers limits what it answers them.
        match self {
            Self::Flood => &["--unauth-reply-rate", "20"],
            Self::DebugLog => &["--log", "debug", "--unauth-reply-rate", "20"],
            Self::SlowReaders | Self::Visitors | Self::Workers | Self::Indications(_) => &[],
        }
    }
}

/// The box alone, with and without it.
pub fn compare(houses: &mut Houses, scene: Scene, rounds: usize, seconds: f64) -> Outcome {
    let one = houses.contestants.iter().find(|one| matches!(one, Contestant::Box(_))).unwrap().clone();
    let path = if let Scene::Indications(path) = scene { path } else { Path::Room };
    let load = Load { path, ..disturbed() };
    let plain = House::open(&one, path.scope(), &[]);
    let other = match scene {
        Scene::Workers => House::open_in_two(&one),
        Scene::Indications(_) | Scene::Flood | Scene::DebugLog | Scene::SlowReaders | Scene::Visitors => {
            House::open(&one, path.scope(), scene.flags())
        }
    };
    let mut quiet = Flows::open(load, &plain, &one);
    let channel = !matches!(scene, Scene::Indications(_));
    let mut loud = Flows::open(Load { channel, ..load }, &other, &one);
    let mut values = Vec::new();
    for _ in 0..rounds {
        let before = quiet.measure(plain.pid, seconds);
        let noise = scene.is_loud().then(|| Noise::begin(scene, &other));
        let during = loud.measure(other.pid, seconds);
        drop(noise);
        let mut add =
            |what: &str, value| values.push(Value { who: one.name().into(), what: what.into(), value });
        add("% lost without", before.loss() * 100.0);
        add("% lost with", during.loss() * 100.0);
        if !scene.is_loud() {
            add("ns a packet without", before.cost());
            add("ns a packet with", during.cost());
            add("with, of that without", during.cost() / before.cost());
        }
        add("p99 µs without", before.delay(0.99));
        add("p99 µs with", during.delay(0.99));
    }
    Outcome::Values(values)
}

/// Goes on until it is dropped.
struct Noise {
    over: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Noise {
    fn begin(scene: Scene, house: &House) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (ends, turn, page) = (Arc::clone(&over), house.turn, house.tls);
        let mut pairs = if scene == Scene::SlowReaders { pairs(house) } else { Vec::new() };
        let thread = thread::spawn(move || match scene {
            Scene::Flood | Scene::DebugLog => {
                let mut wire = Wire::Udp(Datagrams::open("127.0.9.9", Some(turn)));
                let train = request(stun::message::METHOD_BINDING, [7; 12], &[]).raw.repeat(20);
                while !ends.load(Ordering::Relaxed) {
                    wire.send(&train, 20);
                    thread::sleep(Duration::from_millis(1));
                }
            }
            Scene::SlowReaders => {
                while !ends.load(Ordering::Relaxed) {
                    for (speaker, train, _) in &mut pairs {
                        speaker.wire.send(train, train.len() / 5);
                    }
                    thread::sleep(Duration::from_millis(1));
                }
            }
            Scene::Visitors | Scene::Workers | Scene::Indications(_) => {
                while !ends.load(Ordering::Relaxed) {
                    // A handshake each, and one that does not begin.
                    drop(Wire::open(Way::Tls, "127.0.0.1", page));
                    let mut stream = TcpStream::connect(page).unwrap();
                    let _ = stream.set_read_timeout(Some(Duration::from_millis(5)));
                    let _ = stream.read(&mut [0; 64]);
                }
            }
        });
        Self { over, thread: Some(thread) }
    }
}

/// Who speaks by UDP, what it says, and who does not listen by TCP.
fn pairs(house: &House) -> Vec<(Guest, Vec<u8>, Guest)> {
    let mut basket = Basket::new();
    let pair = |number| {
        let room = format!("slow{number}");
        let mut speaker = Guest::open(|| dial(Way::Udp, house), &room, &mut basket);
        let mut deaf = Guest::open(|| dial(Way::Tcp, house), &room, &mut basket);
        speaker.bind(deaf.relayed, &mut basket);
        deaf.bind(speaker.relayed, &mut basket);
        let packet = [head(true, deaf.relayed, 1200), vec![0x80; 1200]].concat();
        (speaker, packet.repeat(5), deaf)
    };
    (0..4).map(pair).collect()
}

impl Drop for Noise {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(thread::JoinHandle::join);
        assert!(ended.is_some_and(|ended| ended.is_ok()), "the noise ended early");
    }
}
