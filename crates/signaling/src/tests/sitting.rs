//! Taking a seat, talking, leaving.

use super::*;
use crate::seat::SeatId;

#[test]
fn the_eight_messages_in_their_order_word_for_word() {
    let mut stage = Stage::new();
    let (a, b) = (stage.connect(), stage.connect());
    let (tag, alice, bob) = (kitchen(), SeatId::new([1; 16]), SeatId::new([2; 16]));

    stage.say_text(a, r#"{"type":"join","room":"kitchen"}"#);
    assert_eq!(stage.next_text(a), expected_reply(alice, None));

    stage.say_text(b, r#"{"type":"join","room":"kitchen"}"#);
    assert_eq!(stage.next_text(b), expected_reply(bob, Some(alice)));
    assert_eq!(stage.next_text(a), format!(r#"{{"type":"new-peer","id":"{bob}"}}"#));

    let sdp = r#"{"type":"offer","sdp":"v=0\r\n"}"#;
    stage.say_text(b, &format!(r#"{{"type":"offer","target":"{alice}","sdp":{sdp},"call":"x/0"}}"#));
    assert_eq!(stage.next_text(a), format!(r#"{{"type":"offer","from":"{bob}","sdp":{sdp},"call":"x/0"}}"#));

    stage.say_text(a, &format!(r#"{{"type":"answer","target":"{bob}","sdp":{sdp}}}"#));
    assert_eq!(stage.next_text(b), format!(r#"{{"type":"answer","from":"{alice}","sdp":{sdp}}}"#));

    stage.say_text(a, &format!(r#"{{"type":"candidate","target":"{bob}","candidate":{{"sdpMid":"0"}}}}"#));
    assert_eq!(
        stage.next_text(b),
        format!(r#"{{"type":"candidate","from":"{alice}","candidate":{{"sdpMid":"0"}}}}"#)
    );

    stage.say_text(a, r#"{"type":"leave"}"#);
    assert_eq!(stage.next_text(b), format!(r#"{{"type":"peer-leave","id":"{alice}"}}"#));
    assert!(stage.rest(a).is_empty() && stage.rest(b).is_empty());
    let opened = [SeatEvent::Opened(tag, alice), SeatEvent::Opened(tag, bob)];
    assert_eq!(stage.news, [opened[0], opened[1], SeatEvent::Left(tag, alice)]);
}

fn expected_reply(id: SeatId, peer: Option<SeatId>) -> String {
    let username = format!("1003600:{}.{id}", kitchen());
    let password = "password";
    let peer = peer.map_or("null".to_owned(), |peer| format!(r#""{peer}""#));
    let token = TokenKey::new([2; 32]).token(kitchen(), id, 1_000_000);
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
fn the_relay_knows_a_seat_before_its_holder_does() {
    let now = Stage::new().now;
    let mut rooms = Rooms::new(rules(), now.instant);
    rooms.connected(ConnectionId(1), "h".into(), [45, 0, 0, 1].into(), now);
    rooms.receive(ConnectionId(1), r#"{"type":"join","room":"kitchen"}"#, now, [5; 16]);
    assert!(matches!(rooms.poll_action(), Some(Action::Seat(SeatEvent::Opened(..)))));
    assert!(matches!(
        rooms.poll_action(),
        Some(Action::Send { message: ServerMessage::RespJoin { .. }, .. })
    ));
    assert!(matches!(rooms.poll_action(), Some(Action::Note(Event::Joined { resumed: false }))));
    assert!(rooms.poll_action().is_none());
}

#[test]
fn a_third_is_told_that_the_room_is_full_until_somebody_leaves() {
    let mut stage = Stage::new();
    let [alice, bob] = stage.couple();
    let third = stage.connect();
    assert_eq!(stage.join(third, "kitchen")["code"], "room-full");
    assert!(stage.rest(alice.conn).is_empty(), "nobody else hears of it");
    stage.say(alice.conn, json!({"type": "leave"}));
    let reply = stage.join(third, "kitchen");
    assert_eq!(reply["peer"], bob.id);
    assert_eq!(stage.rest(bob.conn), ["peer-leave", "new-peer"]);
}

#[test]
fn who_left_may_sit_down_again_and_a_room_left_empty_is_gone() {
    let mut stage = Stage::new();
    let [alice, bob] = stage.couple();
    for guest in [&alice, &bob] {
        stage.say(guest.conn, json!({"type": "leave"}));
    }
    assert_eq!(stage.rooms.count(), (0, 0));
    stage.heard.clear();
    let again = stage.join(alice.conn, "kitchen");
    assert_eq!(again["peer"], Value::Null);
    assert_ne!(again["id"], alice.id);
    assert!(stage.closed.is_empty());
}

#[test]
fn of_two_who_join_at_once_one_finds_the_other() {
    let mut stage = Stage::new();
    let (a, b) = (stage.connect(), stage.connect());
    stage.rooms.receive(a, r#"{"type":"join","room":"kitchen"}"#, stage.now, [1; 16]);
    stage.rooms.receive(b, r#"{"type":"join","room":"kitchen"}"#, stage.now, [2; 16]);
    stage.drain();
    let (first, second) = (stage.next(a), stage.next(b));
    assert_eq!((&first["peer"], &second["peer"]), (&Value::Null, &first["id"]));
    assert_eq!(stage.next(a), json!({"type": "new-peer", "id": second["id"]}));
}

#[test]
fn nothing_crosses_rooms() {
    let mut stage = Stage::new();
    let [alice, bob] = stage.couple();
    let stranger = stage.connect();
    stage.join(stranger, "cellar");
    let own = stage.join(stranger, "kitchen");
    assert_eq!(own["code"], "already-joined");
    for target in [&bob.id, &json!("nonsense"), &json!("")] {
        stage.say(stranger, json!({"type": "offer", "target": target, "sdp": {}}));
        assert_eq!(stage.code(stranger), "no-such-peer");
    }
    stage.say(alice.conn, json!({"type": "candidate", "target": alice.id, "candidate": null}));
    assert_eq!(stage.code(alice.conn), "no-such-peer", "oneself is not the other");
    assert!(stage.rest(bob.conn).is_empty());
}

#[test]
fn without_a_seat_there_is_nothing_to_say() {
    let mut stage = Stage::new();
    let conn = stage.connect();
    for frame in [
        json!({"type": "leave"}),
        json!({"type": "ice-servers"}),
        json!({"type": "offer", "target": "x", "sdp": {}}),
    ] {
        stage.say(conn, frame);
        assert_eq!(stage.code(conn), "not-joined");
    }
    assert_eq!(stage.join(conn, "..")["code"], "bad-room");
    stage.say(conn, json!({"type": "ping"}));
    assert_eq!(stage.next_text(conn), r#"{"type":"pong"}"#);
}

#[test]
fn opening_a_room_may_take_a_key_but_joining_somebody_does_not() {
    let host_keys = HostKeys::new(&["north", "south"]);
    let mut stage = Stage::with(Rules { host_keys, ..rules() });
    let (host, guest) = (stage.connect(), stage.connect());
    assert_eq!(stage.join(guest, "kitchen")["code"], "key-required");
    stage.say(guest, json!({"type": "join", "room": "kitchen", "key": "north "}));
    assert_eq!(stage.code(guest), "key-required");
    assert_eq!(stage.rooms.count(), (0, 0));
    stage.say(host, json!({"type": "join", "room": "kitchen", "key": "south"}));
    assert_eq!(stage.next(host)["type"], "resp-join");
    assert_eq!(stage.join(guest, "kitchen")["type"], "resp-join");
}

#[test]
fn a_look_does_not_count_the_seat_whose_token_it_shows() {
    let mut stage = Stage::new();
    let [alice, bob] = stage.couple();
    stage.drop(bob.conn);
    let back = stage.connect();
    let mut seats = |resume: &Value| {
        stage.say(back, json!({"type": "look", "room": "kitchen", "resume": resume}));
        stage.next(back)["seats"].clone()
    };
    assert_eq!(
        (seats(&bob.token), seats(&json!(null)), seats(&json!("forged"))),
        (json!(1), json!(2), json!(2))
    );
    stage.say(alice.conn, json!({"type": "leave"}));
    stage.pass(seconds(30));
    stage.say(back, json!({"type": "look", "room": "kitchen", "resume": bob.token}));
    assert_eq!(stage.next(back)["seats"], 0);
}

#[test]
fn fresh_credentials_come_when_asked_for_and_before_the_old_run_out() {
    let mut stage = Stage::new();
    let [alice, _] = stage.couple();
    stage.say(alice.conn, json!({"type": "ice-servers"}));
    let asked = stage.next(alice.conn);
    assert_eq!((&asked["type"], &asked["ttl"]), (&json!("ice-servers"), &json!(3600)));
    stage.pass(seconds(2699));
    assert!(stage.rest(alice.conn).is_empty());
    stage.pass(seconds(1));
    let pushed = stage.next(alice.conn);
    let username = pushed["iceServers"][1]["username"].as_str().unwrap();
    assert!(username.starts_with("1006300:"), "{username}");
    stage.pass(seconds(2700));
    assert_eq!(stage.rest(alice.conn), ["ice-servers"]);
}

#[test]
fn credentials_that_a_jump_of_the_wall_clock_has_ended_are_replaced_with_the_next_ping() {
    let mut stage = Stage::new();
    let [alice, _] = stage.couple();
    let newcomer = stage.connect();
    for (jump, heard) in [(3599, &["pong"][..]), (1, &["pong", "ice-servers"]), (0, &["pong"])] {
        stage.now.unix += jump;
        for (conn, heard) in [(alice.conn, heard), (newcomer, &heard[..1])] {
            stage.say(conn, json!({"type": "ping"}));
            assert_eq!(stage.rest(conn), heard, "after {jump} s");
        }
    }
    stage.now.unix -= 24 * 3600;
    stage.say(alice.conn, json!({"type": "ping"}));
    assert_eq!(stage.rest(alice.conn), ["pong"], "who has a day more needs none");
}

#[test]
fn a_box_about_to_stop_seats_nobody_but_who_comes_back() {
    let mut stage = Stage::new();
    let [alice, bob] = stage.couple();
    stage.rooms.drain();
    stage.drain();
    assert_eq!(stage.code(alice.conn), "shutting-down");
    assert_eq!(stage.code(bob.conn), "shutting-down");
    let newcomer = stage.connect();
    assert_eq!(stage.join(newcomer, "cellar")["code"], "shutting-down");
    stage.drop(bob.conn);
    let back = stage.connect();
    assert_eq!(stage.resume(back, "kitchen", &bob.token)["resumed"], true);
}

#[test]
fn a_look_through_the_door_says_how_many_are_inside() {
    let mut stage = Stage::new();
    let passer_by = stage.connect();
    let look = json!({"type": "look", "room": "kitchen"});
    stage.say(passer_by, look.clone());
    assert_eq!(stage.next_text(passer_by), r#"{"type":"room","room":"kitchen","seats":0}"#);
    let [_, bob] = stage.couple();
    stage.say(passer_by, look.clone());
    assert_eq!(stage.next(passer_by)["seats"], 2);
    stage.drop(bob.conn);
    stage.say(passer_by, look.clone());
    assert_eq!(stage.next(passer_by)["seats"], 2, "who is away still has the seat");
    stage.pass(seconds(31));
    stage.say(passer_by, look);
    assert_eq!(stage.next(passer_by)["seats"], 1);
    stage.say(passer_by, json!({"type": "look", "room": ".."}));
    assert_eq!(stage.code(passer_by), "bad-room");
}

#[test]
fn who_sits_here_hears_of_a_further_listener_at_once_and_who_only_looks_in_does_not() {
    let mut stage = Stage::new();
    let [alice, bob] = stage.couple();
    let passer_by = stage.connect();
    let with_tls = IceUrls { turns: vec![443], ..stage.rooms.rules.ice_urls.clone() };
    stage.rooms.take_ice_urls(with_tls, stage.now);
    stage.drain();
    for guest in [alice.conn, bob.conn] {
        let urls = stage.next(guest)["iceServers"][1]["urls"].to_string();
        assert!(urls.contains("turns:box.local:443?transport=tcp"), "{urls}");
    }
    assert!(stage.rest(passer_by).is_empty());
}
