//! The HTTP server over real sockets; this file: health and connection test.

mod connections;
mod hosts;
mod http2;
mod node_names;
mod static_files;

use std::sync::Arc;
use std::time::SystemTime;

use crate::harness::web_server::start_web_server;
use webrtc_box::http::Health;
use webrtc_box_turn::credential::{Principal, Username};

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
        start_web_server(|config| config.health = Arc::new(move || Health::Down { why: why.clone() })).await;
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
    let (one, other) = (one.json(), other.json());
    let probe = &one["probes"][1];
    assert_eq!((&probe["name"], &probe["family"]), (&"turn-tcp".into(), &"any".into()));
    assert_eq!(probe["urls"][0], "turn:localhost:3478?transport=tcp", "the host from the request");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let group_of = |test: &serde_json::Value| {
        let username = Username::parse(test["username"].as_str().unwrap()).unwrap();
        assert!((now + 290..now + 310).contains(&username.expiry), "a few minutes");
        let Principal::Tester(group, _) = username.principal else { panic!("{username:?}") };
        group
    };
    assert_ne!(group_of(&one), group_of(&other), "two tests cannot reach each other");
}

#[tokio::test]
async fn connection_tests_are_rate_limited_per_source() {
    let server = start_web_server(|config| config.trusted_proxy = vec!["127.0.0.0/8".parse().unwrap()]).await;
    let request = async |from: &str| server.get("/test.json", &[&format!("X-Forwarded-For: {from}")]).await;
    for _ in 0..10 {
        assert_eq!(request("192.0.2.1").await.status, 200);
    }
    let refused = request("192.0.2.1").await;
    assert_eq!((refused.status, refused.body.len()), (429, 0));
    assert!((1..=31).contains(&refused.header("retry-after").parse::<u64>().unwrap()));
    assert_eq!(request("192.0.2.2").await.status, 200, "other sources are not limited");
    assert_eq!(server.get("/test", &[]).await.status, 200);
}
