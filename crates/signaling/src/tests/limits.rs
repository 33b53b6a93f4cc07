//! What strangers and broken pages may do.

use super::*;

#[test]
fn the_tenth_bad_message_closes() {
    let mut stage = Stage::new();
    let [alice, bob] = stage.couple();
    for text in ["{", r#"{"type":"dance"}"#, "[]", "", "7", "null", r#"{"type":1}"#, "x", "{}"] {
        stage.say_text(bob.conn, text);
        assert_eq!(stage.code(bob.conn), "bad-message", "{text}");
    }
    assert!(stage.closed.is_empty());
    stage.say_text(bob.conn, "{");
    assert_eq!(stage.closed, [(bob.conn, Closing::TooManyBad)]);
    assert_eq!(stage.rest(alice.conn), ["peer-away"], "the seat is kept as for anybody who drops");
    assert_eq!(Closing::TooManyBad.code(), 1008);
}

#[test]
fn a_flood_is_refused_and_then_closed_and_nobody_else_is() {
    let mut stage = Stage::new();
    let [alice, bob] = stage.couple();
    for _ in 0..10_000 {
        stage.say_quickly(bob.conn, r#"{"type":"ping"}"#);
    }
    assert_eq!(stage.closed, [(bob.conn, Closing::Flood)]);
    let heard = stage.rest(bob.conn);
    assert!(heard.len() < 510 && heard.contains(&"error".to_owned()), "{}", heard.len());
    stage.say(alice.conn, json!({"type": "ping"}));
    assert_eq!(stage.rest(alice.conn), ["peer-away", "pong"]);
}

#[test]
fn host_keys_are_not_found_by_trying_over_new_connections() {
    let host_keys = HostKeys::new(&["right-key"]);
    let mut stage = Stage::with(Rules { host_keys, ..rules() });
    let attempt = |stage: &mut Stage, source: &str, key: &str| {
        let conn = stage.connect_from(source);
        stage.say(conn, json!({"type": "join", "room": "kitchen", "key": key}));
        stage.next(conn)["code"].as_str().unwrap_or("seated").to_owned()
    };
    let guess = |n: u32| format!("wrong-{n}");
    let refused: Vec<_> = (0..25).map(|n| attempt(&mut stage, "45.0.0.1", &guess(n))).collect();
    assert!(refused[..20].iter().all(|code| code == "key-required"), "{refused:?}");
    assert!(refused[20..].iter().all(|code| code == "rate-limited"), "{refused:?}");
    assert_eq!(attempt(&mut stage, "45.0.0.1", "right-key"), "rate-limited", "or that would tell it");
    assert_eq!(attempt(&mut stage, "45.0.0.1", &guess(3)), "key-required", "the same again costs nothing");
    stage.pass(seconds(10));
    assert_eq!(attempt(&mut stage, "45.0.0.1", &guess(26)), "key-required");
    assert_eq!(attempt(&mut stage, "45.0.0.1", &guess(27)), "rate-limited");
    assert_eq!(attempt(&mut stage, "45.0.0.2", "right-key"), "seated", "others are not concerned");
}

#[test]
fn room_names_are_not_found_by_trying_over_new_connections() {
    for kind in ["look", "join"] {
        let mut stage = Stage::new();
        let host = stage.connect_from("45.0.9.9");
        stage.join(host, "secret-250");
        let mut answers = Vec::new();
        for guess in 0..300 {
            let conn = stage.connect_from("45.0.0.1");
            stage.say(conn, json!({"type": kind, "room": format!("secret-{guess}")}));
            answers.push(stage.next(conn)["type"].as_str().unwrap().to_owned());
            stage.drop(conn);
        }
        assert!(answers[..200].iter().all(|kind| kind != "error"), "{kind}");
        assert!(answers[200..].iter().all(|kind| kind == "error"), "{kind}: the one that is there as well");
        stage.pass(seconds(30));
        let conn = stage.connect_from("45.0.0.1");
        for guess in 0..12 {
            stage.say(conn, json!({"type": "look", "room": format!("later-{guess}")}));
        }
        assert_eq!(
            stage.rest(conn).iter().filter(|kind| *kind == "room").count(),
            10,
            "one in three seconds"
        );
    }
}

#[test]
fn a_hundred_people_behind_one_address_open_their_rooms_at_once() {
    let mut stage = Stage::new();
    for person in 0..100 {
        let room = format!("desk-{person}");
        let conn = stage.connect();
        // The page looks again every five seconds until somebody presses Join.
        for _ in 0..20 {
            stage.say(conn, json!({"type": "look", "room": room}));
            assert_eq!(stage.next(conn)["type"], "room");
        }
        assert_eq!(stage.join(conn, &room)["type"], "resp-join");
        let guest = stage.connect();
        assert_eq!(stage.join(guest, &room)["type"], "resp-join");
    }
}

#[test]
fn bad_tokens_are_counted_and_a_genuine_one_is_never_refused() {
    let mut stage = Stage::new();
    let [alice, _] = stage.couple();
    let mut codes = Vec::new();
    for guess in 0..25 {
        let conn = stage.connect();
        stage.say(conn, json!({"type": "join", "room": "kitchen", "resume": format!("forged-{guess}")}));
        codes.push(stage.code(conn));
    }
    assert!(codes[..20].iter().all(|code| code == "bad-resume"), "{codes:?}");
    assert!(codes[20..].iter().all(|code| code == "rate-limited"), "{codes:?}");
    for guess in 0..500 {
        let conn = stage.connect();
        stage.say(conn, json!({"type": "look", "room": format!("room-{guess}")}));
    }
    let back = stage.connect();
    assert_eq!(stage.resume(back, "kitchen", &alice.token)["resumed"], true);
    stage.say(back, json!({"type": "leave"}));
    stage.rest(back);
    assert_eq!(stage.resume(back, "kitchen", &alice.token)["resumed"], false, "also when the seat is gone");
}

#[test]
fn frames_that_say_nothing_count_too() {
    let mut stage = Stage::new();
    let conn = stage.connect();
    for _ in 0..600 {
        stage.rooms.noticed(conn, stage.now);
    }
    stage.drain();
    assert_eq!(stage.closed, [(conn, Closing::Flood)]);
}

#[test]
fn who_takes_no_seat_and_says_nothing_is_closed() {
    let mut stage = Stage::new();
    let (silent, pinging) = (stage.connect(), stage.connect());
    stage.pass(seconds(59));
    stage.say(pinging, json!({"type": "ping"}));
    stage.pass(seconds(1));
    assert_eq!(stage.closed, [(silent, Closing::Idle)]);
    stage.join(pinging, "kitchen");
    stage.pass(seconds(600));
    assert_eq!(stage.closed.len(), 1, "who sits may be silent");
    stage.say(pinging, json!({"type": "leave"}));
    stage.pass(seconds(60));
    assert_eq!(stage.closed.len(), 2);
}

#[test]
fn nothing_is_left_when_everybody_is_gone() {
    let mut stage = Stage::new();
    for n in 0..200 {
        let conn = stage.connect();
        stage.join(conn, &format!("room-{n}"));
        stage.drop(conn);
    }
    stage.pass(seconds(30));
    assert_eq!(stage.rooms.count(), (0, 0));
    assert_eq!(stage.rooms.next_deadline(), None);
    assert_eq!(stage.rooms.deadlines.len(), 0);
    assert!(stage.rooms.connections.is_empty());
}

impl Stage {
    fn say_quickly(&mut self, conn: ConnectionId, text: &str) {
        self.rooms.receive(conn, text, self.now, [0; 16]);
        self.drain();
    }
}
