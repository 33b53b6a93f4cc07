//! Events of joins and calls.

use super::*;

impl Harness {
    fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    fn report(&mut self, participant: &Participant, report: Value) {
        let mut frame = report;
        frame["type"] = json!("report");
        self.send(participant.conn, frame);
    }
}

fn ended(events: &[Event]) -> &CallSummary {
    match events {
        [Event::CallEnded(ended)] => ended,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_join_is_one_event_with_its_outcome() {
    let mut harness = Harness::new();
    let [one, _] = harness.pair();
    assert_eq!(harness.take_events(), [Event::Joined { resumed: false }, Event::Joined { resumed: false }]);
    harness.disconnect(one.conn);
    let again = harness.connect();
    harness.resume(again, "kitchen", &one.token);
    assert_eq!(harness.take_events(), [Event::Joined { resumed: true }]);
    let third = harness.connect();
    harness.join(third, "kitchen");
    harness.join(third, "..");
    harness.resume(third, "kitchen", &json!("forged"));
    let refused = [Refusal::RoomFull, Refusal::BadRoom, Refusal::BadResume].map(Event::JoinRefused);
    assert_eq!(harness.take_events(), refused);
}

#[test]
fn the_end_of_a_call_summarizes_the_reports_of_both_pages() {
    let mut harness = Harness::new();
    let [one, other] = harness.pair();
    harness.take_events();
    harness.report(&one, json!({"path": "relay-udp", "setup": 400}));
    let (path, setup) = (MediaPath::RelayUdp, Duration::from_millis(400));
    assert_eq!(harness.take_events(), [Event::CallConnected { path, setup }]);
    harness.report(&other, json!({"path": "relay-udp", "setup": 600}));
    harness.take_events();
    harness.advance(seconds(20));
    harness.report(&other, json!({"path": "direct", "rtt": 30, "lost": 0.2, "bytes": 7000}));
    harness.report(&one, json!({"path": "relay-udp", "rtt": 40, "lost": 0.1, "bytes": 5000}));
    harness.send(one.conn, json!({"type": "leave"}));
    let events = harness.take_events();
    let ended = ended(&events);
    assert_eq!((&*ended.room, ended.duration), ("kitchen", seconds(20)));
    let (setup, rtt) = (Some(Duration::from_millis(600)), Some(Duration::from_millis(40)));
    let path = Some(MediaPath::Direct);
    assert_eq!(ended.report, CallReport { path, setup, rtt, lost: Some(0.2), bytes: Some(7000) });
    harness.send(other.conn, json!({"type": "leave"}));
    assert_eq!(harness.take_events(), [], "a call ends once");
}

#[test]
fn a_call_without_reports_has_a_summary_too() {
    let mut harness = Harness::new();
    let [one, _] = harness.pair();
    harness.take_events();
    harness.disconnect(one.conn);
    assert_eq!(harness.take_events(), [], "the seat is kept");
    harness.advance(seconds(30));
    let events = harness.take_events();
    assert_eq!(ended(&events).report, CallReport::default());
    assert_eq!(ended(&events).duration, seconds(30));
}

#[test]
fn a_stopping_server_ends_each_call_once() {
    let mut harness = Harness::new();
    let [one, other] = harness.pair();
    let alone = harness.connect();
    harness.join(alone, "hall");
    harness.report(&one, json!({"path": "direct", "setup": 400}));
    harness.take_events();
    harness.advance(seconds(20));
    harness.rooms.end_calls(harness.now);
    harness.collect_actions();
    let events = harness.take_events();
    let ended = ended(&events);
    assert_eq!((&*ended.room, ended.duration, ended.server_stopped), ("kitchen", seconds(20), true));
    assert_eq!(ended.report.path, Some(MediaPath::Direct));
    for conn in [one.conn, other.conn, alone] {
        harness.disconnect(conn);
    }
    harness.advance(seconds(60));
    assert_eq!(harness.take_events(), []);
}

#[test]
fn a_page_reports_one_connection_per_call_and_no_client_receives_it() {
    let mut harness = Harness::new();
    let [one, other] = harness.pair();
    harness.take_events();
    (0..20).for_each(|_| harness.report(&one, json!({"path": "direct", "setup": 1})));
    assert_eq!(harness.take_events().len(), 1);
    harness.report(&one, json!({"path": "direct", "setup": -1}));
    assert_eq!(harness.code(one.conn), "bad-message");
    assert_eq!(harness.unread(other.conn), Vec::<String>::new());
    harness.send(other.conn, json!({"type": "leave"}));
    harness.take_events();
    harness.report(&one, json!({"path": "direct", "setup": 1}));
    assert_eq!(harness.take_events(), [], "the call is over");
    let third = harness.connect();
    harness.join(third, "kitchen");
    harness.take_events();
    harness.report(&one, json!({"path": "direct", "setup": 1}));
    assert_eq!(harness.take_events().len(), 1, "the next participant starts another call");
    let outsider = harness.connect();
    harness.send(outsider, json!({"type": "report"}));
    assert_eq!(harness.code(outsider), "not-joined");
}
