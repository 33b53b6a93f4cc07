//! What to do about what a look at the certificate's files has shown: take it, wait, or complain.
//!
//! Pure. A renewal is many small steps (two files, written or replaced one after the other), so a
//! change is not acted on before two policy in a row have shown the same, and a fault not told before
//! it has lasted. Each fault is told once.

use std::time::{Duration, Instant};

use super::key_pair::Fingerprint;

/// A fault is told when it has lasted this long: a renewal that is under way mends itself.
const LASTING: Duration = Duration::from_secs(4);

/// Faults that are told until all is well again; a script that writes nonsense for ever stops here.
const TOLD_LIMIT: usize = 8;

/// What the policy so far have come to.
#[derive(Debug)]
pub(super) struct ReloadPolicy {
    /// What the certificate in force was read from.
    in_force: Fingerprint,
    /// What the last look showed.
    candidate: Option<Fingerprint>,
    /// What was tried, and why it was not taken.
    refused: Option<(Fingerprint, String)>,
    faulty_since: Option<Instant>,
    told: Vec<String>,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Rest,
    /// Try to load what was seen, and say how that went: [`ReloadPolicy::taken`] or [`ReloadPolicy::refused`].
    Try(Fingerprint),
    /// Say that it cannot be used.
    Complain(String),
    /// Say that the files are as they should be: somebody asked, or was told of a fault.
    Reassure,
}

impl ReloadPolicy {
    /// `in_force` was loaded at the start.
    pub(super) fn new(in_force: Fingerprint) -> Self {
        Self { in_force, candidate: None, refused: None, faulty_since: None, told: Vec::new() }
    }

    /// The files hold something with this fingerprint, or cannot be read. `asked`: somebody wants to
    /// know at once.
    pub(super) fn see(&mut self, seen: Result<Fingerprint, String>, asked: bool, now: Instant) -> Step {
        let seen = match seen {
            Ok(seen) => seen,
            Err(fault) => {
                self.candidate = None;
                return self.fault(fault, asked, now);
            }
        };
        let steady = self.candidate.replace(seen) == Some(seen);
        if seen == self.in_force {
            return self.well(asked);
        }
        // Whether it can be used may hang on the clock, so who asks has it tried again.
        let known = |(refused, _): &&(Fingerprint, String)| *refused == seen && !asked;
        if let Some((_, fault)) = self.refused.as_ref().filter(known) {
            return self.fault(fault.clone(), asked, now);
        }
        if steady || asked { Step::Try(seen) } else { Step::Rest }
    }

    /// What was tried is in force now.
    pub(super) fn taken(&mut self, taken: Fingerprint) {
        *self = Self::new(taken);
    }

    /// What was tried cannot be used.
    pub(super) fn refused(&mut self, tried: Fingerprint, fault: String, asked: bool, now: Instant) -> Step {
        self.refused = Some((tried, fault.clone()));
        self.fault(fault, asked, now)
    }

    fn well(&mut self, asked: bool) -> Step {
        let mended = !self.told.is_empty();
        (self.refused, self.faulty_since) = (None, None);
        self.told.clear();
        if mended || asked { Step::Reassure } else { Step::Rest }
    }

