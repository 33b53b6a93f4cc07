//! The moment a decision is made at, handed in with every input.

use std::time::Instant;

/// Both clocks at one moment: timers run on the monotonic one, credentials expire on the wall's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic: the wall clock may jump a day without ending anything.
    pub instant: Instant,
    /// Seconds since 1970-01-01 UTC.
    pub unix: u64,
}
