//! Rate limits per source of network traffic, in a fixed amount of memory.
//!
//! ```text
//!             SourceRateLimiter
//! address ──▶ SourcePrefix ──▶ two rows of a sketch, one AtomicGcra per slot ──▶ Ok, or how long to wait
//! now     ──▶
//! ```
//!
//! A table keyed by source would grow with every address that an attacker controls. [`SourceRateLimiter`] hashes
//! each source to one slot in each of two rows instead, and refuses it only when both slots are exhausted, so a
//! source that shares one slot with a flood is not limited by it. A slot is an [`AtomicGcra`]: threads share it
//! without a lock. The crate reads no clock and no random numbers: the caller passes `now` and the hash seeds.
//!
//! ```
//! use std::time::Instant;
//! use webrtc_box_rate_limit::{Rate, SourceRateLimiter};
//!
//! let now = Instant::now();
//! // 5 per second, 50 at once. Seeds come from a random number generator.
//! let limiter = SourceRateLimiter::new(Rate::per_second(5), [1, 2], now);
//! let source = "192.0.2.1".parse().unwrap();
//! assert!((0..50).all(|_| limiter.allows(source, now)));
//! assert!(!limiter.allows(source, now));
//! ```

use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

mod gcra;
mod log_limit;

pub use gcra::{AtomicGcra, next_arrival};
pub use log_limit::LogLimit;

/// A rate with a burst. An interval of zero means unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Time between two events in the long run.
    pub interval: Duration,
    /// Number of events that may come at once.
    pub burst: u32,
}

/// A network prefix that counts as one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourcePrefix {
    length: u8,
    network: IpAddr,
}

/// One rate for each source: an IPv4 address or an IPv6 /64, optionally also wider IPv6 prefixes.
#[derive(Debug)]
pub struct SourceRateLimiter {
    rows: [SketchRow; 2],
    /// Nanoseconds between two events in the long run; 0: unlimited.
    interval: u64,
    burst: u32,
    wide: bool,
    epoch: Instant,
}

#[derive(Debug)]
struct SketchRow {
    /// Secret, so that an attacker cannot choose addresses that share a victim's slot.
    seed: u64,
    slots: Box<[AtomicGcra]>,
}

/// Slots in a row, 8 bytes each.
const SLOTS: usize = 1 << 14;

impl Rate {
    /// No limit.
    pub const UNLIMITED: Self = Self { interval: Duration::ZERO, burst: 0 };

    /// `rate` events per second with a burst of ten seconds' worth; 0 is unlimited.
    pub fn per_second(rate: u32) -> Self {
        match rate {
            0 => Self::UNLIMITED,
            rate => Self {
                interval: Duration::from_nanos(1_000_000_000 / u64::from(rate)),
                burst: rate.saturating_mul(10),
            },
        }
    }
}

impl SourcePrefix {
    /// The prefixes of `address`, narrowest first: an IPv4 address is one source (/32); an IPv6 address counts
    /// for its /64 (one network), its /56 (a typical household) and its /48 (a typical site).
    pub fn of(address: IpAddr) -> [Option<Self>; 3] {
        match address.to_canonical() {
            IpAddr::V4(v4) => [Some(Self { length: 32, network: v4.into() }), None, None],
            IpAddr::V6(v6) => [64, 56, 48].map(|length| {
                let mask = u128::MAX << (128 - u32::from(length));
                Some(Self { length, network: Ipv6Addr::from_bits(v6.to_bits() & mask).into() })
            }),
        }
    }
}

/// The narrowest prefix of `address` as an address: IPv4 unchanged, IPv6 cut to its /64.
pub fn source_key(address: IpAddr) -> IpAddr {
    SourcePrefix::of(address)[0].map_or(address, |prefix| prefix.network)
}

impl SourceRateLimiter {
    /// `seeds` are random and secret.
    pub fn new(rate: Rate, seeds: [u64; 2], epoch: Instant) -> Self {
        let interval = rate.interval.as_nanos() as u64;
        let rows = seeds.map(|seed| SketchRow::new(seed, interval != 0));
        Self { rows, interval, burst: rate.burst, wide: false, epoch }
    }

