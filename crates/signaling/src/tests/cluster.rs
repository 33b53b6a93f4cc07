//! One of several servers: ownership of rooms, redirects and tokens with fences.

use super::*;

const URL: &str = "wss://b2.call.example/ws";

fn owner(fence: u64, resumes: u64) -> RoomOwner {
    RoomOwner::ThisServer(Ownership { fence: Fence(fence), resumes: Fence(resumes) })
}

fn other(seats: usize) -> OtherOwner {
    OtherOwner { url: URL.into(), fence: Fence(8), seats }
}

impl Harness {
    /// Sends a frame of a room with this owner.
    fn send_of(&mut self, conn: ConnectionId, frame: &Value, owner: RoomOwner) {
        self.draws += 1;
        let random = self.random();
        self.rooms.handle_text_of(conn, &frame.to_string(), owner, self.now, random);
        self.collect_actions();
    }

    /// Sends a frame of a room with this owner, and returns the next frame that `conn` received.
    fn ask(&mut self, conn: ConnectionId, frame: &Value, owner: RoomOwner) -> Value {
        self.send_of(conn, frame, owner);
        self.next(conn)
    }

    fn request(&mut self, conn: ConnectionId, frame: &Value) -> Option<RoomRequest> {
        self.rooms.room_request(conn, &frame.to_string(), self.now)
    }

    fn redirect(&mut self, conn: ConnectionId, frame: &Value) {
        let request = self.request(conn, frame).unwrap();
        self.rooms.redirect(conn, &request, URL.into(), Fence(8), self.now);
        self.collect_actions();
    }

    /// Two participants in the kitchen, which this server owns.
    fn owned_pair(&mut self, owner: RoomOwner) -> [Participant; 2] {
        [(); 2].map(|()| {
            let conn = self.connect();
            let reply = self.ask(conn, &join(), owner);
            self.received.clear();
            Participant { conn, id: reply["id"].clone(), token: reply["resume"].clone() }
        })
    }
}

fn join() -> Value {
    json!({"type": "join", "room": "kitchen"})
}

fn resume(token: &Value) -> Value {
    json!({"type": "join", "room": "kitchen", "resume": token})
}

#[test]
fn a_join_of_an_owned_room_tells_the_fence_and_signs_it() {
    let mut harness = Harness::new();
    let conn = harness.connect();
    let reply = harness.ask(conn, &join(), owner(7, 0));
    assert_eq!(reply["fence"], 7);
    let back = harness.connect();
    let request = harness.request(back, &resume(&reply["resume"])).unwrap();
    assert_eq!((request.kind, request.token_fence), (RoomRequestKind::Join, Some(Fence(7))));
    assert_eq!(request.room, kitchen());
}

#[test]
fn without_a_cluster_neither_fences_nor_occupancy_appear() {
    let mut harness = Harness::new();
    let conn = harness.connect();
    let reply = harness.join(conn, "kitchen");
    assert_eq!(reply.get("fence"), None);
    assert_eq!(reply["resume"].as_str().unwrap().len(), 96);
    harness.send(conn, json!({"type": "leave"}));
    assert!(harness.occupancy.is_empty());
}

#[test]
fn a_join_names_the_servers_of_the_cluster() {
    let mut harness = Harness::new();
    let first = harness.connect();
    let reply = harness.ask(first, &join(), owner(7, 0));
    assert_eq!(reply.get("nodes"), None);
    let nodes = ["b2.call.example", "b1.call.example:8443"];
    harness.rooms.set_nodes(nodes.map(str::to_owned).into());
    let second = harness.connect();
    let reply = harness.ask(second, &join(), owner(7, 0));
    assert_eq!(reply["nodes"], json!(nodes));
}

#[test]
fn a_room_request_is_a_join_or_look_that_may_be_answered() {
    let mut harness = Harness::new();
    let conn = harness.connect();
    let look = harness.request(conn, &json!({"type": "look", "room": " Kitchen ", "fence": 9})).unwrap();
    assert_eq!((look.kind, look.room), (RoomRequestKind::Look, kitchen()));
    assert_eq!((look.token_fence, look.redirect_fence), (None, Some(Fence(9))));
    for frame in [
        json!({"type": "leave"}),
        json!({"type": "join", "room": ".."}),
        json!({"type": "candidate", "target": "x", "candidate": {"type": "join", "room": "kitchen"}}),
    ] {
        assert!(harness.request(conn, &frame).is_none(), "{frame}");
    }
    harness.send_of(conn, &join(), owner(7, 0));
    assert!(harness.request(conn, &join()).is_none(), "the connection has a seat");
}

