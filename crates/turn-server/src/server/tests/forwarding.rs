//! Packets between two clients, relayed inside the process.

use super::*;

#[test]
fn packets_reach_clients_of_the_same_group_only() {
    let mut harness = Harness::new();
    let ((one, relayed), (other, peer)) = harness.pair();
    let (to, from) = (other.addr.remote, relayed);
    assert_eq!(
        harness.send_indication(&one, peer, b"hi"),
        Some(Sent::Data { to, from, payload: b"hi".to_vec() })
    );
    let (outsider, outside) = harness.allocated("45.0.3.3:3003", 2, 3);
    harness.permit(&outsider, peer);
    assert_eq!(harness.send_indication(&outsider, peer, b"x"), None);
    assert_eq!(harness.bind(&outsider, 0x4000, peer), 403);
    assert_eq!(harness.send_indication(&one, outside, b"x"), None);
}

#[test]
fn each_side_uses_a_channel_if_it_has_bound_one() {
    let mut harness = Harness::new();
    let ((one, relayed), (other, peer)) = harness.pair();
    assert_eq!(harness.bind(&one, 0x4000, peer), 0);
    let (to, payload) = (other.addr.remote, b"media".to_vec());
    let got = harness.channel_data(&one, 0x4000, b"media");
    assert_eq!(got, Some(Sent::Data { to, from: relayed, payload: payload.clone() }));
    assert_eq!(harness.bind(&other, 0x5000, relayed), 0);
    let got = harness.channel_data(&one, 0x4000, b"media");
    assert_eq!(got, Some(Sent::Channel { to, number: 0x5000, payload: payload.clone() }));
    let back = harness.send_indication(&other, relayed, b"media");
    assert_eq!(back, Some(Sent::Channel { to: one.addr.remote, number: 0x4000, payload }));
    assert_eq!(harness.channel_data(&one, 0x4001, b"unbound"), None);
}

#[test]
fn both_sides_need_a_permission_and_it_lasts_five_minutes() {
    let mut harness = Harness::new();
    let (one, relayed) = harness.allocated("45.0.1.1:1001", 1, 1);
    let (other, peer) = harness.allocated("45.0.2.2:2002", 1, 2);
    assert_eq!(harness.send_indication(&one, peer, b"x"), None);
    harness.permit(&one, peer);
    assert_eq!(harness.send_indication(&one, peer, b"x"), None, "no permission at the other side");
    harness.permit(&other, relayed);
    assert!(harness.send_indication(&one, peer, b"x").is_some());
    harness.advance(minutes(4));
    harness.permit(&one, peer);
    harness.advance(minutes(1));
    assert_eq!(
        harness.send_indication(&one, peer, b"x"),
        None,
        "the permission at the other side has expired"
    );
}

/// Two clients exchange packets for a quarter of an hour, then stop. They refresh their channels every 500 s and no
/// permissions, as aioice does.
fn exchange_by_channels_only(harness: &mut Harness) {
    let (mut one, relayed) = harness.allocated("45.0.1.1:1001", 1, 1);
    let (mut other, peer) = harness.allocated("45.0.2.2:2002", 1, 2);
    for refreshed in 0..2 {
        for (client, to) in [(&mut one, peer), (&mut other, relayed)] {
            *client = harness.with_new_nonce(client);
            let hour: (AttrType, &[u8]) = (attr::ATTR_LIFETIME, &[0, 0, 0x0e, 0x10]);
            assert_eq!(harness.request(client, wire::METHOD_REFRESH, &[hour]).code(), 0);
            assert_eq!(harness.bind(client, 0x4000, to), 0);
        }
        // A CreatePermission does not shorten the permission of a channel.
        if refreshed == 1 {
            harness.permit(&one, peer);
        }
        for second in 0..500 {
            harness.advance(Duration::from_secs(1));
            for client in [&one, &other] {
                let got = harness.channel_data(client, 0x4000, b"media");
                assert!(matches!(got, Some(Sent::Channel { .. })), "second {second}, refresh {refreshed}");
            }
        }
    }
    harness.advance(Duration::from_secs(100));
    assert_eq!(
        harness.send_indication(&one, peer, b"x"),
        None,
        "both channels and their permissions have expired"
    );
}

#[test]
fn a_channel_keeps_its_permission_until_it_expires() {
    exchange_by_channels_only(&mut Harness::new());
}

#[test]
fn a_channel_to_a_peer_keeps_its_permission_until_it_expires() {
    let mut harness = Harness::with(PeerPolicy::Public(Default::default()), Quota::default());
    exchange_by_channels_only(&mut harness);
    let (client, relayed) = harness.allocated("45.0.1.1:1009", 1, 1);
    let peer = addr("45.0.7.7:7007");
    assert_eq!(harness.bind(&client, 0x4000, peer), 0);
    harness.advance(Duration::from_secs(599));
    let sent = harness.channel_data(&client, 0x4000, b"x");
    assert_eq!(sent, Some(Sent::Peer { from: relayed, to: peer, payload: b"x".to_vec() }));
    let got = harness.peer_sends(relayed, "45.0.7.7:7007", b"x");
    assert!(matches!(got, Some(Sent::Channel { number: 0x4000, .. })), "{got:?}");
    assert!(
        harness.peer_sends(relayed, "45.0.7.7:7008", b"x").is_some(),
        "a permission is for all ports of an address"
    );
    harness.advance(Duration::from_secs(1));
    assert_eq!(harness.peer_sends(relayed, "45.0.7.7:7007", b"x"), None);
}

#[test]
fn a_client_can_reach_its_own_relayed_address() {
    let mut harness = Harness::new();
    let (client, relayed) = harness.allocated("45.0.1.1:1001", 1, 1);
    harness.permit(&client, relayed);
    let to = client.addr.remote;
    let looped = harness.send_indication(&client, relayed, b"me");
    assert_eq!(looped, Some(Sent::Data { to, from: relayed, payload: b"me".to_vec() }));
}

