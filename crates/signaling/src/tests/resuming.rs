//! Disconnecting and resuming.

use super::*;

#[test]
fn a_participant_who_returns_in_time_has_the_same_seat() {
    let mut harness = Harness::new();
    let [alice, bob] = harness.pair();
    harness.disconnect(bob.conn);
    assert_eq!(harness.next(alice.conn), json!({"type": "peer-away", "id": bob.id}));
    harness.advance(seconds(29));
    let back = harness.connect();
    let reply = harness.resume(back, "kitchen", &bob.token);
    assert_eq!((&reply["id"], &reply["peer"], &reply["resumed"]), (&bob.id, &alice.id, &json!(true)));
    assert_eq!(harness.next(alice.conn), json!({"type": "peer-back", "id": bob.id}));
    harness.advance(seconds(100));
    assert!(harness.unread(alice.conn).is_empty(), "the grace timer is cancelled");
    assert_eq!(harness.seat_events.len(), 2, "the relay sees no event");
}

#[test]
fn the_end_of_the_grace_period_frees_the_seat() {
    let mut harness = Harness::new();
    let [alice, bob] = harness.pair();
    harness.disconnect(bob.conn);
    assert_eq!(harness.rooms.poll_timeout(), Some(harness.now.instant + seconds(30)));
    harness.advance(seconds(30));
    assert_eq!(harness.unread(alice.conn), ["peer-away", "peer-leave"]);
    assert!(matches!(harness.seat_events[2], SeatEvent::Expired(..)));
    let late = harness.connect();
    let reply = harness.resume(late, "kitchen", &bob.token);
    assert_eq!((&reply["id"], &reply["resumed"]), (&bob.id, &json!(false)));
    assert!(matches!(harness.seat_events[3], SeatEvent::Joined(..)));
    assert_eq!(harness.unread(alice.conn), ["new-peer"]);
}

#[test]
fn a_token_of_a_freed_seat_displaces_no_participant() {
    let mut harness = Harness::new();
    let [_, bob] = harness.pair();
    harness.send(bob.conn, json!({"type": "leave"}));
    let third = harness.connect();
    harness.join(third, "kitchen");
    assert_eq!(harness.resume(bob.conn, "kitchen", &bob.token)["code"], "room-full");
}

#[test]
fn a_resume_replaces_a_half_open_connection() {
    let mut harness = Harness::new();
    let [alice, bob] = harness.pair();
    let back = harness.connect();
    let reply = harness.resume(back, "kitchen", &bob.token);
    assert_eq!((&reply["id"], &reply["resumed"]), (&bob.id, &json!(true)));
    assert_eq!(harness.closed, [(bob.conn, CloseReason::Replaced)]);
    assert_eq!(CloseReason::Replaced.code(), 4001);
    assert_eq!(harness.unread(alice.conn), ["peer-back"]);
    harness.disconnect(bob.conn);
    harness.send(bob.conn, json!({"type": "leave"}));
    assert!(harness.unread(alice.conn).is_empty(), "the old connection is gone");
    harness.send(alice.conn, json!({"type": "offer", "target": bob.id, "sdp": {}}));
    assert_eq!(harness.unread(back), ["offer"]);
}

#[test]
fn both_participants_keep_their_ids_after_a_restart() {
    let mut harness = Harness::new();
    let [alice, bob] = harness.pair();
    let mut harness = harness.restarted();
    let (b, a) = (harness.connect(), harness.connect());
    let second = harness.resume(b, "kitchen", &bob.token);
    assert_eq!((&second["id"], &second["resumed"]), (&bob.id, &json!(false)));
    let first = harness.resume(a, "kitchen", &alice.token);
    assert_eq!((&first["id"], &first["peer"]), (&alice.id, &bob.id));
    assert_eq!(harness.seat_events.len(), 2);
}

fn config_with_a_key() -> RoomsConfig {
    RoomsConfig { host_keys: HostKeys::new(&["sesame"]), ..config() }
}

/// A room opened with a host key, with two participants.
fn opened_with_a_key() -> (Harness, [Participant; 2]) {
    let mut harness = Harness::with(config_with_a_key());
    let pair = [json!("sesame"), json!(null)].map(|key| {
        let conn = harness.connect();
        harness.send(conn, json!({"type": "join", "room": "kitchen", "key": key}));
        let reply = harness.next(conn);
        Participant { conn, id: reply["id"].clone(), token: reply["resume"].clone() }
    });
    harness.received.clear();
    (harness, pair)
}