#[test]
fn a_forged_token_has_no_fence() {
    let mut harness = Harness::new();
    let conn = harness.connect();
    let reply = harness.ask(conn, &join(), owner(7, 0));
    let other = harness.connect();
    let forged = format!("z{}", &reply["resume"].as_str().unwrap()[1..]);
    let look = json!({"type": "look", "room": "kitchen", "resume": forged});
    assert_eq!(harness.request(other, &look).unwrap().token_fence, None);
    assert!(harness.request(other, &resume(&json!(forged))).is_none(), "refused by every server");
    let frame = json!({"type": "join", "room": "attic", "resume": reply["resume"]});
    assert!(harness.request(other, &frame).is_none(), "of another room");
    harness.send_of(other, &frame, RoomOwner::Unknown);
    assert_eq!(harness.code(other), "bad-resume");
}

#[test]
fn forged_tokens_cause_no_flood_of_requests() {
    let mut harness = Harness::new();
    let conn = harness.connect();
    let asked = (0..200).filter(|n| {
        let frame = json!({"type": "look", "room": "kitchen", "resume": format!("forged {n}")});
        let request = harness.request(conn, &frame);
        harness.send_of(conn, &frame, RoomOwner::Unknown);
        request.is_some()
    });
    assert_eq!(asked.count(), 20);
}

#[test]
fn who_tries_too_many_names_causes_no_further_requests() {
    let mut harness = Harness::new();
    let mut conn = harness.connect();
    let name = |n: usize| json!({"type": "look", "room": format!("room-{n}")});
    let mut redirected = 0;
    for n in 0..300 {
        if harness.request(conn, &name(n)).is_some() {
            harness.redirect(conn, &name(n));
            redirected += 1;
            conn = harness.connect();
        }
    }
    assert_eq!(redirected, 200, "a redirect tells that somebody is in the room");
    harness.send_of(conn, &name(299), RoomOwner::Unknown);
    assert_eq!(harness.code(conn), "rate-limited");
    let token = harness.ask(conn, &join(), owner(7, 0));
    assert_eq!(token["code"], "rate-limited");
}

#[test]
fn a_flood_of_joins_causes_no_flood_of_requests() {
    let mut harness = Harness::new();
    let conn = harness.connect();
    let accepted = (0..450).filter(|_| {
        let request = harness.request(conn, &join());
        harness.send_of(conn, &join(), RoomOwner::Unknown);
        request.is_some()
    });
    assert_eq!(accepted.count(), 400);
}

#[test]
fn a_join_of_another_servers_room_is_redirected_and_closed() {
    let mut harness = Harness::new();
    let conn = harness.connect();
    harness.redirect(conn, &json!({"type": "join", "room": " Kitchen "}));
    let expected = json!({"type": "redirect", "url": URL, "room": "kitchen", "fence": 8});
    assert_eq!(harness.next(conn), expected);
    assert_eq!(harness.closed, [(conn, CloseReason::Redirected)]);
    assert_eq!(CloseReason::Redirected.code(), 4002);
    let looking = harness.connect();
    harness.redirect(looking, &json!({"type": "look", "room": "kitchen"}));
    assert_eq!(harness.unread(looking), ["redirect"]);
    assert_eq!(harness.rooms.count(), (0, 0));
}

#[test]
fn a_client_without_tokens_stays_connected_after_a_redirect() {
    let mut harness = Harness::new();
    let conn = harness.connect();
    harness.rooms.expect_no_token(conn);
    harness.redirect(conn, &join());
    assert_eq!(harness.unread(conn), ["redirect"]);
    assert!(harness.closed.is_empty());
}

#[test]
fn a_connection_that_ended_meanwhile_is_not_redirected() {
    let mut harness = Harness::new();
    let conn = harness.connect();
    let request = harness.request(conn, &join()).unwrap();
    harness.disconnect(conn);
    harness.rooms.redirect(conn, &request, URL.into(), Fence(8), harness.now);
    harness.send_of(conn, &join(), owner(7, 0));
    assert!(harness.received.is_empty() && harness.occupancy.is_empty());
}

