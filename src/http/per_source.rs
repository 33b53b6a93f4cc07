//! Limits the connections of one source: an IPv4 address or an IPv6 /64, and a subscriber's wider IPv6 prefixes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use webrtc_box_rate_limit::SourcePrefix;

/// The open connections by source.
#[derive(Clone, Debug)]
pub(super) struct SourceConnections {
    limit: u32,
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    by_prefix: BTreeMap<SourcePrefix, u32>,
    total: u32,
}

/// Connections in total from which on [`BUSY_LIMIT`] applies.
const BUSY_TOTAL: u32 = 8192;

/// Connections of one source while the server is busy.
const BUSY_LIMIT: u32 = 16;

/// One counted connection; dropping it ends the count.
#[derive(Debug)]
pub struct SourcePermit {
    prefixes: [Option<SourcePrefix>; 3],
    counts: Arc<Mutex<Counts>>,
}

impl SourceConnections {
    /// `limit` connections each, twice that for an IPv6 /56 and four times for a /48; 0: no limit.
    pub(super) fn new(limit: u32) -> Self {
        Self { limit, counts: Arc::default() }
    }

    /// Counts a connection from `address`; `None` if its source has reached the limit.
    pub(super) fn enter(&self, address: IpAddr) -> Option<SourcePermit> {
        let prefixes = SourcePrefix::of(address);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = if counts.total >= BUSY_TOTAL { self.limit.min(BUSY_LIMIT) } else { self.limit };
        let is_full = |(prefix, multiple): (&SourcePrefix, u32)| {
            counts.by_prefix.get(prefix).is_some_and(|count| *count >= limit.saturating_mul(multiple))
        };
        if limit != 0 && prefixes.iter().flatten().zip([1, 2, 4]).any(is_full) {
            return None;
        }
        for prefix in prefixes.into_iter().flatten() {
            *counts.by_prefix.entry(prefix).or_default() += 1;
        }
        counts.total += 1;
        Some(SourcePermit { prefixes, counts: Arc::clone(&self.counts) })
    }
}

impl Drop for SourcePermit {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.total -= 1;
        for prefix in self.prefixes.into_iter().flatten() {
            let Some(count) = counts.by_prefix.get_mut(&prefix) else { continue };
            *count -= 1;
            if *count == 0 {
                counts.by_prefix.remove(&prefix);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_source_has_a_limit_and_closed_connections_free_it() {
        let sources = SourceConnections::new(2);
        let first = sources.enter(ip("192.0.2.1"));
        let second = sources.enter(ip("::ffff:192.0.2.1"));
        assert!(first.is_some() && second.is_some());
        assert!(sources.enter(ip("192.0.2.1")).is_none());
        assert!(sources.enter(ip("192.0.2.2")).is_some(), "other sources are not affected");
        drop(first);
        assert!(sources.enter(ip("192.0.2.1")).is_some());
        drop(second);
        assert!(
            sources.counts.lock().unwrap().by_prefix.is_empty(),
            "no state of closed connections is left"
        );
    }

    #[test]
    fn an_ipv6_64_is_one_source() {
        let sources = SourceConnections::new(1);
        let _held = sources.enter(ip("2001:db8::1"));
        assert!(sources.enter(ip("2001:db8::ffff:1")).is_none());
        assert!(sources.enter(ip("2001:db8:0:1::1")).is_some());
    }

    #[test]
    fn the_prefixes_of_one_subscriber_share_a_limit() {
        let sources = SourceConnections::new(4);
        let enter = |n: u32| sources.enter(ip(&format!("2001:db8:0:{n:x}::1")));
        let of_56: Vec<_> = (0..0x100).filter_map(enter).collect();
        assert_eq!(of_56.len(), 8, "twice the limit of a source");
        let of_48: Vec<_> = (0x100..0x1000).filter_map(enter).collect();
        assert_eq!(of_56.len() + of_48.len(), 16, "four times the limit of a source");
        assert!(sources.enter(ip("2001:db8:1::1")).is_some(), "other sources are not affected");
        drop((of_56, of_48));
        assert!(
            sources.counts.lock().unwrap().by_prefix.is_empty(),
            "no state of closed connections is left"
        );
    }

    #[test]
    fn a_busy_server_lowers_the_limit_of_each_source() {
        let sources = SourceConnections::new(256);
        let held: Vec<_> = (0..BUSY_TOTAL / 256)
            .flat_map(|n| (0..256).map(move |_| n))
            .filter_map(|n| sources.enter(ip(&format!("192.0.2.{n}"))))
            .collect();
        assert_eq!(held.len(), BUSY_TOTAL as usize);
        assert!(sources.enter(ip("192.0.2.1")).is_none());
        let late: Vec<_> = (0..100).filter_map(|_| sources.enter(ip("198.51.100.1"))).collect();
        assert_eq!(late.len(), BUSY_LIMIT as usize, "a new source is still accepted");
        drop(held);
        assert!(sources.enter(ip("198.51.100.1")).is_some());
    }
}
