//! Whatever a script of inputs does, the indexes agree and everything lent comes back.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Allocate { client: u8, seat: u8, extra: u8 },
    Refresh { client: u8, seat: u8, lifetime: u32 },
    Permit { client: u8, seat: u8, peer: u8 },
    Bind { client: u8, seat: u8, channel: u16, peer: u8 },
    Send { client: u8, peer: u8 },
    Left(u8),
    Lapsed(u8),
    Wait(u16),
    Noise { client: u8, bytes: Vec<u8> },
}

fn step() -> impl Strategy<Value = Step> {
    let (client, seat, peer) = (0..6_u8, 0..3_u8, 0..8_u8);
    prop_oneof![
        4 => (client.clone(), seat.clone(), 0..4_u8).prop_map(|(client, seat, extra)| Step::Allocate { client, seat, extra }),
        2 => (client.clone(), seat.clone(), prop_oneof![Just(0), Just(600), Just(3600)])
            .prop_map(|(client, seat, lifetime)| Step::Refresh { client, seat, lifetime }),
        2 => (client.clone(), seat.clone(), peer.clone()).prop_map(|(client, seat, peer)| Step::Permit { client, seat, peer }),
        2 => (client.clone(), seat.clone(), 0x4000..0x4004_u16, peer.clone())
            .prop_map(|(client, seat, channel, peer)| Step::Bind { client, seat, channel, peer }),
        3 => (client.clone(), peer).prop_map(|(client, peer)| Step::Send { client, peer }),
        1 => seat.clone().prop_map(Step::Left),
        1 => seat.prop_map(Step::Lapsed),
        2 => (0..900_u16).prop_map(Step::Wait),
        1 => (client, proptest::collection::vec(any::<u8>(), 0..64)).prop_map(|(client, bytes)| Step::Noise { client, bytes }),
    ]
}

/// Clients share 5-tuples across seats, so that they get into each other's way.
fn client(harness: &mut Harness, number: u8, name: u8) -> Client {
    harness.seated(&format!("45.0.1.1:{}", 1001 + u16::from(number)), name % 2, name)
}

fn peer(harness: &Harness, number: u8) -> SocketAddr {
    let relayed = harness.server.table.clients().nth(number.into());
    let relayed = relayed.and_then(|client| harness.server.table.get(client)?.route.relayed.v4);
    relayed.map_or(addr("45.7.7.7:7"), |relayed| relayed.0)
}

fn play(harness: &mut Harness, step: Step) {
    match step {
        Step::Allocate { client: number, seat, extra } => {
            let client = client(harness, number, seat);
            let extra: (AttrType, &[u8]) = match extra {
                0 => (attr::ATTR_EVEN_PORT, &[0x80]),
                1 => (AttrType(0x8000), &[2, 0, 0, 0]),
                2 => (attr::ATTR_REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]),
                _ => (attr::ATTR_LIFETIME, &[0, 0, 9, 9]),
            };
            harness.ask(&client, wire::METHOD_ALLOCATE, &[(attr::ATTR_REQUESTED_TRANSPORT, &UDP), extra]);
        }
        Step::Refresh { client: number, seat, lifetime } => {
            let client = client(harness, number, seat);
            harness.ask(&client, wire::METHOD_REFRESH, &[(attr::ATTR_LIFETIME, &lifetime.to_be_bytes())]);
        }
        Step::Permit { client: number, seat, peer: whom } => {
            let (client, peer) = (client(harness, number, seat), peer(harness, whom));
            harness.ask_peer(&client, wire::METHOD_CREATE_PERMISSION, peer);
        }
        Step::Bind { client: number, seat, channel, peer: whom } => {
            let (client, peer) = (client(harness, number, seat), peer(harness, whom));
            harness.bind(&client, channel, peer);
        }
        Step::Send { client: number, peer: whom } => {
            let (client, peer) = (client(harness, number, 0), peer(harness, whom));
            harness.indicate(&client, peer, b"media");
        }
        Step::Left(name) => harness.news(PrincipalEvent::Left(room(name % 2), seat(name))),
        Step::Lapsed(name) => harness.news(PrincipalEvent::Expired(room(name % 2), seat(name))),
        Step::Wait(seconds) => harness.handle_timeout(Duration::from_secs(seconds.into())),
        Step::Noise { client: number, bytes } => {
            let client = client(harness, number, 0);
            let now = harness.now();
            harness.server.handle(client.addr, &bytes, now);
        }
    }
    harness.collect();
}

/// The register, the table and the exchange tell the same story.
fn agree(harness: &Harness) {
    let registry = harness.server.routes.registry();
    assert_eq!(registry.total() as usize, harness.server.table.len());
    drop(registry);
    for client in harness.server.table.clients() {
        let allocation = harness.server.table.get(client).unwrap();
        for relayed in allocation.route.relayed.iter() {
            let family = crate::addr::Family::of(relayed.0.ip());
            let listed = harness.server.routes.lookup(family, relayed.0.port());
            assert!(Arc::ptr_eq(listed.as_ref().unwrap(), &allocation.route));
        }
    }
}

/// What flows remember is what would be found anew.
fn remembers_rightly(harness: &mut Harness) {
    for number in 0..6 {
        let client = client(harness, number, 0);
        for key in 0..12 {
            let send = |harness: &mut Harness| match key {
                0..4 => harness.channel_data(&client, 0x4000 + key, b"media"),
                peers => {
                    let peer = peer(harness, peers as u8 - 4);
                    harness.indicate(&client, peer, b"media")
                }
            };
            let remembered = send(harness);
            harness.server.flow_cache = Default::default();
            assert_eq!(remembered, send(harness), "client {number}, aim {key}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn any_script_leaves_the_indexes_agreeing_and_every_port_returned(
        steps in proptest::collection::vec(step(), 1..60), public: bool
    ) {
        let peer_policy = if public { PeerPolicy::Public(Default::default()) } else { PeerPolicy::SameGroup };
        let relayed = Families { v4: Some("45.0.0.10".parse().unwrap()), v6: Some("2a00::10".parse().unwrap()) };
        let mut harness = Harness::lending(relayed, peer_policy, Quota { user: 3, total: 5 }, 50_000..=50_007);
        let now = harness.now().instant;
        let free = harness.server.routes.registry().free_ports(now);
        for step in steps {
            play(&mut harness, step);
            agree(&harness);
            remembers_rightly(&mut harness);
        }
        harness.handle_timeout(minutes(61));
        let now = harness.now().instant;
        prop_assert_eq!(harness.server.poll_timeout(), None);
        prop_assert!(harness.server.pending.is_empty());
        prop_assert_eq!(harness.server.routes.registry().free_ports(now), free);
        prop_assert_eq!(harness.server.routes.registry().total(), 0);
    }
}
