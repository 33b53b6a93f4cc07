//! Timeouts and limits of connections, shutdown, and a lack of file descriptors.

use std::fs;
use std::io::{Read as _, Seek as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::harness::http_client::exchange;
use crate::harness::web_server::{TEST_TIMEOUT, start_web_server};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

#[tokio::test]
async fn slow_headers_are_closed_and_delay_no_other_client() {
    let server = start_web_server(|_| {}).await;
    let (slow, silent) = (server.connect().await, TcpStream::connect(server.https).await.unwrap());
    let (mut read, mut write) = tokio::io::split(slow);
    let started = Instant::now();
    let sender = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        let request = "GET / HTTP/1.1\r\nX-Slow: ".bytes().chain(std::iter::repeat(b'x'));
        for byte in request {
            ticks.tick().await;
            if write.write_all(&[byte]).await.is_err() || write.flush().await.is_err() {
                break;
            }
        }
    });
    assert_eq!(server.get("/", &[]).await.status, 200, "others are served meanwhile");
    // A connection without a TLS handshake is closed as soon.
    let (mut silent, mut rest) = (silent, Vec::new());
    let closed = async {
        let _ = read.read_to_end(&mut Vec::new()).await;
        let _ = silent.read_to_end(&mut rest).await;
    };
    tokio::time::timeout(TEST_TIMEOUT, closed).await.expect("both closed");
    println!("slow headers and a silent handshake closed after {:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(15));
    sender.abort();
}

#[tokio::test]
async fn idle_connection_is_closed() {
    let server = start_web_server(|_| {}).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let started = Instant::now();
    let mut received = Vec::new();
    let _ = tokio::time::timeout(TEST_TIMEOUT, stream.read_to_end(&mut received)).await.expect("closed");
    println!("an idle connection was closed after {:?}", started.elapsed());
    assert!(received.starts_with(b"HTTP/1.1 200"));
    assert!((Duration::from_secs(5)..Duration::from_secs(15)).contains(&started.elapsed()));
}

#[tokio::test]
async fn proxy_connection_idles_longer_than_a_browser_connection() {
    let server = start_web_server(|config| {
        config.trusted_proxy = vec!["127.0.0.1/32".parse().unwrap()];
        config.proxy_protocol = vec!["127.0.0.3/32".parse().unwrap()];
    })
    .await;
    let request = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut pooled = TcpStream::connect(server.http).await.unwrap();
    let proxied = TcpSocket::new_v4().unwrap();
    proxied.bind(SocketAddr::from(([127, 0, 0, 3], 0))).unwrap();
    let mut proxied = proxied.connect(server.http).await.unwrap();
    proxied.write_all(b"PROXY TCP4 198.51.100.7 192.0.2.1 4711 80\r\n").await.unwrap();
    proxied.write_all(request).await.unwrap();
    let mut browser = server.try_connect(Ipv4Addr::new(127, 0, 0, 2)).await.unwrap();
    pooled.write_all(request).await.unwrap();
    let mut chunk = [0; 4096];
    assert!(pooled.read(&mut chunk).await.unwrap() > 0);
    browser.write_all(request).await.unwrap();
    for mut browser in [Box::new(browser) as Box<dyn AsyncRead + Unpin>, Box::new(proxied)] {
        let mut received = Vec::new();
        let _ = tokio::time::timeout(TEST_TIMEOUT, browser.read_to_end(&mut received)).await.expect("closed");
        assert!(received.starts_with(b"HTTP/1.1"));
    }
    pooled.write_all(request).await.unwrap();
    let received = tokio::time::timeout(TEST_TIMEOUT, pooled.read(&mut chunk)).await.unwrap().unwrap();
    assert!(chunk[..received].starts_with(b"HTTP/1.1 200"), "still open");
}

#[tokio::test]
async fn long_headers_are_refused() {
    let server = start_web_server(|_| {}).await;
    let long = format!("X-Long: {}", "x".repeat(64 * 1024));
    let reply = server.get("/", &[&long]).await;
    assert_eq!(reply.status, 431);
    assert_eq!(server.get("/", &[&format!("X-Long: {}", "x".repeat(8 * 1024))]).await.status, 200);
}

