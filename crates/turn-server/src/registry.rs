//! What is lent to whom: ports, ports kept for later, and how many allocations each holder has.
//!
//! One for all workers, so that a quota is a quota whichever worker the kernel picks.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::ops::{Bound, RangeInclusive};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::addr::{ClientAddr, Families, Family, RelayedAddr};
use super::allocation::{Activity, Extras};
use super::error::Refusal;
use super::port_pool::PortPool;
use super::request::{AddressRequest, Parity};
use super::shares::{PortShares, per_source};
use crate::credential::Principal;
use webrtc_box_rate_limit::SourcePrefix;

/// The books of a relay.
#[derive(Debug)]
pub struct AllocationRegistry {
    v4: PortPool,
    v6: PortPool,
    reservations: Vec<Reservation>,
    principals: HashMap<Principal, Vec<AllocationEntry>>,
    /// AllocationCounts by source: IPv4 address, IPv6 /64, /56 and /48.
    sources: HashMap<SourcePrefix, u32>,
    /// All allocations by when they were last heard, as far as is known: never too late.
    by_last_seen: BTreeMap<IdleKey, (Principal, ClientAddr)>,
    /// How many have been entered.
    inserted: u64,
    total: u32,
    /// Of which by clients who only test.
    testers: u32,
    /// Those by source.
    tester_quota: HashMap<SourcePrefix, u32>,
    shares: PortShares,
    epoch: Instant,
}

/// An allocation as the register knows it.
#[derive(Clone, Debug)]
pub struct AllocationEntry {
    /// Which worker it belongs to.
    pub worker: usize,
    /// Whose it is.
    pub client: ClientAddr,
    /// When it was last heard.
    pub activity: Arc<Activity>,
    idle_key: IdleKey,
}

/// Under what an entry is filed by its silence.
type IdleKey = (Instant, u64);

/// How many allocations there may be; 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// For one holder.
    pub user: u32,
    /// In all.
    pub total: u32,
}

/// What an Allocate is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortLease {
    /// The relayed addresses.
    pub relayed: Families<RelayedAddr>,
    /// A kept port, or why the second family is missing.
    pub extras: Extras,
}

/// Who asks for a relayed address.
#[derive(Clone, Copy, Debug)]
pub struct Requester<'a> {
    /// Whom its credential names.
    pub principal: &'a Principal,
    /// Where it asks from.
    pub client: ClientAddr,
}

/// A port kept under a token (RFC 8656 §7.2).
#[derive(Clone, Debug)]
struct Reservation {
    token: [u8; 8],
    principal: Principal,
    /// Whom it counts for.
    source: Option<SourcePrefix>,
    relayed: RelayedAddr,
    expires: Instant,
}

/// An allocation silent for this long gives way when its holder wants another: old networks leave
/// dead ones behind.
const IDLE_AFTER: Duration = Duration::from_secs(30);
/// How long a reservation is kept (RFC 8656 §7.2).
const RESERVATION_LIFETIME: Duration = Duration::from_secs(30);
/// Ports one holder may have kept at a time.
const MAX_RESERVATIONS_PER_PRINCIPAL: usize = 8;
/// Silent allocations that are looked at to find one that gives way.
const MAX_IDLE_CANDIDATES: usize = 256;

