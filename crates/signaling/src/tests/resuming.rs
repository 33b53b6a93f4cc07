//! Dropping and coming back.

use super::*;
use crate::seat::SeatId;

#[test]
fn who_drops_and_returns_in_time_has_the_same_seat() {
    let mut stage = Stage::new();
    let [alice, bob] = stage.couple();
    stage.drop(bob.conn);
    assert_eq!(stage.next(alice.conn), json!({"type": "peer-away", "id": bob.id}));
    stage.pass(seconds(29));
    let back = stage.connect();
    let reply = stage.resume(back, "kitchen", &bob.token);
    assert_eq!((&reply["id"], &reply["peer"], &reply["resumed"]), (&bob.id, &alice.id, &json!(true)));
    assert_eq!(stage.next(alice.conn), json!({"type": "peer-back", "id": bob.id}));
    stage.pass(seconds(100));
    assert!(stage.rest(alice.conn).is_empty(), "the grace is over and forgotten");
    assert_eq!(stage.news.len(), 2, "for the relay nothing happened");
}

#[test]
fn a_grace_that_runs_out_frees_the_seat() {
    let mut stage = Stage::new();
    let [alice, bob] = stage.couple();
    stage.drop(bob.conn);
    assert_eq!(stage.rooms.next_deadline(), Some(stage.now.instant + seconds(30)));
    stage.pass(seconds(30));
    assert_eq!(stage.rest(alice.conn), ["peer-away", "peer-leave"]);
    assert!(matches!(stage.news[2], SeatEvent::Lapsed(..)));
    let late = stage.connect();
    let reply = stage.resume(late, "kitchen", &bob.token);
    assert_eq!((&reply["id"], &reply["resumed"]), (&bob.id, &json!(false)));
    assert!(matches!(stage.news[3], SeatEvent::Opened(..)));
    assert_eq!(stage.rest(alice.conn), ["new-peer"]);
}

#[test]
fn a_token_of_a_seat_that_is_gone_does_not_push_anybody_out() {
    let mut stage = Stage::new();
    let [_, bob] = stage.couple();
    stage.say(bob.conn, json!({"type": "leave"}));
    let third = stage.connect();
    stage.join(third, "kitchen");
    assert_eq!(stage.resume(bob.conn, "kitchen", &bob.token)["code"], "room-full");
}

#[test]
fn a_half_open_connection_gives_way() {
    let mut stage = Stage::new();
    let [alice, bob] = stage.couple();
    let back = stage.connect();
    let reply = stage.resume(back, "kitchen", &bob.token);
    assert_eq!((&reply["id"], &reply["resumed"]), (&bob.id, &json!(true)));
    assert_eq!(stage.closed, [(bob.conn, Closing::Replaced)]);
    assert_eq!(Closing::Replaced.code(), 4001);
    assert_eq!(stage.rest(alice.conn), ["peer-back"]);
    stage.drop(bob.conn);
    stage.say(bob.conn, json!({"type": "leave"}));
    assert!(stage.rest(alice.conn).is_empty(), "the old connection is nobody now");
    stage.say(alice.conn, json!({"type": "offer", "target": bob.id, "sdp": {}}));
    assert_eq!(stage.rest(back), ["offer"]);
}

#[test]
fn both_come_back_to_a_restarted_box_under_their_names() {
    let mut stage = Stage::new();
    let [alice, bob] = stage.couple();
    let mut stage = stage.restarted();
    let (b, a) = (stage.connect(), stage.connect());
    let second = stage.resume(b, "kitchen", &bob.token);
    assert_eq!((&second["id"], &second["resumed"]), (&bob.id, &json!(false)));
    let first = stage.resume(a, "kitchen", &alice.token);
    assert_eq!((&first["id"], &first["peer"]), (&alice.id, &bob.id));
    assert_eq!(stage.news.len(), 2);
}

fn rules_with_a_key() -> Rules {
    Rules { host_keys: HostKeys::new(&["sesame"]), ..rules() }
}

/// A room opened with a key, its host and a guest in it.
fn opened_with_a_key() -> (Stage, [Guest; 2]) {
    let mut stage = Stage::with(rules_with_a_key());
    let pair = [json!("sesame"), json!(null)].map(|key| {
        let conn = stage.connect();
        stage.say(conn, json!({"type": "join", "room": "kitchen", "key": key}));
        let reply = stage.next(conn);
        Guest { conn, id: reply["id"].clone(), token: reply["resume"].clone() }
    });
    stage.heard.clear();
    (stage, pair)
}

