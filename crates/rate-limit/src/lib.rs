//! How often one source may do something: a rate with a burst per source, in fixed memory.
//!
//! A table keyed by source would grow with every address that an attacker has. Instead each source has
//! a place in each of two rows of a fixed sketch and is refused only when both are spent, so that
//! sharing one place with a flood costs nothing. A place is the generic cell rate algorithm's
//! "theoretical arrival time" in one atomic: shared by all threads, never locked. Pure: `now` and the
//! seeds come in.

use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub mod source;

use source::Prefix;

/// A rate: `burst` at once, then one every `interval`. An interval of zero is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Time between two in the long run.
    pub interval: Duration,
    /// How many may come at once after a rest.
    pub burst: u32,
}

/// One rate for each source: an IPv4 address or an IPv6 /64, and, where asked for, wider prefixes.
#[derive(Debug)]
pub struct SourceRateLimiter {
    rows: [Row; 2],
    /// Nanoseconds between two in the long run; 0: no limit.
    interval: u64,
    burst: u32,
    wide: bool,
    epoch: Instant,
}

#[derive(Debug)]
struct Row {
    /// Secret, so that nobody can pick sources that share another's place.
    seed: u64,
    /// Nanoseconds since the epoch at which the source has its whole burst again.
    arrivals: Box<[AtomicU64]>,
}

/// Places in a row: 16,384 of 8 bytes.
const PLACES: usize = 1 << 14;

impl Rate {
    /// No limit at all.
    pub const UNLIMITED: Self = Self { interval: Duration::ZERO, burst: 0 };

    /// `rate` a second with a burst of ten seconds' worth; 0 is no limit.
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

impl SourceRateLimiter {
    /// `seeds` are random and secret.
    pub fn new(rate: Rate, seeds: [u64; 2], epoch: Instant) -> Self {
        let interval = rate.interval.as_nanos() as u64;
        let rows = seeds.map(|seed| Row::new(seed, interval != 0));
        Self { rows, interval, burst: rate.burst, wide: false, epoch }
    }

    /// The same with a share for IPv6 /56 (twice a source's) and /48 (four times), so that a subscriber
    /// with many /64s is not many sources.
    #[must_use]
    pub fn with_wide_prefixes(self) -> Self {
        Self { wide: true, ..self }
    }

    /// Whether `address` may have one more now; counts it if so.
    pub fn allows(&self, address: IpAddr, now: Instant) -> bool {
        self.charge(address, now).is_ok()
    }

    /// The same for what may not have the last `reserve` of a burst, which is left to others.
    pub fn allows_leaving(&self, address: IpAddr, reserve: u32, now: Instant) -> bool {
        let burst = self.burst.saturating_sub(reserve);
        let waits = |prefix, multiple| self.wait(prefix, multiple, burst, now);
        self.each_prefix(address, waits).is_ok()
            && self.each_prefix(address, |prefix, multiple| self.add(prefix, multiple, burst, now)).is_ok()
    }

    /// Whether `key`, which is counted by itself, may have one more now; counts it if so.
    pub fn allows_key(&self, key: impl Hash, now: Instant) -> bool {
        self.interval == 0 || self.add(key, 1, self.burst, now).is_ok()
    }

    /// Counts one more of `address`.
    ///
    /// # Errors
    /// Where that is too many: how long to wait. It is not counted then.
    pub fn charge(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        self.check(address, now)?;
        self.each_prefix(address, |prefix, multiple| self.add(prefix, multiple, self.burst, now))
    }

    /// Takes one that was counted back: it turned out to be none that the limit is for.
    pub fn give_back(&self, address: IpAddr) {
        if self.interval == 0 {
            return;
        }
        let prefixes = Prefix::of(address);
        let count = if self.wide { prefixes.len() } else { 1 };
        for (prefix, multiple) in prefixes[..count].iter().flatten().zip([1, 2, 4]) {
            self.rows.iter().for_each(|row| row.give_back(prefix, self.interval / multiple));
        }
    }

    /// Whether [`Self::charge`] would succeed now; counts nothing.
    ///
    /// # Errors
    /// How long to wait.
    pub fn check(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        self.each_prefix(address, |prefix, multiple| self.wait(prefix, multiple, self.burst, now))
    }

    fn each_prefix(
        &self,
        address: IpAddr,
        act: impl Fn(Prefix, u64) -> Result<(), Duration>,
    ) -> Result<(), Duration> {
        if self.interval == 0 {
            return Ok(());
        }
        let prefixes = Prefix::of(address);
        let count = if self.wide { prefixes.len() } else { 1 };
        let mut multiples = prefixes[..count].iter().flatten().zip([1, 2, 4]);
        multiples.try_for_each(|(prefix, multiple)| act(*prefix, multiple))
    }

