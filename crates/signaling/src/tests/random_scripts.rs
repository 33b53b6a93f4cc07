//! Random scripts of clients never break the invariants of rooms.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::seating::Seating;

#[derive(Clone, Debug)]
enum Step {
    Connect,
    Join { who: usize, room: usize },
    Resume { who: usize, room: usize, token: usize },
    Wait { who: usize, room: usize, key: bool },
    Answer { who: usize, admit: bool, knock: usize },
    Transfer { who: usize },
    Leave { who: usize },
    Offer { who: usize, target: usize },
    IceServers { who: usize },
    Malformed { who: usize },
    Disconnect { who: usize, closing: bool },
    PageClosed { token: usize },
    SetHostKeys { required: bool },
    RedirectRoom { room: usize },
    Advance { seconds: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let (who, room, token) = (0..6_usize, 0..3_usize, 0..40_usize);
    prop_oneof![
        3 => Just(Step::Connect),
        4 => (who.clone(), room.clone()).prop_map(|(who, room)| Step::Join { who, room }),
        3 => (who.clone(), room.clone(), token.clone()).prop_map(|(who, room, token)| Step::Resume { who, room, token }),
        4 => (who.clone(), room, any::<bool>())
            .prop_map(|(who, room, key)| Step::Wait { who, room, key }),
        3 => (who.clone(), prop::bool::weighted(0.8), 0..40_usize)
            .prop_map(|(who, admit, knock)| Step::Answer { who, admit, knock }),
        1 => who.clone().prop_map(|who| Step::Transfer { who }),
        1 => who.clone().prop_map(|who| Step::Leave { who }),
        4 => (who.clone(), token.clone()).prop_map(|(who, target)| Step::Offer { who, target }),
        1 => who.clone().prop_map(|who| Step::IceServers { who }),
        1 => who.clone().prop_map(|who| Step::Malformed { who }),
        2 => (who, any::<bool>()).prop_map(|(who, closing)| Step::Disconnect { who, closing }),
        1 => token.prop_map(|token| Step::PageClosed { token }),
        1 => any::<bool>().prop_map(|required| Step::SetHostKeys { required }),
        1 => (0..3_usize).prop_map(|room| Step::RedirectRoom { room }),
        1 => (0..40_u64).prop_map(|seconds| Step::Advance { seconds }),
    ]
}

/// What an outside observer has seen.
#[derive(Default)]
struct Observer {
    live: Vec<ConnectionId>,
    /// The room and seat of each connection, by its `resp-join`.
    places: BTreeMap<ConnectionId, (String, String)>,
    /// Every seat ever issued: room, ID, token.
    seats: Vec<(String, String, String)>,
    open: BTreeSet<(RoomTag, SeatId)>,
    /// Those who wait, and the IDs of all knocks.
    waiting: BTreeSet<ConnectionId>,
    /// Whether the server is in a cluster; the last number of seats of each room that it owns.
    clustered: bool,
    occupancy: BTreeMap<RoomTag, usize>,
    fence: u64,
    knocks: Vec<String>,
    next: u64,
    draws: u32,
}

const ROOMS: [&str; 3] = ["kitchen", "cellar", "attic"];

impl Observer {
    fn perform(&mut self, rooms: &mut Rooms, now: &mut Now, step: &Step) {
        match step {
            Step::Connect if self.live.len() < 6 => {
                self.next += 1;
                self.live.push(ConnectionId(self.next));
                rooms.handle_connect(ConnectionId(self.next), "h".into(), [45, 0, 0, 1].into(), *now);
            }
            Step::Connect => {}
            Step::Join { who, room } => {
                self.send(rooms, *now, *who, json!({"type": "join", "room": ROOMS[*room]}))
            }
            Step::Resume { who, room, token } => {
                let token = self.pick(*token).map_or(String::new(), |seat| seat.2.clone());
                let frame = json!({"type": "join", "room": ROOMS[*room], "resume": token});
                self.send(rooms, *now, *who, frame);
            }
            Step::Wait { who, room, key } => {
                let key = key.then_some("sesame");
                let frame = json!({"type": "join", "room": ROOMS[*room], "key": key, "wait": true});
                self.send(rooms, *now, *who, frame);
            }
            Step::Answer { who, admit, knock } => {
                let kind = if *admit { "admit" } else { "decline" };
                let id = self.knocks.iter().rev().nth(*knock % self.knocks.len().max(1)).cloned();
                self.send(rooms, *now, *who, json!({"type": kind, "id": id.unwrap_or_default()}));
            }
            Step::Transfer { who } => self.send(rooms, *now, *who, json!({"type": "transfer"})),
            Step::Leave { who } => {
                if let Some(conn) = self.live.get(*who).copied() {
                    self.send(rooms, *now, *who, json!({"type": "leave"}));
                    self.places.remove(&conn);
                    self.waiting.remove(&conn);
                }
            }
            Step::Offer { who, target } => {
                let target = self.pick(*target).map_or("x".to_owned(), |seat| seat.1.clone());
                self.send(rooms, *now, *who, json!({"type": "offer", "target": target, "sdp": {}}));
            }
            Step::IceServers { who } => self.send(rooms, *now, *who, json!({"type": "ice-servers"})),
            Step::Malformed { who } => self.send(rooms, *now, *who, json!([])),
            Step::Disconnect { who, closing } if *who < self.live.len() => {
                let conn = self.live.remove(*who);
                self.places.remove(&conn);
                self.waiting.remove(&conn);
                rooms.handle_disconnect(conn, *closing, *now);
            }
            Step::Disconnect { .. } => {}
            Step::PageClosed { token } => {
                let token = self.pick(*token).map_or("", |seat| &seat.2);
                let _an_older_token_closes_nothing =
                    rooms.handle_page_closed(token, [45, 0, 0, 1].into(), *now);
            }
            Step::SetHostKeys { required } => rooms.set_host_keys(host_keys(*required), *now),
            Step::RedirectRoom { room } => self.redirect_room(rooms, *now, ROOMS[*room]),
            Step::Advance { seconds } => {
                now.instant += Duration::from_secs(*seconds);
                rooms.handle_timeout(*now);
            }
        }
    }

