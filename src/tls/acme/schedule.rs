//! When to request a certificate: immediately if there is none, in time if there is one, with growing pauses after
//! failures.
//!
//! Pure: the clocks and the randomness are arguments. Renewal follows the wall clock, like the validity of
//! certificates. Pauses after a failure follow the monotonic clock, so a clock change does not end them.

use std::time::{Duration, Instant};

use crate::clock::{Now, UnixSeconds};
use crate::tls::CertificateFacts;

/// The pause after the first failure; it doubles with each further one. Let's Encrypt accepts five failed validations
/// of a name per hour.
const FIRST_PAUSE: Duration = Duration::from_secs(2 * 60);

/// The pause that even a requested attempt keeps if the authority counts the failure.
const MIN_PAUSE: Duration = Duration::from_secs(60);

/// The longest pause after a failure.
const MAX_PAUSE: Duration = Duration::from_secs(4 * 3600);

/// The longest `Retry-After` that is respected; rate limits count over a week.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);

/// How often a server of a cluster asks whether it may order: an order takes some seconds.
const TURN_INTERVAL: Duration = Duration::from_secs(10);

/// A certificate of shorter validity, in seconds, is renewed after half of it, so that days remain for what fails: those for
/// addresses have six days.
const SHORT_LIFE: u64 = 10 * 24 * 3600;

/// A number from 0 to 1, a new one for each use.
pub(super) type Random = f64;

/// When the next attempt is due.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    failures: u32,
    /// The end of the pause after the last attempt.
    paused_until: Option<Instant>,
    /// The part of the pause that a requested attempt does not skip.
    counted_until: Option<Instant>,
    /// From `Retry-After`.
    retry_after: Option<Instant>,
    /// Spreads renewals, so that servers started together do not renew together.
    early: Random,
}

impl Schedule {
    /// At the start; `not_before` was stored by an earlier run.
    pub(super) fn new(not_before: Option<UnixSeconds>, now: Now, early: Random) -> Self {
        let wait = not_before.map(|unix| Duration::from_secs(unix.saturating_sub(now.unix)));
        let retry_after = wait.map(|wait| now.instant + wait.min(MAX_RETRY_AFTER));
        Self { failures: 0, paused_until: None, counted_until: None, retry_after, early }
    }

    /// How long until the next attempt, if `leaf` is the current certificate; zero: now.
    pub(super) fn wait(&self, leaf: Option<&CertificateFacts>, now: Now) -> Duration {
        let renewal = leaf.map_or(0, |leaf| self.renewal(leaf));
        let renewal = Duration::from_secs(renewal.saturating_sub(now.unix));
        let until = |instant: Instant| instant.saturating_duration_since(now.instant);
        [self.paused_until, self.retry_after].into_iter().flatten().map(until).fold(renewal, Duration::max)
    }

    /// An attempt failed. `is_counted`: the authority may count it. `retry_after` is its own request to wait.
    pub(super) fn failed(
        &mut self,
        is_counted: bool,
        retry_after: Option<Duration>,
        now: Now,
        random: Random,
    ) {
        let doubled = FIRST_PAUSE.saturating_mul(1 << self.failures.min(16));
        let pause = doubled.min(MAX_PAUSE).mul_f64(0.75 + random.clamp(0.0, 1.0) / 2.0);
        self.failures += 1;
        self.paused_until = Some(now.instant + pause);
        self.counted_until = is_counted.then(|| now.instant + MIN_PAUSE);
        self.retry_after = retry_after.map(|wait| now.instant + wait.min(MAX_RETRY_AFTER));
    }

    /// Another server orders. This is no failure.
    pub(super) fn wait_for_turn(&mut self, now: Now, random: Random) {
        self.paused_until = Some(now.instant + TURN_INTERVAL.mul_f64(0.5 + random.clamp(0.0, 1.0)));
    }

    /// There is a new certificate. If the clock is far ahead, its renewal seems to be due immediately; so none is
    /// requested for a tenth of its validity.
    pub(super) fn obtained(&mut self, leaf: &CertificateFacts, now: Now, early: Random) {
        let paused_until = now.instant.checked_add(Duration::from_secs(leaf.life() / 10));
        *self = Self { failures: 0, paused_until, counted_until: None, retry_after: None, early };
    }

