//! When the authority is asked for a certificate: at once where there is none, in time where there is
//! one, and ever more seldom where it goes wrong.
//!
//! Pure: both clocks and the dice come in. Renewal goes by the wall clock, which is what certificates
//! go by; waiting after a failure by the monotonic one, so that a clock that jumps does not end it.

use std::time::{Duration, Instant};

use crate::clock::Now;
use crate::clock::UnixSeconds;
use crate::tls::CertificateFacts;

/// What is waited for after a first failure; twice as much after each further one. Let's Encrypt
/// takes five failed proofs of a name in an hour.
const FIRST_REST: Duration = Duration::from_secs(2 * 60);

/// What is waited for after a failure even where somebody is in a retry_now, if the authority counts it.
const LEAST_REST: Duration = Duration::from_secs(60);

/// The longest wait of our own accord.
const LONGEST_REST: Duration = Duration::from_secs(4 * 3600);

/// The longest wait that an authority may ask for; rate limits are counted over a week.
const LONGEST_ASKED: Duration = Duration::from_secs(7 * 24 * 3600);

/// A number from 0 to 1, drawn anew for each use.
pub(super) type Chance = f64;

/// When the next attempt is due.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    failures: u32,
    /// Our own back-off.
    resting: Option<Instant>,
    /// What of it nobody cuts short.
    least: Option<Instant>,
    /// What the authority asked for.
    asked_to_wait: Option<Instant>,
    /// Spreads renewals: those who began together do not come back together.
    early: Chance,
}

impl Schedule {
    /// A box that starts; `not_before` was kept from the last time.
    pub(super) fn new(not_before: Option<UnixSeconds>, now: Now, early: Chance) -> Self {
        let wait = not_before.map(|unix| Duration::from_secs(unix.saturating_sub(now.unix)));
        let asked_to_wait = wait.map(|wait| now.instant + wait.min(LONGEST_ASKED));
        Self { failures: 0, resting: None, least: None, asked_to_wait, early }
    }

    /// How long until the next attempt, if `leaf` is what we have; zero: now.
    pub(super) fn wait(&self, leaf: Option<&CertificateFacts>, now: Now) -> Duration {
        let renewal = leaf.map_or(0, |leaf| self.renewal(leaf));
        let renewal = Duration::from_secs(renewal.saturating_sub(now.unix));
        let until = |instant: Instant| instant.saturating_duration_since(now.instant);
        let rests = [self.resting, self.asked_to_wait].into_iter().flatten().map(until);
        rests.fold(renewal, Duration::max)
    }

    /// An attempt failed; the authority counts it where it `has_cost`, and `asked` is what it wants us to wait.
    pub(super) fn failed(&mut self, has_cost: bool, asked: Option<Duration>, now: Now, chance: Chance) {
        let doubled = FIRST_REST.saturating_mul(1 << self.failures.min(16));
        let rest = doubled.min(LONGEST_REST).mul_f64(0.75 + chance.clamp(0.0, 1.0) / 2.0);
        self.failures += 1;
        self.resting = Some(now.instant + rest);
        self.least = has_cost.then(|| now.instant + LEAST_REST);
        self.asked_to_wait = asked.map(|asked| now.instant + asked.min(LONGEST_ASKED));
    }

    /// There is a new certificate. Where our clock is far ahead, it seems to be due at once: for a tenth
    /// of its life no other is asked for all the same.
    pub(super) fn obtained(&mut self, leaf: &CertificateFacts, now: Now, early: Chance) {
        let resting = now.instant.checked_add(Duration::from_secs(leaf.life() / 10));
        *self = Self { failures: 0, resting, least: None, asked_to_wait: None, early };
    }

    /// Somebody has mended something and asks for an attempt. What the authority asked for holds, and
    /// where nothing has failed there is nothing to mend.
    pub(super) fn retry_now(&mut self) {
        if self.failures > 0 {
            self.resting = self.least;
        }
    }

