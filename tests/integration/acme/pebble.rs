//! Pebble, the authority that Let's Encrypt tests clients with, and the DNS it asks.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::harness::ports::free_port;
use crate::harness::test_ca::Authority;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const PATIENCE: Duration = Duration::from_secs(20);

/// Where an authority is, before it is there.
pub struct Plan {
    place: TempDir,
    port: u16,
    management: u16,
    /// Where it looks who answers.
    pub https_port: u16,
}

/// An authority that runs until it is dropped.
pub struct Pebble {
    pebble: Child,
    dns: Child,
}

/// Whether there is one to be had.
pub fn is_here() -> bool {
    let found =
        |name| Command::new(name).arg("-h").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    found("pebble") && found("pebble-challtestsrv")
}

impl Plan {
    pub fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let pair = authority.issue("localhost", 1);
        for (name, text) in
            [("cert.pem", pair.cert.as_str()), ("key.pem", &pair.key), ("root.pem", authority.root_pem())]
        {
            fs::write(place.path().join(name), text).unwrap();
        }
        Self { place, port: free_port(), management: free_port(), https_port: free_port() }
    }

    pub fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.port)
    }

    /// What vouches for the authority's own web server.
    pub fn root(&self) -> PathBuf {
        self.place.path().join("root.pem")
    }

    /// `host:port` of the web server that tells what vouches for its certificates.
    pub fn management(&self) -> (Ipv4Addr, u16) {
        (Ipv4Addr::LOCALHOST, self.management)
    }

    /// Starts it; its certificates are valid for `validity`, and every name leads to `leads_to`.
    pub fn start(&self, validity: Duration, leads_to: Ipv4Addr) -> Pebble {
        let dns = free_port();
        let mut names = Command::new("pebble-challtestsrv");
        names.args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", ""]);
        names.arg("-defaultIPv4").arg(leads_to.to_string());
        names.arg("-dns01").arg(format!("127.0.0.1:{dns}"));
        names.arg("-management").arg(format!("127.0.0.1:{}", free_port()));
        let mut pebble = Command::new("pebble");
        pebble.arg("-config").arg(self.config(validity)).arg("-dnsserver").arg(format!("127.0.0.1:{dns}"));
        // Without sleeping before it looks, and looking every time.
        pebble.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_AUTHZREUSE", "0");
        let run = |command: &mut Command| {
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        };
        let running = Pebble { dns: run(&mut names), pebble: run(&mut pebble) };
        let began = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            assert!(began.elapsed() < PATIENCE, "pebble does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        running
    }

    /// Has somebody there who refuses everything and asks to wait; how often was he asked?
    pub async fn refuse(&self, retry_after: Duration) -> Arc<AtomicUsize> {
        let file = |name: &str| self.place.path().join(name);
        let tls = webrtc_box::tls::load(&file("cert.pem"), &file("key.pem")).unwrap().config;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).await.unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
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
        asked
    }

    fn config(&self, validity: Duration) -> PathBuf {
        let file = self.place.path().join("pebble.json");
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{}", self.port),
            "managementListenAddress": format!("127.0.0.1:{}", self.management),
            "certificate": self.place.path().join("cert.pem"),
            "privateKey": self.place.path().join("key.pem"),
            "httpPort": 1,
            "tlsPort": self.https_port,
            "certificateValidityPeriod": validity.as_secs(),
        }});
        fs::write(&file, config.to_string()).unwrap();
        file
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        for child in [&mut self.pebble, &mut self.dns] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
