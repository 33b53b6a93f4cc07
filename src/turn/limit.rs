//! How often a source that has shown nothing yet is answered: a rate per address in fixed memory.
//!
//! A table keyed by source would grow with every forged address. Instead each source has a place
//! in each of two rows of a fixed sketch and is refused only when both are spent, so that sharing
//! one place with a flood costs nothing. A place is the generic cell rate algorithm's "theoretical
//! arrival time" in one atomic: shared by all workers, never locked.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::source;

/// Replies per second to one source (IPv4 address or IPv6 /64), with a burst of ten times that.
#[derive(Debug)]
pub struct ReplyLimit {
    rows: [Row; 2],
    /// Nanoseconds between two replies in the long run; 0: no limit.
    interval: u64,
    epoch: Instant,
}

#[derive(Debug)]
struct Row {
    /// Secret, so that nobody can pick sources that share another's place.
    seed: u64,
    /// Nanoseconds since the epoch at which the source would be wholly rested.
    arrivals: Box<[AtomicU64]>,
}

/// Places in a row: 16,384 of 8 bytes.
const PLACES: usize = 1 << 14;
const BURST: u64 = 10;

impl ReplyLimit {
    /// `rate` replies per second; 0 is no limit and takes no memory. `seeds` are random.
    pub fn new(rate: u32, seeds: [u64; 2], epoch: Instant) -> Self {
        let places = if rate == 0 { 0 } else { PLACES };
        let interval = if rate == 0 { 0 } else { 1_000_000_000 / u64::from(rate) };
        Self { rows: seeds.map(|seed| Row::new(seed, places)), interval, epoch }
    }

    /// Whether `source` may have one more reply now; counts it.
    pub fn allows(&self, source: IpAddr, now: Instant) -> bool {
        if self.interval == 0 {
            return true;
        }
        let source = source::of(source);
        let now = now.saturating_duration_since(self.epoch).as_nanos() as u64;
        // A second's worth of burst for each unit: ten seconds of the steady rate.
        let tolerance = BURST * 1_000_000_000;
        let [first, second] = &self.rows;
        // Both are charged, whatever the first says.
        first.charge(source, now, self.interval, tolerance)
            | second.charge(source, now, self.interval, tolerance)
    }
}

impl Row {
    fn new(seed: u64, places: usize) -> Self {
        Self { seed, arrivals: std::iter::repeat_with(AtomicU64::default).take(places).collect() }
    }

    fn charge(&self, source: IpAddr, now: u64, interval: u64, tolerance: u64) -> bool {
        let mut hasher = DefaultHasher::new();
        (self.seed, source).hash(&mut hasher);
        let place = &self.arrivals[hasher.finish() as usize % self.arrivals.len()];
        place
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |arrival| {
                let next = arrival.max(now) + interval;
                (next <= now + tolerance).then_some(next)
            })
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn answered(limit: &ReplyLimit, source: &str, now: Instant, asked: usize) -> usize {
        let source = source.parse().unwrap();
        (0..asked).filter(|_| limit.allows(source, now)).count()
    }

    #[test]
    fn a_flood_gets_its_burst_and_then_the_rate() {
        let start = Instant::now();
        let limit = ReplyLimit::new(20, [1, 2], start);
        assert_eq!(answered(&limit, "45.0.0.1", start, 10_000), 200);
        let later = start + Duration::from_secs(3);
        assert_eq!(answered(&limit, "45.0.0.1", later, 10_000), 60);
    }

    #[test]
    fn another_source_is_not_affected() {
        let start = Instant::now();
        let limit = ReplyLimit::new(20, [1, 2], start);
        answered(&limit, "45.0.0.1", start, 10_000);
        assert_eq!(answered(&limit, "45.0.0.2", start, 100), 100);
    }

    #[test]
    fn one_ipv6_subscriber_is_one_source() {
        let start = Instant::now();
        let limit = ReplyLimit::new(20, [1, 2], start);
        answered(&limit, "2a00::1", start, 10_000);
        assert_eq!(answered(&limit, "2a00::2", start, 100), 0);
        assert_eq!(answered(&limit, "2a00:0:0:1::1", start, 100), 100);
    }

    #[test]
    fn zero_is_no_limit() {
        let start = Instant::now();
        assert_eq!(answered(&ReplyLimit::new(0, [1, 2], start), "45.0.0.1", start, 5000), 5000);
    }
}
