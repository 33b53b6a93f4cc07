//! A whole server with the domain `box.test` on free loopback ports, within the test process.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use webrtc_box::Running;
use webrtc_box::config::{RawSettings, StateDirDefaults};

use crate::harness::TEST_TIMEOUT;
use crate::harness::ports::free_port;
use crate::harness::test_ca::{client_config, write_self_signed};

pub const NAME: &str = "box.test";

/// A running server, the root that clients trust, and the folder of its files.
pub struct InProcessServer {
    pub running: Running,
    pub root: CertificateDer<'static>,
    pub folder: TempDir,
}

impl InProcessServer {
    /// Starts a server with a self-signed certificate; `configure` changes its settings.
    pub async fn start(configure: impl FnOnce(&mut RawSettings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = write_self_signed(folder.path(), NAME);
        let mut settings = settings(folder.path());
        configure(&mut settings);
        Self { running: start(settings).await, root, folder }
    }

    /// A TLS handshake over `tcp` that offers the ALPN protocols `alpn`.
    pub async fn tls_over(&self, tcp: TcpStream, alpn: &[&[u8]]) -> io::Result<TlsStream<TcpStream>> {
        let mut config = client_config(self.root.clone());
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let handshake =
            TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(NAME).unwrap(), tcp);
        timeout(TEST_TIMEOUT, handshake).await?
    }
}

/// Settings with `cert.pem`, `key.pem` and the state directory in `folder`. Plain HTTP is off.
pub fn settings(folder: &Path) -> RawSettings {
    let path = |name: &str| Some(folder.join(name).to_str().unwrap().to_owned());
    RawSettings {
        domain: Some(NAME.into()),
        cert: path("cert.pem"),
        key: path("key.pem"),
        state_dir: path("state"),
        listen: Some(vec!["127.0.0.1".into()]),
        https_port: Some(free_port().to_string()),
        http_port: Some("0".into()),
        turn_port: Some(free_port().to_string()),
        turns_port: Some(free_port().to_string()),
        metrics_listen: Some(String::new()),
        ..RawSettings::default()
    }
}

pub async fn start(settings: RawSettings) -> Running {
    webrtc_box::start(settings.validate(&StateDirDefaults::default()).unwrap()).await.unwrap()
}
