//! Allocations begin and end with the participants that their credentials name.

use super::*;

fn allocate(harness: &mut Harness, client: &Client) -> u16 {
    harness.request(client, wire::METHOD_ALLOCATE, &[(attr::ATTR_REQUESTED_TRANSPORT, &UDP)]).code()
}

#[test]
fn a_credential_opens_allocations_only_while_admitted() {
    let mut harness = Harness::new();
    let client = harness.client("45.0.1.1:1001", &Principal::Participant(group_id(1), member_id(1)));
    assert_eq!(allocate(&mut harness, &client), 401);
    harness.principal_event(PrincipalEvent::Admitted(group_id(1), member_id(1)));
    harness.principal_event(PrincipalEvent::Expired(group_id(1), member_id(1)));
    assert_eq!(allocate(&mut harness, &client), 401);
    harness.principal_event(PrincipalEvent::Admitted(group_id(1), member_id(1)));
    assert_eq!(allocate(&mut harness, &client), 0);
}

#[test]
fn tools_and_foreign_users_need_no_admission() {
    let mut harness = Harness::new();
    let tool = harness.client("45.0.1.1:1001", &Principal::Tool(group_id(1), member_id(1)));
    assert_eq!(allocate(&mut harness, &tool), 0);
    let foreign = harness.client("45.0.1.1:1002", &Principal::Foreign("bob".into()));
    assert_eq!(allocate(&mut harness, &foreign), 0);
}

#[test]
fn leaving_closes_the_allocations_immediately() {
    let mut harness = Harness::new();
    let ((one, _), (other, _)) = harness.pair();
    harness.principal_event(PrincipalEvent::Left(group_id(1), member_id(1)));
    harness.collect();
    assert_eq!(harness.server.allocations(), 1);
    assert_eq!(
        harness.events.last(),
        Some(&Event::AllocationClosed { client: one.addr, end: CloseReason::PrincipalLeft, sent: 0 })
    );
    assert!(harness.server.allocations.table().get(&other.addr).is_some());
}

#[test]
fn an_expired_participants_allocation_ends_when_idle() {
    let mut harness = Harness::new();
    let ((one, _), (_, peer)) = harness.pair();
    harness.principal_event(PrincipalEvent::Expired(group_id(1), member_id(1)));
    for _ in 0..5 {
        harness.advance(Duration::from_secs(45));
        assert!(harness.send_indication(&one, peer, b"media").is_some());
    }
    harness.advance(Duration::from_secs(59));
    assert!(harness.server.allocations.table().get(&one.addr).is_some());
    harness.advance(Duration::from_secs(2));
    assert!(harness.server.allocations.table().get(&one.addr).is_none());
}

#[test]
fn a_readmitted_participants_allocation_may_be_idle() {
    let mut harness = Harness::new();
    let (client, _) = harness.allocated("45.0.1.1:1001", 1, 1);
    harness.principal_event(PrincipalEvent::Expired(group_id(1), member_id(1)));
    harness.principal_event(PrincipalEvent::Admitted(group_id(1), member_id(1)));
    harness.advance(minutes(5));
    assert!(harness.server.allocations.table().get(&client.addr).is_some());
}

#[test]
fn an_allocation_continues_after_its_credential_expired() {
    let mut harness = Harness::new();
    let (mut client, _) = harness.allocated("45.0.1.1:1001", 1, 1);
    for _ in 0..10 {
        client = harness.with_new_nonce(&client);
        let refreshed = harness.request(&client, wire::METHOD_REFRESH, &[]);
        assert_eq!(refreshed.code(), 0);
        harness.advance(minutes(9));
    }
    let moved =
        Client { addr: ClientAddr::new(Transport::Udp, addr("45.0.1.1:1009"), addr(SERVER_ADDR)), ..client };
    let moved = harness.with_new_nonce(&moved);
    assert_eq!(allocate(&mut harness, &moved), 401);
}

