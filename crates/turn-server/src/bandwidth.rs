//! How many bytes a second may pass: for one allocation, or for the whole box, each way.
//!
//! The generic cell rate algorithm in one atomic, so that any worker may charge it without a lock.
//! Small packets are the last to suffer: a call that must lose something loses picture before sound.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use webrtc_box_rate_limit::source::Prefix;

/// A rate in bytes per second, smoothed over a second or more.
#[derive(Debug)]
pub struct Pace {
    /// Bytes per second; 0: no limit.
    rate: u64,
    /// How far ahead of its rate it may be, in nanoseconds.
    ahead: u64,
    /// Another that counts the same bytes, for more than one allocation.
    shared: Option<Arc<Pace>>,
    epoch: Instant,
    /// Nanoseconds since the epoch at which it would be wholly rested.
    arrival: AtomicU64,
}

/// Both ways: what clients send, and what they are sent.
#[derive(Debug)]
pub struct Paces {
    /// From a client to the box.
    pub up: Pace,
    /// From the box to a client.
    pub down: Pace,
}

/// How far ahead of its rate a flow may be.
const AHEAD: u64 = 1_000_000_000;
/// How much further packets of at most [`SMALL`] bytes may be.
const MORE_FOR_SMALL: u64 = AHEAD;
/// Payloads of audio and of signaling are not larger.
const SMALL: usize = 300;

impl Pace {
    /// `rate` bytes per second; 0: no limit.
    pub fn new(rate: u32, epoch: Instant) -> Self {
        Self { rate: rate.into(), ahead: AHEAD, shared: None, epoch, arrival: AtomicU64::new(0) }
    }

    /// `burst` bytes at once after a rest, then `rate` bytes per second.
    pub fn with_burst(rate: u32, burst: u64, epoch: Instant) -> Self {
        let ahead = burst.saturating_mul(1_000_000_000) / u64::from(rate.max(1));
        Self { ahead, ..Self::new(rate, epoch) }
    }

    /// The same, and what passes must pass `shared` too.
    #[must_use]
    pub fn within(self, shared: Arc<Self>) -> Self {
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
        let ahead = if bytes <= SMALL { self.ahead + MORE_FOR_SMALL } else { self.ahead };
        let charge = |arrival: u64| {
            let arrival = arrival.max(now);
            (arrival <= now + ahead).then_some(arrival + cost)
        };
        self.arrival.fetch_update(Ordering::Relaxed, Ordering::Relaxed, charge).is_ok()
    }
}

impl Paces {
    /// The same `rate` each way.
    pub fn new(rate: u32, epoch: Instant) -> Self {
        Self { up: Pace::new(rate, epoch), down: Pace::new(rate, epoch) }
    }
}

/// What those who only test may send, and get: for each source, whatever allocations and credentials it takes.
#[derive(Debug)]
pub struct TesterPaces {
    /// Secret, so that nobody can pick an address that shares another's place.
    seed: u64,
    up: Box<[Arc<Pace>]>,
    down: Box<[Arc<Pace>]>,
}

/// A test sends some four megabytes: nine at once, then one every half minute.
const TESTERS_RATE: u32 = 128 * 1024;
const TESTERS_BURST: u64 = 40 * 1024 * 1024;
/// Sources that share a place share what they may send; that only slows a test.
const TESTERS_PLACES: usize = 1 << 10;

impl TesterPaces {
    /// Everybody is rested; `seed` is random and secret.
    pub fn new(seed: u64, epoch: Instant) -> Self {
        let pace = || Arc::new(Pace::with_burst(TESTERS_RATE, TESTERS_BURST, epoch));
        let places = || std::iter::repeat_with(pace).take(TESTERS_PLACES).collect();
        Self { seed, up: places(), down: places() }
    }

    /// For an allocation of `client`, which has `rate` bytes per second of its own. An IPv6 /56 is one source.
    pub fn paces(&self, client: IpAddr, rate: u32, epoch: Instant) -> Paces {
        let [narrow, wide, _] = Prefix::of(client);
        let mut hasher = DefaultHasher::new();
        (self.seed, wide.or(narrow)).hash(&mut hasher);
        let place = hasher.finish() as usize % TESTERS_PLACES;
        let within = |shared: &[Arc<Pace>]| Pace::new(rate, epoch).within(Arc::clone(&shared[place]));
        Paces { up: within(&self.up), down: within(&self.down) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Bytes that pass of packets of `size`, `each` sent every millisecond for ten seconds.
    fn passed(pace: &Pace, start: Instant, size: usize, each: usize) -> usize {
        let moments = (0..10_000).map(|ms| start + Duration::from_millis(ms));
        moments.map(|now| (0..each).filter(|_| pace.allows(size, now)).count() * size).sum()
    }

    #[test]
    fn a_flow_above_the_rate_gets_the_rate() {
        let start = Instant::now();
        let pace = Pace::new(125_000, start);
        let passed = passed(&pace, start, 1200, 1);
        assert!((1_250_000..1_400_000).contains(&passed), "{passed}");
    }

    #[test]
    fn a_flow_below_it_loses_nothing() {
        let start = Instant::now();
        assert_eq!(passed(&Pace::new(2_000_000, start), start, 1200, 1), 12_000_000);
        assert_eq!(passed(&Pace::new(0, start), start, 1200, 3), 36_000_000);
    }

    #[test]
    fn sound_passes_while_pictures_are_refused() {
        let start = Instant::now();
        let pace = Pace::new(100_000, start);
        let (mut sound, mut pictures) = (0, 0);
        for ms in 0..10_000 {
            let now = start + Duration::from_millis(ms);
            pictures += usize::from(pace.allows(1200, now));
            sound += usize::from(ms % 20 == 0 && pace.allows(160, now));
        }
        assert_eq!(sound, 500, "fifty a second, all of them");
        assert!(pictures < 1000, "{pictures} of 10,000");
    }

    #[test]
    fn a_packet_larger_than_a_second_of_the_rate_passes_in_its_turn() {
        let start = Instant::now();
        let pace = Pace::new(1000, start);
        assert!(pace.allows(9000, start));
        assert!(!pace.allows(9000, start + Duration::from_secs(7)));
        assert!(pace.allows(9000, start + Duration::from_secs(8)));
    }

    #[test]
    fn one_source_tunnels_little_through_what_is_meant_for_tests() {
        let start = Instant::now();
        let testers = TesterPaces::new(1, start);
        let source: IpAddr = "45.0.0.1".parse().unwrap();
        let mut passed = 0;
        // Ten minutes, each second with another allocation, at 175 Mbit/s.
        for second in 0..600 {
            let paces = testers.paces(source, 2_500_000, start);
            for packet in 0..18_000_u64 {
                let now = start + Duration::from_secs(second) + Duration::from_micros(packet * 55);
                passed += if paces.up.allows(1200, now) { 1200 } else { 0 };
            }
        }
        let most = TESTERS_BURST + 601 * u64::from(TESTERS_RATE);
        assert!((most * 9 / 10..=most + 2_500_000).contains(&passed), "{passed}");
        let other = testers.paces("45.0.0.2".parse().unwrap(), 2_500_000, start);
        assert!(other.up.allows(1200, start + Duration::from_secs(600)));
    }
}
