//! Pebble, the test authority of Let's Encrypt, and its DNS server.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::harness::ports::free_port;
use crate::harness::test_ca::Authority;
use rustls::ServerConfig;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const TEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Files and ports of an authority, known before it starts.
pub struct Plan {
    folder: TempDir,
    port: u16,
    management: u16,
    /// The port where it validates TLS-ALPN-01 challenges.
    pub https_port: u16,
}

/// A running authority; killed when dropped.
pub struct Pebble {
    pebble: Child,
    dns: Child,
}

pub fn is_installed() -> bool {
    let found =
        |name| Command::new(name).arg("-h").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    found("pebble") && found("pebble-challtestsrv")
}

impl Plan {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let pair = authority.issue("localhost", 1);
        for (name, text) in
            [("cert.pem", pair.cert.as_str()), ("key.pem", &pair.key), ("root.pem", authority.root_pem())]
        {
            fs::write(folder.path().join(name), text).unwrap();
        }
        Self { folder, port: free_port(), management: free_port(), https_port: free_port() }
    }

    pub fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// TLS of a server that the clients of the authority trust.
    pub fn tls(&self) -> Arc<ServerConfig> {
        let file = |name: &str| self.folder.path().join(name);
        webrtc_box::tls::load(&file("cert.pem"), &file("key.pem")).unwrap().config
    }

    /// The root of the certificate of the authority's HTTPS server.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("root.pem")
    }

    /// Address of the management server, which has the root of the issued certificates.
    pub fn management(&self) -> (Ipv4Addr, u16) {
        (Ipv4Addr::LOCALHOST, self.management)
    }

    /// Starts an authority whose certificates are valid for `validity`; every name resolves to `address`.
    pub fn start(&self, validity: Duration, address: Ipv4Addr) -> Pebble {
        self.start_with_names(validity, address, &[])
    }

    /// Like [`Self::start`]; `names` resolve to addresses of their own.
    pub fn start_with_names(
        &self,
        validity: Duration,
        address: Ipv4Addr,
        names: &[(&str, Ipv4Addr)],
    ) -> Pebble {
        let running = self.start_programs(validity, address, names);
        let start = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            assert!(start.elapsed() < TEST_TIMEOUT, "pebble does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        running
    }

    fn start_programs(
        &self,
        validity: Duration,
        address: Ipv4Addr,
        addresses: &[(&str, Ipv4Addr)],
    ) -> Pebble {
        let (dns, management) = (free_port(), free_port());
        let mut names = Command::new("pebble-challtestsrv");
        names.args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", ""]);
        names.arg("-defaultIPv4").arg(address.to_string());
        names.arg("-dns01").arg(format!("127.0.0.1:{dns}"));
        names.arg("-management").arg(format!("127.0.0.1:{management}"));
        let mut pebble = Command::new("pebble");
        pebble.arg("-config").arg(self.config(validity)).arg("-dnsserver").arg(format!("127.0.0.1:{dns}"));
        // Validates immediately and never reuses an authorization.
        pebble.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_AUTHZREUSE", "0");
        let run = |command: &mut Command| {
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        };
        let running = Pebble { dns: run(&mut names), pebble: run(&mut pebble) };
        for (name, address) in addresses {
            add_address(management, name, *address);
        }
        running
    }

    /// Starts a server that replies 429 with Retry-After to every request; returns its request counter.
    pub async fn start_refusing(&self, retry_after: Duration) -> Arc<AtomicUsize> {
        let tls = self.tls();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).await.unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&requests);
        let reply = format!(
            "HTTP/1.1 429 Too Many Requests\r\nRetry-After: {}\r\nContent-Length: 0\r\n\r\n",
            retry_after.as_secs()
        );
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let mut stream = TlsAcceptor::from(Arc::clone(&tls)).accept(stream).await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(reply.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        requests
    }

    fn config(&self, validity: Duration) -> PathBuf {
        let file = self.folder.path().join("pebble.json");
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{}", self.port),
            "managementListenAddress": format!("127.0.0.1:{}", self.management),
            "certificate": self.folder.path().join("cert.pem"),
            "privateKey": self.folder.path().join("key.pem"),
            "httpPort": 1,
            "tlsPort": self.https_port,
            "certificateValidityPeriod": validity.as_secs(),
        }});
        fs::write(&file, config.to_string()).unwrap();
        file
    }
}

/// Has the DNS server answer `name` with `address`, as soon as it runs.
fn add_address(management: u16, name: &str, address: Ipv4Addr) {
    let body = serde_json::json!({ "host": format!("{name}."), "addresses": [address] }).to_string();
    let start = Instant::now();
    let mut stream = loop {
        match TcpStream::connect((Ipv4Addr::LOCALHOST, management)) {
            Ok(stream) => break stream,
            Err(error) => assert!(start.elapsed() < TEST_TIMEOUT, "no DNS server: {error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let head = "POST /add-a HTTP/1.1\r\nHost: localhost\r\nConnection: close";
    write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
}

impl Drop for Pebble {
    fn drop(&mut self) {
        for child in [&mut self.pebble, &mut self.dns] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
