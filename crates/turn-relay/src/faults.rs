//! What keeps the relay from its work and lasts: on the health page until it is over, and in the log now
//! and then.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::epoll::PollSource;
use super::relay_socket::port_error;
use crate::log_limit::LogLimit;
use webrtc_box_turn::addr::{Family, RelayedAddr};
use webrtc_box_turn::allocate::PortError;

/// Cheap to clone: all clones are one. At most one for each socket on the turn port and two more.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults(Arc<Mutex<FaultState>>);

#[derive(Debug, Default)]
struct FaultState {
    faults: BTreeMap<Fault, String>,
    /// Families whose relay sockets can be bound.
    bound: BTreeSet<Family>,
}

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// Receiving on a socket of the turn port: by worker and index.
    Receive(usize, usize),
    /// Binding relay sockets of this family (`public` only).
    Bind(Family),
}

impl Faults {
    /// From now on `fault` lasts, for this reason; whether that is news.
    pub(super) fn set(&self, fault: Fault, why: String) -> bool {
        self.all().faults.insert(fault, why.clone()) != Some(why)
    }

    /// It is over; whether it had lasted.
    pub(super) fn clear(&self, fault: Fault) -> bool {
        self.all().faults.remove(&fault).is_some()
    }

    /// Why the relay does not work as it should; each reason once.
    pub(super) fn reasons(&self) -> Vec<String> {
        let mut reasons: Vec<_> = self.all().faults.values().cloned().collect();
        reasons.dedup();
        reasons
    }

    /// How binding relay sockets of `family` went; `None` where there is nothing to bind. Whether it is news.
    pub(super) fn report_bind_result(&self, family: Family, bound: Option<Result<(), String>>) -> bool {
        if bound == Some(Ok(())) {
            self.all().bound.insert(family);
        } else {
            self.all().bound.remove(&family);
        }
        match bound {
            Some(Err(why)) => self.set(Fault::Bind(family), why),
            Some(Ok(())) | None => self.clear(Fault::Bind(family)),
        }
    }

    /// Whether the relay does no work: part of the turn port is not read, or of no family can relay sockets be
    /// bound.
    pub(super) fn is_down(&self) -> bool {
        let all = self.all();
        let unbound = all.bound.is_empty() && all.faults.keys().any(|fault| matches!(fault, Fault::Bind(_)));
        unbound || all.faults.keys().any(|fault| matches!(fault, Fault::Receive(..)))
    }

    fn all(&self) -> MutexGuard<'_, FaultState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shared by all workers of a relay, so that more cores do not mean more lines.
pub(super) struct Warnings {
    pub(super) faults: Faults,
    receiving: LogLimit,
    report_bind_result: LogLimit,
    pub(super) sending: Arc<LogLimit>,
}

/// The sources of one worker that cannot be read: each rests until the next tick, so that it costs a few
/// system calls twice a second and not a core.
pub(super) struct FailingSources {
    worker: usize,
    /// For how many ticks each has failed.
    sources: HashMap<PollSource, u32>,
    warnings: Arc<Warnings>,
}

/// Between two lines of one cause.
const PAUSE: Duration = Duration::from_secs(60);
/// Ticks after which a socket of the turn port that cannot be read is a fault of the box: five seconds.
const FAULT_AFTER: u32 = 10;

impl Warnings {
    pub(super) fn new(epoch: Instant) -> Self {
        let limit = || LogLimit::once_per(PAUSE, epoch);
        Self {
            faults: Faults::default(),
            receiving: limit(),
            report_bind_result: limit(),
            sending: Arc::new(limit()),
        }
    }
}

impl FailingSources {
    pub(super) fn new(worker: usize, warnings: Arc<Warnings>) -> Self {
        Self { worker, sources: HashMap::new(), warnings }
    }

    /// What is to be tried again, at a tick.
    pub(super) fn retries(&self) -> impl Iterator<Item = PollSource> {
        self.sources.keys().copied()
    }

    /// There is no such socket any more.
    pub(super) fn closed(&mut self, source: PollSource) {
        self.sources.remove(&source);
    }

