//! How many connections one source has: an IPv4 address, or an IPv6 /64, which is one customer.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::source;

/// The count of live connections by source.
#[derive(Clone, Debug)]
pub struct Sources {
    limit: u32,
    live: Arc<Mutex<HashMap<IpAddr, u32>>>,
}

/// One connection's place in the count; dropping it gives the place back.
#[derive(Debug)]
pub struct SourcePermit {
    source: IpAddr,
    live: Arc<Mutex<HashMap<IpAddr, u32>>>,
}

impl Sources {
    /// `limit` connections each; 0: no limit.
    pub fn new(limit: u32) -> Self {
        Self { limit, live: Arc::default() }
    }

    /// Counts a connection from `address`; `None` where its source has enough.
    pub fn enter(&self, address: IpAddr) -> Option<SourcePermit> {
        let source = source::of(address);
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let count = live.entry(source).or_default();
        if self.limit != 0 && *count >= self.limit {
            return None;
        }
        *count += 1;
        Some(SourcePermit { source, live: Arc::clone(&self.live) })
    }
}

impl Drop for SourcePermit {
    fn drop(&mut self) {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = live.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                live.remove(&self.source);
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
        assert!(sources.live.lock().unwrap().is_empty(), "who is gone is forgotten");
    }

    #[test]
    fn a_v6_customer_is_one_source() {
        let sources = Sources::new(1);
        let _held = sources.enter(ip("2001:db8::1"));
        assert!(sources.enter(ip("2001:db8::ffff:1")).is_none());
        assert!(sources.enter(ip("2001:db8:0:1::1")).is_some());
    }
}