#[test]
fn with_an_unknown_owner_only_own_seats_are_resumed() {
    let mut harness = Harness::new();
    let [alice, bob] = harness.owned_pair(owner(7, 0));
    harness.disconnect(bob.conn);
    let [back, other, looking] = [(); 3].map(|()| harness.connect());
    let reply = harness.ask(back, &resume(&bob.token), RoomOwner::Unknown);
    assert_eq!((&reply["id"], &reply["resumed"]), (&bob.id, &json!(true)));
    assert_eq!(reply["fence"], 7, "the room is still owned");
    harness.send(alice.conn, json!({"type": "leave"}));
    harness.send_of(other, &join(), RoomOwner::Unknown);
    let error = harness.next(other);
    assert_eq!((&error["code"], &error["retry"]), (&json!("try-later"), &json!(1)));
    assert_eq!(harness.events.last(), Some(&Event::JoinRefused(Refusal::OwnerUnknown)));
    let look = json!({"type": "look", "room": "kitchen"});
    assert_eq!(harness.ask(looking, &look, RoomOwner::Unknown)["seats"], 1, "what this server knows");
}

#[test]
fn the_seats_of_owned_rooms_are_reported() {
    let mut harness = Harness::new();
    let [alice, bob] = harness.owned_pair(owner(7, 0));
    assert_eq!(harness.occupancy[&kitchen()], 2);
    harness.disconnect(bob.conn);
    assert_eq!(harness.occupancy[&kitchen()], 2, "a disconnected participant keeps the room");
    harness.advance(seconds(30));
    assert_eq!(harness.occupancy[&kitchen()], 1);
    harness.send(alice.conn, json!({"type": "leave"}));
    assert_eq!(harness.occupancy[&kitchen()], 0);
}

#[test]
fn a_refused_join_reports_that_the_room_need_not_be_kept() {
    let host_keys = HostKeys::new(&["sesame"]);
    let mut harness = Harness::with(RoomsConfig { host_keys, ..config() });
    let conn = harness.connect();
    harness.send_of(conn, &join(), owner(7, 0));
    assert_eq!(harness.code(conn), "key-required");
    assert_eq!(harness.occupancy[&kitchen()], 0);
}

#[test]
fn a_room_that_somebody_waits_for_is_kept() {
    let host_keys = HostKeys::new(&["sesame"]);
    let mut harness = Harness::with(RoomsConfig { host_keys, ..config() });
    let [guest, host] = [(); 2].map(|()| harness.connect());
    let waits = json!({"type": "join", "room": "kitchen", "wait": true});
    assert_eq!(harness.ask(guest, &waits, owner(7, 0))["type"], "waiting");
    assert_eq!(harness.occupancy[&kitchen()], 1);
    let opens = json!({"type": "join", "room": "kitchen", "key": "sesame"});
    harness.send_of(host, &opens, owner(7, 0));
    assert_eq!(harness.occupancy[&kitchen()], 2);
    assert_eq!(harness.next(guest)["fence"], 7, "also for who has waited");
    harness.disconnect(guest);
    harness.send(host, json!({"type": "leave"}));
    harness.advance(seconds(30));
    assert_eq!(harness.occupancy[&kitchen()], 0);
}

#[test]
fn after_the_loss_of_the_owner_both_participants_keep_their_ids() {
    let mut harness = Harness::new();
    let [alice, bob] = harness.owned_pair(owner(7, 0));
    let mut harness = harness.restarted();
    harness.advance(seconds(600));
    let [b, a] = [(); 2].map(|()| harness.connect());
    let second = harness.ask(b, &resume(&bob.token), owner(8, 7));
    assert_eq!((&second["id"], &second["fence"]), (&bob.id, &json!(8)));
    let first = harness.ask(a, &resume(&alice.token), owner(8, 7));
    assert_eq!((&first["id"], &first["peer"]), (&alice.id, &bob.id));
}

