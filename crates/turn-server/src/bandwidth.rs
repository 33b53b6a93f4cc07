//! How many bytes a second may pass: for one allocation, or for the whole box, each way.
//!
//! The generic cell rate algorithm in one atomic, so that any worker may charge it without a lock.
//! Small packets are the last to suffer: a call that must lose something loses picture before sound.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use webrtc_box_rate_limit::{AtomicGcra, SourcePrefix};

/// A rate in bytes per second, smoothed over a second or more.
#[derive(Debug)]
pub struct BandwidthLimiter {
    /// Bytes per second; 0: no limit.
    rate: u64,
    /// How far ahead of its rate it may be, in nanoseconds.
    ahead: u64,
    /// Another that counts the same bytes, for more than one allocation.
    shared: Option<Arc<BandwidthLimiter>>,
    epoch: Instant,
    /// Nanoseconds since the epoch at which it would be wholly rested.
    gcra: AtomicGcra,
}

/// Both ways: what clients send, and what they are sent.
#[derive(Debug)]
pub struct BandwidthLimits {
    /// From a client to the box.
    pub up: BandwidthLimiter,
    /// From the box to a client.
    pub down: BandwidthLimiter,
}

/// How far ahead of its rate a flow may be.
const BURST_NANOS: u64 = 1_000_000_000;
/// How much further packets of at most [`SMALL_PACKET_BYTES`] bytes may be.
const SMALL_PACKET_BONUS_NANOS: u64 = BURST_NANOS;
/// Payloads of audio and of signaling are not larger.
const SMALL_PACKET_BYTES: usize = 300;

impl BandwidthLimiter {
    /// `rate` bytes per second; 0: no limit.
    pub fn new(rate: u32, epoch: Instant) -> Self {
        Self { rate: rate.into(), ahead: BURST_NANOS, shared: None, epoch, gcra: AtomicGcra::new() }
    }

    /// `burst` bytes at once after a rest, then `rate` bytes per second.
    pub fn with_burst(rate: u32, burst: u64, epoch: Instant) -> Self {
        let ahead = burst.saturating_mul(1_000_000_000) / u64::from(rate.max(1));
        Self { ahead, ..Self::new(rate, epoch) }
    }

    /// The same, and what passes must pass `shared` too.
    #[must_use]
    pub fn sharing(self, shared: Arc<Self>) -> Self {
        Self { shared: Some(shared), ..self }
    }

    /// Whether `bytes` more may pass now; counts them if so.
    pub fn allows(&self, bytes: usize, now: Instant) -> bool {
        self.charge(bytes, now) && self.shared.as_ref().is_none_or(|shared| shared.charge(bytes, now))
    }

    fn charge(&self, bytes: usize, now: Instant) -> bool {
        if self.rate == 0 {
            return true;
        }
        let now = now.saturating_duration_since(self.epoch).as_nanos() as u64;
        let cost = (bytes as u64).saturating_mul(1_000_000_000) / self.rate;
        let ahead =
            if bytes <= SMALL_PACKET_BYTES { self.ahead + SMALL_PACKET_BONUS_NANOS } else { self.ahead };
        // The cost is tolerated too: a packet larger than the burst passes once the limiter has recovered.
        self.gcra.try_acquire(now, cost, ahead + cost)
    }
}

impl BandwidthLimits {
    /// The same `rate` each way.
    pub fn new(rate: u32, epoch: Instant) -> Self {
        Self { up: BandwidthLimiter::new(rate, epoch), down: BandwidthLimiter::new(rate, epoch) }
    }
}

/// What those who only test may send, and get: for each source, whatever allocations and credentials it takes.
#[derive(Debug)]
pub struct TesterBandwidth {
    /// Secret, so that nobody can pick an address that shares another's place.
    seed: u64,
    up: Box<[Arc<BandwidthLimiter>]>,
    down: Box<[Arc<BandwidthLimiter>]>,
}