    /// Also limits IPv6 /56 networks (twice a source's rate) and /48 networks (four times), so that a subscriber
    /// with many /64 networks does not count as many sources.
    #[must_use]
    pub fn with_wide_prefixes(self) -> Self {
        Self { wide: true, ..self }
    }

    /// Whether `address` conforms to the rate; counts one event if so.
    pub fn allows(&self, address: IpAddr, now: Instant) -> bool {
        self.charge(address, now).is_ok()
    }

    /// Like [`Self::allows`], but leaves the last `reserve` events of a burst to other callers.
    pub fn allows_leaving(&self, address: IpAddr, reserve: u32, now: Instant) -> bool {
        let burst = self.burst.saturating_sub(reserve);
        let wait = |prefix, multiple| self.wait(prefix, multiple, burst, now);
        self.for_each_prefix(address, wait).is_ok()
            && self
                .for_each_prefix(address, |prefix, multiple| self.add(prefix, multiple, burst, now))
                .is_ok()
    }

    /// Whether `key`, which has a rate of its own, conforms; counts one event if so.
    pub fn allows_key(&self, key: impl Hash, now: Instant) -> bool {
        self.interval == 0 || self.add(key, 1, self.burst, now).is_ok()
    }

    /// Counts one event of `address`.
    ///
    /// # Errors
    /// How long to wait, where the event exceeds the rate. It is not counted then.
    pub fn charge(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        self.check(address, now)?;
        self.for_each_prefix(address, |prefix, multiple| self.add(prefix, multiple, self.burst, now))
    }

    /// Takes back one counted event that turned out not to fall under the limit.
    pub fn refund(&self, address: IpAddr) {
        let refund = |prefix, multiple| {
            self.rows.iter().for_each(|row| row.slot(&prefix).refund(self.interval / multiple));
            Ok(())
        };
        let _never_fails = self.for_each_prefix(address, refund);
    }

    /// Whether [`Self::charge`] would succeed now; counts nothing.
    ///
    /// # Errors
    /// How long to wait.
    pub fn check(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        self.for_each_prefix(address, |prefix, multiple| self.wait(prefix, multiple, self.burst, now))
    }

    fn for_each_prefix(
        &self,
        address: IpAddr,
        act: impl Fn(SourcePrefix, u64) -> Result<(), Duration>,
    ) -> Result<(), Duration> {
        if self.interval == 0 {
            return Ok(());
        }
        let prefixes = SourcePrefix::of(address);
        let count = if self.wide { prefixes.len() } else { 1 };
        let mut multiples = prefixes[..count].iter().flatten().zip([1, 2, 4]);
        multiples.try_for_each(|(prefix, multiple)| act(*prefix, multiple))
    }

    /// A prefix whose rate is `multiple` times a source's pays a fraction of the interval.
    fn add(&self, key: impl Hash, multiple: u64, burst: u32, now: Instant) -> Result<(), Duration> {
        let (now, cost) = (self.nanos(now), self.interval / multiple);
        let tolerance = self.interval * u64::from(burst);
        let [first, second] = &self.rows;
        // Not `||`: both rows must count the event.
        let allowed = first.slot(&key).try_acquire(now, cost, tolerance)
            | second.slot(&key).try_acquire(now, cost, tolerance);
        if allowed { Ok(()) } else { Err(Duration::from_nanos(cost)) }
    }

    fn wait(&self, prefix: SourcePrefix, multiple: u64, burst: u32, now: Instant) -> Result<(), Duration> {
        let (now, cost) = (self.nanos(now), self.interval / multiple);
        let latest = now + self.interval * u64::from(burst);
        let arrivals = self.rows.iter().map(|row| row.slot(&prefix).arrival());
        let next = arrivals.map(|arrival| arrival.max(now) + cost).min().unwrap_or(now);
        if next <= latest { Ok(()) } else { Err(Duration::from_nanos(next - latest)) }
    }

    fn nanos(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.epoch).as_nanos() as u64
    }
}

impl SketchRow {
    fn new(seed: u64, used: bool) -> Self {
        // One constant, copied at once: a program has many limiters, and a test starts many programs.
        let slots: Box<[AtomicGcra]> =
            if used { Box::new([const { AtomicGcra::new() }; SLOTS]) } else { Box::default() };
        Self { seed, slots }
    }

