//! Lasting faults of the relay: reported by `/healthz` until they end, and in the log once a minute.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::epoll::PollSource;
use super::relay_socket::port_error;
use webrtc_box_rate_limit::LogLimit;
use webrtc_box_turn::addr::{Family, RelayedAddr};
use webrtc_box_turn::server::PortError;

/// The current faults: at most one per socket of the TURN port and one per family. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults(Arc<Mutex<FaultState>>);

#[derive(Debug, Default)]
struct FaultState {
    faults: BTreeMap<Fault, String>,
    /// Families in which relay sockets can be bound.
    bound: BTreeSet<Family>,
}

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// A socket of the TURN port cannot be read: worker and index.
    Receive(usize, usize),
    /// Relay sockets of this family cannot be bound (`public` scope only).
    Bind(Family),
}

impl Faults {
    /// Records `fault` with its reason; returns whether that is a change.
    pub(super) fn set(&self, fault: Fault, why: String) -> bool {
        self.lock().faults.insert(fault, why.clone()) != Some(why)
    }

    /// Records the end of `fault`; returns whether it existed.
    pub(super) fn clear(&self, fault: Fault) -> bool {
        self.lock().faults.remove(&fault).is_some()
    }

    /// The reasons of all faults, each once.
    pub(super) fn reasons(&self) -> Vec<String> {
        let mut reasons: Vec<_> = self.lock().faults.values().cloned().collect();
        reasons.dedup();
        reasons
    }

    /// Records whether relay sockets of `family` can be bound; `None` if there are none. Returns whether that is a change.
    pub(super) fn report_bind_result(&self, family: Family, bound: Option<Result<(), String>>) -> bool {
        if bound == Some(Ok(())) {
            self.lock().bound.insert(family);
        } else {
            self.lock().bound.remove(&family);
        }
        match bound {
            Some(Err(why)) => self.set(Fault::Bind(family), why),
            Some(Ok(())) | None => self.clear(Fault::Bind(family)),
        }
    }

    /// Whether the relay is out of order: a socket of the TURN port cannot be read, or relay sockets cannot be bound in
    /// any family.
    pub(super) fn is_down(&self) -> bool {
        let state = self.lock();
        let unbound =
            state.bound.is_empty() && state.faults.keys().any(|fault| matches!(fault, Fault::Bind(_)));
        unbound || state.faults.keys().any(|fault| matches!(fault, Fault::Receive(..)))
    }

    fn lock(&self) -> MutexGuard<'_, FaultState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Limits on log lines about faults. All workers share them, so more cores do not cause more lines.
pub(super) struct Warnings {
    pub(super) faults: Faults,
    receiving: LogLimit,
    binding: LogLimit,
    pub(super) sending: Arc<LogLimit>,
}

/// The sources of one worker that cannot be read. Each rests until the next tick, so it costs a few system calls twice a
/// second instead of a core.
pub(super) struct FailingSources {
    worker: usize,
    /// Failed ticks in a row, by source.
    sources: HashMap<PollSource, u32>,
    warnings: Arc<Warnings>,
}

/// Time between two log lines with one cause.
const LOG_INTERVAL: Duration = Duration::from_secs(60);
/// Failed ticks after which a socket of the TURN port is a fault: five seconds.
const FAULT_AFTER: u32 = 10;

impl Warnings {
    pub(super) fn new(epoch: Instant) -> Self {
        let limit = || LogLimit::once_per(LOG_INTERVAL, epoch);
        Self { faults: Faults::default(), receiving: limit(), binding: limit(), sending: Arc::new(limit()) }
    }
}

impl FailingSources {
    pub(super) fn new(worker: usize, warnings: Arc<Warnings>) -> Self {
        Self { worker, sources: HashMap::new(), warnings }
    }

    /// The sources to read again at a tick.
    pub(super) fn retries(&self) -> impl Iterator<Item = PollSource> {
        self.sources.keys().copied()
    }

    /// Forgets a closed socket.
    pub(super) fn closed(&mut self, source: PollSource) {
        self.sources.remove(&source);
    }

    /// Records a successful read, the usual case.
    pub(super) fn readable(&mut self, source: PollSource, address: SocketAddr) {
        let failed = !self.sources.is_empty() && self.sources.remove(&source).is_some();
        if failed
            && let PollSource::Turn(index) = source
            && self.warnings.faults.clear(Fault::Receive(self.worker, index))
        {
            info!(%address, "receiving packets again");
        }
    }

    /// Records a read that returned only errors.
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
                warn!(%address, %error, held, "packets cannot be received; retrying twice a second")
            }
            None => debug!(%address, %error, "receive failed"),
        }
    }

    /// Logs a relay socket that could not be bound. A port in use is normal.
    pub(super) fn bind_failed(&self, relayed: RelayedAddr, error: &io::Error) {
        let port = relayed.0.port();
        let limit = (port_error(error) == PortError::Unavailable).then_some(&self.warnings.binding);
        match limit.and_then(|limit| limit.allows(Instant::now())) {
            Some(held) => warn!(port, %error, held, "a relay socket cannot be bound; the client gets 508"),
            None => debug!(port, %error, "relay socket not bound"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreadable_turn_socket_is_a_fault_after_five_seconds() {
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
        assert_eq!(warnings.faults.reasons().len(), 1, "another socket does not end this fault");
        failing.readable(PollSource::Turn(1), address);
        assert!(warnings.faults.reasons().is_empty() && failing.retries().next().is_none());
    }

    #[test]
    fn a_relay_is_down_if_no_family_can_bind_relay_sockets() {
        let faults = Faults::default();
        assert!(!faults.is_down(), "room scope has no relay sockets");
        let failed = || Some(Err("address not available".to_owned()));
        assert!(faults.report_bind_result(Family::V4, failed()) && faults.is_down());
        assert!(!faults.report_bind_result(Family::V4, failed()), "no change");
        faults.report_bind_result(Family::V6, Some(Ok(())));
        assert!(!faults.is_down() && faults.reasons().len() == 1);
        assert!(faults.report_bind_result(Family::V4, None) && faults.reasons().is_empty());
    }

    #[test]
    fn an_unreadable_relay_socket_is_not_a_fault() {
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
