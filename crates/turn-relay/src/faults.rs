//! What keeps the relay from its work and lasts: on the health page until it is over, and in the log now
//! and then.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::epoll::Source;
use super::relay_socket::refused;
use crate::log_limit::LineLimit;
use webrtc_box_turn::addr::{Family, RelayedAddr};
use webrtc_box_turn::allocate::PortError;

/// Cheap to clone: all clones are one. At most one for each socket on the turn port and two more.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults(Arc<Mutex<Lasting>>);

#[derive(Debug, Default)]
struct Lasting {
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
    pub(super) fn lasts(&self, fault: Fault, why: String) -> bool {
        self.all().faults.insert(fault, why.clone()) != Some(why)
    }

    /// It is over; whether it had lasted.
    pub(super) fn is_over(&self, fault: Fault) -> bool {
        self.all().faults.remove(&fault).is_some()
    }

    /// Why the relay does not work as it should; each reason once.
    pub(super) fn reasons(&self) -> Vec<String> {
        let mut reasons: Vec<_> = self.all().faults.values().cloned().collect();
        reasons.dedup();
        reasons
    }

    /// How binding relay sockets of `family` went; `None` where there is nothing to bind. Whether it is news.
    pub(super) fn binding(&self, family: Family, bound: Option<Result<(), String>>) -> bool {
        if bound == Some(Ok(())) {
            self.all().bound.insert(family);
        } else {
            self.all().bound.remove(&family);
        }
        match bound {
            Some(Err(why)) => self.lasts(Fault::Bind(family), why),
            Some(Ok(())) | None => self.is_over(Fault::Bind(family)),
        }
    }

    /// Whether the relay does no work: part of the turn port is not read, or of no family can relay sockets be
    /// bound.
    pub(super) fn is_down(&self) -> bool {
        let all = self.all();
        let unbound = all.bound.is_empty() && all.faults.keys().any(|fault| matches!(fault, Fault::Bind(_)));
        unbound || all.faults.keys().any(|fault| matches!(fault, Fault::Receive(..)))
    }

    fn all(&self) -> MutexGuard<'_, Lasting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shared by all workers of a relay, so that more cores do not mean more lines.
pub(super) struct Warnings {
    pub(super) faults: Faults,
    receiving: LineLimit,
    binding: LineLimit,
    pub(super) sending: Arc<LineLimit>,
}

/// The sources of one worker that cannot be read: each rests until the next tick, so that it costs a few
/// system calls twice a second and not a core.
pub(super) struct Failing {
    worker: usize,
    /// For how many ticks each has failed.
    sources: HashMap<Source, u32>,
    warnings: Arc<Warnings>,
}

/// Between two lines of one cause.
const PAUSE: Duration = Duration::from_secs(60);
/// Ticks after which a socket of the turn port that cannot be read is a fault of the box: five seconds.
const FAULT_AFTER: u32 = 10;

impl Warnings {
    pub(super) fn new(epoch: Instant) -> Self {
        let limit = || LineLimit::one_in(PAUSE, epoch);
        Self { faults: Faults::default(), receiving: limit(), binding: limit(), sending: Arc::new(limit()) }
    }
}

impl Failing {
    pub(super) fn new(worker: usize, warnings: Arc<Warnings>) -> Self {
        Self { worker, sources: HashMap::new(), warnings }
    }

    /// What is to be tried again, at a tick.
    pub(super) fn again(&self) -> impl Iterator<Item = Source> {
        self.sources.keys().copied()
    }

    /// There is no such socket any more.
    pub(super) fn closed(&mut self, source: Source) {
        self.sources.remove(&source);
    }

    /// It can be read, as nearly always.
    pub(super) fn readable(&mut self, source: Source, address: SocketAddr) {
        let failed = !self.sources.is_empty() && self.sources.remove(&source).is_some();
        if failed
            && let Source::Turn(index) = source
            && self.warnings.faults.is_over(Fault::Receive(self.worker, index))
        {
            info!(%address, "packets are received again");
        }
    }

    /// It gave nothing but errors.
    pub(super) fn unreadable(&mut self, source: Source, address: SocketAddr, error: &io::Error) {
        let ticks = self.sources.entry(source).or_default();
        *ticks = ticks.saturating_add(1);
        if let Source::Turn(index) = source
            && *ticks == FAULT_AFTER
        {
            let why = format!("no packet can be received on UDP {address} ({error})");
            self.warnings.faults.lasts(Fault::Receive(self.worker, index), why);
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
        let limited = (refused(error) == PortError::Unavailable).then_some(&self.warnings.binding);
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
        let mut failing = Failing::new(0, Arc::clone(&warnings));
        let address = "127.0.0.1:3478".parse().unwrap();
        for tick in 1..=FAULT_AFTER {
            assert!(warnings.faults.reasons().is_empty(), "after {tick} ticks");
            failing.unreadable(Source::Turn(1), address, &io::ErrorKind::Unsupported.into());
            assert_eq!(failing.again().collect::<Vec<_>>(), [Source::Turn(1)]);
        }
        assert!(warnings.faults.reasons()[0].contains("received on UDP 127.0.0.1:3478"));
        failing.readable(Source::Turn(0), address);
        assert_eq!(warnings.faults.reasons().len(), 1, "another socket says nothing of this one");
        failing.readable(Source::Turn(1), address);
        assert!(warnings.faults.reasons().is_empty() && failing.again().next().is_none());
    }

    #[test]
    fn a_relay_is_down_when_relay_sockets_of_no_family_can_be_bound() {
        let faults = Faults::default();
        assert!(!faults.is_down(), "in room scope there are none");
        let failed = || Some(Err("no such address".to_owned()));
        assert!(faults.binding(Family::V4, failed()) && faults.is_down());
        assert!(!faults.binding(Family::V4, failed()), "it is told once");
        faults.binding(Family::V6, Some(Ok(())));
        assert!(!faults.is_down() && faults.reasons().len() == 1);
        assert!(faults.binding(Family::V4, None) && faults.reasons().is_empty());
    }

    #[test]
    fn a_relay_socket_that_cannot_be_read_is_no_fault_of_the_box() {
        let warnings = Arc::new(Warnings::new(Instant::now()));
        let mut failing = Failing::new(0, Arc::clone(&warnings));
        for _ in 0..2 * FAULT_AFTER {
            let address = "127.0.0.1:50000".parse().unwrap();
            failing.unreadable(Source::Port(3), address, &io::ErrorKind::Unsupported.into());
        }
        assert!(warnings.faults.reasons().is_empty());
        failing.closed(Source::Port(3));
        assert!(failing.again().next().is_none());
    }
}
