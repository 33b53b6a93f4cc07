//! Joining, exchanging messages, leaving.

use super::*;

#[test]
fn the_eight_messages_of_a_call_are_exact() {
    let mut harness = Harness::new();
    let (a, b) = (harness.connect(), harness.connect());
    let (tag, alice, bob) = (kitchen(), SeatId::new([1; 16]), SeatId::new([2; 16]));

    harness.send_text(a, r#"{"type":"join","room":"kitchen"}"#);
    assert_eq!(harness.next_text(a), expected_reply(alice, None));

    harness.send_text(b, r#"{"type":"join","room":"kitchen"}"#);
    assert_eq!(harness.next_text(b), expected_reply(bob, Some(alice)));
    assert_eq!(harness.next_text(a), format!(r#"{{"type":"new-peer","id":"{bob}"}}"#));

    let sdp = r#"{"type":"offer","sdp":"v=0\r\n"}"#;
    harness.send_text(b, &format!(r#"{{"type":"offer","target":"{alice}","sdp":{sdp},"call":"x/0"}}"#));
    assert_eq!(
        harness.next_text(a),
        format!(r#"{{"type":"offer","from":"{bob}","sdp":{sdp},"call":"x/0"}}"#)
    );

    harness.send_text(a, &format!(r#"{{"type":"answer","target":"{bob}","sdp":{sdp}}}"#));
    assert_eq!(harness.next_text(b), format!(r#"{{"type":"answer","from":"{alice}","sdp":{sdp}}}"#));

    harness.send_text(a, &format!(r#"{{"type":"candidate","target":"{bob}","candidate":{{"sdpMid":"0"}}}}"#));
    assert_eq!(
        harness.next_text(b),
        format!(r#"{{"type":"candidate","from":"{alice}","candidate":{{"sdpMid":"0"}}}}"#)
    );

    harness.send_text(a, r#"{"type":"leave"}"#);
    assert_eq!(harness.next_text(b), format!(r#"{{"type":"peer-leave","id":"{alice}"}}"#));
    assert!(harness.unread(a).is_empty() && harness.unread(b).is_empty());
    let opened = [SeatEvent::Joined(tag, alice), SeatEvent::Joined(tag, bob)];
    assert_eq!(harness.seat_events, [opened[0], opened[1], SeatEvent::Left(tag, alice)]);
}

fn expected_reply(id: SeatId, peer: Option<SeatId>) -> String {
    let username = format!("1003600:{}.{id}", kitchen());
    let password = "password";
    let peer = peer.map_or("null".to_owned(), |peer| format!(r#""{peer}""#));
    let token = ResumeTokenKey::new([2; 32])
        .sign(kitchen(), ResumeClaims { seat: id, joined_at: 1_000_000, fence: None });
    format!(
        concat!(
            r#"{{"type":"resp-join","id":"{id}","room":"kitchen","peer":{peer},"#,
            r#""iceServers":[{{"urls":["stun:box.local:3478"]}},"#,
            r#"{{"urls":["turn:box.local:3478?transport=udp"],"username":"{username}","credential":"{password}"}}],"#,
            r#""ttl":3600,"resume":"{token}","resumed":false}}"#
        ),
        id = id,
        peer = peer,
        username = username,
        password = password,
        token = token
    )
}

#[test]
fn the_relay_learns_of_a_seat_before_its_participant() {
    let now = Harness::new().now;
    let mut rooms = Rooms::new(config(), now.instant);
    rooms.handle_connect(ConnectionId(1), "h".into(), [45, 0, 0, 1].into(), now);
    rooms.handle_text(ConnectionId(1), r#"{"type":"join","room":"kitchen"}"#, now, [5; 16]);
    assert!(matches!(rooms.poll_action(), Some(Action::Seat(SeatEvent::Joined(..)))));
    assert!(matches!(
        rooms.poll_action(),
        Some(Action::Send { message: ServerMessage::RespJoin { .. }, .. })
    ));
    assert!(matches!(rooms.poll_action(), Some(Action::Event(Event::Joined { resumed: false }))));
    assert!(rooms.poll_action().is_none());
}

#[test]
fn a_third_client_is_refused_until_a_participant_leaves() {
    let mut harness = Harness::new();
    let [alice, bob] = harness.pair();
    let third = harness.connect();
    assert_eq!(harness.join(third, "kitchen")["code"], "room-full");
    assert!(harness.unread(alice.conn).is_empty(), "the participants are not notified");
    harness.send(alice.conn, json!({"type": "leave"}));
    let reply = harness.join(third, "kitchen");
    assert_eq!(reply["peer"], bob.id);
    assert_eq!(harness.unread(bob.conn), ["peer-leave", "new-peer"]);
}

#[test]
fn a_participant_may_rejoin_and_an_empty_room_is_removed() {
    let mut harness = Harness::new();
    let [alice, bob] = harness.pair();
    for participant in [&alice, &bob] {
        harness.send(participant.conn, json!({"type": "leave"}));
    }
    assert_eq!(harness.rooms.count(), (0, 0));
    harness.received.clear();
    let again = harness.join(alice.conn, "kitchen");
    assert_eq!(again["peer"], Value::Null);
    assert_ne!(again["id"], alice.id);
    assert!(harness.closed.is_empty());
}

#[test]
fn of_two_simultaneous_joins_one_finds_the_other() {
    let mut harness = Harness::new();
    let (a, b) = (harness.connect(), harness.connect());
    harness.rooms.handle_text(a, r#"{"type":"join","room":"kitchen"}"#, harness.now, [1; 16]);
    harness.rooms.handle_text(b, r#"{"type":"join","room":"kitchen"}"#, harness.now, [2; 16]);
    harness.collect_actions();
    let (first, second) = (harness.next(a), harness.next(b));
    assert_eq!((&first["peer"], &second["peer"]), (&Value::Null, &first["id"]));
    assert_eq!(harness.next(a), json!({"type": "new-peer", "id": second["id"]}));
}

#[test]
fn no_message_crosses_rooms() {
    let mut harness = Harness::new();
    let [alice, bob] = harness.pair();
    let outsider = harness.connect();
    harness.join(outsider, "cellar");
    let own = harness.join(outsider, "kitchen");
    assert_eq!(own["code"], "already-joined");
    for target in [&bob.id, &json!("nonsense"), &json!("")] {
        harness.send(outsider, json!({"type": "offer", "target": target, "sdp": {}}));
        assert_eq!(harness.code(outsider), "no-such-peer");
    }
    harness.send(alice.conn, json!({"type": "candidate", "target": alice.id, "candidate": null}));
    assert_eq!(harness.code(alice.conn), "no-such-peer", "a seat cannot target itself");
    assert!(harness.unread(bob.conn).is_empty());
}

#[test]
fn messages_of_a_call_require_a_seat() {
    let mut harness = Harness::new();
    let conn = harness.connect();
    for frame in [
        json!({"type": "leave"}),
        json!({"type": "ice-servers"}),
        json!({"type": "offer", "target": "x", "sdp": {}}),
    ] {
        harness.send(conn, frame);
        assert_eq!(harness.code(conn), "not-joined");
    }
    assert_eq!(harness.join(conn, "..")["code"], "bad-room");
    harness.send(conn, json!({"type": "ping"}));
    assert_eq!(harness.next_text(conn), r#"{"type":"pong"}"#);
}

#[test]
fn opening_a_room_may_require_a_key_joining_one_does_not() {
    let host_keys = HostKeys::new(&["north", "south"]);
    let mut harness = Harness::with(RoomsConfig { host_keys, ..config() });
    let (host, peer) = (harness.connect(), harness.connect());
    assert_eq!(harness.join(peer, "kitchen")["code"], "key-required");
    harness.send(peer, json!({"type": "join", "room": "kitchen", "key": "north "}));
    assert_eq!(harness.code(peer), "key-required");
    assert_eq!(harness.rooms.count(), (0, 0));
    harness.send(host, json!({"type": "join", "room": "kitchen", "key": "south"}));
    assert_eq!(harness.next(host)["type"], "resp-join");
    assert_eq!(harness.join(peer, "kitchen")["type"], "resp-join");
}

#[test]
fn a_peek_with_a_token_does_not_count_its_seat() {
    let mut harness = Harness::new();
    let [alice, bob] = harness.pair();
    harness.disconnect(bob.conn);
    let back = harness.connect();
    let mut seats = |resume: &Value| {
        harness.send(back, json!({"type": "look", "room": "kitchen", "resume": resume}));
        harness.next(back)["seats"].clone()
    };
    assert_eq!(
        (seats(&bob.token), seats(&json!(null)), seats(&json!("forged"))),
        (json!(1), json!(2), json!(2))
    );
    harness.send(alice.conn, json!({"type": "leave"}));
    harness.advance(seconds(30));
    harness.send(back, json!({"type": "look", "room": "kitchen", "resume": bob.token}));
    assert_eq!(harness.next(back)["seats"], 0);
}

#[test]
fn credentials_are_renewed_on_request_and_before_they_expire() {
    let mut harness = Harness::new();
    let [alice, _] = harness.pair();
    harness.send(alice.conn, json!({"type": "ice-servers"}));
    let asked = harness.next(alice.conn);
    assert_eq!((&asked["type"], &asked["ttl"]), (&json!("ice-servers"), &json!(3600)));
    harness.advance(seconds(2699));
    assert!(harness.unread(alice.conn).is_empty());
    harness.advance(seconds(1));
    let renewed = harness.next(alice.conn);
    let username = renewed["iceServers"][1]["username"].as_str().unwrap();
    assert!(username.starts_with("1006300:"), "{username}");
    harness.advance(seconds(2700));
    assert_eq!(harness.unread(alice.conn), ["ice-servers"]);
}

#[test]
fn a_ping_renews_credentials_that_a_clock_jump_expired() {
    let mut harness = Harness::new();
    let [alice, _] = harness.pair();
    let newcomer = harness.connect();
    for (jump, types) in [(3599, &["pong"][..]), (1, &["pong", "ice-servers"]), (0, &["pong"])] {
        harness.now.unix += jump;
        for (conn, types) in [(alice.conn, types), (newcomer, &types[..1])] {
            harness.send(conn, json!({"type": "ping"}));
            assert_eq!(harness.unread(conn), types, "after {jump} s");
        }
    }
    harness.now.unix -= 24 * 3600;
    harness.send(alice.conn, json!({"type": "ping"}));
    assert_eq!(harness.unread(alice.conn), ["pong"], "valid credentials are not renewed");
}

#[test]
fn a_draining_server_admits_only_returning_participants() {
    let mut harness = Harness::new();
    let [alice, bob] = harness.pair();
    harness.rooms.drain();
    harness.collect_actions();
    assert_eq!(harness.code(alice.conn), "shutting-down");
    assert_eq!(harness.code(bob.conn), "shutting-down");
    let newcomer = harness.connect();
    assert_eq!(harness.join(newcomer, "cellar")["code"], "shutting-down");
    harness.disconnect(bob.conn);
    let back = harness.connect();
    assert_eq!(harness.resume(back, "kitchen", &bob.token)["resumed"], true);
}

#[test]
fn a_peek_returns_the_number_of_seats_taken() {
    let mut harness = Harness::new();
    let visitor = harness.connect();
    let look = json!({"type": "look", "room": "kitchen"});
    harness.send(visitor, look.clone());
    assert_eq!(harness.next_text(visitor), r#"{"type":"room","room":"kitchen","seats":0}"#);
    let [_, bob] = harness.pair();
    harness.send(visitor, look.clone());
    assert_eq!(harness.next(visitor)["seats"], 2);
    harness.disconnect(bob.conn);
    harness.send(visitor, look.clone());
    assert_eq!(harness.next(visitor)["seats"], 2, "a disconnected participant has a seat");
    harness.advance(seconds(31));
    harness.send(visitor, look);
    assert_eq!(harness.next(visitor)["seats"], 1);
    harness.send(visitor, json!({"type": "look", "room": ".."}));
    assert_eq!(harness.code(visitor), "bad-room");
}

#[test]
fn only_participants_get_changed_ice_servers_at_once() {
    let mut harness = Harness::new();
    let [alice, bob] = harness.pair();
    let visitor = harness.connect();
    let with_tls = IceUrls { turns: vec![443], ..harness.config.ice_urls.clone() };
    harness.rooms.set_ice_urls(with_tls, harness.now);
    harness.collect_actions();
    for participant in [alice.conn, bob.conn] {
        let urls = harness.next(participant)["iceServers"][1]["urls"].to_string();
        assert!(urls.contains("turns:box.local:443?transport=tcp"), "{urls}");
    }
    assert!(harness.unread(visitor).is_empty());
}
