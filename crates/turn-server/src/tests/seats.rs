//! The seat rules the relay.

use super::*;
use crate::server::CloseReason;

fn allocate(harness: &mut Harness, client: &Client) -> u16 {
    harness.ask(client, wire::METHOD_ALLOCATE, &[(attr::ATTR_REQUESTED_TRANSPORT, &UDP)]).code()
}

#[test]
fn a_credential_of_a_seat_that_is_gone_opens_nothing() {
    let mut harness = Harness::new();
    let client = harness.client("45.0.1.1:1001", &Principal::Participant(room(1), seat(1)));
    assert_eq!(allocate(&mut harness, &client), 401);
    harness.news(PrincipalEvent::Admitted(room(1), seat(1)));
    harness.news(PrincipalEvent::Expired(room(1), seat(1)));
    assert_eq!(allocate(&mut harness, &client), 401);
    harness.news(PrincipalEvent::Admitted(room(1), seat(1)));
    assert_eq!(allocate(&mut harness, &client), 0);
}

#[test]
fn tools_and_other_software_need_no_seat() {
    let mut harness = Harness::new();
    let tool = harness.client("45.0.1.1:1001", &Principal::Tool(room(1), seat(1)));
    assert_eq!(allocate(&mut harness, &tool), 0);
    let foreign = harness.client("45.0.1.1:1002", &Principal::Foreign("bob".into()));
    assert_eq!(allocate(&mut harness, &foreign), 0);
}

#[test]
fn leaving_ends_the_allocations_at_once() {
    let mut harness = Harness::new();
    let ((one, _), (other, _)) = harness.pair();
    harness.news(PrincipalEvent::Left(room(1), seat(1)));
    harness.collect();
    assert_eq!(harness.server.allocations(), 1);
    assert_eq!(
        harness.events.last(),
        Some(&Event::AllocationClosed { client: one.addr, end: CloseReason::PrincipalLeft, sent: 0 })
    );
    assert!(harness.server.table.get(&other.addr).is_some());
}

#[test]
fn a_lapsed_seats_allocation_lives_while_the_call_runs_and_ends_when_silent() {
    let mut harness = Harness::new();
    let ((one, _), (_, peer)) = harness.pair();
    harness.news(PrincipalEvent::Expired(room(1), seat(1)));
    for _ in 0..5 {
        harness.handle_timeout(Duration::from_secs(45));
        assert!(harness.indicate(&one, peer, b"media").is_some());
    }
    harness.handle_timeout(Duration::from_secs(59));
    assert!(harness.server.table.get(&one.addr).is_some());
    harness.handle_timeout(Duration::from_secs(2));
    assert!(harness.server.table.get(&one.addr).is_none());
}

#[test]
fn a_seat_taken_back_no_longer_ends_in_silence() {
    let mut harness = Harness::new();
    let (client, _) = harness.allocated("45.0.1.1:1001", 1, 1);
    harness.news(PrincipalEvent::Expired(room(1), seat(1)));
    harness.news(PrincipalEvent::Admitted(room(1), seat(1)));
    harness.handle_timeout(minutes(5));
    assert!(harness.server.table.get(&client.addr).is_some());
}

#[test]
fn a_call_that_outlives_its_credential_is_not_cut() {
    let mut harness = Harness::new();
    let (mut client, _) = harness.allocated("45.0.1.1:1001", 1, 1);
    for _ in 0..10 {
        client = harness.renewed(&client);
        let refreshed = harness.ask(&client, wire::METHOD_REFRESH, &[]);
        assert_eq!(refreshed.code(), 0);
        harness.handle_timeout(minutes(9));
    }
    let again =
        Client { addr: ClientAddr::new(Transport::Udp, addr("45.0.1.1:1009"), addr(SERVER_ADDR)), ..client };
    let again = harness.renewed(&again);
    assert_eq!(allocate(&mut harness, &again), 401);
}

