//! Limits log lines per cause, so that remote clients cannot fill the log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::AtomicGcra;

/// A limit on the log lines of one cause, shared by threads. Suppressed lines are counted, and the next line
/// reports their number.
#[derive(Debug)]
pub struct LogLimit {
    epoch: Instant,
    /// Nanoseconds per line in the long run.
    interval: u64,
    /// Nanoseconds' worth of lines at once.
    burst: u64,
    gcra: AtomicGcra,
    suppressed: AtomicU64,
}

/// Ten lines a second in the long run.
const LINE_INTERVAL: u64 = 100_000_000;
/// Ten lines at once: at most 20 in any one second.
const LINE_BURST: u64 = 10 * LINE_INTERVAL;

impl LogLimit {
    /// At most 20 lines in any one second, 10 per second in the long run.
    pub fn new(epoch: Instant) -> Self {
        Self::with(epoch, LINE_INTERVAL, LINE_BURST)
    }

    /// One line per `pause`, for a failure that repeats for one reason.
    pub fn once_per(pause: Duration, epoch: Instant) -> Self {
        let pause = pause.as_nanos() as u64;
        Self::with(epoch, pause, pause)
    }

    fn with(epoch: Instant, interval: u64, burst: u64) -> Self {
        Self { epoch, interval, burst, gcra: AtomicGcra::new(), suppressed: AtomicU64::new(0) }
    }

    /// Whether a line may be written now; if so, how many lines were suppressed since the last one.
    pub fn allows(&self, now: Instant) -> Option<u64> {
        let now = now.saturating_duration_since(self.epoch).as_nanos() as u64;
        if self.gcra.try_acquire(now, self.interval, self.burst) {
            return Some(self.take_suppressed());
        }
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// The number of lines suppressed since the last one, for a caller that writes no further line.
    pub fn take_suppressed(&self) -> u64 {
        self.suppressed.swap(0, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_20_lines_per_second_and_the_rest_is_counted() {
        let start = Instant::now();
        let limit = LogLimit::new(start);
        let moments = (0..10_000).map(|ms| start + Duration::from_millis(ms));
        let written: Vec<Instant> = moments.filter(|now| limit.allows(*now).is_some()).collect();
        assert!(written.len() > 100, "{}", written.len());
        for (at, begin) in written.iter().enumerate() {
            let second = written[at..].iter().take_while(|line| **line < *begin + Duration::from_secs(1));
            assert!(second.count() <= 20);
        }
        let later = start + Duration::from_secs(20);
        assert!(limit.allows(later).is_some_and(|suppressed| suppressed > 0));
        assert_eq!(limit.allows(later), Some(0));
    }

    #[test]
    fn a_repeated_failure_is_logged_once_a_minute() {
        let start = Instant::now();
        let limit = LogLimit::once_per(Duration::from_secs(60), start);
        let at = |seconds| limit.allows(start + Duration::from_secs(seconds));
        assert_eq!([0, 1, 59, 60, 61].map(at), [Some(0), None, None, Some(2), None]);
    }

    #[test]
    fn suppressed_lines_can_be_read_without_another_line() {
        let start = Instant::now();
        let limit = LogLimit::new(start);
        let written = (0..30).filter(|_| limit.allows(start).is_some()).count();
        assert_eq!((written as u64 + limit.take_suppressed(), limit.take_suppressed()), (30, 0));
    }
}