#[test]
fn after_a_restart_a_token_opens_a_room_that_required_a_key() {
    let (harness, [host, peer]) = opened_with_a_key();
    let mut harness = harness.restarted();
    harness.advance(seconds(119));
    let [g, h, outsider] = [(); 3].map(|()| harness.connect());
    assert_eq!(harness.join(outsider, "kitchen")["code"], "key-required", "only with a token");
    assert_eq!(harness.resume(g, "kitchen", &peer.token)["id"], peer.id);
    assert_eq!(harness.resume(h, "kitchen", &host.token)["peer"], peer.id);
}

#[test]
fn a_token_opens_no_room_long_after_the_start_or_its_own_issue() {
    let (mut harness, [host, peer]) = opened_with_a_key();
    harness.advance(seconds(120));
    for left in [&host, &peer] {
        harness.send(left.conn, json!({"type": "leave"}));
    }
    let back = harness.connect();
    assert_eq!(
        harness.resume(back, "kitchen", &peer.token)["code"],
        "key-required",
        "the reopening period is over"
    );
    harness.advance(seconds(12 * 60 * 60));
    let mut harness = harness.restarted();
    let back = harness.connect();
    assert_eq!(harness.resume(back, "kitchen", &peer.token)["code"], "key-required", "the token is too old");
    harness.send(back, json!({"type": "join", "room": "kitchen", "resume": host.token, "key": "sesame"}));
    assert_eq!(harness.next(back)["id"], host.id, "the key opens it");
}

#[test]
fn reopening_renews_no_token_and_a_future_token_opens_no_room() {
    let (mut harness, [_, peer]) = opened_with_a_key();
    let mut token = peer.token;
    for _ in 0..2 {
        harness.advance(seconds(5 * 60 * 60));
        harness = harness.restarted();
        let back = harness.connect();
        token = harness.resume(back, "kitchen", &token)["resume"].clone();
        assert!(token.is_string(), "within twelve hours");
    }
    harness.advance(seconds(2 * 60 * 60));
    harness = harness.restarted();
    let back = harness.connect();
    assert_eq!(harness.resume(back, "kitchen", &token)["code"], "key-required");
    harness.now.unix -= 36 * 60 * 60;
    assert_eq!(harness.resume(back, "kitchen", &token)["code"], "key-required", "a clock that was ahead");
}

#[test]
fn forged_tokens_and_tokens_of_other_rooms_are_refused() {
    let mut harness = Harness::new();
    let [alice, _] = harness.pair();
    harness.disconnect(alice.conn);
    let conn = harness.connect();
    assert_eq!(harness.resume(conn, "cellar", &alice.token)["code"], "bad-resume");
    let flipped = alice.token.as_str().unwrap().replacen(|_: char| true, "_", 1);
    for forged in [flipped.as_str(), "", "x"] {
        assert_eq!(harness.resume(conn, "kitchen", &json!(forged))["code"], "bad-resume", "{forged}");
    }
    let reply = harness.resume(conn, "kitchen", &alice.token);
    assert_eq!(reply["resumed"], true, "a refusal changes nothing");
}

#[test]
fn frames_for_a_disconnected_participant_wait_in_order() {
    let mut harness = Harness::new();
    let [alice, bob] = harness.pair();
    harness.disconnect(bob.conn);
    harness.send(alice.conn, json!({"type": "offer", "target": bob.id, "sdp": {}, "call": "c"}));
    for n in 0..3 {
        let frame = json!({"type": "candidate", "target": bob.id, "candidate": {"n": n}});
        harness.send(alice.conn, frame);
    }
    let back = harness.connect();
    assert_eq!(harness.resume(back, "kitchen", &bob.token)["type"], "resp-join");
    let offer = json!({"type": "offer", "from": alice.id, "sdp": {}, "call": "c"});
    assert_eq!(harness.next(back), offer);
    for n in 0..3 {
        assert_eq!(harness.next(back)["candidate"]["n"], n);
    }
    assert!(harness.unread(back).is_empty());
}

#[test]
fn pending_frames_are_limited_and_the_sender_gets_an_error() {
    let mut harness = Harness::new();
    let [alice, bob] = harness.pair();
    harness.disconnect(bob.conn);
    let big = json!({"type": "offer", "target": bob.id, "sdp": {"sdp": "x".repeat(60_000)}});
    for _ in 0..2 {
        harness.send(alice.conn, big.clone());
    }
    harness.unread(alice.conn);
    harness.send(alice.conn, big);
    assert_eq!(harness.code(alice.conn), "rate-limited");
    let small = json!({"type": "candidate", "target": bob.id, "candidate": null});
    for _ in 0..70 {
        harness.send(alice.conn, small.clone());
    }
    assert_eq!(harness.unread(alice.conn).len(), 8, "64 frames wait at most");
    let back = harness.connect();
    harness.resume(back, "kitchen", &bob.token);
    assert_eq!(harness.unread(back).len(), 64);
    assert!(harness.rooms.seating().table.quotas().1.is_empty());
}

