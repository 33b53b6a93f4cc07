//! The web server as HTTP clients meet it, over real sockets.

use std::fs;
use std::io::{Read as _, Seek as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::harness::web_server::{PATIENCE, exchange, start_web_server};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use webrtc_box::http::Health;
use webrtc_box_turn::credential::{Principal, Username};

#[tokio::test]
async fn page_has_its_security_headers() {
    let server = start_web_server(|_| {}).await;
    for path in ["/", "/r/kitchen", "/r/%E5%8F%B0%E6%89%80", "/r/kitchen/", "/r/a?relay=1"] {
        let reply = server.get(path, &[]).await;
        assert_eq!(reply.status, 200, "{path}");
        assert_eq!(reply.header("content-type"), "text/html; charset=utf-8");
        assert_eq!(reply.header("cache-control"), "no-cache");
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        assert_eq!(reply.header("referrer-policy"), "no-referrer");
        let policy = reply.header("content-security-policy");
        for part in [
            "default-src 'self'",
            "connect-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            "media-src 'self' blob:",
        ] {
            assert!(policy.contains(part), "{part} in {policy}");
        }
        assert!(!policy.contains("unsafe"));
        let permissions = reply.header("permissions-policy");
        assert!(permissions.contains("camera=(self), microphone=(self), display-capture=(self)"));
        assert_eq!(reply.header("strict-transport-security"), "", "not without a domain");
        assert!(reply.text().starts_with("<!doctype html>"));
    }
}

#[tokio::test]
async fn domain_sends_hsts() {
    let server = start_web_server(|setup| setup.domain = Some("box.example".into())).await;
    assert_eq!(server.get("/", &[]).await.header("strict-transport-security"), "max-age=31536000");
    let plain = server.ask_plain("GET / HTTP/1.1", &["Host: box.example"]).await;
    assert_eq!(plain.header("strict-transport-security"), "", "RFC 6797 §7.2");
}

#[tokio::test]
async fn unknown_paths_return_404() {
    let server = start_web_server(|_| {}).await;
    for path in ["/tests", "/test.jso", "/nothing", "/r/", "/r/a/b", "/R/a", "/index.htm", "//", "/ws/x"] {
        let reply = server.get(path, &[]).await;
        assert_eq!(reply.status, 404, "{path}");
        assert!(reply.text().contains("There is nothing here."));
        assert!(!reply.header("content-security-policy").is_empty());
    }
    let post = server.ask("POST / HTTP/1.1", &["Host: a", "Content-Length: 0"]).await;
    assert_eq!(post.status, 405);
}

#[tokio::test]
async fn no_path_escapes_the_public_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (public, outside) = (folder.path().join("public"), folder.path().join("secret.txt"));
    fs::create_dir_all(public.join("deep")).unwrap();
    fs::write(public.join("index.html"), "<!doctype html>mine").unwrap();
    fs::write(public.join("deep/a.js"), "export {}").unwrap();
    fs::write(public.join(".hidden"), "hidden").unwrap();
    fs::write(public.join("naïve plan.txt"), "a plan").unwrap();
    fs::write(&outside, "outside").unwrap();
    std::os::unix::fs::symlink(&outside, public.join("link.txt")).unwrap();
    let server = start_web_server(|setup| setup.public = Some(public)).await;
    assert_eq!(server.get("/", &[]).await.text(), "<!doctype html>mine");
    let script = server.get("/deep/a.js", &[]).await;
    assert_eq!((script.status, script.header("content-type")), (200, "text/javascript; charset=utf-8"));
    assert_eq!(server.get("/na%C3%AFve%20plan.txt", &[]).await.text(), "a plan");
    for path in [
        "/na%FFve%20plan.txt",
        "/%2ehidden",
        "/../secret.txt",
        "/deep/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e%2fsecret.txt",
        "/..%5csecret.txt",
        "/.%00./secret.txt",
        "//etc/passwd",
        "/link.txt",
        "/.hidden",
        "/deep",
        "/deep/",
        "/./index.html",
    ] {
        assert_eq!(server.get(path, &[]).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn matching_etag_returns_304() {
    let server = start_web_server(|_| {}).await;
    let first = server.get("/", &[]).await;
    let etag = first.header("etag");
    assert!(etag.starts_with('"') && etag.ends_with('"') && etag.len() > 10, "{etag}");
    for known in [etag.to_owned(), format!("W/{etag}"), format!("\"other\", {etag}"), "*".into()] {
        let again = server.get("/", &[&format!("If-None-Match: {known}")]).await;
        assert_eq!((again.status, again.body.len()), (304, 0), "{known}");
        assert_eq!(again.header("etag"), etag);
    }
    let other = server.get("/", &["If-None-Match: \"other\""]).await;
    assert_eq!(other.status, 200);
    let packed = server.get("/", &["Accept-Encoding: br", &format!("If-None-Match: {etag}")]).await;
    assert_eq!(packed.status, 200, "another form is another entity");
}

#[tokio::test]
async fn page_is_compressed_by_accept_encoding() {
    let server = start_web_server(|_| {}).await;
    let plain = server.get("/", &[]).await;
    assert_eq!(plain.header("content-encoding"), "");
    let brotli = server.get("/", &["Accept-Encoding: gzip, deflate, br, zstd"]).await;
    assert_eq!((brotli.header("content-encoding"), brotli.header("vary")), ("br", "Accept-Encoding"));
    let mut unpacked = Vec::new();
    brotli::Decompressor::new(&*brotli.body, 4096).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain.body);
    let gzip = server.get("/", &["Accept-Encoding: gzip, br;q=0"]).await;
    assert_eq!(gzip.header("content-encoding"), "gzip");
    unpacked.clear();
    flate2::read::GzDecoder::new(&*gzip.body).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain.body);
    assert_ne!(brotli.header("etag"), gzip.header("etag"));
    let head = server.ask("HEAD / HTTP/1.1", &["Host: a"]).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), plain.body.len().to_string());
}

