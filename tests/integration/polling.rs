//! Signaling over HTTP long polling on real sockets, alone and with a WebSocket client as the other participant.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use super::signaling::Browser;
use crate::harness::http_client::Reply;
use crate::harness::http2_client::Http2Client;
use crate::harness::web_server::{TEST_TIMEOUT, WebServer, start_web_server};

/// How requests reach the server.
#[derive(Clone)]
enum Way<'s> {
    /// A connection for each request.
    Http1(&'s WebServer),
    /// One connection for all.
    Http2(Http2Client),
}

impl<'s> Way<'s> {
    async fn http2(server: &'s WebServer) -> Self {
        Self::Http2(Http2Client::connect(server.connect_http2().await, &server.host()).await)
    }

    async fn post(&self, body: &str) -> Reply {
        match self {
            Self::Http1(server) => server.post("/poll", &[], body).await,
            Self::Http2(client) => client.request("POST", "/poll", &[], body).await,
        }
    }
}

/// A polling client that acknowledges what it receives.
struct PollingClient<'s> {
    way: Way<'s>,
    session: Value,
    sent: u64,
    received: u64,
    /// Frames of the last reply that were not returned yet, in reverse.
    frames: Vec<Value>,
}

impl<'s> PollingClient<'s> {
    async fn open(way: Way<'s>) -> Self {
        let reply = way.post("{}").await;
        assert_eq!((reply.status, reply.header("cache-control")), (200, "no-store"));
        let session = reply.json()["session"].clone();
        assert_eq!(session.as_str().unwrap().len(), 22);
        Self { way, session, sent: 0, received: 0, frames: Vec::new() }
    }

    async fn send(&mut self, frames: &[&str]) {
        assert_eq!(self.send_as(self.sent + 1, frames).await, 204);
        self.sent += frames.len() as u64;
    }

