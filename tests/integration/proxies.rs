//! Proxies before a whole box: PROXY headers by hand and by haproxy, forwarded headers by nginx.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::harness::ports::free_port;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use webrtc_box::Running;
use webrtc_box::config::{RawSettings, StateDirDefaults};

const PATIENCE: Duration = Duration::from_secs(15);
const PROXY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// A box with a domain behind proxies, and what a client needs to trust it.
struct Box {
    running: Running,
    connector: TlsConnector,
    place: TempDir,
}

impl Box {
    /// `change` may change its settings.
    async fn open(change: impl FnOnce(&mut RawSettings)) -> Self {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
        let made = rcgen::generate_simple_self_signed(["box.test".to_owned()]).unwrap();
        let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        fs::write(path("cert.pem"), &cert).unwrap();
        fs::write(path("key.pem"), &key).unwrap();
        let mut typed = RawSettings {
            domain: Some("box.test".into()),
            cert: Some(path("cert.pem")),
            key: Some(path("key.pem")),
            state_dir: Some(path("state")),
            listen: Some(vec!["127.0.0.1".into()]),
            https_port: Some(free_port().to_string()),
            http_port: Some(free_port().to_string()),
            turn_port: Some(free_port().to_string()),
            turns_port: Some(free_port().to_string()),
            metrics_listen: Some(String::new()),
            proxy_protocol: Some(vec![PROXY.to_string()]),
            ..RawSettings::default()
        };
        change(&mut typed);
        let running = webrtc_box::start(typed.validate(&StateDirDefaults::default()).unwrap()).await.unwrap();
        Self { running, connector: connector(made.cert.der().clone()), place }
    }

    async fn through_tls(&self, tcp: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from("box.test").unwrap();
        timeout(PATIENCE, self.connector.connect(name, tcp)).await?
    }