#[test]
fn after_a_restart_a_guest_may_be_the_first_one_back_in_a_room_that_took_a_key() {
    let (stage, [host, guest]) = opened_with_a_key();
    let mut stage = stage.restarted();
    stage.pass(seconds(119));
    let [g, h, stranger] = [(); 3].map(|()| stage.connect());
    assert_eq!(stage.join(stranger, "kitchen")["code"], "key-required", "a token it takes");
    assert_eq!(stage.resume(g, "kitchen", &guest.token)["id"], guest.id);
    assert_eq!(stage.resume(h, "kitchen", &host.token)["peer"], guest.id);
}

#[test]
fn a_guest_does_not_open_a_room_long_after_the_start_of_a_box_or_of_its_own_seat() {
    let (mut stage, [host, guest]) = opened_with_a_key();
    stage.pass(seconds(120));
    for gone in [&host, &guest] {
        stage.say(gone.conn, json!({"type": "leave"}));
    }
    let back = stage.connect();
    assert_eq!(stage.resume(back, "kitchen", &guest.token)["code"], "key-required", "the host has left");
    stage.pass(seconds(12 * 60 * 60));
    let mut stage = stage.restarted();
    let back = stage.connect();
    assert_eq!(stage.resume(back, "kitchen", &guest.token)["code"], "key-required", "that was yesterday");
    stage.say(back, json!({"type": "join", "room": "kitchen", "resume": host.token, "key": "sesame"}));
    assert_eq!(stage.next(back)["id"], host.id, "with the key it is opened all the same");
}

#[test]
fn what_a_guest_reopens_makes_its_token_no_younger_and_a_token_of_tomorrow_opens_nothing() {
    let (mut stage, [_, guest]) = opened_with_a_key();
    let mut token = guest.token;
    for _ in 0..2 {
        stage.pass(seconds(5 * 60 * 60));
        stage = stage.restarted();
        let back = stage.connect();
        token = stage.resume(back, "kitchen", &token)["resume"].clone();
        assert!(token.is_string(), "within half a day");
    }
    stage.pass(seconds(2 * 60 * 60));
    stage = stage.restarted();
    let back = stage.connect();
    assert_eq!(stage.resume(back, "kitchen", &token)["code"], "key-required");
    stage.now.unix -= 36 * 60 * 60;
    assert_eq!(stage.resume(back, "kitchen", &token)["code"], "key-required", "a clock that was ahead");
}

#[test]
fn forged_tokens_and_those_of_other_rooms_are_refused() {
    let mut stage = Stage::new();
    let [alice, _] = stage.couple();
    stage.drop(alice.conn);
    let conn = stage.connect();
    assert_eq!(stage.resume(conn, "cellar", &alice.token)["code"], "bad-resume");
    let flipped = alice.token.as_str().unwrap().replacen(|_: char| true, "_", 1);
    for forged in [flipped.as_str(), "", "x"] {
        assert_eq!(stage.resume(conn, "kitchen", &json!(forged))["code"], "bad-resume", "{forged}");
    }
    let reply = stage.resume(conn, "kitchen", &alice.token);
    assert_eq!(reply["resumed"], true, "a refusal costs nothing");
}

#[test]
fn frames_for_somebody_away_wait_in_order() {
    let mut stage = Stage::new();
    let [alice, bob] = stage.couple();
    stage.drop(bob.conn);
    stage.say(alice.conn, json!({"type": "offer", "target": bob.id, "sdp": {}, "call": "c"}));
    for n in 0..3 {
        let frame = json!({"type": "candidate", "target": bob.id, "candidate": {"n": n}});
        stage.say(alice.conn, frame);
    }
    let back = stage.connect();
    assert_eq!(stage.resume(back, "kitchen", &bob.token)["type"], "resp-join");
    let offer = json!({"type": "offer", "from": alice.id, "sdp": {}, "call": "c"});
    assert_eq!(stage.next(back), offer);
    for n in 0..3 {
        assert_eq!(stage.next(back)["candidate"]["n"], n);
    }
    assert!(stage.rest(back).is_empty());
}

#[test]
fn what_waits_is_bounded_and_the_sender_hears_of_it() {
    let mut stage = Stage::new();
    let [alice, bob] = stage.couple();
    stage.drop(bob.conn);
    let big = json!({"type": "offer", "target": bob.id, "sdp": {"sdp": "x".repeat(60_000)}});
    for _ in 0..2 {
        stage.say(alice.conn, big.clone());
    }
    stage.rest(alice.conn);
    stage.say(alice.conn, big);
    assert_eq!(stage.code(alice.conn), "rate-limited");
    let small = json!({"type": "candidate", "target": bob.id, "candidate": null});
    for _ in 0..70 {
        stage.say(alice.conn, small.clone());
    }
    assert_eq!(stage.rest(alice.conn).len(), 8, "64 frames wait at most");
    let back = stage.connect();
    stage.resume(back, "kitchen", &bob.token);
    assert_eq!(stage.rest(back).len(), 64);
    assert!(stage.rooms.waiting_bytes.is_empty());
}

