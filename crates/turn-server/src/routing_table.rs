//! What the workers know of each other's allocations: a table of listings by relayed port, and
//! the register of what is lent to whom.
//!
//! A packet reads one slot and waits for nobody. Only an Allocate and an allocation's end take the
//! register's lock, for about a microsecond.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::{ArcSwapOption, Guard};

use super::addr::{Family, RelayedAddr};
use super::allocation::Route;
use super::bandwidth::{BandwidthLimits, TesterBandwidth};
use super::registry::AllocationRegistry;

/// Shared by all workers of a relay.
#[derive(Debug)]
pub struct RoutingTable {
    first: u16,
    v4: Box<[Slot]>,
    v6: Box<[Slot]>,
    registry: Mutex<AllocationRegistry>,
    /// Counts what has been published and withdrawn.
    changes: AtomicU64,
    /// How fast the whole box may go.
    pub limits: BandwidthLimits,
    /// How much those who only test may send and get, by source.
    pub tester_bandwidth: TesterBandwidth,
    /// What pulses count from.
    pub epoch: Instant,
}

type Slot = ArcSwapOption<Route>;

impl RoutingTable {
    /// For relayed ports in `ports`, of which `excluded` are never lent. `capacity` is what may pass
    /// in all, in bytes per second each way; 0: no limit. `seed` is random and secret.
    pub fn new(
        ports: &RangeInclusive<u16>,
        excluded: &[u16],
        capacity: u32,
        seed: u64,
        epoch: Instant,
    ) -> Self {
        let slots = || std::iter::repeat_with(Slot::empty).take(ports.clone().count()).collect();
        let registry = Mutex::new(AllocationRegistry::new(ports, excluded, epoch));
        Self {
            first: *ports.start(),
            v4: slots(),
            v6: slots(),
            registry,
            changes: AtomicU64::new(0),
            limits: BandwidthLimits::new(capacity, epoch),
            tester_bandwidth: TesterBandwidth::new(seed, epoch),
            epoch,
        }
    }

    /// Who is reached at `port`. Never waits.
    pub fn lookup(&self, family: Family, port: u16) -> Guard<Option<Arc<Route>>> {
        match self.slot(family, port) {
            Some(slot) => slot.load(),
            None => Guard::from_inner(None),
        }
    }

    /// Changes with every change to an allocation of any worker: what was found before it is to be
    /// looked for again.
    pub fn generation(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Something about an allocation has changed that is not in its listing.
    pub fn invalidate_flows(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// Makes an allocation reachable, or known anew.
    pub fn publish(&self, route: &Arc<Route>) {
        for relayed in route.relayed.iter() {
            if let Some(slot) = self.slot_of(*relayed) {
                slot.store(Some(Arc::clone(route)));
            }
        }
        self.invalidate_flows();
    }

    /// Nobody is reached at `relayed` any more.
    pub fn withdraw(&self, relayed: RelayedAddr) {
        if let Some(slot) = self.slot_of(relayed) {
            slot.store(None);
        }
        self.invalidate_flows();
    }

    /// The register, for as long as the guard lives. Never to be held across a packet.
    pub fn registry(&self) -> MutexGuard<'_, AllocationRegistry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot_of(&self, relayed: RelayedAddr) -> Option<&Slot> {
        self.slot(Family::of(relayed.0.ip()), relayed.0.port())
    }

    fn slot(&self, family: Family, port: u16) -> Option<&Slot> {
        let lookup = usize::from(port.checked_sub(self.first)?);
        match family {
            Family::V4 => self.v4.get(lookup),
            Family::V6 => self.v6.get(lookup),
        }
    }
}
