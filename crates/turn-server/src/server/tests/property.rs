//! After any sequence of inputs, the indexes agree and every port is released.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Allocate { client: u8, member: u8, extra: u8 },
    Refresh { client: u8, member: u8, lifetime: u32 },
    Permit { client: u8, member: u8, peer: u8 },
    Bind { client: u8, member: u8, channel: u16, peer: u8 },
    Send { client: u8, peer: u8 },
    Leave(u8),
    Expire(u8),
    Wait(u16),
    RandomBytes { client: u8, bytes: Vec<u8> },
}

fn step() -> impl Strategy<Value = Step> {
    let (client, member, peer) = (0..6_u8, 0..3_u8, 0..8_u8);
    let owner = (client.clone(), member.clone());
    let lifetime = prop_oneof![Just(0), Just(600), Just(3600)];
    let bytes = proptest::collection::vec(any::<u8>(), 0..64);
    prop_oneof![
        4 => (owner.clone(), 0..4_u8)
            .prop_map(|((client, member), extra)| Step::Allocate { client, member, extra }),
        2 => (owner.clone(), lifetime)
            .prop_map(|((client, member), lifetime)| Step::Refresh { client, member, lifetime }),
        2 => (owner.clone(), peer.clone())
            .prop_map(|((client, member), peer)| Step::Permit { client, member, peer }),
        2 => (owner, 0x4000..0x4004_u16, peer.clone())
            .prop_map(|((client, member), channel, peer)| Step::Bind { client, member, channel, peer }),
        3 => (client.clone(), peer).prop_map(|(client, peer)| Step::Send { client, peer }),
        1 => member.clone().prop_map(Step::Leave),
        1 => member.prop_map(Step::Expire),
        2 => (0..900_u16).prop_map(Step::Wait),
        1 => (client, bytes).prop_map(|(client, bytes)| Step::RandomBytes { client, bytes }),
    ]
}

/// Members share 5-tuples, so that their requests conflict.
fn client(harness: &mut Harness, number: u8, name: u8) -> Client {
    harness.admitted_client(&format!("45.0.1.1:{}", 1001 + u16::from(number)), name % 2, name)
}

fn peer(harness: &Harness, number: u8) -> SocketAddr {
    let relayed = harness.server.allocations.table().clients().nth(number.into());
    let relayed = relayed.and_then(|client| harness.server.allocations.table().get(client)?.route.relayed.v4);
    relayed.map_or(addr("45.7.7.7:7"), |relayed| relayed.0)
}

fn apply(harness: &mut Harness, step: Step) {
    match step {
        Step::Allocate { client: number, member, extra } => {
            let client = client(harness, number, member);
            let extra: (AttrType, &[u8]) = match extra {
                0 => (attr::ATTR_EVEN_PORT, &[0x80]),
                1 => (AttrType(0x8000), &[2, 0, 0, 0]),
                2 => (attr::ATTR_REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]),
                _ => (attr::ATTR_LIFETIME, &[0, 0, 9, 9]),
            };
            harness.request(&client, wire::METHOD_ALLOCATE, &[(attr::ATTR_REQUESTED_TRANSPORT, &UDP), extra]);
        }
        Step::Refresh { client: number, member, lifetime } => {
            let client = client(harness, number, member);
            harness.request(&client, wire::METHOD_REFRESH, &[(attr::ATTR_LIFETIME, &lifetime.to_be_bytes())]);
        }
        Step::Permit { client: number, member, peer: target } => {
            let (client, peer) = (client(harness, number, member), peer(harness, target));
            harness.request_peer(&client, wire::METHOD_CREATE_PERMISSION, peer);
        }
        Step::Bind { client: number, member, channel, peer: target } => {
            let (client, peer) = (client(harness, number, member), peer(harness, target));
            harness.bind(&client, channel, peer);
        }
        Step::Send { client: number, peer: target } => {
            let (client, peer) = (client(harness, number, 0), peer(harness, target));
            harness.send_indication(&client, peer, b"media");
        }
        Step::Leave(name) => {
            harness.principal_event(PrincipalEvent::Left(group_id(name % 2), member_id(name)))
        }
        Step::Expire(name) => {
            harness.principal_event(PrincipalEvent::Expired(group_id(name % 2), member_id(name)))
        }
        Step::Wait(seconds) => harness.advance(Duration::from_secs(seconds.into())),
        Step::RandomBytes { client: number, bytes } => {
            let client = client(harness, number, 0);
            let now = harness.now();
            harness.server.handle(client.addr, &bytes, now);
        }
    }
    harness.collect();
}

/// Registry, allocation table and routing table have the same allocations.
fn assert_indexes_agree(harness: &Harness) {
    let registry = harness.routes.registry();
    assert_eq!(registry.total() as usize, harness.server.allocations.table().len());
    drop(registry);
    for client in harness.server.allocations.table().clients() {
        let allocation = harness.server.allocations.table().get(client).unwrap();
        for relayed in allocation.route.relayed.iter() {
            let family = crate::addr::Family::of(relayed.0.ip());
            let route = harness.routes.lookup(family, relayed.0.port());
            assert!(Arc::ptr_eq(route.as_ref().unwrap(), &allocation.route));
        }
    }
}

/// A cached flow leads where an uncached one would.
fn assert_flow_cache_is_current(harness: &mut Harness) {
    for number in 0..6 {
        let client = client(harness, number, 0);
        for key in 0..12 {
            let send = |harness: &mut Harness| match key {
                0..4 => harness.channel_data(&client, 0x4000 + key, b"media"),
                peers => {
                    let peer = peer(harness, peers as u8 - 4);
                    harness.send_indication(&client, peer, b"media")
                }
            };
            let cached = send(harness);
            harness.server.forwarder.clear_cache();
            assert_eq!(cached, send(harness), "client {number}, flow {key}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn any_inputs_leave_consistent_indexes_and_release_every_port(
        steps in proptest::collection::vec(step(), 1..60), public: bool
    ) {
        let peer_policy = if public { PeerPolicy::Public(Default::default()) } else { PeerPolicy::SameGroup };
        let relayed = Families { v4: Some("45.0.0.10".parse().unwrap()), v6: Some("2a00::10".parse().unwrap()) };
        let mut harness = Harness::with_relayed(relayed, peer_policy, Quota { user: 3, total: 5 }, 50_000..=50_007);
        let now = harness.now().instant;
        let free = harness.routes.registry().free_ports(now);
        for step in steps {
            apply(&mut harness, step);
            assert_indexes_agree(&harness);
            assert_flow_cache_is_current(&mut harness);
        }
        harness.advance(minutes(61));
        let now = harness.now().instant;
        prop_assert_eq!(harness.server.poll_timeout(), None);
        prop_assert!(!harness.server.allocations.has_pending());
        prop_assert_eq!(harness.routes.registry().free_ports(now), free);
        prop_assert_eq!(harness.routes.registry().total(), 0);
    }
}
