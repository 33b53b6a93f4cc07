//! What the workers know of each other's allocations: a table of listings by relayed port, and
//! the register of what is lent to whom.
//!
//! A packet reads one slot and waits for nobody. Only an Allocate and an allocation's end take the
//! register's lock, for about a microsecond.

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::{ArcSwapOption, Guard};

use super::address::{Family, RelayedAddr};
use super::allocation::Listing;
use super::pace::Paces;
use super::register::Register;

/// Shared by all workers of a relay.
#[derive(Debug)]
pub struct Exchange {
    first: u16,
    v4: Box<[Slot]>,
    v6: Box<[Slot]>,
    register: Mutex<Register>,
    /// How fast the whole box may go.
    pub paces: Paces,
    /// What pulses count from.
    pub epoch: Instant,
}

type Slot = ArcSwapOption<Listing>;

impl Exchange {
    /// For relayed ports in `ports`, of which `excluded` are never lent. `capacity` is what may pass
    /// in all, in bytes per second each way; 0: no limit.
    pub fn new(ports: &RangeInclusive<u16>, excluded: &[u16], capacity: u32, epoch: Instant) -> Self {
        let slots = || std::iter::repeat_with(Slot::empty).take(ports.clone().count()).collect();
        let register = Mutex::new(Register::new(ports, excluded, epoch));
        Self {
            first: *ports.start(),
            v4: slots(),
            v6: slots(),
            register,
            paces: Paces::new(capacity, epoch),
            epoch,
        }
    }

    /// Who is reached at `port`. Never waits.
    pub fn at(&self, family: Family, port: u16) -> Guard<Option<Arc<Listing>>> {
        match self.slot(family, port) {
            Some(slot) => slot.load(),
            None => Guard::from_inner(None),
        }
    }

    /// Makes an allocation reachable, or known anew.
    pub fn publish(&self, listing: &Arc<Listing>) {
        for relayed in listing.relayed.iter() {
            if let Some(slot) = self.slot_of(*relayed) {
                slot.store(Some(Arc::clone(listing)));
            }
        }
    }

    /// Nobody is reached at `relayed` any more.
    pub fn withdraw(&self, relayed: RelayedAddr) {
        if let Some(slot) = self.slot_of(relayed) {
            slot.store(None);
        }
    }

    /// The register, for as long as the guard lives. Never to be held across a packet.
    pub fn register(&self) -> MutexGuard<'_, Register> {
        self.register.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot_of(&self, relayed: RelayedAddr) -> Option<&Slot> {
        self.slot(Family::of(relayed.0.ip()), relayed.0.port())
    }

    fn slot(&self, family: Family, port: u16) -> Option<&Slot> {
        let at = usize::from(port.checked_sub(self.first)?);
        match family {
            Family::V4 => self.v4.get(at),
            Family::V6 => self.v6.get(at),
        }
    }
}
