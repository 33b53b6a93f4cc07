//! A moment of the wall clock as people read it in a log.

use std::fmt;
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;

use crate::clock::UnixSeconds;

/// The calendar of the `time` crate ends with the year 9999, and a conversion beyond it panics.
const YEAR_10000: UnixSeconds = 253_402_300_800;

/// Prints as `2027-02-01 13:05 UTC`.
#[derive(Clone, Copy, Debug)]
pub(super) struct When(pub(super) UnixSeconds);

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 >= YEAR_10000 {
            return f.write_str("the end of time");
        }
        let moment = OffsetDateTime::from(SystemTime::UNIX_EPOCH + Duration::from_secs(self.0));
        let (hour, minute) = (moment.hour(), moment.minute());
        write!(f, "{} {hour:02}:{minute:02} UTC", moment.date())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_day_and_a_time() {
        assert_eq!(When(1_801_487_100).to_string(), "2027-02-01 13:05 UTC");
        assert_eq!(When(0).to_string(), "1970-01-01 00:00 UTC");
        assert_eq!(When(YEAR_10000 - 1).to_string(), "9999-12-31 23:59 UTC");
        assert_eq!(When(u64::MAX).to_string(), "the end of time");
    }
}
