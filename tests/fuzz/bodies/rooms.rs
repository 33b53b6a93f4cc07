//! Frames of three browsers against the rooms without a network: replies are JSON, relayed bodies keep every byte,
//! and every seat ends.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use webrtc_box::clock::Now;
use webrtc_box::principals::SeatCredentials;
use webrtc_box_signaling::{
    Action, ClientMessage, ConnectionId, HostKeys, IceUrls, ResumeTokenKey, RoomTag, Rooms, RoomsConfig,
    SEATS_PER_ROOM, SeatEvent, SeatId, ServerMessage, TagKey,
};
use webrtc_box_turn::credential::{Secret, Secrets};

/// Lines of frames: `1`, `2` or `3` before a frame is the sender (default 1). PEER stands for the last id of another
/// seat or knock, TOKEN for the last resume token of the sender, or for a transfer token that anybody got later.
pub fn signaling_json(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut scenario = Scenario::new();
    for line in text.lines().take(64) {
        assert_body_unchanged(line);
        scenario.handle_line(line);
    }
    scenario.finish();
}

/// A relayed frame keeps its body byte for byte.
fn assert_body_unchanged(line: &str) {
    let Ok(ClientMessage::Relay { relay, .. }) = ClientMessage::parse(line) else { return };
    let body = relay.body.get().to_owned();
    let sent = ServerMessage::relayed(SeatId::new([8; 16]), relay).to_json();
    assert!(sent.contains(&body));
    assert!(serde_json::from_str::<Value>(&sent).unwrap()["from"].is_string());
}

struct Scenario {
    rooms: Rooms,
    now: Now,
    frames: u8,
    /// The id of another participant and the token that each of the three received last.
    received: [(String, String); 3],
    seats: BTreeSet<(RoomTag, SeatId)>,
    closed: BTreeSet<ConnectionId>,
}

impl Scenario {
    fn new() -> Self {
        let config = RoomsConfig {
            tag_key: TagKey::new([1; 32]),
            resume_key: ResumeTokenKey::new([2; 32]),
            credential_issuer: Arc::new(SeatCredentials(Secrets::new(Secret::new("secret"), vec![]))),
            ice_urls: IceUrls { stun: Some(3478), turn_udp: Some(3478), ..IceUrls::default() },
            credential_ttl: Duration::from_secs(3600),
            room_grace: Duration::from_secs(30),
            host_keys: HostKeys::new::<Secret>(&[]),
            seeds: [1, 2],
        };
        let now = Now { instant: Instant::now(), unix: 1_000_000 };
        let mut rooms = Rooms::new(config, now.instant);
        (1..=3).for_each(|id| {
            rooms.handle_connect(ConnectionId(id), "box.local".into(), [45, 0, 0, 1].into(), now)
        });
        let (received, seats, closed) = Default::default();
        Self { rooms, now, frames: 0, received, seats, closed }
    }

    fn handle_line(&mut self, line: &str) {
        let (sender, frame) = match line.split_at_checked(1) {
            Some(("2", frame)) => (1, frame),
            Some(("3", frame)) => (2, frame),
            Some(("1", frame)) => (0, frame),
            _ => (0, line),
        };
        let (peer, token) = &self.received[sender];
        let frame = frame.replace("PEER", peer).replace("TOKEN", token);
        let conn = ConnectionId(sender as u64 + 1);
        if self.closed.contains(&conn) {
            return;
        }
        self.frames += 1;
        // The highest rate that the limit allows for long.
        self.now.instant += Duration::from_millis(100);
        self.rooms.handle_text(conn, &frame, self.now, [self.frames; 16]);
        self.drain(frame.len());
    }

    fn drain(&mut self, request_length: usize) {
        while let Some(action) = self.rooms.poll_action() {
            match action {
                Action::Send { to, message, .. } => {
                    self.check_message(to, &message.to_json(), request_length)
                }
                Action::Event(_) => {}
                Action::Occupancy { .. } | Action::Redirected { .. } => unreachable!("there is one server"),
                Action::Close { conn, .. } => assert!(self.closed.insert(conn), "closed twice"),
                Action::Seat(SeatEvent::Joined(room, seat)) => assert!(self.seats.insert((room, seat))),
                Action::Seat(SeatEvent::Left(room, seat) | SeatEvent::Expired(room, seat)) => {
                    assert!(self.seats.remove(&(room, seat)));
                }
            }
        }
        let taken = |room: RoomTag| self.seats.iter().filter(|(other, _)| *other == room).count();
        assert!(self.seats.iter().all(|(room, _)| taken(*room) <= SEATS_PER_ROOM));
    }

    fn check_message(&mut self, to: ConnectionId, text: &str, request_length: usize) {
        assert!(!self.closed.contains(&to), "sent to a closed connection");
        assert!(text.len() <= request_length + 2048, "amplification");
        let frame: Value = serde_json::from_str(text).expect("JSON");
        assert!(frame["type"].is_string());
        let text_of = |field: &str| frame[field].as_str().unwrap_or_default().to_owned();
        let received = &mut self.received[to.0 as usize - 1];
        match frame["type"].as_str() {
            Some("resp-join") => *received = (text_of("peer"), text_of("resume")),
            Some("new-peer" | "knock") => received.0 = text_of("id"),
            Some("transfer") => self.received.iter_mut().for_each(|(_, token)| *token = text_of("token")),
            Some(_) | None => {}
        }
    }

    /// All disconnect; after the grace period no state is left.
    fn finish(mut self) {
        (1..=3).for_each(|id| self.rooms.handle_disconnect(ConnectionId(id), false, self.now));
        self.now.instant += Duration::from_secs(31);
        self.rooms.handle_timeout(self.now);
        self.drain(0);
        assert!(self.seats.is_empty(), "a seat did not end");
        assert_eq!(self.rooms.count(), (0, 0));
        assert_eq!(self.rooms.poll_timeout(), None);
    }
}
