//! The seat rules the relay.

use super::*;
use crate::server::End;

fn allocate(stage: &mut Stage, client: &Client) -> u16 {
    stage.ask(client, wire::METHOD_ALLOCATE, &[(attr::ATTR_REQUESTED_TRANSPORT, &UDP)]).code()
}

#[test]
fn a_credential_of_a_seat_that_is_gone_opens_nothing() {
    let mut stage = Stage::new();
    let client = stage.client("45.0.1.1:1001", &Principal::Participant(room(1), seat(1)));
    assert_eq!(allocate(&mut stage, &client), 401);
    stage.news(PrincipalEvent::Admitted(room(1), seat(1)));
    stage.news(PrincipalEvent::Expired(room(1), seat(1)));
    assert_eq!(allocate(&mut stage, &client), 401);
    stage.news(PrincipalEvent::Admitted(room(1), seat(1)));
    assert_eq!(allocate(&mut stage, &client), 0);
}

#[test]
fn tools_and_other_software_need_no_seat() {
    let mut stage = Stage::new();
    let tool = stage.client("45.0.1.1:1001", &Principal::Tool(room(1), seat(1)));
    assert_eq!(allocate(&mut stage, &tool), 0);
    let foreign = stage.client("45.0.1.1:1002", &Principal::Foreign("bob".into()));
    assert_eq!(allocate(&mut stage, &foreign), 0);
}

#[test]
fn leaving_ends_the_allocations_at_once() {
    let mut stage = Stage::new();
    let ((one, _), (other, _)) = stage.pair();
    stage.news(PrincipalEvent::Left(room(1), seat(1)));
    stage.collect();
    assert_eq!(stage.server.allocations(), 1);
    assert_eq!(stage.events.last(), Some(&Action::Closed { client: one.addr, end: End::SeatLeft, sent: 0 }));
    assert!(stage.server.table.of(&other.addr).is_some());
}

#[test]
fn a_lapsed_seats_allocation_lives_while_the_call_runs_and_ends_when_silent() {
    let mut stage = Stage::new();
    let ((one, _), (_, peer)) = stage.pair();
    stage.news(PrincipalEvent::Expired(room(1), seat(1)));
    for _ in 0..5 {
        stage.advance(Duration::from_secs(45));
        assert!(stage.indicate(&one, peer, b"media").is_some());
    }
    stage.advance(Duration::from_secs(59));
    assert!(stage.server.table.of(&one.addr).is_some());
    stage.advance(Duration::from_secs(2));
    assert!(stage.server.table.of(&one.addr).is_none());
}

#[test]
fn a_seat_taken_back_no_longer_ends_in_silence() {
    let mut stage = Stage::new();
    let (client, _) = stage.allocated("45.0.1.1:1001", 1, 1);
    stage.news(PrincipalEvent::Expired(room(1), seat(1)));
    stage.news(PrincipalEvent::Admitted(room(1), seat(1)));
    stage.advance(minutes(5));
    assert!(stage.server.table.of(&client.addr).is_some());
}

#[test]
fn a_call_that_outlives_its_credential_is_not_cut() {
    let mut stage = Stage::new();
    let (mut client, _) = stage.allocated("45.0.1.1:1001", 1, 1);
    for _ in 0..10 {
        client = stage.renewed(&client);
        let refreshed = stage.ask(&client, wire::METHOD_REFRESH, &[]);
        assert_eq!(refreshed.code(), 0);
        stage.advance(minutes(9));
    }
    let again = Client { addr: ClientAddr::new(Transport::Udp, addr("45.0.1.1:1009"), addr(BOX)), ..client };
    let again = stage.renewed(&again);
    assert_eq!(allocate(&mut stage, &again), 401);
}

#[test]
fn a_test_ends_with_its_credential_and_is_lent_ten_minutes_at_most() {
    let mut stage = Stage::new();
    let hour: (AttrType, &[u8]) = (attr::ATTR_LIFETIME, &[0, 0, 0x0e, 0x10]);
    let mut tester = stage.client("45.0.1.1:1001", &Principal::Tester(room(1), seat(1)));
    let answer = stage.ask(&tester, wire::METHOD_ALLOCATE, &[(attr::ATTR_REQUESTED_TRANSPORT, &UDP), hour]);
    assert_eq!((answer.code(), answer.lifetime()), (0, 600));
    for _ in 0..6 {
        stage.advance(minutes(9));
        tester = stage.renewed(&tester);
        let refreshed = stage.ask(&tester, wire::METHOD_REFRESH, &[hour]);
        assert_eq!((refreshed.code(), refreshed.lifetime()), (0, 600));
    }
    stage.advance(minutes(8));
    tester = stage.renewed(&tester);
    assert_eq!(
        stage.ask(&tester, wire::METHOD_REFRESH, &[hour]).code(),
        401,
        "past the hour of its credential"
    );
    stage.advance(minutes(3));
    assert_eq!(stage.server.allocations(), 0);
}

#[test]
fn testers_hold_no_more_than_their_share_and_others_are_not_concerned() {
    let mut stage = Stage::with(Scope::Room, Quota { user: 0, total: 8 });
    for (name, expected) in [(1, 0), (2, 0), (3, 508)] {
        let tester = stage.client(&format!("45.0.1.{name}:1001"), &Principal::Tester(room(name), seat(name)));
        assert_eq!(allocate(&mut stage, &tester), expected);
    }
    stage.allocated("45.0.2.2:2002", 9, 9);
    let first = stage.client("45.0.1.1:1001", &Principal::Tester(room(1), seat(1)));
    assert_eq!(stage.ask(&first, wire::METHOD_REFRESH, &[(attr::ATTR_LIFETIME, &[0; 4])]).code(), 0);
    let third = stage.client("45.0.1.3:1001", &Principal::Tester(room(3), seat(3)));
    assert_eq!(allocate(&mut stage, &third), 0, "what the first gave back");
}

