//! One worker's allocations, found by client and by deadline; the two indexes cannot disagree
//! because only this file touches them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::addr::ClientAddr;
use super::allocation::{Allocation, AllocationId, Route};

/// The indexes.
#[derive(Debug)]
pub struct AllocationTable {
    clients: HashMap<ClientAddr, Allocation>,
    deadlines: BTreeMap<(Instant, AllocationId), ClientAddr>,
    epoch: Instant,
}

/// A lapsed seat's allocation ends when its client has been silent for this long.
const ORPHAN_IDLE_TIMEOUT: Duration = Duration::from_secs(60);

impl AllocationTable {
    /// Empty; pulses count from `epoch`.
    pub fn new(epoch: Instant) -> Self {
        Self { clients: HashMap::new(), deadlines: BTreeMap::new(), epoch }
    }

    /// The allocation of `client`.
    pub fn get(&self, client: &ClientAddr) -> Option<&Allocation> {
        self.clients.get(client)
    }

    /// Enters an allocation; its client must have none.
    pub fn insert(&mut self, mut allocation: Allocation) {
        let client = allocation.route.client;
        allocation.deadline = allocation.compute_deadline(ORPHAN_IDLE_TIMEOUT, self.epoch);
        self.deadlines.insert((allocation.deadline, allocation.id), client);
        let before = self.clients.insert(client, allocation);
        debug_assert!(before.is_none());
    }

    /// Changes an allocation and files its deadline anew. `None` where the client has none.
    pub fn update<T>(&mut self, client: &ClientAddr, update: impl FnOnce(&mut Allocation) -> T) -> Option<T> {
        let allocation = self.clients.get_mut(client)?;
        let updated = update(allocation);
        let compute_deadline = allocation.compute_deadline(ORPHAN_IDLE_TIMEOUT, self.epoch);
        if compute_deadline != allocation.deadline {
            self.deadlines.remove(&(allocation.deadline, allocation.id));
            allocation.deadline = compute_deadline;
            self.deadlines.insert((compute_deadline, allocation.id), *client);
        }
        Some(updated)
    }

    /// Takes an allocation out.
    pub fn remove(&mut self, client: &ClientAddr) -> Option<Allocation> {
        let allocation = self.clients.remove(client)?;
        self.deadlines.remove(&(allocation.deadline, allocation.id));
        Some(allocation)
    }

    /// The first client whose allocation has ended by `now`. One whose client was heard meanwhile
    /// is filed anew instead.
    pub fn next_expired(&mut self, now: Instant) -> Option<ClientAddr> {
        loop {
            let (&(deadline, _), &client) = self.deadlines.first_key_value()?;
            if deadline > now {
                return None;
            }
            self.refresh_deadline(&client);
            if self.clients.get(&client).is_none_or(|allocation| allocation.deadline <= now) {
                return Some(client);
            }
        }
    }

    /// Files a deadline anew, for a client that may have been heard since.
    fn refresh_deadline(&mut self, client: &ClientAddr) {
        self.update(client, |_| ());
    }

    /// When [`Self::next_expired`] should be asked next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first_key_value().map(|((deadline, _), _)| *deadline)
    }

    /// All clients that have an allocation.
    pub fn clients(&self) -> impl Iterator<Item = &ClientAddr> {
        self.clients.keys()
    }

    /// The published half of each allocation, for changing.
    pub fn routes_mut(&mut self) -> impl Iterator<Item = &mut Arc<Route>> {
        self.clients.values_mut().map(|allocation| &mut allocation.route)
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
