//! The general TURN server: real ports, the network, and who may not be reached there.

use super::*;
use crate::allocate::PortError;
use crate::peer_policy::PeerFilter;

fn harness() -> Harness {
    let own = vec!["45.0.0.10".parse().unwrap()];
    let filter = PeerFilter { own, listeners: vec![3478, 443], ..PeerFilter::default() };
    public(filter)
}

fn public(filter: PeerFilter) -> Harness {
    let relayed = Families { v4: Some("45.0.0.10".parse().unwrap()), v6: Some("2a00::10".parse().unwrap()) };
    Harness::lending(relayed, PeerPolicy::Public(filter), Quota::default(), 50_000..=50_099)
}

#[test]
fn a_peer_on_the_network_is_reached_through_a_real_port() {
    let mut harness = harness();
    let (client, relayed) = harness.allocated("45.0.1.1:1001", 1, 1);
    assert_eq!(harness.events[0], Event::OpenPort(RelayedAddr(relayed)));
    let peer = addr("45.0.7.7:7007");
    harness.permit(&client, peer);
    let out = harness.indicate(&client, peer, b"out");
    assert_eq!(out, Some(Sent::Peer { from: relayed, to: peer, payload: b"out".to_vec() }));
    let (to, payload) = (client.addr.remote, b"in".to_vec());
    let data = harness.peer_sends(relayed, "45.0.7.7:8", b"in");
    assert_eq!(data, Some(Sent::Data { to, from: addr("45.0.7.7:8"), payload: payload.clone() }));
    harness.bind(&client, 0x4000, peer);
    let data = harness.peer_sends(relayed, "45.0.7.7:7007", b"in");
    assert_eq!(data, Some(Sent::Channel { to, number: 0x4000, payload }));
    assert_eq!(harness.peer_sends(relayed, "45.0.7.8:7007", b"in"), None);
}

#[test]
fn two_clients_of_the_box_meet_inside_the_process_whatever_their_room() {
    let mut harness = harness();
    let (one, relayed) = harness.allocated("45.0.1.1:1001", 1, 1);
    let (other, peer) = harness.allocated("45.0.2.2:2002", 2, 2);
    harness.permit(&one, peer);
    assert_eq!(harness.indicate(&one, peer, b"x"), None);
    harness.permit(&other, relayed);
    let to = other.addr.remote;
    assert_eq!(
        harness.indicate(&one, peer, b"x"),
        Some(Sent::Data { to, from: relayed, payload: b"x".to_vec() })
    );
}

#[test]
fn private_corners_and_the_box_itself_are_refused_on_every_path() {
    let mut harness = harness();
    let (client, _) = harness.allocated("45.0.1.1:1001", 1, 1);
    let (client6, _) = harness.allocated("45.0.1.1:1002", 1, 1);
    for peer in ["10.0.0.1:80", "127.0.0.1:80", "169.254.169.254:80", "[::ffff:10.0.0.1]:80", "192.168.0.1:1"]
    {
        assert_eq!(
            harness.ask_peer(&client, wire::METHOD_CREATE_PERMISSION, addr(peer)).code(),
            403,
            "{peer}"
        );
        assert_eq!(harness.bind(&client, 0x4000, addr(peer)), 403, "{peer}");
        assert_eq!(harness.indicate(&client, addr(peer), b"x"), None, "{peer}");
    }
    assert_eq!(harness.ask_peer(&client6, wire::METHOD_CREATE_PERMISSION, addr("[2a00::1]:1")).code(), 443);
    // The address we lend may be permitted, but only live ports of it are reached.
    let ourselves = addr("45.0.0.10:3478");
    harness.permit(&client, ourselves);
    for peer in [ourselves, addr("45.0.0.10:22"), addr("45.0.0.10:50098")] {
        assert_eq!(harness.bind(&client, 0x4000, peer), 403, "{peer}");
        assert_eq!(harness.indicate(&client, peer, b"x"), None, "{peer}");
    }
}

