//! What a server counts, and under which headings.

use super::*;
use crate::error::Refusal;
use crate::peer_policy::PeerFilter;
use crate::server::CloseReason;
use crate::stats::{AllocationCounts, Direction, RelayedFamilies, ServerStats, Traffic};

fn relayed(harness: &Harness, way: Direction) -> Traffic {
    harness.server.stats().relayed[way as usize]
}

fn relayed_ips(harness: &Harness, relayed_ips: RelayedFamilies) -> AllocationCounts {
    harness.server.stats().allocations[Transport::Udp as usize][relayed_ips as usize]
}

fn refused(harness: &Harness, code: u16) -> u64 {
    let at = Refusal::CODES.iter().position(|known| *known == code).unwrap();
    harness.server.stats().refused[at]
}

#[test]
fn payloads_inside_the_process_are_counted_where_they_pass() {
    let mut harness = Harness::new();
    let ((one, relayed_by), (other, peer)) = harness.pair();
    harness.indicate(&one, peer, b"hello");
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
fn payloads_to_and_from_the_network_are_counted_apart() {
    let relayed_by = Families { v4: Some("45.0.0.10".parse().unwrap()), v6: None };
    let peer_policy = PeerPolicy::Public(PeerFilter::default());
    let mut harness = Harness::lending(relayed_by, peer_policy, Quota::default(), 50_000..=50_099);
    let (client, at) = harness.allocated("45.0.1.1:1001", 1, 1);
    harness.permit(&client, addr("45.0.7.7:7"));
    harness.indicate(&client, addr("45.0.7.7:7"), b"out");
    harness.peer_sends(at, "45.0.7.7:7", b"back");
    assert_eq!(harness.peer_sends(at, "45.0.7.8:7", b"not permitted"), None);
    assert_eq!(relayed(&harness, Direction::ClientToPeer), Traffic { packets: 1, bytes: 3 });
    assert_eq!(relayed(&harness, Direction::PeerToClient), Traffic { packets: 1, bytes: 4 });
    assert_eq!(relayed(&harness, Direction::ClientToClient), Traffic::default());
}

#[test]
fn allocations_are_counted_by_what_they_are_lent_until_they_end() {
    let mut harness = Harness::new();
    let client = harness.seated("45.0.1.1:1001", 1, 1);
    let (zero, v6) = ((attr::ATTR_LIFETIME, &[0; 4][..]), [2, 0, 0, 0]);
    let both = [(attr::ATTR_REQUESTED_TRANSPORT, &UDP[..]), (AttrType(0x8000), &v6[..])];
    assert_eq!(harness.ask(&client, wire::METHOD_ALLOCATE, &both).code(), 0);
    assert_eq!(relayed_ips(&harness, RelayedFamilies::Both), AllocationCounts { opened: 1, open: 1 });
    let only_v6 = [zero, (attr::ATTR_REQUESTED_ADDRESS_FAMILY, &v6[..])];
    assert_eq!(harness.ask(&client, wire::METHOD_REFRESH, &only_v6).code(), 0);
    assert_eq!(relayed_ips(&harness, RelayedFamilies::Both), AllocationCounts { opened: 1, open: 0 });
    assert_eq!(relayed_ips(&harness, RelayedFamilies::V4), AllocationCounts { opened: 0, open: 1 });
    assert_eq!(harness.ask(&client, wire::METHOD_REFRESH, &[zero]).code(), 0);
    assert_eq!(relayed_ips(&harness, RelayedFamilies::V4), AllocationCounts::default());
    assert_eq!(harness.server.stats().ended[CloseReason::Deleted as usize], 1);
    assert_eq!(harness.server.stats().ended.iter().sum::<u64>(), 1);
}

#[test]
fn refusals_are_counted_by_their_code_and_silence_apart() {
    let mut harness = Harness::new();
    let stranger = harness.client("45.0.9.9:999", &Principal::Foreign("nobody".into()));
    let request = message(wire::METHOD_ALLOCATE, [3; 12], &[(attr::ATTR_REQUESTED_TRANSPORT, &UDP)]);
    harness.server.limit = Arc::new(ReplyLimit::new(Rate::per_second(1), [[1, 2], [3, 4]], harness.start));
    let answered = (0..15).filter(|_| harness.send(&stranger, &request.raw).is_some()).count();
    assert_eq!(answered, 8, "a burst of ten, of which two are left to requests that are sent again");
    assert_eq!((refused(&harness, 401), harness.server.stats().unanswered), (8, 7));
    let (client, _) = harness.allocated("45.0.1.1:1001", 1, 1);
    assert_eq!(harness.ask_peer(&client, wire::METHOD_CREATE_PERMISSION, addr("45.0.7.7:7")).code(), 403);
    assert_eq!(refused(&harness, 403), 1);
    assert_eq!(harness.server.stats().refused.iter().sum::<u64>(), 9);
}

#[test]
fn the_counts_of_two_servers_are_added_heading_by_heading() {
    let mut harness = Harness::new();
    let ((one, _), (_, peer)) = harness.pair();
    harness.indicate(&one, peer, b"hello");
    let mut sum = ServerStats::default();
    sum.add(harness.server.stats());
    assert_eq!(sum, *harness.server.stats());
    sum.add(harness.server.stats());
    assert_eq!(sum.relayed[Direction::ClientToClient as usize], Traffic { packets: 2, bytes: 10 });
    assert_eq!(sum.allocations[0][0], AllocationCounts { opened: 4, open: 4 });
}

/// Counts are kept by position, so the lists must be in the order of the enums.
#[test]
fn every_heading_stands_at_its_place() {
    assert!(Transport::ALL.iter().enumerate().all(|(at, one)| *one as usize == at));
    assert!(RelayedFamilies::ALL.iter().enumerate().all(|(at, one)| *one as usize == at));
    assert!(Direction::ALL.iter().enumerate().all(|(at, one)| *one as usize == at));
    assert!(CloseReason::ALL.iter().enumerate().all(|(at, one)| *one as usize == at));
}