    /// A third of its life before its end, or up to a thirtieth earlier.
    pub(super) fn renewal(&self, leaf: &CertificateFacts) -> UnixSeconds {
        let life = leaf.life();
        let spread = Duration::from_secs(life / 30).mul_f64(self.early.clamp(0.0, 1.0));
        leaf.not_after.saturating_sub(life / 3).saturating_sub(spread.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 3600;

    struct Stage {
        schedule: Schedule,
        now: Now,
    }

    impl Stage {
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

        /// What is waited for after one more failure in the middle of its spread.
        fn rest_after_failure(&mut self) -> Duration {
            self.schedule.failed(true, None, self.now, 0.5);
            let rest = self.wait();
            self.advance(rest);
            rest
        }
    }

    fn ninety_days(from: UnixSeconds) -> CertificateFacts {
        CertificateFacts { not_before: from, not_after: from + 90 * DAY, ..CertificateFacts::default() }
    }

    #[test]
    fn without_a_certificate_it_is_asked_for_at_once() {
        assert_eq!(Stage::new().wait(), Duration::ZERO);
    }

    #[test]
    fn a_certificate_is_renewed_when_a_third_of_its_life_is_left_or_a_little_earlier() {
        let mut stage = Stage::new();
        let leaf = ninety_days(stage.now.unix);
        let day = |stage: &Stage| stage.schedule.wait(Some(&leaf), stage.now).as_secs() / DAY;
        assert_eq!(day(&stage), 60);
        stage.schedule.obtained(&leaf, stage.now, 1.0);
        assert_eq!(day(&stage), 57);
        stage.advance(Duration::from_secs(57 * DAY));
        assert_eq!(stage.schedule.wait(Some(&leaf), stage.now), Duration::ZERO);
    }

    #[test]
    fn failures_are_followed_by_ever_longer_waits_up_to_a_limit() {
        let mut stage = Stage::new();
        let rests: Vec<_> = (0..9).map(|_| stage.rest_after_failure().as_secs() / 60).collect();
        assert_eq!(rests, [2, 4, 8, 16, 32, 64, 128, 240, 240]);
        assert_eq!(stage.wait(), Duration::ZERO);
    }

    #[test]
    fn no_more_than_five_attempts_fall_into_the_first_hour() {
        for chance in [0.0, 0.5, 1.0] {
            let mut stage = Stage::new();
            let began = stage.now.instant;
            let mut attempts = 0;
            while stage.now.instant - began < Duration::from_secs(45 * 60) {
                attempts += 1;
                stage.schedule.failed(true, None, stage.now, chance);
                stage.advance(stage.wait());
            }
            assert!(attempts <= 5, "{attempts} with {chance}");
        }
    }

    #[test]
    fn waits_are_spread_by_a_quarter_each_way() {
        for (chance, seconds) in [(0.0, 90), (1.0, 150), (7.0, 150)] {
            let mut stage = Stage::new();
            stage.schedule.failed(true, None, stage.now, chance);
            assert_eq!(stage.wait().as_secs(), seconds);
        }
    }

    #[test]
    fn what_the_authority_asks_for_is_waited_for_even_in_a_hurry() {
        let mut stage = Stage::new();
        stage.schedule.failed(true, Some(Duration::from_secs(2 * DAY)), stage.now, 0.5);
        stage.schedule.retry_now();
        assert_eq!(stage.wait().as_secs(), 2 * DAY);
        stage.schedule.failed(true, Some(Duration::from_secs(99 * DAY)), stage.now, 0.5);
        assert_eq!(stage.wait(), LONGEST_ASKED);
    }

    #[test]
    fn a_hurry_ends_the_rest_but_for_a_minute_where_the_authority_counts() {
        let mut stage = Stage::new();
        stage.schedule.failed(false, None, stage.now, 0.5);
        assert_eq!(stage.wait(), FIRST_REST);
        stage.schedule.retry_now();
        assert_eq!(stage.wait(), Duration::ZERO);
        stage.schedule.failed(true, None, stage.now, 0.5);
        stage.schedule.retry_now();
        assert_eq!(stage.wait(), LEAST_REST);
    }

    #[test]
    fn a_hurry_has_no_second_certificate_issued_where_the_first_is_new() {
        let mut stage = Stage::new();
        let leaf = ninety_days(stage.now.unix - 80 * DAY);
        stage.schedule.failed(true, None, stage.now, 0.5);
        stage.schedule.obtained(&leaf, stage.now, 0.5);
        stage.schedule.retry_now();
        assert_eq!(stage.schedule.wait(Some(&leaf), stage.now).as_secs(), 9 * DAY);
    }

    #[test]
    fn a_start_remembers_what_was_asked_before_it() {
        let stage = Stage::new();
        let schedule = |kept: u64| Schedule::new(Some(kept), stage.now, 0.0).wait(None, stage.now);
        assert_eq!(schedule(stage.now.unix + 60).as_secs(), 60);
        assert_eq!(schedule(stage.now.unix - 60), Duration::ZERO);
        assert_eq!(schedule(u64::MAX), LONGEST_ASKED);
    }

    #[test]
    fn a_clock_that_jumps_a_day_ends_no_wait_and_makes_none() {
        let mut stage = Stage::new();
        stage.schedule.failed(true, None, stage.now, 0.5);
        for unix in [stage.now.unix - DAY, stage.now.unix + DAY] {
            let now = Now { unix, ..stage.now };
            assert_eq!(stage.schedule.wait(None, now), FIRST_REST);
        }
    }

    #[test]
    fn a_clock_far_ahead_does_not_have_one_certificate_after_the_other_issued() {
        let mut stage = Stage::new();
        let leaf = ninety_days(stage.now.unix - 80 * DAY);
        stage.schedule.obtained(&leaf, stage.now, 0.5);
        assert_eq!(stage.schedule.wait(Some(&leaf), stage.now).as_secs(), 9 * DAY);
    }

    #[test]
    fn a_renewal_that_fails_rests_as_well() {
        let mut stage = Stage::new();
        let leaf = ninety_days(stage.now.unix - 61 * DAY);
        assert_eq!(stage.schedule.wait(Some(&leaf), stage.now), Duration::ZERO);
        stage.schedule.failed(true, None, stage.now, 0.5);
        assert_eq!(stage.schedule.wait(Some(&leaf), stage.now), FIRST_REST);
    }
}