#[test]
fn same_group_reaches_nothing_outside_the_process() {
    let mut harness = Harness::new();
    let (client, _) = harness.allocated("45.0.1.1:1001", 1, 1);
    for peer in ["8.8.8.8:53", "127.0.0.1:3478", "45.0.0.10:3478", "192.0.0.9:50000"] {
        assert_eq!(
            harness.request_peer(&client, wire::METHOD_CREATE_PERMISSION, addr(peer)).code(),
            403,
            "{peer}"
        );
        assert_eq!(harness.bind(&client, 0x4000, addr(peer)), 403, "{peer}");
        assert_eq!(harness.send_indication(&client, addr(peer), b"x"), None, "{peer}");
    }
    assert_eq!(harness.bind(&client, 0x4000, addr("192.0.0.8:50000")), 403, "no allocation has that port");
}

#[test]
fn empty_and_large_payloads_arrive_complete() {
    let mut harness = Harness::new();
    let ((one, _), (_, peer)) = harness.pair();
    for length in [0, 1, 2, 3, 1500, 9000, 60_000] {
        let payload = vec![7; length];
        let Some(Sent::Data { payload: got, .. }) = harness.send_indication(&one, peer, &payload) else {
            panic!("{length} bytes lost");
        };
        assert_eq!(got, payload);
    }
}

#[test]
fn packets_to_a_deleted_allocation_are_dropped() {
    let mut harness = Harness::new();
    let ((one, _), (other, peer)) = harness.pair();
    harness.request(&other, wire::METHOD_REFRESH, &[(attr::ATTR_LIFETIME, &[0; 4])]);
    assert_eq!(harness.send_indication(&one, peer, b"x"), None);
    assert_eq!(harness.send_indication(&other, peer, b"x"), None);
}

#[test]
fn a_refused_client_replaces_no_cached_flow() {
    let mut harness = Harness::new();
    let ((one, _), (_, peer)) = harness.pair();
    assert!(harness.send_indication(&one, peer, b"x").is_some());
    let mut outsider = harness.client("45.0.9.9:1", &Principal::Participant(group_id(1), member_id(9)));
    for port in 1..=5000 {
        outsider.addr.remote.set_port(port);
        assert_eq!(harness.channel_data(&outsider, 0x4000, b"x"), None);
    }
    assert!(harness.server.forwarder.has_cached(&one.addr, PeerAddr(peer)));
}

#[test]
fn a_packet_reaches_a_client_of_another_worker() {
    let mut harness = Harness::new();
    let (one, relayed) = harness.allocated("45.0.1.1:1001", 1, 1);
    let config = ServerConfig { worker: 1, ..harness.config.clone() };
    let (authenticator, routes) = (harness.server.authenticator.clone(), Arc::clone(&harness.routes));
    let limit = reply_limit(0, harness.start);
    let mut second = Server::new(config, authenticator, routes, limit, Box::new(|| 77));
    std::mem::swap(&mut harness.server, &mut second);
    let (other, peer) = harness.allocated("45.0.2.2:2002", 1, 2);
    harness.permit(&other, relayed);
    assert_eq!(harness.bind(&other, 0x4000, relayed), 0);
    std::mem::swap(&mut harness.server, &mut second);
    harness.permit(&one, peer);
    let to = other.addr.remote;
    let got = harness.send_indication(&one, peer, b"x");
    assert_eq!(got, Some(Sent::Channel { to, number: 0x4000, payload: b"x".to_vec() }));
}

#[test]
fn the_bandwidth_limit_holds_in_both_directions() {
    for (unlimited, limited) in [(0_usize, 1_usize), (1, 0)] {
        let mut harness = Harness::new();
        let mut clients = Vec::new();
        for name in [0, 1_u8] {
            harness.server.allocations.set_max_bps(if usize::from(name) == limited { 10_000 } else { 0 });
            clients.push(harness.allocated(&format!("45.0.{name}.1:1001"), 1, name));
        }
        let (one, other) = (clients[unlimited].clone(), clients[limited].clone());
        harness.permit(&one.0, other.1);
        harness.permit(&other.0, one.1);
        for (from, to) in [(&one, &other), (&other, &one)] {
            harness.elapsed += Duration::from_secs(60);
            let passed =
                (0..100).filter(|_| harness.send_indication(&from.0, to.1, &[0; 1000]).is_some()).count();
            assert_eq!(passed, 11, "a burst of one second and the packet that exceeds it");
        }
    }
}

#[test]
fn an_allocation_keeps_its_address_after_an_address_change() {
    let mut harness = Harness::new();
    let ((one, _), (other, peer)) = harness.pair();
    harness.set_relayed_addresses("10.1.2.3", &[]);
    assert!(harness.send_indication(&one, peer, b"x").is_some(), "it continues");
    harness.permit(&one, peer);
    assert_eq!(harness.bind(&one, 0x4000, peer), 0);
    let (third, new) = harness.allocated("45.0.3.3:3003", 1, 3);
    assert_eq!(new.ip(), addr("10.1.2.3:1").ip());
    let elsewhere = SocketAddr::new(new.ip(), peer.port());
    harness.permit(&one, new);
    assert_eq!(harness.send_indication(&one, elsewhere, b"x"), None);
    assert_eq!(harness.bind(&one, 0x4001, elsewhere), 403);
    harness.permit(&third, peer);
    harness.permit(&other, new);
    assert!(
        harness.send_indication(&third, peer, b"x").is_some(),
        "old and new allocations reach each other"
    );
    assert!(harness.send_indication(&other, new, b"x").is_some());
}
