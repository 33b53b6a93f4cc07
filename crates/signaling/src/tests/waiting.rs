//! Waiting for a seat: knocks, admission, order, limits.

use super::*;

impl Harness {
    /// Joins the kitchen with `wait`; returns the connection and the reply.
    fn join_waiting(&mut self, source: &str, more: Value) -> (ConnectionId, Value) {
        let conn = self.connect_from(source);
        let reply = self.wait(conn, more);
        (conn, reply)
    }

    fn wait(&mut self, conn: ConnectionId, more: Value) -> Value {
        let mut join = json!({"type": "join", "room": "kitchen", "wait": true});
        join.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.send(conn, join);
        self.next(conn)
    }

    /// A further client of another source who waits for the kitchen, and the ID of the knock that `seated` gets.
    fn knock(&mut self, n: u8, seated: ConnectionId) -> (ConnectionId, Value) {
        let (conn, reply) = self.join_waiting(&format!("45.0.1.{n}"), json!({}));
        assert_eq!(reply["type"], "waiting", "{reply}");
        let frame = self.next(seated);
        assert_eq!(frame["type"], "knock", "{frame}");
        (conn, frame["id"].clone())
    }

    fn answer(&mut self, conn: ConnectionId, kind: &str, id: &Value) {
        self.send(conn, json!({"type": kind, "id": id}));
    }

    fn waits_ended(&self) -> Vec<WaitOutcome> {
        let outcome = |event: &Event| match event {
            Event::WaitEnded(outcome) => Some(*outcome),
            Event::Joined { .. }
            | Event::JoinRefused(_)
            | Event::CallConnected { .. }
            | Event::CallEnded(_) => None,
        };
        self.events.iter().filter_map(outcome).collect()
    }
}

fn position(n: u64) -> Value {
    json!({"type": "waiting", "position": n})
}

fn gone(id: &Value) -> Value {
    json!({"type": "knock", "id": id, "gone": true})
}

fn with_a_key() -> Harness {
    Harness::with(RoomsConfig { host_keys: HostKeys::new(&["sesame"]), ..config() })
}

#[test]
fn a_third_client_waits_and_is_admitted_when_a_seat_is_free() {
    let mut harness = Harness::new();
    let [alice, bob] = harness.pair();
    let (carol, reply) = harness.join_waiting("45.0.0.9", json!({"name": "Carol "}));
    assert_eq!(reply, position(1));
    let knock = harness.next(alice.conn);
    let id = knock["id"].clone();
    assert_eq!(knock, json!({"type": "knock", "id": id, "name": "Carol"}));
    assert_eq!(harness.next(bob.conn), knock);
    harness.answer(alice.conn, "admit", &id);
    assert_eq!(harness.code(alice.conn), "room-full");

    harness.send(bob.conn, json!({"type": "leave"}));
    assert_eq!(harness.unread(alice.conn), ["peer-leave"]);
    assert!(harness.unread(carol).is_empty(), "somebody in the room decides");
    harness.answer(alice.conn, "admit", &id);
    let seat = harness.next(carol);
    assert_eq!((&seat["type"], &seat["id"], &seat["peer"]), (&json!("resp-join"), &id, &alice.id));
    assert_eq!(harness.next(alice.conn), gone(&id));
    assert_eq!(harness.next(alice.conn), json!({"type": "new-peer", "id": id, "name": "Carol"}));
    assert_eq!(harness.waits_ended(), [WaitOutcome::Seated]);
    harness.send(carol, json!({"type": "offer", "target": alice.id, "sdp": {}}));
    assert_eq!(harness.unread(alice.conn), ["offer"]);
    let back = harness.connect();
    assert_eq!(harness.resume(back, "kitchen", &seat["resume"])["id"], id, "a seat like any other");
}

