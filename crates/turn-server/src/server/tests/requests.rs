//! The response to each kind of request of one client.

use std::ops::Range;

use super::*;

const TRANSPORT: (AttrType, &[u8]) = (attr::ATTR_REQUESTED_TRANSPORT, &UDP);
const V6: (AttrType, &[u8]) = (attr::ATTR_REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
const BOTH: (AttrType, &[u8]) = (AttrType(0x8000), &[2, 0, 0, 0]);

fn allocate(harness: &mut Harness, client: &Client, attributes: &[(AttrType, &[u8])]) -> Response {
    harness.request(client, wire::METHOD_ALLOCATE, attributes)
}

fn refresh(harness: &mut Harness, client: &Client, seconds: u32) -> Response {
    harness.request(client, wire::METHOD_REFRESH, &[(attr::ATTR_LIFETIME, &seconds.to_be_bytes())])
}

#[test]
fn an_allocate_returns_relayed_and_mapped_address_and_a_lifetime() {
    let mut harness = Harness::new();
    let client = harness.admitted_client("45.0.1.1:1001", 1, 1);
    let response = allocate(&mut harness, &client, &[TRANSPORT]);
    assert_eq!((response.code(), response.lifetime()), (0, 600));
    assert_eq!(response.address(attr::ATTR_XORMAPPED_ADDRESS), Some(client.addr.remote));
    let relayed = response.address(attr::ATTR_XOR_RELAYED_ADDRESS).unwrap();
    assert_eq!(relayed.ip().to_string(), "192.0.0.8");
    assert!(relayed.port() >= 49_152);
    assert!(response.is_signed_for(&client));
}

#[test]
fn a_retransmitted_allocate_gets_an_equal_reply_and_another_437() {
    let mut harness = Harness::new();
    let client = harness.admitted_client("45.0.1.1:1001", 1, 1);
    let bytes = client.signed(message(wire::METHOD_ALLOCATE, [5; 12], &[TRANSPORT]));
    let first = harness.send(&client, &bytes).unwrap();
    harness.elapsed += Duration::from_millis(500);
    let second = harness.send(&client, &bytes).unwrap();
    assert_eq!(first.bytes, second.bytes);
    assert_eq!(allocate(&mut harness, &client, &[TRANSPORT]).code(), 437);
}

#[test]
fn an_invalid_nonce_gets_438_with_a_valid_one() {
    let mut harness = Harness::new();
    let mut client = harness.admitted_client("45.0.1.1:1001", 1, 1);
    for nonce in ["made up".to_owned(), harness.admitted_client("45.0.1.1:1002", 1, 1).nonce] {
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
    let mut client = harness.admitted_client("45.0.1.1:1001", 1, 1);
    let valid = client.credential.clone();
    client.credential.password.push('x');
    assert_eq!(allocate(&mut harness, &client, &[TRANSPORT]).code(), 401);
    client.credential = harness.secrets.mint(&Principal::Participant(group_id(1), member_id(1)), UNIX);
    assert_eq!(allocate(&mut harness, &client, &[TRANSPORT]).code(), 401);
    client.credential = valid;
    let wrong_realm = client.signed_with(message(wire::METHOD_ALLOCATE, [1; 12], &[TRANSPORT]), "elsewhere");
    assert_eq!(harness.send(&client, &wrong_realm).unwrap().code(), 401);
    for username in ["", "alice", "x:alice"] {
        client.credential.username = username.into();
        assert_eq!(allocate(&mut harness, &client, &[TRANSPORT]).code(), 401);
    }
}

#[test]
fn a_credential_of_an_older_secret_is_valid() {
    let mut harness = Harness::new();
    let mut client = harness.admitted_client("45.0.1.1:1001", 1, 1);
    client.credential.password = Secret::new("south").password(&client.credential.username);
    assert_eq!(allocate(&mut harness, &client, &[TRANSPORT]).code(), 0);
}

#[test]
fn integrity_without_username_realm_and_nonce_gets_400() {
    let mut harness = Harness::new();
    let client = harness.admitted_client("45.0.1.1:1001", 1, 1);
    let mut incomplete = message(wire::METHOD_ALLOCATE, [1; 12], &[TRANSPORT]);
    client.key().signer().add_to(&mut incomplete).unwrap();
    assert_eq!(harness.send(&client, &incomplete.raw).unwrap().code(), 400);
}

#[test]
fn lifetimes_are_between_ten_minutes_and_an_hour() {
    let mut harness = Harness::new();
    let (client, _) = harness.allocated("45.0.1.1:1001", 1, 1);
    assert_eq!(refresh(&mut harness, &client, 1).lifetime(), 600);
    assert_eq!(refresh(&mut harness, &client, 100_000).lifetime(), 3600);
    assert_eq!(refresh(&mut harness, &client, 1200).lifetime(), 1200);
}

#[test]
fn requests_without_an_allocation_get_437() {
    let mut harness = Harness::new();
    let client = harness.admitted_client("45.0.1.1:1001", 1, 1);
    let peer = addr("192.0.0.8:50000");
    assert_eq!(refresh(&mut harness, &client, 600).code(), 437);
    assert_eq!(harness.request_peer(&client, wire::METHOD_CREATE_PERMISSION, peer).code(), 437);
    assert_eq!(harness.bind(&client, 0x4000, peer), 437);
}

#[test]
fn another_user_on_the_same_5_tuple_gets_441() {
    let mut harness = Harness::new();
    let (_, relayed) = harness.allocated("45.0.1.1:1001", 1, 1);
    let other = harness.admitted_client("45.0.1.1:1001", 1, 2);
    for seconds in [600, 0] {
        let response = refresh(&mut harness, &other, seconds);
        assert_eq!(response.code(), 441);
        assert!(response.is_signed_for(&other));
    }
    assert_eq!(harness.request_peer(&other, wire::METHOD_CREATE_PERMISSION, relayed).code(), 441);
    assert_eq!(harness.bind(&other, 0x4000, relayed), 441);
    assert_eq!(harness.server.allocations(), 1);
}

#[test]
fn attributes_after_message_integrity_are_ignored() {
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
fn an_unknown_required_attribute_gets_420_with_its_type() {
    let mut harness = Harness::new();
    let client = harness.admitted_client("45.0.1.1:1001", 1, 1);
    let response =
        allocate(&mut harness, &client, &[TRANSPORT, (AttrType(0x7123), b"?"), (AttrType(0x8123), b"!")]);
    assert_eq!(response.code(), 420);
    assert_eq!(response.value(attr::ATTR_UNKNOWN_ATTRIBUTES), Some(vec![0x71, 0x23]));
    assert!(response.is_signed_for(&client));
}

#[test]
fn unsupported_and_invalid_parameters_get_their_error_codes() {
    let mut harness = Harness::new();
    let client = harness.admitted_client("45.0.1.1:1001", 1, 1);
    let code = |harness: &mut Harness, attributes: &[(AttrType, &[u8])]| {
        allocate(harness, &client, attributes).code()
    };
    assert_eq!(code(&mut harness, &[(attr::ATTR_REQUESTED_TRANSPORT, &[6, 0, 0, 0])]), 442);
    assert_eq!(code(&mut harness, &[]), 400);
    assert_eq!(code(&mut harness, &[TRANSPORT, (attr::ATTR_REQUESTED_ADDRESS_FAMILY, &[3, 0, 0, 0])]), 440);
    assert_eq!(code(&mut harness, &[TRANSPORT, (attr::ATTR_RESERVATION_TOKEN, b"unknown!")]), 508);
    assert_eq!(code(&mut harness, &[TRANSPORT, (attr::ATTR_RESERVATION_TOKEN, b"short")]), 400);
    assert_eq!(code(&mut harness, &[TRANSPORT, V6, BOTH]), 400);
    assert_eq!(code(&mut harness, &[TRANSPORT, (AttrType(0x8000), &[1, 0, 0, 0])]), 400);
}

#[test]
fn an_unavailable_address_family_gets_440() {
    let only_v4 = Families { v4: Some("192.0.0.8".parse().unwrap()), v6: None };
    let mut harness =
        Harness::with_relayed(only_v4, PeerPolicy::SameGroup, Quota::default(), 50_000..=50_100);
    let client = harness.admitted_client("45.0.1.1:1001", 1, 1);
    assert_eq!(allocate(&mut harness, &client, &[TRANSPORT, V6]).code(), 440);
    let response = allocate(&mut harness, &client, &[TRANSPORT, BOTH]);
    assert_eq!(response.value(AttrType(0x8001)), Some(vec![2, 0, 4, 40]));
}

#[test]
fn ipv6_and_both_families_are_available_on_request() {
    let mut harness = Harness::new();
    let one = harness.admitted_client("45.0.1.1:1001", 1, 1);
    let response = allocate(&mut harness, &one, &[TRANSPORT, V6]);
    assert_eq!(response.address(attr::ATTR_XOR_RELAYED_ADDRESS).unwrap().ip().to_string(), "100::8");
    let other = harness.admitted_client("45.0.1.1:1002", 1, 1);
    let response = allocate(&mut harness, &other, &[TRANSPORT, BOTH]);
    let relayed = response.message.attributes.0.iter().filter(|a| a.typ == attr::ATTR_XOR_RELAYED_ADDRESS);
    let families: Vec<u8> = relayed.map(|a| a.value[1]).collect();
    assert_eq!(families, [1, 2]);
    let deleted = harness.request(&other, wire::METHOD_REFRESH, &[(attr::ATTR_LIFETIME, &[0; 4]), V6]);
    assert_eq!((deleted.code(), harness.server.allocations()), (0, 2));
    let second = harness.request(&other, wire::METHOD_REFRESH, &[(attr::ATTR_LIFETIME, &[0; 4]), V6]);
    assert_eq!(second.code(), 443);
}

#[test]
fn an_even_port_reserves_the_next_one_for_its_owner_only() {
    let mut harness = Harness::new();
    let client = harness.admitted_client("45.0.1.1:1001", 1, 1);
    let response = allocate(&mut harness, &client, &[TRANSPORT, (attr::ATTR_EVEN_PORT, &[0x80])]);
    let even = response.address(attr::ATTR_XOR_RELAYED_ADDRESS).unwrap().port();
    assert_eq!(even % 2, 0);
    let token = response.value(attr::ATTR_RESERVATION_TOKEN).unwrap();
    let reserved = [TRANSPORT, (attr::ATTR_RESERVATION_TOKEN, token.as_slice())];
    let outsider = harness.admitted_client("45.0.2.2:2002", 1, 2);
    assert_eq!(allocate(&mut harness, &outsider, &reserved).code(), 508);
    let second = harness.admitted_client("45.0.1.1:1003", 1, 1);
    let response = allocate(&mut harness, &second, &reserved);
    assert_eq!(response.address(attr::ATTR_XOR_RELAYED_ADDRESS).unwrap().port(), even + 1);
    let third = harness.admitted_client("45.0.1.1:1004", 1, 1);
    assert_eq!(allocate(&mut harness, &third, &reserved).code(), 508);
}

#[test]
fn a_reserved_port_is_free_again_after_30_seconds() {
    let relayed_ips = Families { v4: Some("192.0.0.8".parse().unwrap()), v6: None };
    let mut harness =
        Harness::with_relayed(relayed_ips, PeerPolicy::SameGroup, Quota::default(), 50_000..=50_001);
    let client = harness.admitted_client("45.0.1.1:1001", 1, 1);
    assert_eq!(allocate(&mut harness, &client, &[TRANSPORT, (attr::ATTR_EVEN_PORT, &[0x80])]).code(), 0);
    let other = harness.admitted_client("45.0.2.2:2002", 1, 2);
    assert_eq!(allocate(&mut harness, &other, &[TRANSPORT]).code(), 508);
    harness.advance(Duration::from_secs(30));
    assert_eq!(allocate(&mut harness, &other, &[TRANSPORT]).code(), 0);
}

#[test]
fn one_forbidden_peer_refuses_the_whole_create_permission() {
    let mut harness = Harness::new();
    let (one, relayed) = harness.allocated("45.0.1.1:1001", 1, 1);
    let (other, target) = harness.allocated("45.0.2.2:2002", 1, 2);
    harness.permit(&other, relayed);
    let transaction = harness.transaction();
    let mut both = message(wire::METHOD_CREATE_PERMISSION, transaction, &[]);
    xor(&mut both, target);
    xor(&mut both, addr("8.8.8.8:53"));
    assert_eq!(harness.sign_and_send(&one, both).code(), 403);
    assert_eq!(harness.send_indication(&one, target, b"hello"), None);
    assert_eq!(harness.request(&one, wire::METHOD_CREATE_PERMISSION, &[]).code(), 400);
    assert_eq!(harness.request_peer(&one, wire::METHOD_CREATE_PERMISSION, addr("[100::8]:1")).code(), 443);
}

#[test]
fn a_channel_number_has_one_peer_and_a_peer_one_number() {
    let mut harness = Harness::new();
    let ((one, _), (other, peer)) = harness.pair();
    let (_, another) = harness.allocated("45.0.3.3:3003", 1, 3);
    assert_eq!(harness.bind(&one, 0x3FFF, peer), 400);
    assert_eq!(harness.bind(&one, 0x8000, peer), 400);
    assert_eq!(harness.bind(&one, 0x7FFF, peer), 0);
    assert_eq!(harness.bind(&one, 0x7FFF, peer), 0);
    assert_eq!(harness.bind(&one, 0x7FFF, another), 400);
    assert_eq!(harness.bind(&one, 0x4001, peer), 400);
    harness.advance(minutes(9));
    refresh(&mut harness, &one, 3600);
    refresh(&mut harness, &other, 3600);
    harness.advance(minutes(5));
    let one = harness.with_new_nonce(&one);
    assert_eq!(harness.bind(&one, 0x4001, peer), 400, "the peer keeps its number for five minutes");
}

#[test]
fn a_channel_peer_may_get_another_number_after_15_minutes() {
    let mut harness = Harness::new();
    let ((one, _), (other, peer)) = harness.pair();
    harness.bind(&one, 0x4000, peer);
    for client in [&one, &other] {
        refresh(&mut harness, client, 3600);
    }
    harness.advance(minutes(15));
    let one = harness.with_new_nonce(&one);
    assert_eq!(harness.bind(&one, 0x4001, peer), 0);
}

#[test]
fn an_allocation_has_at_most_64_permissions() {
    let mut harness = Harness::with(PeerPolicy::Public(Default::default()), Quota::default());
    let (client, _) = harness.allocated("45.0.1.1:1001", 1, 1);
    for host in 0..64 {
        assert_eq!(
            harness
                .request_peer(&client, wire::METHOD_CREATE_PERMISSION, addr(&format!("45.9.0.{host}:1")))
                .code(),
            0
        );
    }
    let excess = harness.request_peer(&client, wire::METHOD_CREATE_PERMISSION, addr("45.9.1.1:1"));
    assert_eq!(excess.code(), 508);
    harness.permit(&client, addr("45.9.0.7:2"));
}

#[test]
fn an_allocation_without_a_refresh_ends_at_its_lifetime() {
    let mut harness = Harness::new();
    let (client, _) = harness.allocated("45.0.1.1:1001", 1, 1);
    harness.advance(minutes(10) - Duration::from_secs(1));
    assert_eq!(harness.server.allocations(), 1);
    harness.advance(Duration::from_secs(1));
    assert_eq!(harness.server.allocations(), 0);
    let end = CloseReason::Expired;
    assert_eq!(harness.events.last(), Some(&Event::AllocationClosed { client: client.addr, end, sent: 0 }));
}

#[test]
fn a_full_quota_evicts_the_longest_idle_allocation() {
    let mut harness = Harness::with(PeerPolicy::SameGroup, Quota { user: 2, total: 3 });
    let (first, _) = harness.allocated("45.0.1.1:1001", 1, 1);
    harness.elapsed += Duration::from_secs(10);
    harness.allocated("45.0.1.1:1002", 1, 1);
    let third = harness.admitted_client("45.0.1.1:1003", 1, 1);
    assert_eq!(allocate(&mut harness, &third, &[TRANSPORT]).code(), 486);
    harness.advance(Duration::from_secs(20));
    assert_eq!(allocate(&mut harness, &third, &[TRANSPORT]).code(), 0);
    assert_eq!(refresh(&mut harness, &first, 600).code(), 437, "the first was idle for longest");
    harness.allocated("45.0.2.2:2001", 1, 2);
    let excess = harness.admitted_client("45.0.2.2:2002", 1, 2);
    assert_eq!(allocate(&mut harness, &excess, &[TRANSPORT]).code(), 508);
}

/// Opens up to 20 allocations for each of `members` from one source; how many succeed.
fn allocate_from(harness: &mut Harness, source: &str, members: Range<u8>) -> usize {
    let before = harness.server.allocations();
    for (name, number) in members.flat_map(|name| (0..20).map(move |number| (name, number))) {
        let client = harness.admitted_client(
            &format!("{source}:{}", 1000 + 20 * u16::from(name) + number),
            name,
            name,
        );
        assert!(matches!(allocate(harness, &client, &[TRANSPORT]).code(), 0 | 486));
    }
    harness.server.allocations() - before
}

#[test]
fn one_source_gets_at_most_a_quarter_of_the_ports() {
    let mut harness = harness_with_400_ports();
    assert_eq!(allocate_from(&mut harness, "45.0.1.1", 1..8), 100);
    assert_eq!(allocate_from(&mut harness, "45.0.1.2", 11..13), 40, "another source is unaffected");
    harness.advance(minutes(10));
    assert_eq!(harness.server.allocations(), 0);
    assert_eq!(allocate_from(&mut harness, "45.0.1.1", 1..8), 100, "ended allocations do not count");
}

#[test]
fn an_ipv6_64_is_one_source_and_loopback_is_exempt() {
    let mut harness = harness_with_400_ports();
    let household =
        allocate_from(&mut harness, "[2a00::1]", 1..5) + allocate_from(&mut harness, "[2a00::2]", 5..9);
    assert_eq!(household, 100);
    assert_eq!(allocate_from(&mut harness, "127.0.0.1", 11..19), 160, "may be a proxy");
}

#[test]
fn an_ipv6_56_gets_a_quarter_and_a_48_half_of_the_ports() {
    let mut harness = harness_with_400_ports();
    let household: usize =
        (1..9).map(|n| allocate_from(&mut harness, &format!("[2a00:0:0:{n}::1]"), n..n + 1)).sum();
    assert_eq!(household, 100, "eight /64s of one /56");
    let site: usize =
        (11..21).map(|n| allocate_from(&mut harness, &format!("[2a00:0:0:{n}00::1]"), n..n + 1)).sum();
    assert_eq!(site, 100, "other /56s of its /48");
    assert_eq!(allocate_from(&mut harness, "[2a00:0:1::1]", 31..33), 40, "the next /48 is unaffected");
    harness.advance(minutes(10));
    assert_eq!(allocate_from(&mut harness, "[2a00::1]", 41..46), 100, "ended allocations do not count");
}

/// Opens one allocation for each of `members` from one source; how many succeed.
fn members_from(harness: &mut Harness, source: &str, members: Range<u8>) -> usize {
    members
        .filter(|&name| {
            let client = harness.admitted_client(&format!("{source}:{}", 1000 + u16::from(name)), name, name);
            allocate(harness, &client, &[TRANSPORT]).code() == 0
        })
        .count()
}

#[test]
fn idle_allocations_are_evicted_when_ports_run_out() {
    let mut harness = Harness::with_relayed(v4(), PeerPolicy::SameGroup, Quota::default(), 50_000..=50_099);
    assert_eq!(members_from(&mut harness, "45.0.1.1", 0..100), 64);
    assert_eq!(members_from(&mut harness, "45.0.1.2", 100..150), 36);
    assert_eq!(members_from(&mut harness, "45.0.1.3", 150..151), 0, "no port is free and no allocation idle");
    harness.advance(Duration::from_secs(31));
    assert_eq!(members_from(&mut harness, "45.0.1.3", 150..160), 10);
    assert_eq!(harness.server.allocations(), 100);
    assert_eq!(members_from(&mut harness, "45.0.1.1", 160..170), 10);
    let of = |source: &str| {
        harness
            .server
            .allocations
            .table()
            .clients()
            .filter(|client| client.remote.ip().to_string() == source)
            .count()
    };
    assert_eq!(
        (of("45.0.1.1"), of("45.0.1.2")),
        (54, 36),
        "the source with most allocations evicts only its own"
    );
}

#[test]
fn a_source_with_many_allocations_evicts_none_of_one_with_few() {
    let mut harness = Harness::with(PeerPolicy::SameGroup, Quota { user: 0, total: 20 });
    assert_eq!(members_from(&mut harness, "45.0.1.1", 0..2), 2);
    harness.advance(Duration::from_secs(31));
    assert_eq!(members_from(&mut harness, "45.0.1.2", 10..40), 18, "508 beyond the total");
    assert_eq!(
        members_from(&mut harness, "45.0.1.3", 50..53),
        1,
        "a source without allocations evicts an idle one"
    );
    let tester = harness.client("45.0.1.4:1", &Principal::Tester(group_id(60), member_id(60)));
    assert_eq!(allocate(&mut harness, &tester, &[TRANSPORT]).code(), 508, "a connection test evicts none");
}

#[test]
fn at_most_an_eighth_of_the_ports_are_reserved() {
    let mut harness = Harness::with_relayed(v4(), PeerPolicy::SameGroup, Quota::default(), 50_000..=50_799);
    let reserve = |harness: &mut Harness, name: u8| {
        let client = harness.admitted_client(&format!("45.0.3.{name}:1"), name, name);
        allocate(harness, &client, &[TRANSPORT, (attr::ATTR_EVEN_PORT, &[0x80])]).code()
    };
    assert!((0..100).all(|name| reserve(&mut harness, name) == 0));
    assert_eq!(reserve(&mut harness, 100), 508);
    harness.allocated("45.0.4.4:4004", 101, 101);
    harness.advance(Duration::from_secs(30));
    assert_eq!(reserve(&mut harness, 100), 0);
}

fn v4() -> Families<IpAddr> {
    Families { v4: Some("192.0.0.8".parse().unwrap()), v6: None }
}

fn harness_with_400_ports() -> Harness {
    Harness::with_relayed(v4(), PeerPolicy::SameGroup, Quota { user: 20, total: 0 }, 50_000..=50_399)
}
