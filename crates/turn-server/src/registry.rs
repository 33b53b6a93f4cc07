//! Ports, reservations and quotas of all workers.
//!
//! One registry for all workers, so that a quota holds whichever worker the kernel chooses for a client.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::ops::{Bound, RangeInclusive};
use std::sync::Arc;
use std::time::{Duration, Instant};

use webrtc_box_rate_limit::SourcePrefix;

use crate::addr::{ClientAddr, Families, Family, RelayedAddr};
use crate::allocation::{Activity, Extras};
use crate::credential::Principal;
use crate::port_pool::{PortPool, PortShares};
use crate::request::{AddressRequest, Parity};
use crate::response::Refusal;

/// Ports, reservations and quotas of a relay.
#[derive(Debug)]
pub struct AllocationRegistry {
    v4: PortPool,
    v6: PortPool,
    reservations: Vec<Reservation>,
    principals: HashMap<Principal, Vec<AllocationEntry>>,
    /// Allocations by source: IPv4 address, IPv6 /64, /56 and /48.
    sources: HashMap<SourcePrefix, u32>,
    /// All allocations by last activity. The key may be older than the real one, never newer.
    by_last_seen: BTreeMap<IdleKey, (Principal, ClientAddr)>,
    /// Number of insertions so far, which makes the keys unique.
    inserted: u64,
    total: u32,
    /// Allocations of connection tests.
    testers: u32,
    /// Allocations of connection tests, by source.
    testers_by_source: HashMap<SourcePrefix, u32>,
    shares: PortShares,
    epoch: Instant,
}

/// An allocation in the registry.
#[derive(Clone, Debug)]
pub struct AllocationEntry {
    /// Its worker.
    pub worker: usize,
    /// Its client.
    pub client: ClientAddr,
    /// Its last activity.
    pub activity: Arc<Activity>,
    idle_key: IdleKey,
}

/// The key of an entry in the order of last activity.
type IdleKey = (Instant, u64);

/// Limits on the number of allocations; 0: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Of one principal.
    pub user: u32,
    /// Of the whole server.
    pub total: u32,
}

/// The ports reserved for an Allocate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortLease {
    /// The relayed addresses.
    pub relayed: Families<RelayedAddr>,
    /// The token of a reserved next port, and why there is no address of the second family.
    pub extras: Extras,
}

/// The client that requests a relayed address.
#[derive(Clone, Copy, Debug)]
pub struct Requester<'a> {
    /// The user that its credential names.
    pub principal: &'a Principal,
    /// Its address.
    pub client: ClientAddr,
}

/// A port reserved for a later Allocate with its token (RFC 8656 §7.2).
#[derive(Clone, Debug)]
struct Reservation {
    token: [u8; 8],
    principal: Principal,
    /// The source that it counts for.
    source: Option<SourcePrefix>,
    relayed: RelayedAddr,
    expires: Instant,
}

/// An allocation that is idle for this long may be evicted: clients leave such ones behind when they change networks.
const IDLE_AFTER: Duration = Duration::from_secs(30);
/// How long a reservation is kept (RFC 8656 §7.2).
const RESERVATION_LIFETIME: Duration = Duration::from_secs(30);
/// Reservations of one principal at a time.
const MAX_RESERVATIONS_PER_PRINCIPAL: usize = 8;
/// Idle allocations that are considered for eviction.
const MAX_IDLE_CANDIDATES: usize = 256;

impl AllocationRegistry {
    /// A registry without allocations, for the ports in `ports` without `excluded`. Activity counts from `epoch`.
    pub fn new(ports: &RangeInclusive<u16>, excluded: &[u16], epoch: Instant) -> Self {
        let pool = || PortPool::new(ports, excluded);
        Self {
            v4: pool(),
            v6: pool(),
            reservations: Vec::new(),
            principals: HashMap::new(),
            sources: HashMap::new(),
            by_last_seen: BTreeMap::new(),
            inserted: 0,
            total: 0,
            testers: 0,
            testers_by_source: HashMap::new(),
            shares: PortShares::of(pool().free()),
            epoch,
        }
    }

