//! Scenes with a held clock: browsers come, talk, drop and return.

mod any_script;
mod calls;
mod limits;
mod resuming;
mod sitting;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::*;
use crate::seat::{RoomTag, SeatEvent, TagKey};
use crate::time::Now;
use std::sync::Arc;

/// A box without a network, its clock in our hand.
struct Stage {
    rooms: Rooms,
    now: Now,
    chance: u32,
    connections: u64,
    heard: BTreeMap<ConnectionId, Vec<String>>,
    closed: Vec<(ConnectionId, Closing)>,
    news: Vec<SeatEvent>,
    events: Vec<Event>,
}

/// Issues `<expiry>:<room>.<seat>` with a fixed password.
#[derive(Debug)]
struct TestIssuer;

impl CredentialIssuer for TestIssuer {
    fn issue(&self, room: RoomTag, seat: SeatId, expiry: UnixSeconds) -> IceCredential {
        IceCredential { username: format!("{expiry}:{room}.{seat}"), password: "password".into() }
    }
}

fn rules() -> Rules {
    Rules {
        tag_key: TagKey::new([1; 32]),
        token_key: TokenKey::new([2; 32]),
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

impl Stage {
    fn new() -> Self {
        Self::with(rules())
    }

    fn with(rules: Rules) -> Self {
        let now = Now { instant: Instant::now(), unix: 1_000_000 };
        Self::at(now, rules)
    }

    fn at(now: Now, rules: Rules) -> Self {
        Self {
            rooms: Rooms::new(rules, now.instant),
            now,
            chance: 0,
            connections: 0,
            heard: BTreeMap::new(),
            closed: Vec::new(),
            news: Vec::new(),
            events: Vec::new(),
        }
    }

    /// The same box after a restart: all it remembers is what is kept on disk.
    fn restarted(self) -> Self {
        Self { chance: self.chance, ..Self::at(self.now, self.rooms.rules) }
    }

    fn connect(&mut self) -> ConnectionId {
        self.connect_from("45.0.0.1")
    }

    fn connect_from(&mut self, source: &str) -> ConnectionId {
        self.connections += 1;
        let conn = ConnectionId(self.connections);
        self.rooms.connected(conn, "box.local".into(), source.parse().unwrap(), self.now);
        self.drain();
        conn
    }

    fn say(&mut self, conn: ConnectionId, frame: Value) {
        self.say_text(conn, &frame.to_string());
    }

    fn say_text(&mut self, conn: ConnectionId, text: &str) {
        self.chance += 1;
        let chance = self.named();
        self.rooms.receive(conn, text, self.now, chance);
        self.drain();
    }

    /// What names the next seat.
    fn named(&self) -> [u8; 16] {
        let [.., high, low] = self.chance.to_be_bytes();
        let mut name = [low; 16];
        name[0] ^= high;
        name
    }

    /// Joins and gives what was heard first in answer.
    fn join(&mut self, conn: ConnectionId, room: &str) -> Value {
        self.say(conn, json!({"type": "join", "room": room}));
        self.next(conn)
    }

    fn resume(&mut self, conn: ConnectionId, room: &str, token: &Value) -> Value {
        self.say(conn, json!({"type": "join", "room": room, "resume": token}));
        self.next(conn)
    }

    fn drop(&mut self, conn: ConnectionId) {
        self.rooms.dropped(conn, false, self.now);
        self.drain();
    }

    /// Time passes.
    fn pass(&mut self, time: Duration) {
        self.now.instant += time;
        self.now.unix += time.as_secs();
        self.rooms.advance(self.now);
        self.drain();
    }

    /// The first frame `conn` heard and did not yet look at.
    fn next(&mut self, conn: ConnectionId) -> Value {
        let frames = self.heard.get_mut(&conn).filter(|frames| !frames.is_empty());
        let text = frames.expect("a frame was to be heard").remove(0);
        serde_json::from_str(&text).unwrap()
    }

    fn next_text(&mut self, conn: ConnectionId) -> String {
        self.heard.get_mut(&conn).expect("a frame was to be heard").remove(0)
    }

    fn code(&mut self, conn: ConnectionId) -> String {
        let frame = self.next(conn);
        assert_eq!(frame["type"], "error", "{frame}");
        frame["code"].as_str().unwrap().to_owned()
    }

    /// What `conn` heard and did not yet look at, by type.
    fn rest(&mut self, conn: ConnectionId) -> Vec<String> {
        let frames = self.heard.remove(&conn).unwrap_or_default();
        let kind =
            |text: String| serde_json::from_str::<Value>(&text).unwrap()["type"].as_str().unwrap().to_owned();
        frames.into_iter().map(kind).collect()
    }

    fn drain(&mut self) {
        while let Some(action) = self.rooms.poll_action() {
            match action {
                Action::Send { to, message, .. } => {
                    assert!(!self.closed.iter().any(|(conn, _)| *conn == to), "sent to a closed connection");
                    self.heard.entry(to).or_default().push(message.to_json());
                }
                Action::Close { conn, why } => self.closed.push((conn, why)),
                Action::Seat(news) => self.news.push(news),
                Action::Note(event) => self.events.push(event),
            }
        }
    }

    /// Two in the kitchen, nothing left unheard: the connection, id and token of each.
    fn couple(&mut self) -> [Guest; 2] {
        [(); 2].map(|()| {
            let conn = self.connect();
            let reply = self.join(conn, "kitchen");
            self.heard.clear();
            Guest { conn, id: reply["id"].clone(), token: reply["resume"].clone() }
        })
    }
}

struct Guest {
    conn: ConnectionId,
    id: Value,
    token: Value,
}

fn kitchen() -> RoomTag {
    TagKey::new([1; 32]).tag("kitchen")
}
