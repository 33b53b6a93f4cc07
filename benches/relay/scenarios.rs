//! Scenarios: webrtc-box relays the usual load during a disturbance. Neither cost nor loss may grow.

use std::io::Read as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::cases::{Load, Path, disturbed};
use super::client::{TurnClient, header, request};
use super::load::{Flows, connect};
use super::results::{Outcome, Value};
use super::servers::{Server, Servers};
use super::transport::{ClientSocket, RecvBuffers, Transport, UdpClient};

/// The disturbance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// 20,000 unauthenticated Bindings per second from another address.
    Flood,
    /// The same with every rejected request in the log.
    DebugLog,
    /// TCP clients that are sent 20,000 packets per second and read none.
    SlowReaders,
    /// TLS handshakes on the port of the page, and silent connections, one after the other.
    Handshakes,
    /// Two workers on one core, so half of the packets pass from one worker to the other.
    TwoWorkers,
    /// Send and Data indications instead of channels.
    Indications(Path),
}

impl Scenario {
    pub const ALL: [Self; 8] = [
        Self::Indications(Path::Room),
        Self::Indications(Path::ToPeer),
        Self::Indications(Path::FromPeer),
        Self::Flood,
        Self::DebugLog,
        Self::SlowReaders,
        Self::Handshakes,
        Self::TwoWorkers,
    ];

    pub fn name(self) -> String {
        match self {
            Self::Flood => "scenario: a flood of unauthenticated requests",
            Self::DebugLog => "scenario: log at debug",
            Self::SlowReaders => "scenario: TCP clients that do not read",
            Self::Handshakes => "scenario: TLS handshakes on the page port",
            Self::TwoWorkers => "scenario: two workers instead of one",
            Self::Indications(Path::Room) => "scenario: indications instead of channels, room",
            Self::Indications(Path::ToPeer) => "scenario: indications instead of channels, public out",
            Self::Indications(Path::FromPeer) => "scenario: indications instead of channels, public in",
        }
        .to_owned()
    }

    /// Whether there is other traffic; otherwise the load itself or the server differs.
    fn has_traffic(self) -> bool {
        !matches!(self, Self::TwoWorkers | Self::Indications(_))
    }

    fn flags(self) -> &'static [&'static str] {
        // A server with unauthenticated clients limits its replies to them.
        match self {
            Self::Flood => &["--unauth-reply-rate", "20"],
            Self::DebugLog => &["--log", "debug", "--unauth-reply-rate", "20"],
            Self::SlowReaders | Self::Handshakes | Self::TwoWorkers | Self::Indications(_) => &[],
        }
    }
}

/// Measures webrtc-box with and without the disturbance, alternating within each round.
pub fn compare(servers: &Servers, scenario: Scenario, rounds: usize, seconds: f64) -> Outcome {
    let target = servers.targets.iter().find(|target| target.is_webrtc_box()).unwrap();
    let path = if let Scenario::Indications(path) = scenario { path } else { Path::Room };
    let load = Load { path, ..disturbed() };
    let undisturbed = Server::start(target, path.scope(), &[]);
    let server = if scenario == Scenario::TwoWorkers {
        Server::start_with_two_workers(target)
    } else {
        Server::start(target, path.scope(), scenario.flags())
    };
    let mut flows_without = Flows::open(load, &undisturbed, target);
    let channel = !matches!(scenario, Scenario::Indications(_));
    let mut flows_with = Flows::open(Load { channel, ..load }, &server, target);
    let mut values = Vec::new();
    for _ in 0..rounds {
        let without = flows_without.measure(&undisturbed, seconds);
        let disturbance = scenario.has_traffic().then(|| Disturbance::start(scenario, &server));
        let with = flows_with.measure(&server, seconds);
        drop(disturbance);
        let mut add = |measure: &str, value| {
            values.push(Value { target: target.name().into(), measure: measure.into(), value });
        };
        add("% lost without", without.loss() * 100.0);
        add("% lost with", with.loss() * 100.0);
        if !scenario.has_traffic() {
            add("ns per packet without", without.cost());
            add("ns per packet with", with.cost());
            add("with / without", with.cost() / without.cost());
        }
        add("p99 µs without", without.delay(0.99));
        add("p99 µs with", with.delay(0.99));
    }
    Outcome::Values(values)
}

/// Disturbing traffic from a thread, until dropped.
struct Disturbance {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Disturbance {
    fn start(scenario: Scenario, server: &Server) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, turn, page) = (Arc::clone(&stop), server.turn, server.tls);
        let mut pairs = if scenario == Scenario::SlowReaders { slow_readers(server) } else { Vec::new() };
        let thread = thread::spawn(move || match scenario {
            Scenario::Flood | Scenario::DebugLog => {
                let mut socket = ClientSocket::Udp(UdpClient::open("127.0.9.9", Some(turn)));
                let requests = request(stun::message::METHOD_BINDING, [7; 12], &[]).raw.repeat(20);
                while !stopped.load(Ordering::Relaxed) {
                    socket.send(&requests, 20);
                    thread::sleep(Duration::from_millis(1));
                }
            }
            Scenario::SlowReaders => {
                while !stopped.load(Ordering::Relaxed) {
                    for (sender, packets, _) in &mut pairs {
                        sender.socket.send(packets, packets.len() / 5);
                    }
                    thread::sleep(Duration::from_millis(1));
                }
            }
            Scenario::Handshakes | Scenario::TwoWorkers | Scenario::Indications(_) => {
                while !stopped.load(Ordering::Relaxed) {
                    // A handshake, then a silent connection.
                    drop(ClientSocket::open(Transport::Tls, "127.0.0.1", page));
                    let mut stream = TcpStream::connect(page).unwrap();
                    let _ = stream.set_read_timeout(Some(Duration::from_millis(5)));
                    let _ = stream.read(&mut [0; 64]);
                }
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

/// Pairs of a UDP client with the packets that it sends, and a TCP client that does not read them.
fn slow_readers(server: &Server) -> Vec<(TurnClient, Vec<u8>, TurnClient)> {
    let mut buffers = RecvBuffers::new();
    let pair = |number| {
        let room = format!("slow{number}");
        let mut sender = TurnClient::open(|| connect(Transport::Udp, server), &room, &mut buffers);
        let mut reader = TurnClient::open(|| connect(Transport::Tcp, server), &room, &mut buffers);
        sender.bind(reader.relayed, &mut buffers);
        reader.bind(sender.relayed, &mut buffers);
        let packet = [header(true, reader.relayed, 1200), vec![0x80; 1200]].concat();
        (sender, packet.repeat(5), reader)
    };
    (0..4).map(pair).collect()
}

impl Drop for Disturbance {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(thread::JoinHandle::join);
        assert!(ended.is_some_and(|ended| ended.is_ok()), "the disturbance ended early");
    }
}
