//! Packets between two seats, handed over inside the process.

use super::*;
use crate::flow_cache::FlowKey;

#[test]
fn packets_reach_the_other_seat_and_nobody_elses_room() {
    let mut harness = Harness::new();
    let ((one, relayed), (other, peer)) = harness.pair();
    let (to, from) = (other.addr.remote, relayed);
    assert_eq!(harness.indicate(&one, peer, b"hi"), Some(Sent::Data { to, from, payload: b"hi".to_vec() }));
    let (stranger, away) = harness.allocated("45.0.3.3:3003", 2, 3);
    harness.permit(&stranger, peer);
    assert_eq!(harness.indicate(&stranger, peer, b"psst"), None);
    assert_eq!(harness.bind(&stranger, 0x4000, peer), 403);
    assert_eq!(harness.indicate(&one, away, b"psst"), None);
}

#[test]
fn a_channel_on_either_side_shortens_that_side() {
    let mut harness = Harness::new();
    let ((one, relayed), (other, peer)) = harness.pair();
    assert_eq!(harness.bind(&one, 0x4000, peer), 0);
    let (to, payload) = (other.addr.remote, b"media".to_vec());
    let got = harness.channel_data(&one, 0x4000, b"media");
    assert_eq!(got, Some(Sent::Data { to, from: relayed, payload: payload.clone() }));
    assert_eq!(harness.bind(&other, 0x5000, relayed), 0);
    let got = harness.channel_data(&one, 0x4000, b"media");
    assert_eq!(got, Some(Sent::Channel { to, number: 0x5000, payload: payload.clone() }));
    let back = harness.indicate(&other, relayed, b"media");
    assert_eq!(back, Some(Sent::Channel { to: one.addr.remote, number: 0x4000, payload }));
    assert_eq!(harness.channel_data(&one, 0x4001, b"unbound"), None);
}

#[test]
fn permissions_are_needed_on_both_sides_and_end_after_five_minutes() {
    let mut harness = Harness::new();
    let (one, relayed) = harness.allocated("45.0.1.1:1001", 1, 1);
    let (other, peer) = harness.allocated("45.0.2.2:2002", 1, 2);
    assert_eq!(harness.indicate(&one, peer, b"x"), None);
    harness.permit(&one, peer);
    assert_eq!(harness.indicate(&one, peer, b"x"), None, "the other side has not permitted us");
    harness.permit(&other, relayed);
    assert!(harness.indicate(&one, peer, b"x").is_some());
    harness.handle_timeout(minutes(4));
    harness.permit(&one, peer);
    harness.handle_timeout(minutes(1));
    assert_eq!(harness.indicate(&one, peer, b"x"), None, "the other's permission has ended");
}

/// Two clients that refresh their channels every 500 s, as aioice does, and no permission, talk for a
/// quarter of an hour and stop.
fn talk_by_channels_alone(harness: &mut Harness) {
    let (mut one, relayed) = harness.allocated("45.0.1.1:1001", 1, 1);
    let (mut other, peer) = harness.allocated("45.0.2.2:2002", 1, 2);
    for refreshed in 0..2 {
        for (client, to) in [(&mut one, peer), (&mut other, relayed)] {
            *client = harness.renewed(client);
            let hour: (AttrType, &[u8]) = (attr::ATTR_LIFETIME, &[0, 0, 0x0e, 0x10]);
            assert_eq!(harness.ask(client, wire::METHOD_REFRESH, &[hour]).code(), 0);
            assert_eq!(harness.bind(client, 0x4000, to), 0);
        }
        // A permission that is asked for beside the channel does not shorten the channel's.
        if refreshed == 1 {
            harness.permit(&one, peer);
        }
        for second in 0..500 {
            harness.handle_timeout(Duration::from_secs(1));
            for client in [&one, &other] {
                let got = harness.channel_data(client, 0x4000, b"media");
                assert!(matches!(got, Some(Sent::Channel { .. })), "second {second}, refresh {refreshed}");
            }
        }
    }
    harness.handle_timeout(Duration::from_secs(100));
    assert_eq!(harness.indicate(&one, peer, b"x"), None, "both channels and their permissions have ended");
}

