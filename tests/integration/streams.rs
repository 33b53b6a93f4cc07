//! TURN over TCP and TLS: every listener, the port that HTTPS and TURN share, and streams that misbehave.

use std::time::{Duration, Instant};

use crate::harness::TEST_TIMEOUT;
use crate::in_process::InProcessServer;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

async fn server() -> InProcessServer {
    InProcessServer::start(|_| {}).await
}

async fn tcp(server: &InProcessServer) -> TcpStream {
    TcpStream::connect(server.running.turn[0]).await.unwrap()
}

/// A TLS connection to the HTTPS port.
async fn https(server: &InProcessServer, alpn: &[&[u8]]) -> TlsStream<TcpStream> {
    let tcp = TcpStream::connect(server.running.https[0]).await.unwrap();
    server.tls_over(tcp, alpn).await.unwrap()
}

/// A TLS connection to the port for TURN over TLS.
async fn turns(server: &InProcessServer) -> TlsStream<TcpStream> {
    let tcp = TcpStream::connect(server.running.turns[0]).await.unwrap();
    server.tls_over(tcp, &[]).await.unwrap()
}

/// A Binding request whose transaction id is `id` twelve times.
fn binding(id: u8) -> Vec<u8> {
    [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[id; 12]].concat()
}

/// Sends a Binding request and asserts that its reply comes.
async fn assert_binds(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), id: u8) {
    stream.write_all(&binding(id)).await.unwrap();
    assert_reply(stream, id).await;
}

async fn assert_reply(stream: &mut (impl AsyncRead + Unpin), id: u8) {
    let mut reply = [0; 32];
    timeout(TEST_TIMEOUT, stream.read_exact(&mut reply)).await.unwrap().unwrap();
    assert_eq!((&reply[..2], &reply[8..20]), (&[1, 1][..], &[id; 12][..]));
}

async fn get_page(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: box.test\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    timeout(TEST_TIMEOUT, stream.read_to_string(&mut text)).await.unwrap().unwrap();
    text
}

/// The time until the server closes the stream.
async fn time_until_closed(stream: &mut (impl AsyncRead + Unpin)) -> Duration {
    let start = Instant::now();
    let mut rest = Vec::new();
    // A reset counts as closed.
    let _ = timeout(TEST_TIMEOUT * 2, stream.read_to_end(&mut rest)).await.unwrap();
    start.elapsed()
}

#[tokio::test]
async fn http_is_recognized_by_method_and_leading_empty_lines() {
    let server = server().await;
    for alpn in [&[][..], &[&b"http/1.0"[..]], &[b"h3", b"http/1.1"], &[b"unknown", b"http/1.0"]] {
        let page = get_page(&mut https(&server, alpn).await).await;
        assert!(page.starts_with("HTTP/1.1 200"), "{alpn:?}: {page}");
    }
    for empty in ["\r\n\r\n", "\r\n", "\n"] {
        let mut stream = https(&server, &[]).await;
        stream.write_all(empty.as_bytes()).await.unwrap();
        assert!(get_page(&mut stream).await.starts_with("HTTP/1.1 200"), "{empty:?}");
    }
    let tcp = TcpStream::connect(server.running.https[0]).await.unwrap();
    assert!(server.tls_over(tcp, &[b"h3"]).await.is_err(), "an unsupported protocol is refused");
}

#[tokio::test]
async fn every_listener_answers() {
    let server = server().await;
    assert_binds(&mut tcp(&server).await, 1).await;
    assert_binds(&mut turns(&server).await, 2).await;
    assert_binds(&mut https(&server, &[]).await, 3).await;
    assert_binds(&mut https(&server, &[b"stun.turn"]).await, 4).await;
    assert_binds(&mut https(&server, &[b"stun.nat-discovery"]).await, 5).await;
}

#[tokio::test]
async fn page_and_turn_share_one_port() {
    let server = server().await;
    let mut turn = https(&server, &[]).await;
    assert_binds(&mut turn, 1).await;
    for alpn in [&[][..], &[&b"http/1.1"[..]]] {
        let text = get_page(&mut https(&server, alpn).await).await;
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    }
    assert_binds(&mut turn, 2).await;
}

#[tokio::test]
async fn messages_may_arrive_split_or_coalesced() {
    let server = server().await;
    let mut stream = https(&server, &[]).await;
    for byte in binding(1) {
        stream.write_all(&[byte]).await.unwrap();
        stream.flush().await.unwrap();
    }
    assert_reply(&mut stream, 1).await;
    let coalesced: Vec<u8> = (2..6).flat_map(binding).collect();
    stream.write_all(&coalesced).await.unwrap();
    for id in 2..6 {
        assert_reply(&mut stream, id).await;
    }
}

#[tokio::test]
async fn garbage_and_silence_are_closed_without_effect_on_others() {
    let server = server().await;
    let mut other = tcp(&server).await;
    let mut garbage = tcp(&server).await;
    garbage.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut silent = tcp(&server).await;
    let mut silent_tls = https(&server, &[]).await;
    assert_binds(&mut other, 1).await;
    let (garbage, silent, silent_tls) = tokio::join!(
        time_until_closed(&mut garbage),
        time_until_closed(&mut silent),
        time_until_closed(&mut silent_tls)
    );
    println!("closed after: garbage {garbage:?}, silence {silent:?}, silence in TLS {silent_tls:?}");
    assert_binds(&mut other, 2).await;
}

#[tokio::test]
async fn unknown_first_byte_gets_an_http_error() {
    let server = server().await;
    let mut stream = https(&server, &[]).await;
    stream.write_all(b"\xff\xff\xff\xff\r\n\r\n").await.unwrap();
    let mut text = Vec::new();
    let _ = timeout(TEST_TIMEOUT, stream.read_to_end(&mut text)).await.unwrap();
    assert!(text.is_empty() || text.starts_with(b"HTTP/1.1 400"), "{text:?}");
}