#[test]
fn pending_frames_of_a_participant_who_left_are_dropped() {
    let mut harness = Harness::new();
    let [alice, bob] = harness.pair();
    harness.disconnect(bob.conn);
    harness.send(alice.conn, json!({"type": "offer", "target": bob.id, "sdp": {}}));
    harness.send(alice.conn, json!({"type": "leave"}));
    let third = harness.connect();
    let reply = harness.join(third, "kitchen");
    assert_eq!(reply["peer"], bob.id);
    assert_eq!(harness.next(third), json!({"type": "peer-away", "id": bob.id}));
    let back = harness.connect();
    assert_eq!(harness.resume(back, "kitchen", &bob.token)["peer"], reply["id"]);
    assert!(harness.unread(back).is_empty());
    assert!(harness.rooms.seating().table.quotas().1.is_empty());
}

#[test]
fn a_returning_participant_learns_that_the_peer_is_disconnected() {
    let mut harness = Harness::new();
    let [alice, bob] = harness.pair();
    harness.disconnect(alice.conn);
    harness.disconnect(bob.conn);
    let back = harness.connect();
    assert_eq!(harness.resume(back, "kitchen", &alice.token)["peer"], bob.id);
    assert_eq!(harness.unread(back), ["peer-away"]);
    harness.advance(seconds(30));
    assert_eq!(harness.unread(back), ["peer-leave"]);
}

#[test]
fn a_closed_page_is_reported_at_once_and_a_reload_resumes_it() {
    let mut harness = Harness::new();
    let [alice, bob] = harness.pair();
    harness.close_page(bob.conn);
    assert_eq!(harness.next(alice.conn), json!({"type": "peer-away", "id": bob.id, "closing": true}));
    harness.advance(seconds(14));
    let back = harness.connect();
    let reply = harness.resume(back, "kitchen", &bob.token);
    assert_eq!((&reply["id"], &reply["resumed"]), (&bob.id, &json!(true)));
    assert_eq!(harness.unread(alice.conn), ["peer-back"]);
    harness.close_page(back);
    harness.advance(seconds(15));
    assert_eq!(harness.unread(alice.conn), ["peer-away", "peer-leave"]);
    assert!(matches!(harness.seat_events.last(), Some(SeatEvent::Expired(..))));
}

#[test]
fn a_closed_page_gets_no_longer_grace_than_a_lost_connection() {
    let mut harness = Harness::with(RoomsConfig { room_grace: seconds(5), ..config() });
    let [alice, bob] = harness.pair();
    harness.close_page(bob.conn);
    harness.advance(seconds(5));
    assert_eq!(harness.unread(alice.conn), ["peer-away", "peer-leave"]);
}

#[test]
fn a_page_can_report_by_its_token_that_it_was_closed() {
    let mut harness = Harness::new();
    let [alice, bob] = harness.pair();
    // While its WebSocket looks open,
    assert_eq!(harness.report_closed(&bob.token), Ok(()));
    assert_eq!(harness.closed, [(bob.conn, CloseReason::PageClosed)]);
    assert_eq!(harness.next(alice.conn), json!({"type": "peer-away", "id": bob.id, "closing": true}));
    // a second time, without effect,
    assert_eq!(harness.report_closed(&bob.token), Ok(()));
    assert!(harness.unread(alice.conn).is_empty());
    harness.advance(seconds(15));
    assert_eq!(harness.unread(alice.conn), ["peer-leave"]);
    // and after the seat is free.
    assert_eq!(harness.report_closed(&bob.token), Ok(()));
    assert_eq!(harness.report_closed(&json!("forged")), Err(Refusal::BadResume));
    assert!(harness.unread(alice.conn).is_empty());
}

#[test]
fn a_close_report_after_a_disconnect_shortens_the_grace() {
    let mut harness = Harness::new();
    let [alice, bob] = harness.pair();
    harness.disconnect(bob.conn);
    harness.advance(seconds(1));
    assert_eq!(harness.report_closed(&bob.token), Ok(()));
    assert_eq!(harness.next(alice.conn), json!({"type": "peer-away", "id": bob.id}));
    assert_eq!(harness.next(alice.conn), json!({"type": "peer-away", "id": bob.id, "closing": true}));
    harness.advance(seconds(15));
    assert_eq!(harness.unread(alice.conn), ["peer-leave"]);
}

