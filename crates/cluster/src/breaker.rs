//! Whether the store is asked. One failure opens the circuit: no join waits for a time-out until a renewal succeeds.

use std::time::{Duration, Instant};

use webrtc_box_rate_limit::next_arrival;

use crate::{Event, StoreError};

/// After an outage of the store other boxes may not have written their leases and rooms again yet. So for this long what the
/// store lacks is decided as if the store were away.
pub(crate) const SETTLE_TIME: Duration = Duration::from_millis(1500);

/// In the long run one [`Event::StoreLost`] in this time.
const EVENT_INTERVAL: Duration = Duration::from_secs(20);
const EVENT_BURST: u32 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open,
    /// The store answers again; rooms are being asserted.
    Settling {
        until: Instant,
    },
}

/// The circuit breaker, and what of its changes is reported.
#[derive(Debug)]
pub(crate) struct Breaker {
    state: State,
    /// Why it opened.
    reason: Option<StoreError>,
    opened: Instant,
    /// When the outage began that was reported and not yet its end.
    reported: Option<Instant>,
    epoch: Instant,
    /// Of the limit on events (GCRA), in nanoseconds since `epoch`.
    arrival: u64,
}

impl Breaker {
    pub(crate) fn new(now: Instant) -> Self {
        Self { state: State::Closed, reason: None, opened: now, reported: None, epoch: now, arrival: 0 }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    pub(crate) fn is_settling(&self) -> bool {
        matches!(self.state, State::Settling { .. })
    }

    /// The error of requests that are not sent.
    pub(crate) fn error(&self) -> StoreError {
        self.reason.clone().unwrap_or(StoreError::Timeout)
    }

    pub(crate) fn timeout(&self) -> Option<Instant> {
        match self.state {
            State::Settling { until } => Some(until),
            State::Open | State::Closed => None,
        }
    }

    pub(crate) fn fail(&mut self, error: StoreError, now: Instant) {
        if self.state == State::Closed {
            self.opened = now;
        }
        self.state = State::Open;
        self.reason = Some(error);
    }

    /// A renewal succeeded. `settle`: the store may have lost data.
    pub(crate) fn succeed(&mut self, settle: bool, now: Instant) {
        if settle {
            self.state = State::Settling { until: now + SETTLE_TIME };
        } else if self.is_open() {
            self.state = State::Closed;
        }
    }

    /// Ends the time after an outage, once all rooms are asserted.
    pub(crate) fn settle(&mut self, asserted: impl FnOnce() -> bool, now: Instant) {
        if self.timeout().is_some_and(|until| now >= until && asserted()) {
            self.state = State::Closed;
        }
    }

    /// What the log should say; a flapping store is reported a few times a minute at most.
    pub(crate) fn event(&mut self, now: Instant) -> Option<Event> {
        match (self.state, self.reported) {
            (State::Open, None) if self.may_report(now) => {
                self.reported = Some(self.opened);
                Some(Event::StoreLost { reason: self.error().to_string() })
            }
            (State::Closed, Some(since)) => {
                self.reported = None;
                Some(Event::StoreBack { after: now.saturating_duration_since(since) })
            }
            (State::Open | State::Closed | State::Settling { .. }, _) => None,
        }
    }

    fn may_report(&mut self, now: Instant) -> bool {
        let nanoseconds = |duration: Duration| duration.as_nanos() as u64;
        let moment = nanoseconds(now.saturating_duration_since(self.epoch));
        let tolerance = nanoseconds(EVENT_INTERVAL * EVENT_BURST);
        let next = next_arrival(self.arrival, moment, nanoseconds(EVENT_INTERVAL), tolerance);
        self.arrival = next.unwrap_or(self.arrival);
        next.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flapping_store_is_reported_a_few_times_a_minute() {
        let start = Instant::now();
        let mut breaker = Breaker::new(start);
        let mut events = 0;
        for second in 0..60 {
            let now = start + Duration::from_secs(second);
            breaker.fail(StoreError::Timeout, now);
            events += u32::from(breaker.event(now).is_some());
            breaker.succeed(false, now);
            events += u32::from(breaker.event(now).is_some());
        }
        assert!((4..=12).contains(&events), "{events}");
    }

    #[test]
    fn an_outage_is_reported_once_and_ends_after_rooms_are_asserted() {
        let start = Instant::now();
        let mut breaker = Breaker::new(start);
        breaker.fail(StoreError::Full, start);
        assert!(matches!(breaker.event(start), Some(Event::StoreLost { reason }) if reason.contains("full")));
        breaker.fail(StoreError::Timeout, start);
        assert_eq!(breaker.event(start), None);
        breaker.succeed(true, start);
        assert!(breaker.is_settling() && !breaker.is_open());
        let later = start + SETTLE_TIME;
        breaker.settle(|| false, later);
        assert!(breaker.is_settling());
        breaker.settle(|| true, later);
        assert_eq!(breaker.event(later), Some(Event::StoreBack { after: SETTLE_TIME }));
    }
}