    fn redirect_room(&mut self, rooms: &mut Rooms, now: Now, room: &str) {
        if self.clustered {
            let room = TagKey::new([1; 32]).tag(room);
            let (url, fence) = ("wss://b2.call.example/ws".into(), Fence(self.fence + 1));
            let seats = self.draws as usize % 3;
            rooms.redirect_room(room, OtherOwner { url, fence, seats }, now);
            self.occupancy.remove(&room);
        }
    }

    fn send(&mut self, rooms: &mut Rooms, now: Now, who: usize, frame: Value) {
        self.draws += 1;
        let mut random = [0; 16];
        random[..4].copy_from_slice(&self.draws.to_be_bytes());
        if let Some(conn) = self.live.get(who).copied() {
            let text = frame.to_string();
            match self.clustered {
                true => {
                    let request = rooms.room_request(conn, &text, now);
                    let owner = request.map_or(RoomOwner::Unknown, |request| self.owner(&request));
                    rooms.handle_text_of(conn, &text, owner, now, random)
                }
                false => rooms.handle_text(conn, &text, now, random),
            };
        }
    }

    /// The store answers most requests; each room that opens gets a new fence.
    fn owner(&mut self, request: &RoomRequest) -> RoomOwner {
        if self.draws.is_multiple_of(7) {
            return RoomOwner::Unknown;
        }
        self.fence += u64::from(!self.occupancy.contains_key(&request.room));
        let resumes = request.token_fence.filter(|_| self.draws.is_multiple_of(2)).unwrap_or_default();
        RoomOwner::ThisServer(Ownership { fence: Fence(self.fence), resumes })
    }

    /// Whether the rooms that are kept are those with people, as far as this server owns them.
    fn occupancy_is_right(&self, rooms: &Rooms) -> bool {
        self.occupancy.iter().all(|(room, seats)| rooms.occupancy(*room) == *seats)
            && self.occupancy.values().filter(|seats| **seats > 0).count() == rooms.owned_rooms().len()
    }

    fn pick(&self, n: usize) -> Option<&(String, String, String)> {
        (!self.seats.is_empty()).then(|| &self.seats[n % self.seats.len()])
    }

    fn check(&mut self, action: Action) {
        match action {
            Action::Send { to, message, .. } => {
                assert!(self.live.contains(&to), "sent to a closed connection");
                self.receive(to, &serde_json::from_str(&message.to_json()).unwrap());
            }
            Action::Event(_) | Action::Redirected { .. } => {}
            Action::Occupancy { room, seats } => drop(self.occupancy.insert(room, seats)),
            Action::Close { conn, .. } => {
                self.live.retain(|live| *live != conn);
                self.places.remove(&conn);
                self.waiting.remove(&conn);
            }
            Action::Seat(SeatEvent::Joined(room, seat)) => assert!(self.open.insert((room, seat))),
            Action::Seat(SeatEvent::Left(room, seat) | SeatEvent::Expired(room, seat)) => {
                assert!(self.open.remove(&(room, seat)), "ended without a join");
            }
        }
        for (room, _) in &self.open {
            assert!(
                self.open.iter().filter(|(other, _)| other == room).count() <= SEATS_PER_ROOM,
                "too many seats"
            );
        }
    }