#[test]
fn a_declined_client_may_try_again() {
    let mut harness = Harness::new();
    let [alice, bob] = harness.pair();
    let (carol, id) = harness.knock(1, alice.conn);
    let (dave, _) = harness.knock(2, alice.conn);
    harness.received.clear();
    harness.answer(bob.conn, "decline", &id);
    assert_eq!(harness.code(carol), "declined");
    assert_eq!(harness.next(dave), position(1));
    assert_eq!(harness.next(alice.conn), gone(&id));
    assert_eq!(harness.next(bob.conn), gone(&id));
    harness.answer(bob.conn, "admit", &id);
    assert_eq!(harness.code(bob.conn), "no-such-peer");
    assert_eq!(harness.waits_ended(), [WaitOutcome::Declined]);
    assert_eq!(harness.wait(carol, json!({})), position(2));
    assert_eq!(harness.join(carol, "cellar")["type"], "resp-join", "another room is no problem");
    assert_eq!(harness.waits_ended(), [WaitOutcome::Declined, WaitOutcome::Gone]);
}

#[test]
fn a_client_that_does_not_wait_gets_the_errors_as_before() {
    let mut harness = Harness::new();
    harness.pair();
    for wait in [json!(false), Value::Null] {
        let (_, reply) = harness.join_waiting("45.0.0.9", json!({"wait": wait}));
        assert_eq!(reply["code"], "room-full");
    }
    let mut harness = with_a_key();
    let conn = harness.connect();
    assert_eq!(harness.join(conn, "kitchen")["code"], "key-required");
    assert_eq!(
        harness.wait(conn, json!({"key": "wrong"}))["code"],
        "key-required",
        "a wrong key is an error"
    );
}

#[test]
fn guests_wait_for_the_host_and_are_seated_in_order() {
    let mut harness = with_a_key();
    let guests: Vec<_> = (1..4_u8)
        .map(|n| harness.join_waiting(&format!("45.0.1.{n}"), json!({"name": format!("Guest {n}")})))
        .collect();
    let positions: Vec<_> = guests.iter().map(|(_, reply)| reply.clone()).collect();
    assert_eq!(positions, [position(1), position(2), position(3)]);
    assert_eq!(harness.rooms.count(), (0, 0), "a room that only has waiting people is not open");
    let [first, second, third] = [0, 1, 2].map(|n| guests[n].0);

    let (host, reply) = harness.join_waiting("45.0.0.9", json!({"key": "sesame"}));
    assert_eq!((&reply["type"], &reply["peer"]), (&json!("resp-join"), &Value::Null));
    let seat = harness.next(first);
    assert_eq!((&seat["type"], &seat["peer"]), (&json!("resp-join"), &reply["id"]));
    assert_eq!(harness.next(host), json!({"type": "new-peer", "id": seat["id"], "name": "Guest 1"}));
    assert_eq!(harness.unread(host), ["knock", "knock"]);
    assert_eq!(harness.unread(first), ["knock", "knock"], "who has a seat hears of those who wait");
    assert_eq!((harness.next(second), harness.next(third)), (position(1), position(2)));

    harness.send(first, json!({"type": "leave"}));
    assert_eq!(harness.next(second)["type"], "resp-join", "in a host's room nobody needs to admit");
    assert_eq!(harness.next(third), position(1));
    harness.received.clear();
    harness.send(host, json!({"type": "leave"}));
    assert_eq!(harness.next(third)["type"], "resp-join");
    assert_eq!(harness.waits_ended(), [WaitOutcome::Seated; 3]);
}

#[test]
fn a_guest_waits_again_when_the_host_has_left() {
    let mut harness = with_a_key();
    let host = harness.connect();
    harness.send(host, json!({"type": "join", "room": "kitchen", "key": "sesame"}));
    harness.send(host, json!({"type": "leave"}));
    let (guest, reply) = harness.join_waiting("45.0.0.2", json!({}));
    assert_eq!(reply, position(1));
    assert_eq!(harness.wait(guest, json!({"key": "wrong"}))["code"], "key-required");
    assert_eq!(harness.wait(guest, json!({})), position(1), "a wrong key costs no place");
    assert_eq!(harness.wait(guest, json!({"key": "sesame"}))["type"], "resp-join", "the guest has the key");
}