#[test]
fn a_test_ends_with_its_credential_and_is_lent_ten_minutes_at_most() {
    let mut harness = Harness::new();
    let hour: (AttrType, &[u8]) = (attr::ATTR_LIFETIME, &[0, 0, 0x0e, 0x10]);
    let mut tester = harness.client("45.0.1.1:1001", &Principal::Tester(room(1), seat(1)));
    let answer = harness.ask(&tester, wire::METHOD_ALLOCATE, &[(attr::ATTR_REQUESTED_TRANSPORT, &UDP), hour]);
    assert_eq!((answer.code(), answer.lifetime()), (0, 600));
    for _ in 0..6 {
        harness.handle_timeout(minutes(9));
        tester = harness.renewed(&tester);
        let refreshed = harness.ask(&tester, wire::METHOD_REFRESH, &[hour]);
        assert_eq!((refreshed.code(), refreshed.lifetime()), (0, 600));
    }
    harness.handle_timeout(minutes(8));
    tester = harness.renewed(&tester);
    assert_eq!(
        harness.ask(&tester, wire::METHOD_REFRESH, &[hour]).code(),
        401,
        "past the hour of its credential"
    );
    harness.handle_timeout(minutes(3));
    assert_eq!(harness.server.allocations(), 0);
}

#[test]
fn testers_hold_no_more_than_their_share_and_others_are_not_concerned() {
    let mut harness = Harness::with(PeerPolicy::SameGroup, Quota { user: 0, total: 8 });
    for (name, expected) in [(1, 0), (2, 0), (3, 508)] {
        let tester =
            harness.client(&format!("45.0.1.{name}:1001"), &Principal::Tester(room(name), seat(name)));
        assert_eq!(allocate(&mut harness, &tester), expected);
    }
    harness.allocated("45.0.2.2:2002", 9, 9);
    let first = harness.client("45.0.1.1:1001", &Principal::Tester(room(1), seat(1)));
    assert_eq!(harness.ask(&first, wire::METHOD_REFRESH, &[(attr::ATTR_LIFETIME, &[0; 4])]).code(), 0);
    let third = harness.client("45.0.1.3:1001", &Principal::Tester(room(3), seat(3)));
    assert_eq!(allocate(&mut harness, &third), 0, "what the first gave back");
}

/// How many credentials of their own, made by `of`, open one allocation each from `source`.
fn opened_from(
    harness: &mut Harness,
    source: &str,
    of: fn(IsolationGroup, PrincipalId) -> Principal,
    attributes: &[(AttrType, &[u8])],
) -> usize {
    let mut opens = |n: &u16| {
        let mut id: [u8; 16] = *b"one for each one";
        id[..2].copy_from_slice(&n.to_be_bytes());
        let client =
            harness.client(&format!("{source}:{n}"), &of(IsolationGroup::new(id), PrincipalId::new(id)));
        harness.ask(&client, wire::METHOD_ALLOCATE, attributes).code() == 0
    };
    (1000..2000).take_while(|n| opens(n)).count()
}

#[test]
fn one_source_has_an_eighth_of_what_testers_share_and_of_kept_ports() {
    let v4 = Families { v4: Some("192.0.0.8".parse().unwrap()), v6: None };
    let mut harness = Harness::lending(v4, PeerPolicy::SameGroup, Quota::default(), 50_000..=52_047);
    let transport = (attr::ATTR_REQUESTED_TRANSPORT, &UDP[..]);
    for source in ["45.0.1.1", "45.0.1.2"] {
        let tests = opened_from(&mut harness, source, Principal::Tester, &[transport]);
        assert_eq!(tests, 32, "an eighth of an eighth of 2,048 ports");
    }
    for source in ["45.0.1.3", "45.0.1.4"] {
        let kept =
            opened_from(&mut harness, source, Principal::Tool, &[transport, (attr::ATTR_EVEN_PORT, &[0x80])]);
        assert_eq!(kept, 32);
    }
}

