//! One connection: its place in a room, its source and its frame rate limit.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use webrtc_box_rate_limit::next_arrival;

use crate::UnixSeconds;
use crate::seat::{RoomTag, SeatKey};

/// The number of malformed frames that closes a connection.
const MAX_BAD_MESSAGES: u32 = 10;

/// The time between two frames in the long run: forty per second.
const FRAME_INTERVAL: Duration = Duration::from_millis(25);

/// Frames that may arrive at once. A page that reconnects flushes up to 256 queued frames.
const BURST: u32 = 400;

/// Frames beyond the burst that are refused before the connection is closed.
const REFUSED_BEFORE_CLOSE: u32 = 100;

/// How long a client that answers a ping every 5 s may be silent before its seat counts as abandoned: an answer is missing.
const OVERDUE_AFTER: Duration = Duration::from_secs(7);

/// A connected client.
pub(crate) struct Connection {
    pub(crate) place: Place,
    /// The client stores no resume token, and answers a ping every 5 s.
    pub(crate) without_token: bool,
    last_frame: Instant,
    /// When the credentials it received last expire.
    pub(crate) credential_expiry: UnixSeconds,
    /// The host name by which the client reached the server.
    pub(crate) host: String,
    /// Attempts and quotas are counted by it.
    pub(crate) source: IpAddr,
    frames: FrameLimiter,
    bad_messages: u32,
}

/// Where the client of a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In no room.
    Outside,
    /// Waiting for a seat in a room.
    Waiting(RoomTag),
    /// In a seat.
    Seated(SeatKey),
}

/// The frame rate limit of one connection (GCRA). Refused frames count too, so that a client that continues is closed.
#[derive(Debug)]
pub(crate) struct FrameLimiter {
    epoch: Instant,
    /// The theoretical arrival time in nanoseconds since the epoch.
    arrival: u64,
}

/// What happens to a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Within the limit.
    Accept,
    /// Beyond the limit: the frame is refused with an error.
    Refuse,
    /// Far beyond the limit: the connection is closed.
    Close,
}

impl Connection {
    pub(crate) fn new(host: String, source: IpAddr, now: Instant) -> Self {
        Self {
            place: Place::Outside,
            without_token: false,
            last_frame: now,
            credential_expiry: 0,
            host,
            source,
            frames: FrameLimiter::new(now),
            bad_messages: 0,
        }
    }

    /// The seat, if the client has one.
    pub(crate) fn seat(&self) -> Option<SeatKey> {
        match self.place {
            Place::Seated(seat) => Some(seat),
            Place::Outside | Place::Waiting(_) => None,
        }
    }

    /// Counts one frame.
    pub(crate) fn count_frame(&mut self, now: Instant) -> Verdict {
        self.last_frame = now;
        self.frames.count(now)
    }

    /// Whether a frame at `now` would be accepted.
    pub(crate) fn accepts_frame(&self, now: Instant) -> bool {
        self.frames.verdict(now).0 == Verdict::Accept
    }

    /// Whether the answer to its last ping is missing.
    pub(crate) fn is_overdue(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last_frame) >= OVERDUE_AFTER
    }

    /// Counts a malformed frame and returns whether it was the last one tolerated.
    pub(crate) fn count_bad_message(&mut self) -> bool {
        self.bad_messages += 1;
        self.bad_messages >= MAX_BAD_MESSAGES
    }
}

impl FrameLimiter {
    fn new(now: Instant) -> Self {
        Self { epoch: now, arrival: 0 }
    }

    /// Counts one frame.
    fn count(&mut self, now: Instant) -> Verdict {
        let (verdict, arrival) = self.verdict(now);
        self.arrival = arrival;
        verdict
    }

    /// What happens to a frame at `now`, and the arrival time after it.
    fn verdict(&self, now: Instant) -> (Verdict, u64) {
        let now = now.saturating_duration_since(self.epoch).as_nanos() as u64;
        let interval = FRAME_INTERVAL.as_nanos() as u64;
        let (burst, refused) = (u64::from(BURST), u64::from(REFUSED_BEFORE_CLOSE));
        let Some(arrival) = next_arrival(self.arrival, now, interval, interval * (burst + refused)) else {
            return (Verdict::Close, self.arrival);
        };
        let accepted = arrival <= now + interval * burst;
        (if accepted { Verdict::Accept } else { Verdict::Refuse }, arrival)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_accepted_then_refused_then_closes() {
        let now = Instant::now();
        let mut limiter = FrameLimiter::new(now);
        let verdicts: Vec<_> = (0..501).map(|_| limiter.count(now)).collect();
        assert!(verdicts[..400].iter().all(|v| *v == Verdict::Accept));
        assert!(verdicts[400..500].iter().all(|v| *v == Verdict::Refuse));
        assert_eq!(verdicts[500], Verdict::Close);
    }

    #[test]
    fn forty_frames_a_second_are_accepted_forever() {
        let start = Instant::now();
        let mut limiter = FrameLimiter::new(start);
        assert!((0..100_000).all(|n| limiter.count(start + FRAME_INTERVAL * n) == Verdict::Accept));
    }
}
