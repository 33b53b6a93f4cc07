//! Limits on unauthenticated clients and faulty pages.

use super::*;

#[test]
fn the_tenth_bad_message_closes_the_connection() {
    let mut harness = Harness::new();
    let [alice, bob] = harness.pair();
    for text in ["{", r#"{"type":"dance"}"#, "[]", "", "7", "null", r#"{"type":1}"#, "x", "{}"] {
        harness.send_text(bob.conn, text);
        assert_eq!(harness.code(bob.conn), "bad-message", "{text}");
    }
    assert!(harness.closed.is_empty());
    harness.send_text(bob.conn, "{");
    assert_eq!(harness.closed, [(bob.conn, CloseReason::TooManyBadMessages)]);
    assert_eq!(harness.unread(alice.conn), ["peer-away"], "the seat is kept as after any disconnection");
    assert_eq!(CloseReason::TooManyBadMessages.code(), 1008);
}

#[test]
fn a_client_that_floods_is_refused_then_closed_and_no_other() {
    let mut harness = Harness::new();
    let [alice, bob] = harness.pair();
    for _ in 0..10_000 {
        harness.send_with_fixed_id(bob.conn, r#"{"type":"ping"}"#);
    }
    assert_eq!(harness.closed, [(bob.conn, CloseReason::RateLimitExceeded)]);
    let received = harness.unread(bob.conn);
    assert!(received.len() < 510 && received.contains(&"error".to_owned()), "{}", received.len());
    harness.send(alice.conn, json!({"type": "ping"}));
    assert_eq!(harness.unread(alice.conn), ["peer-away", "pong"]);
}

#[test]
fn host_keys_cannot_be_guessed_over_new_connections() {
    let host_keys = HostKeys::new(&["right-key"]);
    let mut harness = Harness::with(RoomsConfig { host_keys, ..config() });
    let attempt = |harness: &mut Harness, source: &str, key: &str| {
        let conn = harness.connect_from(source);
        harness.send(conn, json!({"type": "join", "room": "kitchen", "key": key}));
        harness.next(conn)["code"].as_str().unwrap_or("joined").to_owned()
    };
    let guess = |n: u32| format!("wrong-{n}");
    let refused: Vec<_> = (0..25).map(|n| attempt(&mut harness, "45.0.0.1", &guess(n))).collect();
    assert!(refused[..20].iter().all(|code| code == "key-required"), "{refused:?}");
    assert!(refused[20..].iter().all(|code| code == "rate-limited"), "{refused:?}");
    assert_eq!(
        attempt(&mut harness, "45.0.0.1", "right-key"),
        "rate-limited",
        "otherwise the answer would confirm the key"
    );
    assert_eq!(attempt(&mut harness, "45.0.0.1", &guess(3)), "key-required", "a repetition is free");
    harness.advance(seconds(10));
    assert_eq!(attempt(&mut harness, "45.0.0.1", &guess(26)), "key-required");
    assert_eq!(attempt(&mut harness, "45.0.0.1", &guess(27)), "rate-limited");
    assert_eq!(attempt(&mut harness, "45.0.0.2", "right-key"), "joined", "other sources are not affected");
}

#[test]
fn room_names_cannot_be_guessed_over_new_connections() {
    for kind in ["look", "join"] {
        let mut harness = Harness::new();
        let host = harness.connect_from("45.0.9.9");
        harness.join(host, "secret-250");
        let mut answers = Vec::new();
        for guess in 0..300 {
            let conn = harness.connect_from("45.0.0.1");
            harness.send(conn, json!({"type": kind, "room": format!("secret-{guess}")}));
            answers.push(harness.next(conn)["type"].as_str().unwrap().to_owned());
            harness.disconnect(conn);
        }
        assert!(answers[..200].iter().all(|kind| kind != "error"), "{kind}");
        assert!(answers[200..].iter().all(|kind| kind == "error"), "{kind}: an open room as well");
        harness.advance(seconds(30));
        let conn = harness.connect_from("45.0.0.1");
        for guess in 0..12 {
            harness.send(conn, json!({"type": "look", "room": format!("later-{guess}")}));
        }
        assert_eq!(
            harness.unread(conn).iter().filter(|kind| *kind == "room").count(),
            10,
            "one in three seconds"
        );
    }
}

#[test]
fn a_hundred_people_behind_one_address_open_rooms_at_once() {
    let mut harness = Harness::new();
    for person in 0..100 {
        let room = format!("desk-{person}");
        let conn = harness.connect();
        // The page repeats `look` every five seconds until the user presses Join.
        for _ in 0..20 {
            harness.send(conn, json!({"type": "look", "room": room}));
            assert_eq!(harness.next(conn)["type"], "room");
        }
        assert_eq!(harness.join(conn, &room)["type"], "resp-join");
        let peer = harness.connect();
        assert_eq!(harness.join(peer, &room)["type"], "resp-join");
    }
}

#[test]
fn bad_tokens_are_limited_and_a_valid_one_is_always_accepted() {
    let mut harness = Harness::new();
    let [alice, _] = harness.pair();
    let mut codes = Vec::new();
    for guess in 0..25 {
        let conn = harness.connect();
        harness.send(conn, json!({"type": "join", "room": "kitchen", "resume": format!("forged-{guess}")}));
        codes.push(harness.code(conn));
    }
    assert!(codes[..20].iter().all(|code| code == "bad-resume"), "{codes:?}");
    assert!(codes[20..].iter().all(|code| code == "rate-limited"), "{codes:?}");
    for guess in 0..500 {
        let conn = harness.connect();
        harness.send(conn, json!({"type": "look", "room": format!("room-{guess}")}));
    }
    let back = harness.connect();
    assert_eq!(harness.resume(back, "kitchen", &alice.token)["resumed"], true);
    harness.send(back, json!({"type": "leave"}));
    harness.unread(back);
    assert_eq!(harness.resume(back, "kitchen", &alice.token)["resumed"], false, "also without its seat");
}

#[test]
fn control_frames_count_towards_the_rate_limit() {
    let mut harness = Harness::new();
    let conn = harness.connect();
    for _ in 0..600 {
        harness.rooms.handle_control_frame(conn, harness.now);
    }
    harness.collect_actions();
    assert_eq!(harness.closed, [(conn, CloseReason::RateLimitExceeded)]);
}

#[test]
fn a_silent_connection_without_a_seat_is_closed() {
    let mut harness = Harness::new();
    let (silent, pinging) = (harness.connect(), harness.connect());
    harness.advance(seconds(59));
    harness.send(pinging, json!({"type": "ping"}));
    harness.advance(seconds(1));
    assert_eq!(harness.closed, [(silent, CloseReason::Idle)]);
    harness.join(pinging, "kitchen");
    harness.advance(seconds(600));
    assert_eq!(harness.closed.len(), 1, "a participant may be silent");
    harness.send(pinging, json!({"type": "leave"}));
    harness.advance(seconds(60));
    assert_eq!(harness.closed.len(), 2);
}

#[test]
fn no_state_is_left_when_all_clients_are_gone() {
    let mut harness = Harness::new();
    for n in 0..200 {
        let conn = harness.connect();
        harness.join(conn, &format!("room-{n}"));
        harness.disconnect(conn);
    }
    harness.advance(seconds(30));
    assert_eq!(harness.rooms.count(), (0, 0));
    assert_eq!(harness.rooms.poll_timeout(), None);
    assert_eq!(harness.rooms.seating().out.timers.len(), 0);
    assert_eq!(harness.rooms.seating().connections.len(), 0);
}

impl Harness {
    fn send_with_fixed_id(&mut self, conn: ConnectionId, text: &str) {
        self.rooms.handle_text(conn, text, self.now, [0; 16]);
        self.collect_actions();
    }
}
