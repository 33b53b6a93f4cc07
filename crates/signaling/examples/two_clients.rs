//! Two clients in memory make a call: join, offer, answer, candidates, leave. Prints every message.
//!
//! `cargo run -p webrtc-box-signaling --example two_clients`

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use webrtc_box_signaling::{
    Action, ConnectionId, CredentialIssuer, HostKeys, IceCredential, IceUrls, Now, ResumeTokenKey, RoomTag,
    Rooms, RoomsConfig, SeatId, TagKey, UnixSeconds,
};

/// Issues credentials that no relay knows.
#[derive(Debug)]
struct ExampleIssuer;

impl CredentialIssuer for ExampleIssuer {
    fn issue(&self, room: RoomTag, seat: SeatId, expiry: UnixSeconds) -> IceCredential {
        IceCredential { username: format!("{expiry}:{room}.{seat}"), password: "example".into() }
    }
}

/// The rooms, and the frames that each client received.
struct Server {
    rooms: Rooms,
    joins: u8,
    received: Vec<(ConnectionId, Value)>,
}

const ALICE: ConnectionId = ConnectionId(1);
const BOB: ConnectionId = ConnectionId(2);

fn main() {
    let mut server = Server::new();
    for client in [ALICE, BOB] {
        server.rooms.handle_connect(client, "localhost".into(), [127, 0, 0, 1].into(), now());
    }
    server.send(ALICE, &json!({"type": "join", "room": "kitchen"}));
    server.send(BOB, &json!({"type": "join", "room": "kitchen"}));
    let (alice, bob) = (server.seat(ALICE), server.seat(BOB));
    // The client that finds a peer makes the offer.
    server.send(BOB, &json!({"type": "offer", "target": alice, "sdp": {"type": "offer", "sdp": "v=0…"}}));
    server.send(ALICE, &json!({"type": "answer", "target": bob, "sdp": {"type": "answer", "sdp": "v=0…"}}));
    server.send(ALICE, &json!({"type": "candidate", "target": bob, "candidate": {"candidate": "…"}}));
    server.send(BOB, &json!({"type": "candidate", "target": alice, "candidate": null}));
    server.send(ALICE, &json!({"type": "leave"}));
}

impl Server {
    fn new() -> Self {
        let config = RoomsConfig {
            tag_key: TagKey::new([1; 32]),
            resume_key: ResumeTokenKey::new([2; 32]),
            credential_issuer: Arc::new(ExampleIssuer),
            ice_urls: IceUrls { stun: Some(3478), turn_udp: Some(3478), ..IceUrls::default() },
            credential_ttl: Duration::from_secs(3600),
            room_grace: Duration::from_secs(30),
            host_keys: HostKeys::new::<&str>(&[]),
            seeds: [3, 4],
        };
        Self { rooms: Rooms::new(config, Instant::now()), joins: 0, received: Vec::new() }
    }

    /// Passes a frame of `client` to the rooms and carries out the actions.
    fn send(&mut self, client: ConnectionId, frame: &Value) {
        println!("{} -> server  {frame}", name(client));
        // A real server draws 16 random bytes here.
        self.joins += 1;
        self.rooms.handle_text(client, &frame.to_string(), now(), [self.joins; 16]);
        while let Some(action) = self.rooms.poll_action() {
            match action {
                Action::Send { to, message, .. } => {
                    let text = message.to_json();
                    println!("{} <- server  {text}", name(to));
                    self.received.push((to, serde_json::from_str(&text).unwrap()));
                }
                Action::Close { conn, reason } => println!("{} closed: {}", name(conn), reason.text()),
                Action::Seat(event) => println!("         relay    {event:?}"),
                Action::Event(event) => println!("         metrics  {event:?}"),
                Action::Occupancy { .. } | Action::Redirected { .. } => {} // Only with several servers.
            }
        }
    }

    /// The seat ID in the `resp-join` of `client`.
    fn seat(&self, client: ConnectionId) -> Value {
        let joined = self.received.iter().find(|(to, frame)| *to == client && frame["type"] == "resp-join");
        joined.unwrap().1["id"].clone()
    }
}

fn name(client: ConnectionId) -> &'static str {
    if client == ALICE { "alice" } else { "bob  " }
}

fn now() -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    Now { instant: Instant::now(), unix }
}
