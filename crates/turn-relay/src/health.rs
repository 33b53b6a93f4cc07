//! Who must turn says so, and who looks sees who has stopped.
//!
//! A heart is silent only for as long as the one who looks was awake himself: a process that was
//! frozen (SIGSTOP, a suspended machine) comes back with everybody alive. Nothing here reads a clock.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often a heart beats, and how often somebody looks.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(500);

/// How long one may be silent and still count as busy.
const STALL_TIMEOUT: Duration = Duration::from_secs(5);

/// The heart of one who turns: a relay worker, an accept loop. Dropped, it has ended.
#[derive(Debug)]
pub struct Heartbeat(Arc<HeartbeatState>);

#[derive(Debug)]
struct HeartbeatState {
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
pub struct HealthMonitor(Arc<MonitorState>);

#[derive(Debug)]
struct MonitorState {
    epoch: Instant,
    watched: Mutex<Observations>,
}

#[derive(Debug)]
struct Observations {
    looked: Instant,
    health: Vec<Observation>,
}

/// A heart as it was when somebody last looked.
#[derive(Debug)]
struct Observation {
    beats: Arc<HeartbeatState>,
    last: u64,
    silent: Duration,
}

/// How one of them is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatReport {
    /// Whose heart: `relay-0`, `https [::]:443`.
    pub name: String,
    /// Since the last beat.
    pub age: Duration,
    /// By how much it is late: the last beat, or the one that is due.
    pub lag: Duration,
    /// Whether it turns.
    pub state: Status,
}

/// Whether somebody turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It does.
    Ok,
    /// It has said nothing for too long.
    Stalled,
    /// It will never again.
    Dead,
}

impl Heartbeat {
    /// Still turning. To be called every [`HEARTBEAT_INTERVAL`].
    pub fn beat(&self, now: Instant) {
        let now = self.0.micros(now);
        let since = now.saturating_sub(self.0.last.swap(now, Ordering::Relaxed));
        self.0.late.store(since.saturating_sub(HEARTBEAT_INTERVAL.as_micros() as u64), Ordering::Relaxed);
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Relaxed);
    }
}

impl HeartbeatState {
    fn micros(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.epoch).as_micros() as u64
    }
}

impl HealthMonitor {
    /// Nobody yet. Times count from `epoch`.
    pub fn new(epoch: Instant) -> Self {
        let watched = Observations { looked: epoch, health: Vec::new() };
        Self(Arc::new(MonitorState { epoch, watched: Mutex::new(watched) }))
    }

    /// Somebody begins to turn and is looked after from now on.
    pub fn register(&self, name: impl Into<String>, now: Instant) -> Heartbeat {
        let beats = HeartbeatState {
            name: name.into(),
            epoch: self.0.epoch,
            last: AtomicU64::new(0),
            late: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        };
        let last = beats.micros(now);
        beats.last.store(last, Ordering::Relaxed);
        let beats = Arc::new(beats);
        self.watched().health.push(Observation { beats: Arc::clone(&beats), last, silent: Duration::ZERO });
        Heartbeat(beats)
    }

    /// Looks at everybody. To be called every [`HEARTBEAT_INTERVAL`], by one thread.
    pub fn check(&self, now: Instant) {
        let mut watched = self.watched();
        // Whoever comes late himself learns nothing of the time he missed.
        let awake = now.saturating_duration_since(watched.looked).min(2 * HEARTBEAT_INTERVAL);
        watched.looked = now;
        for seen in &mut watched.health {
            let last = seen.beats.last.load(Ordering::Relaxed);
            seen.silent = if last == seen.last { seen.silent + awake } else { Duration::ZERO };
            seen.last = last;
        }
    }

    /// How each of them is, in the order in which they joined.
    pub fn reports(&self, now: Instant) -> Vec<HeartbeatReport> {
        self.watched().health.iter().map(|seen| seen.report(now)).collect()
    }

    /// Those who do not turn, as of the last look; `None` where all do.
    pub fn unresponsive(&self) -> Option<Unresponsive> {
        let watched = self.watched();
        let bad = watched.health.iter().filter(|seen| seen.state() != Status::Ok);
        let names: Vec<_> = bad.map(|seen| seen.beats.name.clone()).collect();
        (!names.is_empty()).then_some(Unresponsive(names))
    }