/// A test sends some four megabytes: nine at once, then one every half minute.
const TESTER_SUSTAINED_RATE: u32 = 128 * 1024;
const TESTER_BURST: u64 = 40 * 1024 * 1024;
/// Sources that share a place share what they may send; that only slows a test.
const TESTER_SLOTS: usize = 1 << 10;

impl TesterBandwidth {
    /// Everybody is rested; `seed` is random and secret.
    pub fn new(seed: u64, epoch: Instant) -> Self {
        let limiter = || Arc::new(BandwidthLimiter::with_burst(TESTER_SUSTAINED_RATE, TESTER_BURST, epoch));
        let slots = || std::iter::repeat_with(limiter).take(TESTER_SLOTS).collect();
        Self { seed, up: slots(), down: slots() }
    }

    /// For an allocation of `client`, which has `rate` bytes per second of its own. An IPv6 /56 is one source.
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

    /// Bytes that pass of packets of `size`, `each` sent every millisecond for ten seconds.
    fn passed(limiter: &BandwidthLimiter, start: Instant, size: usize, each: usize) -> usize {
        let moments = (0..10_000).map(|ms| start + Duration::from_millis(ms));
        moments.map(|now| (0..each).filter(|_| limiter.allows(size, now)).count() * size).sum()
    }

    #[test]
    fn a_flow_above_the_rate_gets_the_rate() {
        let start = Instant::now();
        let limiter = BandwidthLimiter::new(125_000, start);
        let passed = passed(&limiter, start, 1200, 1);
        assert!((1_250_000..1_400_000).contains(&passed), "{passed}");
    }

    #[test]
    fn a_flow_below_it_loses_nothing() {
        let start = Instant::now();
        assert_eq!(passed(&BandwidthLimiter::new(2_000_000, start), start, 1200, 1), 12_000_000);
        assert_eq!(passed(&BandwidthLimiter::new(0, start), start, 1200, 3), 36_000_000);
    }

    #[test]
    fn sound_passes_while_pictures_are_refused() {
        let start = Instant::now();
        let limiter = BandwidthLimiter::new(100_000, start);
        let (mut sound, mut pictures) = (0, 0);
        for ms in 0..10_000 {
            let now = start + Duration::from_millis(ms);
            pictures += usize::from(limiter.allows(1200, now));
            sound += usize::from(ms % 20 == 0 && limiter.allows(160, now));
        }
        assert_eq!(sound, 500, "fifty a second, all of them");
        assert!(pictures < 1000, "{pictures} of 10,000");
    }

    #[test]
    fn a_packet_larger_than_a_second_of_the_rate_passes_in_its_turn() {
        let start = Instant::now();
        let limiter = BandwidthLimiter::new(1000, start);
        assert!(limiter.allows(9000, start));
        assert!(!limiter.allows(9000, start + Duration::from_secs(7)));
        assert!(limiter.allows(9000, start + Duration::from_secs(8)));
    }

    #[test]
    fn one_source_tunnels_little_through_what_is_meant_for_tests() {
        let start = Instant::now();
        let testers = TesterBandwidth::new(1, start);
        let source: IpAddr = "45.0.0.1".parse().unwrap();
        let mut passed = 0;
        // Ten minutes, each second with another allocation, at 175 Mbit/s.
        for second in 0..600 {
            let limits = testers.limits(source, 2_500_000, start);
            for packet in 0..18_000_u64 {
                let now = start + Duration::from_secs(second) + Duration::from_micros(packet * 55);
                passed += if limits.up.allows(1200, now) { 1200 } else { 0 };
            }
        }
        let most = TESTER_BURST + 601 * u64::from(TESTER_SUSTAINED_RATE);
        assert!((most * 9 / 10..=most + 2_500_000).contains(&passed), "{passed}");
        let other = testers.limits("45.0.0.2".parse().unwrap(), 2_500_000, start);
        assert!(other.up.allows(1200, start + Duration::from_secs(600)));
    }
}
