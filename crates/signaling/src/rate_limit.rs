//! How many frames a connection may send: a bucket that empties in time.

use std::time::{Duration, Instant};

/// One frame's worth: forty a second are sustained.
const COST: Duration = Duration::from_millis(25);

/// Frames that may come at once. A page that was cut off flushes up to 256 that waited.
const BURST: u32 = 400;

/// Frames refused beyond that before the connection is closed.
const PATIENCE: u32 = 100;

/// One connection's allowance.
#[derive(Debug)]
pub(super) struct Allowance {
    owed: Duration,
    counted: Instant,
}

/// What is to become of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Within the allowance.
    Taken,
    /// Beyond it: refused, and said so.
    Refused,
    /// Far beyond it: the connection is closed.
    Flood,
}

impl Allowance {
    pub(super) fn new(now: Instant) -> Self {
        Self { owed: Duration::ZERO, counted: now }
    }

    /// Counts one frame.
    pub(super) fn spend(&mut self, now: Instant) -> Verdict {
        let passed = now.saturating_duration_since(self.counted);
        self.counted = now;
        self.owed = self.owed.saturating_sub(passed) + COST;
        if self.owed <= COST * BURST {
            Verdict::Taken
        } else if self.owed <= COST * (BURST + PATIENCE) {
            Verdict::Refused
        } else {
            Verdict::Flood
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_taken_then_refused_then_ends_it() {
        let now = Instant::now();
        let mut allowance = Allowance::new(now);
        let verdicts: Vec<_> = (0..501).map(|_| allowance.spend(now)).collect();
        assert!(verdicts[..400].iter().all(|v| *v == Verdict::Taken));
        assert!(verdicts[400..500].iter().all(|v| *v == Verdict::Refused));
        assert_eq!(verdicts[500], Verdict::Flood);
    }

    #[test]
    fn forty_a_second_go_on_for_ever() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        assert!((0..100_000).all(|n| allowance.spend(start + COST * n) == Verdict::Taken));
    }
}
