//! What a server counts, and under which headings.

use super::*;
use crate::error::Refusal;
use crate::peer_policy::PeerFilter;
use crate::server::End;
use crate::stats::{Allocations, Lent, Tally, Traffic, Way};

fn relayed(stage: &Stage, way: Way) -> Traffic {
    stage.server.tally().relayed[way as usize]
}

fn lent(stage: &Stage, lent: Lent) -> Allocations {
    stage.server.tally().allocations[Transport::Udp as usize][lent as usize]
}

fn refused(stage: &Stage, code: u16) -> u64 {
    let at = Refusal::CODES.iter().position(|known| *known == code).unwrap();
    stage.server.tally().refused[at]
}

#[test]
fn payloads_inside_the_process_are_counted_where_they_pass() {
    let mut stage = Stage::new();
    let ((one, relayed_by), (other, peer)) = stage.pair();
    stage.indicate(&one, peer, b"hello");
    stage.bind(&other, 0x4000, relayed_by);
    stage.channel_data(&other, 0x4000, b"you");
    assert_eq!(stage.channel_data(&other, 0x4001, b"unbound"), None);
    assert_eq!(relayed(&stage, Way::Across), Traffic { packets: 2, bytes: 8 });
    stage.server.disconnected(&one.addr);
    stage.collect();
    let end = End::Disconnected;
    assert_eq!(stage.events.last(), Some(&Action::Closed { client: one.addr, end, sent: 5 }));
}

#[test]
fn payloads_to_and_from_the_network_are_counted_apart() {
    let relayed_by = Families { v4: Some("45.0.0.10".parse().unwrap()), v6: None };
    let scope = Scope::Public(PeerFilter::default());
    let mut stage = Stage::lending(relayed_by, scope, Quota::default(), 50_000..=50_099);
    let (client, at) = stage.allocated("45.0.1.1:1001", 1, 1);
    stage.permit(&client, addr("45.0.7.7:7"));
    stage.indicate(&client, addr("45.0.7.7:7"), b"out");
    stage.peer_sends(at, "45.0.7.7:7", b"back");
    assert_eq!(stage.peer_sends(at, "45.0.7.8:7", b"not permitted"), None);
    assert_eq!(relayed(&stage, Way::Out), Traffic { packets: 1, bytes: 3 });
    assert_eq!(relayed(&stage, Way::Back), Traffic { packets: 1, bytes: 4 });
    assert_eq!(relayed(&stage, Way::Across), Traffic::default());
}

#[test]
fn allocations_are_counted_by_what_they_are_lent_until_they_end() {
    let mut stage = Stage::new();
    let client = stage.seated("45.0.1.1:1001", 1, 1);
    let (zero, v6) = ((attr::ATTR_LIFETIME, &[0; 4][..]), [2, 0, 0, 0]);
    let both = [(attr::ATTR_REQUESTED_TRANSPORT, &UDP[..]), (AttrType(0x8000), &v6[..])];
    assert_eq!(stage.ask(&client, wire::METHOD_ALLOCATE, &both).code(), 0);
    assert_eq!(lent(&stage, Lent::Both), Allocations { opened: 1, open: 1 });
    let only_v6 = [zero, (attr::ATTR_REQUESTED_ADDRESS_FAMILY, &v6[..])];
    assert_eq!(stage.ask(&client, wire::METHOD_REFRESH, &only_v6).code(), 0);
    assert_eq!(lent(&stage, Lent::Both), Allocations { opened: 1, open: 0 });
    assert_eq!(lent(&stage, Lent::V4), Allocations { opened: 0, open: 1 });
    assert_eq!(stage.ask(&client, wire::METHOD_REFRESH, &[zero]).code(), 0);
    assert_eq!(lent(&stage, Lent::V4), Allocations::default());
    assert_eq!(stage.server.tally().ended[End::Deleted as usize], 1);
    assert_eq!(stage.server.tally().ended.iter().sum::<u64>(), 1);
}

#[test]
fn refusals_are_counted_by_their_code_and_silence_apart() {
    let mut stage = Stage::new();
    let stranger = stage.client("45.0.9.9:999", &Principal::Foreign("nobody".into()));
    let request = message(wire::METHOD_ALLOCATE, [3; 12], &[(attr::ATTR_REQUESTED_TRANSPORT, &UDP)]);
    stage.server.limit = Arc::new(ReplyLimit::new(Rate::per_second(1), [[1, 2], [3, 4]], stage.start));
    let answered = (0..15).filter(|_| stage.send(&stranger, &request.raw).is_some()).count();
    assert_eq!(answered, 8, "a burst of ten, of which two are left to requests that are sent again");
    assert_eq!((refused(&stage, 401), stage.server.tally().unanswered), (8, 7));
    let (client, _) = stage.allocated("45.0.1.1:1001", 1, 1);
    assert_eq!(stage.ask_peer(&client, wire::METHOD_CREATE_PERMISSION, addr("45.0.7.7:7")).code(), 403);
    assert_eq!(refused(&stage, 403), 1);
    assert_eq!(stage.server.tally().refused.iter().sum::<u64>(), 9);
}

#[test]
fn the_counts_of_two_servers_are_added_heading_by_heading() {
    let mut stage = Stage::new();
    let ((one, _), (_, peer)) = stage.pair();
    stage.indicate(&one, peer, b"hello");
    let mut sum = Tally::default();
    sum.add(stage.server.tally());
    assert_eq!(sum, *stage.server.tally());
    sum.add(stage.server.tally());
    assert_eq!(sum.relayed[Way::Across as usize], Traffic { packets: 2, bytes: 10 });
    assert_eq!(sum.allocations[0][0], Allocations { opened: 4, open: 4 });
}

/// Counts are kept by position, so the lists must be in the order of the enums.
#[test]
fn every_heading_stands_at_its_place() {
    assert!(Transport::ALL.iter().enumerate().all(|(at, one)| *one as usize == at));
    assert!(Lent::ALL.iter().enumerate().all(|(at, one)| *one as usize == at));
    assert!(Way::ALL.iter().enumerate().all(|(at, one)| *one as usize == at));
    assert!(End::ALL.iter().enumerate().all(|(at, one)| *one as usize == at));
}