    /// It can be read, as nearly always.
    pub(super) fn readable(&mut self, source: PollSource, address: SocketAddr) {
        let failed = !self.sources.is_empty() && self.sources.remove(&source).is_some();
        if failed
            && let PollSource::Turn(index) = source
            && self.warnings.faults.clear(Fault::Receive(self.worker, index))
        {
            info!(%address, "packets are received again");
        }
    }

    /// It gave nothing but errors.
    pub(super) fn unreadable(&mut self, source: PollSource, address: SocketAddr, error: &io::Error) {
        let ticks = self.sources.entry(source).or_default();
        *ticks = ticks.saturating_add(1);
        if let PollSource::Turn(index) = source
            && *ticks == FAULT_AFTER
        {
            let why = format!("no packet can be received on UDP {address} ({error})");
            self.warnings.faults.set(Fault::Receive(self.worker, index), why);
        }
        match self.warnings.receiving.allows(Instant::now()) {
            Some(held) => {
                warn!(%address, %error, held, "packets cannot be received; tried again twice a second")
            }
            None => debug!(%address, %error, "receive failed"),
        }
    }

    /// A relay socket could not be bound. That one port is in use is no news.
    pub(super) fn unbound(&self, relayed: RelayedAddr, error: &io::Error) {
        let port = relayed.0.port();
        let limited =
            (port_error(error) == PortError::Unavailable).then_some(&self.warnings.report_bind_result);
        match limited.and_then(|limit| limit.allows(Instant::now())) {
            Some(held) => warn!(port, %error, held, "a relay socket cannot be bound; its client gets 508"),
            None => debug!(port, %error, "no relay socket"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_cannot_be_read_rests_and_is_a_fault_after_five_seconds() {
        let warnings = Arc::new(Warnings::new(Instant::now()));
        let mut failing = FailingSources::new(0, Arc::clone(&warnings));
        let address = "127.0.0.1:3478".parse().unwrap();
        for tick in 1..=FAULT_AFTER {
            assert!(warnings.faults.reasons().is_empty(), "after {tick} ticks");
            failing.unreadable(PollSource::Turn(1), address, &io::ErrorKind::Unsupported.into());
            assert_eq!(failing.retries().collect::<Vec<_>>(), [PollSource::Turn(1)]);
        }
        assert!(warnings.faults.reasons()[0].contains("received on UDP 127.0.0.1:3478"));
        failing.readable(PollSource::Turn(0), address);
        assert_eq!(warnings.faults.reasons().len(), 1, "another socket says nothing of this one");
        failing.readable(PollSource::Turn(1), address);
        assert!(warnings.faults.reasons().is_empty() && failing.retries().next().is_none());
    }

    #[test]
    fn a_relay_is_down_when_relay_sockets_of_no_family_can_be_bound() {
        let faults = Faults::default();
        assert!(!faults.is_down(), "in room scope there are none");
        let failed = || Some(Err("no such address".to_owned()));
        assert!(faults.report_bind_result(Family::V4, failed()) && faults.is_down());
        assert!(!faults.report_bind_result(Family::V4, failed()), "it is told once");
        faults.report_bind_result(Family::V6, Some(Ok(())));
        assert!(!faults.is_down() && faults.reasons().len() == 1);
        assert!(faults.report_bind_result(Family::V4, None) && faults.reasons().is_empty());
    }

    #[test]
    fn a_relay_socket_that_cannot_be_read_is_no_fault_of_the_box() {
        let warnings = Arc::new(Warnings::new(Instant::now()));
        let mut failing = FailingSources::new(0, Arc::clone(&warnings));
        for _ in 0..2 * FAULT_AFTER {
            let address = "127.0.0.1:50000".parse().unwrap();
            failing.unreadable(PollSource::Port(3), address, &io::ErrorKind::Unsupported.into());
        }
        assert!(warnings.faults.reasons().is_empty());
        failing.closed(PollSource::Port(3));
        assert!(failing.retries().next().is_none());
    }
}