#[test]
fn a_channel_keeps_its_permission_for_its_whole_life() {
    talk_by_channels_alone(&mut Harness::new());
}

#[test]
fn a_channel_keeps_its_permission_in_public_too() {
    let mut harness = Harness::with(PeerPolicy::Public(Default::default()), Quota::default());
    talk_by_channels_alone(&mut harness);
    let (client, relayed) = harness.allocated("45.0.1.1:1009", 1, 1);
    let peer = addr("45.0.7.7:7007");
    assert_eq!(harness.bind(&client, 0x4000, peer), 0);
    harness.handle_timeout(Duration::from_secs(599));
    let sent = harness.channel_data(&client, 0x4000, b"x");
    assert_eq!(sent, Some(Sent::Peer { from: relayed, to: peer, payload: b"x".to_vec() }));
    let got = harness.peer_sends(relayed, "45.0.7.7:7007", b"x");
    assert!(matches!(got, Some(Sent::Channel { number: 0x4000, .. })), "{got:?}");
    assert!(harness.peer_sends(relayed, "45.0.7.7:7008", b"x").is_some(), "a permission is for an address");
    harness.handle_timeout(Duration::from_secs(1));
    assert_eq!(harness.peer_sends(relayed, "45.0.7.7:7007", b"x"), None);
}

#[test]
fn a_relayed_address_of_ones_own_can_be_reached() {
    let mut harness = Harness::new();
    let (client, relayed) = harness.allocated("45.0.1.1:1001", 1, 1);
    harness.permit(&client, relayed);
    let to = client.addr.remote;
    let looped = harness.indicate(&client, relayed, b"me");
    assert_eq!(looped, Some(Sent::Data { to, from: relayed, payload: b"me".to_vec() }));
}

#[test]
fn a_room_reaches_nothing_outside_the_process() {
    let mut harness = Harness::new();
    let (client, _) = harness.allocated("45.0.1.1:1001", 1, 1);
    for peer in ["8.8.8.8:53", "127.0.0.1:3478", "45.0.0.10:3478", "192.0.0.9:50000"] {
        assert_eq!(
            harness.ask_peer(&client, wire::METHOD_CREATE_PERMISSION, addr(peer)).code(),
            403,
            "{peer}"
        );
        assert_eq!(harness.bind(&client, 0x4000, addr(peer)), 403, "{peer}");
        assert_eq!(harness.indicate(&client, addr(peer), b"x"), None, "{peer}");
    }
    assert_eq!(harness.bind(&client, 0x4000, addr("192.0.0.8:50000")), 403, "nobody has that port");
}

#[test]
fn empty_and_large_payloads_arrive_whole() {
    let mut harness = Harness::new();
    let ((one, _), (_, peer)) = harness.pair();
    for length in [0, 1, 2, 3, 1500, 9000, 60_000] {
        let payload = vec![7; length];
        let Some(Sent::Data { payload: got, .. }) = harness.indicate(&one, peer, &payload) else {
            panic!("{length} bytes lost");
        };
        assert_eq!(got, payload);
    }
}

#[test]
fn packets_to_an_ended_allocation_are_dropped() {
    let mut harness = Harness::new();
    let ((one, _), (other, peer)) = harness.pair();
    harness.ask(&other, wire::METHOD_REFRESH, &[(attr::ATTR_LIFETIME, &[0; 4])]);
    assert_eq!(harness.indicate(&one, peer, b"x"), None);
    assert_eq!(harness.indicate(&other, peer, b"x"), None);
}

