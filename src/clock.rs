//! The moment a decision is made at, handed in with every input.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::credential::UnixSeconds;

/// Both clocks at one moment: timers run on the monotonic one, credentials expire on the wall's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic: the wall clock may jump a day without ending anything.
    pub instant: Instant,
    /// Seconds since 1970-01-01 UTC.
    pub unix: UnixSeconds,
}

impl Now {
    /// Reads both clocks. For the edges alone: protocol logic is handed its moment.
    pub fn read() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self { instant: Instant::now(), unix }
    }
}