    fn slot(&self, key: &impl Hash) -> &AtomicGcra {
        let mut hasher = DefaultHasher::new();
        (self.seed, key).hash(&mut hasher);
        &self.slots[hasher.finish() as usize % self.slots.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(rate: u32, start: Instant) -> SourceRateLimiter {
        SourceRateLimiter::new(Rate::per_second(rate), [1, 2], start)
    }

    fn allowed(limiter: &SourceRateLimiter, source: &str, now: Instant, asked: usize) -> usize {
        let source = source.parse().unwrap();
        (0..asked).filter(|_| limiter.allows(source, now)).count()
    }

    #[test]
    fn a_flood_gets_its_burst_and_then_the_rate() {
        let start = Instant::now();
        let limiter = limiter(20, start);
        assert_eq!(allowed(&limiter, "45.0.0.1", start, 10_000), 200);
        let later = start + Duration::from_secs(3);
        assert_eq!(allowed(&limiter, "45.0.0.1", later, 10_000), 60);
    }

    #[test]
    fn a_flood_does_not_affect_another_source() {
        let start = Instant::now();
        let limiter = limiter(20, start);
        allowed(&limiter, "45.0.0.1", start, 10_000);
        assert_eq!(allowed(&limiter, "45.0.0.2", start, 100), 100);
    }

    #[test]
    fn an_ipv6_64_is_one_source() {
        let start = Instant::now();
        let limiter = limiter(20, start);
        allowed(&limiter, "2a00::1", start, 10_000);
        assert_eq!(allowed(&limiter, "2a00::2", start, 100), 0);
        assert_eq!(allowed(&limiter, "2a00:0:0:1::1", start, 100), 100);
    }

    #[test]
    fn a_rate_of_zero_is_unlimited() {
        let start = Instant::now();
        assert_eq!(allowed(&limiter(0, start), "45.0.0.1", start, 5000), 5000);
    }

    #[test]
    fn a_refused_event_returns_the_wait_and_is_not_counted() {
        let start = Instant::now();
        let every = Duration::from_secs(6);
        let limiter = SourceRateLimiter::new(Rate { interval: every, burst: 10 }, [1, 2], start);
        assert_eq!(allowed(&limiter, "45.0.0.1", start, 100), 10);
        let source = "45.0.0.1".parse().unwrap();
        assert_eq!(limiter.charge(source, start), Err(every));
        assert_eq!(limiter.check(source, start + every), Ok(()));
        assert_eq!(allowed(&limiter, "45.0.0.1", start + every * 3, 100), 3);
    }

    #[test]
    fn a_reserve_is_left_to_other_callers() {
        let start = Instant::now();
        let limiter = limiter(20, start);
        let source = "45.0.0.1".parse().unwrap();
        let taken = (0..1000).filter(|_| limiter.allows_leaving(source, 50, start)).count();
        assert_eq!((taken, allowed(&limiter, "45.0.0.1", start, 1000)), (150, 50));
        assert!(
            (0..200).all(|_| limiter.allows_key("a key", start)),
            "a key is counted separately from the address"
        );
        assert!(!limiter.allows_key("a key", start));
    }

    #[test]
    fn a_refunded_event_is_available_again() {
        let start = Instant::now();
        let limiter = limiter(1, start).with_wide_prefixes();
        assert_eq!(allowed(&limiter, "2a00::1", start, 100), 10);
        (0..4).for_each(|_| limiter.refund("2a00::1".parse().unwrap()));
        assert_eq!(allowed(&limiter, "2a00::1", start, 100), 4);
    }

    #[test]
    fn many_networks_of_one_subscriber_share_a_wide_prefix() {
        let start = Instant::now();
        let limiter = limiter(1, start).with_wide_prefixes();
        let each = |wide: u32| format!("2a00:0:0:{wide:x}::1");
        let from_56: usize = (0..200).map(|n| allowed(&limiter, &each(n), start, 10)).sum();
        assert_eq!(from_56, 20, "twice a source's burst for a /56");
        let from_48: usize = (0..200).map(|n| allowed(&limiter, &each(n << 8), start, 10)).sum();
        assert_eq!(from_48, 20, "four times for a /48, of which half is used up");
        assert_eq!(allowed(&limiter, "2a00:0:1::1", start, 100), 10, "the next /48 is another source");
    }
}
