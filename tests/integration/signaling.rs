//! Signaling over WebSockets with TLS on real sockets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::harness::web_server::{TEST_TIMEOUT, WebServer, start_web_server};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{Frame, FrameHeader};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message};
use tokio_tungstenite::{WebSocketStream, client_async};
use webrtc_box_signaling::{HostKeys, SeatEvent, SeatId, TagKey};

/// A WebSocket client with the headers of a browser.
pub(super) struct Browser(WebSocketStream<TlsStream<TcpStream>>);

impl Browser {
    pub(super) async fn open(server: &WebServer) -> Self {
        Self::open_over(server, server.connect().await).await
    }

    pub(super) async fn open_over(server: &WebServer, stream: TlsStream<TcpStream>) -> Self {
        let mut request = format!("wss://{}/ws", server.host()).into_client_request().unwrap();
        request.headers_mut().insert("origin", format!("https://{}", server.host()).parse().unwrap());
        Self(client_async(request, stream).await.unwrap().0)
    }

    pub(super) async fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// The next text frame.
    pub(super) async fn receive(&mut self) -> String {
        loop {
            match self.next().await {
                Some(Message::Text(text)) => return text.to_string(),
                Some(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("expected a text frame, not {other:?}"),
            }
        }
    }

    pub(super) async fn join(&mut self, frame: Value) -> Value {
        self.send(&frame.to_string()).await;
        self.receive_json().await
    }

    pub(super) async fn receive_json(&mut self) -> Value {
        serde_json::from_str(&self.receive().await).unwrap()
    }

    /// The code with which the server closes; skips frames before.
    async fn close_code(&mut self) -> u16 {
        loop {
            match self.next().await {
                Some(Message::Close(Some(CloseFrame { code, .. }))) => return code.into(),
                Some(Message::Text(_) | Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("expected a close frame, not {other:?}"),
            }
        }
    }

    async fn next(&mut self) -> Option<Message> {
        let next = tokio::time::timeout(TEST_TIMEOUT, self.0.next()).await.expect("a message in time");
        next.map(|message| message.expect("an open connection"))
    }

    /// Sends a data frame; whether it could.
    async fn send_frame(&mut self, opcode: Data, last: bool, payload: &[u8]) -> bool {
        let header = FrameHeader { is_final: last, opcode: OpCode::Data(opcode), ..FrameHeader::default() };
        let frame = Frame::from_payload(header, payload.to_vec().into());
        self.0.send(Message::Frame(frame)).await.is_ok()
    }
}

fn type_of(frame: &str) -> String {
    serde_json::from_str::<Value>(frame).unwrap()["type"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn eight_messages_in_order_are_exact() {
    let server = start_web_server(|_| {}).await;
    let (mut alice, mut bob) = (Browser::open(&server).await, Browser::open(&server).await);

    let first = alice.join(json!({"type": "join", "room": "kitchen"})).await;
    alice.send(r#"{"type":"ping"}"#).await;
    assert_eq!(alice.receive().await, r#"{"type":"pong"}"#);
    bob.send(r#"{"type":"join","room":"kitchen"}"#).await;
    let text = bob.receive().await;
    let second: Value = serde_json::from_str(&text).unwrap();
    let (a, b) = (first["id"].as_str().unwrap(), second["id"].as_str().unwrap());
    let tag = TagKey::new([1; 32]).tag("kitchen");
    let entry = &second["iceServers"][1];
    let (username, password) = (entry["username"].as_str().unwrap(), entry["credential"].as_str().unwrap());
    assert!(username.ends_with(&format!(":{tag}.{b}")), "{username}");
    let token = second["resume"].as_str().unwrap();
    assert_eq!(
        text,
        format!(
            concat!(
                r#"{{"type":"resp-join","id":"{}","room":"kitchen","peer":"{}","#,
                r#""iceServers":[{{"urls":["stun:localhost:3478"]}},"#,
                r#"{{"urls":["turn:localhost:3478?transport=udp"],"username":"{}","credential":"{}"}}],"#,
                r#""ttl":3600,"resume":"{}","resumed":false}}"#
            ),
            b, a, username, password, token
        )
    );
    assert_eq!(alice.receive().await, format!(r#"{{"type":"new-peer","id":"{b}"}}"#));

    let sdp = r#"{ "type": "offer", "sdp": "v=0\r\n\u00e9" }"#;
    bob.send(&format!(r#"{{"type":"offer","target":"{a}","sdp":{sdp},"call":"x/0"}}"#)).await;
    assert_eq!(alice.receive().await, format!(r#"{{"type":"offer","from":"{b}","sdp":{sdp},"call":"x/0"}}"#));
    alice.send(&format!(r#"{{"type":"answer","target":"{b}","sdp":{{}}}}"#)).await;
    assert_eq!(bob.receive().await, format!(r#"{{"type":"answer","from":"{a}","sdp":{{}}}}"#));
    alice.send(&format!(r#"{{"type":"candidate","target":"{b}","candidate":null}}"#)).await;
    assert_eq!(bob.receive().await, format!(r#"{{"type":"candidate","from":"{a}","candidate":null}}"#));
    alice.send(r#"{"type":"leave"}"#).await;
    assert_eq!(bob.receive().await, format!(r#"{{"type":"peer-leave","id":"{a}"}}"#));

    let seat = |id: &str| SeatId::parse(id).unwrap();
    let events = server.seat_events.lock().unwrap().clone();
    let (a, b) = (seat(a), seat(b));
    assert_eq!(events, [SeatEvent::Joined(tag, a), SeatEvent::Joined(tag, b), SeatEvent::Left(tag, a)]);
}

#[tokio::test]
async fn protocol_violation_closes_with_its_code() {
    let server = start_web_server(|_| {}).await;
    let limit = 64 * 1024;

    let mut browser = Browser::open(&server).await;
    browser.send(&format!("{{{}", " ".repeat(limit - 1))).await;
    assert_eq!(type_of(&browser.receive().await), "error", "exactly 64 KiB are accepted");
    browser.send(&" ".repeat(limit + 1)).await;
    assert_eq!(browser.close_code().await, 1009, "one byte more is refused");

    let mut browser = Browser::open(&server).await;
    browser.send_frame(Data::Text, false, &[b' '; 1024]).await;
    for _ in 0..64 {
        if !browser.send_frame(Data::Continue, false, &[b' '; 1024]).await {
            break;
        }
    }
    assert_eq!(browser.close_code().await, 1009, "also in fragments");

    let mut browser = Browser::open(&server).await;
    browser.send_frame(Data::Text, true, b"\xff\xfe").await;
    assert_eq!(browser.close_code().await, 1007);

    let mut browser = Browser::open(&server).await;
    for _ in 0..10 {
        browser.send("{").await;
    }
    assert_eq!(browser.close_code().await, 1008);

    let mut browser = Browser::open(&server).await;
    for _ in 0..10 {
        browser.0.send(Message::binary(vec![1])).await.unwrap();
    }
    assert_eq!(browser.close_code().await, 1008);

    let mut browser = Browser::open(&server).await;
    let nested = "[".repeat(60_000);
    assert_eq!(browser.join(json!([])).await["code"], "bad-message");
    browser.send(&nested).await;
    assert_eq!(type_of(&browser.receive().await), "error");
}

#[tokio::test]
async fn message_flood_is_closed_without_effect_on_others() {
    let server = start_web_server(|_| {}).await;
    let mut other = Browser::open(&server).await;
    for message in [Message::text(r#"{"type":"ping"}"#), Message::Ping(vec![0; 8].into())] {
        let flooder = Browser::open(&server).await;
        let (mut write, read) = flooder.0.split();
        let flood = tokio::spawn(async move {
            for _ in 0..10_000 {
                if write.send(message.clone()).await.is_err() {
                    break;
                }
            }
        });
        let started = Instant::now();
        other.send(r#"{"type":"ping"}"#).await;
        assert_eq!(other.receive().await, r#"{"type":"pong"}"#);
        println!("during a flood, another client got a reply after {:?}", started.elapsed());
        assert!(started.elapsed() < Duration::from_secs(5));
        let last = read.filter_map(|message| std::future::ready(message.ok())).fold(None, last_close_code);
        let code = tokio::time::timeout(TEST_TIMEOUT, last).await.expect("closed in time");
        assert_eq!(code, Some(1008));
        flood.abort();
    }
}

async fn last_close_code(before: Option<u16>, message: Message) -> Option<u16> {
    if let Message::Close(Some(frame)) = message { Some(frame.code.into()) } else { before }
}

#[tokio::test]
async fn endless_empty_fragments_are_closed() {
    let server = start_web_server(|_| {}).await;
    let browser = Browser::open(&server).await;
    let mut stream = browser.0.into_inner();
    let mut fragments = vec![0x01, 0x80, 0, 0, 0, 0];
    fragments.extend([0x00, 0x80, 0, 0, 0, 0].repeat(100_000));
    let (mut read, mut write) = tokio::io::split(&mut stream);
    let mut received = Vec::new();
    // Either may fail after the server has closed.
    let both = async { tokio::join!(write.write_all(&fragments), read.read_to_end(&mut received)) };
    let _ = tokio::time::timeout(TEST_TIMEOUT, both).await.expect("closed in time");
    assert_eq!(received[0], 0x88, "a close frame");
    assert_eq!(u16::from_be_bytes([received[2], received[3]]), 1008);
}

#[tokio::test]
async fn only_own_and_allowed_origins_may_connect() {
    let server = start_web_server(|config| {
        config.domain = Some("box.example".into());
        config.allowed_origin = vec!["https://friend.example".into()];
    })
    .await;
    let (host, port) = (server.host(), server.https.port());
    let allowed =
        [format!("https://{host}"), format!("https://box.example:{port}"), "https://friend.example".into()];
    for origin in &allowed {
        assert_eq!(handshake_status(&server, &[&format!("Origin: {origin}")]).await, 101, "{origin}");
    }
    assert_eq!(handshake_status(&server, &[]).await, 101, "clients that are no browsers send no origin");
    let foreign = [
        "null".to_owned(),
        String::new(),
        "https://evil.example".into(),
        format!("http://{host}"),
        format!("https://{host}.evil.example"),
        format!("https://evil{host}"),
        format!("https://{host}0"),
        format!("https://localhost:{}", port ^ 1),
        "https://localhost".into(),
        "https://box.example.evil.example".into(),
        "https://friend.example:8443".into(),
        "https://friend.example@evil.example".into(),
        format!("https://{host}/"),
    ];
    for origin in foreign {
        assert_eq!(handshake_status(&server, &[&format!("Origin: {origin}")]).await, 403, "{origin}");
    }
    let forwarded = ["Origin: https://evil.example", "X-Forwarded-Host: evil.example"];
    assert_eq!(handshake_status(&server, &forwarded).await, 403, "from trusted proxies only");
}

/// The status of a WebSocket handshake with these further header lines.
async fn handshake_status(server: &WebServer, lines: &[&str]) -> u16 {
    let upgrade = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"];
    let host = format!("Host: {}", server.host());
    let key = ["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", host.as_str()];
    let reply = server.request("GET /ws HTTP/1.1", &[&upgrade[..], &key, lines].concat()).await;
    reply.status
}

#[tokio::test]
async fn bad_websocket_handshake_gets_an_http_error() {
    let server = start_web_server(|_| {}).await;
    let reply = server.get("/ws", &[]).await;
    assert_eq!((reply.status, reply.header("sec-websocket-version")), (426, "13"));
    let old = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 8"];
    let key = ["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="];
    assert_eq!(server.get("/ws", &[&old[..], &key].concat()).await.status, 426);
}

#[tokio::test]
async fn trusted_proxy_passes_the_host_on() {
    let server = start_web_server(|config| config.trusted_proxy = vec!["127.0.0.0/8".parse().unwrap()]).await;
    let forwarded = [
        "Upgrade: websocket",
        "Connection: keep-alive, Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "Host: inner:8080",
        "X-Forwarded-Host: box.example",
        "X-Forwarded-Proto: https",
        "X-Forwarded-For: 192.0.2.7",
    ];
    for (origin, status) in
        [("https://box.example", 101), ("https://inner:8080", 403), ("http://box.example", 403)]
    {
        let origin = format!("Origin: {origin}");
        let reply = server.request_plain("GET /ws HTTP/1.1", &[&forwarded[..], &[&origin]].concat()).await;
        assert_eq!(reply.status, status, "{origin}");
    }
}

#[tokio::test]
async fn resume_takes_a_seat_from_a_half_open_connection() {
    let server = start_web_server(|_| {}).await;
    let (mut alice, mut bob) = (Browser::open(&server).await, Browser::open(&server).await);
    alice.join(json!({"type": "join", "room": "kitchen"})).await;
    let seat = bob.join(json!({"type": "join", "room": "kitchen"})).await;
    assert_eq!(type_of(&alice.receive().await), "new-peer");
    let mut again = Browser::open(&server).await;
    let resumed = again.join(json!({"type": "join", "room": "kitchen", "resume": seat["resume"]})).await;
    assert_eq!((&resumed["id"], &resumed["resumed"]), (&seat["id"], &json!(true)));
    assert_eq!(bob.close_code().await, 4001);
    assert_eq!(type_of(&alice.receive().await), "peer-back");
}

#[tokio::test]
async fn resume_works_after_a_restart() {
    let first = start_web_server(|_| {}).await;
    let mut alice = Browser::open(&first).await;
    let seat = alice.join(json!({"type": "join", "room": "kitchen"})).await;
    first.server.stop(TEST_TIMEOUT).await;
    assert_eq!(alice.close_code().await, 1001);
    let second = start_web_server(|_| {}).await;
    let mut alice = Browser::open(&second).await;
    let resumed = alice.join(json!({"type": "join", "room": "kitchen", "resume": seat["resume"]})).await;
    assert_eq!((&resumed["id"], &resumed["resumed"]), (&seat["id"], &json!(false)));
    let other_key = start_web_server(|config| {
        config.rooms.resume_key = webrtc_box_signaling::ResumeTokenKey::new([9; 32])
    })
    .await;
    let mut alice = Browser::open(&other_key).await;
    let refused = alice.join(json!({"type": "join", "room": "kitchen", "resume": seat["resume"]})).await;
    assert_eq!(refused["code"], "bad-resume");
}

#[tokio::test]
async fn disconnected_participant_leaves_after_the_grace_time() {
    let server = start_web_server(|config| config.rooms.room_grace = Duration::from_millis(300)).await;
    let (mut alice, mut bob) = (Browser::open(&server).await, Browser::open(&server).await);
    alice.join(json!({"type": "join", "room": "kitchen"})).await;
    bob.join(json!({"type": "join", "room": "kitchen"})).await;
    assert_eq!(type_of(&alice.receive().await), "new-peer");
    drop(bob);
    assert_eq!(type_of(&alice.receive().await), "peer-away");
    let started = Instant::now();
    assert_eq!(type_of(&alice.receive().await), "peer-leave");
    println!("a grace time of 300 ms ended after {:?}", started.elapsed());
    assert!((Duration::from_millis(200)..Duration::from_secs(5)).contains(&started.elapsed()));
    assert!(matches!(server.seat_events.lock().unwrap().last(), Some(SeatEvent::Expired(..))));
}

/// Two participants in a room, and the `resp-join` of the second.
async fn join_two(server: &WebServer) -> (Browser, Browser, Value) {
    let (mut alice, mut bob) = (Browser::open(server).await, Browser::open(server).await);
    alice.join(json!({"type": "join", "room": "kitchen"})).await;
    let seat = bob.join(json!({"type": "join", "room": "kitchen"})).await;
    assert_eq!(type_of(&alice.receive().await), "new-peer");
    (alice, bob, seat)
}

#[tokio::test]
async fn third_client_waits_is_declined_and_then_admitted() {
    let server = start_web_server(|_| {}).await;
    let (mut alice, mut bob, _) = join_two(&server).await;
    let mut carol = Browser::open(&server).await;
    let wait = json!({"type": "join", "room": "kitchen", "name": "Carol", "wait": true});
    assert_eq!(carol.join(wait.clone()).await, json!({"type": "waiting", "position": 1}));
    let knock = alice.receive_json().await;
    assert_eq!((&knock["type"], &knock["name"]), (&json!("knock"), &json!("Carol")));
    assert_eq!(bob.receive_json().await, knock);
    assert_eq!(server.server.count(), (1, 2));

    bob.send(&json!({"type": "decline", "id": knock["id"]}).to_string()).await;
    assert_eq!(carol.receive_json().await["code"], "declined");
    assert_eq!(alice.receive_json().await, json!({"type": "knock", "id": knock["id"], "gone": true}));
    assert_eq!(bob.receive_json().await["gone"], true);
    assert_eq!(carol.join(wait).await["type"], "waiting", "over the same WebSocket");
    let knock = alice.receive_json().await;
    let admit = json!({"type": "admit", "id": knock["id"]}).to_string();
    alice.send(&admit).await;
    assert_eq!(alice.receive_json().await["code"], "room-full");
    bob.send(r#"{"type":"leave"}"#).await;
    assert_eq!(type_of(&alice.receive().await), "peer-leave");
    alice.send(&admit).await;
    let seat = carol.receive_json().await;
    assert_eq!((&seat["type"], &seat["id"]), (&json!("resp-join"), &knock["id"]));
    assert_eq!(alice.receive_json().await["gone"], true);
    let expected = json!({"type": "new-peer", "id": knock["id"], "name": "Carol"});
    assert_eq!(alice.receive_json().await, expected);
    let waits = |outcome| server.metric(&format!(r#"webrtc_box_waits_total{{outcome="{outcome}"}}"#));
    assert_eq!(["seated", "declined", "gone"].map(waits), [1, 1, 0]);
}

#[tokio::test]
async fn guest_waits_for_the_host_and_is_let_in() {
    let host_keys = HostKeys::new(&["sesame"]);
    let server = start_web_server(|config| config.rooms.host_keys = host_keys).await;
    let (mut closed, mut guest) = (Browser::open(&server).await, Browser::open(&server).await);
    let wait = json!({"type": "join", "room": "kitchen", "wait": true});
    assert_eq!(closed.join(wait.clone()).await["position"], 1);
    assert_eq!(guest.join(wait).await["position"], 2);
    assert_eq!(server.server.count(), (0, 0), "nobody has a seat");
    closed.0.close(Some(CloseFrame { code: CloseCode::Away, reason: "".into() })).await.unwrap();
    assert_eq!(guest.receive_json().await["position"], 1, "a closed page waits no longer");
    let mut host = Browser::open(&server).await;
    let seat = host.join(json!({"type": "join", "room": "kitchen", "key": "sesame", "name": "Hanna"})).await;
    assert_eq!((&seat["type"], &seat["peer"]), (&json!("resp-join"), &Value::Null));
    let admitted = guest.receive_json().await;
    assert_eq!((&admitted["peer"], &admitted["peerName"]), (&seat["id"], &json!("Hanna")));
    assert_eq!(type_of(&host.receive().await), "new-peer");
}

#[tokio::test]
async fn transfer_token_moves_a_seat_to_another_connection_once() {
    let server = start_web_server(|_| {}).await;
    let (mut alice, mut bob, seat) = join_two(&server).await;
    let transfer = bob.join(json!({"type": "transfer"})).await;
    assert_eq!(transfer["ttl"], 60);
    let join = json!({"type": "join", "room": "kitchen", "resume": transfer["token"]});
    let mut phone = Browser::open(&server).await;
    let moved = phone.join(join.clone()).await;
    assert_eq!((&moved["id"], &moved["resumed"]), (&seat["id"], &json!(true)));
    assert_eq!(bob.close_code().await, 4001);
    assert_eq!(type_of(&alice.receive().await), "peer-back");
    let mut again = Browser::open(&server).await;
    assert_eq!(again.join(join).await["code"], "bad-resume");
    let beacon = server.post("/leave", &[], transfer["token"].as_str().unwrap()).await;
    assert_eq!(beacon.status, 400, "a transfer token closes no page");
}

#[tokio::test]
async fn close_frame_is_answered_before_the_connection_ends() {
    let server = start_web_server(|_| {}).await;
    for code in [CloseCode::Normal, CloseCode::Away] {
        let mut alice = Browser::open(&server).await;
        alice.join(json!({"type": "join", "room": "kitchen"})).await;
        alice.0.close(Some(CloseFrame { code, reason: "".into() })).await.unwrap();
        assert_eq!(alice.close_code().await, u16::from(code), "answered with the same code");
        assert!(alice.next().await.is_none(), "the stream ends without an error");
        let mut stream = alice.0.into_inner();
        assert_eq!(stream.read(&mut [0; 16]).await.unwrap(), 0, "closed with close_notify");
    }
}

#[tokio::test]
async fn closed_page_is_announced_and_resumes_after_a_reload() {
    let server = start_web_server(|_| {}).await;
    let (mut alice, mut bob, seat) = join_two(&server).await;
    bob.0.close(Some(CloseFrame { code: CloseCode::Away, reason: "".into() })).await.unwrap();
    let expected = json!({"type": "peer-away", "id": seat["id"], "closing": true});
    assert_eq!(serde_json::from_str::<Value>(&alice.receive().await).unwrap(), expected);
    let mut reloaded = Browser::open(&server).await;
    let resumed = reloaded.join(json!({"type": "join", "room": "kitchen", "resume": seat["resume"]})).await;
    assert_eq!(resumed["resumed"], true);
    assert_eq!(type_of(&alice.receive().await), "peer-back");
}

#[tokio::test]
async fn closed_page_without_a_websocket_is_announced_by_a_beacon() {
    let server = start_web_server(|_| {}).await;
    let (mut alice, _bob, seat) = join_two(&server).await;
    let token = seat["resume"].as_str().unwrap();
    let own = format!("Origin: https://{}", server.host());
    let foreign = server.post("/leave", &["Origin: https://evil.example"], token).await;
    assert_eq!(foreign.status, 403);
    assert_eq!(server.post("/leave", &[&own], &"x".repeat(10_000)).await.status, 400);
    assert_eq!(server.post("/leave", &[&own], "forged").await.status, 400);
    assert_eq!(server.get("/leave", &[]).await.status, 405);
    assert_eq!(server.post("/leave", &[&own, "Content-Type: text/plain"], token).await.status, 204);
    let expected = json!({"type": "peer-away", "id": seat["id"], "closing": true});
    assert_eq!(serde_json::from_str::<Value>(&alice.receive().await).unwrap(), expected);
    for guess in 0..19 {
        assert_eq!(server.post("/leave", &[&own], &format!("forged {guess}")).await.status, 400);
    }
    assert_eq!(server.post("/leave", &[&own], "one more").await.status, 429);
    assert_eq!(server.post("/leave", &[&own], token).await.status, 204, "a genuine token is never refused");
}

#[tokio::test]
async fn new_credentials_are_sent_before_expiry() {
    let server = start_web_server(|config| config.rooms.credential_ttl = Duration::from_secs(2)).await;
    let mut alice = Browser::open(&server).await;
    assert_eq!(alice.join(json!({"type": "join", "room": "kitchen"})).await["ttl"], 2);
    let started = Instant::now();
    assert_eq!(type_of(&alice.receive().await), "ice-servers");
    assert!((Duration::from_secs(1)..Duration::from_secs(10)).contains(&started.elapsed()));
}

#[tokio::test]
async fn client_that_never_reads_is_closed_at_little_cost() {
    let server = Arc::new(start_web_server(|_| {}).await);
    let (mut alice, mut non_reader) = (Browser::open(&server).await, Browser::open(&server).await);
    alice.join(json!({"type": "join", "room": "kitchen"})).await;
    let seat = non_reader.join(json!({"type": "join", "room": "kitchen"})).await;
    assert_eq!(type_of(&alice.receive().await), "new-peer");
    let big = json!({"type": "offer", "target": seat["id"], "sdp": {"sdp": "x".repeat(60_000)}}).to_string();
    let before = resident_kib();
    let started = Instant::now();
    let (mut write, mut read) = alice.0.split();
    let flood = tokio::spawn(async move {
        // The server refuses messages when its queue is full; this continues until the buffers of the
        // kernel are full, too.
        for sent in 0.. {
            write.send(Message::text(&big)).await.unwrap();
            if sent > 300 {
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        }
    });
    let away = async {
        while let Some(Ok(message)) = read.next().await {
            if message.to_text().is_ok_and(|text| text.contains("peer-away")) {
                return;
            }
        }
        panic!("the sender was closed");
    };
    tokio::time::timeout(2 * TEST_TIMEOUT, away).await.expect("closed in time");
    let grown = resident_kib().saturating_sub(before);
    println!("a client that never reads was closed after {:?}, {grown} KiB later", started.elapsed());
    assert!(grown < 16 * 1024);
    flood.abort();
    drop(non_reader);
}

#[tokio::test]
async fn sender_is_refused_when_its_peer_does_not_read() {
    let server = Arc::new(start_web_server(|_| {}).await);
    let (alice, mut bob, seat) = join_two(&server).await;
    let big = json!({"type": "offer", "target": seat["id"], "sdp": {"sdp": "x".repeat(60_000)}}).to_string();
    let (mut write, mut read) = alice.0.split();
    let flood = tokio::spawn(async move {
        for _ in 0..390 {
            write.send(Message::text(&big)).await.unwrap();
        }
        write
    });
    // Until the queue of the receiver and the buffers of the kernel are full.
    let refused = async {
        loop {
            match read.next().await.expect("a frame").expect("an open connection") {
                Message::Text(text) if text.contains("rate-limited") => return,
                Message::Text(text) => panic!("{text}"),
                Message::Binary(_)
                | Message::Ping(_)
                | Message::Pong(_)
                | Message::Close(_)
                | Message::Frame(_) => {}
            }
        }
    };
    tokio::time::timeout(TEST_TIMEOUT, refused).await.expect("refused in time");
    flood.abort();
    bob.send(r#"{"type":"ping"}"#).await;
    let mut offers = 0;
    while type_of(&bob.receive().await) == "offer" {
        offers += 1;
    }
    println!("{offers} offers arrived before the reply to the ping");
    assert_eq!(server.server.count(), (1, 2));
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn drain_notifies_participants_and_refuses_joins() {
    let server = start_web_server(|_| {}).await;
    let mut alice = Browser::open(&server).await;
    alice.join(json!({"type": "join", "room": "kitchen"})).await;
    server.server.drain();
    let notice: Value = serde_json::from_str(&alice.receive().await).unwrap();
    assert_eq!(notice["code"], "shutting-down");
    let mut new = Browser::open(&server).await;
    assert_eq!(new.join(json!({"type": "join", "room": "kitchen"})).await["code"], "shutting-down");
    assert_eq!(server.server.count(), (1, 1));
}
