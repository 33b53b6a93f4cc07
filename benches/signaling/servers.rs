//! The compared servers: how each is started, and its CPU time and memory as the kernel counts them.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_rustls::TlsConnector;

use crate::client::Endpoint;
use crate::dialect::Dialect;

/// One of the compared servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Node, express, socket.io; no TLS.
    Example,
    /// webrtc-box behind a proxy on the same host: no TLS.
    Plain,
    /// webrtc-box with TLS, the usual setup.
    Tls,
}

impl Target {
    /// In the order of the table.
    pub(crate) const ALL: [Self; 3] = [Self::Example, Self::Plain, Self::Tls];

    /// For the command line and the JSON.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Example => "node-example",
            Self::Plain => "ours-plain",
            Self::Tls => "ours-tls",
        }
    }

    /// Starts the server; `state` is its own empty folder.
    pub(crate) async fn start(self, state: &Path) -> (Server, Endpoint) {
        let port = free_port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut command = match self {
            Self::Example => node_example(port),
            Self::Plain => {
                // A trusted proxy gets the page and the WebSocket on http-port, without TLS.
                let mut command = webrtc_box(state, free_port(), port);
                command.args(["--trusted-proxy", "127.0.0.0/8"]);
                command
            }
            Self::Tls => webrtc_box(state, port, 0),
        };
        let server = Server::start(&mut command, address).await;
        let dialect = if self == Self::Example { Dialect::SocketIo } else { Dialect::WebrtcBox };
        let tls = (self == Self::Tls).then(|| connector(state));
        (server, Endpoint { address, dialect, tls })
    }
}

/// How long a server may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
}

impl Server {
    /// Starts `command` and waits until `address` accepts.
    pub(crate) async fn start(command: &mut Command, address: SocketAddr) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut server = Self { child: command.spawn().unwrap() };
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(address).await.is_err() {
            let ended = server.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "{command:?} did not start");
            sleep(Duration::from_millis(20)).await;
        }
        server
    }

    /// CPU time of all threads, including the kernel. No relevant thread ends during a measurement.
    pub(crate) fn cpu(&self) -> Duration {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let nanoseconds = |path| {
            // A thread may have ended since the folder was read.
            let statistics = fs::read_to_string(path).unwrap_or_default();
            statistics.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0)
        };
        let total = threads.map(|thread| nanoseconds(thread.unwrap().path().join("schedstat"))).sum();
        Duration::from_nanos(total)
    }

    /// Resident bytes, counted page by page.
    pub(crate) fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap();
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kibibytes * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The folder of the Node example.
fn example_folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/signaling/example"))
}

/// Installs the packages of the Node example if they are missing or older than its lockfile.
pub(crate) fn install_example() {
    let lock = example_folder().join("package-lock.json");
    let installed = example_folder().join("node_modules/.package-lock.json");
    let modified = |path: &PathBuf| fs::metadata(path).and_then(|meta| meta.modified()).ok();
    if modified(&installed) >= modified(&lock) {
        return;
    }
    println!("installing the example's packages");
    let flags = ["ci", "--no-audit", "--no-fund", "--ignore-scripts"];
    let installed = Command::new("npm").args(flags).current_dir(example_folder()).status();
    assert!(installed.expect("npm is installed").success(), "npm ci in {}", example_folder().display());
}

/// The Node example on `port` of the loopback address.
fn node_example(port: u16) -> Command {
    let mut command = Command::new("node");
    command.arg("server.js").current_dir(example_folder()).env("PORT", port.to_string());
    command.env("NODE_ENV", "production");
    command
}

/// The release build with its relay, in try-out mode.
fn webrtc_box(state: &Path, https_port: u16, http_port: u16) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_webrtc-box"));
    command.env_clear().current_dir(state).arg("--state-dir").arg(state);
    command.args(["--listen", "127.0.0.1"]);
    let ports = [("--https-port", https_port), ("--http-port", http_port), ("--turn-port", free_port())];
    for (flag, port) in ports {
        command.arg(flag).arg(port.to_string());
    }
    command.args(["--metrics-listen", "", "--log", "warn"]);
    // All connections of the bench come from one address.
    command.args(["--source-connections", "100000"]);
    command
}

/// Every connection does a full handshake, as the first of a new visitor.
fn connector(state: &Path) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(state.join("self-signed.pem")).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

/// A free port below the kernel's ephemeral range.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let spread = u16::try_from(std::process::id() % 8000).unwrap();
    loop {
        let port = 20_000 + (spread + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        let address = (Ipv4Addr::LOCALHOST, port);
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return port;
        }
    }
}