    /// Enters an allocation of `principal`. Returns the idle allocation that was removed for it and that its worker must
    /// now close.
    ///
    /// # Errors
    /// 486 if the principal has reached its quota and none of its allocations is idle, or its source has reached its share
    /// of the ports; 508 if the server has reached its quota and no idle allocation may be evicted, or connection tests
    /// have reached their share.
    pub fn insert(
        &mut self,
        principal: &Principal,
        entry: AllocationEntry,
        quota: Quota,
        now: Instant,
    ) -> Result<Option<AllocationEntry>, Refusal> {
        let held = self.principals.get(principal).map_or(0, Vec::len);
        if quota.user != 0 && held >= quota.user as usize {
            let evicted = self.longest_idle(principal, now).ok_or(Refusal::QuotaReached)?;
            if evicted.sources() != entry.sources() {
                self.check_source_quota(&entry)?;
            }
            self.remove(principal, evicted.client);
            self.add_entry(principal, entry);
            return Ok(Some(evicted));
        }
        if principal.is_confined() {
            self.check_tester_quota(&entry, quota.total)?;
        }
        let full = quota.total != 0 && self.total >= quota.total;
        let evicted = if full {
            let held = self.held_by_source(widest_prefix(entry.client));
            let evicted = self.find_idle(principal, entry.client, held, now);
            Some(evicted.ok_or(Refusal::InsufficientCapacity)?)
        } else {
            None
        };
        self.check_source_quota(&entry)?;
        evicted.iter().for_each(|(principal, evicted)| self.remove(principal, evicted.client));
        self.add_entry(principal, entry);
        Ok(evicted.map(|(_, evicted)| evicted))
    }

    /// If hardly any port is free for `address_request`, removes an idle allocation in favour of `client` and returns it.
    /// Its worker must now close it.
    pub fn evict_idle(
        &mut self,
        address_request: &AddressRequest,
        principal: &Principal,
        client: ClientAddr,
        now: Instant,
    ) -> Option<AllocationEntry> {
        self.expire_reservations(now);
        let free = match address_request {
            AddressRequest::Single { family, .. } => self.pool(*family).free(),
            AddressRequest::Dual { .. } => self.v4.free().min(self.v6.free()),
            AddressRequest::Reserved(_) => return None,
        };
        if free > self.shares.scarce {
            return None;
        }
        // The new allocation is counted already.
        let held = self.held_by_source(widest_prefix(client)).saturating_sub(1);
        let (owner, evicted) = self.find_idle(principal, client, held, now)?;
        self.remove(&owner, evicted.client);
        Some(evicted)
    }

    /// Removes an allocation, if it is still there.
    pub fn remove(&mut self, principal: &Principal, client: ClientAddr) {
        let Some(entries) = self.principals.get_mut(principal) else { return };
        let Some(at) = entries.iter().position(|entry| entry.client == client) else { return };
        let entry = entries.swap_remove(at);
        if entries.is_empty() {
            self.principals.remove(principal);
        }
        self.by_last_seen.remove(&entry.idle_key);
        self.total -= 1;
        for source in entry.sources().into_iter().flatten() {
            decrement(&mut self.sources, source);
        }
        if principal.is_confined() {
            self.testers -= 1;
            widest_prefix(client)
                .into_iter()
                .for_each(|source| decrement(&mut self.testers_by_source, source));
        }
    }

    /// The clients of the allocations that `principal` has on `worker`.
    pub fn clients_of(&self, principal: &Principal, worker: usize) -> Vec<ClientAddr> {
        let entries = self.principals.get(principal).into_iter().flatten();
        entries.filter(|entry| entry.worker == worker).map(|entry| entry.client).collect()
    }

    /// Number of allocations.
    pub fn total(&self) -> u32 {
        self.total
    }

    /// The activity of every allocation.
    pub fn activities(&self) -> Vec<Arc<Activity>> {
        self.principals.values().flatten().map(|entry| Arc::clone(&entry.activity)).collect()
    }

    /// Reserves the requested ports, on the addresses in `relayed_ips`. Ports and tokens follow from `rng`.
    ///
    /// # Errors
    /// 440 if the server has no address of the family; 508 if no port is free, the token is invalid, or the principal, its
    /// source or all clients together have too many reservations.
    pub fn reserve_port(
        &mut self,
        address_request: &AddressRequest,
        requester: Requester<'_>,
        relayed_ips: &Families<IpAddr>,
        rng: &mut dyn FnMut() -> u64,
        now: Instant,
    ) -> Result<PortLease, Refusal> {
        self.expire_reservations(now);
        match address_request {
            AddressRequest::Single { family, parity } => {
                self.reserve_single(*family, *parity, requester, relayed_ips, rng, now)
            }
            AddressRequest::Dual { parity } => self.reserve_dual(*parity, requester, relayed_ips, rng, now),
            AddressRequest::Reserved(token) => self.redeem_reservation(token, requester.principal),
        }
    }

