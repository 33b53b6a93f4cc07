//! What is told of joins and calls to whoever counts.

use super::*;

impl Stage {
    fn told(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    fn report(&mut self, guest: &Guest, report: Value) {
        let mut frame = report;
        frame["type"] = json!("report");
        self.say(guest.conn, frame);
    }
}

fn ended(events: &[Event]) -> &Ended {
    match events {
        [Event::CallEnded(ended)] => ended,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_join_is_told_once_with_what_became_of_it() {
    let mut stage = Stage::new();
    let [one, _] = stage.couple();
    assert_eq!(stage.told(), [Event::Joined { resumed: false }, Event::Joined { resumed: false }]);
    stage.drop(one.conn);
    let again = stage.connect();
    stage.resume(again, "kitchen", &one.token);
    assert_eq!(stage.told(), [Event::Joined { resumed: true }]);
    let third = stage.connect();
    stage.join(third, "kitchen");
    stage.join(third, "..");
    stage.resume(third, "kitchen", &json!("forged"));
    let away = [Refusal::RoomFull, Refusal::BadRoom, Refusal::BadResume].map(Event::TurnedAway);
    assert_eq!(stage.told(), away);
}

#[test]
fn a_call_is_told_of_at_its_end_with_what_the_pages_said() {
    let mut stage = Stage::new();
    let [one, other] = stage.couple();
    stage.told();
    stage.report(&one, json!({"path": "relay-udp", "setup": 400}));
    let (path, setup) = (Path::RelayUdp, Duration::from_millis(400));
    assert_eq!(stage.told(), [Event::Connected { path, setup }]);
    stage.report(&other, json!({"path": "relay-udp", "setup": 600}));
    stage.told();
    stage.pass(seconds(20));
    stage.report(&other, json!({"path": "direct", "rtt": 30, "lost": 0.2, "bytes": 7000}));
    stage.report(&one, json!({"path": "relay-udp", "rtt": 40, "lost": 0.1, "bytes": 5000}));
    stage.say(one.conn, json!({"type": "leave"}));
    let told = stage.told();
    let ended = ended(&told);
    assert_eq!((&*ended.room, ended.lasted), ("kitchen", seconds(20)));
    let (setup, rtt) = (Some(Duration::from_millis(600)), Some(Duration::from_millis(40)));
    let path = Some(Path::Direct);
    assert_eq!(ended.told, Report { path, setup, rtt, lost: Some(0.2), bytes: Some(7000) });
    stage.say(other.conn, json!({"type": "leave"}));
    assert_eq!(stage.told(), [], "it is told of once");
}

#[test]
fn a_call_of_which_no_page_said_anything_is_told_of_as_well() {
    let mut stage = Stage::new();
    let [one, _] = stage.couple();
    stage.told();
    stage.drop(one.conn);
    assert_eq!(stage.told(), [], "the seat is kept");
    stage.pass(seconds(30));
    let told = stage.told();
    assert_eq!(ended(&told).told, Report::default());
    assert_eq!(ended(&told).lasted, seconds(30));
}

#[test]
fn calls_that_the_end_of_the_box_cuts_off_are_told_of_and_only_once() {
    let mut stage = Stage::new();
    let [one, other] = stage.couple();
    let alone = stage.connect();
    stage.join(alone, "hall");
    stage.report(&one, json!({"path": "direct", "setup": 400}));
    stage.told();
    stage.pass(seconds(20));
    stage.rooms.end_calls(stage.now);
    stage.drain();
    let told = stage.told();
    let ended = ended(&told);
    assert_eq!((&*ended.room, ended.lasted, ended.cut_off), ("kitchen", seconds(20), true));
    assert_eq!(ended.told.path, Some(Path::Direct));
    for conn in [one.conn, other.conn, alone] {
        stage.drop(conn);
    }
    stage.pass(seconds(60));
    assert_eq!(stage.told(), []);
}

#[test]
fn a_page_tells_of_one_connection_for_each_call_and_nobody_hears_it() {
    let mut stage = Stage::new();
    let [one, other] = stage.couple();
    stage.told();
    (0..20).for_each(|_| stage.report(&one, json!({"path": "direct", "setup": 1})));
    assert_eq!(stage.told().len(), 1);
    stage.report(&one, json!({"path": "direct", "setup": -1}));
    assert_eq!(stage.code(one.conn), "bad-message");
    assert_eq!(stage.rest(other.conn), Vec::<String>::new());
    stage.say(other.conn, json!({"type": "leave"}));
    stage.told();
    stage.report(&one, json!({"path": "direct", "setup": 1}));
    assert_eq!(stage.told(), [], "there is no call");
    let third = stage.connect();
    stage.join(third, "kitchen");
    stage.told();
    stage.report(&one, json!({"path": "direct", "setup": 1}));
    assert_eq!(stage.told().len(), 1, "with another it is another call");
    let stranger = stage.connect();
    stage.say(stranger, json!({"type": "report"}));
    assert_eq!(stage.code(stranger), "not-joined");
}
