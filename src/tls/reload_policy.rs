//! Decides what to do after each check of the certificate files: load them, wait, or report an error.
//!
//! Pure. A renewal writes or replaces two files one after the other. So a change is loaded only when two checks
//! in a row see the same, an error is reported only when it lasts, and each error is reported once.

use std::time::{Duration, Instant};

use super::key_pair::Fingerprint;

/// An error that lasts this long is reported; one of a renewal in progress ends earlier.
const REPORT_AFTER: Duration = Duration::from_secs(4);

/// Errors that are reported until the files are good again; limits the log if a script writes garbage forever.
const MAX_REPORTS: usize = 8;

/// What the checks so far have seen.
#[derive(Debug)]
pub(super) struct ReloadPolicy {
    /// The contents that the active certificate was loaded from.
    active: Fingerprint,
    /// The contents that the last check saw.
    candidate: Option<Fingerprint>,
    /// Contents that could not be loaded, and why.
    rejected: Option<(Fingerprint, String)>,
    failing_since: Option<Instant>,
    reported: Vec<String>,
}

/// What to do after a check.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Wait,
    /// Load what the check saw, then call [`ReloadPolicy::loaded`] or [`ReloadPolicy::failed`].
    Load,
    /// Report that it cannot be used.
    ReportError(String),
    /// Report that the files are good: a check was requested, or an error was reported before.
    ReportGood,
}

impl ReloadPolicy {
    /// `active` was loaded at the start.
    pub(super) fn new(active: Fingerprint) -> Self {
        Self { active, candidate: None, rejected: None, failing_since: None, reported: Vec::new() }
    }

    /// A check saw these contents, or could not read the files. A `requested` check acts and reports
    /// immediately.
    pub(super) fn checked(
        &mut self,
        seen: Result<Fingerprint, String>,
        requested: bool,
        now: Instant,
    ) -> Step {
        let seen = match seen {
            Ok(seen) => seen,
            Err(error) => {
                self.candidate = None;
                return self.error(error, requested, now);
            }
        };
        let is_steady = self.candidate.replace(seen) == Some(seen);
        if seen == self.active {
            return self.good(requested);
        }
        // Whether contents can be used may depend on the clock, so a requested check tries them again.
        let is_known = |(rejected, _): &&(Fingerprint, String)| *rejected == seen && !requested;
        if let Some((_, error)) = self.rejected.as_ref().filter(is_known) {
            return self.error(error.clone(), requested, now);
        }
        if is_steady || requested { Step::Load } else { Step::Wait }
    }

    /// What the last check saw is active now.
    pub(super) fn loaded(&mut self) {
        *self = Self::new(self.candidate.unwrap_or(self.active));
    }

    /// What the last check saw cannot be used.
    pub(super) fn failed(&mut self, error: String, requested: bool, now: Instant) -> Step {
        self.rejected = self.candidate.map(|candidate| (candidate, error.clone()));
        self.error(error, requested, now)
    }

    fn good(&mut self, requested: bool) -> Step {
        let was_reported = !self.reported.is_empty();
        (self.rejected, self.failing_since) = (None, None);
        self.reported.clear();
        if was_reported || requested { Step::ReportGood } else { Step::Wait }
    }