#[tokio::test]
async fn scripts_and_styles_are_served_without_comments() {
    let server = start_web_server(|_| {}).await;
    for path in ["/lib/qr-code.js", "/locales/zh.js", "/assets/style.css"] {
        let source = fs::read_to_string(format!("{}/public{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let served = server.get(path, &[]).await.text().to_owned();
        assert!(source.len() > served.len(), "{path}");
        for (number, (home, sent)) in source.lines().map(str::trim).zip(served.lines()).enumerate() {
            assert!(sent == home || sent.is_empty(), "{path}:{number}: {sent}");
            assert!(!sent.starts_with("//") && !sent.starts_with("/*"), "{path}:{number}: {sent}");
        }
        assert_eq!(source.lines().count(), served.lines().count(), "{path}: lines keep their numbers");
    }
}

#[tokio::test]
async fn plain_http_redirects_to_https_only() {
    let server = start_web_server(|_| {}).await;
    let port = server.https.port();
    for (first, host, location) in [
        ("GET / HTTP/1.1", "box.local:8080", format!("https://box.local:{port}/")),
        ("GET /r/a%20b?x=1 HTTP/1.1", "192.0.2.1", format!("https://192.0.2.1:{port}/r/a%20b?x=1")),
        ("GET //evil.example/ HTTP/1.1", "[::1]:8080", format!("https://[::1]:{port}//evil.example/")),
        ("GET http://evil.example/a HTTP/1.1", "box.local", format!("https://box.local:{port}/a")),
        ("POST /healthz HTTP/1.1", "box.local", format!("https://box.local:{port}/healthz")),
    ] {
        let reply =
            server.ask_plain(first, &[&format!("Host: {host}"), "X-Forwarded-Host: evil.example"]).await;
        assert_eq!((reply.status, reply.header("location")), (308, location.as_str()), "{first}");
    }
    for host in ["Host: a@evil.example", "Host: evil.example/x?", "Host: ", "X-Nothing: 1", "Host: a b"] {
        let reply = server.ask_plain("GET / HTTP/1.1", &[host]).await;
        assert_eq!((reply.status, reply.header("location")), (400, ""), "{host}");
    }
}

#[tokio::test]
async fn plain_http_redirects_to_the_domain_for_any_host() {
    let server = start_web_server(|setup| {
        setup.domain = Some("box.example".into());
        setup.https_port = Some(443);
    })
    .await;
    let reply = server.ask_plain("GET /r/a HTTP/1.1", &["Host: evil.example"]).await;
    assert_eq!((reply.status, reply.header("location")), (308, "https://box.example/r/a"));
}

#[tokio::test]
async fn trusted_proxy_gets_the_page_over_plain_http() {
    let server = start_web_server(|setup| {
        setup.domain = Some("box.example".into());
        setup.trusted_proxy = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let lines = ["Host: inner", "X-Forwarded-Proto: https", "X-Forwarded-For: 192.0.2.9"];
    let reply = server.ask_plain("GET / HTTP/1.1", &lines).await;
    assert_eq!(reply.status, 200);
    assert!(!reply.header("strict-transport-security").is_empty());
}

#[tokio::test]
async fn healthz_reports_the_configured_health() {
    let up = start_web_server(|_| {}).await;
    for path in ["/healthz", "/health"] {
        let reply = up.get(path, &[]).await;
        assert_eq!((reply.status, reply.text()), (200, r#"{"status":"up"}"#));
        assert_eq!(reply.header("content-type"), "application/json");
    }
    let why = "the relay does not listen".to_owned();
    let down =
        start_web_server(|setup| setup.health = Arc::new(move || Health::Down { why: why.clone() })).await;
    let reply = down.get("/healthz", &[]).await;
    assert_eq!((reply.status, reply.text()), (503, r#"{"status":"down","why":"the relay does not listen"}"#));
}

#[tokio::test]
async fn connection_test_has_a_page_and_a_list_of_urls() {
    let server = start_web_server(|_| {}).await;
    let page = server.get("/test", &[]).await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert!(page.text().contains("/connection-test/main.js"));
    let (one, other) = (server.get("/test.json", &[]).await, server.get("/test.json", &[]).await);
    assert_eq!((one.status, one.header("content-type")), (200, "application/json"));
    assert_eq!(one.header("cache-control"), "no-store");
    let read = |reply: &crate::harness::web_server::Reply| {
        serde_json::from_slice::<serde_json::Value>(&reply.body).unwrap()
    };
    let (one, other) = (read(&one), read(&other));
    let probe = &one["probes"][1];
    assert_eq!((&probe["name"], &probe["family"]), (&"turn-tcp".into(), &"any".into()));
    assert_eq!(probe["urls"][0], "turn:localhost:3478?transport=tcp", "the host the browser used");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let holder = |sheet: &serde_json::Value| {
        let username = Username::parse(sheet["username"].as_str().unwrap()).unwrap();
        assert!((now + 290..now + 310).contains(&username.expiry), "a few minutes");
        let Principal::Tester(tag, _) = username.principal else { panic!("{username:?}") };
        tag
    };
    assert_ne!(holder(&one), holder(&other), "no two who test reach each other");
}

#[tokio::test]
async fn connection_tests_are_rate_limited_per_source() {
    let server = start_web_server(|setup| setup.trusted_proxy = vec!["127.0.0.0/8".parse().unwrap()]).await;
    let asked = async |from: &str| server.get("/test.json", &[&format!("X-Forwarded-For: {from}")]).await;
    for _ in 0..10 {
        assert_eq!(asked("192.0.2.1").await.status, 200);
    }
    let refused = asked("192.0.2.1").await;
    assert_eq!((refused.status, refused.body.len()), (429, 0));
    assert!((1..=31).contains(&refused.header("retry-after").parse::<u64>().unwrap()));
    assert_eq!(asked("192.0.2.2").await.status, 200, "others are not concerned");
    assert_eq!(server.get("/test", &[]).await.status, 200);
}

#[tokio::test]
async fn slow_headers_are_closed_and_delay_no_other_client() {
    let server = start_web_server(|_| {}).await;
    let (slow, silent) = (server.dial().await, TcpStream::connect(server.https).await.unwrap());
    let (mut read, mut write) = tokio::io::split(slow);
    let started = Instant::now();
    let dripping = tokio::spawn(async move {
        let mut every = tokio::time::interval(Duration::from_secs(1));
        let drops = "GET / HTTP/1.1\r\nX-Slow: ".bytes().chain(std::iter::repeat(b'x'));
        for byte in drops {
            every.tick().await;
            if write.write_all(&[byte]).await.is_err() || write.flush().await.is_err() {
                break;
            }
        }
    });
    assert_eq!(server.get("/", &[]).await.status, 200, "the page is served meanwhile");
    // A TLS handshake that never comes ends as soon.
    let (mut silent, mut rest) = (silent, Vec::new());
    let closed = async {
        let _ = read.read_to_end(&mut Vec::new()).await;
        let _ = silent.read_to_end(&mut rest).await;
    };
    tokio::time::timeout(PATIENCE, closed).await.expect("both closed");
    println!("slow headers and a silent handshake closed after {:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(15));
    dripping.abort();
}

#[tokio::test]
async fn idle_connection_is_closed() {
    let server = start_web_server(|_| {}).await;
    let mut stream = server.dial().await;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let started = Instant::now();
    let mut heard = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut heard)).await.expect("closed");
    println!("an idle connection was closed after {:?}", started.elapsed());
    assert!(heard.starts_with(b"HTTP/1.1 200"));
    assert!((Duration::from_secs(5)..Duration::from_secs(15)).contains(&started.elapsed()));
}

#[tokio::test]
async fn request_needs_exactly_one_host() {
    let server = start_web_server(|_| {}).await;
    for (first, lines, status) in [
        ("GET / HTTP/1.1", &["Host: a"][..], 200),
        ("GET / HTTP/1.0", &[], 200),
        ("GET / HTTP/1.1", &[], 400),
        ("GET / HTTP/1.1", &["Host: a", "Host: a"], 400),
        ("GET / HTTP/1.0", &["Host: a", "Host: b"], 400),
    ] {
        assert_eq!(server.ask(first, lines).await.status, status, "{first} {lines:?}");
    }
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
    let server = start_web_server(|setup| setup.source_connections = 2).await;
    let (first, _second) = (server.dial().await, server.dial().await);
    let mut third = TcpStream::connect(server.https).await.unwrap();
    let end = tokio::time::timeout(PATIENCE, third.read(&mut [0; 1])).await.expect("an end");
    assert!(matches!(end, Ok(0) | Err(_)), "closed before a word is said");
    drop(first);
    // The server learns of the drop in its own time.
    let started = Instant::now();
    loop {
        let mut again = TcpStream::connect(server.http).await.unwrap();
        let _ = again.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        let mut heard = Vec::new();
        let _ = again.read_to_end(&mut heard).await;
        if heard.starts_with(b"HTTP/1.1 308") {
            break;
        }
        assert!(started.elapsed() < PATIENCE);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn unknown_host_gets_421() {
    let server = start_web_server(|setup| {
        setup.domain = Some("box.example".into());
        setup.allowed_origin = vec!["https://www.box.example".into()];
    })
    .await;
    for (host, status) in [
        ("box.example", 200),
        ("Box.Example.:8443", 200),
        ("www.box.example", 200),
        ("localhost:8443", 200),
        ("127.0.0.1", 200),
        ("192.0.2.1:443", 200),
        ("192.0.2.2", 421),
        ("[2001:db8::1]", 421),
        ("evil.example", 421),
        ("box.example.evil.example", 421),
        ("inner", 421),
        ("a b", 421),
        ("", 421),
    ] {
        let line = format!("Host: {host}");
        for path in ["/", "/r/a", "/test.json", "/nothing"] {
            let asked = server.ask(&format!("GET {path} HTTP/1.1"), &[&line]).await.status;
            assert!(if status == 421 { asked == 421 } else { asked != 421 }, "{host} {path}: {asked}");
        }
        for path in ["/healthz", "/health"] {
            assert_eq!(
                server.ask(&format!("GET {path} HTTP/1.1"), &[&line]).await.status,
                200,
                "{host} {path}"
            );
        }
    }
    let target = server.ask("GET http://evil.example/ HTTP/1.1", &["Host: box.example"]).await;
    assert_eq!(target.status, 421, "the target names a host too");
    assert_eq!(server.ask("GET / HTTP/1.0", &[]).await.status, 200, "HTTP/1.0 may name none");
}

#[tokio::test]
async fn forwarded_host_is_checked_behind_a_proxy() {
    let server = start_web_server(|setup| {
        setup.domain = Some("box.example".into());
        setup.trusted_proxy = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    for (lines, status) in [
        (&["Host: box.example"][..], 200),
        (&["Host: evil.example"], 421),
        (&["Host: inner:8080"], 200),
        (&["Host: box.example", "X-Forwarded-Host: evil.example"], 421),
        (&["Host: inner:8080", "X-Forwarded-Host: evil"], 421),
        (&["Host: inner.lan:8080", "X-Forwarded-Host: box.example:8443"], 200),
        (&["Host: inner.lan:8080", "Forwarded: for=192.0.2.9;host=\"box.example:8443\""], 200),
        (&["Host: inner:8080", "Forwarded: for=192.0.2.9;host=evil.example"], 421),
    ] {
        assert_eq!(server.ask_plain("GET / HTTP/1.1", lines).await.status, status, "{lines:?}");
    }
}

#[tokio::test]
async fn service_worker_of_an_earlier_app_is_unregistered() {
    let own = tempfile::tempdir().unwrap();
    fs::write(own.path().join("index.html"), "<!doctype html>mine").unwrap();
    fs::write(own.path().join("sw.js"), "// theirs").unwrap();
    let built_in = start_web_server(|_| {}).await;
    let folder = start_web_server(|setup| setup.public = Some(own.path().to_owned())).await;
    let asked = ["Service-Worker: script"];
    for (server, path) in
        [(&built_in, "/sw.js"), (&built_in, "/"), (&built_in, "/app/main.js"), (&folder, "/js/sw.js")]
    {
        let reply = server.get(path, &asked).await;
        assert_eq!((reply.status, reply.header("content-type")), (200, "text/javascript; charset=utf-8"));
        assert_eq!(
            (reply.header("cache-control"), reply.header("service-worker-allowed")),
            ("no-store", "/")
        );
        assert!(
            reply.text().contains("registration.unregister()") && reply.text().contains("navigate"),
            "{path}"
        );
    }
    assert_eq!(folder.get("/sw.js", &asked).await.text(), "// theirs");
    assert_eq!(built_in.get("/sw.js", &[]).await.status, 404);
}

#[tokio::test]
async fn plain_http_on_the_https_port_redirects_to_https() {
    let server = start_web_server(|_| {}).await;
    for (first, host, location) in [
        ("GET /r/a?x=1 HTTP/1.1", "box.local:9443", "https://box.local:9443/r/a?x=1".to_owned()),
        ("\r\n\r\nGET / HTTP/1.1", "box.local:443", "https://box.local/".to_owned()),
        ("GET / HTTP/1.0", "box.local", format!("https://box.local:{}/", server.https.port())),
    ] {
        let stream = TcpStream::connect(server.https).await.unwrap();
        let reply = exchange(stream, first, &[&format!("Host: {host}")]).await;
        assert_eq!((reply.status, reply.header("location")), (308, location.as_str()), "{first}");
        assert_eq!(reply.header("strict-transport-security"), "");
    }
    assert_eq!(server.get("/", &[]).await.status, 200, "HTTPS is as before");
}

#[tokio::test]
async fn proxy_connection_idles_longer_than_a_browser_connection() {
    let server = start_web_server(|setup| {
        setup.trusted_proxy = vec!["127.0.0.1/32".parse().unwrap()];
        setup.proxy_protocol = vec!["127.0.0.3/32".parse().unwrap()];
    })
    .await;
    let request = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut pooled = TcpStream::connect(server.http).await.unwrap();
    let passed_on = TcpSocket::new_v4().unwrap();
    passed_on.bind(SocketAddr::from(([127, 0, 0, 3], 0))).unwrap();
    let mut passed_on = passed_on.connect(server.http).await.unwrap();
    passed_on.write_all(b"PROXY TCP4 198.51.100.7 192.0.2.1 4711 80\r\n").await.unwrap();
    passed_on.write_all(request).await.unwrap();
    let mut browser = server.try_dial(Ipv4Addr::new(127, 0, 0, 2)).await.unwrap();
    pooled.write_all(request).await.unwrap();
    let mut chunk = [0; 4096];
    assert!(pooled.read(&mut chunk).await.unwrap() > 0);
    browser.write_all(request).await.unwrap();
    for mut browser in [Box::new(browser) as Box<dyn AsyncRead + Unpin>, Box::new(passed_on)] {
        let mut heard = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, browser.read_to_end(&mut heard)).await.expect("closed");
        assert!(heard.starts_with(b"HTTP/1.1"));
    }
    pooled.write_all(request).await.unwrap();
    let heard = tokio::time::timeout(PATIENCE, pooled.read(&mut chunk)).await.unwrap().unwrap();
    assert!(chunk[..heard].starts_with(b"HTTP/1.1 200"), "it still is open");
}

#[tokio::test]
async fn tls_handshakes_are_rate_limited_per_source() {
    let server = Arc::new(start_web_server(|_| {}).await);
    let started = Instant::now();
    let asked: Vec<_> = (0..200)
        .map(|_| {
            let server = Arc::clone(&server);
            tokio::spawn(async move { server.try_dial(Ipv4Addr::LOCALHOST).await.is_ok() })
        })
        .collect();
    while server.metric(r#"webrtc_box_tls_handshakes_total{outcome="ok"}"#) < 50 {
        assert!(started.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(server.try_dial(Ipv4Addr::new(127, 0, 0, 2)).await.is_ok(), "another source waits for nobody");
    let mut done = 0;
    for asked in asked {
        done += usize::from(tokio::time::timeout(PATIENCE, asked).await.unwrap().unwrap());
    }
    let took = started.elapsed();
    println!("{done} of 200 handshakes of one source in {took:?}");
    assert!((51..=51 + took.as_secs() as usize * 11 + 11).contains(&done), "{done} in {took:?}");
    let refused = server.metric(r#"webrtc_box_tls_handshakes_total{outcome="refused"}"#);
    assert_eq!(refused, 200 - done, "the rest is counted as refused");
}

#[tokio::test]
async fn shutdown_answers_open_requests_and_closes_idle_connections() {
    let server = start_web_server(|_| {}).await;
    let mut idle = server.dial().await;
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut heard = [0; 12];
    idle.read_exact(&mut heard).await.unwrap();
    let started = Instant::now();
    server.web.stop(PATIENCE).await;
    println!("stopped after {:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(8));
    assert!(TcpStream::connect(server.https).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn connection_accepted_during_shutdown_is_answered() {
    let server = start_web_server(|_| {}).await;
    let silent = TcpStream::connect(server.https).await.unwrap();
    let late = TcpStream::connect(server.https).await.unwrap();
    // Connections are accepted in order.
    drop(server.dial().await);
    let web = server.web.clone();
    let begun = Instant::now();
    let end = tokio::spawn(async move { web.stop(PATIENCE).await });
    while TcpStream::connect(server.https).await.is_ok() {}
    let reply = exchange(server.dial_over(late).await, "GET /healthz HTTP/1.1", &["Host: localhost"]).await;
    assert_eq!(reply.status, 200);
    end.await.unwrap();
    println!("at an end {:?} after it was asked for, with somebody there who says nothing", begun.elapsed());
    drop(silent);
}

#[test]
fn accept_pauses_without_descriptors_and_recovers() {
    // In a process of its own, since the limit is the process's.
    let script = r#"ulimit -n 64 && exec "$0" --exact http::without_descriptors --ignored --nocapture"#;
    let own = std::env::current_exe().unwrap();
    let outcome = std::process::Command::new("sh").arg("-c").arg(script).arg(own).output().unwrap();
    let said = String::from_utf8_lossy(&outcome.stdout);
    println!("{said}");
    assert!(outcome.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
#[ignore = "run by another test under a limit of open files"]
async fn without_descriptors() {
    let server = start_web_server(|_| {}).await;
    // Opened while that can still be done.
    let stat = fs::File::open("/proc/self/stat").unwrap();
    let mut held = Vec::new();
    while let Ok(stream) = TcpStream::connect(server.https).await {
        held.push(stream);
        tokio::task::yield_now().await;
    }
    let before = processor_ticks(&stat);
    let pause = Duration::from_secs(1);
    tokio::time::sleep(pause).await;
    let spent = processor_ticks(&stat) - before;
    println!("{} connections; {spent} of 100 processor ticks spent in a second of shortage", held.len());
    assert!(spent < 30, "no busy loop");
    drop(held);
    assert_eq!(server.get("/", &[]).await.status, 200, "healed");
}

/// User and system time of this process so far, in hundredths of a second.
fn processor_ticks(mut stat: &fs::File) -> u64 {
    let mut text = String::new();
    stat.rewind().unwrap();
    stat.read_to_string(&mut text).unwrap();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}
