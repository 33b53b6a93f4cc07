//! Who must turn says so, and who looks sees who has stopped.
//!
//! A heart is silent only for as long as the one who looks was awake himself: a process that was
//! frozen (SIGSTOP, a suspended machine) comes back with everybody alive. Nothing here reads a clock.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often a heart beats, and how often somebody looks.
pub const BEAT: Duration = Duration::from_millis(500);

/// How long one may be silent and still count as busy.
const PATIENCE: Duration = Duration::from_secs(5);

/// The heart of one who turns: a relay worker, an accept loop. Dropped, it has ended.
#[derive(Debug)]
pub struct Heart(Arc<Beats>);

#[derive(Debug)]
struct Beats {
    name: String,
    epoch: Instant,
    /// Microseconds since the epoch.
    last: AtomicU64,
    /// Microseconds by which the last beat came late.
    late: AtomicU64,
    ended: AtomicBool,
}

/// All hearts of a box. Cheap to clone: all clones are one.
#[derive(Clone, Debug)]
pub struct Hearts(Arc<Watch>);

#[derive(Debug)]
struct Watch {
    epoch: Instant,
    watched: Mutex<Watched>,
}

#[derive(Debug)]
struct Watched {
    looked: Instant,
    hearts: Vec<Seen>,
}

/// A heart as it was when somebody last looked.
#[derive(Debug)]
struct Seen {
    beats: Arc<Beats>,
    last: u64,
    silent: Duration,
}

/// How one of them is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vital {
    /// Whose heart: `relay-0`, `https [::]:443`.
    pub name: String,
    /// Since the last beat.
    pub age: Duration,
    /// By how much it is late: the last beat, or the one that is due.
    pub lag: Duration,
    /// Whether it turns.
    pub state: Turning,
}

/// Whether somebody turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turning {
    /// It does.
    Well,
    /// It has said nothing for too long.
    Stalled,
    /// It will never again.
    Ended,
}

impl Heart {
    /// Still turning. To be called every [`BEAT`].
    pub fn beat(&self, now: Instant) {
        let now = self.0.micros(now);
        let since = now.saturating_sub(self.0.last.swap(now, Ordering::Relaxed));
        self.0.late.store(since.saturating_sub(BEAT.as_micros() as u64), Ordering::Relaxed);
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Relaxed);
    }
}

impl Beats {
    fn micros(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.epoch).as_micros() as u64
    }
}

impl Hearts {
    /// Nobody yet. Times count from `epoch`.
    pub fn new(epoch: Instant) -> Self {
        let watched = Watched { looked: epoch, hearts: Vec::new() };
        Self(Arc::new(Watch { epoch, watched: Mutex::new(watched) }))
    }

    /// Somebody begins to turn and is looked after from now on.
    pub fn join(&self, name: impl Into<String>, now: Instant) -> Heart {
        let beats = Beats {
            name: name.into(),
            epoch: self.0.epoch,
            last: AtomicU64::new(0),
            late: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        };
        let last = beats.micros(now);
        beats.last.store(last, Ordering::Relaxed);
        let beats = Arc::new(beats);
        self.watched().hearts.push(Seen { beats: Arc::clone(&beats), last, silent: Duration::ZERO });
        Heart(beats)
    }

    /// Looks at everybody. To be called every [`BEAT`], by one thread.
    pub fn look(&self, now: Instant) {
        let mut watched = self.watched();
        // Whoever comes late himself learns nothing of the time he missed.
        let awake = now.saturating_duration_since(watched.looked).min(2 * BEAT);
        watched.looked = now;
        for seen in &mut watched.hearts {
            let last = seen.beats.last.load(Ordering::Relaxed);
            seen.silent = if last == seen.last { seen.silent + awake } else { Duration::ZERO };
            seen.last = last;
        }
    }

    /// How each of them is, in the order in which they joined.
    pub fn vitals(&self, now: Instant) -> Vec<Vital> {
        self.watched().hearts.iter().map(|seen| seen.vital(now)).collect()
    }

