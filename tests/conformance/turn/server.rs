//! The program itself on free ports of this host, with a secret that mints whoever is needed.

use std::fmt;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use webrtc_box_turn::credential::{Credential, Principal, Secret, Secrets};

use crate::harness::ports::free_port;

/// A running box; killed when dropped.
pub(crate) struct Server {
    child: Child,
    ports: Ports,
    flags: Vec<String>,
    tls: Arc<ClientConfig>,
    place: TempDir,
}

#[derive(Clone, Copy)]
struct Ports {
    https: u16,
    turn: u16,
    turns: u16,
}

/// A way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listener {
    Udp,
    Tcp,
    Tls,
    /// TLS on the port of the page.
    Https,
}

pub(crate) const LISTENERS: [Listener; 4] = [Listener::Udp, Listener::Tcp, Listener::Tls, Listener::Https];
const SECRET: &str = "north";

/// Plays `scene` in one box over every listener at once; a failure names the row and the listener.
pub(crate) fn over_each_door(row: &str, flags: &[&str], scene: fn(&Server, Listener)) {
    let mut server = Server::open(flags);
    let failed: Vec<Listener> = thread::scope(|scope| {
        let server = &server;
        let played = LISTENERS.map(|listener| {
            let name = format!("{row} over {listener}");
            let playing =
                thread::Builder::new().name(name).spawn_scoped(scope, move || scene(server, listener));
            (listener, playing.unwrap())
        });
        played
            .into_iter()
            .filter_map(|(listener, playing)| playing.join().is_err().then_some(listener))
            .collect()
    });
    assert!(failed.is_empty(), "{row} fails over {failed:?}; the box said: {}", server.said());
}

impl Server {
    pub(crate) fn open(flags: &[&str]) -> Self {
        let place = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["box.test".to_owned()]).unwrap();
        fs::write(place.path().join("cert.pem"), made.cert.pem()).unwrap();
        fs::write(place.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        let ports = Ports { https: free_port(), turn: free_port(), turns: free_port() };
        let flags = flags.iter().map(ToString::to_string).collect::<Vec<_>>();
        let child = start(&place, ports, &flags);
        Self { child, ports, flags, tls: trusting(made.cert.der()), place }
    }

    /// Ends the program without a farewell and starts it again on the same ports.
    pub(crate) fn restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = start(&self.place, self.ports, &self.flags);
    }

    pub(crate) fn address(&self, listener: Listener) -> SocketAddr {
        let port = match listener {
            Listener::Udp | Listener::Tcp => self.ports.turn,
            Listener::Tls => self.ports.turns,
            Listener::Https => self.ports.https,
        };
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    /// How it fares and what is in its log.
    fn said(&mut self) -> String {
        let log = fs::read_to_string(self.place.path().join("log")).unwrap();
        format!("{:?}, {log}", self.child.try_wait())
    }

    /// What trusts this box's certificate.
    pub(crate) fn tls(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.tls)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; a test that cares has noticed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A credential for software other than ours, good for an hour.
pub(crate) fn credential(id: &str) -> Credential {
    credential_until(id, unix_now() + 3600)
}

pub(crate) fn credential_until(id: &str, expiry: u64) -> Credential {
    Secrets::new(Secret::new(SECRET), vec![]).mint(&Principal::Foreign(id.into()), expiry)
}

pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The program, once it has said that it is up.
fn start(place: &TempDir, ports: Ports, flags: &[String]) -> Child {
    let log = place.path().join("log");
    let mut child = Command::new(env!("CARGO_BIN_EXE_webrtc-box"))
        .current_dir(place.path())
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
    let mut greeting = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut greeting).unwrap();
    assert!(!greeting.is_empty(), "the box did not start: {}", fs::read_to_string(log).unwrap());
    child
}

fn trusting(root: &CertificateDer<'static>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Https => "TLS on the page's port",
        })
    }
}

/// No wait for an event is longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);
