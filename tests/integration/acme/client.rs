//! An HTTPS and WebSocket client that trusts a given root, or any certificate.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};
use webrtc_box::net::addresses::url_host;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::harness::http_client::{Reply, exchange};
use crate::harness::test_ca::client_config;

const TEST_TIMEOUT: Duration = Duration::from_secs(20);

/// A client of the server at an address of loopback.
pub struct Client {
    /// The domain of the server.
    name: &'static str,
    address: IpAddr,
    port: u16,
    connector: TlsConnector,
}

/// A participant in a room.
pub struct Participant(WebSocketStream<TlsStream<TcpStream>>);

impl Client {
    /// Trusts `root` only, or any certificate without one.
    pub fn new(port: u16, root: Option<CertificateDer<'static>>) -> Self {
        Self::at(super::HERE, port, root)
    }

    /// Like [`Self::new`] for a server at `address`.
    pub fn at(address: Ipv4Addr, port: u16, root: Option<CertificateDer<'static>>) -> Self {
        Self { name: super::NAME, address: address.into(), port, connector: connector(root) }
    }

    /// A client of the server whose domain is `address`.
    pub fn by_address(address: &'static str, port: u16, root: CertificateDer<'static>) -> Self {
        Self { name: address, address: address.parse().unwrap(), port, connector: connector(Some(root)) }
    }

    fn authority(&self) -> String {
        format!("{}:{}", url_host(self.name), self.port)
    }

    async fn connect(&self) -> TlsStream<TcpStream> {
        self.connect_to(self.name).await
    }

    async fn connect_to(&self, name: &'static str) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect((self.address, self.port)).await.unwrap();
        let handshake = self.connector.connect(ServerName::try_from(name).unwrap(), stream);
        timeout(TEST_TIMEOUT, handshake).await.unwrap().unwrap()
    }

    /// A handshake for `name`, which must be in the certificate.
    pub async fn trusts(&self, name: &'static str) {
        self.connect_to(name).await;
    }

    /// The last eight bytes of the serial number of the served certificate.
    pub async fn serial(&self) -> u64 {
        let stream = self.connect().await;
        let chain = stream.get_ref().1.peer_certificates().unwrap();
        let (_, leaf) = X509Certificate::from_der(&chain[0]).unwrap();
        leaf.raw_serial().iter().fold(0, |serial, &byte| serial << 8 | u64::from(byte))
    }

    /// The body of `GET path`.
    pub async fn get(&self, path: &str) -> String {
        self.response(path).await.text().to_owned()
    }

    pub async fn response(&self, path: &str) -> Reply {
        let host = format!("Host: {}", self.authority());
        exchange(self.connect().await, &format!("GET {path} HTTP/1.1"), &[&host]).await
    }

    pub async fn join(&self, room: &str) -> Participant {
        let url = format!("wss://{}/ws", self.authority());
        let (mut socket, _) = client_async(url, self.connect().await).await.unwrap();
        let join = serde_json::json!({ "type": "join", "room": room }).to_string();
        socket.send(Message::text(join)).await.unwrap();
        Participant(socket)
    }
}

impl Participant {
    /// The next `iceServers`, as JSON.
    pub async fn ice_servers(&mut self) -> String {
        loop {
            let message = timeout(TEST_TIMEOUT, self.0.next()).await.unwrap().unwrap().unwrap();
            let Message::Text(text) = message else { continue };
            let frame: serde_json::Value = serde_json::from_str(&text).unwrap();
            if let Some(servers) = frame.get("iceServers") {
                return servers.to_string();
            }
        }
    }
}

/// The root of the certificates that the Pebble with this management address issues.
pub async fn issuing_root(management: (Ipv4Addr, u16)) -> CertificateDer<'static> {
    let stream = TcpStream::connect(management).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = connector(None).connect(name, stream).await.unwrap();
    let reply = exchange(stream, "GET /roots/0 HTTP/1.1", &["Host: localhost"]).await;
    CertificateDer::from_pem_slice(&reply.body).unwrap()
}

pub(super) fn connector(root: Option<CertificateDer<'static>>) -> TlsConnector {
    let config = match root {
        Some(root) => client_config(root),
        None => ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AcceptAny))
            .with_no_client_auth(),
    };
    TlsConnector::from(Arc::new(config))
}

/// Accepts every certificate.
#[derive(Debug)]
struct AcceptAny;

impl ServerCertVerifier for AcceptAny {
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
