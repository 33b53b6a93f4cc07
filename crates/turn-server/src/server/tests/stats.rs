//! The counters of a server.

use super::*;
use crate::response::Refusal;
use crate::stats::{AllocationCounts, Direction, RelayedFamilies, ServerStats, Traffic};

fn relayed(harness: &Harness, direction: Direction) -> Traffic {
    harness.server.stats().relayed[direction as usize]
}

fn allocations(harness: &Harness, families: RelayedFamilies) -> AllocationCounts {
    harness.server.stats().allocations[Transport::Udp as usize][families as usize]
}

fn refused(harness: &Harness, code: u16) -> u64 {
    let at = Refusal::CODES.iter().position(|known| *known == code).unwrap();
    harness.server.stats().refused[at]
}

#[test]
fn payloads_between_clients_are_counted() {
    let mut harness = Harness::new();
    let ((one, relayed_by), (other, peer)) = harness.pair();
    harness.send_indication(&one, peer, b"hello");
    harness.bind(&other, 0x4000, relayed_by);
    harness.channel_data(&other, 0x4000, b"you");
    assert_eq!(harness.channel_data(&other, 0x4001, b"unbound"), None);
    assert_eq!(relayed(&harness, Direction::ClientToClient), Traffic { packets: 2, bytes: 8 });
    harness.server.disconnected(&one.addr);
    harness.collect();
    let end = CloseReason::Disconnected;
    assert_eq!(harness.events.last(), Some(&Event::AllocationClosed { client: one.addr, end, sent: 5 }));
}

#[test]
fn payloads_to_and_from_peers_are_counted_separately() {
    let relayed_by = Families { v4: Some("45.0.0.10".parse().unwrap()), v6: None };
    let peer_policy = PeerPolicy::Public(PeerFilter::default());
    let mut harness = Harness::with_relayed(relayed_by, peer_policy, Quota::default(), 50_000..=50_099);
    let (client, relayed_addr) = harness.allocated("45.0.1.1:1001", 1, 1);
    harness.permit(&client, addr("45.0.7.7:7"));
    harness.send_indication(&client, addr("45.0.7.7:7"), b"out");
    harness.peer_sends(relayed_addr, "45.0.7.7:7", b"back");
    assert_eq!(harness.peer_sends(relayed_addr, "45.0.7.8:7", b"not permitted"), None);
    assert_eq!(relayed(&harness, Direction::ClientToPeer), Traffic { packets: 1, bytes: 3 });
    assert_eq!(relayed(&harness, Direction::PeerToClient), Traffic { packets: 1, bytes: 4 });
    assert_eq!(relayed(&harness, Direction::ClientToClient), Traffic::default());
}

#[test]
fn allocations_are_counted_by_address_family_until_they_end() {
    let mut harness = Harness::new();
    let client = harness.admitted_client("45.0.1.1:1001", 1, 1);
    let (zero, v6) = ((attr::ATTR_LIFETIME, &[0; 4][..]), [2, 0, 0, 0]);
    let both = [(attr::ATTR_REQUESTED_TRANSPORT, &UDP[..]), (AttrType(0x8000), &v6[..])];
    assert_eq!(harness.request(&client, wire::METHOD_ALLOCATE, &both).code(), 0);
    assert_eq!(allocations(&harness, RelayedFamilies::Both), AllocationCounts { opened: 1, open: 1 });
    let only_v6 = [zero, (attr::ATTR_REQUESTED_ADDRESS_FAMILY, &v6[..])];
    assert_eq!(harness.request(&client, wire::METHOD_REFRESH, &only_v6).code(), 0);
    assert_eq!(allocations(&harness, RelayedFamilies::Both), AllocationCounts { opened: 1, open: 0 });
    assert_eq!(allocations(&harness, RelayedFamilies::V4), AllocationCounts { opened: 0, open: 1 });
    assert_eq!(harness.request(&client, wire::METHOD_REFRESH, &[zero]).code(), 0);
    assert_eq!(allocations(&harness, RelayedFamilies::V4), AllocationCounts::default());
    assert_eq!(harness.server.stats().ended[CloseReason::Deleted as usize], 1);
    assert_eq!(harness.server.stats().ended.iter().sum::<u64>(), 1);
}

#[test]
fn refusals_are_counted_by_code_and_unanswered_requests_apart() {
    let mut harness = Harness::new();
    let outsider = harness.client("45.0.9.9:999", &Principal::Foreign("nobody".into()));
    let request = message(wire::METHOD_ALLOCATE, [3; 12], &[(attr::ATTR_REQUESTED_TRANSPORT, &UDP)]);
    harness.server.reply_limit = reply_limit(1, harness.start);
    let answered = (0..15).filter(|_| harness.send(&outsider, &request.raw).is_some()).count();
    assert_eq!(answered, 8, "a burst of ten, of which two are left to retransmissions");
    assert_eq!((refused(&harness, 401), harness.server.stats().unanswered), (8, 7));
    let (client, _) = harness.allocated("45.0.1.1:1001", 1, 1);
    assert_eq!(harness.request_peer(&client, wire::METHOD_CREATE_PERMISSION, addr("45.0.7.7:7")).code(), 403);
    assert_eq!(refused(&harness, 403), 1);
    assert_eq!(harness.server.stats().refused.iter().sum::<u64>(), 9);
}

#[test]
fn the_counters_of_two_servers_are_added() {
    let mut harness = Harness::new();
    let ((one, _), (_, peer)) = harness.pair();
    harness.send_indication(&one, peer, b"hello");
    let mut sum = ServerStats::default();
    sum.add(harness.server.stats());
    assert_eq!(sum, *harness.server.stats());
    sum.add(harness.server.stats());
    assert_eq!(sum.relayed[Direction::ClientToClient as usize], Traffic { packets: 2, bytes: 10 });
    assert_eq!(sum.allocations[0][0], AllocationCounts { opened: 4, open: 4 });
}

/// Counters are arrays indexed by enum value, so the lists must be in the order of the enums.
#[test]
fn every_list_of_values_is_in_the_order_of_its_enum() {
    assert!(Transport::ALL.iter().enumerate().all(|(at, one)| *one as usize == at));
    assert!(RelayedFamilies::ALL.iter().enumerate().all(|(at, one)| *one as usize == at));
    assert!(Direction::ALL.iter().enumerate().all(|(at, one)| *one as usize == at));
    assert!(CloseReason::ALL.iter().enumerate().all(|(at, one)| *one as usize == at));
}
