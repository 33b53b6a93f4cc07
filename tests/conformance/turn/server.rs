//! The real program on free ports, and credentials for any user.

use std::fmt;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::ClientConfig;
use tempfile::TempDir;
use webrtc_box_turn::credential::{Credential, Principal, Secret, Secrets};

use crate::harness::ports::free_port;
use crate::harness::test_ca::{client_config, write_self_signed};

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    ports: Ports,
    flags: Vec<String>,
    tls: Arc<ClientConfig>,
    folder: TempDir,
}

#[derive(Clone, Copy)]
struct Ports {
    https: u16,
    turn: u16,
    turns: u16,
}

/// A listener for TURN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listener {
    Udp,
    Tcp,
    Tls,
    /// TLS on the HTTPS port.
    Https,
}

pub(crate) const LISTENERS: [Listener; 4] = [Listener::Udp, Listener::Tcp, Listener::Tls, Listener::Https];
const SECRET: &str = "north";

/// Runs `case` over every listener of one server concurrently; a failure names the case and the listener.
pub(crate) fn run_over_every_listener(name: &str, flags: &[&str], case: fn(&Server, Listener)) {
    let mut server = Server::open(flags);
    let failed: Vec<Listener> = thread::scope(|scope| {
        let server = &server;
        let threads = LISTENERS.map(|listener| {
            let thread = thread::Builder::new().name(format!("{name} over {listener}"));
            (listener, thread.spawn_scoped(scope, move || case(server, listener)).unwrap())
        });
        threads
            .into_iter()
            .filter_map(|(listener, thread)| thread.join().is_err().then_some(listener))
            .collect()
    });
    assert!(failed.is_empty(), "{name} fails over {failed:?}; server: {}", server.status_and_log());
}

impl Server {
    pub(crate) fn open(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = write_self_signed(folder.path(), "box.test");
        let ports = Ports { https: free_port(), turn: free_port(), turns: free_port() };
        let flags = flags.iter().map(ToString::to_string).collect::<Vec<_>>();
        let child = start(&folder, ports, &flags);
        Self { child, ports, flags, tls: Arc::new(client_config(root)), folder }
    }

    /// Kills the program and starts it again on the same ports.
    pub(crate) fn restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = start(&self.folder, self.ports, &self.flags);
    }

    pub(crate) fn address(&self, listener: Listener) -> SocketAddr {
        let port = match listener {
            Listener::Udp | Listener::Tcp => self.ports.turn,
            Listener::Tls => self.ports.turns,
            Listener::Https => self.ports.https,
        };
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    /// The exit status, if any, and the log.
    fn status_and_log(&mut self) -> String {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap();
        format!("{:?}, {log}", self.child.try_wait())
    }

    /// A client configuration that trusts the certificate of the server.
    pub(crate) fn tls(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.tls)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A credential for other software, valid for an hour.
pub(crate) fn credential(id: &str) -> Credential {
    credential_until(id, unix_now() + 3600)
}

pub(crate) fn credential_until(id: &str, expiry: u64) -> Credential {
    Secrets::new(Secret::new(SECRET), vec![]).mint(&Principal::Foreign(id.into()), expiry)
}

pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Starts the program and waits for its banner.
fn start(folder: &TempDir, ports: Ports, flags: &[String]) -> Child {
    let log = folder.path().join("log");
    let mut child = Command::new(env!("CARGO_BIN_EXE_webrtc-box"))
        .current_dir(folder.path())
        .env_clear()
        .args(["--domain", "box.test", "--cert", "cert.pem", "--key", "key.pem", "--state-dir", "state"])
        .args(["--listen", "127.0.0.1", "--http-port", "0", "--https-port", &ports.https.to_string()])
        .args(["--turn-port", &ports.turn.to_string(), "--turns-port", &ports.turns.to_string()])
        .args(["--metrics-listen", "", "--unauth-reply-rate", "0", "--static-auth-secret", SECRET])
        .args(flags)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let mut banner = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut banner).unwrap();
    assert!(!banner.is_empty(), "the server did not start: {}", fs::read_to_string(log).unwrap());
    child
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Https => "TLS on the HTTPS port",
        })
    }
}