#[test]
fn a_test_allocation_ends_with_its_credential() {
    let mut harness = Harness::new();
    let hour: (AttrType, &[u8]) = (attr::ATTR_LIFETIME, &[0, 0, 0x0e, 0x10]);
    let mut tester = harness.client("45.0.1.1:1001", &Principal::Tester(group_id(1), member_id(1)));
    let response =
        harness.request(&tester, wire::METHOD_ALLOCATE, &[(attr::ATTR_REQUESTED_TRANSPORT, &UDP), hour]);
    assert_eq!((response.code(), response.lifetime()), (0, 600));
    for _ in 0..6 {
        harness.advance(minutes(9));
        tester = harness.with_new_nonce(&tester);
        let refreshed = harness.request(&tester, wire::METHOD_REFRESH, &[hour]);
        assert_eq!((refreshed.code(), refreshed.lifetime()), (0, 600));
    }
    harness.advance(minutes(8));
    tester = harness.with_new_nonce(&tester);
    assert_eq!(
        harness.request(&tester, wire::METHOD_REFRESH, &[hour]).code(),
        401,
        "the credential has expired"
    );
    harness.advance(minutes(3));
    assert_eq!(harness.server.allocations(), 0);
}

#[test]
fn connection_tests_get_at_most_their_share() {
    let mut harness = Harness::with(PeerPolicy::SameGroup, Quota { user: 0, total: 8 });
    for (name, expected) in [(1, 0), (2, 0), (3, 508)] {
        let tester = harness
            .client(&format!("45.0.1.{name}:1001"), &Principal::Tester(group_id(name), member_id(name)));
        assert_eq!(allocate(&mut harness, &tester), expected);
    }
    harness.allocated("45.0.2.2:2002", 9, 9);
    let first = harness.client("45.0.1.1:1001", &Principal::Tester(group_id(1), member_id(1)));
    assert_eq!(harness.request(&first, wire::METHOD_REFRESH, &[(attr::ATTR_LIFETIME, &[0; 4])]).code(), 0);
    let third = harness.client("45.0.1.3:1001", &Principal::Tester(group_id(3), member_id(3)));
    assert_eq!(allocate(&mut harness, &third), 0, "the first has released its share");
}

/// Opens allocations from `source`, each with another principal from `principal`, until one fails; how many succeed.
fn opened_from(
    harness: &mut Harness,
    source: &str,
    principal: fn(IsolationGroup, PrincipalId) -> Principal,
    attributes: &[(AttrType, &[u8])],
) -> usize {
    let mut succeeds = |n: &u16| {
        let mut id: [u8; 16] = [7; 16];
        id[..2].copy_from_slice(&n.to_be_bytes());
        let client = harness
            .client(&format!("{source}:{n}"), &principal(IsolationGroup::new(id), PrincipalId::new(id)));
        harness.request(&client, wire::METHOD_ALLOCATE, attributes).code() == 0
    };
    (1000..2000).take_while(|n| succeeds(n)).count()
}

#[test]
fn one_source_gets_an_eighth_of_the_shares_of_tests_and_reservations() {
    let v4 = Families { v4: Some("192.0.0.8".parse().unwrap()), v6: None };
    let mut harness = Harness::with_relayed(v4, PeerPolicy::SameGroup, Quota::default(), 50_000..=52_047);
    let transport = (attr::ATTR_REQUESTED_TRANSPORT, &UDP[..]);
    for source in ["45.0.1.1", "45.0.1.2"] {
        let tests = opened_from(&mut harness, source, Principal::Tester, &[transport]);
        assert_eq!(tests, 32, "an eighth of an eighth of 2,048 ports");
    }
    for source in ["45.0.1.3", "45.0.1.4"] {
        let reserved =
            opened_from(&mut harness, source, Principal::Tool, &[transport, (attr::ATTR_EVEN_PORT, &[0x80])]);
        assert_eq!(reserved, 32);
    }
}

