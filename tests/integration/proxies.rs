//! A server behind proxies: PROXY headers written by the test and by haproxy, forwarded headers from nginx.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::harness::TEST_TIMEOUT;
use crate::harness::http_client::exchange;
use crate::harness::ports::free_port;
use crate::in_process::InProcessServer;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use webrtc_box::config::RawSettings;

const PROXY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// A server that expects PROXY headers from `PROXY`; `configure` changes its settings.
async fn proxied_server(configure: impl FnOnce(&mut RawSettings)) -> InProcessServer {
    InProcessServer::start(|settings| {
        settings.http_port = Some(free_port().to_string());
        settings.proxy_protocol = Some(vec![PROXY.to_string()]);
        configure(settings);
    })
    .await
}

/// The status of `GET /test.json`, which a source may request ten times in a burst.
async fn test_status(server: &InProcessServer, tcp: TcpStream) -> u16 {
    let stream = server.tls_over(tcp, &[]).await.unwrap();
    exchange(stream, "GET /test.json HTTP/1.1", &["Host: box.test"]).await.status
}

/// A proxy program; killed when dropped.
struct Proxy(Child);

impl Proxy {
    /// Starts `program` with this configuration and waits until it listens on `port`.
    async fn start(folder: &Path, program: &str, configuration: &str, arguments: &[&str], port: u16) -> Self {
        let file = folder.join(program);
        fs::write(&file, configuration).unwrap();
        let mut command = Command::new(program);
        command.args(arguments).arg(&file).current_dir(folder);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let (mut proxy, started) = (Self(child), Instant::now());
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
            assert!(started.elapsed() < TEST_TIMEOUT && proxy.0.try_wait().unwrap().is_none(), "{program}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        proxy
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn is_installed(program: &str) -> bool {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|folder| Path::new(&folder).join(program).is_file());
    if !found {
        println!("skipped: {program} is not installed");
    }
    found
}

/// A connection from the loopback address `from`.
async fn connect(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

/// Like [`connect`]; sends `header` first.
async fn connect_with(from: Ipv4Addr, to: SocketAddr, header: &[u8]) -> TcpStream {
    let mut stream = connect(from, to).await;
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

/// The mapped address of this stream, from a Binding request (IPv4).
async fn mapped_address(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<SocketAddr> {
    let binding = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
    stream.write_all(&binding).await?;
    let mut reply = [0; 32];
    timeout(TEST_TIMEOUT, stream.read_exact(&mut reply)).await??;
    assert_eq!((&reply[..2], &reply[20..26]), (&[1, 1][..], &[0, 0x20, 0, 8, 0, 1][..]));
    let port = u16::from_be_bytes([reply[26], reply[27]]) ^ 0x2112;
    let address = u32::from_be_bytes([reply[28], reply[29], reply[30], reply[31]]) ^ 0x2112_a442;
    Ok((Ipv4Addr::from_bits(address), port).into())
}

/// Whether the server closes the stream without an HTTP response, except a 400.
async fn is_closed(mut stream: TcpStream) -> bool {
    let mut rest = Vec::new();
    let _ = timeout(TEST_TIMEOUT, stream.read_to_end(&mut rest)).await.unwrap();
    !rest.windows(8).any(|eight| eight == b"HTTP/1.1") || rest.starts_with(b"HTTP/1.1 400")
}

#[tokio::test]
async fn proxy_header_sets_the_client_address_on_every_port() {
    let server = proxied_server(|_| {}).await;
    let (https, turn, turns) = (server.running.https[0], server.running.turn[0], server.running.turns[0]);
    let client: SocketAddr = "192.0.2.9:4711".parse().unwrap();
    for header in [v1("192.0.2.9"), v2([192, 0, 2, 9])] {
        let mut plain = connect_with(PROXY, turn, &header).await;
        assert_eq!(mapped_address(&mut plain).await.unwrap(), client);
        for to in [turns, https] {
            let mut secure = server.tls_over(connect_with(PROXY, to, &header).await, &[]).await.unwrap();
            assert_eq!(mapped_address(&mut secure).await.unwrap(), client, "{to}");
        }
    }
    for client in ["192.0.2.11", "192.0.2.12"] {
        for _ in 0..10 {
            assert_eq!(test_status(&server, connect_with(PROXY, https, &v1(client)).await).await, 200);
        }
        assert_eq!(
            test_status(&server, connect_with(PROXY, https, &v1(client)).await).await,
            429,
            "each has its own limit"
        );
    }
}

#[tokio::test]
async fn proxy_header_is_required_from_proxies_and_refused_from_others() {
    let server = proxied_server(|_| {}).await;
    let (https, turn, turns) = (server.running.https[0], server.running.turn[0], server.running.turns[0]);
    for to in [https, turns] {
        assert!(
            server.tls_over(connect(PROXY, to).await, &[]).await.is_err(),
            "from a proxy without a header: {to}"
        );
        for header in [v1("192.0.2.9"), v2([192, 0, 2, 9])] {
            let stream = connect_with(CLIENT, to, &header).await;
            assert!(server.tls_over(stream, &[]).await.is_err(), "from another address with a header: {to}");
        }
        assert!(
            server.tls_over(connect(CLIENT, to).await, &[]).await.is_ok(),
            "from another address without a header: {to}"
        );
    }
    assert!(mapped_address(&mut connect(PROXY, turn).await).await.is_err());
    for header in [v1("192.0.2.9"), v2([192, 0, 2, 9])] {
        assert!(mapped_address(&mut connect_with(CLIENT, turn, &header).await).await.is_err());
        let bytes = [&header[..], b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
        assert!(is_closed(connect_with(CLIENT, https, &bytes).await).await, "no redirect either");
    }
    assert!(mapped_address(&mut connect(CLIENT, turn).await).await.is_ok());
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    assert_eq!(
        mapped_address(&mut connect_with(PROXY, turn, local).await).await.unwrap().ip(),
        PROXY,
        "a health check"
    );
    let http = server.running.http[0];
    let reply = exchange(connect(PROXY, http).await, "GET / HTTP/1.1", &["Host: a"]).await;
    assert_eq!(reply.status, 308, "plain HTTP needs no PROXY header");
}

#[tokio::test]
async fn client_behind_a_proxy_is_counted_as_its_own_source() {
    let server = proxied_server(|settings| settings.source_connections = Some("2".into())).await;
    let turn = server.running.turn[0];
    let mut held = Vec::new();
    for port in [1, 2] {
        let mut stream = connect_with(PROXY, turn, &v1_from("192.0.2.9", port)).await;
        mapped_address(&mut stream).await.unwrap();
        held.push(stream);
    }
    assert!(
        mapped_address(&mut connect_with(PROXY, turn, &v1("192.0.2.9")).await).await.is_err(),
        "one too many"
    );
    assert!(
        mapped_address(&mut connect_with(PROXY, turn, &v1("192.0.2.8")).await).await.is_ok(),
        "another source"
    );
}

#[tokio::test]
async fn ipv6_networks_of_one_subscriber_share_a_handshake_limit() {
    let server = Arc::new(proxied_server(|_| {}).await);
    let header = |network: &str, port: usize| {
        format!("PROXY TCP6 2001:db8:{network}::1 2001:db8:ffff::1 {port} 443\r\n").into_bytes()
    };
    let started = Instant::now();
    let handshakes: Vec<_> = (0..400)
        .map(|number| {
            let (server, header) =
                (Arc::clone(&server), header(&format!("0:{:x}", number % 8), 1000 + number));
            tokio::spawn(async move {
                let stream = connect_with(PROXY, server.running.https[0], &header).await;
                server.tls_over(stream, &[]).await.is_ok()
            })
        })
        .collect();
    let mut done = 0;
    for handshake in handshakes {
        done += u64::from(handshake.await.unwrap());
    }
    let took = started.elapsed();
    println!("{done} of 400 handshakes of eight /64s of one /56 in {took:?}");
    assert!(done <= 102 + 21 * (took.as_secs() + 1), "{done} in {took:?}");
    let other = connect_with(PROXY, server.running.https[0], &header("1", 1)).await;
    assert!(server.tls_over(other, &[]).await.is_ok(), "another subscriber is not limited");
}

#[tokio::test]
async fn haproxy_forwards_streams_with_both_header_versions() {
    if !is_installed("haproxy") {
        return;
    }
    let server = proxied_server(|_| {}).await;
    let backends = [server.running.https[0], server.running.turn[0], server.running.turns[0]];
    for version in ["send-proxy", "send-proxy-v2"] {
        let fronts = [(); 3].map(|()| free_port());
        let mut configuration =
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n".to_owned();
        for (front, backend) in fronts.iter().zip(backends) {
            configuration += &format!(
                "listen l{front}\n bind 127.0.0.1:{front}\n source {PROXY}\n server box {backend} {version} check\n"
            );
        }
        let _haproxy =
            Proxy::start(server.folder.path(), "haproxy", &configuration, &["-f"], fronts[0]).await;
        let [https, turn, turns] = fronts.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let mut plain = connect(CLIENT, turn).await;
        let own = plain.local_addr().unwrap();
        assert_eq!(mapped_address(&mut plain).await.unwrap(), own, "{version}");
        for to in [turns, https] {
            let tcp = connect(CLIENT, to).await;
            let own = tcp.local_addr().unwrap();
            assert_eq!(
                mapped_address(&mut server.tls_over(tcp, &[]).await.unwrap()).await.unwrap(),
                own,
                "{version}"
            );
        }
        assert_eq!(test_status(&server, connect(CLIENT, https).await).await, 200, "{version}");
    }
}

#[tokio::test]
async fn nginx_with_the_documented_lines_proxies_websockets() {
    if !is_installed("nginx") {
        return;
    }
    let server = proxied_server(|settings| {
        settings.https_port = Some("0".into());
        settings.trusted_proxy = Some(vec!["127.0.0.1".into(), "::1".into()]);
    })
    .await;
    let (front, folder) = (free_port(), server.folder.path().display().to_string());
    let documentation =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md")).unwrap();
    let lines = documentation.split("```nginx\n").nth(1).unwrap().split("```").next().unwrap();
    let nginx_server = lines
        .replace("[::]:443", &format!("[::1]:{front}"))
        .replace("listen 443", &format!("listen 127.0.0.1:{front}"))
        .replace("/etc/letsencrypt/live/call.example.com/fullchain.pem", &format!("{folder}/cert.pem"))
        .replace("/etc/letsencrypt/live/call.example.com/privkey.pem", &format!("{folder}/key.pem"))
        .replace("call.example.com", "box.test")
        .replace("127.0.0.1:8080", &server.running.http[0].to_string());
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {folder}/temp;"))
        .concat();
    let configuration = format!(
        "daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log warn;\n\
         events {{}} http {{ access_log off; {temporary} {nginx_server} }}"
    );
    let _nginx =
        Proxy::start(server.folder.path(), "nginx", &configuration, &["-e", "stderr", "-c"], front).await;
    let front = SocketAddr::from((Ipv4Addr::LOCALHOST, front));
    for (origin, status) in [
        (format!("https://box.test:{}", front.port()), "101"),
        ("https://box.test".to_owned(), "101"),
        (format!("https://evil.test:{}", front.port()), "403"),
        (format!("http://box.test:{}", front.port()), "403"),
        ("https://box.test.evil.test".to_owned(), "403"),
    ] {
        let mut stream = server.tls_over(connect(CLIENT, front).await, &[]).await.unwrap();
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: box.test:{}\r\nOrigin: {origin}\r\nConnection: keep-alive, Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
            front.port()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut status_line = [0; 12];
        timeout(TEST_TIMEOUT, stream.read_exact(&mut status_line)).await.unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&status_line[9..]), status, "{origin}");
    }
}