    /// Those who do not turn, as of the last look; `None` where all do.
    pub fn failing(&self) -> Option<Failing> {
        let watched = self.watched();
        let bad = watched.hearts.iter().filter(|seen| seen.state() != Turning::Well);
        let names: Vec<_> = bad.map(|seen| seen.beats.name.clone()).collect();
        (!names.is_empty()).then_some(Failing(names))
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        // What a panic may have left half done is one look.
        self.0.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn state(&self) -> Turning {
        if self.beats.ended.load(Ordering::Relaxed) {
            Turning::Ended
        } else if self.silent >= PATIENCE {
            Turning::Stalled
        } else {
            Turning::Well
        }
    }

    fn vital(&self, now: Instant) -> Vital {
        let last = self.beats.last.load(Ordering::Relaxed);
        let age = Duration::from_micros(self.beats.micros(now).saturating_sub(last));
        let late = Duration::from_micros(self.beats.late.load(Ordering::Relaxed));
        let lag = late.max(age.saturating_sub(BEAT));
        Vital { name: self.beats.name.clone(), age, lag, state: self.state() }
    }
}

/// Names of those who do not turn. `Display` is a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing(Vec<String>);

impl fmt::Display for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A box with two who turn, and the time.
    struct Stage {
        now: Instant,
        hearts: Hearts,
        two: [Heart; 2],
    }

    impl Stage {
        fn new() -> Self {
            let now = Instant::now();
            let hearts = Hearts::new(now);
            let two = ["relay-0", "relay-1"].map(|name| hearts.join(name, now));
            Self { now, hearts, two }
        }

        /// For so many beats somebody looks, and these turn.
        fn pass(&mut self, beats: u32, turning: &[usize]) {
            for _ in 0..beats {
                self.now += BEAT;
                turning.iter().for_each(|who| self.two[*who].beat(self.now));
                self.hearts.look(self.now);
            }
        }

        fn failing(&self) -> String {
            self.hearts.failing().map_or(String::new(), |failing| failing.to_string())
        }
    }

    #[test]
    fn one_who_stops_turning_is_named_after_a_while_and_forgiven_at_the_next_beat() {
        let mut stage = Stage::new();
        stage.pass(100, &[0, 1]);
        assert_eq!(stage.failing(), "");
        stage.pass(9, &[0]);
        assert_eq!(stage.failing(), "");
        stage.pass(1, &[0]);
        assert_eq!(stage.failing(), "relay-1");
        stage.pass(1, &[0, 1]);
        assert_eq!(stage.failing(), "");
    }

    #[test]
    fn a_process_that_was_frozen_has_not_stalled() {
        let mut stage = Stage::new();
        stage.pass(1, &[0, 1]);
        for _ in 0..10 {
            stage.now += Duration::from_secs(3600);
            stage.hearts.look(stage.now);
            assert_eq!(stage.failing(), "", "looked before the others came to");
            stage.pass(1, &[0, 1]);
            assert_eq!(stage.failing(), "");
        }
    }

    #[test]
    fn one_who_has_ended_is_named_at_once() {
        let mut stage = Stage::new();
        stage.pass(1, &[0, 1]);
        let [first, _second] = stage.two;
        drop(first);
        assert_eq!(stage.hearts.failing().unwrap().to_string(), "relay-0");
        assert_eq!(stage.hearts.vitals(stage.now)[0].state, Turning::Ended);
    }

    #[test]
    fn lag_is_how_late_a_beat_came_or_how_long_it_is_overdue() {
        let mut stage = Stage::new();
        stage.pass(1, &[0, 1]);
        let lags = |stage: &Stage| stage.hearts.vitals(stage.now).into_iter().map(|vital| vital.lag);
        assert!(lags(&stage).all(|lag| lag.is_zero()));
        stage.pass(2, &[1]);
        assert_eq!(lags(&stage).collect::<Vec<_>>(), [BEAT, Duration::ZERO]);
        stage.pass(1, &[0, 1]);
        assert_eq!(lags(&stage).collect::<Vec<_>>(), [2 * BEAT, Duration::ZERO]);
    }
}