#[test]
fn an_allowed_range_opens_a_corner_but_never_our_listeners() {
    let allowed = vec!["45.0.0.10/32".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
    let own = vec!["45.0.0.10".parse().unwrap(), "10.0.0.1".parse().unwrap()];
    let mut harness = public(PeerFilter { allowed, own, listeners: vec![3478], ..PeerFilter::default() });
    let (client, relayed) = harness.allocated("45.0.1.1:1001", 1, 1);
    for (peer, reached) in
        [("10.0.0.1:80", true), ("45.0.0.10:22", true), ("45.0.0.10:3478", false), ("10.0.0.1:3478", false)]
    {
        let peer = addr(peer);
        harness.permit(&client, peer);
        let sent = harness.indicate(&client, peer, b"x");
        let expected = Sent::Peer { from: relayed, to: peer, payload: b"x".to_vec() };
        assert_eq!(sent, reached.then_some(expected), "{peer}");
    }
}

#[test]
fn a_new_address_of_our_own_takes_permissions_back() {
    let mut harness = harness();
    let (client, _) = harness.allocated("45.0.1.1:1001", 1, 1);
    let (peer, other) = (addr("45.0.7.7:7007"), addr("45.0.8.8:8"));
    harness.permit(&client, peer);
    harness.permit(&client, other);
    harness.bind(&client, 0x4000, peer);
    harness.takes_own(vec!["45.0.7.7".parse().unwrap()]);
    assert_eq!(harness.indicate(&client, peer, b"x"), None);
    assert_eq!(harness.channel_data(&client, 0x4000, b"x"), None);
    assert!(harness.indicate(&client, other, b"x").is_some());
}

#[test]
fn an_address_that_the_host_has_lost_is_nobodys_of_ours() {
    let mut harness = harness();
    let (one, _) = harness.allocated("45.0.1.1:1001", 1, 1);
    let (other, peer) = harness.allocated("45.0.2.2:2002", 2, 2);
    harness.takes_relayed("45.0.0.11", &["45.0.0.10", "45.0.0.11"]);
    harness.permit(&one, peer);
    harness.permit(&other, addr("45.0.0.10:1"));
    assert!(harness.indicate(&one, peer, b"x").is_some(), "deprecated, and still there");
    harness.takes_relayed("45.0.0.11", &["45.0.0.11"]);
    harness.permit(&one, peer);
    let out = harness.indicate(&one, peer, b"x");
    assert!(matches!(out, Some(Sent::Peer { .. })), "another host may have it now: {out:?}");
}

#[test]
fn a_new_address_of_our_own_ends_flows_to_its_listeners() {
    let allowed = vec!["10.0.0.0/8".parse().unwrap()];
    let mut harness = public(PeerFilter { allowed, listeners: vec![3478], ..PeerFilter::default() });
    let (client, _) = harness.allocated("45.0.1.1:1001", 1, 1);
    let listener = addr("10.0.0.1:3478");
    harness.permit(&client, listener);
    assert!(harness.indicate(&client, listener, b"x").is_some(), "it is somebody else's");
    harness.takes_own(vec!["10.0.0.1".parse().unwrap()]);
    assert_eq!(harness.indicate(&client, listener, b"x"), None);
}

/// Starts an Allocate and returns the ports the server asks for, one after the other, each of
/// which fails with `error`, and the final answer.
fn allocate_failing(
    harness: &mut Harness,
    client: &Client,
    error: PortError,
    times: usize,
) -> (Vec<RelayedAddr>, Answer) {
    let transport: (AttrType, &[u8]) = (attr::ATTR_REQUESTED_TRANSPORT, &UDP);
    let bytes = client.signed(message(wire::METHOD_ALLOCATE, [1; 12], &[transport]));
    let now = harness.now();
    harness.server.handle(client.addr, &bytes, now);
    let mut tried = Vec::new();
    loop {
        match harness.server.poll_event().expect("an answer in the end") {
            Event::OpenPort(relayed) => {
                let outcome = if tried.len() < times { Err(error) } else { Ok(()) };
                tried.push(relayed);
                harness.server.handle_port_opened(relayed, outcome, now.instant);
            }
            Event::Reply { bytes, .. } => return (tried, Answer::read(bytes)),
            Event::ClosePort(_)
            | Event::Evict { .. }
            | Event::AllocationOpened { .. }
            | Event::AllocationClosed { .. } => {}
        }
    }
}

#[test]
fn a_port_in_use_is_replaced_by_another() {
    let mut harness = harness();
    let client = harness.seated("45.0.1.1:1001", 1, 1);
    let (tried, answer) = allocate_failing(&mut harness, &client, PortError::InUse, 3);
    assert_eq!((tried.len(), answer.code()), (4, 0));
    assert_eq!(answer.address(attr::ATTR_XOR_RELAYED_ADDRESS), tried.last().map(|relayed| relayed.0));
}

#[test]
fn no_port_at_all_is_508_and_leaves_nothing_behind() {
    let mut harness = harness();
    let client = harness.seated("45.0.1.1:1001", 1, 1);
    let now = harness.now().instant;
    let free = harness.server.routes.registry().free_ports(now);
    for error in [PortError::Unavailable, PortError::InUse] {
        let (_, answer) = allocate_failing(&mut harness, &client, error, usize::MAX);
        assert_eq!(answer.code(), 508);
        assert!(answer.is_signed_for(&client));
        let mut registry = harness.server.routes.registry();
        assert_eq!((registry.total(), registry.free_ports(now)), (0, free));
    }
}

#[test]
fn the_port_closes_with_its_allocation() {
    let mut harness = harness();
    let (client, relayed) = harness.allocated("45.0.1.1:1001", 1, 1);
    harness.ask(&client, wire::METHOD_REFRESH, &[(attr::ATTR_LIFETIME, &[0; 4])]);
    assert!(harness.events.contains(&Event::ClosePort(RelayedAddr(relayed))));
}

/// A stranger who tests, and the relayed address lent.
fn tester(harness: &mut Harness, from: &str, group: u8) -> (Client, SocketAddr) {
    let client = harness.client(from, &Principal::Tester(room(group), seat(group)));
    let answer = harness.ask(&client, wire::METHOD_ALLOCATE, &[(attr::ATTR_REQUESTED_TRANSPORT, &UDP)]);
    (client, answer.address(attr::ATTR_XOR_RELAYED_ADDRESS).unwrap())
}

#[test]
fn a_stranger_who_tests_reaches_nobody_on_the_network() {
    let allowed = vec!["10.0.0.0/8".parse().unwrap(), "45.0.0.10/32".parse().unwrap()];
    let mut harness = public(PeerFilter { allowed, listeners: vec![3478], ..PeerFilter::default() });
    let (client, relayed) = tester(&mut harness, "45.0.1.1:1001", 1);
    assert!(!harness.events.contains(&Event::OpenPort(RelayedAddr(relayed))), "no socket is bound");
    for peer in ["45.0.7.7:7007", "8.8.8.8:53", "10.0.0.1:80"].map(addr) {
        assert_eq!(harness.ask_peer(&client, wire::METHOD_CREATE_PERMISSION, peer).code(), 403, "{peer}");
        assert_eq!(harness.bind(&client, 0x4000, peer), 403, "{peer}");
        assert_eq!(harness.indicate(&client, peer, b"x"), None, "{peer}");
    }
    let neighbour = addr("45.0.0.10:22");
    harness.permit(&client, neighbour);
    assert_eq!(harness.bind(&client, 0x4000, neighbour), 403);
    assert_eq!(harness.indicate(&client, neighbour, b"x"), None, "allowed, but not to a stranger");
}

#[test]
fn a_stranger_who_tests_meets_only_what_the_same_credential_opened() {
    let mut harness = harness();
    let (one, relayed) = tester(&mut harness, "45.0.1.1:1001", 1);
    let (same, own) = tester(&mut harness, "45.0.1.1:1002", 1);
    let (other, others) = tester(&mut harness, "45.0.2.2:2002", 2);
    let (guest, guests) = harness.allocated("45.0.3.3:3003", 3, 3);
    for client in [&one, &same, &other, &guest] {
        harness.permit(client, relayed);
    }
    assert!(harness.indicate(&one, own, b"x").is_some());
    assert!(harness.indicate(&same, relayed, b"x").is_some());
    for peer in [others, guests] {
        assert_eq!(harness.bind(&one, 0x4000, peer), 403, "{peer}");
        assert_eq!(harness.indicate(&one, peer, b"x"), None, "{peer}");
    }
    for client in [&other, &guest] {
        assert_eq!(harness.indicate(client, relayed, b"x"), None, "nor is it reached by others");
        assert_eq!(harness.bind(client, 0x4000, relayed), 403);
    }
}

/// Has `client` ask for an allocation whose socket is not there yet; the port it will have.
fn waiting(harness: &mut Harness, client: &Client) -> RelayedAddr {
    let transport: (AttrType, &[u8]) = (attr::ATTR_REQUESTED_TRANSPORT, &UDP);
    let bytes = client.signed(message(wire::METHOD_ALLOCATE, [1; 12], &[transport]));
    let now = harness.now();
    harness.server.handle(client.addr, &bytes, now);
    match harness.server.poll_event() {
        Some(Event::OpenPort(relayed)) => relayed,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_allocate_in_the_same_instant_as_leave_opens_nothing() {
    for news in [PrincipalEvent::Left(room(1), seat(1)), PrincipalEvent::Expired(room(1), seat(1))] {
        let mut harness = harness();
        let now = harness.now().instant;
        let free = harness.server.routes.registry().free_ports(now);
        let client = harness.seated("45.0.1.1:1001", 1, 1);
        let relayed = waiting(&mut harness, &client);
        harness.news(news);
        harness.server.handle_port_opened(relayed, Ok(()), now);
        let replies = harness.collect();
        assert_eq!(
            replies.iter().map(|(_, bytes)| Answer::read(bytes.clone()).code()).collect::<Vec<_>>(),
            [401]
        );
        assert_eq!(harness.events, [Event::ClosePort(relayed)]);
        assert_eq!(harness.server.allocations(), 0);
        let mut registry = harness.server.routes.registry();
        assert_eq!((registry.total(), registry.free_ports(now)), (0, free));
    }
}

#[test]
fn an_allocate_of_a_stream_that_ends_meanwhile_opens_nothing() {
    let mut harness = harness();
    let now = harness.now().instant;
    let client = harness.seated("45.0.1.1:1001", 1, 1);
    let relayed = waiting(&mut harness, &client);
    harness.server.disconnected(&client.addr);
    harness.server.handle_port_opened(relayed, Ok(()), now);
    assert!(harness.collect().is_empty());
    assert_eq!(harness.events, [Event::ClosePort(relayed)]);
    assert_eq!((harness.server.allocations(), harness.server.routes.registry().total()), (0, 0));
}
