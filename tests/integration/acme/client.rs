//! A client that believes whom it is told to: over HTTPS, and in a room.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};
use x509_parser::prelude::{FromDer as _, X509Certificate};

const PATIENCE: Duration = Duration::from_secs(20);

/// A client of the box at a port of this host.
pub struct Client {
    port: u16,
    connector: TlsConnector,
}

/// Somebody in a room.
pub struct Guest(WebSocketStream<TlsStream<TcpStream>>);

/// Takes whatever is shown.
#[derive(Debug)]
struct Credulous;

impl Client {
    /// Believes `root`, or else everybody.
    pub fn new(port: u16, root: Option<CertificateDer<'static>>) -> Self {
        Self { port, connector: connector(root) }
    }

    async fn dial(&self) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.unwrap();
        let shaken = self.connector.connect(ServerName::try_from(super::NAME).unwrap(), stream);
        timeout(PATIENCE, shaken).await.unwrap().unwrap()
    }

    /// The last bytes of the serial number of what is served.
    pub async fn serial(&self) -> u64 {
        let stream = self.dial().await;
        let chain = stream.get_ref().1.peer_certificates().unwrap();
        let (_, leaf) = X509Certificate::from_der(&chain[0]).unwrap();
        leaf.raw_serial().iter().fold(0, |serial, &byte| serial << 8 | u64::from(byte))
    }

    pub async fn get(&self, path: &str) -> String {
        ask(self.dial().await, path, &format!("{}:{}", super::NAME, self.port)).await
    }

    pub async fn join(&self, room: &str) -> Guest {
        let url = format!("wss://{}:{}/ws", super::NAME, self.port);
        let (mut socket, _) = client_async(url, self.dial().await).await.unwrap();
        let join = serde_json::json!({ "type": "join", "room": room }).to_string();
        socket.send(Message::text(join)).await.unwrap();
        Guest(socket)
    }
}

impl Guest {
    /// The next `iceServers`.
    pub async fn urls(&mut self) -> String {
        loop {
            let message = timeout(PATIENCE, self.0.next()).await.unwrap().unwrap().unwrap();
            let Message::Text(text) = message else { continue };
            let frame: serde_json::Value = serde_json::from_str(&text).unwrap();
            if let Some(servers) = frame.get("iceServers") {
                return servers.to_string();
            }
        }
    }
}

/// What vouches for the certificates of the Pebble whose management is at `to`.
pub async fn root_of(to: (Ipv4Addr, u16)) -> CertificateDer<'static> {
    let stream = TcpStream::connect(to).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = connector(None).connect(name, stream).await.unwrap();
    let reply = ask(stream, "/roots/0", "localhost").await;
    CertificateDer::from_pem_slice(reply.as_bytes()).unwrap()
}

async fn ask(mut stream: TlsStream<TcpStream>, path: &str, host: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = Vec::new();
    // Go's servers end without TLS's goodbye.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut reply)).await.unwrap();
    String::from_utf8(reply).unwrap()
}

fn connector(root: Option<CertificateDer<'static>>) -> TlsConnector {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap();
    let config = match root {
        Some(root) => {
            let mut roots = RootCertStore::empty();
            roots.add(root).unwrap();
            config.with_root_certificates(roots)
        }
        None => config.dangerous().with_custom_certificate_verifier(Arc::new(Credulous)),
    };
    TlsConnector::from(Arc::new(config.with_no_client_auth()))
}

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
