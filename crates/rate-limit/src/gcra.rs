//! The generic cell rate algorithm (ITU-T I.371): one timestamp limits a rate and a burst.
//!
//! The timestamp is the theoretical arrival time: the moment at which the whole burst is available again.
//! All times are nanoseconds since an epoch that the caller picks.

use std::sync::atomic::{AtomicU64, Ordering};

/// The state of one limit, shared by threads without a lock.
#[derive(Debug, Default)]
pub struct AtomicGcra(AtomicU64);

/// The arrival time after one more cell of `cost` at `now`; `None` where it exceeds `tolerance`.
///
/// `cost` is the time between two cells in the long run, `tolerance` is the burst: `cost` times the number of
/// cells that may come at once.
pub fn next_arrival(arrival: u64, now: u64, cost: u64, tolerance: u64) -> Option<u64> {
    let next = arrival.max(now) + cost;
    (next <= now + tolerance).then_some(next)
}

impl AtomicGcra {
    /// A limit with its whole burst available.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Counts one cell if it conforms; see [`next_arrival`].
    pub fn try_acquire(&self, now: u64, cost: u64, tolerance: u64) -> bool {
        let charge = |arrival| next_arrival(arrival, now, cost, tolerance);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, charge).is_ok()
    }

    /// Takes back one cell of `cost`.
    pub fn refund(&self, cost: u64) {
        let less = |arrival: u64| Some(arrival.saturating_sub(cost));
        let _always = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// The theoretical arrival time.
    pub fn arrival(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_conforms_and_then_one_cell_per_interval() {
        let gcra = AtomicGcra::new();
        assert_eq!((0..100).filter(|_| gcra.try_acquire(0, 10, 50)).count(), 5);
        assert!(!gcra.try_acquire(9, 10, 50));
        assert!(gcra.try_acquire(10, 10, 50));
        gcra.refund(10);
        assert!(gcra.try_acquire(10, 10, 50));
        assert_eq!(gcra.arrival(), 60);
    }
}