#[test]
fn a_lapsed_guests_allocation_ends_when_the_seat_is_given_away() {
    let mut harness = Harness::new();
    let ((orphaned, _), (host, peer)) = harness.pair();
    harness.news(PrincipalEvent::Expired(room(1), seat(1)));
    harness.seated("45.0.4.4:4004", 2, 4);
    assert!(harness.indicate(&orphaned, peer, b"media").is_some(), "the call still runs, the seat is free");
    let (guest, relayed) = harness.allocated("45.0.3.3:3003", 1, 3);
    harness.permit(&guest, peer);
    assert_eq!(harness.indicate(&orphaned, relayed, b"psst"), None);
    assert_eq!(harness.indicate(&orphaned, peer, b"psst"), None);
    let end = Event::AllocationClosed { client: orphaned.addr, end: CloseReason::PrincipalLeft, sent: 5 };
    assert!(harness.events.contains(&end), "{:?}", harness.events);
    assert!(harness.indicate(&host, relayed, b"hello").is_some(), "the others talk");
    assert_eq!((harness.server.allocations(), harness.server.orphaned.len()), (2, 0));
}

#[test]
fn a_lapsed_seat_keeps_its_call_while_the_other_comes_back() {
    let mut harness = Harness::new();
    let ((one, _), (other, peer)) = harness.pair();
    for name in [1, 2] {
        harness.news(PrincipalEvent::Expired(room(1), seat(name)));
    }
    harness.news(PrincipalEvent::Admitted(room(1), seat(2)));
    assert!(harness.indicate(&one, peer, b"media").is_some(), "one seat is free for its return");
    harness.news(PrincipalEvent::Admitted(room(1), seat(1)));
    harness.handle_timeout(minutes(9));
    assert!(harness.server.table.get(&one.addr).is_some() && harness.server.table.get(&other.addr).is_some());
    assert!(harness.server.orphaned.is_empty());
}

#[test]
fn a_lapsed_seats_call_ends_when_its_credentials_are_over() {
    let mut harness = Harness::new();
    let ((one, _), (_, peer)) = harness.pair();
    let hour: (AttrType, &[u8]) = (attr::ATTR_LIFETIME, &[0, 0, 0x0e, 0x10]);
    harness.news(PrincipalEvent::Expired(room(1), seat(1)));
    let mut client = one.clone();
    for _ in 0..(59 * 60 + 30) / 30 {
        client = harness.renewed(&client);
        assert_eq!(harness.ask(&client, wire::METHOD_REFRESH, &[hour]).code(), 0);
        harness.permit(&client, peer);
        harness.handle_timeout(Duration::from_secs(30));
    }
    assert!(harness.server.table.get(&one.addr).is_some());
    harness.handle_timeout(Duration::from_secs(30));
    assert!(harness.server.table.get(&one.addr).is_none(), "an hour after its seat lapsed");
    assert!(harness.server.orphaned.is_empty());
}

#[test]
fn a_draining_box_lends_only_to_participants_of_running_calls() {
    for peer_policy in [PeerPolicy::SameGroup, PeerPolicy::Public(Default::default())] {
        let mut harness = Harness::with(peer_policy, Quota::default());
        let bob = harness.client("45.0.5.5:5005", &Principal::Foreign("bob".into()));
        let talking = harness.client("45.0.5.5:5006", &Principal::Foreign("bob".into()));
        assert_eq!(allocate(&mut harness, &talking), 0);
        let guest = harness.seated("45.0.1.1:1001", 1, 1);
        harness.server.drain();
        for principal in [Principal::Tool(room(1), seat(1)), Principal::Tester(room(1), seat(1))] {
            let client = harness.client("45.0.6.6:6006", &principal);
            assert_eq!(allocate(&mut harness, &client), 508, "{principal:?}");
        }
        assert_eq!(allocate(&mut harness, &bob), 508);
        assert_eq!(harness.ask(&talking, wire::METHOD_REFRESH, &[]).code(), 0, "what runs goes on");
        assert_eq!(allocate(&mut harness, &guest), 0, "an ICE restart of a call");
    }
}