    fn watched(&self) -> MutexGuard<'_, Observations> {
        // What a panic may have left half done is one look.
        self.0.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observation {
    fn state(&self) -> Status {
        if self.beats.ended.load(Ordering::Relaxed) {
            Status::Dead
        } else if self.silent >= STALL_TIMEOUT {
            Status::Stalled
        } else {
            Status::Ok
        }
    }

    fn report(&self, now: Instant) -> HeartbeatReport {
        let last = self.beats.last.load(Ordering::Relaxed);
        let age = Duration::from_micros(self.beats.micros(now).saturating_sub(last));
        let late = Duration::from_micros(self.beats.late.load(Ordering::Relaxed));
        let lag = late.max(age.saturating_sub(HEARTBEAT_INTERVAL));
        HeartbeatReport { name: self.beats.name.clone(), age, lag, state: self.state() }
    }
}

/// Names of those who do not turn. `Display` is a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresponsive(Vec<String>);

impl fmt::Display for Unresponsive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A box with two who turn, and the time.
    struct Harness {
        now: Instant,
        health: HealthMonitor,
        two: [Heartbeat; 2],
    }

    impl Harness {
        fn new() -> Self {
            let now = Instant::now();
            let health = HealthMonitor::new(now);
            let two = ["relay-0", "relay-1"].map(|name| health.register(name, now));
            Self { now, health, two }
        }

        /// For so many beats somebody looks, and these turn.
        fn pass(&mut self, beats: u32, turning: &[usize]) {
            for _ in 0..beats {
                self.now += HEARTBEAT_INTERVAL;
                turning.iter().for_each(|who| self.two[*who].beat(self.now));
                self.health.check(self.now);
            }
        }

        fn unresponsive(&self) -> String {
            self.health.unresponsive().map_or(String::new(), |unresponsive| unresponsive.to_string())
        }
    }

    #[test]
    fn one_who_stops_turning_is_named_after_a_while_and_forgiven_at_the_next_beat() {
        let mut harness = Harness::new();
        harness.pass(100, &[0, 1]);
        assert_eq!(harness.unresponsive(), "");
        harness.pass(9, &[0]);
        assert_eq!(harness.unresponsive(), "");
        harness.pass(1, &[0]);
        assert_eq!(harness.unresponsive(), "relay-1");
        harness.pass(1, &[0, 1]);
        assert_eq!(harness.unresponsive(), "");
    }

    #[test]
    fn a_process_that_was_frozen_has_not_stalled() {
        let mut harness = Harness::new();
        harness.pass(1, &[0, 1]);
        for _ in 0..10 {
            harness.now += Duration::from_secs(3600);
            harness.health.check(harness.now);
            assert_eq!(harness.unresponsive(), "", "looked before the others came to");
            harness.pass(1, &[0, 1]);
            assert_eq!(harness.unresponsive(), "");
        }
    }

    #[test]
    fn one_who_has_ended_is_named_at_once() {
        let mut harness = Harness::new();
        harness.pass(1, &[0, 1]);
        let [first, _second] = harness.two;
        drop(first);
        assert_eq!(harness.health.unresponsive().unwrap().to_string(), "relay-0");
        assert_eq!(harness.health.reports(harness.now)[0].state, Status::Dead);
    }

    #[test]
    fn lag_is_how_late_a_beat_came_or_how_long_it_is_overdue() {
        let mut harness = Harness::new();
        harness.pass(1, &[0, 1]);
        let lags =
            |harness: &Harness| harness.health.reports(harness.now).into_iter().map(|report| report.lag);
        assert!(lags(&harness).all(|lag| lag.is_zero()));
        harness.pass(2, &[1]);
        assert_eq!(lags(&harness).collect::<Vec<_>>(), [HEARTBEAT_INTERVAL, Duration::ZERO]);
        harness.pass(1, &[0, 1]);
        assert_eq!(lags(&harness).collect::<Vec<_>>(), [2 * HEARTBEAT_INTERVAL, Duration::ZERO]);
    }
}