    /// The operator has fixed something and requests an attempt. `Retry-After` still counts, and without a failure
    /// there is nothing to retry.
    pub(super) fn retry_now(&mut self) {
        if self.failures > 0 {
            self.paused_until = self.counted_until;
        }
    }

    /// A third of the validity before its end, half if it is short; or up to a thirtieth earlier.
    pub(super) fn renewal(&self, leaf: &CertificateFacts) -> UnixSeconds {
        let life = leaf.life();
        let left = if life < SHORT_LIFE { life / 2 } else { life / 3 };
        let spread = Duration::from_secs(life / 30).mul_f64(self.early.clamp(0.0, 1.0));
        leaf.not_after.saturating_sub(left).saturating_sub(spread.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 3600;

    struct Scenario {
        schedule: Schedule,
        now: Now,
    }

    impl Scenario {
        fn new() -> Self {
            let now = Now { instant: Instant::now(), unix: 1_000 * DAY };
            Self { schedule: Schedule::new(None, now, 0.0), now }
        }

        fn advance(&mut self, time: Duration) {
            self.now.instant += time;
            self.now.unix += time.as_secs();
        }

        fn wait(&self) -> Duration {
            self.schedule.wait(None, self.now)
        }

        /// The pause after one more failure, in the middle of its spread.
        fn pause_after_failure(&mut self) -> Duration {
            self.schedule.failed(true, None, self.now, 0.5);
            let pause = self.wait();
            self.advance(pause);
            pause
        }
    }

    fn ninety_days(from: UnixSeconds) -> CertificateFacts {
        CertificateFacts { not_before: from, not_after: from + 90 * DAY, ..CertificateFacts::default() }
    }

    #[test]
    fn without_a_certificate_an_attempt_is_due_immediately() {
        assert_eq!(Scenario::new().wait(), Duration::ZERO);
    }

    #[test]
    fn renewal_is_due_with_a_third_of_the_validity_left_or_a_little_earlier() {
        let mut scenario = Scenario::new();
        let leaf = ninety_days(scenario.now.unix);
        let day = |scenario: &Scenario| scenario.schedule.wait(Some(&leaf), scenario.now).as_secs() / DAY;
        assert_eq!(day(&scenario), 60);
        scenario.schedule.obtained(&leaf, scenario.now, 1.0);
        assert_eq!(day(&scenario), 57);
        scenario.advance(Duration::from_secs(57 * DAY));
        assert_eq!(scenario.schedule.wait(Some(&leaf), scenario.now), Duration::ZERO);
    }

    #[test]
    fn a_certificate_for_six_days_is_renewed_after_half_of_them() {
        let scenario = Scenario::new();
        let from = scenario.now.unix;
        let leaf =
            CertificateFacts { not_before: from, not_after: from + 6 * DAY, ..CertificateFacts::default() };
        assert_eq!(scenario.schedule.wait(Some(&leaf), scenario.now).as_secs(), 3 * DAY);
    }

    #[test]
    fn pauses_grow_with_each_failure_up_to_a_limit() {
        let mut scenario = Scenario::new();
        let pauses: Vec<_> = (0..9).map(|_| scenario.pause_after_failure().as_secs() / 60).collect();
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 240, 240]);
        assert_eq!(scenario.wait(), Duration::ZERO);
    }

    #[test]
    fn the_first_hour_has_at_most_five_attempts() {
        for random in [0.0, 0.5, 1.0] {
            let mut scenario = Scenario::new();
            let start = scenario.now.instant;
            let mut attempts = 0;
            while scenario.now.instant - start < Duration::from_secs(45 * 60) {
                attempts += 1;
                scenario.schedule.failed(true, None, scenario.now, random);
                scenario.advance(scenario.wait());
            }
            assert!(attempts <= 5, "{attempts} with {random}");
        }
    }