    fn fault(&mut self, fault: String, asked: bool, now: Instant) -> Step {
        let since = *self.faulty_since.get_or_insert(now);
        let lasting = now.saturating_duration_since(since) >= LASTING;
        let news = !self.told.contains(&fault) && self.told.len() < TOLD_LIMIT;
        if news && (asked || lasting) {
            self.told.push(fault.clone());
            return Step::Complain(fault);
        }
        if asked { Step::Complain(fault) } else { Step::Rest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Fingerprint = [0; 32];
    const NEW: Fingerprint = [1; 32];
    const HALF: Fingerprint = [2; 32];

    struct Stage {
        policy: ReloadPolicy,
        now: Instant,
    }

    impl Stage {
        fn new() -> Self {
            Self { policy: ReloadPolicy::new(OLD), now: Instant::now() }
        }

        /// A second later the files hold `seen`, of which only [`NEW`] loads.
        fn look(&mut self, seen: Fingerprint) -> Step {
            self.now += Duration::from_secs(1);
            self.see(Ok(seen), false)
        }

        fn unreadable(&mut self) -> Step {
            self.now += Duration::from_secs(1);
            self.see(Err("key k: gone".to_owned()), false)
        }

        fn ask(&mut self, seen: Fingerprint) -> Step {
            self.see(Ok(seen), true)
        }

        fn see(&mut self, seen: Result<Fingerprint, String>, asked: bool) -> Step {
            match self.policy.see(seen, asked, self.now) {
                Step::Try(NEW) => {
                    self.policy.taken(NEW);
                    Step::Try(NEW)
                }
                Step::Try(seen) => self.policy.refused(seen, format!("bad {}", seen[0]), asked, self.now),
                step @ (Step::Rest | Step::Complain(_) | Step::Reassure) => step,
            }
        }

        fn complaints(&mut self, policy: usize, seen: Fingerprint) -> Vec<String> {
            let steps: Vec<_> = (0..policy).map(|_| self.look(seen)).collect();
            let line = |step| if let Step::Complain(line) = step { Some(line) } else { None };
            steps.into_iter().filter_map(line).collect()
        }
    }

    #[test]
    fn a_new_pair_is_taken_when_two_looks_have_shown_the_same() {
        let mut stage = Stage::new();
        assert_eq!(stage.look(OLD), Step::Rest);
        assert_eq!(stage.look(NEW), Step::Rest);
        assert_eq!(stage.look(NEW), Step::Try(NEW));
        assert_eq!(stage.look(NEW), Step::Rest);
    }

    #[test]
    fn who_asks_has_it_taken_at_once() {
        let mut stage = Stage::new();
        assert_eq!(stage.ask(NEW), Step::Try(NEW));
        assert_eq!(stage.ask(NEW), Step::Reassure);
    }

    #[test]
    fn a_renewal_under_way_is_no_fault() {
        let mut stage = Stage::new();
        assert_eq!(stage.complaints(2, HALF), Vec::<String>::new());
        assert_eq!(stage.unreadable(), Step::Rest);
        assert_eq!(stage.look(NEW), Step::Rest);
        assert_eq!(stage.look(NEW), Step::Try(NEW));
    }

    #[test]
    fn a_fault_that_lasts_is_told_once_and_another_once_more() {
        let mut stage = Stage::new();
        assert_eq!(stage.complaints(600, HALF), ["bad 2"]);
        assert_eq!(stage.complaints(600, [3; 32]), ["bad 3"]);
        assert_eq!(stage.complaints(600, HALF), Vec::<String>::new());
        assert_eq!(stage.unreadable(), Step::Complain("key k: gone".to_owned()));
        assert_eq!(stage.unreadable(), Step::Rest);
    }

    #[test]
    fn who_asks_is_told_again() {
        let mut stage = Stage::new();
        assert_eq!(stage.ask(HALF), Step::Complain("bad 2".to_owned()));
        assert_eq!(stage.ask(HALF), Step::Complain("bad 2".to_owned()));
        assert_eq!(stage.complaints(60, HALF), Vec::<String>::new());
    }

    #[test]
    fn what_was_told_and_is_mended_is_told_too() {
        let mut stage = Stage::new();
        assert_eq!(stage.complaints(60, HALF), ["bad 2"]);
        assert_eq!(stage.look(OLD), Step::Reassure);
        assert_eq!(stage.look(OLD), Step::Rest);
        assert_eq!(stage.complaints(60, HALF), ["bad 2"]);
        assert_eq!(stage.look(NEW), Step::Rest);
        assert_eq!(stage.look(NEW), Step::Try(NEW));
    }

    #[test]
    fn nonsense_without_end_ends_in_the_log() {
        let mut stage = Stage::new();
        let told: usize = (3..60).map(|byte| stage.complaints(3, [byte; 32]).len()).sum();
        assert_eq!(told, TOLD_LIMIT);
    }
}