#[tokio::test]
async fn connections_per_source_are_limited_and_released() {
    let server = start_web_server(|config| config.source_connections = 2).await;
    let (first, _second) = (server.connect().await, server.connect().await);
    let mut third = TcpStream::connect(server.https).await.unwrap();
    let end = tokio::time::timeout(TEST_TIMEOUT, third.read(&mut [0; 1])).await.expect("closed");
    assert!(matches!(end, Ok(0) | Err(_)), "closed without a response");
    drop(first);
    // The server notices the closed connection with a delay.
    let started = Instant::now();
    loop {
        let mut stream = TcpStream::connect(server.http).await.unwrap();
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        let mut received = Vec::new();
        let _ = stream.read_to_end(&mut received).await;
        if received.starts_with(b"HTTP/1.1 308") {
            break;
        }
        assert!(started.elapsed() < TEST_TIMEOUT);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn tls_handshakes_are_rate_limited_per_source() {
    let server = Arc::new(start_web_server(|_| {}).await);
    let started = Instant::now();
    let handshakes: Vec<_> = (0..200)
        .map(|_| {
            let server = Arc::clone(&server);
            tokio::spawn(async move { server.try_connect(Ipv4Addr::LOCALHOST).await.is_ok() })
        })
        .collect();
    while server.metric(r#"webrtc_box_tls_handshakes_total{outcome="ok"}"#) < 50 {
        assert!(started.elapsed() < TEST_TIMEOUT);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(server.try_connect(Ipv4Addr::new(127, 0, 0, 2)).await.is_ok(), "another source is not limited");
    let mut done = 0;
    for handshake in handshakes {
        done += usize::from(tokio::time::timeout(TEST_TIMEOUT, handshake).await.unwrap().unwrap());
    }
    let took = started.elapsed();
    println!("{done} of 200 handshakes of one source in {took:?}");
    assert!((51..=51 + took.as_secs() as usize * 11 + 11).contains(&done), "{done} in {took:?}");
    let refused = server.metric(r#"webrtc_box_tls_handshakes_total{outcome="refused"}"#);
    assert_eq!(refused, 200 - done, "the others count as refused");
}

#[tokio::test]
async fn shutdown_answers_open_requests_and_closes_idle_connections() {
    let server = start_web_server(|_| {}).await;
    let mut idle = server.connect().await;
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut received = [0; 12];
    idle.read_exact(&mut received).await.unwrap();
    let started = Instant::now();
    server.server.stop(TEST_TIMEOUT).await;
    println!("stopped after {:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(8));
    assert!(TcpStream::connect(server.https).await.is_err(), "the listener is closed");
}

#[tokio::test]
async fn connection_accepted_during_shutdown_is_answered() {
    let server = start_web_server(|_| {}).await;
    let silent = TcpStream::connect(server.https).await.unwrap();
    let late = TcpStream::connect(server.https).await.unwrap();
    // Connections are accepted in order.
    drop(server.connect().await);
    let http_server = server.server.clone();
    let start = Instant::now();
    let stop = tokio::spawn(async move { http_server.stop(TEST_TIMEOUT).await });
    while TcpStream::connect(server.https).await.is_ok() {}
    let reply =
        exchange(server.connect_over(late).await, "GET /healthz HTTP/1.1", &["Host: localhost"]).await;
    assert_eq!(reply.status, 200);
    stop.await.unwrap();
    println!("stopped after {:?}, with a silent connection open", start.elapsed());
    drop(silent);
}

#[test]
fn accept_pauses_without_descriptors_and_recovers() {
    // In a child process, because the limit applies to a process.
    let script =
        r#"ulimit -n 64 && exec "$0" --exact http::connections::without_descriptors --ignored --nocapture"#;
    let program = std::env::current_exe().unwrap();
    let output = std::process::Command::new("sh").arg("-c").arg(script).arg(program).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[tokio::test]
#[ignore = "run by another test under a limit of open files"]
async fn without_descriptors() {
    let server = start_web_server(|_| {}).await;
    // Opened before the descriptors run out.
    let stat = fs::File::open("/proc/self/stat").unwrap();
    let mut connections = Vec::new();
    while let Ok(stream) = TcpStream::connect(server.https).await {
        connections.push(stream);
        tokio::task::yield_now().await;
    }
    let before = cpu_ticks(&stat);
    let pause = Duration::from_secs(1);
    tokio::time::sleep(pause).await;
    let spent = cpu_ticks(&stat) - before;
    println!(
        "{} connections; {spent} of 100 CPU ticks used in a second without descriptors",
        connections.len()
    );
    assert!(spent < 30, "no busy loop");
    drop(connections);
    assert_eq!(server.get("/", &[]).await.status, 200, "recovered");
}

/// User and system time of this process so far, in hundredths of a second.
fn cpu_ticks(mut stat: &fs::File) -> u64 {
    let mut text = String::new();
    stat.rewind().unwrap();
    stat.read_to_string(&mut text).unwrap();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}
