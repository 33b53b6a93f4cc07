//! The compared servers. Each is started when it is first needed, pinned to the core of the servers, and kept for the run.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use super::SERVER_CORE;
use super::client::{SECRET, request};
use super::transport::{ClientSocket, RecvBuffers, Transport};

/// A program to compare.
#[derive(Clone, Debug)]
pub enum Target {
    WebrtcBox(PathBuf),
    /// Datagrams without a protocol.
    Baseline,
    /// `batching`: with `--multiplex-peer --udp-gso`, which apply to `public` only.
    Coturn {
        name: String,
        program: PathBuf,
        batching: bool,
    },
}

/// The relay scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Client to relay to client.
    Room,
    /// Client to relay to any peer.
    Public,
}

/// A running server; killed when dropped.
pub struct Server {
    pub turn: SocketAddr,
    pub tls: SocketAddr,
    child: Child,
    _folder: tempfile::TempDir,
}

/// The servers that were started, by target and scope.
pub struct Servers {
    pub targets: Vec<Target>,
    running: Vec<(String, Scope, Server)>,
}

impl Target {
    pub fn name(&self) -> &str {
        match self {
            Self::WebrtcBox(_) => "webrtc-box",
            Self::Baseline => "baseline",
            Self::Coturn { name, .. } => name,
        }
    }

    pub fn is_webrtc_box(&self) -> bool {
        matches!(self, Self::WebrtcBox(_))
    }

    pub fn is_baseline(&self) -> bool {
        matches!(self, Self::Baseline)
    }

    /// Whether it is measured in this scope.
    pub fn supports(&self, scope: Scope) -> bool {
        scope == Scope::Public || !matches!(self, Self::Coturn { batching: true, .. })
    }
}

impl Servers {
    pub fn new(targets: Vec<Target>) -> Self {
        Self { targets, running: Vec::new() }
    }

    /// The server of `target` for `scope`; starts it if it does not run yet.
    pub fn of(&mut self, target: &Target, scope: Scope) -> &Server {
        let wanted = |(name, of, _): &(String, Scope, Server)| name == target.name() && *of == scope;
        let index = self.running.iter().position(wanted).unwrap_or_else(|| {
            let server = Server::start(target, scope, &[]);
            self.running.push((target.name().to_owned(), scope, server));
            self.running.len() - 1
        });
        &self.running[index].2
    }
}

impl Server {
    /// Starts a separate server; `flags` are additional flags of webrtc-box.
    pub fn start(target: &Target, scope: Scope, flags: &[&str]) -> Self {
        Self::start_on(target, scope, flags, SERVER_CORE)
    }

    fn start_on(target: &Target, scope: Scope, flags: &[&str], cores: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (turn, tls) = (free_address(), free_address());
        let mut command = Command::new("taskset");
        command.args(["-c", cores]);
        match target {
            Target::WebrtcBox(program) => {
                // All clients have one address, so the limit on unauthenticated requests is off.
                let flags = if flags.is_empty() { &["--unauth-reply-rate", "0"] } else { flags };
                webrtc_box(command.arg(program).args(flags), scope, turn, tls, folder.path())
            }
            Target::Baseline => command.arg(std::env::current_exe().unwrap()).arg("--baseline"),
            Target::Coturn { program, batching, .. } => {
                coturn(command.arg(program), *batching, turn, tls, folder.path())
            }
        };
        command.stdin(Stdio::null()).stderr(Stdio::null()).current_dir(folder.path());
        let prints = !matches!(target, Target::Coturn { .. });
        let mut child = command.stdout(if prints { Stdio::piped() } else { Stdio::null() }).spawn().unwrap();
        let mut first_line = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut first_line).unwrap();
        }
        let mut server = Self { turn, tls, child, _folder: folder };
        if target.is_baseline() {
            server.turn.set_port(first_line.trim().parse().unwrap());
        } else {
            server.wait_until_ready(target);
        }
        server
    }

    /// Starts a webrtc-box with two workers, both on the core of the servers: half of the packets pass from one worker to
    /// the other.
    pub fn start_with_two_workers(target: &Target) -> Self {
        let server = Self::start_on(target, Scope::Room, &[], "0,1");
        let pid = server.child.id().to_string();
        let pinned = Command::new("taskset").args(["-acp", SERVER_CORE, &pid]).output();
        assert!(pinned.unwrap().status.success());
        server
    }

    /// Waits for the reply to a Binding.
    fn wait_until_ready(&mut self, target: &Target) {
        let bytes = request(stun::message::METHOD_BINDING, [2; 12], &[]).raw;
        let (begun, mut buffers) = (Instant::now(), RecvBuffers::new());
        let mut socket = ClientSocket::open(Transport::Udp, "127.0.0.1", self.turn);
        while begun.elapsed() < Duration::from_secs(20) {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "{} ended: {ended:?}", target.name());
            socket.send(&bytes, bytes.len());
            let mut ready = false;
            std::thread::sleep(Duration::from_millis(20));
            socket.drain(&mut buffers, |_| ready = true);
            if ready {
                return;
            }
        }
        panic!("{} does not reply", target.name());
    }

    /// CPU time of all threads including the kernel, in nanoseconds, from the scheduler statistics.
    pub fn cpu_nanos(&self) -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let cpu_time = |task: fs::DirEntry| {
            let line = fs::read_to_string(task.path().join("schedstat")).ok()?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        tasks.filter_map(|task| cpu_time(task.ok()?)).sum()
    }

    /// Resident bytes.
    pub fn resident(&self) -> u64 {
        kib(&format!("/proc/{}/status", self.child.id()), "VmRSS:") * 1024
    }
}

/// Bytes in the slab of the kernel, of all processes together.
pub fn slab() -> u64 {
    kib("/proc/meminfo", "Slab:") * 1024
}

fn kib(file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn webrtc_box<'c>(
    command: &'c mut Command,
    scope: Scope,
    turn: SocketAddr,
    tls: SocketAddr,
    folder: &Path,
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
        .arg(folder)
        .env_clear();
    if scope == Scope::Public {
        command.args(["--relay-scope", "public", "--external-ip", "127.0.0.1"]);
        command.args(["--allowed-peer-ip", "127.0.0.0/8", "--min-port", "10000"]);
    }
    command
}

fn coturn<'c>(
    command: &'c mut Command,
    batching: bool,
    turn: SocketAddr,
    tls: SocketAddr,
    folder: &Path,
) -> &'c mut Command {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(folder.join("cert.pem"), pair.cert.pem()).unwrap();
    fs::write(folder.join("key.pem"), pair.signing_key.serialize_pem()).unwrap();
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
    if batching {
        command.args(["--multiplex-peer", "--udp-gso"]);
    }
    command
}

/// A free port below the ports of clients and relayed addresses.
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
