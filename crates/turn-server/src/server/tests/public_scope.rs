//! The general TURN server (`PeerPolicy::Public`): relay sockets, peers on the network, and forbidden peers.

use super::*;

fn harness() -> Harness {
    let own = vec!["45.0.0.10".parse().unwrap()];
    let filter = PeerFilter { own, listeners: vec![3478, 443], ..PeerFilter::default() };
    public(filter)
}

fn public(filter: PeerFilter) -> Harness {
    let relayed = Families { v4: Some("45.0.0.10".parse().unwrap()), v6: Some("2a00::10".parse().unwrap()) };
    Harness::with_relayed(relayed, PeerPolicy::Public(filter), Quota::default(), 50_000..=50_099)
}

#[test]
fn a_peer_is_reached_through_a_relay_socket() {
    let mut harness = harness();
    let (client, relayed) = harness.allocated("45.0.1.1:1001", 1, 1);
    assert_eq!(harness.events[0], Event::OpenPort(RelayedAddr(relayed)));
    let peer = addr("45.0.7.7:7007");
    harness.permit(&client, peer);
    let out = harness.send_indication(&client, peer, b"out");
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
fn clients_of_different_groups_are_relayed_inside_the_process() {
    let mut harness = harness();
    let (one, relayed) = harness.allocated("45.0.1.1:1001", 1, 1);
    let (other, peer) = harness.allocated("45.0.2.2:2002", 2, 2);
    harness.permit(&one, peer);
    assert_eq!(harness.send_indication(&one, peer, b"x"), None);
    harness.permit(&other, relayed);
    let to = other.addr.remote;
    assert_eq!(
        harness.send_indication(&one, peer, b"x"),
        Some(Sent::Data { to, from: relayed, payload: b"x".to_vec() })
    );
}

#[test]
fn private_networks_and_the_server_itself_are_forbidden() {
    let mut harness = harness();
    let (client, _) = harness.allocated("45.0.1.1:1001", 1, 1);
    let (client6, _) = harness.allocated("45.0.1.1:1002", 1, 1);
    for peer in ["10.0.0.1:80", "127.0.0.1:80", "169.254.169.254:80", "[::ffff:10.0.0.1]:80", "192.168.0.1:1"]
    {
        assert_eq!(
            harness.request_peer(&client, wire::METHOD_CREATE_PERMISSION, addr(peer)).code(),
            403,
            "{peer}"
        );
        assert_eq!(harness.bind(&client, 0x4000, addr(peer)), 403, "{peer}");
        assert_eq!(harness.send_indication(&client, addr(peer), b"x"), None, "{peer}");
    }
    assert_eq!(
        harness.request_peer(&client6, wire::METHOD_CREATE_PERMISSION, addr("[2a00::1]:1")).code(),
        443
    );
    // A relayed address may be permitted, but only ports with an allocation can be reached.
    let server = addr("45.0.0.10:3478");
    harness.permit(&client, server);
    for peer in [server, addr("45.0.0.10:22"), addr("45.0.0.10:50098")] {
        assert_eq!(harness.bind(&client, 0x4000, peer), 403, "{peer}");
        assert_eq!(harness.send_indication(&client, peer, b"x"), None, "{peer}");
    }
}

#[test]
fn an_allowed_range_makes_private_hosts_reachable_but_no_listener() {
    let allowed = vec!["45.0.0.10/32".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
    let own = vec!["45.0.0.10".parse().unwrap(), "10.0.0.1".parse().unwrap()];
    let mut harness = public(PeerFilter { allowed, own, listeners: vec![3478], ..PeerFilter::default() });
    let (client, relayed) = harness.allocated("45.0.1.1:1001", 1, 1);
    for (peer, reached) in
        [("10.0.0.1:80", true), ("45.0.0.10:22", true), ("45.0.0.10:3478", false), ("10.0.0.1:3478", false)]
    {
        let peer = addr(peer);
        harness.permit(&client, peer);
        let sent = harness.send_indication(&client, peer, b"x");
        let expected = Sent::Peer { from: relayed, to: peer, payload: b"x".to_vec() };
        assert_eq!(sent, reached.then_some(expected), "{peer}");
    }
}

#[test]
fn a_new_address_of_the_host_withdraws_permissions_for_it() {
    let mut harness = harness();
    let (client, _) = harness.allocated("45.0.1.1:1001", 1, 1);
    let (peer, other) = (addr("45.0.7.7:7007"), addr("45.0.8.8:8"));
    harness.permit(&client, peer);
    harness.permit(&client, other);
    harness.bind(&client, 0x4000, peer);
    harness.set_own_addresses(vec!["45.0.7.7".parse().unwrap()]);
    assert_eq!(harness.send_indication(&client, peer, b"x"), None);
    assert_eq!(harness.channel_data(&client, 0x4000, b"x"), None);
    assert!(harness.send_indication(&client, other, b"x").is_some());
}

#[test]
fn an_address_that_the_host_has_lost_is_external() {
    let mut harness = harness();
    let (one, _) = harness.allocated("45.0.1.1:1001", 1, 1);
    let (other, peer) = harness.allocated("45.0.2.2:2002", 2, 2);
    harness.set_relayed_addresses("45.0.0.11", &["45.0.0.10", "45.0.0.11"]);
    harness.permit(&one, peer);
    harness.permit(&other, addr("45.0.0.10:1"));
    assert!(harness.send_indication(&one, peer, b"x").is_some(), "still an address of the host");
    harness.set_relayed_addresses("45.0.0.11", &["45.0.0.11"]);
    harness.permit(&one, peer);
    let out = harness.send_indication(&one, peer, b"x");
    assert!(matches!(out, Some(Sent::Peer { .. })), "may belong to another host: {out:?}");
}

#[test]
fn a_new_address_of_the_host_ends_flows_to_its_listeners() {
    let allowed = vec!["10.0.0.0/8".parse().unwrap()];
    let mut harness = public(PeerFilter { allowed, listeners: vec![3478], ..PeerFilter::default() });
    let (client, _) = harness.allocated("45.0.1.1:1001", 1, 1);
    let listener = addr("10.0.0.1:3478");
    harness.permit(&client, listener);
    assert!(harness.send_indication(&client, listener, b"x").is_some(), "belongs to another host");
    harness.set_own_addresses(vec!["10.0.0.1".parse().unwrap()]);
    assert_eq!(harness.send_indication(&client, listener, b"x"), None);
}

/// Sends an Allocate whose first `times` sockets fail with `error`. Returns the ports that the server tried, and its
/// reply.
fn allocate_failing(
    harness: &mut Harness,
    client: &Client,
    error: PortError,
    times: usize,
) -> (Vec<RelayedAddr>, Response) {
    let transport: (AttrType, &[u8]) = (attr::ATTR_REQUESTED_TRANSPORT, &UDP);
    let bytes = client.signed(message(wire::METHOD_ALLOCATE, [1; 12], &[transport]));
    let now = harness.now();
    harness.server.handle(client.addr, &bytes, now);
    let mut tried = Vec::new();
    loop {
        match harness.server.poll_event().expect("a reply in the end") {
            Event::OpenPort(relayed) => {
                let outcome = if tried.len() < times { Err(error) } else { Ok(()) };
                tried.push(relayed);
                harness.server.handle_port_opened(relayed, outcome, now.instant);
            }
            Event::Reply { bytes, .. } => return (tried, Response::read(bytes)),
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
    let client = harness.admitted_client("45.0.1.1:1001", 1, 1);
    let (tried, response) = allocate_failing(&mut harness, &client, PortError::InUse, 3);
    assert_eq!((tried.len(), response.code()), (4, 0));
    assert_eq!(response.address(attr::ATTR_XOR_RELAYED_ADDRESS), tried.last().map(|relayed| relayed.0));
}

#[test]
fn an_allocate_without_any_socket_gets_508_and_releases_all() {
    let mut harness = harness();
    let client = harness.admitted_client("45.0.1.1:1001", 1, 1);
    let now = harness.now().instant;
    let free = harness.routes.registry().free_ports(now);
    for error in [PortError::Unavailable, PortError::InUse] {
        let (_, response) = allocate_failing(&mut harness, &client, error, usize::MAX);
        assert_eq!(response.code(), 508);
        assert!(response.is_signed_for(&client));
        let mut registry = harness.routes.registry();
        assert_eq!((registry.total(), registry.free_ports(now)), (0, free));
    }
}

#[test]
fn the_relay_socket_closes_with_its_allocation() {
    let mut harness = harness();
    let (client, relayed) = harness.allocated("45.0.1.1:1001", 1, 1);
    harness.request(&client, wire::METHOD_REFRESH, &[(attr::ATTR_LIFETIME, &[0; 4])]);
    assert!(harness.events.contains(&Event::ClosePort(RelayedAddr(relayed))));
}

/// A connection test with an allocation, and its relayed address.
fn tester(harness: &mut Harness, from: &str, group: u8) -> (Client, SocketAddr) {
    let client = harness.client(from, &Principal::Tester(group_id(group), member_id(group)));
    let response = harness.request(&client, wire::METHOD_ALLOCATE, &[(attr::ATTR_REQUESTED_TRANSPORT, &UDP)]);
    (client, response.address(attr::ATTR_XOR_RELAYED_ADDRESS).unwrap())
}

#[test]
fn a_connection_test_reaches_no_peer_on_the_network() {
    let allowed = vec!["10.0.0.0/8".parse().unwrap(), "45.0.0.10/32".parse().unwrap()];
    let mut harness = public(PeerFilter { allowed, listeners: vec![3478], ..PeerFilter::default() });
    let (client, relayed) = tester(&mut harness, "45.0.1.1:1001", 1);
    assert!(!harness.events.contains(&Event::OpenPort(RelayedAddr(relayed))), "no socket is bound");
    for peer in ["45.0.7.7:7007", "8.8.8.8:53", "10.0.0.1:80"].map(addr) {
        assert_eq!(harness.request_peer(&client, wire::METHOD_CREATE_PERMISSION, peer).code(), 403, "{peer}");
        assert_eq!(harness.bind(&client, 0x4000, peer), 403, "{peer}");
        assert_eq!(harness.send_indication(&client, peer, b"x"), None, "{peer}");
    }
    let allowed_peer = addr("45.0.0.10:22");
    harness.permit(&client, allowed_peer);
    assert_eq!(harness.bind(&client, 0x4000, allowed_peer), 403);
    assert_eq!(
        harness.send_indication(&client, allowed_peer, b"x"),
        None,
        "allowed, but not for a connection test"
    );
}

#[test]
fn a_connection_test_reaches_only_allocations_of_its_credential() {
    let mut harness = harness();
    let (one, relayed) = tester(&mut harness, "45.0.1.1:1001", 1);
    let (same, same_addr) = tester(&mut harness, "45.0.1.1:1002", 1);
    let (other, other_addr) = tester(&mut harness, "45.0.2.2:2002", 2);
    let (participant, participant_addr) = harness.allocated("45.0.3.3:3003", 3, 3);
    for client in [&one, &same, &other, &participant] {
        harness.permit(client, relayed);
    }
    assert!(harness.send_indication(&one, same_addr, b"x").is_some());
    assert!(harness.send_indication(&same, relayed, b"x").is_some());
    for peer in [other_addr, participant_addr] {
        assert_eq!(harness.bind(&one, 0x4000, peer), 403, "{peer}");
        assert_eq!(harness.send_indication(&one, peer, b"x"), None, "{peer}");
    }
    for client in [&other, &participant] {
        assert_eq!(harness.send_indication(client, relayed, b"x"), None, "others cannot reach it either");
        assert_eq!(harness.bind(client, 0x4000, relayed), 403);
    }
}

/// Sends an Allocate that waits for the socket of the returned address.
fn pending_allocate(harness: &mut Harness, client: &Client) -> RelayedAddr {
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
fn an_allocate_that_waits_while_its_participant_leaves_gets_401() {
    for event in
        [PrincipalEvent::Left(group_id(1), member_id(1)), PrincipalEvent::Expired(group_id(1), member_id(1))]
    {
        let mut harness = harness();
        let now = harness.now().instant;
        let free = harness.routes.registry().free_ports(now);
        let client = harness.admitted_client("45.0.1.1:1001", 1, 1);
        let relayed = pending_allocate(&mut harness, &client);
        harness.principal_event(event);
        harness.server.handle_port_opened(relayed, Ok(()), now);
        let replies = harness.collect();
        assert_eq!(
            replies.iter().map(|(_, bytes)| Response::read(bytes.clone()).code()).collect::<Vec<_>>(),
            [401]
        );
        assert_eq!(harness.events, [Event::ClosePort(relayed)]);
        assert_eq!(harness.server.allocations(), 0);
        let mut registry = harness.routes.registry();
        assert_eq!((registry.total(), registry.free_ports(now)), (0, free));
    }
}

#[test]
fn an_allocate_that_waits_while_its_stream_closes_is_cancelled() {
    let mut harness = harness();
    let now = harness.now().instant;
    let client = harness.admitted_client("45.0.1.1:1001", 1, 1);
    let relayed = pending_allocate(&mut harness, &client);
    harness.server.disconnected(&client.addr);
    harness.server.handle_port_opened(relayed, Ok(()), now);
    assert!(harness.collect().is_empty());
    assert_eq!(harness.events, [Event::ClosePort(relayed)]);
    assert_eq!((harness.server.allocations(), harness.routes.registry().total()), (0, 0));
}
