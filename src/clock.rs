//! Reads the system clocks for protocol code, which receives the current moment as an argument.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

pub use webrtc_box_signaling::{Now, UnixSeconds};

/// Both clocks at this moment.
pub fn now() -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Now { instant: Instant::now(), unix }
}
