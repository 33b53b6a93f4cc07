//! How many connections one source has: an IPv4 address or an IPv6 /64, and a subscriber's wider networks.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use webrtc_box_rate_limit::SourcePrefix;

/// The count of live connections by source.
#[derive(Clone, Debug)]
pub struct Sources {
    limit: u32,
    live: Arc<Mutex<Live>>,
}

#[derive(Debug, Default)]
struct Live {
    by_prefix: HashMap<SourcePrefix, u32>,
    total: u32,
}

/// From so many connections in all on, a source may have only so many.
const CROWD: u32 = 8192;
const CROWDED_LIMIT: u32 = 16;

/// One connection's place in the count; dropping it gives the place back.
#[derive(Debug)]
pub struct SourcePermit {
    prefixes: [Option<SourcePrefix>; 3],
    live: Arc<Mutex<Live>>,
}

impl Sources {
    /// `limit` connections each, twice that for an IPv6 /56 and four times for a /48; 0: no limit.
    pub fn new(limit: u32) -> Self {
        Self { limit, live: Arc::default() }
    }

    /// Counts a connection from `address`; `None` where its source has enough.
    pub fn enter(&self, address: IpAddr) -> Option<SourcePermit> {
        let prefixes = SourcePrefix::of(address);
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = if live.total >= CROWD { self.limit.min(CROWDED_LIMIT) } else { self.limit };
        let is_full = |(prefix, multiple): (&SourcePrefix, u32)| {
            live.by_prefix.get(prefix).is_some_and(|count| *count >= limit.saturating_mul(multiple))
        };
        if limit != 0 && prefixes.iter().flatten().zip([1, 2, 4]).any(is_full) {
            return None;
        }
        for prefix in prefixes.into_iter().flatten() {
            *live.by_prefix.entry(prefix).or_default() += 1;
        }
        live.total += 1;
        Some(SourcePermit { prefixes, live: Arc::clone(&self.live) })
    }
}

impl Drop for SourcePermit {
    fn drop(&mut self) {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.total -= 1;
        for prefix in self.prefixes.into_iter().flatten() {
            let Some(count) = live.by_prefix.get_mut(&prefix) else { continue };
            *count -= 1;
            if *count == 0 {
                live.by_prefix.remove(&prefix);
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
    fn a_source_has_so_many_and_gets_them_back() {
        let sources = Sources::new(2);
        let first = sources.enter(ip("192.0.2.1"));
        let second = sources.enter(ip("::ffff:192.0.2.1"));
        assert!(first.is_some() && second.is_some());
        assert!(sources.enter(ip("192.0.2.1")).is_none());
        assert!(sources.enter(ip("192.0.2.2")).is_some(), "others are not concerned");
        drop(first);
        assert!(sources.enter(ip("192.0.2.1")).is_some());
        drop(second);
        assert!(sources.live.lock().unwrap().by_prefix.is_empty(), "who is gone is forgotten");
    }

    #[test]
    fn a_v6_customer_is_one_source() {
        let sources = Sources::new(1);
        let _held = sources.enter(ip("2001:db8::1"));
        assert!(sources.enter(ip("2001:db8::ffff:1")).is_none());
        assert!(sources.enter(ip("2001:db8:0:1::1")).is_some());
    }

    #[test]
    fn the_networks_of_one_subscriber_share_their_connections() {
        let sources = Sources::new(4);
        let enter = |n: u32| sources.enter(ip(&format!("2001:db8:0:{n:x}::1")));
        let of_56: Vec<_> = (0..0x100).filter_map(enter).collect();
        assert_eq!(of_56.len(), 8, "twice a source's");
        let of_48: Vec<_> = (0x100..0x1000).filter_map(enter).collect();
        assert_eq!(of_56.len() + of_48.len(), 16, "four times a source's");
        assert!(sources.enter(ip("2001:db8:1::1")).is_some(), "others are not concerned");
        drop((of_56, of_48));
        assert!(sources.live.lock().unwrap().by_prefix.is_empty(), "who is gone is forgotten");
    }

    #[test]
    fn in_a_crowd_no_source_has_many() {
        let sources = Sources::new(256);
        let held: Vec<_> = (0..CROWD / 256)
            .flat_map(|n| (0..256).map(move |_| n))
            .filter_map(|n| sources.enter(ip(&format!("192.0.2.{n}"))))
            .collect();
        assert_eq!(held.len(), CROWD as usize);
        assert!(sources.enter(ip("192.0.2.1")).is_none());
        let late: Vec<_> = (0..100).filter_map(|_| sources.enter(ip("198.51.100.1"))).collect();
        assert_eq!(late.len(), CROWDED_LIMIT as usize, "who comes late is let in all the same");
        drop(held);
        assert!(sources.enter(ip("198.51.100.1")).is_some());
    }
}