#[test]
fn a_token_of_an_owner_before_the_last_reopens_nothing() {
    let mut harness = Harness::new();
    let [alice, bob] = harness.owned_pair(owner(5, 0));
    let mut harness = harness.restarted();
    let [a, b] = [(); 2].map(|()| harness.connect());
    assert_eq!(harness.ask(a, &resume(&alice.token), owner(9, 8))["code"], "bad-resume");
    assert_eq!(harness.occupancy[&kitchen()], 0);
    let reply = harness.ask(a, &join(), owner(9, 8));
    assert_eq!(reply["type"], "resp-join");
    let reply = harness.ask(b, &resume(&bob.token), owner(9, 8));
    assert_eq!(reply["id"], bob.id, "the room is open: an ordinary join");
}

#[test]
fn without_an_owner_before_old_tokens_keep_their_ids() {
    let mut harness = Harness::new();
    let [alice, _] = harness.owned_pair(owner(5, 0));
    let mut harness = harness.restarted();
    let conn = harness.connect();
    let reply = harness.ask(conn, &resume(&alice.token), owner(1, 0));
    assert_eq!((&reply["id"], &reply["resumed"]), (&alice.id, &json!(false)), "the store has lost its data");
}

#[test]
fn a_token_of_a_server_that_was_alone_still_opens_its_room() {
    let mut harness = Harness::new();
    let [alice, _] = harness.pair();
    let mut harness = harness.restarted();
    let conn = harness.connect();
    let reply = harness.ask(conn, &resume(&alice.token), owner(9, 8));
    assert_eq!((&reply["id"], &reply["fence"]), (&alice.id, &json!(9)));
}

#[test]
fn tokens_of_the_last_owner_reopen_a_room_that_required_a_key() {
    let host_keys = HostKeys::new(&["sesame"]);
    let mut harness = Harness::with(RoomsConfig { host_keys, ..config() });
    let conn = harness.connect();
    let opens = json!({"type": "join", "room": "kitchen", "key": "sesame"});
    let token = harness.ask(conn, &opens, owner(5, 0))["resume"].clone();
    let mut harness = harness.restarted();
    harness.advance(seconds(600));
    let [a, b, c] = [(); 3].map(|()| harness.connect());
    assert_eq!(harness.ask(a, &join(), owner(6, 5))["code"], "key-required");
    assert_eq!(harness.ask(a, &resume(&token), owner(7, 6))["code"], "bad-resume");
    assert_eq!(harness.ask(a, &resume(&token), owner(7, 0))["code"], "key-required");
    let reply = harness.ask(b, &resume(&token), owner(6, 5));
    assert_eq!((&reply["type"], &reply["fence"]), (&json!("resp-join"), &json!(6)));
    harness.send(b, json!({"type": "leave"}));
    let late = harness.ask(c, &resume(&reply["resume"]), owner(6, 0));
    assert_eq!(late["code"], "key-required", "everybody has left the room");
}

#[test]
fn a_lost_room_is_redirected_and_its_seats_are_kept() {
    let mut harness = Harness::new();
    let [alice, bob] = harness.owned_pair(owner(7, 0));
    let guest = harness.connect();
    let waits = json!({"type": "join", "room": "kitchen", "wait": true});
    assert_eq!(harness.ask(guest, &waits, owner(7, 0))["type"], "waiting");
    harness.received.clear();
    let events = harness.seat_events.len();
    assert_eq!(harness.rooms.redirect_room(kitchen(), other(0), harness.now), 3);
    harness.collect_actions();
    for conn in [alice.conn, bob.conn, guest] {
        assert_eq!(harness.unread(conn), ["redirect"]);
        assert!(harness.closed.contains(&(conn, CloseReason::Redirected)));
    }
    assert_eq!(harness.seat_events.len(), events, "the relay keeps the allocations");
    assert_eq!(harness.rooms.count(), (1, 2));
    harness.advance(seconds(30));
    assert!(matches!(harness.seat_events[events..], [SeatEvent::Expired(..), SeatEvent::Expired(..)]));
    assert_eq!(harness.rooms.count(), (0, 0));
    assert_eq!(harness.occupancy[&kitchen()], 2, "it is another server's room");
}