    /// Returns a port.
    pub fn release_port(&mut self, relayed: RelayedAddr) {
        self.pool(Family::of(relayed.0.ip())).release(relayed.0.port());
    }

    /// Number of free ports of both families. Reserved ports are not free.
    pub fn free_ports(&mut self, now: Instant) -> usize {
        self.expire_reservations(now);
        self.v4.free() + self.v6.free()
    }

    /// Loopback clients are exempt: a proxy on the host may send the traffic of all clients.
    fn check_source_quota(&self, entry: &AllocationEntry) -> Result<(), Refusal> {
        let mut sources = entry.sources().into_iter().zip(self.shares.source);
        let full = sources.any(|(source, share)| self.held_by_source(source) >= share);
        let exempt = entry.client.remote.ip().is_loopback();
        if full && !exempt { Err(Refusal::QuotaReached) } else { Ok(()) }
    }

    fn add_entry(&mut self, principal: &Principal, mut entry: AllocationEntry) {
        let client = entry.client;
        for source in entry.sources().into_iter().flatten() {
            *self.sources.entry(source).or_default() += 1;
        }
        self.inserted += 1;
        entry.idle_key = (entry.activity.last_seen(self.epoch), self.inserted);
        self.by_last_seen.insert(entry.idle_key, (principal.clone(), client));
        self.principals.entry(principal.clone()).or_default().push(entry);
        self.total += 1;
        if principal.is_confined() {
            self.testers += 1;
            widest_prefix(client)
                .into_iter()
                .for_each(|source| *self.testers_by_source.entry(source).or_default() += 1);
        }
    }

    /// Connection tests have a share of the ports, and one source an eighth of that share.
    fn check_tester_quota(&self, entry: &AllocationEntry, total: u32) -> Result<(), Refusal> {
        let share = self.shares.tester_quota(total);
        let held = widest_prefix(entry.client).and_then(|source| self.testers_by_source.get(&source));
        let exempt = entry.client.remote.ip().is_loopback();
        let full = held.is_some_and(|held| *held >= PortShares::per_source(share as usize) as u32);
        if self.testers >= share || (full && !exempt) { Err(Refusal::InsufficientCapacity) } else { Ok(()) }
    }

    fn held_by_source(&self, source: Option<SourcePrefix>) -> u32 {
        source.and_then(|source| self.sources.get(&source)).copied().unwrap_or_default()
    }

    /// The longest idle allocation that may be evicted in favour of `client`: its source is that of `client`, or has more
    /// allocations than the `held` ones of the client's source. So a source with many allocations cannot evict those of a
    /// source with few. A connection test evicts none.
    fn find_idle(
        &mut self,
        principal: &Principal,
        client: ClientAddr,
        held: u32,
        now: Instant,
    ) -> Option<(Principal, AllocationEntry)> {
        if principal.is_confined() {
            return None;
        }
        let mut after = Bound::Unbounded;
        for _ in 0..MAX_IDLE_CANDIDATES {
            let (&idle_key, _) = self.by_last_seen.range((after, Bound::Unbounded)).next()?;
            if idle_key.0 + IDLE_AFTER > now {
                return None;
            }
            let (owner, entry) = self.refresh_last_seen(idle_key)?;
            let source = widest_prefix(entry.client);
            let may_evict = source == widest_prefix(client) || self.held_by_source(source) > held;
            if entry.idle_key.0 + IDLE_AFTER <= now && may_evict {
                return Some((owner, entry));
            }
            after = Bound::Excluded(idle_key);
        }
        None
    }

    /// The entry with this key, after its key was updated to its real last activity.
    fn refresh_last_seen(&mut self, idle_key: IdleKey) -> Option<(Principal, AllocationEntry)> {
        let (principal, client) = self.by_last_seen.remove(&idle_key)?;
        let entries = self.principals.get_mut(&principal)?;
        let entry = entries.iter_mut().find(|entry| entry.client == client)?;
        entry.idle_key.0 = entry.activity.last_seen(self.epoch);
        let entry = entry.clone();
        self.by_last_seen.insert(entry.idle_key, (principal.clone(), client));
        Some((principal, entry))
    }

    fn longest_idle(&self, principal: &Principal, now: Instant) -> Option<AllocationEntry> {
        let last_seen = |entry: &&AllocationEntry| entry.activity.last_seen(self.epoch);
        let longest = self.principals.get(principal)?.iter().min_by_key(last_seen)?;
        (last_seen(&longest) + IDLE_AFTER <= now).then(|| longest.clone())
    }

