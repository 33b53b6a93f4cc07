//! Heartbeats of workers and listeners, and a monitor that detects which of them stalled or ended.
//!
//! Only time in which the monitor itself ran counts as silence, so nothing has stalled after the whole process was frozen
//! (SIGSTOP, a suspended machine). No function here reads a clock.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often a heartbeat is due, and how often the monitor checks.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(500);

/// Silence after which a worker or listener counts as stalled.
const STALL_TIMEOUT: Duration = Duration::from_secs(5);

/// The heartbeat of a relay worker or an accept loop. Dropping it reports the end.
#[derive(Debug)]
pub struct Heartbeat(Arc<HeartbeatState>);

#[derive(Debug)]
struct HeartbeatState {
    name: String,
    epoch: Instant,
    /// Microseconds since the epoch.
    last: AtomicU64,
    /// Microseconds by which the last beat was late.
    late: AtomicU64,
    ended: AtomicBool,
}

/// Monitors all heartbeats of a process. Clones share the state.
#[derive(Clone, Debug)]
pub struct HealthMonitor(Arc<MonitorState>);

#[derive(Debug)]
struct MonitorState {
    epoch: Instant,
    observations: Mutex<Observations>,
}

#[derive(Debug)]
struct Observations {
    checked_at: Instant,
    all: Vec<Observation>,
}

/// A heartbeat as of the last check.
#[derive(Debug)]
struct Observation {
    heartbeat: Arc<HeartbeatState>,
    last: u64,
    silence: Duration,
}

/// The state of one heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatReport {
    /// The name of the worker or listener: `relay-0`, `https [::]:443`.
    pub name: String,
    /// Time since the last beat.
    pub age: Duration,
    /// How late the last beat was, or how long the next one is overdue.
    pub lag: Duration,
    /// Its status.
    pub state: Status,
}

/// The status of a worker or listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is responsive.
    Ok,
    /// It has been silent for five seconds or more.
    Stalled,
    /// It has ended.
    Dead,
}

impl Heartbeat {
    /// Reports a sign of life. Call it every [`HEARTBEAT_INTERVAL`].
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
    /// A monitor without heartbeats. Times count from `epoch`.
    pub fn new(epoch: Instant) -> Self {
        let observations = Observations { checked_at: epoch, all: Vec::new() };
        Self(Arc::new(MonitorState { epoch, observations: Mutex::new(observations) }))
    }

    /// Registers a worker or listener, which is monitored from now on.
    pub fn register(&self, name: impl Into<String>, now: Instant) -> Heartbeat {
        let heartbeat = HeartbeatState {
            name: name.into(),
            epoch: self.0.epoch,
            last: AtomicU64::new(0),
            late: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        };
        let last = heartbeat.micros(now);
        heartbeat.last.store(last, Ordering::Relaxed);
        let heartbeat = Arc::new(heartbeat);
        let observation = Observation { heartbeat: Arc::clone(&heartbeat), last, silence: Duration::ZERO };
        self.observations().all.push(observation);
        Heartbeat(heartbeat)
    }

    /// Checks all heartbeats. Call it every [`HEARTBEAT_INTERVAL`] from one thread.
    pub fn check(&self, now: Instant) {
        let mut observations = self.observations();
        // A late check does not count the time in which it did not run.
        let awake = now.saturating_duration_since(observations.checked_at).min(2 * HEARTBEAT_INTERVAL);
        observations.checked_at = now;
        for observation in &mut observations.all {
            let last = observation.heartbeat.last.load(Ordering::Relaxed);
            let silent = last == observation.last;
            observation.silence = if silent { observation.silence + awake } else { Duration::ZERO };
            observation.last = last;
        }
    }

    /// The state of each heartbeat, in the order of registration.
    pub fn reports(&self, now: Instant) -> Vec<HeartbeatReport> {
        self.observations().all.iter().map(|observation| observation.report(now)).collect()
    }

    /// The stalled and dead ones as of the last check; `None` if there are none.
    pub fn unresponsive(&self) -> Option<Unresponsive> {
        let observations = self.observations();
        let unresponsive = observations.all.iter().filter(|observation| observation.state() != Status::Ok);
        let names: Vec<_> = unresponsive.map(|observation| observation.heartbeat.name.clone()).collect();
        (!names.is_empty()).then_some(Unresponsive(names))
    }

    fn observations(&self) -> MutexGuard<'_, Observations> {
        // A panic can leave at most one check incomplete.
        self.0.observations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observation {
    fn state(&self) -> Status {
        if self.heartbeat.ended.load(Ordering::Relaxed) {
            Status::Dead
        } else if self.silence >= STALL_TIMEOUT {
            Status::Stalled
        } else {
            Status::Ok
        }
    }

    fn report(&self, now: Instant) -> HeartbeatReport {
        let last = self.heartbeat.last.load(Ordering::Relaxed);
        let age = Duration::from_micros(self.heartbeat.micros(now).saturating_sub(last));
        let late = Duration::from_micros(self.heartbeat.late.load(Ordering::Relaxed));
        let lag = late.max(age.saturating_sub(HEARTBEAT_INTERVAL));
        HeartbeatReport { name: self.heartbeat.name.clone(), age, lag, state: self.state() }
    }
}

/// The names of stalled and dead workers and listeners. `Display` joins them with commas.
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

    /// Two heartbeats and the time.
    struct Harness {
        now: Instant,
        health: HealthMonitor,
        heartbeats: [Heartbeat; 2],
    }

    impl Harness {
        fn new() -> Self {
            let now = Instant::now();
            let health = HealthMonitor::new(now);
            let heartbeats = ["relay-0", "relay-1"].map(|name| health.register(name, now));
            Self { now, health, heartbeats }
        }

        /// For `intervals` intervals, `beating` beat and the monitor checks.
        fn pass(&mut self, intervals: u32, beating: &[usize]) {
            for _ in 0..intervals {
                self.now += HEARTBEAT_INTERVAL;
                beating.iter().for_each(|index| self.heartbeats[*index].beat(self.now));
                self.health.check(self.now);
            }
        }

        fn unresponsive(&self) -> String {
            self.health.unresponsive().map_or(String::new(), |unresponsive| unresponsive.to_string())
        }
    }

    #[test]
    fn silence_of_five_seconds_is_a_stall_until_the_next_beat() {
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
    fn a_frozen_process_has_not_stalled() {
        let mut harness = Harness::new();
        harness.pass(1, &[0, 1]);
        for _ in 0..10 {
            harness.now += Duration::from_secs(3600);
            harness.health.check(harness.now);
            assert_eq!(harness.unresponsive(), "", "checked before the others ran");
            harness.pass(1, &[0, 1]);
            assert_eq!(harness.unresponsive(), "");
        }
    }

    #[test]
    fn a_dropped_heartbeat_is_dead_immediately() {
        let mut harness = Harness::new();
        harness.pass(1, &[0, 1]);
        let [first, _second] = harness.heartbeats;
        drop(first);
        assert_eq!(harness.health.unresponsive().unwrap().to_string(), "relay-0");
        assert_eq!(harness.health.reports(harness.now)[0].state, Status::Dead);
    }

    #[test]
    fn lag_is_how_late_a_beat_was_or_how_long_it_is_overdue() {
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