    fn receive(&mut self, to: ConnectionId, frame: &Value) {
        let text = |field: &str| frame[field].as_str().unwrap_or_default().to_owned();
        match frame["type"].as_str().unwrap() {
            "resp-join" => {
                let id = SeatId::parse(&text("id")).unwrap();
                assert!(self.open.iter().any(|(_, seat)| *seat == id), "the relay did not learn of it first");
                self.places.insert(to, (text("room"), text("id")));
                self.waiting.remove(&to);
                self.seats.push((text("room"), text("id"), text("resume")));
            }
            "offer" => self.assert_peer(to, &text("from")),
            "transfer" => {
                let (room, id) = self.places[&to].clone();
                self.seats.push((room, id, text("token")));
            }
            "waiting" => {
                assert!(!self.places.contains_key(&to), "a participant with a seat waits");
                self.waiting.insert(to);
            }
            "knock" => {
                assert!(self.places.contains_key(&to), "a knock for a client without a seat");
                self.knocks.push(text("id"));
            }
            "error" if frame["code"] == "declined" => assert!(self.waiting.remove(&to)),
            "ice-servers" => assert!(!self.waiting.contains(&to), "credentials for a client that waits"),
            "new-peer" | "peer-away" | "peer-back" | "peer-leave" => self.assert_peer(to, &text("id")),
            _ => {}
        }
    }

    /// Asserts that `id` is another seat in the room of `to`.
    fn assert_peer(&self, to: ConnectionId, id: &str) {
        let (room, own) = self.places.get(&to).expect("sent to a client without a seat");
        let theirs = self.seats.iter().filter(|(_, seat, _)| seat == id);
        assert_ne!(own, id);
        // A seat whose `resp-join` is still to come has no room here; `Joined` has announced it.
        assert!(theirs.clone().all(|(other, _, _)| other == room), "a frame crossed rooms");
    }
}

fn host_keys(required: bool) -> HostKeys {
    if required { HostKeys::new(&["sesame"]) } else { HostKeys::new::<&str>(&[]) }
}

/// Whether all who wait must wait: their room is full, somebody in it has to admit them, or a host has to open it.
fn nobody_waits_in_vain(rooms: &Rooms) -> bool {
    let Seating { admission, table, waiting, .. } = rooms.seating();
    waiting.rooms().all(|room| match table.opened_by_host(room) {
        Some(by_host) => !by_host || table.is_full(room),
        None => admission.requires_key(),
    })
}

const FRAMES: [&str; 9] = [
    r#"{"type":"join","room":"kitchen","resume":"AAAA","key":"k","name":"Ada","wait":true}"#,
    r#"{"type":"admit","id":"BOB"}"#,
    r#"{"type":"decline","id":"BOB"}"#,
    r#"{"type":"transfer"}"#,
    r#"{"type":"offer","target":"BOB","sdp":{"type":"offer","sdp":"v=0\r\n"},"call":"a/1"}"#,
    r#"{"type":"candidate","target":"BOB","candidate":{"candidate":"","sdpMLineIndex":0},"call":"c"}"#,
    r#"{"type":"answer","target":"BOB","sdp":{"a":[1,2.5e3,null,true,"\u00e9"]}}"#,
    r#"{"type":"ice-servers"}"#,
    r#"{"type":"leave","and":{"more":[[[]]]}}"#,
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_script_breaks_an_invariant(
        script in prop::collection::vec(step(), 1..120),
        by_host: bool,
        clustered: bool,
        drained_at in 0..300_usize,
    ) {
        let mut now = Now { instant: Instant::now(), unix: 1 };
        let mut rooms = Rooms::new(RoomsConfig { host_keys: host_keys(by_host), ..config() }, now.instant);
        let mut observer = Observer { clustered, ..Observer::default() };
        let disconnect = |_| Step::Disconnect { who: 0, closing: false };
        let all_leave = (0..6).map(disconnect).chain([Step::Advance { seconds: 30 }]);
        for (at, step) in script.into_iter().chain(all_leave).enumerate() {
            observer.perform(&mut rooms, &mut now, &step);
            if at == drained_at {
                rooms.drain();
            }
            while let Some(action) = rooms.poll_action() {
                observer.check(action);
            }
            prop_assert_eq!(rooms.seating().waiting.len(), observer.waiting.len());
            prop_assert!(observer.occupancy_is_right(&rooms));
            prop_assert!(rooms.seating().unmerged_is_right());
            prop_assert!(at >= drained_at || nobody_waits_in_vain(&rooms));
        }
        prop_assert!(observer.open.is_empty(), "a seat never ended");
        prop_assert_eq!(rooms.count(), (0, 0));
        prop_assert_eq!(rooms.poll_timeout(), None);
        let (disconnected, pending_bytes) = rooms.seating().table.quotas();
        prop_assert!(disconnected.is_empty() && pending_bytes.is_empty());
    }

    #[test]
    fn no_changed_frame_breaks_the_protocol(
        frame in 0..FRAMES.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<char>()), 0..6),
    ) {
        let mut text: Vec<char> = FRAMES[frame].chars().collect();
        for (at, c) in changes {
            let at = at.index(text.len());
            text[at] = c;
        }
        let text: String = text.into_iter().collect();
        let mut harness = Harness::new();
        let [alice, bob] = harness.pair();
        harness.send_text(alice.conn, &text.replace("BOB", bob.id.as_str().unwrap()));
        harness.received.values().flatten().for_each(|text| drop(serde_json::from_str::<Value>(text).unwrap()));
        prop_assert!(harness.received.values().map(Vec::len).sum::<usize>() <= 2);
    }
}