    fn reserve_single(
        &mut self,
        family: Family,
        parity: Parity,
        requester: Requester<'_>,
        relayed_ips: &Families<IpAddr>,
        rng: &mut dyn FnMut() -> u64,
        now: Instant,
    ) -> Result<PortLease, Refusal> {
        let ip = *relayed_ips.of(family).ok_or(Refusal::FamilyNotSupported)?;
        if parity == Parity::EvenAndNext && !self.can_reserve(requester) {
            return Err(Refusal::InsufficientCapacity);
        }
        let port = self.pool(family).reserve(parity, rng()).ok_or(Refusal::InsufficientCapacity)?;
        let mut lease = PortLease { relayed: Families::default(), extras: Extras::default() };
        *lease.relayed.of_mut(family) = Some(RelayedAddr(SocketAddr::new(ip, port)));
        if parity == Parity::EvenAndNext {
            let token = rng().to_be_bytes();
            let relayed = RelayedAddr(SocketAddr::new(ip, port + 1));
            let expires = now + RESERVATION_LIFETIME;
            let (principal, source) = (requester.principal.clone(), widest_prefix(requester.client));
            self.reservations.push(Reservation { token, principal, source, relayed, expires });
            lease.extras.reservation = Some(token);
        }
        Ok(lease)
    }

    fn can_reserve(&self, requester: Requester<'_>) -> bool {
        let count = |matches: &dyn Fn(&Reservation) -> bool| {
            self.reservations.iter().filter(|one| matches(one)).count()
        };
        let (source, exempt) = (widest_prefix(requester.client), requester.client.remote.ip().is_loopback());
        count(&|one| one.principal == *requester.principal) < MAX_RESERVATIONS_PER_PRINCIPAL
            && (exempt
                || count(&|one| one.source == source) < PortShares::per_source(self.shares.reservations))
            && self.reservations.len() < self.shares.reservations
    }

    fn reserve_dual(
        &mut self,
        parity: Parity,
        requester: Requester<'_>,
        relayed_ips: &Families<IpAddr>,
        rng: &mut dyn FnMut() -> u64,
        now: Instant,
    ) -> Result<PortLease, Refusal> {
        let mut lease = self.reserve_single(Family::V4, parity, requester, relayed_ips, rng, now)?;
        match self.reserve_single(Family::V6, Parity::Any, requester, relayed_ips, rng, now) {
            Ok(second) => lease.relayed.v6 = second.relayed.v6,
            Err(refusal) => lease.extras.second_family = Some(refusal),
        }
        Ok(lease)
    }

    /// A token is valid once, for the principal that received it.
    fn redeem_reservation(&mut self, token: &[u8; 8], principal: &Principal) -> Result<PortLease, Refusal> {
        let reservation = self
            .reservations
            .iter()
            .position(|reservation| reservation.token == *token && reservation.principal == *principal);
        let reservation = self.reservations.swap_remove(reservation.ok_or(Refusal::InsufficientCapacity)?);
        let mut relayed = Families::default();
        *relayed.of_mut(Family::of(reservation.relayed.0.ip())) = Some(reservation.relayed);
        Ok(PortLease { relayed, extras: Extras::default() })
    }

    fn expire_reservations(&mut self, now: Instant) {
        let (current, expired): (Vec<_>, Vec<_>) =
            self.reservations.drain(..).partition(|reservation| reservation.expires > now);
        self.reservations = current;
        expired.into_iter().for_each(|reservation| self.release_port(reservation.relayed));
    }

    fn pool(&mut self, family: Family) -> &mut PortPool {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }
}

impl AllocationEntry {
    /// An allocation of `client`.
    pub fn new(worker: usize, client: ClientAddr, activity: Arc<Activity>, epoch: Instant) -> Self {
        Self { worker, client, activity, idle_key: (epoch, 0) }
    }

    /// Quotas count by source, because an attacker can have more credentials than addresses.
    fn sources(&self) -> [Option<SourcePrefix>; 3] {
        SourcePrefix::of(self.client.remote.ip())
    }
}

fn decrement(counts: &mut HashMap<SourcePrefix, u32>, source: SourcePrefix) {
    if let Some(count) = counts.get_mut(&source) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&source);
        }
    }
}

/// The widest prefix of a client's address that quotas count.
fn widest_prefix(client: ClientAddr) -> Option<SourcePrefix> {
    SourcePrefix::of(client.remote.ip()).into_iter().flatten().last()
}
