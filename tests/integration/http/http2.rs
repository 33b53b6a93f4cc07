//! HTTP/2 on the HTTPS port: requests, hosts, limits, timeouts and shutdown.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::harness::http_client::exchange;
use crate::harness::http2_client::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GET_ROOT, HEADERS, Http2Client,
    Http2Frames, NO_ERROR, PING, REFUSED_STREAM, RST_STREAM, SETTINGS, field, frame, get_root,
};
use crate::harness::test_ca::client_config;
use crate::harness::web_server::{TEST_TIMEOUT, WebServer, start_web_server};
use crate::in_process::InProcessServer;
use rustls::HandshakeKind;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The setting of the window of new streams (RFC 9113 §6.5.2).
const INITIAL_WINDOW_SIZE: u16 = 4;

async fn client(server: &WebServer) -> Http2Client {
    Http2Client::connect(server.connect_http2().await, &server.host()).await
}

async fn frames(server: &WebServer, settings: &[(u16, u32)]) -> Http2Frames<TlsStream<TcpStream>> {
    Http2Frames::connect(server.connect_http2().await, settings).await
}

/// The `count`th request of a client for `/`.
fn request(count: u32, host: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, 2 * count + 1, &get_root(host))
}

const FAILED: &str = r#"webrtc_box_http2_connections_ended_total{reason="failed"}"#;
const STALLED: &str = r#"webrtc_box_http2_connections_ended_total{reason="stalled"}"#;
const REQUESTS: &str = r#"webrtc_box_http_requests_total{version="2"}"#;

