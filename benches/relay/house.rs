//! The servers that are compared, each started by itself on the servers' core and kept for the run.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use super::SERVER_CORE;
use super::client::{SECRET, request};
use super::wire::{Basket, Way, Wire};

/// Who is compared.
#[derive(Clone, Debug)]
pub enum Contestant {
    Box(PathBuf),
    /// Datagrams without a protocol.
    Floor,
    /// `lean`: with its peers multiplexed and segmentation offload, which it has for `public` alone.
    Coturn {
        name: String,
        program: PathBuf,
        lean: bool,
    },
}

/// Whom a relay reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Client to box to client.
    Room,
    /// Client to box to anybody.
    Public,
}

/// A server that runs; ends with this.
pub struct House {
    pub turn: SocketAddr,
    pub tls: SocketAddr,
    pub pid: u32,
    child: Child,
    _place: tempfile::TempDir,
}

/// Those that have been started, by what they were started for.
pub struct Houses {
    pub contestants: Vec<Contestant>,
    open: Vec<(String, Scope, House)>,
}

impl Contestant {
    pub fn name(&self) -> &str {
        match self {
            Self::Box(_) => "webrtc-box",
            Self::Floor => "floor",
            Self::Coturn { name, .. } => name,
        }
    }

    pub fn is_floor(&self) -> bool {
        matches!(self, Self::Floor)
    }

    /// Whether it has that scope in this shape.
    pub fn has(&self, scope: Scope) -> bool {
        scope == Scope::Public || !matches!(self, Self::Coturn { lean: true, .. })
    }
}

impl Houses {
    pub fn new(contestants: Vec<Contestant>) -> Self {
        Self { contestants, open: Vec::new() }
    }

    /// The server of `contestant` for `scope`, started where it does not run yet.
    pub fn of(&mut self, contestant: &Contestant, scope: Scope) -> &House {
        let known = |(name, of, _): &(String, Scope, House)| name == contestant.name() && *of == scope;
        let at = self.open.iter().position(known).unwrap_or_else(|| {
            let house = House::open(contestant, scope, &[]);
            self.open.push((contestant.name().to_owned(), scope, house));
            self.open.len() - 1
        });
        &self.open[at].2
    }
}

impl House {
    /// Starts one of its own, `more` being flags that the box is given as well.
    pub fn open(contestant: &Contestant, scope: Scope, more: &[&str]) -> Self {
        Self::start(contestant, scope, more, SERVER_CORE)
    }

    fn start(contestant: &Contestant, scope: Scope, more: &[&str], cores: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        let (turn, tls) = (free_address(), free_address());
        let mut command = Command::new("taskset");
        command.args(["-c", cores]);
        match contestant {
            Contestant::Box(program) => {
                // Handshakes of one address, as fast as they come.
                let more = if more.is_empty() { &["--unauth-reply-rate", "0"] } else { more };
                boxed(command.arg(program).args(more), scope, turn, tls, place.path())
            }
            Contestant::Floor => command.arg(std::env::current_exe().unwrap()).arg("--floor"),
            Contestant::Coturn { program, lean, .. } => {
                coturn(command.arg(program), *lean, turn, tls, place.path())
            }
        };
        command.stdin(Stdio::null()).stderr(Stdio::null()).current_dir(place.path());
        let talks = !matches!(contestant, Contestant::Coturn { .. });
        let mut child = command.stdout(if talks { Stdio::piped() } else { Stdio::null() }).spawn().unwrap();
        let mut said = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut said).unwrap();
        }
        let pid = child.id();
        let mut house = Self { turn, tls, pid, child, _place: place };
        if contestant.is_floor() {
            house.turn.set_port(said.trim().parse().unwrap());
        } else {
            house.wait_until_it_answers(contestant);
        }
        house
    }

    /// A box with two workers, both on the servers' core: half of what it relays goes from one to the
    /// other.
    pub fn open_in_two(contestant: &Contestant) -> Self {
        let house = Self::start(contestant, Scope::Room, &[], "0,1");
        let pinned = Command::new("taskset").args(["-acp", SERVER_CORE, &house.pid.to_string()]).output();
        assert!(pinned.unwrap().status.success());
        house
    }

    fn wait_until_it_answers(&mut self, contestant: &Contestant) {
        let bytes = request(stun::message::METHOD_BINDING, [2; 12], &[]).raw;
        let (begun, mut basket) = (Instant::now(), Basket::new());
        let mut wire = Wire::open(Way::Udp, "127.0.0.1", self.turn);
        while begun.elapsed() < Duration::from_secs(20) {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "{} ended: {ended:?}", contestant.name());
            wire.send(&bytes, bytes.len());
            let mut answered = false;
            std::thread::sleep(Duration::from_millis(20));
            wire.drain(&mut basket, |_| answered = true);
            if answered {
                return;
            }
        }
        panic!("{} does not answer", contestant.name());
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn boxed<'c>(
    command: &'c mut Command,
    scope: Scope,
    turn: SocketAddr,
    tls: SocketAddr,
    place: &std::path::Path,
) -> &'c mut Command {
    command
        .args([
            "--listen",
            "127.0.0.1",
            "--http-port",
            "0",
            "--static-auth-secret",
            SECRET,
            "--metrics-listen",
            "",
        ])
        .args(["--turn-port", &turn.port().to_string(), "--https-port", &tls.port().to_string()])
        .args(["--user-quota", "0", "--source-connections", "100000"])
        .arg("--state-dir")
        .arg(place)
        .env_clear();
    if scope == Scope::Public {
        command.args(["--relay-scope", "public", "--external-ip", "127.0.0.1"]);
        command.args(["--allowed-peer-ip", "127.0.0.0/8", "--min-port", "10000"]);
    }
    command
}

fn coturn<'c>(
    command: &'c mut Command,
    lean: bool,
    turn: SocketAddr,
    tls: SocketAddr,
    place: &std::path::Path,
) -> &'c mut Command {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(place.join("cert.pem"), pair.cert.pem()).unwrap();
    std::fs::write(place.join("key.pem"), pair.signing_key.serialize_pem()).unwrap();
    command
        .args(["-n", "--listening-ip", "127.0.0.1", "--relay-ip", "127.0.0.1", "--allow-loopback-peers"])
        .args(["--use-auth-secret", "--static-auth-secret", SECRET, "--realm", "bench", "--no-cli"])
        .args(["--min-port", "10000", "--max-port", "65535", "--log-file", "/dev/null", "--simple-log"])
        .args(["--cert", "cert.pem", "--pkey", "key.pem", "--pidfile", "pid", "--no-dtls"])
        .args([
            "--listening-port",
            &turn.port().to_string(),
            "--tls-listening-port",
            &tls.port().to_string(),
        ]);
    if lean {
        command.args(["--multiplex-peer", "--udp-gso"]);
    }
    command
}

/// A port below those that clients and relayed addresses are given, so that nobody takes it first.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(2000);
    loop {
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return address;
        }
        assert!(port < 9999, "no free port");
    }
}
