//! How much may be logged: the way to the log, and how much one cause may write there.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How many lines one cause may write, whoever asks: in any one second at most 20, or one in so long. Those
/// beyond are counted and told with the next line.
#[derive(Debug)]
pub struct LineLimit {
    epoch: Instant,
    /// Nanoseconds that a line costs, and that may be owed at once.
    interval: u64,
    burst: u64,
    /// Nanoseconds since the epoch at which it would be wholly rested.
    arrival: AtomicU64,
    held: AtomicU64,
}

/// Ten lines a second in the long run,
const LINE_INTERVAL: u64 = 100_000_000;
/// and ten at once.
const LINE_BURST: u64 = 10 * LINE_INTERVAL;

impl LineLimit {
    /// Nothing written yet.
    pub fn new(epoch: Instant) -> Self {
        Self::of(epoch, LINE_INTERVAL, LINE_BURST)
    }

    /// One line, and the next after `pause`: for what fails again and again for one reason.
    pub fn one_in(pause: Duration, epoch: Instant) -> Self {
        let pause = pause.as_nanos() as u64;
        Self::of(epoch, pause, pause)
    }

    fn of(epoch: Instant, interval: u64, burst: u64) -> Self {
        Self { epoch, interval, burst, arrival: AtomicU64::new(0), held: AtomicU64::new(0) }
    }

    /// Whether a line may be written now; if so, how many were held back since the last.
    pub fn allows(&self, now: Instant) -> Option<u64> {
        let now = now.saturating_duration_since(self.epoch).as_nanos() as u64;
        let charge = |arrival: u64| {
            let next = arrival.max(now) + self.interval;
            (next <= now + self.burst).then_some(next)
        };
        if self.arrival.fetch_update(Ordering::Relaxed, Ordering::Relaxed, charge).is_ok() {
            return Some(self.release());
        }
        self.held.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// How many were held back since the last, where no line follows that could tell of them.
    pub fn release(&self) -> u64 {
        self.held.swap(0, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_has_more_than_twenty_lines_and_the_rest_is_counted() {
        let start = Instant::now();
        let limit = LineLimit::new(start);
        let moments = (0..10_000).map(|ms| start + Duration::from_millis(ms));
        let written: Vec<Instant> = moments.filter(|now| limit.allows(*now).is_some()).collect();
        assert!(written.len() > 100, "{}", written.len());
        for (at, begin) in written.iter().enumerate() {
            let second = written[at..].iter().take_while(|line| **line < *begin + Duration::from_secs(1));
            assert!(second.count() <= 20);
        }
        let later = start + Duration::from_secs(20);
        assert!(limit.allows(later).is_some_and(|held| held > 0));
        assert_eq!(limit.allows(later), Some(0));
    }

    #[test]
    fn what_fails_for_one_reason_is_one_line_a_minute() {
        let start = Instant::now();
        let limit = LineLimit::one_in(Duration::from_secs(60), start);
        let at = |seconds| limit.allows(start + Duration::from_secs(seconds));
        assert_eq!([0, 1, 59, 60, 61].map(at), [Some(0), None, None, Some(2), None]);
    }

    #[test]
    fn what_no_later_line_tells_of_can_be_asked_for() {
        let start = Instant::now();
        let limit = LineLimit::new(start);
        let written = (0..30).filter(|_| limit.allows(start).is_some()).count();
        assert_eq!((written as u64 + limit.release(), limit.release()), (30, 0));
    }
}