/// Waits until the metric `series` has the value `expected`.
async fn wait_for_metric(server: &WebServer, series: &str, expected: usize) {
    let started = Instant::now();
    while server.metric(series) != expected {
        assert!(started.elapsed() < TEST_TIMEOUT, "{series} is {}", server.metric(series));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn page_has_the_same_headers_as_over_http_1_1() {
    let server = start_web_server(|_| {}).await;
    let http2 = client(&server).await;
    for (path, lines) in [
        ("/", &[][..]),
        ("/r/kitchen", &[("accept-encoding", "gzip, br")]),
        ("/app/main.js", &[("accept-encoding", "br")]),
        ("/healthz", &[]),
        ("/nothing", &[]),
    ] {
        let written: Vec<String> = lines.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let http1 = server.get(path, &written.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let reply = http2.get(path, lines).await;
        assert_eq!((reply.status, &reply.body), (http1.status, &http1.body), "{path}");
        let named = |headers: &[(String, String)]| {
            let mut named: Vec<_> = headers
                .iter()
                .filter(|(name, _)| !["date", "connection"].contains(&&**name))
                .cloned()
                .collect();
            named.sort();
            named
        };
        assert_eq!(named(&reply.headers), named(&http1.headers), "{path}");
    }
    let etag = http2.get("/", &[]).await.header("etag").to_owned();
    let known = http2.get("/", &[("if-none-match", &etag)]).await;
    assert_eq!((known.status, known.body.len()), (304, 0));
    let head = http2.request("HEAD", "/", &[], "").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(http2.request("POST", "/leave", &[], "no token").await.status, 400);
    assert_eq!(http2.request("POST", "/leave", &[], &"x".repeat(4000)).await.status, 400);
    assert_eq!(http2.get("/ws", &[]).await.status, 426, "a WebSocket needs HTTP/1.1");
    assert_eq!(server.metric(REQUESTS), 11);
}

#[tokio::test]
async fn large_files_arrive_whole_on_parallel_streams() {
    let public = tempfile::tempdir().unwrap();
    let large: Vec<u8> = (0..1_000_000_u32).map(|n| (n / 7) as u8).collect();
    fs::write(public.path().join("index.html"), "<!doctype html>").unwrap();
    fs::write(public.path().join("large.bin"), &large).unwrap();
    let server = start_web_server(|config| config.public = Some(public.path().to_owned())).await;
    let http2 = client(&server).await;
    let replies = [(); 8].map(|()| {
        let http2 = http2.clone();
        tokio::spawn(async move { http2.get("/large.bin", &[]).await })
    });
    for reply in replies {
        let reply = reply.await.unwrap();
        assert_eq!(reply.header("content-length"), "1000000");
        assert!(reply.body == large);
    }
}

#[tokio::test]
async fn http2_websocket_and_turn_share_one_port() {
    let server = InProcessServer::start(|_| {}).await;
    let connect = async |alpn: &[&[u8]]| {
        let tcp = TcpStream::connect(server.running.https[0]).await.unwrap();
        server.tls_over(tcp, alpn).await.unwrap()
    };
    let browser: [&[u8]; 2] = [b"h2", b"http/1.1"];
    let http2 = Http2Client::connect(connect(&browser).await, "box.test").await;
    assert_eq!(http2.get("/", &[]).await.status, 200);
    let mut turn = connect(&[]).await;
    turn.write_all(&[&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat()).await.unwrap();
    let mut reply = [0; 32];
    turn.read_exact(&mut reply).await.unwrap();
    assert_eq!(reply[..2], [1, 1], "a Binding response");
    let websocket = [
        "Host: box.test",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    ];
    let opened = exchange(connect(&[b"http/1.1"]).await, "GET /ws HTTP/1.1", &websocket).await;
    assert_eq!(opened.status, 101);
    assert_eq!(http2.get("/healthz", &[]).await.status, 200, "the first connection is still open");
    let coturn: [&[u8]; 3] = [b"stun.turn", b"stun.nat-discovery", b"http/1.1"];
    assert_eq!(connect(&coturn).await.get_ref().1.alpn_protocol(), Some(&b"stun.turn"[..]));
}

#[tokio::test]
async fn second_connection_resumes_the_tls_session() {
    let server = InProcessServer::start(|_| {}).await;
    let mut config = client_config(server.root.clone());
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let tcp = TcpStream::connect(server.running.https[0]).await.unwrap();
        let stream = connector.connect(ServerName::try_from("box.test").unwrap(), tcp).await.unwrap();
        kinds.push(stream.get_ref().1.handshake_kind().unwrap());
        // The tickets arrive before the reply.
        let mut frames = Http2Frames::connect(stream, &[]).await;
        frames.send(&request(0, "box.test")).await.unwrap();
        frames.wait_for(HEADERS).await.expect("a reply");
    }
    assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed]);
}

#[tokio::test]
async fn http2_without_alpn_is_refused() {
    let server = start_web_server(|_| {}).await;
    for mut stream in [server.connect().await, server.connect_with(&[b"http/1.1"]).await] {
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        let mut received = Vec::new();
        let _ = tokio::time::timeout(TEST_TIMEOUT, stream.read_to_end(&mut received)).await.expect("closed");
        assert!(received.is_empty() || received.starts_with(b"HTTP/1.1 400"), "{received:?}");
    }
}

#[tokio::test]
async fn authority_is_checked_like_a_host_header() {
    let server = start_web_server(|config| config.domain = Some("box.example".into())).await;
    for (block, status) in [
        (get_root("box.example"), 200),
        ([&GET_ROOT[..], &field("host", "box.example")].concat(), 200),
        ([get_root("box.example"), field("host", "BOX.example")].concat(), 200),
        (get_root("evil.example"), 421),
        (get_root("a@box.example"), 421),
        ([get_root("box.example"), field("host", "evil.example")].concat(), 400),
        ([get_root("box.example"), field("host", "box.example"), field("host", "box.example")].concat(), 400),
        (GET_ROOT.to_vec(), 400),
    ] {
        let mut frames = frames(&server, &[]).await;
        frames.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)).await.unwrap();
        let reply = frames.wait_for(HEADERS).await.expect("a reply");
        assert_eq!(status_of(&reply.payload), status, "{}", String::from_utf8_lossy(&block));
    }
}