impl AllocationRegistry {
    /// Nothing lent yet; silence counts from `epoch`.
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
            tester_quota: HashMap::new(),
            shares: PortShares::of(pool().free()),
            epoch,
        }
    }

    /// Enters one more allocation of `holder`; returns the long-silent one it takes the place of,
    /// which its worker must now end.
    ///
    /// # Errors
    /// 486 where the holder has all it may have and all of them are in use, or its source has its
    /// share of the ports; 508 where the box has all it may have.
    pub fn insert(
        &mut self,
        principal: &Principal,
        entry: AllocationEntry,
        quota: Quota,
        now: Instant,
    ) -> Result<Option<AllocationEntry>, Refusal> {
        let held_by_source = self.principals.get(principal).map_or(0, Vec::len);
        if quota.user != 0 && held_by_source >= quota.user as usize {
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
            let is_valid_for = self.held_by_source(widest_prefix(entry.client));
            let evicted = self.find_idle(principal, entry.client, is_valid_for, now);
            Some(evicted.ok_or(Refusal::InsufficientCapacity)?)
        } else {
            None
        };
        self.check_source_quota(&entry)?;
        evicted.iter().for_each(|(principal, evicted)| self.remove(principal, evicted.client));
        self.add_entry(principal, entry);
        Ok(evicted.map(|(_, evicted)| evicted))
    }

    /// Where hardly a port is left for `wants`: the long-silent allocation that gives way to `client`,
    /// struck out; its worker must now end it.
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
        // Its own entry is among them already.
        let is_valid_for = self.held_by_source(widest_prefix(client)).saturating_sub(1);
        let (of, evicted) = self.find_idle(principal, client, is_valid_for, now)?;
        self.remove(&of, evicted.client);
        Some(evicted)
    }

    /// Strikes an allocation out, if it is still in.
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
            widest_prefix(client).into_iter().for_each(|source| decrement(&mut self.tester_quota, source));
        }
    }

    /// The allocations of `holder` that belong to `worker`.
    pub fn clients_of(&self, principal: &Principal, worker: usize) -> Vec<ClientAddr> {
        let entries = self.principals.get(principal).into_iter().flatten();
        entries.filter(|entry| entry.worker == worker).map(|entry| entry.client).collect()
    }

    /// How many allocations there are.
    pub fn total(&self) -> u32 {
        self.total
    }

    /// Lends what is wanted, of the addresses in `lent`. `chance` picks ports and tokens.
    ///
    /// # Errors
    /// 440 where there is no address of the family, 508 where no port is left, the token is not
    /// good, or too many ports are kept, for the holder, its source or in all.
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

    /// Takes a port back.
    pub fn release_port(&mut self, relayed: RelayedAddr) {
        self.pool(Family::of(relayed.0.ip())).release(relayed.0.port());
    }

    /// Ports that can still be lent, of both families; kept ones do not count.
    pub fn free_ports(&mut self, now: Instant) -> usize {
        self.expire_reservations(now);
        self.v4.free() + self.v6.free()
    }

    /// The host itself may be a proxy with everybody behind it.
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
                .for_each(|source| *self.tester_quota.entry(source).or_default() += 1);
        }
    }

    /// Those who only test have a share in all, and one source an eighth of it.
    fn check_tester_quota(&self, entry: &AllocationEntry, total: u32) -> Result<(), Refusal> {
        let share = self.shares.tester_quota(total);
        let held_by_source = widest_prefix(entry.client).and_then(|source| self.tester_quota.get(&source));
        let exempt = entry.client.remote.ip().is_loopback();
        let full =
            held_by_source.is_some_and(|held_by_source| *held_by_source >= per_source(share as usize) as u32);
        if self.testers >= share || (full && !exempt) { Err(Refusal::InsufficientCapacity) } else { Ok(()) }
    }

    fn held_by_source(&self, source: Option<SourcePrefix>) -> u32 {
        source.and_then(|source| self.sources.get(&source)).copied().unwrap_or_default()
    }

    /// The allocation, of any holder, that has been silent for longest and gives way to another of `client`:
    /// its source is the same or holds more than `holds`, so that a source with many cannot take from one
    /// with few. Who only tests takes from nobody.
    fn find_idle(
        &mut self,
        principal: &Principal,
        client: ClientAddr,
        is_valid_for: u32,
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
            let (of, entry) = self.refresh_last_seen(idle_key)?;
            let source = widest_prefix(entry.client);
            let gives_way = source == widest_prefix(client) || self.held_by_source(source) > is_valid_for;
            if entry.idle_key.0 + IDLE_AFTER <= now && gives_way {
                return Some((of, entry));
            }
            after = Bound::Excluded(idle_key);
        }
        None
    }

    /// The entry filed there, filed anew by when it was really last heard.
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
        let of = |counts: &dyn Fn(&Reservation) -> bool| {
            self.reservations.iter().filter(|one| counts(one)).count()
        };
        let (source, exempt) = (widest_prefix(requester.client), requester.client.remote.ip().is_loopback());
        of(&|one| one.principal == *requester.principal) < MAX_RESERVATIONS_PER_PRINCIPAL
            && (exempt || of(&|one| one.source == source) < per_source(self.shares.reservations))
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

    /// A token is good for the holder it was given to, once.
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
        let (reservation, expired): (Vec<_>, Vec<_>) =
            self.reservations.drain(..).partition(|reservation| reservation.expires > now);
        self.reservations = reservation;
        expired.into_iter().for_each(|evicted| self.release_port(evicted.relayed));
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

    /// A seat costs a stranger nothing, its address does.
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

/// The widest prefix that a client is counted by.
fn widest_prefix(client: ClientAddr) -> Option<SourcePrefix> {
    SourcePrefix::of(client.remote.ip()).into_iter().flatten().last()
}