/// How many credentials of their own, made by `of`, open one allocation each from `source`.
fn opened_from(
    stage: &mut Stage,
    source: &str,
    of: fn(IsolationGroup, PrincipalId) -> Principal,
    attributes: &[(AttrType, &[u8])],
) -> usize {
    let mut opens = |n: &u16| {
        let mut id: [u8; 16] = *b"one for each one";
        id[..2].copy_from_slice(&n.to_be_bytes());
        let client =
            stage.client(&format!("{source}:{n}"), &of(IsolationGroup::new(id), PrincipalId::new(id)));
        stage.ask(&client, wire::METHOD_ALLOCATE, attributes).code() == 0
    };
    (1000..2000).take_while(|n| opens(n)).count()
}

#[test]
fn one_source_has_an_eighth_of_what_testers_share_and_of_kept_ports() {
    let v4 = Families { v4: Some("192.0.0.8".parse().unwrap()), v6: None };
    let mut stage = Stage::lending(v4, Scope::Room, Quota::default(), 50_000..=52_047);
    let transport = (attr::ATTR_REQUESTED_TRANSPORT, &UDP[..]);
    for source in ["45.0.1.1", "45.0.1.2"] {
        let tests = opened_from(&mut stage, source, Principal::Tester, &[transport]);
        assert_eq!(tests, 32, "an eighth of an eighth of 2,048 ports");
    }
    for source in ["45.0.1.3", "45.0.1.4"] {
        let kept =
            opened_from(&mut stage, source, Principal::Tool, &[transport, (attr::ATTR_EVEN_PORT, &[0x80])]);
        assert_eq!(kept, 32);
    }
}

#[test]
fn a_lapsed_guests_allocation_ends_when_the_seat_is_given_away() {
    let mut stage = Stage::new();
    let ((lapsed, _), (host, peer)) = stage.pair();
    stage.news(PrincipalEvent::Expired(room(1), seat(1)));
    stage.seated("45.0.4.4:4004", 2, 4);
    assert!(stage.indicate(&lapsed, peer, b"media").is_some(), "the call still runs, the seat is free");
    let (guest, relayed) = stage.allocated("45.0.3.3:3003", 1, 3);
    stage.permit(&guest, peer);
    assert_eq!(stage.indicate(&lapsed, relayed, b"psst"), None);
    assert_eq!(stage.indicate(&lapsed, peer, b"psst"), None);
    let end = Action::Closed { client: lapsed.addr, end: End::SeatLeft, sent: 5 };
    assert!(stage.events.contains(&end), "{:?}", stage.events);
    assert!(stage.indicate(&host, relayed, b"hello").is_some(), "the others talk");
    assert_eq!((stage.server.allocations(), stage.server.lapsed.len()), (2, 0));
}

#[test]
fn a_lapsed_seat_keeps_its_call_while_the_other_comes_back() {
    let mut stage = Stage::new();
    let ((one, _), (other, peer)) = stage.pair();
    for name in [1, 2] {
        stage.news(PrincipalEvent::Expired(room(1), seat(name)));
    }
    stage.news(PrincipalEvent::Admitted(room(1), seat(2)));
    assert!(stage.indicate(&one, peer, b"media").is_some(), "one seat is free for its return");
    stage.news(PrincipalEvent::Admitted(room(1), seat(1)));
    stage.advance(minutes(9));
    assert!(stage.server.table.of(&one.addr).is_some() && stage.server.table.of(&other.addr).is_some());
    assert!(stage.server.lapsed.is_empty());
}

#[test]
fn a_lapsed_seats_call_ends_when_its_credentials_are_over() {
    let mut stage = Stage::new();
    let ((one, _), (_, peer)) = stage.pair();
    let hour: (AttrType, &[u8]) = (attr::ATTR_LIFETIME, &[0, 0, 0x0e, 0x10]);
    stage.news(PrincipalEvent::Expired(room(1), seat(1)));
    let mut client = one.clone();
    for _ in 0..(59 * 60 + 30) / 30 {
        client = stage.renewed(&client);
        assert_eq!(stage.ask(&client, wire::METHOD_REFRESH, &[hour]).code(), 0);
        stage.permit(&client, peer);
        stage.advance(Duration::from_secs(30));
    }
    assert!(stage.server.table.of(&one.addr).is_some());
    stage.advance(Duration::from_secs(30));
    assert!(stage.server.table.of(&one.addr).is_none(), "an hour after its seat lapsed");
    assert!(stage.server.lapsed.is_empty());
}

#[test]
fn a_draining_box_lends_only_to_participants_of_running_calls() {
    for scope in [Scope::Room, Scope::Public(Default::default())] {
        let mut stage = Stage::with(scope, Quota::default());
        let bob = stage.client("45.0.5.5:5005", &Principal::Foreign("bob".into()));
        let talking = stage.client("45.0.5.5:5006", &Principal::Foreign("bob".into()));
        assert_eq!(allocate(&mut stage, &talking), 0);
        let guest = stage.seated("45.0.1.1:1001", 1, 1);
        stage.server.drain();
        for holder in [Principal::Tool(room(1), seat(1)), Principal::Tester(room(1), seat(1))] {
            let client = stage.client("45.0.6.6:6006", &holder);
            assert_eq!(allocate(&mut stage, &client), 508, "{holder:?}");
        }
        assert_eq!(allocate(&mut stage, &bob), 508);
        assert_eq!(stage.ask(&talking, wire::METHOD_REFRESH, &[]).code(), 0, "what runs goes on");
        assert_eq!(allocate(&mut stage, &guest), 0, "an ICE restart of a call");
    }
}
