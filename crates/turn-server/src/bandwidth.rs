//! Limits on bytes per second, each way: of one allocation, of the whole server, of connection tests.
//!
//! One atomic holds the state (GCRA), so that workers share a limiter without a lock. Small packets are dropped last: a
//! call above its limit loses video before audio.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use webrtc_box_rate_limit::{AtomicGcra, SourcePrefix};

/// A rate in bytes per second with a burst of one second or more.
#[derive(Debug)]
pub struct BandwidthLimiter {
    /// Bytes per second; 0: no limit.
    rate: u64,
    /// The burst: nanoseconds by which a flow may be ahead of the rate.
    burst: u64,
    /// A second limiter for the same bytes, shared by several allocations.
    shared: Option<Arc<BandwidthLimiter>>,
    epoch: Instant,
    gcra: AtomicGcra,
}

/// Limiters for both directions.
#[derive(Debug)]
pub struct BandwidthLimits {
    /// From a client to the server.
    pub up: BandwidthLimiter,
    /// From the server to a client.
    pub down: BandwidthLimiter,
}

/// The default burst.
const BURST_NANOS: u64 = 1_000_000_000;
/// Additional burst for packets of at most [`SMALL_PACKET_BYTES`] bytes.
const SMALL_PACKET_BONUS_NANOS: u64 = BURST_NANOS;
/// Audio and control packets are not larger.
const SMALL_PACKET_BYTES: usize = 300;

impl BandwidthLimiter {
    /// `rate` bytes per second; 0: no limit.
    pub fn new(rate: u32, epoch: Instant) -> Self {
        Self { rate: rate.into(), burst: BURST_NANOS, shared: None, epoch, gcra: AtomicGcra::new() }
    }

    /// `rate` bytes per second, with a burst of `burst` bytes.
    pub fn with_burst(rate: u32, burst: u64, epoch: Instant) -> Self {
        let burst = burst.saturating_mul(1_000_000_000) / u64::from(rate.max(1));
        Self { burst, ..Self::new(rate, epoch) }
    }

    /// Adds a limiter that the same bytes must pass.
    #[must_use]
    pub fn sharing(self, shared: Arc<Self>) -> Self {
        Self { shared: Some(shared), ..self }
    }

    /// Whether `bytes` more bytes may pass now; counts them if so.
    pub fn allows(&self, bytes: usize, now: Instant) -> bool {
        self.charge(bytes, now) && self.shared.as_ref().is_none_or(|shared| shared.charge(bytes, now))
    }

    fn charge(&self, bytes: usize, now: Instant) -> bool {
        if self.rate == 0 {
            return true;
        }
        let now = now.saturating_duration_since(self.epoch).as_nanos() as u64;
        let cost = (bytes as u64).saturating_mul(1_000_000_000) / self.rate;
        let bonus = if bytes <= SMALL_PACKET_BYTES { SMALL_PACKET_BONUS_NANOS } else { 0 };
        // The cost is tolerated too: a packet larger than the burst passes once the limiter has recovered.
        self.gcra.try_acquire(now, cost, self.burst + bonus + cost)
    }
}

impl BandwidthLimits {
    /// `rate` bytes per second each way; 0: no limit.
    pub fn new(rate: u32, epoch: Instant) -> Self {
        Self { up: BandwidthLimiter::new(rate, epoch), down: BandwidthLimiter::new(rate, epoch) }
    }
}

/// Bandwidth of connection tests, by source: the same for however many allocations and credentials it has.
#[derive(Debug)]
pub struct TesterBandwidth {
    /// Secret, so that an attacker cannot choose an address that shares a victim's slot.
    seed: u64,
    up: Box<[Arc<BandwidthLimiter>]>,
    down: Box<[Arc<BandwidthLimiter>]>,
}

/// A test sends about 4 MB: nine tests in a burst, then one every 30 s.
const TESTER_SUSTAINED_RATE: u32 = 128 * 1024;
const TESTER_BURST: u64 = 40 * 1024 * 1024;
/// Sources that share a slot share its rate, which only slows a test.
const TESTER_SLOTS: usize = 1 << 10;