#[test]
fn a_room_that_a_token_reopened_seats_nobody_by_itself() {
    let mut harness = with_a_key();
    let host = harness.connect();
    harness.send(host, json!({"type": "join", "room": "kitchen", "key": "sesame"}));
    let token = harness.next(host)["resume"].clone();
    let mut harness = harness.restarted();
    let (early, _) = harness.join_waiting("45.0.0.2", json!({}));
    let back = harness.connect();
    assert_eq!(harness.resume(back, "kitchen", &token)["type"], "resp-join");
    assert!(harness.unread(early).is_empty(), "the other participant may be about to return");
    let id = harness.next(back)["id"].clone();
    harness.send(back, json!({"type": "leave"}));
    assert!(harness.unread(early).is_empty(), "the empty room needs the host again");
    assert_eq!(harness.resume(back, "kitchen", &token)["type"], "resp-join");
    harness.answer(back, "admit", &id);
    assert_eq!(harness.unread(early), ["resp-join"]);
}

#[test]
fn without_host_keys_nobody_waits_for_a_host() {
    let mut harness = with_a_key();
    let (guest, _) = harness.join_waiting("45.0.0.2", json!({}));
    harness.rooms.set_host_keys(HostKeys::new::<&str>(&[]), harness.now);
    harness.collect_actions();
    assert_eq!(harness.unread(guest), ["resp-join"]);
}

#[test]
fn the_first_who_waits_takes_over_an_empty_room() {
    let mut harness = Harness::new();
    let [alice, bob] = harness.pair();
    let (carol, _) = harness.knock(1, alice.conn);
    let (dave, id) = harness.knock(2, alice.conn);
    harness.send(alice.conn, json!({"type": "leave"}));
    harness.disconnect(bob.conn);
    assert!(harness.unread(carol).is_empty(), "a seat is kept for a disconnected participant");
    harness.advance(seconds(30));
    let seat = harness.next(carol);
    assert_eq!((&seat["type"], &seat["peer"]), (&json!("resp-join"), &Value::Null));
    assert_eq!(harness.next(carol), json!({"type": "knock", "id": id}));
    assert_eq!(harness.unread(dave), ["waiting"], "the next one knocks");
    assert_eq!(harness.unread(carol), [] as [&str; 0]);
    harness.answer(carol, "admit", &id);
    assert_eq!(harness.unread(dave), ["resp-join"]);
}

#[test]
fn a_plain_join_takes_a_free_seat_and_hears_the_knocks() {
    let mut harness = Harness::new();
    let [alice, bob] = harness.pair();
    let (_, id) = harness.knock(1, alice.conn);
    harness.send(bob.conn, json!({"type": "leave"}));
    let dave = harness.connect();
    assert_eq!(harness.join(dave, "kitchen")["peer"], alice.id);
    assert_eq!(harness.next(dave), json!({"type": "knock", "id": id}));
    let back = harness.connect();
    harness.disconnect(alice.conn);
    harness.resume(back, "kitchen", &alice.token);
    assert_eq!(harness.next(back), json!({"type": "knock", "id": id}), "a resume, too");
}

#[test]
fn a_client_that_waits_gets_and_sends_nothing_of_a_call() {
    let mut harness = Harness::new();
    let [alice, bob] = harness.pair();
    let (carol, id) = harness.knock(1, alice.conn);
    let (_, other) = harness.knock(2, alice.conn);
    harness.received.clear();
    for frame in [
        json!({"type": "offer", "target": alice.id, "sdp": {}}),
        json!({"type": "candidate", "target": alice.id, "candidate": null}),
        json!({"type": "ice-servers"}),
        json!({"type": "report"}),
        json!({"type": "transfer"}),
        json!({"type": "admit", "id": other}),
        json!({"type": "decline", "id": other}),
    ] {
        harness.send(carol, frame.clone());
        assert_eq!(harness.code(carol), "not-joined", "{frame}");
    }
    harness.send(bob.conn, json!({"type": "offer", "target": id, "sdp": {}}));
    assert_eq!(harness.code(bob.conn), "no-such-peer");
    let urls = IceUrls { stun: Some(3479), ..IceUrls::default() };
    harness.rooms.set_ice_urls(urls, harness.now);
    harness.collect_actions();
    assert!(harness.unread(carol).is_empty());
    harness.send(carol, json!({"type": "ping"}));
    assert_eq!(harness.unread(carol), ["pong"]);
    harness.send(carol, json!({"type": "look", "room": "kitchen", "resume": bob.token}));
    let status = harness.next(carol);
    assert_eq!((&status["seats"], status.get("name")), (&json!(1), None));
}

