//! The servers that are compared, and how each is started.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio_rustls::TlsConnector;

use crate::client::Endpoint;
use crate::dialect::Dialect;
use crate::example;
use crate::server::Server;

/// One of the servers compared.
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
            Self::Example => example::command(port),
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
