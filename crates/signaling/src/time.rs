//! The moment that a caller hands in with every input.

use std::time::Instant;

/// Seconds since 1970-01-01 00:00:00 UTC.
pub type UnixSeconds = u64;

/// Both clocks at one moment: timers use the monotonic clock, expiry times use the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic: a jump of the wall clock ends nothing.
    pub instant: Instant,
    /// Wall clock.
    pub unix: UnixSeconds,
}
