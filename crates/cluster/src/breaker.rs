//! Whether the store is asked. One failure of the store opens the circuit: no join waits for a time-out until a renewal
//! succeeds. Errors about single keys are none.

use std::time::{Duration, Instant};

use webrtc_box_rate_limit::{LogLimit, next_arrival};

use crate::{Event, StoreError};

/// After an outage of the store other boxes may not have written their leases and rooms again yet. So for this long what the
/// store lacks is decided as if the store were away.
pub(crate) const SETTLE_TIME: Duration = Duration::from_millis(1500);

/// In the long run one [`Event::StoreLost`] in this time.
const EVENT_INTERVAL: Duration = Duration::from_secs(20);
/// More outages in a short time are those of a store that flaps.
const EVENT_BURST: u32 = 10;
/// One [`Event::RequestRefused`] in this time.
const REFUSAL_INTERVAL: Duration = Duration::from_secs(60);

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
    /// Whether the last report of this outage gave the reason that the server itself gives.
    explained: bool,
    /// Outages that were not reported.
    unreported: u32,
    epoch: Instant,
    /// Of the limit on events (GCRA), in nanoseconds since `epoch`.
    arrival: u64,
    refusals: LogLimit,
}

impl Breaker {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            state: State::Closed,
            reason: None,
            opened: now,
            reported: None,
            explained: false,
            unreported: 0,
            epoch: now,
            arrival: 0,
            refusals: LogLimit::once_per(REFUSAL_INTERVAL, now),
        }
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
            self.unreported = self.unreported.saturating_add(1);
        }
        self.state = State::Open;
        self.reason = Some(error);
    }

    /// The store works, but refused a request because of one key.
    pub(crate) fn refuse(&self, error: &StoreError, now: Instant) -> Option<Event> {
        self.refusals.allows(now).map(|_| Event::RequestRefused { reason: error.to_string() })
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

    /// What the log should say: the begin and the end of each outage, but of a store that flaps of one in 20 seconds. An outage
    /// that begins with a lost connection is reported a second time once the server says why it refuses the next one.
    pub(crate) fn event(&mut self, now: Instant) -> Option<Event> {
        match (self.state, self.reported) {
            (State::Open, None) if self.may_report(now) => {
                self.reported = Some(self.opened);
                self.explained = self.error().is_answer();
                let unreported = std::mem::take(&mut self.unreported).saturating_sub(1);
                Some(Event::StoreLost { reason: self.error().to_string(), unreported })
            }
            (State::Open, Some(_)) if !self.explained && self.error().is_answer() => {
                self.explained = true;
                Some(Event::StoreLost { reason: self.error().to_string(), unreported: 0 })
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
    fn each_outage_is_reported_until_the_store_flaps() {
        let start = Instant::now();
        let mut breaker = Breaker::new(start);
        let mut reports = Vec::new();
        for second in 0..300 {
            let now = start + Duration::from_secs(second);
            breaker.fail(StoreError::Timeout, now);
            let lost = breaker.event(now);
            breaker.succeed(false, now);
            let back = breaker.event(now);
            assert_eq!(lost.is_some(), back.is_some(), "the end of what was reported, and of nothing else");
            if let Some(Event::StoreLost { unreported, .. }) = lost {
                reports.push((second, unreported));
            }
        }
        assert_eq!(reports[..10], (0..10).map(|second| (second, 0)).collect::<Vec<_>>());
        assert!((20..=25).contains(&reports.len()), "{reports:?}");
        let unreported: u32 = reports.iter().map(|(_, unreported)| unreported).sum();
        assert_eq!(
            unreported as usize + reports.len(),
            reports.last().map_or(0, |(second, _)| *second as usize + 1)
        );
    }

    #[test]
    fn an_outage_is_reported_again_with_the_reason_of_the_server() {
        let start = Instant::now();
        let mut breaker = Breaker::new(start);
        let mut report = |error: &StoreError| {
            breaker.fail(error.clone(), start);
            breaker.event(start)
        };
        let lost = |error: &StoreError| Some(Event::StoreLost { reason: error.to_string(), unreported: 0 });
        let (ended, login) = (StoreError::Disconnected, StoreError::Login);
        assert_eq!(report(&ended), lost(&ended));
        assert_eq!(report(&StoreError::Timeout), None);
        assert_eq!(report(&login), lost(&login));
        assert_eq!(report(&ended), None);
        assert_eq!(report(&StoreError::Full), None, "once");
    }

    #[test]
    fn an_outage_is_reported_once_and_ends_after_rooms_are_asserted() {
        let start = Instant::now();
        let mut breaker = Breaker::new(start);
        breaker.fail(StoreError::Full, start);
        assert!(
            matches!(breaker.event(start), Some(Event::StoreLost { reason, .. }) if reason.contains("full"))
        );
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