impl TesterBandwidth {
    /// `seed` is random and secret.
    pub fn new(seed: u64, epoch: Instant) -> Self {
        let limiter = || Arc::new(BandwidthLimiter::with_burst(TESTER_SUSTAINED_RATE, TESTER_BURST, epoch));
        let slots = || std::iter::repeat_with(limiter).take(TESTER_SLOTS).collect();
        Self { seed, up: slots(), down: slots() }
    }

    /// Limiters for one allocation of `client`, with `rate` bytes per second of its own. An IPv6 /56 is one source.
    pub fn limits(&self, client: IpAddr, rate: u32, epoch: Instant) -> BandwidthLimits {
        let [narrow, wide, _] = SourcePrefix::of(client);
        let mut hasher = DefaultHasher::new();
        (self.seed, wide.or(narrow)).hash(&mut hasher);
        let slot = hasher.finish() as usize % TESTER_SLOTS;
        let sharing = |shared: &[Arc<BandwidthLimiter>]| {
            BandwidthLimiter::new(rate, epoch).sharing(Arc::clone(&shared[slot]))
        };
        BandwidthLimits { up: sharing(&self.up), down: sharing(&self.down) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Bytes that pass if `each` packets of `size` bytes are sent every millisecond for ten seconds.
    fn passed(limiter: &BandwidthLimiter, start: Instant, size: usize, each: usize) -> usize {
        let moments = (0..10_000).map(|ms| start + Duration::from_millis(ms));
        moments.map(|now| (0..each).filter(|_| limiter.allows(size, now)).count() * size).sum()
    }

    #[test]
    fn a_flow_above_the_rate_is_limited_to_it() {
        let start = Instant::now();
        let limiter = BandwidthLimiter::new(125_000, start);
        let passed = passed(&limiter, start, 1200, 1);
        assert!((1_250_000..1_400_000).contains(&passed), "{passed}");
    }

    #[test]
    fn a_flow_below_the_rate_loses_nothing() {
        let start = Instant::now();
        assert_eq!(passed(&BandwidthLimiter::new(2_000_000, start), start, 1200, 1), 12_000_000);
        assert_eq!(passed(&BandwidthLimiter::new(0, start), start, 1200, 3), 36_000_000);
    }

    #[test]
    fn small_packets_pass_while_large_ones_are_dropped() {
        let start = Instant::now();
        let limiter = BandwidthLimiter::new(100_000, start);
        let (mut small, mut large) = (0, 0);
        for ms in 0..10_000 {
            let now = start + Duration::from_millis(ms);
            large += usize::from(limiter.allows(1200, now));
            small += usize::from(ms % 20 == 0 && limiter.allows(160, now));
        }
        assert_eq!(small, 500, "all of 50 per second");
        assert!(large < 1000, "{large} of 10,000");
    }

    #[test]
    fn a_packet_larger_than_the_burst_passes_after_recovery() {
        let start = Instant::now();
        let limiter = BandwidthLimiter::new(1000, start);
        assert!(limiter.allows(9000, start));
        assert!(!limiter.allows(9000, start + Duration::from_secs(7)));
        assert!(limiter.allows(9000, start + Duration::from_secs(8)));
    }

    #[test]
    fn one_source_gets_only_the_sustained_rate_of_tests() {
        let start = Instant::now();
        let testers = TesterBandwidth::new(1, start);
        let source: IpAddr = "45.0.0.1".parse().unwrap();
        let mut passed = 0;
        // Ten minutes at 175 Mbit/s, with a new allocation every second.
        for second in 0..600 {
            let limits = testers.limits(source, 2_500_000, start);
            for packet in 0..18_000_u64 {
                let now = start + Duration::from_secs(second) + Duration::from_micros(packet * 55);
                passed += if limits.up.allows(1200, now) { 1200 } else { 0 };
            }
        }
        let limit = TESTER_BURST + 601 * u64::from(TESTER_SUSTAINED_RATE);
        assert!((limit * 9 / 10..=limit + 2_500_000).contains(&passed), "{passed}");
        let other = testers.limits("45.0.0.2".parse().unwrap(), 2_500_000, start);
        assert!(other.up.allows(1200, start + Duration::from_secs(600)));
    }
}