#[test]
fn who_stops_waiting_is_gone_at_once() {
    let mut harness = Harness::new();
    let [alice, _] = harness.pair();
    let stops: [fn(&mut Harness, ConnectionId); 2] = [
        |harness, conn| harness.send(conn, json!({"type": "leave"})),
        |harness, conn| harness.disconnect(conn),
    ];
    for (n, stop) in (1..).zip(stops) {
        let (conn, id) = harness.knock(n, alice.conn);
        stop(&mut harness, conn);
        assert_eq!(harness.next(alice.conn), gone(&id));
    }
    assert_eq!(harness.waits_ended(), [WaitOutcome::Gone; 2]);
    harness.advance(seconds(61));
    assert_eq!(harness.closed.last().map(|(_, reason)| *reason), Some(CloseReason::Idle));
}

#[test]
fn a_page_in_the_background_may_wait_in_silence() {
    let mut harness = Harness::new();
    let [alice, bob] = harness.pair();
    let (conn, id) = harness.knock(1, alice.conn);
    harness.advance(seconds(600));
    assert_eq!(harness.closed, []);
    harness.send(bob.conn, json!({"type": "leave"}));
    harness.send(alice.conn, json!({"type": "admit", "id": id}));
    assert_eq!(harness.unread(conn), ["resp-join"]);
}

#[test]
fn five_of_a_source_and_twenty_in_all_wait_for_a_room() {
    let mut harness = Harness::new();
    harness.pair();
    let codes = |harness: &mut Harness, sources: &[&str], n: usize| -> Vec<String> {
        let one = |n: usize| harness.join_waiting(sources[n % sources.len()], json!({})).1;
        let replies: Vec<_> = (0..n).map(one).collect();
        replies.iter().map(|reply| reply["code"].as_str().unwrap_or("waiting").to_owned()).collect()
    };
    let first = codes(&mut harness, &["45.0.1.1"], 6);
    assert_eq!((first[4].as_str(), first[5].as_str()), ("waiting", "try-later"), "{first:?}");
    let site = codes(&mut harness, &["2a00:0:0:100::1", "2a00:0:0:200::1"], 6);
    assert_eq!((site[4].as_str(), site[5].as_str()), ("waiting", "try-later"), "a /48 is one source");
    let rest = codes(&mut harness, &["45.0.1.2", "45.0.1.3", "45.0.1.4"], 11);
    assert!(rest[..10].iter().all(|code| code == "waiting"), "{rest:?}");
    assert_eq!(rest[10], "try-later", "twenty in all");
    harness.pair_from("45.0.0.9", "cellar");
    let conn = harness.connect_from("45.0.1.1");
    harness.send(conn, json!({"type": "join", "room": "cellar", "wait": true}));
    assert_eq!(harness.next(conn), position(1), "another room has its own list");
}

#[test]
fn knocks_are_limited_per_source_and_per_room() {
    let mut harness = Harness::new();
    harness.pair();
    let knock = |harness: &mut Harness, source: &str| {
        let (conn, reply) = harness.join_waiting(source, json!({}));
        harness.disconnect(conn);
        reply["code"].as_str().unwrap_or("waiting").to_owned()
    };
    let codes: Vec<_> = (0..13).map(|_| knock(&mut harness, "45.0.1.1")).collect();
    assert!(codes[..12].iter().all(|code| code == "waiting"), "{codes:?}");
    assert_eq!(codes[12], "rate-limited");
    let site: Vec<_> = (0..20).map(|n| knock(&mut harness, &format!("2a00:0:0:{n:x}00::1"))).collect();
    assert_eq!(site.iter().filter(|code| *code == "waiting").count(), 12, "a /48 is one source");
    harness.advance(seconds(30));
    assert_eq!(["45.0.1.1"; 2].map(|source| knock(&mut harness, source)), ["waiting", "rate-limited"]);

    let crowd: Vec<_> = (0..70).map(|n| knock(&mut harness, &format!("45.0.2.{n}"))).collect();
    assert_eq!(crowd.iter().filter(|code| *code == "waiting").count(), 59, "of sixty one is used");
    assert_eq!(crowd[69], "try-later");
}