#[test]
fn who_is_refused_takes_no_flows_place() {
    let mut harness = Harness::new();
    let ((one, _), (_, peer)) = harness.pair();
    assert!(harness.indicate(&one, peer, b"x").is_some());
    let mut stranger = harness.client("45.0.9.9:1", &Principal::Participant(room(1), seat(9)));
    for port in 1..=5000 {
        stranger.addr.remote.set_port(port);
        assert_eq!(harness.channel_data(&stranger, 0x4000, b"x"), None);
    }
    let slot = harness.server.flow_cache.slot(&one.addr, &FlowKey::Peer(PeerAddr(peer)));
    assert!(slot.as_ref().is_some_and(|flow| flow.client == one.addr));
}

#[test]
fn a_packet_crosses_from_one_worker_to_another() {
    let mut harness = Harness::new();
    let (one, relayed) = harness.allocated("45.0.1.1:1001", 1, 1);
    let config = ServerConfig { worker: 1, ..harness.server.config.clone() };
    let (authenticator, routes) = (harness.server.authenticator.clone(), Arc::clone(&harness.server.routes));
    let limit = Arc::new(ReplyLimit::new(Rate::per_second(0), [[1, 2], [3, 4]], harness.start));
    let mut second = Server::new(config, authenticator, routes, limit, Box::new(|| 77));
    std::mem::swap(&mut harness.server, &mut second);
    let (other, peer) = harness.allocated("45.0.2.2:2002", 1, 2);
    harness.permit(&other, relayed);
    assert_eq!(harness.bind(&other, 0x4000, relayed), 0);
    std::mem::swap(&mut harness.server, &mut second);
    harness.permit(&one, peer);
    let to = other.addr.remote;
    let got = harness.indicate(&one, peer, b"across");
    assert_eq!(got, Some(Sent::Channel { to, number: 0x4000, payload: b"across".to_vec() }));
}

#[test]
fn an_allocation_goes_no_faster_than_it_may_either_way() {
    for (fast, slow) in [(0_usize, 1_usize), (1, 0)] {
        let mut harness = Harness::new();
        let mut clients = Vec::new();
        for name in [0, 1_u8] {
            harness.server.config.max_bps = if usize::from(name) == slow { 10_000 } else { 0 };
            clients.push(harness.allocated(&format!("45.0.{name}.1:1001"), 1, name));
        }
        let (one, other) = (clients[fast].clone(), clients[slow].clone());
        harness.permit(&one.0, other.1);
        harness.permit(&other.0, one.1);
        for (from, to) in [(&one, &other), (&other, &one)] {
            harness.elapsed += Duration::from_secs(60);
            let passed = (0..100).filter(|_| harness.indicate(&from.0, to.1, &[0; 1000]).is_some()).count();
            assert_eq!(passed, 11, "a second's worth, and the one under way");
        }
    }
}

#[test]
fn an_allocation_is_reached_by_the_address_it_was_given_and_by_no_other() {
    let mut harness = Harness::new();
    let ((one, _), (other, peer)) = harness.pair();
    harness.takes_relayed("10.1.2.3", &[]);
    assert!(harness.indicate(&one, peer, b"x").is_some(), "it goes on as it was");
    harness.permit(&one, peer);
    assert_eq!(harness.bind(&one, 0x4000, peer), 0);
    let (third, new) = harness.allocated("45.0.3.3:3003", 1, 3);
    assert_eq!(new.ip(), addr("10.1.2.3:1").ip());
    let elsewhere = SocketAddr::new(new.ip(), peer.port());
    harness.permit(&one, new);
    assert_eq!(harness.indicate(&one, elsewhere, b"x"), None);
    assert_eq!(harness.bind(&one, 0x4001, elsewhere), 403);
    harness.permit(&third, peer);
    harness.permit(&other, new);
    assert!(harness.indicate(&third, peer, b"x").is_some(), "old and new meet");
    assert!(harness.indicate(&other, new, b"x").is_some());
}