    fn error(&mut self, error: String, requested: bool, now: Instant) -> Step {
        let since = *self.failing_since.get_or_insert(now);
        let lasts = now.saturating_duration_since(since) >= REPORT_AFTER;
        let is_new = !self.reported.contains(&error) && self.reported.len() < MAX_REPORTS;
        if is_new && (requested || lasts) {
            self.reported.push(error.clone());
            return Step::ReportError(error);
        }
        if requested { Step::ReportError(error) } else { Step::Wait }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Fingerprint = [0; 32];
    const NEW: Fingerprint = [1; 32];
    const PARTIAL: Fingerprint = [2; 32];

    struct Scenario {
        policy: ReloadPolicy,
        now: Instant,
    }

    impl Scenario {
        fn new() -> Self {
            Self { policy: ReloadPolicy::new(OLD), now: Instant::now() }
        }

        /// A second later the files contain `seen`, of which only [`NEW`] loads.
        fn check(&mut self, seen: Fingerprint) -> Step {
            self.now += Duration::from_secs(1);
            self.checked(Ok(seen), false)
        }

        fn check_unreadable(&mut self) -> Step {
            self.now += Duration::from_secs(1);
            self.checked(Err("key k: gone".to_owned()), false)
        }

        fn request(&mut self, seen: Fingerprint) -> Step {
            self.checked(Ok(seen), true)
        }

        fn checked(&mut self, seen: Result<Fingerprint, String>, requested: bool) -> Step {
            match (self.policy.checked(seen.clone(), requested, self.now), seen) {
                (Step::Load, Ok(NEW)) => {
                    self.policy.loaded();
                    Step::Load
                }
                (Step::Load, Ok(seen)) => self.policy.failed(format!("bad {}", seen[0]), requested, self.now),
                (step, _) => step,
            }
        }

        fn errors(&mut self, checks: usize, seen: Fingerprint) -> Vec<String> {
            let steps: Vec<_> = (0..checks).map(|_| self.check(seen)).collect();
            let line = |step| if let Step::ReportError(line) = step { Some(line) } else { None };
            steps.into_iter().filter_map(line).collect()
        }
    }

    #[test]
    fn a_new_pair_is_loaded_when_two_checks_agree() {
        let mut scenario = Scenario::new();
        assert_eq!(scenario.check(OLD), Step::Wait);
        assert_eq!(scenario.check(NEW), Step::Wait);
        assert_eq!(scenario.check(NEW), Step::Load);
        assert_eq!(scenario.check(NEW), Step::Wait);
    }

    #[test]
    fn a_requested_check_loads_immediately() {
        let mut scenario = Scenario::new();
        assert_eq!(scenario.request(NEW), Step::Load);
        assert_eq!(scenario.request(NEW), Step::ReportGood);
    }

    #[test]
    fn a_renewal_in_progress_is_not_an_error() {
        let mut scenario = Scenario::new();
        assert_eq!(scenario.errors(2, PARTIAL), Vec::<String>::new());
        assert_eq!(scenario.check_unreadable(), Step::Wait);
        assert_eq!(scenario.check(NEW), Step::Wait);
        assert_eq!(scenario.check(NEW), Step::Load);
    }

    #[test]
    fn each_lasting_error_is_reported_once() {
        let mut scenario = Scenario::new();
        assert_eq!(scenario.errors(600, PARTIAL), ["bad 2"]);
        assert_eq!(scenario.errors(600, [3; 32]), ["bad 3"]);
        assert_eq!(scenario.errors(600, PARTIAL), Vec::<String>::new());
        assert_eq!(scenario.check_unreadable(), Step::ReportError("key k: gone".to_owned()));
        assert_eq!(scenario.check_unreadable(), Step::Wait);
    }

    #[test]
    fn a_requested_check_reports_again() {
        let mut scenario = Scenario::new();
        assert_eq!(scenario.request(PARTIAL), Step::ReportError("bad 2".to_owned()));
        assert_eq!(scenario.request(PARTIAL), Step::ReportError("bad 2".to_owned()));
        assert_eq!(scenario.errors(60, PARTIAL), Vec::<String>::new());
    }

    #[test]
    fn the_end_of_a_reported_error_is_reported() {
        let mut scenario = Scenario::new();
        assert_eq!(scenario.errors(60, PARTIAL), ["bad 2"]);
        assert_eq!(scenario.check(OLD), Step::ReportGood);
        assert_eq!(scenario.check(OLD), Step::Wait);
        assert_eq!(scenario.errors(60, PARTIAL), ["bad 2"]);
        assert_eq!(scenario.check(NEW), Step::Wait);
        assert_eq!(scenario.check(NEW), Step::Load);
    }

    #[test]
    fn endless_garbage_does_not_fill_the_log() {
        let mut scenario = Scenario::new();
        let reported: usize = (3..60).map(|byte| scenario.errors(3, [byte; 32]).len()).sum();
        assert_eq!(reported, MAX_REPORTS);
    }
}