#[tokio::test]
async fn origins_and_sources_are_checked_over_http2() {
    let server = start_web_server(|config| config.trusted_proxy = vec!["127.0.0.0/8".parse().unwrap()]).await;
    let http2 = client(&server).await;
    let own = format!("https://{}", server.host());
    let leave =
        async |origin: &str| http2.request("POST", "/leave", &[("origin", origin)], "none").await.status;
    assert_eq!(leave(&own).await, 400, "not a token");
    assert_eq!(leave("https://evil.example").await, 403);
    let test = async |from: &str| http2.get("/test.json", &[("x-forwarded-for", from)]).await.status;
    for _ in 0..10 {
        assert_eq!(test("192.0.2.1").await, 200);
    }
    assert_eq!(test("192.0.2.1").await, 429);
    assert_eq!(test("192.0.2.2").await, 200, "another source");
}

/// The status of a response header block, whose first field it is: an entry of the static table (RFC 7541, appendix A), or
/// `:status` with three digits in Huffman code (appendix B).
fn status_of(block: &[u8]) -> u16 {
    match block {
        [0x88, ..] => 200,
        [0x8c, ..] => 400,
        [0x48, length, code @ ..] if (0x82..=0x83).contains(length) => {
            let bits = code.iter().take(3).fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << 8;
            (0..3)
                .fold((0, bits), |(status, bits), _| match bits >> 27 {
                    low @ 0..=2 => (10 * status + low as u16, bits << 5),
                    _ => (10 * status + (bits >> 26) as u16 - 0x19 + 3, bits << 6),
                })
                .0
        }
        _ => panic!("{block:x?}"),
    }
}

#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let server = start_web_server(|_| {}).await;
    let mut attacker = frames(&server, &[]).await;
    let attack: Vec<u8> = (0..2000)
        .flat_map(|count| {
            let reset = frame(RST_STREAM, 0, 2 * count + 1, &8_u32.to_be_bytes());
            [request(count, "a"), reset].concat()
        })
        .collect();
    let _ = attacker.send(&attack).await;
    assert_eq!(attacker.goaway_code().await, Some(ENHANCE_YOUR_CALM));
    wait_for_metric(&server, FAILED, 1).await;
    println!("{} of 2000 requests were routed", server.metric(REQUESTS));
    assert!(server.metric(REQUESTS) < 1000);
    assert_eq!(client(&server).await.get("/", &[]).await.status, 200, "others are served");
}

#[tokio::test]
async fn long_header_lists_and_continuation_floods_are_refused() {
    let server = start_web_server(|_| {}).await;
    let mut long = frames(&server, &[]).await;
    let block = [get_root("a"), field("x-long", &"x".repeat(17 * 1024))].concat();
    let (first, rest) = block.split_at(16 * 1024);
    long.send(&frame(HEADERS, END_STREAM, 1, first)).await.unwrap();
    long.send(&frame(CONTINUATION, END_HEADERS, 1, rest)).await.unwrap();
    assert_eq!(status_of(&long.wait_for(HEADERS).await.expect("a reply").payload), 431);
    long.send(&request(1, "a")).await.unwrap();
    assert_eq!(status_of(&long.wait_for(HEADERS).await.expect("a reply").payload), 200, "only that request");

    let mut flood = frames(&server, &[]).await;
    flood.send(&frame(HEADERS, END_STREAM, 1, &get_root("a"))).await.unwrap();
    let part = frame(CONTINUATION, 0, 1, &field("x-part", &"x".repeat(4 * 1024)));
    let mut sent = 0;
    while sent < 100 * part.len() && flood.send(&part).await.is_ok() {
        sent += part.len();
    }
    assert_eq!(flood.goaway_code().await.unwrap_or(ENHANCE_YOUR_CALM), ENHANCE_YOUR_CALM);
    wait_for_metric(&server, FAILED, 1).await;

    let mut empty = frames(&server, &[]).await;
    empty.send(&frame(HEADERS, END_STREAM, 1, &get_root("a"))).await.unwrap();
    let _ = empty.send(&frame(CONTINUATION, 0, 1, &[]).repeat(10_000)).await;
    assert_eq!(empty.goaway_code().await.unwrap_or(ENHANCE_YOUR_CALM), ENHANCE_YOUR_CALM);
    wait_for_metric(&server, FAILED, 2).await;
}