#[test]
fn two_full_rooms_are_not_merged() {
    let mut harness = Harness::new();
    let [alice, bob] = harness.owned_pair(owner(7, 0));
    let guest = harness.connect();
    harness.send_of(guest, &json!({"type": "join", "room": "kitchen", "wait": true}), owner(7, 0));
    harness.received.clear();
    assert_eq!(harness.rooms.redirect_room(kitchen(), other(2), harness.now), 1);
    harness.collect_actions();
    assert_eq!(harness.unread(guest), ["redirect"]);
    harness.send(alice.conn, json!({"type": "offer", "target": bob.id, "sdp": {}}));
    assert_eq!(harness.unread(bob.conn), ["knock", "offer"], "the call runs on");
    let [back, new] = [(); 2].map(|()| harness.connect());
    assert!(harness.request(new, &join()).is_some(), "new joins ask for the owner");
    assert!(harness.request(back, &resume(&bob.token)).is_none(), "its participants do not");
    let reply = harness.ask(back, &resume(&bob.token), RoomOwner::Unknown);
    assert_eq!((&reply["id"], &reply["fence"]), (&bob.id, &json!(8)));
    harness.received.clear();
    harness.disconnect(back);
    assert_eq!(harness.unread(alice.conn), ["peer-away"], "there is no seat for her at the owner");
    let back = harness.connect();
    assert_eq!(harness.ask(back, &resume(&bob.token), RoomOwner::Unknown)["id"], bob.id);
    harness.received.clear();
    harness.send(alice.conn, json!({"type": "leave"}));
    assert_eq!(harness.unread(back), ["peer-leave", "redirect"], "the call has ended");
    assert_eq!(harness.redirected, 1);
    assert!(harness.closed.contains(&(back, CloseReason::Redirected)));
    assert_eq!(harness.unread(alice.conn), [""; 0]);
}

#[test]
fn three_people_are_not_merged_until_one_of_two_is_disconnected() {
    for closes in [false, true] {
        let mut harness = Harness::new();
        let [alice, bob] = harness.owned_pair(owner(7, 0));
        assert_eq!(harness.rooms.redirect_room(kitchen(), other(1), harness.now), 0);
        harness.collect_actions();
        harness.send(alice.conn, json!({"type": "offer", "target": bob.id, "sdp": {}}));
        assert_eq!(harness.unread(bob.conn), ["offer"], "the call runs on");
        if closes {
            harness
                .rooms
                .handle_page_closed(alice.token.as_str().unwrap(), [45, 0, 0, 1].into(), harness.now)
                .unwrap();
            harness.collect_actions();
        } else {
            harness.disconnect(alice.conn);
        }
        assert_eq!(harness.unread(bob.conn), ["peer-away", "redirect"]);
        assert_eq!(harness.closed.last(), Some(&(bob.conn, CloseReason::Redirected)));
        assert_eq!(harness.redirected, 1);
        let back = harness.connect();
        assert!(harness.request(back, &resume(&alice.token)).is_some(), "the owner is asked again");
    }
}

#[test]
fn a_call_that_runs_on_moves_when_another_owner_has_room() {
    let mut harness = Harness::new();
    let [alice, bob] = harness.owned_pair(owner(7, 0));
    harness.rooms.redirect_room(kitchen(), other(2), harness.now);
    assert_eq!(harness.rooms.redirect_room(kitchen(), other(0), harness.now), 2);
    harness.collect_actions();
    let back = harness.connect();
    assert!(harness.request(back, &resume(&alice.token)).is_some(), "her seat is not here any more");
    assert_eq!(harness.unread(bob.conn), ["redirect"]);
}

#[test]
fn a_full_room_moves_to_an_owner_without_participants() {
    let mut harness = Harness::new();
    let [alice, bob] = harness.owned_pair(owner(7, 0));
    assert_eq!(harness.rooms.redirect_room(kitchen(), other(0), harness.now), 2);
    harness.collect_actions();
    assert_eq!((harness.unread(alice.conn).len(), harness.unread(bob.conn).len()), (1, 1));
}

#[test]
fn a_room_with_one_connected_participant_moves_to_an_owner_with_one() {
    let mut harness = Harness::new();
    let [alice, bob] = harness.owned_pair(owner(7, 0));
    harness.disconnect(alice.conn);
    harness.received.clear();
    assert_eq!(harness.rooms.redirect_room(kitchen(), other(1), harness.now), 1);
    harness.collect_actions();
    assert_eq!(harness.unread(bob.conn), ["redirect"]);
}