    #[test]
    fn pauses_are_spread_by_a_quarter_each_way() {
        for (random, seconds) in [(0.0, 90), (1.0, 150), (7.0, 150)] {
            let mut scenario = Scenario::new();
            scenario.schedule.failed(true, None, scenario.now, random);
            assert_eq!(scenario.wait().as_secs(), seconds);
        }
    }

    #[test]
    fn a_requested_attempt_respects_retry_after() {
        let mut scenario = Scenario::new();
        scenario.schedule.failed(true, Some(Duration::from_secs(2 * DAY)), scenario.now, 0.5);
        scenario.schedule.retry_now();
        assert_eq!(scenario.wait().as_secs(), 2 * DAY);
        scenario.schedule.failed(true, Some(Duration::from_secs(99 * DAY)), scenario.now, 0.5);
        assert_eq!(scenario.wait(), MAX_RETRY_AFTER);
    }

    #[test]
    fn a_requested_attempt_skips_the_pause_except_a_counted_minute() {
        let mut scenario = Scenario::new();
        scenario.schedule.failed(false, None, scenario.now, 0.5);
        assert_eq!(scenario.wait(), FIRST_PAUSE);
        scenario.schedule.retry_now();
        assert_eq!(scenario.wait(), Duration::ZERO);
        scenario.schedule.failed(true, None, scenario.now, 0.5);
        scenario.schedule.retry_now();
        assert_eq!(scenario.wait(), MIN_PAUSE);
    }

    #[test]
    fn waiting_for_a_turn_is_short_and_no_failure() {
        let mut scenario = Scenario::new();
        for _ in 0..20 {
            scenario.schedule.wait_for_turn(scenario.now, 0.5);
            assert_eq!(scenario.wait(), TURN_INTERVAL);
        }
        assert_eq!(scenario.pause_after_failure(), FIRST_PAUSE);
    }

    #[test]
    fn a_requested_attempt_does_not_replace_a_new_certificate() {
        let mut scenario = Scenario::new();
        let leaf = ninety_days(scenario.now.unix - 80 * DAY);
        scenario.schedule.failed(true, None, scenario.now, 0.5);
        scenario.schedule.obtained(&leaf, scenario.now, 0.5);
        scenario.schedule.retry_now();
        assert_eq!(scenario.schedule.wait(Some(&leaf), scenario.now).as_secs(), 9 * DAY);
    }

    #[test]
    fn a_restart_respects_the_stored_time() {
        let scenario = Scenario::new();
        let schedule = |stored: u64| Schedule::new(Some(stored), scenario.now, 0.0).wait(None, scenario.now);
        assert_eq!(schedule(scenario.now.unix + 60).as_secs(), 60);
        assert_eq!(schedule(scenario.now.unix - 60), Duration::ZERO);
        assert_eq!(schedule(u64::MAX), MAX_RETRY_AFTER);
    }

    #[test]
    fn a_clock_change_of_a_day_does_not_change_a_pause() {
        let mut scenario = Scenario::new();
        scenario.schedule.failed(true, None, scenario.now, 0.5);
        for unix in [scenario.now.unix - DAY, scenario.now.unix + DAY] {
            let now = Now { unix, ..scenario.now };
            assert_eq!(scenario.schedule.wait(None, now), FIRST_PAUSE);
        }
    }

    #[test]
    fn a_clock_far_ahead_does_not_lead_to_repeated_requests() {
        let mut scenario = Scenario::new();
        let leaf = ninety_days(scenario.now.unix - 80 * DAY);
        scenario.schedule.obtained(&leaf, scenario.now, 0.5);
        assert_eq!(scenario.schedule.wait(Some(&leaf), scenario.now).as_secs(), 9 * DAY);
    }

    #[test]
    fn a_failed_renewal_pauses_as_well() {
        let mut scenario = Scenario::new();
        let leaf = ninety_days(scenario.now.unix - 61 * DAY);
        assert_eq!(scenario.schedule.wait(Some(&leaf), scenario.now), Duration::ZERO);
        scenario.schedule.failed(true, None, scenario.now, 0.5);
        assert_eq!(scenario.schedule.wait(Some(&leaf), scenario.now), FIRST_PAUSE);
    }
}
