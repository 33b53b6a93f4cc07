//! Scenarios with a clock that the test holds: clients connect, join, send, disconnect and return.

mod abandoned_seats;
mod calls;
mod cluster;
mod joining;
mod limits;
mod names;
mod random_scripts;
mod resuming;
mod transfer;
mod waiting;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::*;
use crate::resume_token::ResumeClaims;

/// All rooms, with the clock and the actions in the hands of the test.
struct Harness {
    rooms: Rooms,
    now: Now,
    draws: u32,
    connections: u64,
    received: BTreeMap<ConnectionId, Vec<String>>,
    closed: Vec<(ConnectionId, CloseReason)>,
    seat_events: Vec<SeatEvent>,
    events: Vec<Event>,
    /// The last number of seats of each room, in a cluster.
    occupancy: BTreeMap<RoomTag, usize>,
    /// Who was redirected after a call that ran on in a room of another server.
    redirected: usize,
    config: RoomsConfig,
}

/// A connected participant.
struct Participant {
    conn: ConnectionId,
    id: Value,
    token: Value,
}

/// Issues `<expiry>:<room>.<seat>` with a fixed password.
#[derive(Debug)]
struct TestIssuer;

impl CredentialIssuer for TestIssuer {
    fn issue(&self, room: RoomTag, seat: SeatId, expiry: UnixSeconds) -> IceCredential {
        IceCredential { username: format!("{expiry}:{room}.{seat}"), password: "password".into() }
    }
}

fn config() -> RoomsConfig {
    RoomsConfig {
        tag_key: TagKey::new([1; 32]),
        resume_key: ResumeTokenKey::new([2; 32]),
        credential_issuer: Arc::new(TestIssuer),
        ice_urls: IceUrls { stun: Some(3478), turn_udp: Some(3478), ..IceUrls::default() },
        credential_ttl: seconds(3600),
        room_grace: seconds(30),
        host_keys: HostKeys::new::<&str>(&[]),
        seeds: [1, 2],
    }
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn kitchen() -> RoomTag {
    TagKey::new([1; 32]).tag("kitchen")
}

impl Harness {
    fn new() -> Self {
        Self::with(config())
    }

    fn with(config: RoomsConfig) -> Self {
        let now = Now { instant: Instant::now(), unix: 1_000_000 };
        Self::at(now, config)
    }

    fn at(now: Now, config: RoomsConfig) -> Self {
        Self {
            rooms: Rooms::new(config.clone(), now.instant),
            now,
            draws: 0,
            connections: 0,
            received: BTreeMap::new(),
            closed: Vec::new(),
            seat_events: Vec::new(),
            events: Vec::new(),
            occupancy: BTreeMap::new(),
            redirected: 0,
            config,
        }
    }

    /// The same server after a restart: only the keys persist.
    fn restarted(self) -> Self {
        Self { draws: self.draws, ..Self::at(self.now, self.config) }
    }

    fn connect(&mut self) -> ConnectionId {
        self.connect_from("45.0.0.1")
    }

    fn connect_from(&mut self, source: &str) -> ConnectionId {
        self.connections += 1;
        let conn = ConnectionId(self.connections);
        self.rooms.handle_connect(conn, "box.local".into(), source.parse().unwrap(), self.now);
        self.collect_actions();
        conn
    }

    fn send(&mut self, conn: ConnectionId, frame: Value) {
        self.send_text(conn, &frame.to_string());
    }

    fn send_text(&mut self, conn: ConnectionId, text: &str) {
        self.draws += 1;
        let random = self.random();
        self.rooms.handle_text(conn, text, self.now, random);
        self.collect_actions();
    }

    /// The ID of the next seat.
    fn random(&self) -> [u8; 16] {
        let [.., high, low] = self.draws.to_be_bytes();
        let mut id = [low; 16];
        id[0] ^= high;
        id
    }

    /// Joins and returns the next frame that `conn` received.
    fn join(&mut self, conn: ConnectionId, room: &str) -> Value {
        self.send(conn, json!({"type": "join", "room": room}));
        self.next(conn)
    }

    fn resume(&mut self, conn: ConnectionId, room: &str, token: &Value) -> Value {
        self.send(conn, json!({"type": "join", "room": room, "resume": token}));
        self.next(conn)
    }

    fn disconnect(&mut self, conn: ConnectionId) {
        self.rooms.handle_disconnect(conn, false, self.now);
        self.collect_actions();
    }

    /// Advances both clocks.
    fn advance(&mut self, time: Duration) {
        self.now.instant += time;
        self.now.unix += time.as_secs();
        self.rooms.handle_timeout(self.now);
        self.collect_actions();
    }

    /// The oldest unread frame of `conn`.
    fn next(&mut self, conn: ConnectionId) -> Value {
        serde_json::from_str(&self.next_text(conn)).unwrap()
    }

    fn next_text(&mut self, conn: ConnectionId) -> String {
        let frames = self.received.get_mut(&conn).filter(|frames| !frames.is_empty());
        frames.expect("the connection receives a frame").remove(0)
    }

    /// The code of the oldest unread frame of `conn`, an error.
    fn code(&mut self, conn: ConnectionId) -> String {
        let frame = self.next(conn);
        assert_eq!(frame["type"], "error", "{frame}");
        frame["code"].as_str().unwrap().to_owned()
    }

    /// The types of all unread frames of `conn`.
    fn unread(&mut self, conn: ConnectionId) -> Vec<String> {
        let frames = self.received.remove(&conn).unwrap_or_default();
        let kind =
            |text: String| serde_json::from_str::<Value>(&text).unwrap()["type"].as_str().unwrap().to_owned();
        frames.into_iter().map(kind).collect()
    }

    fn collect_actions(&mut self) {
        while let Some(action) = self.rooms.poll_action() {
            match action {
                Action::Send { to, message, .. } => {
                    assert!(!self.closed.iter().any(|(conn, _)| *conn == to), "sent to a closed connection");
                    self.received.entry(to).or_default().push(message.to_json());
                }
                Action::Close { conn, reason } => self.closed.push((conn, reason)),
                Action::Seat(event) => self.seat_events.push(event),
                Action::Event(event) => self.events.push(event),
                Action::Occupancy { room, seats } => drop(self.occupancy.insert(room, seats)),
                Action::Redirected { clients } => self.redirected += clients,
            }
        }
    }

    /// Two participants in the kitchen, without unread frames.
    fn pair(&mut self) -> [Participant; 2] {
        self.pair_from("45.0.0.1", "kitchen")
    }

    fn pair_from(&mut self, source: &str, room: &str) -> [Participant; 2] {
        [(); 2].map(|()| {
            let conn = self.connect_from(source);
            let reply = self.join(conn, room);
            self.received.clear();
            Participant { conn, id: reply["id"].clone(), token: reply["resume"].clone() }
        })
    }
}
