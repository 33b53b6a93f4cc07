//! One worker's allocations, found by client and by deadline; the two indexes cannot disagree
//! because only this file touches them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::addr::ClientAddr;
use super::allocation::{Allocation, AllocationId, Listing};

/// The indexes.
#[derive(Debug)]
pub struct Table {
    clients: HashMap<ClientAddr, Allocation>,
    deadlines: BTreeMap<(Instant, AllocationId), ClientAddr>,
    epoch: Instant,
}

/// A lapsed seat's allocation ends when its client has been silent for this long.
const SILENCE: Duration = Duration::from_secs(60);

impl Table {
    /// Empty; pulses count from `epoch`.
    pub fn new(epoch: Instant) -> Self {
        Self { clients: HashMap::new(), deadlines: BTreeMap::new(), epoch }
    }

    /// The allocation of `client`.
    pub fn of(&self, client: &ClientAddr) -> Option<&Allocation> {
        self.clients.get(client)
    }

    /// Enters an allocation; its client must have none.
    pub fn insert(&mut self, mut allocation: Allocation) {
        let client = allocation.listing.client;
        allocation.deadline = allocation.due(SILENCE, self.epoch);
        self.deadlines.insert((allocation.deadline, allocation.id), client);
        let before = self.clients.insert(client, allocation);
        debug_assert!(before.is_none());
    }

    /// Changes an allocation and files its deadline anew. `None` where the client has none.
    pub fn change<T>(&mut self, client: &ClientAddr, change: impl FnOnce(&mut Allocation) -> T) -> Option<T> {
        let allocation = self.clients.get_mut(client)?;
        let changed = change(allocation);
        let due = allocation.due(SILENCE, self.epoch);
        if due != allocation.deadline {
            self.deadlines.remove(&(allocation.deadline, allocation.id));
            allocation.deadline = due;
            self.deadlines.insert((due, allocation.id), *client);
        }
        Some(changed)
    }

    /// Takes an allocation out.
    pub fn remove(&mut self, client: &ClientAddr) -> Option<Allocation> {
        let allocation = self.clients.remove(client)?;
        self.deadlines.remove(&(allocation.deadline, allocation.id));
        Some(allocation)
    }

    /// The first client whose allocation has ended by `now`. One whose client was heard meanwhile
    /// is filed anew instead.
    pub fn next_ended(&mut self, now: Instant) -> Option<ClientAddr> {
        loop {
            let (&(deadline, _), &client) = self.deadlines.first_key_value()?;
            if deadline > now {
                return None;
            }
            self.refile(&client);
            if self.clients.get(&client).is_none_or(|allocation| allocation.deadline <= now) {
                return Some(client);
            }
        }
    }

    /// Files a deadline anew, for a client that may have been heard since.
    fn refile(&mut self, client: &ClientAddr) {
        self.change(client, |_| ());
    }

    /// When [`Self::next_ended`] should be asked next.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first_key_value().map(|((deadline, _), _)| *deadline)
    }

    /// All clients that have an allocation.
    pub fn clients(&self) -> impl Iterator<Item = &ClientAddr> {
        self.clients.keys()
    }

    /// The published half of each allocation, for changing.
    pub fn listings_mut(&mut self) -> impl Iterator<Item = &mut Arc<Listing>> {
        self.clients.values_mut().map(|allocation| &mut allocation.listing)
    }

    /// How many there are; both indexes agree on it.
    pub fn len(&self) -> usize {
        debug_assert_eq!(self.clients.len(), self.deadlines.len());
        self.clients.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }
}
