//! The HTTP server of the program on free ports of loopback, within the test process, and clients for it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus_client::encoding::prometheus_text;
use prometheus_client::registry::Registry;
use rustls::ServerConfig;
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use webrtc_box::config::{RawSettings, StateDirDefaults};
use webrtc_box::http::{ConnectionTest, HttpConfig, HttpServer, ListenerKind};
use webrtc_box::keys::Keys;
use webrtc_box::tls::{ALPN, ActiveCertificate, CertificateFacts, LoadedCertificate};
use webrtc_box_signaling::{IceUrls, ResumeTokenKey, SeatEvent, TagKey};
use webrtc_box_turn::credential::{Secret, Secrets};

use super::http_client::{Reply, exchange, exchange_with_body};
use super::test_ca::client_config;

/// The longest wait for one event of a server within the test process.
pub const TEST_TIMEOUT: Duration = Duration::from_secs(30);

pub struct WebServer {
    pub server: HttpServer,
    pub https: SocketAddr,
    pub http: SocketAddr,
    pub seat_events: Arc<Mutex<Vec<SeatEvent>>>,
    connector: TlsConnector,
}

pub fn config() -> HttpConfig {
    let keys = Keys {
        secrets: Secrets::new(Secret::new("secret"), vec![]),
        tag_key: TagKey::new([1; 32]),
        resume_key: ResumeTokenKey::new([2; 32]),
    };
    let settings = RawSettings::default().validate(&StateDirDefaults::default()).unwrap();
    let ice_urls = IceUrls { stun: Some(3478), turn_udp: Some(3478), ..IceUrls::default() };
    let mut config = HttpConfig::new(&settings, keys, ice_urls);
    config.https_port = None;
    config.own_addresses = Arc::new(|| vec![Ipv4Addr::new(192, 0, 2, 1).into()]);
    config.connection_test = ConnectionTest { turn: Some(3478), ..ConnectionTest::default() };
    config.rooms.seeds = [1, 2];
    config
}

/// Starts a server; `configure` changes its configuration.
pub async fn start_web_server(configure: impl FnOnce(&mut HttpConfig)) -> WebServer {
    let (tls, connector) = certificate();
    let https = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let http = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (https_at, http_at) = (https.local_addr().unwrap(), http.local_addr().unwrap());
    let seat_events = Arc::new(Mutex::new(Vec::new()));
    let recorded = Arc::clone(&seat_events);
    let mut config = config();
    config.https_port = Some(https_at.port());
    config.on_seat_event = Arc::new(move |event| recorded.lock().unwrap().push(event));
    configure(&mut config);
    let server = HttpServer::new(config).unwrap();
    let tls = ListenerKind::Https(
        ActiveCertificate::new(LoadedCertificate {
            config: Arc::new(tls),
            leaf: CertificateFacts::default(),
        }),
        None,
    );
    for (listener, kind) in [(https, tls), (http, ListenerKind::Http)] {
        let server = server.clone();
        tokio::spawn(async move { server.accept(listener, kind).await });
    }
    WebServer { server, https: https_at, http: http_at, seat_events, connector }
}

fn certificate() -> (ServerConfig, TlsConnector) {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivatePkcs8KeyDer::from(pair.signing_key.serialize_der());
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![pair.cert.der().clone()], key.into())
        .unwrap();
    server.alpn_protocols = ALPN.iter().map(|name| name.to_vec()).collect();
    (server, TlsConnector::from(Arc::new(client_config(pair.cert.der().clone()))))
}

impl WebServer {
    /// The value of one metric series.
    pub fn metric(&self, series: &str) -> usize {
        let mut registry = Registry::default();
        self.server.register_metrics(&mut registry);
        let mut text = String::new();
        prometheus_text::encode(&mut text, &registry).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(series)).expect("the series exists");
        value.trim().parse().unwrap()
    }

    /// A new TLS connection.
    pub async fn connect(&self) -> TlsStream<TcpStream> {
        self.connect_over(TcpStream::connect(self.https).await.unwrap()).await
    }

    /// A TLS connection from the loopback address `from`.
    pub async fn try_connect(&self, from: Ipv4Addr) -> std::io::Result<TlsStream<TcpStream>> {
        let tcp = self.connect_tcp(from).await?;
        self.connector.connect(ServerName::try_from("localhost").unwrap(), tcp).await
    }

    /// A TCP connection from the loopback address `from`.
    pub async fn connect_tcp(&self, from: Ipv4Addr) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        let tcp = socket.connect(self.https).await?;
        // As browsers do.
        tcp.set_nodelay(true)?;
        Ok(tcp)
    }

    /// A TLS connection over an open TCP connection.
    pub async fn connect_over(&self, tcp: TcpStream) -> TlsStream<TcpStream> {
        self.connector.connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap()
    }

    /// A new TLS connection of a client that offers the ALPN protocols `alpn`.
    pub async fn connect_with(&self, alpn: &[&[u8]]) -> TlsStream<TcpStream> {
        self.connect_over_with(TcpStream::connect(self.https).await.unwrap(), alpn).await
    }

    /// Like [`Self::connect_with`] over an open TCP connection.
    pub async fn connect_over_with(&self, tcp: TcpStream, alpn: &[&[u8]]) -> TlsStream<TcpStream> {
        let mut config = self.connector.config().as_ref().clone();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap()
    }

    /// A new TLS connection of a client that offers what browsers do, and so gets HTTP/2.
    pub async fn connect_http2(&self) -> TlsStream<TcpStream> {
        self.connect_with(&[b"h2", b"http/1.1"]).await
    }

    /// The value of `Host` that a browser would send.
    pub fn host(&self) -> String {
        format!("localhost:{}", self.https.port())
    }

    /// `GET path` over HTTPS with further header lines.
    pub async fn get(&self, path: &str, lines: &[&str]) -> Reply {
        let host = format!("Host: {}", self.host());
        self.request(&format!("GET {path} HTTP/1.1"), &[&[host.as_str()], lines].concat()).await
    }

    /// Any request over HTTPS.
    pub async fn request(&self, first: &str, lines: &[&str]) -> Reply {
        exchange(self.connect().await, first, lines).await
    }

    /// `POST path` over HTTPS with further header lines.
    pub async fn post(&self, path: &str, lines: &[&str], body: &str) -> Reply {
        let (host, length) = (format!("Host: {}", self.host()), format!("Content-Length: {}", body.len()));
        let lines = [&[host.as_str(), length.as_str()], lines].concat();
        exchange_with_body(self.connect().await, &format!("POST {path} HTTP/1.1"), &lines, body).await
    }

    /// Any request over plain HTTP.
    pub async fn request_plain(&self, first: &str, lines: &[&str]) -> Reply {
        exchange(TcpStream::connect(self.http).await.unwrap(), first, lines).await
    }
}
