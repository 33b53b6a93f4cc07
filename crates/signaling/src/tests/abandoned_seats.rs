//! Clients without a resume token return to a room that still has their old seat.

use super::*;

impl Harness {
    fn connect_without_token(&mut self, source: &str) -> ConnectionId {
        let conn = self.connect_from(source);
        self.rooms.expect_no_token(conn);
        conn
    }

    /// Lets 5 s pass, of which the connections `answering` notify with an answer to a ping.
    fn ping_interval(&mut self, answering: &[ConnectionId]) {
        self.advance(seconds(5));
        for conn in answering {
            self.rooms.handle_control_frame(*conn, self.now);
        }
    }
}

#[test]
fn a_join_without_token_replaces_an_abandoned_seat_of_its_source() {
    let mut harness = Harness::new();
    let peer = harness.connect_from("45.0.0.9");
    let old = harness.connect_without_token("45.0.0.1");
    harness.join(peer, "kitchen");
    let old_id = harness.join(old, "kitchen")["id"].clone();
    harness.received.clear();
    harness.ping_interval(&[peer]);
    harness.ping_interval(&[peer]);

    let new = harness.connect_without_token("45.0.0.1");
    let reply = harness.join(new, "kitchen");
    assert_eq!(reply["type"], "resp-join", "{reply}");
    assert_ne!(reply["id"], old_id);
    assert_eq!(harness.unread(peer), ["peer-leave", "new-peer"]);
    assert_eq!(harness.closed, [(old, CloseReason::Replaced)]);
}

#[test]
fn a_disconnected_seat_without_token_is_replaced_at_once() {
    let mut harness = Harness::new();
    let old = harness.connect_without_token("45.0.0.1");
    harness.join(old, "kitchen");
    harness.disconnect(old);
    let new = harness.connect_without_token("45.0.0.1");
    assert_eq!(harness.join(new, "kitchen")["peer"], Value::Null);
    assert_eq!(harness.rooms.count(), (1, 1));
}

#[test]
fn a_seat_that_answers_pings_is_not_replaced() {
    let mut harness = Harness::new();
    let (a, b) = (harness.connect_without_token("45.0.0.1"), harness.connect_without_token("45.0.0.1"));
    harness.join(a, "kitchen");
    harness.join(b, "kitchen");
    harness.received.clear();
    harness.ping_interval(&[a, b]);
    harness.ping_interval(&[a, b]);
    harness.advance(seconds(1));
    let third = harness.connect_without_token("45.0.0.1");
    assert_eq!(harness.join(third, "kitchen")["code"], "room-full");
    assert!(harness.closed.is_empty());
}

#[test]
fn only_seats_without_token_of_the_same_source_are_replaced() {
    let mut harness = Harness::new();
    let native = harness.connect_from("45.0.0.1");
    let other = harness.connect_without_token("45.0.0.2");
    harness.join(native, "kitchen");
    harness.join(other, "kitchen");
    harness.received.clear();
    harness.advance(seconds(20));
    let third = harness.connect_without_token("45.0.0.1");
    assert_eq!(harness.join(third, "kitchen")["code"], "room-full");
    let newcomer = harness.connect_from("45.0.0.2");
    assert_eq!(harness.join(newcomer, "kitchen")["code"], "room-full", "the newcomer may store a token");
    assert!(harness.closed.is_empty());
}

#[test]
fn a_seat_that_was_resumed_with_a_token_is_not_replaced() {
    let mut harness = Harness::new();
    let old = harness.connect_without_token("45.0.0.1");
    let token = harness.join(old, "kitchen")["resume"].clone();
    harness.disconnect(old);
    let resumed = harness.connect_without_token("45.0.0.1");
    assert_eq!(harness.resume(resumed, "kitchen", &token)["resumed"], true);
    harness.disconnect(resumed);
    let new = harness.connect_without_token("45.0.0.1");
    assert_ne!(harness.join(new, "kitchen")["peer"], Value::Null);
}

#[test]
fn a_room_of_a_host_stays_open_for_the_client_that_reconnects() {
    let mut harness = Harness::with(RoomsConfig { host_keys: HostKeys::new(&["host key"]), ..config() });
    let host = harness.connect_from("45.0.0.9");
    harness.send(host, json!({"type": "join", "room": "kitchen", "key": "host key"}));
    let old = harness.connect_without_token("45.0.0.1");
    harness.join(old, "kitchen");
    harness.send(host, json!({"type": "leave"}));
    harness.disconnect(old);
    let new = harness.connect_without_token("45.0.0.1");
    assert_eq!(harness.join(new, "kitchen")["type"], "resp-join");
}
