//! Frames of two browsers against a box without a network: whatever is said, what is answered is
//! JSON of ours, and what is passed on keeps every byte.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use webrtc_box::clock::Now;
use webrtc_box::principals::SeatCredentials;
use webrtc_box_signaling::{
    Action, ClientMessage, ConnectionId, HostKeys, IceUrls, ResumeTokenKey, Rooms, RoomsConfig, SeatEvent,
    SeatId, ServerMessage, TagKey,
};
use webrtc_box_turn::credential::{Secret, Secrets};

/// Lines of frames: `1` or `2` before a frame says who speaks (else 1), and the words PEER and
/// TOKEN stand for the other seat and for the speaker's last token.
pub fn signaling_json(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut stage = Stage::new();
    for line in text.lines().take(64) {
        passed_on_whole(line);
        stage.say(line);
    }
    stage.end();
}

/// A frame to be relayed keeps its body byte for byte.
fn passed_on_whole(line: &str) {
    let Ok(ClientMessage::Relay { relay, .. }) = ClientMessage::parse(line) else { return };
    let body = relay.body.get().to_owned();
    let sent = ServerMessage::relayed(SeatId::new([8; 16]), relay).to_json();
    assert!(sent.contains(&body));
    assert!(serde_json::from_str::<Value>(&sent).unwrap()["from"].is_string());
}

struct Stage {
    rooms: Rooms,
    now: Now,
    frames: u8,
    /// What each of the two last heard as its id and its token.
    heard: [(String, String); 2],
    open: BTreeSet<SeatId>,
    closed: BTreeSet<ConnectionId>,
}

impl Stage {
    fn new() -> Self {
        let rules = RoomsConfig {
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
        let mut rooms = Rooms::new(rules, now.instant);
        [1, 2].into_iter().for_each(|name| {
            rooms.handle_connect(ConnectionId(name), "box.local".into(), [45, 0, 0, 1].into(), now)
        });
        let (heard, open, closed) = Default::default();
        Self { rooms, now, frames: 0, heard, open, closed }
    }

    fn say(&mut self, line: &str) {
        let (who, frame) = match line.split_at_checked(1) {
            Some(("2", frame)) => (1, frame),
            Some(("1", frame)) => (0, frame),
            _ => (0, line),
        };
        let frame = frame.replace("PEER", &self.heard[1 - who].0).replace("TOKEN", &self.heard[who].1);
        let conn = ConnectionId(who as u64 + 1);
        if self.closed.contains(&conn) {
            return;
        }
        self.frames += 1;
        // As fast as anybody may talk for long.
        self.now.instant += Duration::from_millis(100);
        self.rooms.handle_text(conn, &frame, self.now, [self.frames; 16]);
        self.drain(frame.len());
    }

    fn drain(&mut self, asked: usize) {
        while let Some(action) = self.rooms.poll_action() {
            match action {
                Action::Send { to, message, .. } => self.hear(to, &message.to_json(), asked),
                Action::Event(_) => {}
                Action::Close { conn, .. } => assert!(self.closed.insert(conn), "closed twice"),
                Action::Seat(SeatEvent::Joined(_, seat)) => assert!(self.open.insert(seat)),
                Action::Seat(SeatEvent::Left(_, seat) | SeatEvent::Expired(_, seat)) => {
                    assert!(self.open.remove(&seat));
                }
            }
        }
        assert!(self.open.len() <= 2);
    }

    fn hear(&mut self, to: ConnectionId, text: &str, asked: usize) {
        assert!(!self.closed.contains(&to), "sent to a closed connection");
        assert!(text.len() <= asked + 2048, "much said for little");
        let frame: Value = serde_json::from_str(text).expect("we say JSON");
        assert!(frame["type"].is_string());
        if frame["type"] == "resp-join" {
            let of = |field: &str| frame[field].as_str().unwrap().to_owned();
            self.heard[to.0 as usize - 1] = (of("id"), of("resume"));
        }
    }

    /// Everybody goes, and nothing is left.
    fn end(mut self) {
        [1, 2].into_iter().for_each(|name| self.rooms.handle_disconnect(ConnectionId(name), false, self.now));
        self.now.instant += Duration::from_secs(31);
        self.rooms.handle_timeout(self.now);
        self.drain(0);
        assert!(self.open.is_empty(), "a seat was never closed");
        assert_eq!(self.rooms.count(), (0, 0));
        assert_eq!(self.rooms.poll_timeout(), None);
    }
}
