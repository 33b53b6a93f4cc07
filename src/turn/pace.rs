//! How many bytes a second may pass: for one allocation, or for the whole box, each way.
//!
//! The generic cell rate algorithm in one atomic, so that any worker may charge it without a lock.
//! Small packets are the last to suffer: a call that must lose something loses picture before sound.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// A rate in bytes per second, smoothed over a second.
#[derive(Debug)]
pub struct Pace {
    /// Bytes per second; 0: no limit.
    rate: u64,
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
/// The same for packets of at most [`SMALL`] bytes.
const SMALL_AHEAD: u64 = 2 * AHEAD;
/// Payloads of audio and of signaling are not larger.
const SMALL: usize = 300;

impl Pace {
    /// `rate` bytes per second; 0: no limit.
    pub fn new(rate: u32, epoch: Instant) -> Self {
        Self { rate: rate.into(), epoch, arrival: AtomicU64::new(0) }
    }

    /// Whether `bytes` more may pass now; counts them if so.
    pub fn allows(&self, bytes: usize, now: Instant) -> bool {
        if self.rate == 0 {
            return true;
        }
        let now = now.saturating_duration_since(self.epoch).as_nanos() as u64;
        let cost = (bytes as u64).saturating_mul(1_000_000_000) / self.rate;
        let ahead = if bytes <= SMALL { SMALL_AHEAD } else { AHEAD };
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
}