#[test]
fn a_call_that_moves_to_another_server_has_not_ended_here() {
    let mut harness = Harness::new();
    let [alice, bob] = harness.owned_pair(owner(7, 0));
    let ended = |harness: &Harness| harness.events.iter().any(|event| matches!(event, Event::CallEnded(_)));
    harness.rooms.redirect_room(kitchen(), other(0), harness.now);
    harness.collect_actions();
    for participant in [&alice, &bob] {
        let back = harness.connect();
        harness.send_of(back, &resume(&participant.token), owner(9, 8));
    }
    harness.rooms.redirect_room(kitchen(), other(0), harness.now);
    harness.advance(seconds(30));
    assert_eq!(harness.rooms.count(), (0, 0));
    harness.rooms.end_calls(harness.now);
    harness.collect_actions();
    assert!(!ended(&harness));
}

#[test]
fn a_call_that_comes_back_from_another_server_ends_here() {
    let mut harness = Harness::new();
    let [alice, bob] = harness.owned_pair(owner(7, 0));
    harness.rooms.redirect_room(kitchen(), other(0), harness.now);
    harness.collect_actions();
    let [first, second] = [&alice, &bob].map(|participant| {
        let back = harness.connect();
        harness.send_of(back, &resume(&participant.token), owner(9, 8));
        back
    });
    harness.advance(seconds(5));
    harness.send(first, json!({"type": "leave"}));
    let durations = harness.events.iter().filter_map(|event| {
        if let Event::CallEnded(summary) = event { Some(summary.duration) } else { None }
    });
    assert_eq!(durations.collect::<Vec<_>>(), [seconds(5)]);
    assert!(harness.unread(second).contains(&"peer-leave".to_owned()));
}

#[test]
fn a_moved_seat_is_not_resumed_while_the_owner_is_unknown() {
    let mut harness = Harness::new();
    let [alice, _] = harness.owned_pair(owner(7, 0));
    harness.rooms.redirect_room(kitchen(), other(0), harness.now);
    harness.collect_actions();
    let back = harness.connect();
    assert_eq!(harness.ask(back, &resume(&alice.token), RoomOwner::Unknown)["code"], "try-later");
}

#[test]
fn a_room_that_comes_back_has_its_seats() {
    let mut harness = Harness::new();
    let [alice, _] = harness.owned_pair(owner(7, 0));
    harness.rooms.redirect_room(kitchen(), other(0), harness.now);
    harness.collect_actions();
    let back = harness.connect();
    let reply = harness.ask(back, &resume(&alice.token), owner(9, 8));
    assert_eq!((&reply["id"], &reply["resumed"], &reply["fence"]), (&alice.id, &json!(true), &json!(9)));
    assert_eq!(harness.occupancy[&kitchen()], 2);
}

#[test]
fn media_may_be_relayed_until_a_page_reports_a_direct_path() {
    let mut harness = Harness::new();
    let owned = |harness: &Harness| harness.rooms.owned_rooms();
    let room = |may_relay| vec![OwnedRoom { tag: kitchen(), may_relay }];
    let first = harness.connect();
    harness.send_of(first, &join(), owner(7, 0));
    assert_eq!(owned(&harness), room(false), "nobody to talk to");
    let second = harness.connect();
    harness.send_of(second, &join(), owner(7, 0));
    assert_eq!(owned(&harness), room(true));
    harness.send(second, json!({"type": "report", "path": "direct"}));
    assert_eq!(owned(&harness), room(false));
    harness.send(second, json!({"type": "report", "path": "relay-udp"}));
    assert_eq!(owned(&harness), room(true));
}

#[test]
fn a_join_with_a_wrong_token_asks_for_no_owner() {
    let mut harness = Harness::new();
    let [alice, _] = harness.owned_pair(owner(7, 0));
    harness.send(alice.conn, json!({"type": "transfer"}));
    let transfer = harness.next(alice.conn)["token"].clone();
    let conn = harness.connect();
    let wrong = Value::from("A".repeat(107));
    assert!(harness.request(conn, &resume(&wrong)).is_none());
    let other_room = json!({"type": "join", "room": "attic", "resume": alice.token});
    assert!(harness.request(conn, &other_room).is_none());
    assert_eq!(harness.ask(conn, &other_room, RoomOwner::Unknown)["code"], "bad-resume");
    assert!(harness.request(conn, &resume(&transfer)).is_some(), "another box may have the seat");
    let look = json!({"type": "look", "room": "kitchen", "resume": wrong});
    assert!(harness.request(conn, &look).is_some(), "a look counts the name whatever the token is");
}