#[test]
fn a_repeated_join_keeps_the_place_and_knocks_once() {
    let mut harness = Harness::new();
    let [alice, _] = harness.pair();
    let (carol, _) = harness.knock(1, alice.conn);
    harness.knock(2, alice.conn);
    for _ in 0..50 {
        assert_eq!(harness.wait(carol, json!({})), position(1));
    }
    assert!(harness.unread(alice.conn).is_empty());
    assert_eq!(harness.join(carol, "kitchen")["code"], "room-full");
    assert_eq!(harness.wait(carol, json!({})), position(1), "a refused join costs no place");
}

#[test]
fn a_draining_server_keeps_places_and_admits_nobody() {
    let mut harness = Harness::new();
    let [alice, bob] = harness.pair();
    let (carol, id) = harness.knock(1, alice.conn);
    harness.rooms.drain();
    harness.collect_actions();
    assert_eq!(harness.code(carol), "shutting-down");
    let (_, late) = harness.join_waiting("45.0.0.9", json!({}));
    assert_eq!(late["code"], "shutting-down");
    harness.send(bob.conn, json!({"type": "leave"}));
    harness.received.clear();
    harness.answer(alice.conn, "admit", &id);
    assert_eq!(harness.code(alice.conn), "shutting-down");
    harness.send(alice.conn, json!({"type": "leave"}));
    assert!(harness.unread(carol).is_empty(), "an empty room opens no more");
    assert_eq!(harness.rooms.count(), (0, 0));
}

#[test]
fn a_token_ends_the_wait_of_its_connection() {
    let mut harness = Harness::new();
    let [alice, bob] = harness.pair();
    let (carol, id) = harness.knock(1, alice.conn);
    assert_eq!(harness.resume(carol, "kitchen", &bob.token)["id"], bob.id);
    assert_eq!(harness.next(alice.conn), gone(&id));
    assert_eq!(harness.unread(alice.conn), ["peer-back"]);
    harness.disconnect(carol);
    assert_eq!(harness.waits_ended(), [WaitOutcome::Seated]);
    assert_eq!(harness.unread(alice.conn), ["peer-away"]);
}

#[test]
fn a_token_whose_seat_is_gone_waits_under_another_id() {
    let mut harness = Harness::new();
    let [alice, bob] = harness.pair();
    harness.send(bob.conn, json!({"type": "leave"}));
    let third = harness.connect();
    harness.join(third, "kitchen");
    harness.received.clear();
    for _ in 0..2 {
        let (_, reply) = harness.join_waiting("45.0.0.9", json!({"resume": bob.token}));
        assert_eq!(reply["type"], "waiting");
    }
    let ids = [(); 2].map(|()| harness.next(alice.conn)["id"].clone());
    assert!(ids[0] != ids[1] && !ids.contains(&bob.id), "{ids:?}");
    assert_eq!(harness.waits_ended(), []);
}

#[test]
fn a_knock_is_answered_in_its_own_room_only() {
    let mut harness = Harness::new();
    let [alice, _] = harness.pair();
    let (_, id) = harness.knock(1, alice.conn);
    let [eve, _] = harness.pair_from("45.0.0.9", "cellar");
    for (kind, id) in [("admit", &id), ("decline", &id), ("admit", &json!("x")), ("decline", &alice.id)] {
        harness.answer(eve.conn, kind, id);
        assert_eq!(harness.code(eve.conn), "no-such-peer", "{kind}");
    }
    harness.answer(alice.conn, "decline", &json!(7));
    assert_eq!(harness.code(alice.conn), "bad-message");
}