#[test]
fn what_somebody_said_before_leaving_is_not_heard_after() {
    let mut stage = Stage::new();
    let [alice, bob] = stage.couple();
    stage.drop(bob.conn);
    stage.say(alice.conn, json!({"type": "offer", "target": bob.id, "sdp": {}}));
    stage.say(alice.conn, json!({"type": "leave"}));
    let third = stage.connect();
    let reply = stage.join(third, "kitchen");
    assert_eq!(reply["peer"], bob.id);
    assert_eq!(stage.next(third), json!({"type": "peer-away", "id": bob.id}));
    let back = stage.connect();
    assert_eq!(stage.resume(back, "kitchen", &bob.token)["peer"], reply["id"]);
    assert!(stage.rest(back).is_empty());
    assert!(stage.rooms.waiting_bytes.is_empty());
}

#[test]
fn both_away_and_one_back_sees_that_the_other_is_away() {
    let mut stage = Stage::new();
    let [alice, bob] = stage.couple();
    stage.drop(alice.conn);
    stage.drop(bob.conn);
    let back = stage.connect();
    assert_eq!(stage.resume(back, "kitchen", &alice.token)["peer"], bob.id);
    assert_eq!(stage.rest(back), ["peer-away"]);
    stage.pass(seconds(30));
    assert_eq!(stage.rest(back), ["peer-leave"]);
}

#[test]
fn a_closed_page_is_told_at_once_and_its_seat_kept_for_a_reload() {
    let mut stage = Stage::new();
    let [alice, bob] = stage.couple();
    stage.close_page(bob.conn);
    assert_eq!(stage.next(alice.conn), json!({"type": "peer-away", "id": bob.id, "closing": true}));
    stage.pass(seconds(14));
    let back = stage.connect();
    let reply = stage.resume(back, "kitchen", &bob.token);
    assert_eq!((&reply["id"], &reply["resumed"]), (&bob.id, &json!(true)));
    assert_eq!(stage.rest(alice.conn), ["peer-back"]);
    stage.close_page(back);
    stage.pass(seconds(15));
    assert_eq!(stage.rest(alice.conn), ["peer-away", "peer-leave"]);
    assert!(matches!(stage.news.last(), Some(SeatEvent::Lapsed(..))));
}

#[test]
fn a_seat_is_kept_no_longer_for_a_closed_page_than_for_one_that_dropped() {
    let mut stage = Stage::with(Rules { room_grace: seconds(5), ..rules() });
    let [alice, bob] = stage.couple();
    stage.close_page(bob.conn);
    stage.pass(seconds(5));
    assert_eq!(stage.rest(alice.conn), ["peer-away", "peer-leave"]);
}

#[test]
fn a_page_says_by_its_token_that_it_was_closed() {
    let mut stage = Stage::new();
    let [alice, bob] = stage.couple();
    // While its socket still looks open,
    assert_eq!(stage.closed_by_token(&bob.token), Ok(()));
    assert_eq!(stage.closed, [(bob.conn, Closing::PageClosed)]);
    assert_eq!(stage.next(alice.conn), json!({"type": "peer-away", "id": bob.id, "closing": true}));
    // twice, which changes nothing,
    assert_eq!(stage.closed_by_token(&bob.token), Ok(()));
    assert!(stage.rest(alice.conn).is_empty());
    stage.pass(seconds(15));
    assert_eq!(stage.rest(alice.conn), ["peer-leave"]);
    // and when the seat is gone.
    assert_eq!(stage.closed_by_token(&bob.token), Ok(()));
    assert_eq!(stage.closed_by_token(&json!("forged")), Err(Refusal::BadResume));
    assert!(stage.rest(alice.conn).is_empty());
}

#[test]
fn a_page_that_dropped_before_it_said_that_it_was_closed_is_not_kept_longer() {
    let mut stage = Stage::new();
    let [alice, bob] = stage.couple();
    stage.drop(bob.conn);
    stage.pass(seconds(1));
    assert_eq!(stage.closed_by_token(&bob.token), Ok(()));
    assert_eq!(stage.next(alice.conn), json!({"type": "peer-away", "id": bob.id}));
    assert_eq!(stage.next(alice.conn), json!({"type": "peer-away", "id": bob.id, "closing": true}));
    stage.pass(seconds(15));
    assert_eq!(stage.rest(alice.conn), ["peer-leave"]);
}

#[test]
fn the_last_word_of_a_page_before_a_reload_does_not_close_the_one_after_it() {
    let mut stage = Stage::new();
    let [alice, bob] = stage.couple();
    stage.pass(seconds(60));
    let reloaded = stage.connect();
    let token = stage.resume(reloaded, "kitchen", &bob.token)["resume"].clone();
    stage.heard.clear();
    stage.closed.clear();
    assert_eq!(stage.closed_by_token(&bob.token), Ok(()));
    assert!(stage.rest(alice.conn).is_empty() && stage.closed.is_empty());
    assert_eq!(stage.closed_by_token(&token), Ok(()));
    assert_eq!(stage.rest(alice.conn), ["peer-away"]);
}