#[test]
fn an_expired_participants_allocation_ends_when_replaced() {
    let mut harness = Harness::new();
    let ((orphaned, _), (remaining, peer)) = harness.pair();
    harness.principal_event(PrincipalEvent::Expired(group_id(1), member_id(1)));
    harness.admitted_client("45.0.4.4:4004", 2, 4);
    assert!(
        harness.send_indication(&orphaned, peer, b"media").is_some(),
        "the call continues while its place is free"
    );
    let (replacement, relayed) = harness.allocated("45.0.3.3:3003", 1, 3);
    harness.permit(&replacement, peer);
    assert_eq!(harness.send_indication(&orphaned, relayed, b"x"), None);
    assert_eq!(harness.send_indication(&orphaned, peer, b"x"), None);
    let end = Event::AllocationClosed { client: orphaned.addr, end: CloseReason::PrincipalLeft, sent: 5 };
    assert!(harness.events.contains(&end), "{:?}", harness.events);
    assert!(harness.send_indication(&remaining, relayed, b"hello").is_some(), "the others exchange packets");
    assert_eq!((harness.server.allocations(), harness.server.allocations.orphan_count()), (2, 0));
}

#[test]
fn an_expired_participant_keeps_its_call_until_both_are_back() {
    let mut harness = Harness::new();
    let ((one, _), (other, peer)) = harness.pair();
    for name in [1, 2] {
        harness.principal_event(PrincipalEvent::Expired(group_id(1), member_id(name)));
    }
    harness.principal_event(PrincipalEvent::Admitted(group_id(1), member_id(2)));
    assert!(harness.send_indication(&one, peer, b"media").is_some(), "one place is still free");
    harness.principal_event(PrincipalEvent::Admitted(group_id(1), member_id(1)));
    harness.advance(minutes(9));
    assert!(
        harness.server.allocations.table().get(&one.addr).is_some()
            && harness.server.allocations.table().get(&other.addr).is_some()
    );
    assert!(harness.server.allocations.orphan_count() == 0);
}

#[test]
fn an_expired_participants_call_ends_with_its_credentials() {
    let mut harness = Harness::new();
    let ((one, _), (_, peer)) = harness.pair();
    let hour: (AttrType, &[u8]) = (attr::ATTR_LIFETIME, &[0, 0, 0x0e, 0x10]);
    harness.principal_event(PrincipalEvent::Expired(group_id(1), member_id(1)));
    let mut client = one.clone();
    for _ in 0..(59 * 60 + 30) / 30 {
        client = harness.with_new_nonce(&client);
        assert_eq!(harness.request(&client, wire::METHOD_REFRESH, &[hour]).code(), 0);
        harness.permit(&client, peer);
        harness.advance(Duration::from_secs(30));
    }
    assert!(harness.server.allocations.table().get(&one.addr).is_some());
    harness.advance(Duration::from_secs(30));
    assert!(
        harness.server.allocations.table().get(&one.addr).is_none(),
        "one hour after the participant expired"
    );
    assert!(harness.server.allocations.orphan_count() == 0);
}

#[test]
fn a_draining_server_opens_allocations_only_for_participants() {
    for peer_policy in [PeerPolicy::SameGroup, PeerPolicy::Public(Default::default())] {
        let mut harness = Harness::with(peer_policy, Quota::default());
        let bob = harness.client("45.0.5.5:5005", &Principal::Foreign("bob".into()));
        let connected = harness.client("45.0.5.5:5006", &Principal::Foreign("bob".into()));
        assert_eq!(allocate(&mut harness, &connected), 0);
        let participant = harness.admitted_client("45.0.1.1:1001", 1, 1);
        harness.server.drain();
        for principal in
            [Principal::Tool(group_id(1), member_id(1)), Principal::Tester(group_id(1), member_id(1))]
        {
            let client = harness.client("45.0.6.6:6006", &principal);
            assert_eq!(allocate(&mut harness, &client), 508, "{principal:?}");
        }
        assert_eq!(allocate(&mut harness, &bob), 508);
        assert_eq!(
            harness.request(&connected, wire::METHOD_REFRESH, &[]).code(),
            0,
            "an existing allocation continues"
        );
        assert_eq!(allocate(&mut harness, &participant), 0, "an ICE restart of a call");
    }
}
