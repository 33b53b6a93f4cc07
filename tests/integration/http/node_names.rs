//! One of several servers: which requests it answers under the common name and under its own, and what it tells browsers.

use serde_json::json;

use crate::harness::http_client::{Reply, exchange_with_body};
use crate::harness::web_server::{WebServer, start_web_server};

async fn start() -> WebServer {
    start_web_server(|config| {
        config.domain = Some("call.example".into());
        config.node_name = Some("b1.call.example".into());
    })
    .await
}

/// `POST` to a host, with further header lines.
async fn post(server: &WebServer, host: &str, path: &str, lines: &[&str], body: &str) -> Reply {
    let (host, length) = (format!("Host: {host}"), format!("Content-Length: {}", body.len()));
    let lines = [&[host.as_str(), length.as_str()], lines].concat();
    exchange_with_body(server.connect().await, &format!("POST {path} HTTP/1.1"), &lines, body).await
}

#[tokio::test]
async fn page_under_the_own_name_redirects_to_the_common_name() {
    let server = start().await;
    for (path, host, location) in [
        ("/", "b1.call.example", "https://call.example/"),
        ("/r/a%20b?x=1", "B1.call.example:8443", "https://call.example:8443/r/a%20b?x=1"),
        ("/app/main.js", "b1.call.example:443", "https://call.example/app/main.js"),
        ("//evil.example/", "b1.call.example", "https://call.example//evil.example/"),
        ("/test.json", "b1.call.example", "https://call.example/test.json"),
    ] {
        let reply = server.request(&format!("GET {path} HTTP/1.1"), &[&format!("Host: {host}")]).await;
        assert_eq!((reply.status, reply.header("location")), (308, location), "{path}");
    }
    for (path, host, status) in [
        ("/", "call.example", 200),
        ("/healthz", "b1.call.example", 200),
        ("/healthz", "b2.call.example", 200),
        // No transport.
        ("/socket.io/", "b1.call.example", 400),
        // No upgrade.
        ("/ws", "b1.call.example", 426),
        ("/", "b2.call.example", 421),
    ] {
        let reply = server.request(&format!("GET {path} HTTP/1.1"), &[&format!("Host: {host}")]).await;
        assert_eq!(reply.status, status, "{path} at {host}");
    }
}

#[tokio::test]
async fn policy_of_the_page_permits_the_names_of_all_servers() {
    let server = start().await;
    let reply = server.request("GET / HTTP/1.1", &["Host: call.example"]).await;
    let port = server.https.port();
    let policy = reply.header("content-security-policy");
    let sources = format!("connect-src 'self' https://*.call.example:{port} wss://*.call.example:{port};");
    assert!(policy.contains(&sources) && policy.contains("default-src 'self';"), "{policy}");
    let single = start_web_server(|config| config.domain = Some("call.example".into())).await;
    let reply = single.request("GET / HTTP/1.1", &["Host: call.example"]).await;
    assert!(reply.header("content-security-policy").contains("connect-src 'self';"));
}

#[tokio::test]
async fn page_of_the_common_name_may_poll_at_the_own_name() {
    let server = start().await;
    let port = server.https.port();
    let (node, origin) = (format!("b1.call.example:{port}"), format!("https://call.example:{port}"));
    let line = format!("Origin: {origin}");
    let reply = post(&server, &node, "/poll", &[&line], "{}").await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, origin.as_str()));
    assert_eq!((reply.header("vary"), &reply.json()["node"]), ("Origin", &json!(node)));
    let refused = post(&server, &node, "/leave", &[&line], "no token").await;
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (400, origin.as_str()));

    // The origin on the port that the request names, as behind a NAT that maps another one.
    for (host, origin, status) in [
        ("b1.call.example", "https://call.example", 200),
        ("b1.call.example", "https://b2.call.example", 403),
        ("b1.call.example", "https://evil.example", 403),
        ("b1.call.example", "http://call.example", 403),
        ("b1.call.example", "https://call.example:9", 403),
    ] {
        let reply = post(&server, host, "/poll", &[&format!("Origin: {origin}")], "{}").await;
        assert_eq!(reply.status, status, "{origin}");
        let permitted = if status == 200 { origin } else { "" };
        assert_eq!(reply.header("access-control-allow-origin"), permitted, "{origin}");
    }
    let single = start_web_server(|_| {}).await;
    let reply = single.post("/poll", &[&format!("Origin: https://{}", single.host())], "{}").await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, ""));
    assert!(reply.json().get("node").is_none());
}

#[tokio::test]
async fn browsers_may_ask_before_they_poll_at_the_own_name() {
    let server = start().await;
    let ask = async |path: &str, origin: &str| {
        let origin = format!("Origin: {origin}");
        let lines = ["Host: b1.call.example", &origin, "Access-Control-Request-Method: POST"];
        server.request(&format!("OPTIONS {path} HTTP/1.1"), &lines).await
    };
    for path in ["/poll", "/leave"] {
        let reply = ask(path, "https://call.example").await;
        assert_eq!(reply.status, 204);
        assert_eq!(reply.header("access-control-allow-origin"), "https://call.example");
        assert_eq!(reply.header("access-control-allow-methods"), "POST");
        assert_eq!(reply.header("access-control-allow-headers"), "content-type");
        assert_eq!(reply.header("vary"), "Origin");
        let refused = ask(path, "https://evil.example").await;
        assert_eq!((refused.status, refused.header("access-control-allow-origin")), (405, ""));
    }
    assert_eq!(ask("/ws", "https://call.example").await.header("access-control-allow-origin"), "");
}
