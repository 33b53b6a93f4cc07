//! Host checks and redirects to HTTPS, also behind a proxy.

use crate::harness::http_client::exchange;
use crate::harness::web_server::start_web_server;
use tokio::net::TcpStream;

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
            server.request_plain(first, &[&format!("Host: {host}"), "X-Forwarded-Host: evil.example"]).await;
        assert_eq!((reply.status, reply.header("location")), (308, location.as_str()), "{first}");
    }
    for host in ["Host: a@evil.example", "Host: evil.example/x?", "Host: ", "X-Nothing: 1", "Host: a b"] {
        let reply = server.request_plain("GET / HTTP/1.1", &[host]).await;
        assert_eq!((reply.status, reply.header("location")), (400, ""), "{host}");
    }
}

#[tokio::test]
async fn plain_http_redirects_to_the_domain_for_any_host() {
    let server = start_web_server(|config| {
        config.domain = Some("box.example".into());
        config.https_port = Some(443);
    })
    .await;
    let reply = server.request_plain("GET /r/a HTTP/1.1", &["Host: evil.example"]).await;
    assert_eq!((reply.status, reply.header("location")), (308, "https://box.example/r/a"));
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
    assert_eq!(server.get("/", &[]).await.status, 200, "HTTPS works");
}

#[tokio::test]
async fn trusted_proxy_gets_the_page_over_plain_http() {
    let server = start_web_server(|config| {
        config.domain = Some("box.example".into());
        config.trusted_proxy = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let lines = ["Host: inner", "X-Forwarded-Proto: https", "X-Forwarded-For: 192.0.2.9"];
    let reply = server.request_plain("GET / HTTP/1.1", &lines).await;
    assert_eq!(reply.status, 200);
    assert!(!reply.header("strict-transport-security").is_empty());
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
        assert_eq!(server.request(first, lines).await.status, status, "{first} {lines:?}");
    }
}

#[tokio::test]
async fn unknown_host_gets_421() {
    let server = start_web_server(|config| {
        config.domain = Some("box.example".into());
        config.allowed_origin = vec!["https://www.box.example".into()];
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
            let actual = server.request(&format!("GET {path} HTTP/1.1"), &[&line]).await.status;
            assert_eq!(actual == 421, status == 421, "{host} {path}: {actual}");
        }
        for path in ["/healthz", "/health"] {
            assert_eq!(
                server.request(&format!("GET {path} HTTP/1.1"), &[&line]).await.status,
                200,
                "{host} {path}"
            );
        }
    }
    let target = server.request("GET http://evil.example/ HTTP/1.1", &["Host: box.example"]).await;
    assert_eq!(target.status, 421, "the request target has a host, too");
    assert_eq!(server.request("GET / HTTP/1.0", &[]).await.status, 200, "HTTP/1.0 needs no host");
}

#[tokio::test]
async fn forwarded_host_is_checked_behind_a_proxy() {
    let server = start_web_server(|config| {
        config.domain = Some("box.example".into());
        config.trusted_proxy = vec!["127.0.0.0/8".parse().unwrap()];
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
        assert_eq!(server.request_plain("GET / HTTP/1.1", lines).await.status, status, "{lines:?}");
    }
}
