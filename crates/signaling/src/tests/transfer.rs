//! Transfer tokens: moving a seat to another device.

use super::*;

impl Harness {
    /// A new transfer token of the participant at `conn`.
    fn transfer_token(&mut self, conn: ConnectionId) -> Value {
        self.send(conn, json!({"type": "transfer"}));
        let frame = self.next(conn);
        assert_eq!((&frame["type"], &frame["ttl"]), (&json!("transfer"), &json!(60)), "{frame}");
        frame["token"].clone()
    }

    /// The answer to a join with `token` over a new connection.
    fn join_with(&mut self, token: &Value) -> Value {
        let conn = self.connect();
        self.resume(conn, "kitchen", token)
    }
}

#[test]
fn a_transfer_token_moves_a_seat_to_another_device_once() {
    let mut harness = Harness::new();
    let [alice, bob] = harness.pair();
    let token = harness.transfer_token(bob.conn);
    let phone = harness.connect();
    let reply = harness.resume(phone, "kitchen", &token);
    assert_eq!((&reply["id"], &reply["resumed"], &reply["peer"]), (&bob.id, &json!(true), &alice.id));
    assert_eq!(harness.closed, [(bob.conn, CloseReason::Replaced)]);
    assert_eq!(harness.unread(alice.conn), ["peer-back"]);
    assert_eq!(harness.seat_events.len(), 2, "the relay sees no event");
    assert_eq!(harness.join_with(&token)["code"], "bad-resume", "used");
    assert!(harness.unread(alice.conn).is_empty());
    harness.disconnect(phone);
    assert_eq!(harness.join_with(&reply["resume"])["id"], bob.id, "the reply has a resume token");
}

#[test]
fn a_transfer_token_is_valid_for_a_minute_and_until_the_next_one() {
    let mut harness = Harness::new();
    let [_, bob] = harness.pair();
    let older = harness.transfer_token(bob.conn);
    let newer = harness.transfer_token(bob.conn);
    assert_ne!(older, newer);
    assert_eq!(harness.join_with(&older)["code"], "bad-resume", "replaced");
    harness.advance(seconds(59));
    let phone = harness.connect();
    assert_eq!(harness.resume(phone, "kitchen", &newer)["id"], bob.id);
    let late = harness.transfer_token(phone);
    harness.advance(seconds(60));
    assert_eq!(harness.join_with(&late)["code"], "bad-resume", "too old");
}

#[test]
fn a_transfer_token_opens_no_other_room_and_ends_with_the_server() {
    let mut harness = Harness::new();
    let [_, bob] = harness.pair();
    let token = harness.transfer_token(bob.conn);
    let conn = harness.connect();
    assert_eq!(harness.resume(conn, "cellar", &token)["code"], "bad-resume");
    let claims = harness.rooms.handle_page_closed(token.as_str().unwrap(), [45, 0, 0, 1].into(), harness.now);
    assert_eq!(claims, Err(Refusal::BadResume), "it closes no page");
    let mut harness = harness.restarted();
    let [alice, _] = harness.pair();
    assert_eq!(harness.join_with(&token)["code"], "bad-resume");
    harness.send(alice.conn, json!({"type": "leave"}));
    assert_eq!(harness.join_with(&token)["code"], "bad-resume", "also when a seat is free");
}

#[test]
fn a_transfer_token_ends_with_its_seat_but_not_with_its_connection() {
    let mut harness = Harness::new();
    let [_, bob] = harness.pair();
    let token = harness.transfer_token(bob.conn);
    harness.disconnect(bob.conn);
    let back = harness.connect();
    harness.resume(back, "kitchen", &bob.token);
    let phone = harness.connect();
    assert_eq!(harness.resume(phone, "kitchen", &token)["resumed"], true);
    let token = harness.transfer_token(phone);
    harness.send(phone, json!({"type": "leave"}));
    assert_eq!(harness.join_with(&token)["code"], "bad-resume");
}

#[test]
fn a_peek_does_not_use_a_transfer_token_up() {
    let mut harness = Harness::new();
    let [_, bob] = harness.pair();
    let token = harness.transfer_token(bob.conn);
    let phone = harness.connect();
    for _ in 0..3 {
        harness.send(phone, json!({"type": "look", "room": "kitchen", "resume": token}));
        assert_eq!(harness.next(phone)["seats"], 1, "without the own seat");
    }
    assert_eq!(harness.resume(phone, "kitchen", &token)["id"], bob.id);
}

#[test]
fn transfer_tokens_need_a_seat_and_are_limited() {
    let mut harness = Harness::new();
    let [_, bob] = harness.pair();
    let outside = harness.connect();
    harness.send(outside, json!({"type": "transfer"}));
    assert_eq!(harness.code(outside), "not-joined");
    let tokens: Vec<_> = (0..5).map(|_| harness.transfer_token(bob.conn)).collect();
    harness.send(bob.conn, json!({"type": "transfer"}));
    assert_eq!(harness.code(bob.conn), "rate-limited");
    let phone = harness.connect();
    assert_eq!(harness.resume(phone, "kitchen", &tokens[4])["id"], bob.id, "the last one stays valid");
    harness.send(phone, json!({"type": "transfer"}));
    assert_eq!(harness.code(phone), "rate-limited", "the limit stays with the seat");
    harness.advance(seconds(15));
    harness.transfer_token(phone);
}
