//! Display names and features: who learns which, and when.

use super::*;

impl Harness {
    /// Connects and joins the kitchen under `name`; returns the reply.
    fn join_as(&mut self, name: &str) -> (ConnectionId, Value) {
        let conn = self.connect();
        self.send(conn, json!({"type": "join", "room": "kitchen", "name": name}));
        (conn, self.next(conn))
    }

    /// The answer to a `look` at the kitchen with `token`.
    fn look(&mut self, conn: ConnectionId, token: &Value) -> Value {
        self.send(conn, json!({"type": "look", "room": "kitchen", "resume": token}));
        self.next(conn)
    }
}

#[test]
fn each_participant_learns_the_cleaned_name_of_the_other() {
    let mut harness = Harness::new();
    let (alice, first) = harness.join_as("  Ada\u{202e}  Lovelace\n");
    assert!(first.get("peerName").is_none());
    let (_, second) = harness.join_as("Bob");
    assert_eq!(second["peerName"], "Ada Lovelace");
    assert_eq!(harness.next(alice), json!({"type": "new-peer", "id": second["id"], "name": "Bob"}));
}

#[test]
fn a_name_of_nothing_visible_is_no_name() {
    let mut harness = Harness::new();
    let (alice, _) = harness.join_as(" \u{200b}\u{200d} ");
    let (_, second) = harness.join_as("");
    assert!(second.get("peerName").is_none(), "{second}");
    assert_eq!(harness.next(alice), json!({"type": "new-peer", "id": second["id"]}));
}

#[test]
fn a_resume_keeps_the_name_unless_it_brings_another() {
    let mut harness = Harness::new();
    let (alice, _) = harness.join_as("Ada");
    let (_, bob) = harness.join_as("Bob");
    harness.received.clear();
    for (given, expected) in [
        (json!({}), Some("Bob")),
        (json!({"name": null}), Some("Bob")),
        (json!({"name": "Robert"}), Some("Robert")),
        (json!({"name": ""}), None),
    ] {
        let mut join = json!({"type": "join", "room": "kitchen", "resume": bob["resume"]});
        join.as_object_mut().unwrap().extend(given.as_object().unwrap().clone());
        let again = harness.connect();
        harness.send(again, join);
        let reply = harness.next(again);
        assert_eq!((&reply["resumed"], &reply["peerName"]), (&json!(true), &json!("Ada")));
        let back = harness.next(alice);
        assert_eq!((&back["type"], back["name"].as_str()), (&json!("peer-back"), expected), "{back}");
    }
}

#[test]
fn a_peek_tells_a_name_only_to_a_recent_participant() {
    let mut harness = Harness::new();
    let (_, alice) = harness.join_as("Ada");
    let (bob, seat) = harness.join_as("Bob");
    harness.received.clear();
    let outsider = harness.connect();
    assert_eq!(harness.look(outsider, &Value::Null), json!({"type": "room", "room": "kitchen", "seats": 2}));
    assert_eq!(harness.look(outsider, &json!("forged")).get("name"), None);
    assert_eq!(harness.look(outsider, &seat["resume"])["name"], "Ada");
    assert_eq!(harness.look(outsider, &alice["resume"])["name"], "Bob");
    harness.send(bob, json!({"type": "leave"}));
    harness.advance(seconds(43_199));
    let outsider = harness.connect();
    let status = harness.look(outsider, &seat["resume"]);
    assert_eq!((&status["seats"], &status["name"]), (&json!(1), &json!("Ada")), "after leaving, too");
    harness.advance(seconds(1));
    assert_eq!(harness.look(outsider, &seat["resume"]).get("name"), None, "twelve hours later");
}

#[test]
fn each_client_learns_the_features_of_the_other_and_a_resume_keeps_them() {
    let mut harness = Harness::new();
    let alice = harness.connect();
    harness.send(alice, json!({"type": "join", "room": "kitchen", "features": ["data-channels", "No", ""]}));
    assert!(harness.next(alice).get("peerFeatures").is_none());
    let (_, second) = harness.join_as("Bob");
    assert_eq!(second["peerFeatures"], json!(["data-channels"]));
    assert!(harness.next(alice).get("features").is_none());
    for (given, expected) in [
        (json!({"features": ["x"]}), json!(["x"])),
        (json!({}), json!(["x"])),
        (json!({"features": []}), Value::Null),
    ] {
        harness.received.clear();
        let mut join = json!({"type": "join", "room": "kitchen", "resume": second["resume"]});
        join.as_object_mut().unwrap().extend(given.as_object().unwrap().clone());
        let again = harness.connect();
        harness.send(again, join);
        assert_eq!(harness.next(again)["peerFeatures"], json!(["data-channels"]));
        let back = harness.next(alice);
        assert_eq!((&back["type"], &back["features"]), (&json!("peer-back"), &expected), "{back}");
    }
}