    /// Status of `/test.json` for who comes through a stream; each source may ask ten times at once.
    async fn tests(&self, tcp: TcpStream) -> u16 {
        let mut stream = self.through_tls(tcp).await.unwrap();
        let said =
            ask(&mut stream, "GET /test.json HTTP/1.1\r\nHost: box.test\r\nConnection: close\r\n\r\n").await;
        said.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// Starts `program` with this configuration, and waits until it listens on `port`.
    async fn beside(&self, program: &str, configuration: &str, arguments: &[&str], port: u16) -> Proxy {
        let file = self.place.path().join(program);
        fs::write(&file, configuration).unwrap();
        let mut command = Command::new(program);
        command.args(arguments).arg(&file).current_dir(self.place.path());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let (mut proxy, started) = (Proxy(child), Instant::now());
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
            assert!(started.elapsed() < PATIENCE && proxy.0.try_wait().unwrap().is_none(), "{program}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        proxy
    }
}

/// Another program, which ends with the test.
struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn connector(root: CertificateDer<'static>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(root).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

fn is_installed(program: &str) -> bool {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|folder| Path::new(&folder).join(program).is_file());
    if !found {
        println!("skipped: {program} is not installed");
    }
    found
}

/// A connection from `from`, which is one of this host's.
async fn dial(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

/// The same, with a header before all else.
async fn dial_with(from: Ipv4Addr, to: SocketAddr, header: &[u8]) -> TcpStream {
    let mut stream = dial(from, to).await;
    stream.write_all(header).await.unwrap();
    stream
}

fn v1(client: &str) -> Vec<u8> {
    v1_from(client, 4711)
}

fn v1_from(client: &str, port: u16) -> Vec<u8> {
    format!("PROXY TCP4 {client} 192.0.2.1 {port} 443\r\n").into_bytes()
}

fn v2(client: [u8; 4]) -> Vec<u8> {
    let fixed = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c";
    [&fixed[..], &client, &[192, 0, 2, 1], &4711u16.to_be_bytes(), &443u16.to_be_bytes()].concat()
}

async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    // A reply is whole where its connection ends; how it ends is nobody's matter.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut said)).await.unwrap();
    String::from_utf8(said).unwrap()
}

/// Where a STUN server at the other end sees this stream come from (IPv4).
async fn seen_from(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<SocketAddr> {
    let binding = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
    stream.write_all(&binding).await?;
    let mut reply = [0; 32];
    timeout(PATIENCE, stream.read_exact(&mut reply)).await??;
    assert_eq!((&reply[..2], &reply[20..26]), (&[1, 1][..], &[0, 0x20, 0, 8, 0, 1][..]));
    let port = u16::from_be_bytes([reply[26], reply[27]]) ^ 0x2112;
    let address = u32::from_be_bytes([reply[28], reply[29], reply[30], reply[31]]) ^ 0x2112_a442;
    Ok((Ipv4Addr::from_bits(address), port).into())
}

async fn is_closed(mut stream: TcpStream) -> bool {
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.unwrap();
    !rest.windows(8).any(|eight| eight == b"HTTP/1.1") || rest.starts_with(b"HTTP/1.1 400")
}

#[tokio::test]
async fn proxy_header_sets_the_client_address_on_every_port() {
    let one = Box::open(|_| {}).await;
    let (https, turn, turns) = (one.running.https[0], one.running.turn[0], one.running.turns[0]);
    let client: SocketAddr = "192.0.2.9:4711".parse().unwrap();
    for header in [v1("192.0.2.9"), v2([192, 0, 2, 9])] {
        let mut plain = dial_with(PROXY, turn, &header).await;
        assert_eq!(seen_from(&mut plain).await.unwrap(), client);
        for to in [turns, https] {
            let mut secure = one.through_tls(dial_with(PROXY, to, &header).await).await.unwrap();
            assert_eq!(seen_from(&mut secure).await.unwrap(), client, "{to}");
        }
    }
    for client in ["192.0.2.11", "192.0.2.12"] {
        for _ in 0..10 {
            assert_eq!(one.tests(dial_with(PROXY, https, &v1(client)).await).await, 200);
        }
        assert_eq!(one.tests(dial_with(PROXY, https, &v1(client)).await).await, 429, "each is limited alone");
    }
}

#[tokio::test]
async fn proxy_header_is_required_from_proxies_and_refused_from_others() {
    let one = Box::open(|_| {}).await;
    let (https, turn, turns) = (one.running.https[0], one.running.turn[0], one.running.turns[0]);
    for to in [https, turns] {
        assert!(one.through_tls(dial(PROXY, to).await).await.is_err(), "without one from a proxy: {to}");
        for header in [v1("192.0.2.9"), v2([192, 0, 2, 9])] {
            let stream = dial_with(CLIENT, to, &header).await;
            assert!(one.through_tls(stream).await.is_err(), "from somebody else: {to}");
        }
        assert!(one.through_tls(dial(CLIENT, to).await).await.is_ok(), "others come as before: {to}");
    }
    assert!(seen_from(&mut dial(PROXY, turn).await).await.is_err());
    for header in [v1("192.0.2.9"), v2([192, 0, 2, 9])] {
        assert!(seen_from(&mut dial_with(CLIENT, turn, &header).await).await.is_err());
        let bytes = [&header[..], b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
        assert!(is_closed(dial_with(CLIENT, https, &bytes).await).await, "no redirect either");
    }
    assert!(seen_from(&mut dial(CLIENT, turn).await).await.is_ok());
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    assert_eq!(
        seen_from(&mut dial_with(PROXY, turn, local).await).await.unwrap().ip(),
        PROXY,
        "a health check"
    );
    let http = one.running.http[0];
    let said =
        ask(&mut dial(PROXY, http).await, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(said.starts_with("HTTP/1.1 308"), "plain HTTP is passed on with headers: {said}");
}

#[tokio::test]
async fn client_behind_a_proxy_is_counted_as_its_own_source() {
    let one = Box::open(|typed| typed.source_connections = Some("2".into())).await;
    let turn = one.running.turn[0];
    let mut held = Vec::new();
    for port in [1, 2] {
        let mut stream = dial_with(PROXY, turn, &v1_from("192.0.2.9", port)).await;
        seen_from(&mut stream).await.unwrap();
        held.push(stream);
    }
    assert!(seen_from(&mut dial_with(PROXY, turn, &v1("192.0.2.9")).await).await.is_err(), "one too many");
    assert!(seen_from(&mut dial_with(PROXY, turn, &v1("192.0.2.8")).await).await.is_ok(), "another source");
}

#[tokio::test]
async fn ipv6_networks_of_one_subscriber_share_a_handshake_limit() {
    let one = Arc::new(Box::open(|_| {}).await);
    let header = |network: &str, port: usize| {
        format!("PROXY TCP6 2001:db8:{network}::1 2001:db8:ffff::1 {port} 443\r\n").into_bytes()
    };
    let started = Instant::now();
    let asked: Vec<_> = (0..400)
        .map(|number| {
            let (one, header) = (Arc::clone(&one), header(&format!("0:{:x}", number % 8), 1000 + number));
            tokio::spawn(async move {
                let stream = dial_with(PROXY, one.running.https[0], &header).await;
                one.through_tls(stream).await.is_ok()
            })
        })
        .collect();
    let mut done = 0;
    for asked in asked {
        done += u64::from(asked.await.unwrap());
    }
    let took = started.elapsed();
    println!("{done} of 400 handshakes of eight /64s of one /56 in {took:?}");
    assert!(done <= 102 + 21 * (took.as_secs() + 1), "{done} in {took:?}");
    let other = dial_with(PROXY, one.running.https[0], &header("1", 1)).await;
    assert!(one.through_tls(other).await.is_ok(), "another subscriber waits for nobody");
}

#[tokio::test]
async fn haproxy_forwards_streams_with_both_header_versions() {
    if !is_installed("haproxy") {
        return;
    }
    let one = Box::open(|_| {}).await;
    let ends = [one.running.https[0], one.running.turn[0], one.running.turns[0]];
    for version in ["send-proxy", "send-proxy-v2"] {
        let fronts = [(); 3].map(|()| free_port());
        let mut configuration =
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n".to_owned();
        for (front, end) in fronts.iter().zip(ends) {
            configuration += &format!(
                "listen l{front}\n bind 127.0.0.1:{front}\n source {PROXY}\n server box {end} {version} check\n"
            );
        }
        let _haproxy = one.beside("haproxy", &configuration, &["-f"], fronts[0]).await;
        let [https, turn, turns] = fronts.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let mut plain = dial(CLIENT, turn).await;
        let own = plain.local_addr().unwrap();
        assert_eq!(seen_from(&mut plain).await.unwrap(), own, "{version}");
        for to in [turns, https] {
            let tcp = dial(CLIENT, to).await;
            let own = tcp.local_addr().unwrap();
            assert_eq!(seen_from(&mut one.through_tls(tcp).await.unwrap()).await.unwrap(), own, "{version}");
        }
        assert_eq!(one.tests(dial(CLIENT, https).await).await, 200, "{version}");
    }
}

#[tokio::test]
async fn nginx_with_the_documented_lines_proxies_websockets() {
    if !is_installed("nginx") {
        return;
    }
    let one = Box::open(|typed| {
        typed.https_port = Some("0".into());
        typed.trusted_proxy = Some(vec!["127.0.0.1".into(), "::1".into()]);
    })
    .await;
    let (front, place) = (free_port(), one.place.path().display().to_string());
    let manual = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md")).unwrap();
    let lines = manual.split("```nginx\n").nth(1).unwrap().split("```").next().unwrap();
    let server = lines
        .replace("[::]:443", &format!("[::1]:{front}"))
        .replace("listen 443", &format!("listen 127.0.0.1:{front}"))
        .replace("/etc/letsencrypt/live/call.example.com/fullchain.pem", &format!("{place}/cert.pem"))
        .replace("/etc/letsencrypt/live/call.example.com/privkey.pem", &format!("{place}/key.pem"))
        .replace("call.example.com", "box.test")
        .replace("127.0.0.1:8080", &one.running.http[0].to_string());
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {place}/temp;"))
        .concat();
    let configuration = format!(
        "daemon off; worker_processes 1; pid {place}/nginx.pid; error_log {place}/error.log warn;\n\
         events {{}} http {{ access_log off; {temporary} {server} }}"
    );
    let _nginx = one.beside("nginx", &configuration, &["-e", "stderr", "-c"], front).await;
    let front = SocketAddr::from((Ipv4Addr::LOCALHOST, front));
    for (origin, status) in [
        (format!("https://box.test:{}", front.port()), "101"),
        ("https://box.test".to_owned(), "101"),
        (format!("https://evil.test:{}", front.port()), "403"),
        (format!("http://box.test:{}", front.port()), "403"),
        ("https://box.test.evil.test".to_owned(), "403"),
    ] {
        let mut stream = one.through_tls(dial(CLIENT, front).await).await.unwrap();
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: box.test:{}\r\nOrigin: {origin}\r\nConnection: keep-alive, Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
            front.port()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut said = [0; 12];
        timeout(PATIENCE, stream.read_exact(&mut said)).await.unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&said[9..]), status, "{origin}");
    }
}