    /// Sends frames under a number; returns the status.
    async fn send_as(&self, first: u64, frames: &[&str]) -> u16 {
        let (session, frames) = (&self.session, frames.join(","));
        self.way.post(&format!(r#"{{"session":{session},"seq":{first},"frames":[{frames}]}}"#)).await.status
    }

    async fn request_after(&self, number: u64) -> Reply {
        self.way.post(&json!({"session": self.session, "after": number}).to_string()).await
    }

    async fn receive(&mut self) -> Value {
        while self.frames.is_empty() {
            let reply = self.request_after(self.received).await.json();
            assert_eq!(reply["seq"], self.received + 1);
            assert!(reply["close"].is_null(), "{reply}");
            self.frames = reply["frames"].as_array().unwrap().clone();
            self.received += self.frames.len() as u64;
            self.frames.reverse();
        }
        self.frames.pop().unwrap()
    }

    async fn join(&mut self, frame: Value) -> Value {
        self.send(&[&frame.to_string()]).await;
        self.receive().await
    }

    /// The code with which the server closes the session; skips frames before.
    async fn close_code(&mut self) -> Value {
        loop {
            let reply = self.request_after(self.received).await.json();
            self.received += reply["frames"].as_array().unwrap().len() as u64;
            if !reply["close"].is_null() {
                return reply["close"]["code"].clone();
            }
        }
    }

    async fn close(&self, code: u16) -> u16 {
        self.way.post(&json!({"session": self.session, "close": code}).to_string()).await.status
    }
}

async fn join_both<'s>(server: &'s WebServer, way: Way<'s>) -> (Browser, PollingClient<'s>, Value, Value) {
    let (mut alice, mut bob) = (Browser::open(server).await, PollingClient::open(way).await);
    let first = alice.join(json!({"type": "join", "room": "kitchen"})).await;
    let second = bob.join(json!({"type": "join", "room": "kitchen"})).await;
    assert_eq!((&second["type"], &second["peer"]), (&json!("resp-join"), &first["id"]));
    assert_eq!(alice.receive_json().await["type"], "new-peer");
    (alice, bob, first, second)
}

async fn exchange_call(server: &WebServer, way: Way<'_>) {
    let (mut alice, mut bob, first, second) = join_both(server, way.clone()).await;
    let (a, b) = (first["id"].as_str().unwrap(), second["id"].as_str().unwrap());
    let sdp = r#"{ "type": "offer", "sdp": "v=0\r\n\u00e9" }"#;
    let offer = format!(r#"{{"type":"offer","target":"{a}","sdp":{sdp},"call":"x/0"}}"#);
    let candidate = format!(r#"{{"type":"candidate","target":"{a}","candidate":null}}"#);
    bob.send(&[&offer, &candidate]).await;
    assert_eq!(alice.receive().await, format!(r#"{{"type":"offer","from":"{b}","sdp":{sdp},"call":"x/0"}}"#));
    assert_eq!(alice.receive().await, format!(r#"{{"type":"candidate","from":"{b}","candidate":null}}"#));
    alice.send(&format!(r#"{{"type":"answer","target":"{b}","sdp":{sdp}}}"#)).await;
    let reply = bob.request_after(bob.received).await;
    let expected = format!(r#"{{"seq":2,"frames":[{{"type":"answer","from":"{a}","sdp":{sdp}}}]}}"#);
    assert_eq!(reply.text(), expected, "byte for byte");
    assert_eq!(reply.header("content-length"), expected.len().to_string());

    assert_eq!(bob.close(1001).await, 204);
    let away = alice.receive_json().await;
    assert_eq!((&away["type"], &away["closing"]), (&json!("peer-away"), &json!(true)));
    let mut bob = PollingClient::open(way).await;
    let resumed = bob.join(json!({"type": "join", "room": "kitchen", "resume": second["resume"]})).await;
    assert_eq!((&resumed["id"], &resumed["resumed"]), (&second["id"], &json!(true)));
    assert_eq!(alice.receive_json().await["type"], "peer-back");
    bob.send(&[r#"{"type":"leave"}"#]).await;
    assert_eq!(alice.receive_json().await["type"], "peer-leave");
    alice.send(r#"{"type":"leave"}"#).await;
    assert_eq!(alice.join(json!({"type": "ping"})).await["type"], "pong", "both seats are free");
}

#[tokio::test]
async fn polling_and_websocket_clients_exchange_a_call() {
    let server = start_web_server(|_| {}).await;
    exchange_call(&server, Way::Http1(&server)).await;
    exchange_call(&server, Way::http2(&server).await).await;
}

#[tokio::test]
async fn repeated_requests_have_no_further_effect() {
    let server = start_web_server(|_| {}).await;
    let (mut alice, mut bob, first, _) = join_both(&server, Way::http2(&server).await).await;
    let frame = |number: u32| {
        json!({"type": "candidate", "target": first["id"], "candidate": {"n": number}}).to_string()
    };
    bob.send(&[&frame(1), &frame(2)]).await;
    assert_eq!(bob.send_as(2, &[&frame(1), &frame(2)]).await, 204);
    assert_eq!(bob.send_as(3, &[&frame(2), &frame(3)]).await, 204);
    for number in 1..=3 {
        assert_eq!(alice.receive_json().await["candidate"]["n"], number);
    }
    alice.send(r#"{"type":"leave"}"#).await;
    let (lost, repeated) = (bob.request_after(1).await.json(), bob.request_after(1).await.json());
    assert_eq!(lost["frames"][0]["type"], "peer-leave");
    assert_eq!(lost, repeated);
    let (other, same) = (PollingClient::open(bob.way.clone()).await, bob.session.clone());
    assert_ne!(other.session, same, "a repeated request opens another session");
}

#[tokio::test]
async fn gap_ends_the_session() {
    let server = start_web_server(|_| {}).await;
    let (mut alice, bob, ..) = join_both(&server, Way::http2(&server).await).await;
    assert_eq!(bob.send_as(3, &[r#"{"type":"ping"}"#]).await, 409);
    assert_eq!(alice.receive_json().await["type"], "peer-away");
    assert_eq!(bob.send_as(2, &[r#"{"type":"ping"}"#]).await, 404);
    let other = PollingClient::open(bob.way.clone()).await;
    assert_eq!(other.request_after(1).await.status, 409, "frames that were never sent");
}

#[tokio::test]
async fn invalid_request_is_refused() {
    let server = start_web_server(|_| {}).await;
    let way = Way::http2(&server).await;
    for session in ["AAAAAAAAAAAAAAAAAAAAAA", "", "x"] {
        for rest in [r#""after":0"#, r#""seq":1,"frames":[]"#, r#""close":1001"#] {
            let reply = way.post(&format!(r#"{{"session":"{session}",{rest}}}"#)).await;
            assert_eq!((reply.status, reply.text()), (404, r#"{"error":"no-session"}"#), "{session} {rest}");
        }
    }
    let too_many = format!(r#"{{"session":"x","seq":1,"frames":[{}1]}}"#, "1,".repeat(256));
    for body in ["", "[]", r#"{"after":1}"#, &too_many] {
        assert_eq!(way.post(body).await.status, 400, "{body:.80}");
    }
    assert_eq!(way.post(&" ".repeat(128 * 1024 + 1)).await.status, 413);
    assert_eq!(server.get("/poll", &[]).await.status, 405);
    assert_eq!(server.post("/poll", &["Origin: https://evil.example"], "{}").await.status, 403);
    let own = format!("Origin: https://{}", server.host());
    assert_eq!(server.post("/poll", &[&own, "Content-Type: text/plain"], "{}").await.status, 200);
}

#[tokio::test]
async fn too_long_frame_and_flood_close_the_session() {
    let server = start_web_server(|_| {}).await;
    let mut client = PollingClient::open(Way::http2(&server).await).await;
    client.send(&[&format!("\"{}\"", " ".repeat(64 * 1024 - 2))]).await;
    assert_eq!(client.receive().await["code"], "bad-message", "exactly 64 KiB are accepted");
    client.send(&[&format!("\"{}\"", " ".repeat(64 * 1024 - 1)), r#"{"type":"ping"}"#]).await;
    for _ in 0..2 {
        assert_eq!(client.close_code().await, 1009, "also when the reply was lost");
    }
    assert_eq!(client.send_as(client.sent + 1, &["1"]).await, 204, "the client learns the code first");

    let (mut alice, mut bob, ..) = join_both(&server, client.way.clone()).await;
    for _ in 0..3 {
        bob.send(&vec![r#"{"type":"ping"}"#; 200]).await;
    }
    assert_eq!(bob.close_code().await, 1008);
    assert_eq!(alice.receive_json().await["type"], "peer-away");

    let mut bob = PollingClient::open(client.way.clone()).await;
    bob.send(&[r#"{"type":"ping"}"#]).await;
    assert_eq!(bob.receive().await["type"], "pong");
    bob.send(&[r#"{"type":"ping"}"#]).await;
    assert_eq!(bob.receive().await["type"], "pong");
    let open = || server.server.sessions().iter().find(|(label, _)| *label == "polling").unwrap().1;
    let (before, mut rounds) = (open(), 0);
    while open() == before {
        let overtaken = futures_util::future::join_all((0..90).map(|_| bob.request_after(0))).await;
        assert!(overtaken.iter().all(|reply| reply.text() == r#"{"seq":1,"frames":[]}"#));
        rounds += 1;
        assert!(rounds < 50, "requests count as frames");
    }
    assert_eq!(bob.close_code().await, 1008);
}

#[tokio::test]
async fn newer_request_answers_the_one_that_waits() {
    let server = start_web_server(|_| {}).await;
    let (mut alice, bob, _, second) = join_both(&server, Way::http2(&server).await).await;
    let older = bob.request_after(1);
    let newer = async {
        tokio::task::yield_now().await;
        bob.request_after(1).await
    };
    let frame = json!({"type": "candidate", "target": second["id"], "candidate": null}).to_string();
    let (mut older, mut newer) = (std::pin::pin!(older), std::pin::pin!(newer));
    let answered = tokio::select! {
        reply = &mut older => (reply, newer.as_mut()),
        reply = &mut newer => panic!("the newer one was answered: {reply:?}"),
    };
    assert_eq!(answered.0.text(), r#"{"seq":2,"frames":[]}"#);
    alice.send(&frame).await;
    assert_eq!(answered.1.await.json()["frames"][0]["type"], "candidate");
}

#[tokio::test]
async fn broken_connection_loses_no_frame() {
    let server = start_web_server(|_| {}).await;
    let (mut alice, mut bob, _, second) = join_both(&server, Way::http2(&server).await).await;
    let body = json!({"session": bob.session, "after": 1}).to_string();
    let head =
        format!("POST /poll HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n", server.host(), body.len());
    let mut stream = server.connect().await;
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    drop(stream);
    let candidate = json!({"type": "candidate", "target": second["id"], "candidate": {"n": 1}});
    alice.send(&candidate.to_string()).await;
    assert_eq!(bob.receive().await["candidate"]["n"], 1);
}

#[tokio::test]
async fn waiting_request_is_answered_after_20_seconds() {
    let server = start_web_server(|_| {}).await;
    let client = PollingClient::open(Way::http2(&server).await).await;
    let (started, reply) = (Instant::now(), client.request_after(0).await);
    assert_eq!(reply.text(), r#"{"seq":1,"frames":[]}"#);
    assert!((19..60).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    assert_eq!(client.close(1000).await, 204, "the connection is still open");
}

#[tokio::test]
async fn silent_session_is_lost_and_its_seat_resumes() {
    let server = start_web_server(|_| {}).await;
    let (mut alice, bob, _, second) = join_both(&server, Way::http2(&server).await).await;
    let started = Instant::now();
    assert_eq!(alice.receive_json().await["type"], "peer-away");
    assert!((14..45).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    assert_eq!(bob.request_after(1).await.status, 404);
    let mut bob = PollingClient::open(bob.way.clone()).await;
    let resumed = bob.join(json!({"type": "join", "room": "kitchen", "resume": second["resume"]})).await;
    assert_eq!(resumed["resumed"], true);
}

#[tokio::test]
async fn seat_taken_elsewhere_closes_the_session_with_4001() {
    let server = start_web_server(|_| {}).await;
    let (_alice, mut bob, _, second) = join_both(&server, Way::http2(&server).await).await;
    let mut elsewhere = Browser::open(&server).await;
    elsewhere.join(json!({"type": "join", "room": "kitchen", "resume": second["resume"]})).await;
    assert_eq!(bob.close_code().await, 4001);
}

#[tokio::test]
async fn drain_and_stop_reach_the_client() {
    let server = start_web_server(|_| {}).await;
    let (_alice, mut bob, ..) = join_both(&server, Way::http2(&server).await).await;
    server.server.drain();
    assert_eq!(bob.receive().await["code"], "shutting-down");
    let mut late = PollingClient::open(bob.way.clone()).await;
    assert_eq!(late.join(json!({"type": "join", "room": "hall"})).await["code"], "shutting-down");
    let stop = server.server.stop(TEST_TIMEOUT);
    let (code, ()) = tokio::join!(bob.close_code(), stop);
    assert_eq!(code, 1001);
}

#[tokio::test]
async fn sessions_count_for_their_source_also_behind_a_proxy() {
    let server = start_web_server(|config| {
        config.trusted_proxy = vec!["127.0.0.1/32".parse().unwrap()];
        config.source_connections = 2;
    })
    .await;
    let open = async |client: &str| {
        let lines = [
            "Host: box.example",
            "X-Forwarded-Proto: https",
            "Content-Length: 2",
            &format!("X-Forwarded-For: {client}"),
        ];
        let stream = tokio::net::TcpStream::connect(server.http).await.unwrap();
        let first = "POST /poll HTTP/1.1";
        crate::harness::http_client::exchange_with_body(stream, first, &lines, "{}").await
    };
    let sessions = [open("192.0.2.7").await, open("192.0.2.7").await];
    assert_eq!(sessions.each_ref().map(|reply| reply.status), [200, 200]);
    let refused = open("192.0.2.7").await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, "5"));
    assert_eq!(open("192.0.2.8").await.status, 200, "other clients are not affected");
    let close = json!({"session": sessions[0].json()["session"], "close": 1000}).to_string();
    assert_eq!(server.post("/poll", &[], &close).await.status, 204);
    assert_eq!(open("192.0.2.7").await.status, 200, "a closed session frees its place");
    assert_eq!(server.metric(r#"webrtc_box_sessions_opened_total{transport="polling"}"#), 4);
}

/// From the connection to `resp-join`, in milliseconds: the median and the 99th percentile.
fn percentiles(mut times: Vec<Duration>) -> (f64, f64) {
    times.sort();
    let milliseconds = |share: f64| times[(share * (times.len() - 1) as f64) as usize].as_secs_f64() * 1000.0;
    (milliseconds(0.5), milliseconds(0.99))
}

/// Joins an empty room over HTTP as a Socket.IO client of the classic example does.
async fn join_by_socket_io(client: &Http2Client, room: &str) {
    let path = "/socket.io/?EIO=4&transport=polling";
    let reply = client.request("GET", path, &[], "").await;
    let opened: Value = serde_json::from_str(reply.text().strip_prefix('0').unwrap()).unwrap();
    let path = format!("{path}&sid={}", opened["sid"].as_str().unwrap());
    for packet in ["40", &format!(r#"42["join","{room}"]"#)] {
        assert_eq!(client.request("POST", &path, &[], packet).await.text(), "ok");
    }
    while !client.request("GET", &path, &[], "").await.text().contains(r#"42["ice-servers""#) {}
}

/// Requests packets until `packet` is among them.
async fn wait_for_packet(client: &Http2Client, path: &str, packet: &str) {
    while !client.request("GET", path, &[], "").await.text().split('\x1e').any(|each| each == packet) {}
}

#[tokio::test]
async fn socket_io_client_that_answers_is_pinged_every_five_seconds() {
    let server = start_web_server(|_| {}).await;
    let client = Http2Client::connect(server.connect_http2().await, &server.host()).await;
    let path = "/socket.io/?EIO=4&transport=polling";
    let reply = client.request("GET", path, &[], "").await;
    let opened: Value = serde_json::from_str(reply.text().strip_prefix('0').unwrap()).unwrap();
    let path = format!("{path}&sid={}", opened["sid"].as_str().unwrap());
    client.request("POST", &path, &[], "40").await;
    wait_for_packet(&client, &path, "2").await;
    client.request("POST", &path, &[], "3").await;
    let answered = Instant::now();
    wait_for_packet(&client, &path, "2").await;
    // After 7 s without an answer the seat counts as abandoned.
    assert!(answered.elapsed() < Duration::from_secs(9), "{:?}", answered.elapsed());
}

#[tokio::test]
async fn join_over_http_takes_at_most_a_second() {
    let server = start_web_server(|_| {}).await;
    let (mut websocket, mut polling, mut socket_io) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..100 {
        // The rates of a source are limited.
        let from = Ipv4Addr::new(127, 2, 0, number);
        let join = json!({"type": "join", "room": format!("hall-{number}")});
        let start = Instant::now();
        let mut alice = Browser::open_over(&server, server.try_connect(from).await.unwrap()).await;
        alice.join(join.clone()).await;
        websocket.push(start.elapsed());

        let connect = async || {
            let tcp = server.connect_tcp(from).await.unwrap();
            Http2Client::connect(server.connect_over_with(tcp, &[b"h2"]).await, &server.host()).await
        };
        let start = Instant::now();
        let mut bob = PollingClient::open(Way::Http2(connect().await)).await;
        assert_eq!(bob.join(join).await["type"], "resp-join");
        polling.push(start.elapsed());

        let start = Instant::now();
        join_by_socket_io(&connect().await, &format!("cellar-{number}")).await;
        socket_io.push(start.elapsed());
    }
    println!("join over a new connection, p50 and p99 in ms (goal 1000):");
    for (way, times) in [("WebSocket", websocket), ("polling", polling), ("Socket.IO over HTTP", socket_io)] {
        let (p50, p99) = percentiles(times);
        println!("{way:20}{p50:7.1}{p99:8.1}");
        assert!(p99 < 3000.0, "{way}");
    }
}