#[tokio::test]
async fn streams_beyond_the_limit_are_refused() {
    let server = start_web_server(|_| {}).await;
    let mut frames = frames(&server, &[(INITIAL_WINDOW_SIZE, 0)]).await;
    let requests: Vec<u8> = (0..101).flat_map(|count| request(count, "a")).collect();
    frames.send(&requests).await.unwrap();
    let reset = frames.wait_for(RST_STREAM).await.expect("a reset");
    assert_eq!((reset.stream, reset.error_code()), (201, REFUSED_STREAM));
    frames.send(&frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes())).await.unwrap();
    frames.send(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff])).await.unwrap();
    frames.send(&request(101, "a")).await.unwrap();
    assert!(frames.wait_for(DATA).await.is_some(), "the others are served once the client reads");
}

#[tokio::test]
async fn client_that_reads_no_reply_is_closed() {
    let server = start_web_server(|_| {}).await;
    let mut reader = frames(&server, &[(INITIAL_WINDOW_SIZE, 0)]).await;
    let started = Instant::now();
    let requests: Vec<u8> = (0..50).flat_map(|count| request(count, "a")).collect();
    reader.send(&requests).await.unwrap();
    // Pings show that the client is alive, not that it reads.
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(started.elapsed() < TEST_TIMEOUT);
        if reader.send(&frame(PING, 0, 0, &[1; 8])).await.is_err() {
            break;
        }
    }
    println!("a client that reads nothing was closed after {:?}", started.elapsed());
    assert!((Duration::from_secs(10)..Duration::from_secs(28)).contains(&started.elapsed()));
    wait_for_metric(&server, STALLED, 1).await;
}

#[tokio::test]
async fn silent_and_slow_clients_are_closed() {
    let server = start_web_server(|_| {}).await;
    let started = Instant::now();
    let silent = frames(&server, &[]).await;
    let mut partial = frames(&server, &[]).await;
    partial.send(&frame(HEADERS, END_STREAM, 1, &get_root("a"))).await.unwrap();
    let mut no_preface = Http2Frames(server.connect_http2().await);
    no_preface.send(b"PRI * HTTP").await.unwrap();
    for (name, mut client) in [("silent", silent), ("partial headers", partial), ("no preface", no_preface)] {
        client.goaway_code().await;
        println!("{name} closed after {:?}", started.elapsed());
    }
    assert!((Duration::from_secs(9)..Duration::from_secs(20)).contains(&started.elapsed()));
}

#[tokio::test]
async fn shutdown_answers_open_streams_and_says_goodbye() {
    let server = start_web_server(|_| {}).await;
    let mut open = frames(&server, &[(INITIAL_WINDOW_SIZE, 0)]).await;
    open.send(&request(0, "a")).await.unwrap();
    open.wait_for(HEADERS).await.expect("a reply");
    let mut idle = client(&server).await;
    assert_eq!(idle.get("/healthz", &[]).await.status, 200);
    let started = Instant::now();
    let http_server = server.server.clone();
    let stop = tokio::spawn(async move { http_server.stop(TEST_TIMEOUT).await });
    idle.closed().await;
    // The first GOAWAY allows requests that are on their way; the answered ping shows that they have arrived.
    let mut first = open.receive().await.expect("a frame");
    while first.kind != PING {
        first = open.receive().await.expect("a frame");
    }
    open.send(&request(1, "a")).await.unwrap();
    open.send(&frame(PING, ACK, 0, &first.payload)).await.unwrap();
    open.send(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff])).await.unwrap();
    let (mut ended, mut code) = (0, None);
    while let Some(frame) = open.receive().await {
        ended += u32::from(frame.kind == DATA && frame.flags & END_STREAM != 0);
        code = (frame.kind == crate::harness::http2_client::GOAWAY).then(|| frame.error_code()).or(code);
    }
    assert_eq!((ended, code), (2, Some(NO_ERROR)));
    stop.await.unwrap();
    println!("stopped after {:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(5));
}