#[test]
fn a_late_close_report_does_not_close_the_reloaded_page() {
    let mut harness = Harness::new();
    let [alice, bob] = harness.pair();
    harness.advance(seconds(60));
    let reloaded = harness.connect();
    let token = harness.resume(reloaded, "kitchen", &bob.token)["resume"].clone();
    harness.received.clear();
    harness.closed.clear();
    assert_eq!(harness.report_closed(&bob.token), Ok(()));
    assert!(harness.unread(alice.conn).is_empty() && harness.closed.is_empty());
    assert_eq!(harness.report_closed(&token), Ok(()));
    assert_eq!(harness.unread(alice.conn), ["peer-away"]);
}

#[test]
fn a_late_close_report_does_not_close_a_reopened_room() {
    let (harness, [_, peer]) = opened_with_a_key();
    let mut harness = harness.restarted();
    harness.advance(seconds(60));
    let reloaded = harness.connect();
    assert_eq!(harness.resume(reloaded, "kitchen", &peer.token)["resume"], peer.token, "same time");
    assert_eq!(harness.report_closed(&peer.token), Ok(()));
    assert!(harness.closed.is_empty());
    harness.advance(seconds(3));
    assert_eq!(harness.report_closed(&peer.token), Ok(()));
    assert_eq!(harness.closed.len(), 1);
}

#[test]
fn one_source_cannot_use_up_the_bytes_of_pending_frames() {
    let mut harness = Harness::new();
    let big = |target: &Value| json!({"type": "offer", "target": target, "sdp": {"sdp": "x".repeat(60_000)}});
    for n in 0..40 {
        let pair = harness.pair_from("45.0.6.6", &format!("room-{n}"));
        harness.disconnect(pair[1].conn);
        for _ in 0..2 {
            harness.send(pair[0].conn, big(&pair[1].id));
        }
    }
    let eighth = 512 * 1024;
    assert!((eighth - 64 * 1024..=eighth).contains(&harness.rooms.seating().table.quotas().1.used()));
    let [alice, bob] = harness.pair_from("45.0.0.1", "kitchen");
    harness.disconnect(bob.conn);
    harness.received.clear();
    harness.send(alice.conn, big(&bob.id));
    assert!(harness.unread(alice.conn).is_empty(), "it is queued");
    let back = harness.connect();
    assert_eq!(harness.resume(back, "kitchen", &bob.token)["resumed"], true);
    assert_eq!(harness.unread(back), ["offer"]);
}

#[test]
fn one_source_cannot_use_up_the_disconnected_seats() {
    let mut harness = Harness::new();
    // Each room is opened from another address: joining an open room is no attempt.
    for n in 0..1500 {
        let room = format!("room-{n}");
        let opener = harness.connect_from(&format!("45.1.{}.{}", n / 250, n % 250));
        harness.join(opener, &room);
        let conn = harness.connect_from("45.0.6.6");
        harness.join(conn, &room);
        harness.disconnect(conn);
    }
    assert_eq!(harness.rooms.seating().table.quotas().0.used(), 1250);
    let [alice, bob] = harness.pair_from("45.0.0.1", "kitchen");
    harness.disconnect(bob.conn);
    assert_eq!(harness.unread(alice.conn), ["peer-away"], "the seat is kept");
}

#[test]
fn a_token_of_an_unnormalized_name_is_valid_for_twelve_hours() {
    let mut harness = Harness::with(config_with_a_key());
    let seat = SeatId::new([9; 16]);
    let (tag_key, resume_key) = harness.rooms.seating().admission.keys();
    let claims = ResumeClaims { seat, joined_at: harness.now.unix, fence: None };
    let token = json!(resume_key.sign(tag_key.tag("Kitchen"), claims));
    let conn = harness.connect();
    assert_eq!(harness.resume(conn, "Cellar", &token)["code"], "bad-resume");
    let reply = harness.resume(conn, "Kitchen", &token);
    assert_eq!((&reply["id"], &reply["room"]), (&json!(seat.to_string()), &json!("kitchen")));
    harness.send(conn, json!({"type": "leave"}));
    harness.advance(seconds(12 * 60 * 60 - 1));
    let conn = harness.connect();
    assert_eq!(
        harness.resume(conn, "Kitchen", &token)["code"],
        "key-required",
        "valid, but the room is closed"
    );
    harness.advance(seconds(1));
    let conn = harness.connect();
    assert_eq!(harness.resume(conn, "Kitchen", &token)["code"], "bad-resume");
}

impl Harness {
    fn close_page(&mut self, conn: ConnectionId) {
        self.rooms.handle_disconnect(conn, true, self.now);
        self.collect_actions();
    }

    fn report_closed(&mut self, token: &Value) -> Result<(), Refusal> {
        let outcome = self.rooms.handle_page_closed(token.as_str().unwrap(), [45, 0, 0, 1].into(), self.now);
        self.collect_actions();
        outcome
    }
}
