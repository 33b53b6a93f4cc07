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
fn host_keys_are_not_found_by_trying() {
    let host_keys = HostKeys::new(&[Secret::new("1234")]);
    let mut stage = Stage::with(Rules { host_keys, ..rules() });
    let conn = stage.connect();
    let mut refused = Vec::new();
    for guess in 0..12 {
        let key = format!("000{guess}");
        stage.say(conn, json!({"type": "join", "room": "kitchen", "key": key}));
        refused.push(stage.code(conn));
    }
    assert_eq!(refused[9..], ["key-required", "rate-limited", "rate-limited"]);
}

#[test]
fn rooms_are_not_found_by_looking_into_many() {
    let mut stage = Stage::new();
    let conn = stage.connect();
    for guess in 0..60 {
        stage.say(conn, json!({"type": "look", "room": format!("room-{guess}")}));
    }
    let heard = stage.rest(conn);
    let answered = heard.iter().filter(|kind| *kind == "room").count();
    assert!((9..=10).contains(&answered), "{answered}");
    // Once a second goes on for ever, and a page asks more rarely.
    let patient = stage.connect();
    for _ in 0..100 {
        stage.pass(seconds(2));
        stage.say(patient, json!({"type": "look", "room": "kitchen"}));
        assert_eq!(stage.next(patient)["type"], "room");
    }
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