    /// A prefix whose share is `multiple` times a source's pays a fraction of the interval.
    fn add(&self, key: impl Hash, multiple: u64, burst: u32, now: Instant) -> Result<(), Duration> {
        let (now, cost) = (self.nanos(now), self.interval / multiple);
        let tolerance = self.interval * u64::from(burst);
        let [first, second] = &self.rows;
        // Both are charged, whatever the first says.
        let charged = first.charge(&key, now, cost, tolerance) | second.charge(&key, now, cost, tolerance);
        if charged { Ok(()) } else { Err(Duration::from_nanos(cost)) }
    }

    fn wait(&self, prefix: Prefix, multiple: u64, burst: u32, now: Instant) -> Result<(), Duration> {
        let (now, cost) = (self.nanos(now), self.interval / multiple);
        let latest = now + self.interval * u64::from(burst);
        let next = self.rows.iter().map(|row| row.arrival(&prefix).max(now) + cost).min().unwrap_or(now);
        if next <= latest { Ok(()) } else { Err(Duration::from_nanos(next - latest)) }
    }

    fn nanos(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.epoch).as_nanos() as u64
    }
}

impl Row {
    fn new(seed: u64, used: bool) -> Self {
        // As one constant, which is copied at once; a box has many limiters and a test makes many boxes.
        let arrivals: Box<[AtomicU64]> =
            if used { Box::new([const { AtomicU64::new(0) }; PLACES]) } else { Box::default() };
        Self { seed, arrivals }
    }

    fn place(&self, key: &impl Hash) -> &AtomicU64 {
        let mut hasher = DefaultHasher::new();
        (self.seed, key).hash(&mut hasher);
        &self.arrivals[hasher.finish() as usize % self.arrivals.len()]
    }

    fn arrival(&self, key: &impl Hash) -> u64 {
        self.place(key).load(Ordering::Relaxed)
    }

    fn charge(&self, key: &impl Hash, now: u64, cost: u64, tolerance: u64) -> bool {
        self.place(key)
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |arrival| {
                let next = arrival.max(now) + cost;
                (next <= now + tolerance).then_some(next)
            })
            .is_ok()
    }

    fn give_back(&self, key: impl Hash, cost: u64) {
        let less = |arrival: u64| Some(arrival.saturating_sub(cost));
        let _always = self.place(&key).fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
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
    fn another_source_is_not_affected() {
        let start = Instant::now();
        let limiter = limiter(20, start);
        allowed(&limiter, "45.0.0.1", start, 10_000);
        assert_eq!(allowed(&limiter, "45.0.0.2", start, 100), 100);
    }

    #[test]
    fn one_ipv6_subscriber_is_one_source() {
        let start = Instant::now();
        let limiter = limiter(20, start);
        allowed(&limiter, "2a00::1", start, 10_000);
        assert_eq!(allowed(&limiter, "2a00::2", start, 100), 0);
        assert_eq!(allowed(&limiter, "2a00:0:0:1::1", start, 100), 100);
    }

    #[test]
    fn zero_is_no_limit() {
        let start = Instant::now();
        assert_eq!(allowed(&limiter(0, start), "45.0.0.1", start, 5000), 5000);
    }

    #[test]
    fn a_refusal_names_the_wait_and_costs_nothing() {
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
    fn a_reserve_is_left_to_those_who_may_have_it() {
        let start = Instant::now();
        let limiter = limiter(20, start);
        let source = "45.0.0.1".parse().unwrap();
        let taken = (0..1000).filter(|_| limiter.allows_leaving(source, 50, start)).count();
        assert_eq!((taken, allowed(&limiter, "45.0.0.1", start, 1000)), (150, 50));
        assert!((0..200).all(|_| limiter.allows_key("its name", start)), "a key is not its address");
        assert!(!limiter.allows_key("its name", start));
    }

    #[test]
    fn what_is_given_back_may_be_had_again() {
        let start = Instant::now();
        let limiter = limiter(1, start).with_wide_prefixes();
        assert_eq!(allowed(&limiter, "2a00::1", start, 100), 10);
        (0..4).for_each(|_| limiter.give_back("2a00::1".parse().unwrap()));
        assert_eq!(allowed(&limiter, "2a00::1", start, 100), 4);
    }

    #[test]
    fn many_networks_of_one_subscriber_share_a_wide_prefix() {
        let start = Instant::now();
        let limiter = limiter(1, start).with_wide_prefixes();
        let each = |wide: u32| format!("2a00:0:0:{wide:x}::1");
        let of_56: usize = (0..200).map(|n| allowed(&limiter, &each(n), start, 10)).sum();
        assert_eq!(of_56, 20, "twice a source's burst for a /56");
        let of_48: usize = (0..200).map(|n| allowed(&limiter, &each(n << 8), start, 10)).sum();
        assert_eq!(of_48, 20, "and four times for a /48, of which half is used up");
        assert_eq!(allowed(&limiter, "2a00:0:1::1", start, 100), 10, "the next /48 is another");
    }
}