#[test]
fn the_last_word_of_a_page_before_a_reload_does_not_close_a_room_that_a_token_reopened() {
    let (stage, [_, guest]) = opened_with_a_key();
    let mut stage = stage.restarted();
    stage.pass(seconds(60));
    let reloaded = stage.connect();
    assert_eq!(stage.resume(reloaded, "kitchen", &guest.token)["resume"], guest.token, "no younger");
    assert_eq!(stage.closed_by_token(&guest.token), Ok(()));
    assert!(stage.closed.is_empty());
    stage.pass(seconds(3));
    assert_eq!(stage.closed_by_token(&guest.token), Ok(()));
    assert_eq!(stage.closed.len(), 1);
}

#[test]
fn one_source_does_not_take_all_that_may_wait_for_the_absent() {
    let mut stage = Stage::new();
    let big = |target: &Value| json!({"type": "offer", "target": target, "sdp": {"sdp": "x".repeat(60_000)}});
    for n in 0..40 {
        let pair = stage.pair_from("45.0.6.6", &format!("room-{n}"));
        stage.drop(pair[1].conn);
        for _ in 0..2 {
            stage.say(pair[0].conn, big(&pair[1].id));
        }
    }
    let eighth = 512 * 1024;
    assert!((eighth - 64 * 1024..=eighth).contains(&stage.rooms.waiting_bytes.held()));
    let [alice, bob] = stage.pair_from("45.0.0.1", "kitchen");
    stage.drop(bob.conn);
    stage.heard.clear();
    stage.say(alice.conn, big(&bob.id));
    assert!(stage.rest(alice.conn).is_empty(), "it waits");
    let back = stage.connect();
    assert_eq!(stage.resume(back, "kitchen", &bob.token)["resumed"], true);
    assert_eq!(stage.rest(back), ["offer"]);
}

#[test]
fn one_source_does_not_take_all_the_seats_that_are_kept() {
    let mut stage = Stage::new();
    // Two addresses in each room of another's: joining somebody is no guess.
    for n in 0..1500 {
        let room = format!("room-{n}");
        let opener = stage.connect_from(&format!("45.1.{}.{}", n / 250, n % 250));
        stage.join(opener, &room);
        let conn = stage.connect_from("45.0.6.6");
        stage.join(conn, &room);
        stage.drop(conn);
    }
    assert_eq!(stage.rooms.away.held(), 1250);
    let [alice, bob] = stage.pair_from("45.0.0.1", "kitchen");
    stage.drop(bob.conn);
    assert_eq!(stage.rest(alice.conn), ["peer-away"], "forgiven");
}

#[test]
fn a_token_from_before_names_had_one_spelling_opens_its_room_for_half_a_day() {
    let mut stage = Stage::with(rules_with_a_key());
    let seat = SeatId::new([9; 16]);
    let earlier = stage.rooms.rules.tag_key.tag("Kitchen");
    let token = json!(stage.rooms.rules.token_key.token(earlier, seat, stage.now.unix));
    let conn = stage.connect();
    assert_eq!(stage.resume(conn, "Cellar", &token)["code"], "bad-resume");
    let reply = stage.resume(conn, "Kitchen", &token);
    assert_eq!((&reply["id"], &reply["room"]), (&json!(seat.to_string()), &json!("kitchen")));
    stage.say(conn, json!({"type": "leave"}));
    stage.pass(seconds(12 * 60 * 60 - 1));
    let conn = stage.connect();
    assert_eq!(
        stage.resume(conn, "Kitchen", &token)["code"],
        "key-required",
        "genuine, and the room is gone"
    );
    stage.pass(seconds(1));
    let conn = stage.connect();
    assert_eq!(stage.resume(conn, "Kitchen", &token)["code"], "bad-resume");
}

impl Stage {
    fn close_page(&mut self, conn: ConnectionId) {
        self.rooms.dropped(conn, true, self.now);
        self.drain();
    }

    fn closed_by_token(&mut self, token: &Value) -> Result<(), Refusal> {
        let outcome = self.rooms.page_closed(token.as_str().unwrap(), [45, 0, 0, 1].into(), self.now);
        self.drain();
        outcome
    }

    fn pair_from(&mut self, source: &str, room: &str) -> [Guest; 2] {
        [(); 2].map(|()| {
            let conn = self.connect_from(source);
            let reply = self.join(conn, room);
            self.heard.clear();
            Guest { conn, id: reply["id"].clone(), token: reply["resume"].clone() }
        })
    }
}
