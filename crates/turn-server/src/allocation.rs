//! One worker's allocations, found by client and by deadline (RFC 8656 §3.2).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::addr::ClientAddr;
use crate::auth::IntegrityKey;
use crate::credential::Principal;
use crate::response::Refusal;
use crate::routing_table::Route;

/// What only its own worker knows of an allocation.
#[derive(Debug)]
pub struct Allocation {
    /// Unique in its worker, never reused.
    pub id: AllocationId,
    /// The published part.
    pub route: Arc<Route>,
    /// Named by the credential that opened it.
    pub principal: Principal,
    /// USERNAME of that credential: requests with another get 441.
    pub username: Box<str>,
    /// Signs replies.
    pub key: IntegrityKey,
    /// Transaction id of its Allocate, by which a retransmission is recognised.
    pub transaction: [u8; 12],
    /// When it ends unless refreshed.
    pub expires: Instant,
    /// Set if its participant expired: it then also ends when idle, and at this moment in any case.
    pub orphaned: Option<Instant>,
    /// When its client was last active; other workers read it.
    pub activity: Arc<Activity>,
    /// Its key in the index of deadlines.
    pub deadline: Instant,
    /// Parts of its Allocate reply beyond addresses and lifetime.
    pub extras: Extras,
}

/// Parts of an Allocate reply that only some clients ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// The token of the reserved next port.
    pub reservation: Option<[u8; 8]>,
    /// Why there is no address of the second family.
    pub second_family: Option<Refusal>,
}

/// Identifies an allocation within its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AllocationId(pub u64);

/// When a client was last active, and how much it has sent. One worker writes it; all workers read it to find the
/// longest idle allocation.
#[derive(Debug, Default)]
pub struct Activity {
    /// Whole seconds since the epoch.
    last_seen: AtomicU64,
    /// Bytes of payload.
    sent: AtomicU64,
}

/// The indexes of a worker's allocations.
#[derive(Debug)]
pub struct AllocationTable {
    clients: HashMap<ClientAddr, Allocation>,
    deadlines: BTreeMap<(Instant, AllocationId), ClientAddr>,
    last_id: u64,
    epoch: Instant,
}

/// How long an allocation may be idle after its participant expired.
const ORPHAN_IDLE_TIMEOUT: Duration = Duration::from_secs(60);

impl Allocation {
    /// When it must be looked at: at its expiry, or if its participant expired at the end of its idle time or of the
    /// credentials.
    fn compute_deadline(&self, epoch: Instant) -> Instant {
        match self.orphaned {
            None => self.expires,
            Some(end) => self.expires.min(end).min(self.activity.last_seen(epoch) + ORPHAN_IDLE_TIMEOUT),
        }
    }
}

impl Activity {
    /// Notes that the client is active. Writes only when the second has changed, so that packets do not contend for a
    /// cache line.
    pub fn touch(&self, now: Instant, epoch: Instant) {
        let second = now.saturating_duration_since(epoch).as_secs();
        if self.last_seen.load(Ordering::Relaxed) != second {
            self.last_seen.store(second, Ordering::Relaxed);
        }
    }

    /// Counts payload bytes of the client. Only its own worker does, so a load and a store are enough.
    pub fn add_sent(&self, bytes: usize) {
        let sent = self.sent.load(Ordering::Relaxed).wrapping_add(bytes as u64);
        self.sent.store(sent, Ordering::Relaxed);
    }

    /// Payload bytes of the client that were relayed.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// When the client was last active, to the second.
    pub fn last_seen(&self, epoch: Instant) -> Instant {
        epoch + Duration::from_secs(self.last_seen.load(Ordering::Relaxed))
    }
}

impl AllocationTable {
    /// An empty table. Activity counts from `epoch`.
    pub fn new(epoch: Instant) -> Self {
        Self { clients: HashMap::new(), deadlines: BTreeMap::new(), last_id: 0, epoch }
    }

    /// An id for a new allocation.
    pub fn next_id(&mut self) -> AllocationId {
        self.last_id += 1;
        AllocationId(self.last_id)
    }

    /// The allocation of `client`.
    pub fn get(&self, client: &ClientAddr) -> Option<&Allocation> {
        self.clients.get(client)
    }

    /// Inserts an allocation. Its client must have none.
    pub fn insert(&mut self, mut allocation: Allocation) {
        let client = allocation.route.client;
        allocation.deadline = allocation.compute_deadline(self.epoch);
        self.deadlines.insert((allocation.deadline, allocation.id), client);
        let before = self.clients.insert(client, allocation);
        debug_assert!(before.is_none());
    }

    /// Changes an allocation and updates its deadline. `None` if the client has none.
    pub fn update<T>(&mut self, client: &ClientAddr, update: impl FnOnce(&mut Allocation) -> T) -> Option<T> {
        let allocation = self.clients.get_mut(client)?;
        let updated = update(allocation);
        let deadline = allocation.compute_deadline(self.epoch);
        if deadline != allocation.deadline {
            self.deadlines.remove(&(allocation.deadline, allocation.id));
            allocation.deadline = deadline;
            self.deadlines.insert((deadline, allocation.id), *client);
        }
        Some(updated)
    }

    /// Removes an allocation.
    pub fn remove(&mut self, client: &ClientAddr) -> Option<Allocation> {
        let allocation = self.clients.remove(client)?;
        self.deadlines.remove(&(allocation.deadline, allocation.id));
        Some(allocation)
    }

    /// The first client whose allocation has ended by `now`. The deadline of a client that was active meanwhile is
    /// updated instead.
    pub fn next_expired(&mut self, now: Instant) -> Option<ClientAddr> {
        loop {
            let (&(deadline, _), &client) = self.deadlines.first_key_value()?;
            if deadline > now {
                return None;
            }
            self.update(&client, |_| ());
            if self.clients.get(&client).is_none_or(|allocation| allocation.deadline <= now) {
                return Some(client);
            }
        }
    }

    /// When to call [`Self::next_expired`] next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first_key_value().map(|((deadline, _), _)| *deadline)
    }

    /// All clients that have an allocation.
    pub fn clients(&self) -> impl Iterator<Item = &ClientAddr> {
        self.clients.keys()
    }

    /// The published part of each allocation.
    pub fn routes_mut(&mut self) -> impl Iterator<Item = &mut Arc<Route>> {
        self.clients.values_mut().map(|allocation| &mut allocation.route)
    }

    /// Number of allocations.
    pub fn len(&self) -> usize {
        debug_assert_eq!(self.clients.len(), self.deadlines.len());
        self.clients.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }
}
