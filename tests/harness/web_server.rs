//! The web half of a box on a free port of this host, and plain clients for it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus_client::encoding::prometheus_text;
use prometheus_client::registry::Registry;
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use webrtc_box::config::{RawSettings, StateDirDefaults};
use webrtc_box::http::{ConnectionTest, HttpConfig, HttpServer, Keys, ListenerKind};
use webrtc_box::tls::{ActiveCertificate, CertificateFacts, Loaded};
use webrtc_box_signaling::{IceUrls, SeatEvent, TagKey};
use webrtc_box_turn::credential::{Secret, Secrets};

/// No wait in a test is longer.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct WebServer {
    pub web: HttpServer,
    pub https: SocketAddr,
    pub http: SocketAddr,
    pub seat_events: Arc<Mutex<Vec<SeatEvent>>>,
    connector: TlsConnector,
}

/// A reply taken apart.
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

pub fn setup() -> HttpConfig {
    let keys = Keys {
        secrets: Secrets::new(Secret::new("secret"), vec![]),
        tag_key: TagKey::new([1; 32]),
        token_key: [2; 32],
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

/// Opens a server; `configure` changes what it is made from.
pub async fn start_web_server(configure: impl FnOnce(&mut HttpConfig)) -> WebServer {
    let (server, connector) = certificate();
    let https = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let http = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (https_at, http_at) = (https.local_addr().unwrap(), http.local_addr().unwrap());
    let news = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&news);
    let mut setup = setup();
    setup.https_port = Some(https_at.port());
    setup.on_seat_event = Arc::new(move |item| noted.lock().unwrap().push(item));
    configure(&mut setup);
    let web = HttpServer::new(setup).unwrap();
    let tls = ListenerKind::Https(
        ActiveCertificate::new(Loaded { config: Arc::new(server), leaf: CertificateFacts::default() }),
        None,
    );
    for (listener, kind) in [(https, tls), (http, ListenerKind::Http)] {
        let web = web.clone();
        tokio::spawn(async move { web.accept(listener, kind).await });
    }
    WebServer { web, https: https_at, http: http_at, seat_events: news, connector }
}

fn certificate() -> (ServerConfig, TlsConnector) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (server, TlsConnector::from(Arc::new(client)))
}

impl WebServer {
    /// The value of one series of `/metrics`.
    pub fn metric(&self, series: &str) -> usize {
        let mut registry = Registry::default();
        self.web.register_metrics(&mut registry);
        let mut text = String::new();
        prometheus_text::encode(&mut text, &registry).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(series)).expect("the series exists");
        value.trim().parse().unwrap()
    }

    /// A stream through TLS.
    pub async fn dial(&self) -> TlsStream<TcpStream> {
        self.dial_over(TcpStream::connect(self.https).await.unwrap()).await
    }

    /// The same from another address of this host, if that works.
    pub async fn try_dial(&self, from: Ipv4Addr) -> std::io::Result<TlsStream<TcpStream>> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        let tcp = socket.connect(self.https).await?;
        self.connector.connect(ServerName::try_from("localhost").unwrap(), tcp).await
    }

    /// The same over a stream that is there already.
    pub async fn dial_over(&self, tcp: TcpStream) -> TlsStream<TcpStream> {
        self.connector.connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap()
    }

    /// The host and port a browser would name.
    pub fn host(&self) -> String {
        format!("localhost:{}", self.https.port())
    }

    /// `GET path` over HTTPS with further header lines.
    pub async fn get(&self, path: &str, lines: &[&str]) -> Reply {
        let host = format!("Host: {}", self.host());
        self.ask(&format!("GET {path} HTTP/1.1"), &[&[host.as_str()], lines].concat()).await
    }

    /// Any request over HTTPS.
    pub async fn ask(&self, first: &str, lines: &[&str]) -> Reply {
        exchange(self.dial().await, first, lines).await
    }

    /// `POST path` over HTTPS with further header lines.
    pub async fn post(&self, path: &str, lines: &[&str], body: &str) -> Reply {
        let (host, length) = (format!("Host: {}", self.host()), format!("Content-Length: {}", body.len()));
        let lines = [&[host.as_str(), length.as_str()], lines].concat();
        exchange_with(self.dial().await, &format!("POST {path} HTTP/1.1"), &lines, body).await
    }

    /// Any request over plain HTTP.
    pub async fn ask_plain(&self, first: &str, lines: &[&str]) -> Reply {
        exchange(TcpStream::connect(self.http).await.unwrap(), first, lines).await
    }
}

/// One request on a stream, and its reply.
pub async fn exchange(
    stream: impl AsyncReadExt + AsyncWriteExt + Unpin,
    first: &str,
    lines: &[&str],
) -> Reply {
    exchange_with(stream, first, lines, "").await
}

/// The same with a body.
async fn exchange_with(
    mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin,
    first: &str,
    lines: &[&str],
    body: &str,
) -> Reply {
    let upgrade = lines.iter().any(|line| line.starts_with("Upgrade:"));
    let mut request = format!("{first}\r\n");
    lines.iter().for_each(|line| request += &format!("{line}\r\n"));
    request += if upgrade { "\r\n" } else { "Connection: close\r\n\r\n" };
    request += body;
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let read = async {
        let mut chunk = [0; 16 * 1024];
        loop {
            match stream.read(&mut chunk).await {
                Ok(0) | Err(_) => break,
                Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            }
            // Such a reply does not end with its connection.
            if upgrade && (bytes.ends_with(b"\r\n\r\n") || bytes.ends_with(b".\n")) {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("a reply in time");
    Reply::parse(&bytes)
}

impl Reply {
    fn parse(bytes: &[u8]) -> Self {
        let head_end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head");
        let head = std::str::from_utf8(&bytes[..head_end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let split =
            |line: &str| line.split_once(": ").map(|(k, v)| (k.to_lowercase(), v.to_owned())).unwrap();
        Self { status, headers: lines.map(split).collect(), body: bytes[head_end + 4..].to_vec() }
    }

    /// The value of a header that is there once; empty where it is not.
    pub fn header(&self, name: &str) -> &str {
        let mut found = self.headers.iter().filter(|(key, _)| key == name);
        let value = found.next().map_or("", |(_, value)| value);
        assert!(found.next().is_none(), "{name} is there twice");
        value
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}
