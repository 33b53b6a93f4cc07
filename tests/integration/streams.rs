//! TURN over TCP and TLS against a whole box: every listener, the port that HTTPS and TURN share, and
//! streams that misbehave.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::harness::ports::free_port;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use webrtc_box::Running;
use webrtc_box::config::{RawSettings, StateDirDefaults};

const PATIENCE: Duration = Duration::from_secs(15);

/// A box with a domain, and what a client needs to trust it.
struct Server {
    running: Running,
    root: CertificateDer<'static>,
    _place: TempDir,
}

async fn server() -> Server {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let made = rcgen::generate_simple_self_signed(["box.test".to_owned()]).unwrap();
    fs::write(path("cert.pem"), made.cert.pem()).unwrap();
    fs::write(path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let typed = RawSettings {
        domain: Some("box.test".into()),
        cert: Some(path("cert.pem")),
        key: Some(path("key.pem")),
        state_dir: Some(path("state")),
        listen: Some(vec!["127.0.0.1".into()]),
        https_port: Some(free_port().to_string()),
        http_port: Some("0".into()),
        turn_port: Some(free_port().to_string()),
        turns_port: Some(free_port().to_string()),
        metrics_listen: Some(String::new()),
        ..RawSettings::default()
    };
    let settings = typed.validate(&StateDirDefaults::default()).unwrap();
    let running = webrtc_box::start(settings).await.unwrap();
    Server { running, root: made.cert.der().clone(), _place: place }
}

impl Server {
    async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.running.turn[0]).await.unwrap()
    }

    async fn tls(&self, to: SocketAddr, alpn: &[&[u8]]) -> TlsStream<TcpStream> {
        self.try_tls(to, alpn).await.unwrap()
    }

    async fn try_tls(&self, to: SocketAddr, alpn: &[&[u8]]) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let stream = TcpStream::connect(to).await.unwrap();
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("box.test").unwrap(), stream).await
    }
}

fn binding(name: u8) -> Vec<u8> {
    [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[name; 12]].concat()
}

/// Asks for a Binding and checks that the answer is to this question.
async fn binds(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), name: u8) {
    stream.write_all(&binding(name)).await.unwrap();
    answered(stream, name).await;
}

async fn answered(stream: &mut (impl AsyncRead + Unpin), name: u8) {
    let mut reply = [0; 32];
    timeout(PATIENCE, stream.read_exact(&mut reply)).await.unwrap().unwrap();
    assert_eq!((&reply[..2], &reply[8..20]), (&[1, 1][..], &[name; 12][..]));
}

async fn get_page(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: box.test\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut text)).await.unwrap().unwrap();
    text
}

/// The stream is closed by the other side; how long that took.
async fn closed(stream: &mut (impl AsyncRead + Unpin)) -> Duration {
    let begun = Instant::now();
    let mut rest = Vec::new();
    // A reset is an end as well.
    let _ = timeout(PATIENCE * 2, stream.read_to_end(&mut rest)).await.unwrap();
    begun.elapsed()
}

#[tokio::test]
async fn http_is_recognized_by_method_and_leading_empty_lines() {
    let server = server().await;
    let https = server.running.https[0];
    for alpn in [&[][..], &[&b"http/1.0"[..]], &[b"h2", b"http/1.1"], &[b"unknown", b"http/1.0"]] {
        let page = get_page(&mut server.tls(https, alpn).await).await;
        assert!(page.starts_with("HTTP/1.1 200"), "{alpn:?}: {page}");
    }
    for empty in ["\r\n\r\n", "\r\n", "\n"] {
        let mut stream = server.tls(https, &[]).await;
        stream.write_all(empty.as_bytes()).await.unwrap();
        assert!(get_page(&mut stream).await.starts_with("HTTP/1.1 200"), "{empty:?}");
    }
    assert!(server.try_tls(https, &[b"h2"]).await.is_err(), "what is not spoken here is refused");
}

#[tokio::test]
async fn every_listener_answers() {
    let server = server().await;
    binds(&mut server.tcp().await, 1).await;
    binds(&mut server.tls(server.running.turns[0], &[]).await, 2).await;
    binds(&mut server.tls(server.running.https[0], &[]).await, 3).await;
    binds(&mut server.tls(server.running.https[0], &[b"stun.turn"]).await, 4).await;
    binds(&mut server.tls(server.running.https[0], &[b"stun.nat-discovery"]).await, 5).await;
}

#[tokio::test]
async fn page_and_turn_share_one_port() {
    let server = server().await;
    let mut turn = server.tls(server.running.https[0], &[]).await;
    binds(&mut turn, 1).await;
    for alpn in [&[][..], &[&b"http/1.1"[..]]] {
        let text = get_page(&mut server.tls(server.running.https[0], alpn).await).await;
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    }
    binds(&mut turn, 2).await;
}

#[tokio::test]
async fn messages_may_arrive_split_or_coalesced() {
    let server = server().await;
    let mut stream = server.tls(server.running.https[0], &[]).await;
    for byte in binding(1) {
        stream.write_all(&[byte]).await.unwrap();
        stream.flush().await.unwrap();
    }
    answered(&mut stream, 1).await;
    let together: Vec<u8> = (2..6).flat_map(binding).collect();
    stream.write_all(&together).await.unwrap();
    for name in 2..6 {
        answered(&mut stream, name).await;
    }
}

#[tokio::test]
async fn garbage_and_silence_are_closed_without_effect_on_others() {
    let server = server().await;
    let mut neighbour = server.tcp().await;
    let mut garbage = server.tcp().await;
    garbage.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut silent = server.tcp().await;
    let mut silent_tls = server.tls(server.running.https[0], &[]).await;
    binds(&mut neighbour, 1).await;
    let (garbage, silent, silent_tls) =
        tokio::join!(closed(&mut garbage), closed(&mut silent), closed(&mut silent_tls));
    println!("closed after: garbage {garbage:?}, silence {silent:?}, silence in TLS {silent_tls:?}");
    binds(&mut neighbour, 2).await;
}

#[tokio::test]
async fn unknown_first_byte_gets_an_http_error() {
    let server = server().await;
    let mut stream = server.tls(server.running.https[0], &[]).await;
    stream.write_all(b"\xff\xff\xff\xff\r\n\r\n").await.unwrap();
    let mut text = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut text)).await.unwrap();
    assert!(text.is_empty() || text.starts_with(b"HTTP/1.1 400"), "{text:?}");
}
