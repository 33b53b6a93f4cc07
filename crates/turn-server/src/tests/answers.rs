//! What each request is answered: the rows of the report card that concern one client.

use super::*;

const TRANSPORT: (AttrType, &[u8]) = (attr::ATTR_REQUESTED_TRANSPORT, &UDP);
const V6: (AttrType, &[u8]) = (attr::ATTR_REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
const BOTH: (AttrType, &[u8]) = (AttrType(0x8000), &[2, 0, 0, 0]);

fn allocate(harness: &mut Harness, client: &Client, attributes: &[(AttrType, &[u8])]) -> Answer {
    harness.ask(client, wire::METHOD_ALLOCATE, attributes)
}

fn refresh(harness: &mut Harness, client: &Client, seconds: u32) -> Answer {
    harness.ask(client, wire::METHOD_REFRESH, &[(attr::ATTR_LIFETIME, &seconds.to_be_bytes())])
}

#[test]
fn an_allocate_is_answered_with_both_addresses_and_a_lifetime() {
    let mut harness = Harness::new();
    let client = harness.seated("45.0.1.1:1001", 1, 1);
    let answer = allocate(&mut harness, &client, &[TRANSPORT]);
    assert_eq!((answer.code(), answer.lifetime()), (0, 600));
    assert_eq!(answer.address(attr::ATTR_XORMAPPED_ADDRESS), Some(client.addr.remote));
    let relayed = answer.address(attr::ATTR_XOR_RELAYED_ADDRESS).unwrap();
    assert_eq!(relayed.ip().to_string(), "192.0.0.8");
    assert!(relayed.port() >= 49_152);
    assert!(answer.is_signed_for(&client));
}

#[test]
fn the_same_allocate_again_gets_the_same_answer_and_a_new_one_437() {
    let mut harness = Harness::new();
    let client = harness.seated("45.0.1.1:1001", 1, 1);
    let bytes = client.signed(message(wire::METHOD_ALLOCATE, [5; 12], &[TRANSPORT]));
    let first = harness.send(&client, &bytes).unwrap();
    harness.elapsed += Duration::from_millis(500);
    let again = harness.send(&client, &bytes).unwrap();
    assert_eq!(first.bytes, again.bytes);
    assert_eq!(allocate(&mut harness, &client, &[TRANSPORT]).code(), 437);
}

#[test]
fn a_nonce_that_is_made_up_or_for_another_port_gets_438_and_then_success() {
    let mut harness = Harness::new();
    let mut client = harness.seated("45.0.1.1:1001", 1, 1);
    for nonce in ["made up".to_owned(), harness.seated("45.0.1.1:1002", 1, 1).nonce] {
        client.nonce = nonce;
        let refused = allocate(&mut harness, &client, &[TRANSPORT]);
        assert_eq!(refused.code(), 438);
        client.nonce = String::from_utf8(refused.value(attr::ATTR_NONCE).unwrap()).unwrap();
    }
    assert_eq!(allocate(&mut harness, &client, &[TRANSPORT]).code(), 0);
}

#[test]
fn a_bad_password_an_expired_credential_and_a_wrong_realm_get_401() {
    let mut harness = Harness::new();
    let mut client = harness.seated("45.0.1.1:1001", 1, 1);
    let good = client.credential.clone();
    client.credential.password.push('x');
    assert_eq!(allocate(&mut harness, &client, &[TRANSPORT]).code(), 401);
    client.credential = harness.secrets.mint(&Principal::Participant(room(1), seat(1)), UNIX);
    assert_eq!(allocate(&mut harness, &client, &[TRANSPORT]).code(), 401);
    client.credential = good;
    let wrong_realm = client.signed_with(message(wire::METHOD_ALLOCATE, [1; 12], &[TRANSPORT]), "elsewhere");
    assert_eq!(harness.send(&client, &wrong_realm).unwrap().code(), 401);
    for username in ["", "alice", "x:alice"] {
        client.credential.username = username.into();
        assert_eq!(allocate(&mut harness, &client, &[TRANSPORT]).code(), 401);
    }
}

#[test]
fn an_older_secret_still_opens() {
    let mut harness = Harness::new();
    let mut client = harness.seated("45.0.1.1:1001", 1, 1);
    client.credential.password = Secret::new("south").password(&client.credential.username);
    assert_eq!(allocate(&mut harness, &client, &[TRANSPORT]).code(), 0);
}

#[test]
fn integrity_without_what_it_needs_gets_400() {
    let mut harness = Harness::new();
    let client = harness.seated("45.0.1.1:1001", 1, 1);
    let mut bare = message(wire::METHOD_ALLOCATE, [1; 12], &[TRANSPORT]);
    client.key().signer().add_to(&mut bare).unwrap();
    assert_eq!(harness.send(&client, &bare.raw).unwrap().code(), 400);
}

#[test]
fn lifetimes_are_kept_within_ten_minutes_and_an_hour() {
    let mut harness = Harness::new();
    let (client, _) = harness.allocated("45.0.1.1:1001", 1, 1);
    assert_eq!(refresh(&mut harness, &client, 1).lifetime(), 600);
    assert_eq!(refresh(&mut harness, &client, 100_000).lifetime(), 3600);
    assert_eq!(refresh(&mut harness, &client, 1200).lifetime(), 1200);
}

#[test]
fn without_an_allocation_everything_gets_437() {
    let mut harness = Harness::new();
    let client = harness.seated("45.0.1.1:1001", 1, 1);
    let peer = addr("192.0.0.8:50000");
    assert_eq!(refresh(&mut harness, &client, 600).code(), 437);
    assert_eq!(harness.ask_peer(&client, wire::METHOD_CREATE_PERMISSION, peer).code(), 437);
    assert_eq!(harness.bind(&client, 0x4000, peer), 437);
}

#[test]
fn another_valid_user_on_the_same_5_tuple_gets_441_for_everything() {
    let mut harness = Harness::new();
    let (_, relayed) = harness.allocated("45.0.1.1:1001", 1, 1);
    let other = harness.seated("45.0.1.1:1001", 1, 2);
    for seconds in [600, 0] {
        let answer = refresh(&mut harness, &other, seconds);
        assert_eq!(answer.code(), 441);
        assert!(answer.is_signed_for(&other));
    }
    assert_eq!(harness.ask_peer(&other, wire::METHOD_CREATE_PERMISSION, relayed).code(), 441);
    assert_eq!(harness.bind(&other, 0x4000, relayed), 441);
    assert_eq!(harness.server.allocations(), 1);
}

#[test]
fn attributes_behind_the_integrity_are_ignored() {
    let mut harness = Harness::new();
    let (client, _) = harness.allocated("45.0.1.1:1001", 1, 1);
    let mut bytes = client.signed(message(wire::METHOD_REFRESH, [1; 12], &[]));
    bytes.extend_from_slice(&[0, 0x0d, 0, 4, 0, 0, 0, 0]);
    let length = (bytes.len() - 20) as u16;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
    assert_eq!(harness.send(&client, &bytes).unwrap().lifetime(), 600);
    assert_eq!(harness.server.allocations(), 1);
}

#[test]
fn an_unknown_required_attribute_gets_420_with_its_name() {
    let mut harness = Harness::new();
    let client = harness.seated("45.0.1.1:1001", 1, 1);
    let answer =
        allocate(&mut harness, &client, &[TRANSPORT, (AttrType(0x7123), b"?"), (AttrType(0x8123), b"!")]);
    assert_eq!(answer.code(), 420);
    assert_eq!(answer.value(attr::ATTR_UNKNOWN_ATTRIBUTES), Some(vec![0x71, 0x23]));
    assert!(answer.is_signed_for(&client));
}

#[test]
fn what_is_not_built_is_named() {
    let mut harness = Harness::new();
    let client = harness.seated("45.0.1.1:1001", 1, 1);
    let refused = |harness: &mut Harness, attributes: &[(AttrType, &[u8])]| {
        allocate(harness, &client, attributes).code()
    };
    assert_eq!(refused(&mut harness, &[(attr::ATTR_REQUESTED_TRANSPORT, &[6, 0, 0, 0])]), 442);
    assert_eq!(refused(&mut harness, &[]), 400);
    assert_eq!(
        refused(&mut harness, &[TRANSPORT, (attr::ATTR_REQUESTED_ADDRESS_FAMILY, &[3, 0, 0, 0])]),
        440
    );
    assert_eq!(refused(&mut harness, &[TRANSPORT, (attr::ATTR_RESERVATION_TOKEN, b"nobody's")]), 508);
    assert_eq!(refused(&mut harness, &[TRANSPORT, (attr::ATTR_RESERVATION_TOKEN, b"short")]), 400);
    assert_eq!(refused(&mut harness, &[TRANSPORT, V6, BOTH]), 400);
    assert_eq!(refused(&mut harness, &[TRANSPORT, (AttrType(0x8000), &[1, 0, 0, 0])]), 400);
}

#[test]
fn a_family_that_is_not_lent_gets_440() {
    let only_v4 = Families { v4: Some("192.0.0.8".parse().unwrap()), v6: None };
    let mut harness = Harness::lending(only_v4, PeerPolicy::SameGroup, Quota::default(), 50_000..=50_100);
    let client = harness.seated("45.0.1.1:1001", 1, 1);
    assert_eq!(allocate(&mut harness, &client, &[TRANSPORT, V6]).code(), 440);
    let answer = allocate(&mut harness, &client, &[TRANSPORT, BOTH]);
    assert_eq!(answer.value(AttrType(0x8001)), Some(vec![2, 0, 4, 40]));
}

#[test]
fn ipv6_and_both_families_are_lent_when_asked() {
    let mut harness = Harness::new();
    let one = harness.seated("45.0.1.1:1001", 1, 1);
    let answer = allocate(&mut harness, &one, &[TRANSPORT, V6]);
    assert_eq!(answer.address(attr::ATTR_XOR_RELAYED_ADDRESS).unwrap().ip().to_string(), "100::8");
    let other = harness.seated("45.0.1.1:1002", 1, 1);
    let answer = allocate(&mut harness, &other, &[TRANSPORT, BOTH]);
    let relayed = answer.message.attributes.0.iter().filter(|a| a.typ == attr::ATTR_XOR_RELAYED_ADDRESS);
    let families: Vec<u8> = relayed.map(|a| a.value[1]).collect();
    assert_eq!(families, [1, 2]);
    let last = harness.ask(&other, wire::METHOD_REFRESH, &[(attr::ATTR_LIFETIME, &[0; 4]), V6]);
    assert_eq!((last.code(), harness.server.allocations()), (0, 2));
    let again = harness.ask(&other, wire::METHOD_REFRESH, &[(attr::ATTR_LIFETIME, &[0; 4]), V6]);
    assert_eq!(again.code(), 443);
}

#[test]
fn an_even_port_keeps_the_next_one_for_its_holder_alone() {
    let mut harness = Harness::new();
    let client = harness.seated("45.0.1.1:1001", 1, 1);
    let answer = allocate(&mut harness, &client, &[TRANSPORT, (attr::ATTR_EVEN_PORT, &[0x80])]);
    let even = answer.address(attr::ATTR_XOR_RELAYED_ADDRESS).unwrap().port();
    assert_eq!(even % 2, 0);
    let token = answer.value(attr::ATTR_RESERVATION_TOKEN).unwrap();
    let reserved = [TRANSPORT, (attr::ATTR_RESERVATION_TOKEN, token.as_slice())];
    let stranger = harness.seated("45.0.2.2:2002", 1, 2);
    assert_eq!(allocate(&mut harness, &stranger, &reserved).code(), 508);
    let second = harness.seated("45.0.1.1:1003", 1, 1);
    let answer = allocate(&mut harness, &second, &reserved);
    assert_eq!(answer.address(attr::ATTR_XOR_RELAYED_ADDRESS).unwrap().port(), even + 1);
    let third = harness.seated("45.0.1.1:1004", 1, 1);
    assert_eq!(allocate(&mut harness, &third, &reserved).code(), 508);
}

#[test]
fn a_kept_port_is_lent_again_after_half_a_minute() {
    let relayed_ips = Families { v4: Some("192.0.0.8".parse().unwrap()), v6: None };
    let mut harness = Harness::lending(relayed_ips, PeerPolicy::SameGroup, Quota::default(), 50_000..=50_001);
    let client = harness.seated("45.0.1.1:1001", 1, 1);
    assert_eq!(allocate(&mut harness, &client, &[TRANSPORT, (attr::ATTR_EVEN_PORT, &[0x80])]).code(), 0);
    let other = harness.seated("45.0.2.2:2002", 1, 2);
    assert_eq!(allocate(&mut harness, &other, &[TRANSPORT]).code(), 508);
    harness.handle_timeout(Duration::from_secs(30));
    assert_eq!(allocate(&mut harness, &other, &[TRANSPORT]).code(), 0);
}

#[test]
fn one_refused_peer_refuses_all_and_none_is_installed() {
    let mut harness = Harness::new();
    let (one, relayed) = harness.allocated("45.0.1.1:1001", 1, 1);
    let (other, target) = harness.allocated("45.0.2.2:2002", 1, 2);
    harness.permit(&other, relayed);
    let transaction = harness.transaction();
    let mut both = message(wire::METHOD_CREATE_PERMISSION, transaction, &[]);
    xor(&mut both, target);
    xor(&mut both, addr("8.8.8.8:53"));
    assert_eq!(harness.sign_and_send(&one, both).code(), 403);
    assert_eq!(harness.indicate(&one, target, b"hello"), None);
    assert_eq!(harness.ask(&one, wire::METHOD_CREATE_PERMISSION, &[]).code(), 400);
    assert_eq!(harness.ask_peer(&one, wire::METHOD_CREATE_PERMISSION, addr("[100::8]:1")).code(), 443);
}

#[test]
fn channel_numbers_and_peers_go_together_one_to_one() {
    let mut harness = Harness::new();
    let ((one, _), (other, peer)) = harness.pair();
    let (_, another) = harness.allocated("45.0.3.3:3003", 1, 3);
    assert_eq!(harness.bind(&one, 0x3FFF, peer), 400);
    assert_eq!(harness.bind(&one, 0x8000, peer), 400);
    assert_eq!(harness.bind(&one, 0x7FFF, peer), 0);
    assert_eq!(harness.bind(&one, 0x7FFF, peer), 0);
    assert_eq!(harness.bind(&one, 0x7FFF, another), 400);
    assert_eq!(harness.bind(&one, 0x4001, peer), 400);
    harness.handle_timeout(minutes(9));
    refresh(&mut harness, &one, 3600);
    refresh(&mut harness, &other, 3600);
    harness.handle_timeout(minutes(5));
    let one = harness.renewed(&one);
    assert_eq!(harness.bind(&one, 0x4001, peer), 400, "the number rests for five minutes");
}

#[test]
fn a_channel_rests_and_then_may_name_another_peer() {
    let mut harness = Harness::new();
    let ((one, _), (other, peer)) = harness.pair();
    harness.bind(&one, 0x4000, peer);
    for client in [&one, &other] {
        refresh(&mut harness, client, 3600);
    }
    harness.handle_timeout(minutes(15));
    let one = harness.renewed(&one);
    assert_eq!(harness.bind(&one, 0x4001, peer), 0);
}

#[test]
fn a_browser_may_hold_64_permissions_and_no_more() {
    let mut harness = Harness::with(PeerPolicy::Public(Default::default()), Quota::default());
    let (client, _) = harness.allocated("45.0.1.1:1001", 1, 1);
    for host in 0..64 {
        assert_eq!(
            harness
                .ask_peer(&client, wire::METHOD_CREATE_PERMISSION, addr(&format!("45.9.0.{host}:1")))
                .code(),
            0
        );
    }
    let one_more = harness.ask_peer(&client, wire::METHOD_CREATE_PERMISSION, addr("45.9.1.1:1"));
    assert_eq!(one_more.code(), 508);
    harness.permit(&client, addr("45.9.0.7:2"));
}

#[test]
fn an_allocation_nobody_refreshes_ends_on_time() {
    let mut harness = Harness::new();
    let (client, _) = harness.allocated("45.0.1.1:1001", 1, 1);
    harness.handle_timeout(minutes(10) - Duration::from_secs(1));
    assert_eq!(harness.server.allocations(), 1);
    harness.handle_timeout(Duration::from_secs(1));
    assert_eq!(harness.server.allocations(), 0);
    let end = super::super::server::CloseReason::Expired;
    assert_eq!(harness.events.last(), Some(&Event::AllocationClosed { client: client.addr, end, sent: 0 }));
}

#[test]
fn quotas_are_kept_and_the_longest_silent_gives_way() {
    let mut harness = Harness::with(PeerPolicy::SameGroup, Quota { user: 2, total: 3 });
    let (first, _) = harness.allocated("45.0.1.1:1001", 1, 1);
    harness.elapsed += Duration::from_secs(10);
    harness.allocated("45.0.1.1:1002", 1, 1);
    let third = harness.seated("45.0.1.1:1003", 1, 1);
    assert_eq!(allocate(&mut harness, &third, &[TRANSPORT]).code(), 486);
    harness.handle_timeout(Duration::from_secs(20));
    assert_eq!(allocate(&mut harness, &third, &[TRANSPORT]).code(), 0);
    assert_eq!(refresh(&mut harness, &first, 600).code(), 437, "the first had been silent longest");
    harness.allocated("45.0.2.2:2001", 1, 2);
    let beyond = harness.seated("45.0.2.2:2002", 1, 2);
    assert_eq!(allocate(&mut harness, &beyond, &[TRANSPORT]).code(), 508);
}

/// Seats of one source, each with all the allocations it may have; how many there are.
fn allocate_from(harness: &mut Harness, source: &str, seats: std::ops::Range<u8>) -> usize {
    let before = harness.server.allocations();
    for (name, number) in seats.flat_map(|name| (0..20).map(move |number| (name, number))) {
        let client =
            harness.seated(&format!("{source}:{}", 1000 + 20 * u16::from(name) + number), name, name);
        assert!(matches!(allocate(harness, &client, &[TRANSPORT]).code(), 0 | 486));
    }
    harness.server.allocations() - before
}

#[test]
fn a_source_of_many_seats_holds_a_quarter_of_the_ports_and_no_more() {
    let mut harness = stage_of_400_ports();
    assert_eq!(allocate_from(&mut harness, "45.0.1.1", 1..8), 100);
    assert_eq!(allocate_from(&mut harness, "45.0.1.2", 11..13), 40, "another source is not concerned");
    harness.handle_timeout(minutes(10));
    assert_eq!(harness.server.allocations(), 0);
    assert_eq!(allocate_from(&mut harness, "45.0.1.1", 1..8), 100, "what has ended is forgotten");
}

#[test]
fn a_v6_customer_is_one_source_and_the_host_itself_none() {
    let mut harness = stage_of_400_ports();
    let customer =
        allocate_from(&mut harness, "[2a00::1]", 1..5) + allocate_from(&mut harness, "[2a00::2]", 5..9);
    assert_eq!(customer, 100);
    assert_eq!(allocate_from(&mut harness, "127.0.0.1", 11..19), 160, "a proxy may be there");
}

#[test]
fn networks_of_one_v6_subscriber_share_a_quarter_and_of_one_site_half() {
    let mut harness = stage_of_400_ports();
    let home: usize =
        (1..9).map(|n| allocate_from(&mut harness, &format!("[2a00:0:0:{n}::1]"), n..n + 1)).sum();
    assert_eq!(home, 100, "eight /64s of one /56");
    let site: usize =
        (11..21).map(|n| allocate_from(&mut harness, &format!("[2a00:0:0:{n}00::1]"), n..n + 1)).sum();
    assert_eq!(site, 100, "other /56s of its /48");
    assert_eq!(allocate_from(&mut harness, "[2a00:0:1::1]", 31..33), 40, "the next /48 is not concerned");
    harness.handle_timeout(minutes(10));
    assert_eq!(allocate_from(&mut harness, "[2a00::1]", 41..46), 100, "what has ended is forgotten");
}

/// How many seats of `source`, with one allocation each, are lent something.
fn seats_from(harness: &mut Harness, source: &str, seats: std::ops::Range<u8>) -> usize {
    seats
        .filter(|&name| {
            let client = harness.seated(&format!("{source}:{}", 1000 + u16::from(name)), name, name);
            allocate(harness, &client, &[TRANSPORT]).code() == 0
        })
        .count()
}

#[test]
fn silent_allocations_give_way_when_the_ports_run_out() {
    let mut harness = Harness::lending(v4(), PeerPolicy::SameGroup, Quota::default(), 50_000..=50_099);
    assert_eq!(seats_from(&mut harness, "45.0.1.1", 0..100), 64);
    assert_eq!(seats_from(&mut harness, "45.0.1.2", 100..150), 36);
    assert_eq!(seats_from(&mut harness, "45.0.1.3", 150..151), 0, "nothing is left and nobody is silent");
    harness.handle_timeout(Duration::from_secs(31));
    assert_eq!(seats_from(&mut harness, "45.0.1.3", 150..160), 10);
    assert_eq!(harness.server.allocations(), 100);
    assert_eq!(seats_from(&mut harness, "45.0.1.1", 160..170), 10);
    let of = |source: &str| {
        harness.server.table.clients().filter(|client| client.remote.ip().to_string() == source).count()
    };
    assert_eq!((of("45.0.1.1"), of("45.0.1.2")), (54, 36), "who holds most takes only from itself");
}

#[test]
fn a_source_with_many_allocations_takes_none_from_one_with_few() {
    let mut harness = Harness::with(PeerPolicy::SameGroup, Quota { user: 0, total: 20 });
    assert_eq!(seats_from(&mut harness, "45.0.1.1", 0..2), 2);
    harness.handle_timeout(Duration::from_secs(31));
    assert_eq!(seats_from(&mut harness, "45.0.1.2", 10..40), 18, "508 beyond the total");
    assert_eq!(seats_from(&mut harness, "45.0.1.3", 50..53), 1, "who has none takes a silent one");
    let tester = harness.client("45.0.1.4:1", &Principal::Tester(room(60), seat(60)));
    assert_eq!(allocate(&mut harness, &tester, &[TRANSPORT]).code(), 508, "who only tests takes none");
}

#[test]
fn ports_kept_in_all_are_an_eighth_at_most() {
    let mut harness = Harness::lending(v4(), PeerPolicy::SameGroup, Quota::default(), 50_000..=50_799);
    let reserve = |harness: &mut Harness, name: u8| {
        let client = harness.seated(&format!("45.0.3.{name}:1"), name, name);
        allocate(harness, &client, &[TRANSPORT, (attr::ATTR_EVEN_PORT, &[0x80])]).code()
    };
    assert!((0..100).all(|name| reserve(&mut harness, name) == 0));
    assert_eq!(reserve(&mut harness, 100), 508);
    harness.allocated("45.0.4.4:4004", 101, 101);
    harness.handle_timeout(Duration::from_secs(30));
    assert_eq!(reserve(&mut harness, 100), 0);
}

fn v4() -> Families<std::net::IpAddr> {
    Families { v4: Some("192.0.0.8".parse().unwrap()), v6: None }
}

fn stage_of_400_ports() -> Harness {
    Harness::lending(v4(), PeerPolicy::SameGroup, Quota { user: 20, total: 0 }, 50_000..=50_399)
}
