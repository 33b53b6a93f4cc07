//! Signaling as browsers meet it: WebSockets through TLS, over real sockets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::harness::web_server::{PATIENCE, WebServer, start_web_server};
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
use webrtc_box_signaling::{SeatEvent, SeatId, TagKey};

/// A browser with its page open.
struct Browser(WebSocketStream<TlsStream<TcpStream>>);

impl Browser {
    async fn open(server: &WebServer) -> Self {
        let mut request = format!("wss://{}/ws", server.host()).into_client_request().unwrap();
        request.headers_mut().insert("origin", format!("https://{}", server.host()).parse().unwrap());
        Self(client_async(request, server.dial().await).await.unwrap().0)
    }

    async fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// The next text frame, word for word.
    async fn hear(&mut self) -> String {
        loop {
            match self.next().await {
                Some(Message::Text(text)) => return text.to_string(),
                Some(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("a text frame was to come, not {other:?}"),
            }
        }
    }

    async fn join(&mut self, frame: Value) -> Value {
        self.say(&frame.to_string()).await;
        serde_json::from_str(&self.hear().await).unwrap()
    }

    /// The code with which the server closes, whatever it says before.
    async fn closed(&mut self) -> u16 {
        loop {
            match self.next().await {
                Some(Message::Close(Some(CloseFrame { code, .. }))) => return code.into(),
                Some(Message::Text(_) | Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("a close was to come, not {other:?}"),
            }
        }
    }

    async fn next(&mut self) -> Option<Message> {
        let next = tokio::time::timeout(PATIENCE, self.0.next()).await.expect("something in time");
        next.map(|message| message.expect("an unbroken connection"))
    }

    async fn raw(&mut self, opcode: Data, last: bool, payload: &[u8]) -> bool {
        let header = FrameHeader { is_final: last, opcode: OpCode::Data(opcode), ..FrameHeader::default() };
        let frame = Frame::from_payload(header, payload.to_vec().into());
        self.0.send(Message::Frame(frame)).await.is_ok()
    }
}

fn kind(frame: &str) -> String {
    serde_json::from_str::<Value>(frame).unwrap()["type"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn eight_messages_in_order_are_exact() {
    let server = start_web_server(|_| {}).await;
    let (mut alice, mut bob) = (Browser::open(&server).await, Browser::open(&server).await);

    let first = alice.join(json!({"type": "join", "room": "kitchen"})).await;
    alice.say(r#"{"type":"ping"}"#).await;
    assert_eq!(alice.hear().await, r#"{"type":"pong"}"#);
    bob.say(r#"{"type":"join","room":"kitchen"}"#).await;
    let text = bob.hear().await;
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
    assert_eq!(alice.hear().await, format!(r#"{{"type":"new-peer","id":"{b}"}}"#));

    let sdp = r#"{ "type": "offer", "sdp": "v=0\r\n\u00e9" }"#;
    bob.say(&format!(r#"{{"type":"offer","target":"{a}","sdp":{sdp},"call":"x/0"}}"#)).await;
    assert_eq!(alice.hear().await, format!(r#"{{"type":"offer","from":"{b}","sdp":{sdp},"call":"x/0"}}"#));
    alice.say(&format!(r#"{{"type":"answer","target":"{b}","sdp":{{}}}}"#)).await;
    assert_eq!(bob.hear().await, format!(r#"{{"type":"answer","from":"{a}","sdp":{{}}}}"#));
    alice.say(&format!(r#"{{"type":"candidate","target":"{b}","candidate":null}}"#)).await;
    assert_eq!(bob.hear().await, format!(r#"{{"type":"candidate","from":"{a}","candidate":null}}"#));
    alice.say(r#"{"type":"leave"}"#).await;
    assert_eq!(bob.hear().await, format!(r#"{{"type":"peer-leave","id":"{a}"}}"#));

    let seat = |id: &str| SeatId::parse(id).unwrap();
    let news = server.seat_events.lock().unwrap().clone();
    assert_eq!(
        news,
        [SeatEvent::Joined(tag, seat(a)), SeatEvent::Joined(tag, seat(b)), SeatEvent::Left(tag, seat(a))]
    );
}

#[tokio::test]
async fn protocol_violation_closes_with_its_code() {
    let server = start_web_server(|_| {}).await;
    let limit = 64 * 1024;

    let mut browser = Browser::open(&server).await;
    browser.say(&format!("{{{}", " ".repeat(limit - 1))).await;
    assert_eq!(kind(&browser.hear().await), "error", "exactly 64 KiB are taken");
    browser.say(&" ".repeat(limit + 1)).await;
    assert_eq!(browser.closed().await, 1009, "one byte more is not");

    let mut browser = Browser::open(&server).await;
    browser.raw(Data::Text, false, &[b' '; 1024]).await;
    for _ in 0..64 {
        if !browser.raw(Data::Continue, false, &[b' '; 1024]).await {
            break;
        }
    }
    assert_eq!(browser.closed().await, 1009, "in fragments neither");

    let mut browser = Browser::open(&server).await;
    browser.raw(Data::Text, true, b"\xff\xfe").await;
    assert_eq!(browser.closed().await, 1007);

    let mut browser = Browser::open(&server).await;
    for _ in 0..10 {
        browser.say("{").await;
    }
    assert_eq!(browser.closed().await, 1008);

    let mut browser = Browser::open(&server).await;
    for _ in 0..10 {
        browser.0.send(Message::binary(vec![1])).await.unwrap();
    }
    assert_eq!(browser.closed().await, 1008);

    let mut browser = Browser::open(&server).await;
    let tower = "[".repeat(60_000);
    assert_eq!(browser.join(json!([])).await["code"], "bad-message");
    browser.say(&tower).await;
    assert_eq!(kind(&browser.hear().await), "error");
}

#[tokio::test]
async fn message_flood_is_closed_without_effect_on_others() {
    let server = start_web_server(|_| {}).await;
    let mut neighbour = Browser::open(&server).await;
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
        neighbour.say(r#"{"type":"ping"}"#).await;
        assert_eq!(neighbour.hear().await, r#"{"type":"pong"}"#);
        println!("a neighbour of a flood was answered after {:?}", started.elapsed());
        assert!(started.elapsed() < Duration::from_secs(5));
        let last = read.filter_map(|message| std::future::ready(message.ok())).fold(None, keep_close);
        let code = tokio::time::timeout(PATIENCE, last).await.expect("an end in time");
        assert_eq!(code, Some(1008));
        flood.abort();
    }
}

async fn keep_close(before: Option<u16>, message: Message) -> Option<u16> {
    if let Message::Close(Some(frame)) = message { Some(frame.code.into()) } else { before }
}

#[tokio::test]
async fn endless_empty_fragments_are_closed() {
    let server = start_web_server(|_| {}).await;
    let browser = Browser::open(&server).await;
    let mut stream = browser.0.into_inner();
    let mut crumbs = vec![0x01, 0x80, 0, 0, 0, 0];
    crumbs.extend([0x00, 0x80, 0, 0, 0, 0].repeat(100_000));
    let (mut read, mut write) = tokio::io::split(&mut stream);
    let mut heard = Vec::new();
    // Either may fail once the server has had enough.
    let both = async { tokio::join!(write.write_all(&crumbs), read.read_to_end(&mut heard)) };
    let _ = tokio::time::timeout(PATIENCE, both).await.expect("an end in time");
    assert_eq!(heard[0], 0x88, "a close frame");
    assert_eq!(u16::from_be_bytes([heard[2], heard[3]]), 1008);
}

#[tokio::test]
async fn only_own_and_allowed_origins_may_connect() {
    let server = start_web_server(|setup| {
        setup.domain = Some("box.example".into());
        setup.allowed_origin = vec!["https://friend.example".into()];
    })
    .await;
    let (host, port) = (server.host(), server.https.port());
    let allowed =
        [format!("https://{host}"), format!("https://box.example:{port}"), "https://friend.example".into()];
    for origin in &allowed {
        assert_eq!(knock(&server, &[&format!("Origin: {origin}")]).await, 101, "{origin}");
    }
    assert_eq!(knock(&server, &[]).await, 101, "no origin: no browser");
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
        assert_eq!(knock(&server, &[&format!("Origin: {origin}")]).await, 403, "{origin}");
    }
    let forwarded = ["Origin: https://evil.example", "X-Forwarded-Host: evil.example"];
    assert_eq!(knock(&server, &forwarded).await, 403, "strangers forward nothing");
}

/// The status of an opening handshake with these further lines.
async fn knock(server: &WebServer, lines: &[&str]) -> u16 {
    let upgrade = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"];
    let host = format!("Host: {}", server.host());
    let key = ["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", host.as_str()];
    let reply = server.ask("GET /ws HTTP/1.1", &[&upgrade[..], &key, lines].concat()).await;
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
    let server = start_web_server(|setup| setup.trusted_proxy = vec!["127.0.0.0/8".parse().unwrap()]).await;
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
        let reply = server.ask_plain("GET /ws HTTP/1.1", &[&forwarded[..], &[&origin]].concat()).await;
        assert_eq!(reply.status, status, "{origin}");
    }
}

#[tokio::test]
async fn resume_takes_a_seat_from_a_half_open_connection() {
    let server = start_web_server(|_| {}).await;
    let (mut alice, mut bob) = (Browser::open(&server).await, Browser::open(&server).await);
    alice.join(json!({"type": "join", "room": "kitchen"})).await;
    let seat = bob.join(json!({"type": "join", "room": "kitchen"})).await;
    assert_eq!(kind(&alice.hear().await), "new-peer");
    let mut again = Browser::open(&server).await;
    let back = again.join(json!({"type": "join", "room": "kitchen", "resume": seat["resume"]})).await;
    assert_eq!((&back["id"], &back["resumed"]), (&seat["id"], &json!(true)));
    assert_eq!(bob.closed().await, 4001);
    assert_eq!(kind(&alice.hear().await), "peer-back");
}

#[tokio::test]
async fn resume_works_after_a_restart() {
    let first = start_web_server(|_| {}).await;
    let mut alice = Browser::open(&first).await;
    let seat = alice.join(json!({"type": "join", "room": "kitchen"})).await;
    first.web.stop(PATIENCE).await;
    assert_eq!(alice.closed().await, 1001);
    let second = start_web_server(|_| {}).await;
    let mut alice = Browser::open(&second).await;
    let back = alice.join(json!({"type": "join", "room": "kitchen", "resume": seat["resume"]})).await;
    assert_eq!((&back["id"], &back["resumed"]), (&seat["id"], &json!(false)));
    let other_key =
        start_web_server(|setup| setup.rooms.resume_key = webrtc_box_signaling::ResumeTokenKey::new([9; 32]))
            .await;
    let mut alice = Browser::open(&other_key).await;
    let refused = alice.join(json!({"type": "join", "room": "kitchen", "resume": seat["resume"]})).await;
    assert_eq!(refused["code"], "bad-resume");
}

#[tokio::test]
async fn disconnected_participant_leaves_after_the_grace_time() {
    let server = start_web_server(|setup| setup.rooms.room_grace = Duration::from_millis(300)).await;
    let (mut alice, mut bob) = (Browser::open(&server).await, Browser::open(&server).await);
    alice.join(json!({"type": "join", "room": "kitchen"})).await;
    bob.join(json!({"type": "join", "room": "kitchen"})).await;
    assert_eq!(kind(&alice.hear().await), "new-peer");
    drop(bob);
    assert_eq!(kind(&alice.hear().await), "peer-away");
    let started = Instant::now();
    assert_eq!(kind(&alice.hear().await), "peer-leave");
    println!("a grace of 300 ms was over after {:?}", started.elapsed());
    assert!((Duration::from_millis(200)..Duration::from_secs(5)).contains(&started.elapsed()));
    assert!(matches!(server.seat_events.lock().unwrap().last(), Some(SeatEvent::Expired(..))));
}

/// Two in the kitchen, and the seat of the second.
async fn couple(server: &WebServer) -> (Browser, Browser, Value) {
    let (mut alice, mut bob) = (Browser::open(server).await, Browser::open(server).await);
    alice.join(json!({"type": "join", "room": "kitchen"})).await;
    let seat = bob.join(json!({"type": "join", "room": "kitchen"})).await;
    assert_eq!(kind(&alice.hear().await), "new-peer");
    (alice, bob, seat)
}

#[tokio::test]
async fn close_frame_is_answered_before_the_connection_ends() {
    let server = start_web_server(|_| {}).await;
    for code in [CloseCode::Normal, CloseCode::Away] {
        let mut alice = Browser::open(&server).await;
        alice.join(json!({"type": "join", "room": "kitchen"})).await;
        alice.0.close(Some(CloseFrame { code, reason: "".into() })).await.unwrap();
        assert_eq!(alice.closed().await, u16::from(code), "answered with what was said");
        assert!(alice.next().await.is_none(), "and the stream ends without an error");
        let mut stream = alice.0.into_inner();
        assert_eq!(stream.read(&mut [0; 16]).await.unwrap(), 0, "closed by TLS, not cut off");
    }
}

#[tokio::test]
async fn closed_page_is_announced_and_resumes_after_a_reload() {
    let server = start_web_server(|_| {}).await;
    let (mut alice, mut bob, seat) = couple(&server).await;
    bob.0.close(Some(CloseFrame { code: CloseCode::Away, reason: "".into() })).await.unwrap();
    let expected = json!({"type": "peer-away", "id": seat["id"], "closing": true});
    assert_eq!(serde_json::from_str::<Value>(&alice.hear().await).unwrap(), expected);
    let mut reloaded = Browser::open(&server).await;
    let back = reloaded.join(json!({"type": "join", "room": "kitchen", "resume": seat["resume"]})).await;
    assert_eq!(back["resumed"], true);
    assert_eq!(kind(&alice.hear().await), "peer-back");
}

#[tokio::test]
async fn closed_page_without_a_websocket_is_announced_by_a_beacon() {
    let server = start_web_server(|_| {}).await;
    let (mut alice, _bob, seat) = couple(&server).await;
    let token = seat["resume"].as_str().unwrap();
    let own = format!("Origin: https://{}", server.host());
    let foreign = server.post("/leave", &["Origin: https://evil.example"], token).await;
    assert_eq!(foreign.status, 403);
    assert_eq!(server.post("/leave", &[&own], &"x".repeat(10_000)).await.status, 400);
    assert_eq!(server.post("/leave", &[&own], "forged").await.status, 400);
    assert_eq!(server.get("/leave", &[]).await.status, 405);
    assert_eq!(server.post("/leave", &[&own, "Content-Type: text/plain"], token).await.status, 204);
    let expected = json!({"type": "peer-away", "id": seat["id"], "closing": true});
    assert_eq!(serde_json::from_str::<Value>(&alice.hear().await).unwrap(), expected);
    for guess in 0..19 {
        assert_eq!(server.post("/leave", &[&own], &format!("forged {guess}")).await.status, 400);
    }
    assert_eq!(server.post("/leave", &[&own], "one more").await.status, 429);
    assert_eq!(server.post("/leave", &[&own], token).await.status, 204, "a genuine token is never refused");
}

#[tokio::test]
async fn new_credentials_are_sent_before_expiry() {
    let server = start_web_server(|setup| setup.rooms.credential_ttl = Duration::from_secs(2)).await;
    let mut alice = Browser::open(&server).await;
    assert_eq!(alice.join(json!({"type": "join", "room": "kitchen"})).await["ttl"], 2);
    let started = Instant::now();
    assert_eq!(kind(&alice.hear().await), "ice-servers");
    assert!((Duration::from_secs(1)..Duration::from_secs(10)).contains(&started.elapsed()));
}

#[tokio::test]
async fn client_that_never_reads_is_closed_at_little_cost() {
    let server = Arc::new(start_web_server(|_| {}).await);
    let (mut alice, mut deaf) = (Browser::open(&server).await, Browser::open(&server).await);
    alice.join(json!({"type": "join", "room": "kitchen"})).await;
    let seat = deaf.join(json!({"type": "join", "room": "kitchen"})).await;
    assert_eq!(kind(&alice.hear().await), "new-peer");
    let big = json!({"type": "offer", "target": seat["id"], "sdp": {"sdp": "x".repeat(60_000)}}).to_string();
    let before = resident_kib();
    let started = Instant::now();
    let (mut write, mut read) = alice.0.split();
    let flood = tokio::spawn(async move {
        // What finds no room is refused, so it goes on until the kernel's buffers are full as well.
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
        panic!("the neighbour was closed");
    };
    tokio::time::timeout(2 * PATIENCE, away).await.expect("given up in time");
    let grown = resident_kib().saturating_sub(before);
    println!("who never reads was given up after {:?}, {grown} KiB later", started.elapsed());
    assert!(grown < 16 * 1024);
    flood.abort();
    drop(deaf);
}

#[tokio::test]
async fn sender_is_refused_when_its_peer_does_not_read() {
    let server = Arc::new(start_web_server(|_| {}).await);
    let (alice, mut bob, seat) = couple(&server).await;
    let big = json!({"type": "offer", "target": seat["id"], "sdp": {"sdp": "x".repeat(60_000)}}).to_string();
    let (mut write, mut read) = alice.0.split();
    let flood = tokio::spawn(async move {
        for _ in 0..390 {
            write.send(Message::text(&big)).await.unwrap();
        }
        write
    });
    // Until more waits for Bob than his queue and the kernel hold.
    let refused = async {
        loop {
            match read.next().await.expect("a frame").expect("an unbroken connection") {
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
    tokio::time::timeout(PATIENCE, refused).await.expect("refused in time");
    flood.abort();
    bob.say(r#"{"type":"ping"}"#).await;
    let mut offers = 0;
    while kind(&bob.hear().await) == "offer" {
        offers += 1;
    }
    println!("{offers} offers came, then the answer to Bob's ping");
    assert_eq!(server.web.count(), (1, 2));
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
    server.web.drain();
    let told: Value = serde_json::from_str(&alice.hear().await).unwrap();
    assert_eq!(told["code"], "shutting-down");
    let mut newcomer = Browser::open(&server).await;
    assert_eq!(newcomer.join(json!({"type": "join", "room": "kitchen"})).await["code"], "shutting-down");
    assert_eq!(server.web.count(), (1, 1));
}
