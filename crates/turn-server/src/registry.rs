//! What is lent to whom: ports, ports kept for later, and how many allocations each holder has.
//!
//! One for all workers, so that a quota is a quota whichever worker the kernel picks.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::ops::{Bound, RangeInclusive};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::addr::{ClientAddr, Families, Family, RelayedAddr};
use super::allocation::{Extras, Pulse};
use super::error::Refusal;
use super::port_pool::PortPool;
use super::request::{Parity, Wants};
use super::shares::{Shares, of_one_source};
use crate::credential::Principal;
use webrtc_box_rate_limit::source::Prefix;

/// The books of a relay.
#[derive(Debug)]
pub struct Register {
    v4: PortPool,
    v6: PortPool,
    reservations: Vec<Reservation>,
    holders: HashMap<Principal, Vec<Entry>>,
    /// Allocations by source: IPv4 address, IPv6 /64, /56 and /48.
    sources: HashMap<Prefix, u32>,
    /// All allocations by when they were last heard, as far as is known: never too late.
    silence: BTreeMap<Filed, (Principal, ClientAddr)>,
    /// How many have been entered.
    entered: u64,
    total: u32,
    /// Of which by clients who only test.
    testers: u32,
    /// Those by source.
    testers_of: HashMap<Prefix, u32>,
    shares: Shares,
    epoch: Instant,
}

/// An allocation as the register knows it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Which worker it belongs to.
    pub worker: usize,
    /// Whose it is.
    pub client: ClientAddr,
    /// When it was last heard.
    pub pulse: Arc<Pulse>,
    filed: Filed,
}

/// Under what an entry is filed by its silence.
type Filed = (Instant, u64);

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
pub struct Grant {
    /// The relayed addresses.
    pub relayed: Families<RelayedAddr>,
    /// A kept port, or why the second family is missing.
    pub extras: Extras,
}

/// Who asks for a relayed address.
#[derive(Clone, Copy, Debug)]
pub struct Requester<'a> {
    /// Whom its credential names.
    pub holder: &'a Principal,
    /// Where it asks from.
    pub client: ClientAddr,
}

/// A port kept under a token (RFC 8656 §7.2).
#[derive(Clone, Debug)]
struct Reservation {
    token: [u8; 8],
    holder: Principal,
    /// Whom it counts for.
    source: Option<Prefix>,
    relayed: RelayedAddr,
    expires: Instant,
}

/// An allocation silent for this long gives way when its holder wants another: old networks leave
/// dead ones behind.
const SILENT: Duration = Duration::from_secs(30);
/// How long a reservation is kept (RFC 8656 §7.2).
const RESERVATION_LIFE: Duration = Duration::from_secs(30);
/// Ports one holder may have kept at a time.
const RESERVATIONS: usize = 8;
/// Silent allocations that are looked at to find one that gives way.
const SEARCHED: usize = 256;

impl Register {
    /// Nothing lent yet; silence counts from `epoch`.
    pub fn new(ports: &RangeInclusive<u16>, excluded: &[u16], epoch: Instant) -> Self {
        let pool = || PortPool::new(ports, excluded);
        Self {
            v4: pool(),
            v6: pool(),
            reservations: Vec::new(),
            holders: HashMap::new(),
            sources: HashMap::new(),
            silence: BTreeMap::new(),
            entered: 0,
            total: 0,
            testers: 0,
            testers_of: HashMap::new(),
            shares: Shares::of(pool().free()),
            epoch,
        }
    }

    /// Enters one more allocation of `holder`; returns the long-silent one it takes the place of,
    /// which its worker must now end.
    ///
    /// # Errors
    /// 486 where the holder has all it may have and all of them are in use, or its source has its
    /// share of the ports; 508 where the box has all it may have.
    pub fn admit(
        &mut self,
        holder: &Principal,
        entry: Entry,
        quota: Quota,
        now: Instant,
    ) -> Result<Option<Entry>, Refusal> {
        let held = self.holders.get(holder).map_or(0, Vec::len);
        if quota.user != 0 && held >= quota.user as usize {
            let gone = self.longest_silent(holder, now).ok_or(Refusal::QuotaReached)?;
            if gone.sources() != entry.sources() {
                self.may_enter(&entry)?;
            }
            self.strike(holder, gone.client);
            self.enter(holder, entry);
            return Ok(Some(gone));
        }
        if holder.is_confined() {
            self.may_test(&entry, quota.total)?;
        }
        let full = quota.total != 0 && self.total >= quota.total;
        let gone = if full {
            let holds = self.held(widest(entry.client));
            let gone = self.silent_of_all(holder, entry.client, holds, now);
            Some(gone.ok_or(Refusal::InsufficientCapacity)?)
        } else {
            None
        };
        self.may_enter(&entry)?;
        gone.iter().for_each(|(holder, gone)| self.strike(holder, gone.client));
        self.enter(holder, entry);
        Ok(gone.map(|(_, gone)| gone))
    }

    /// Where hardly a port is left for `wants`: the long-silent allocation that gives way to `client`,
    /// struck out; its worker must now end it.
    pub fn make_room(
        &mut self,
        wants: &Wants,
        holder: &Principal,
        client: ClientAddr,
        now: Instant,
    ) -> Option<Entry> {
        self.forget_reservations(now);
        let free = match wants {
            Wants::One { family, .. } => self.pool(*family).free(),
            Wants::Both { .. } => self.v4.free().min(self.v6.free()),
            Wants::Reserved(_) => return None,
        };
        if free > self.shares.scarce {
            return None;
        }
        // Its own entry is among them already.
        let holds = self.held(widest(client)).saturating_sub(1);
        let (of, gone) = self.silent_of_all(holder, client, holds, now)?;
        self.strike(&of, gone.client);
        Some(gone)
    }

    /// Strikes an allocation out, if it is still in.
    pub fn strike(&mut self, holder: &Principal, client: ClientAddr) {
        let Some(entries) = self.holders.get_mut(holder) else { return };
        let Some(at) = entries.iter().position(|entry| entry.client == client) else { return };
        let entry = entries.swap_remove(at);
        if entries.is_empty() {
            self.holders.remove(holder);
        }
        self.silence.remove(&entry.filed);
        self.total -= 1;
        for source in entry.sources().into_iter().flatten() {
            count_down(&mut self.sources, source);
        }
        if holder.is_confined() {
            self.testers -= 1;
            widest(client).into_iter().for_each(|source| count_down(&mut self.testers_of, source));
        }
    }

    /// The allocations of `holder` that belong to `worker`.
    pub fn held_by(&self, holder: &Principal, worker: usize) -> Vec<ClientAddr> {
        let entries = self.holders.get(holder).into_iter().flatten();
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
    pub fn lend(
        &mut self,
        wants: &Wants,
        by: Requester<'_>,
        lent: &Families<IpAddr>,
        chance: &mut dyn FnMut() -> u64,
        now: Instant,
    ) -> Result<Grant, Refusal> {
        self.forget_reservations(now);
        match wants {
            Wants::One { family, parity } => self.lend_one(*family, *parity, by, lent, chance, now),
            Wants::Both { parity } => self.lend_both(*parity, by, lent, chance, now),
            Wants::Reserved(token) => self.lend_reserved(token, by.holder),
        }
    }

    /// Takes a port back.
    pub fn give_back(&mut self, relayed: RelayedAddr) {
        self.pool(Family::of(relayed.0.ip())).give_back(relayed.0.port());
    }

    /// Ports that can still be lent, of both families; kept ones do not count.
    pub fn free_ports(&mut self, now: Instant) -> usize {
        self.forget_reservations(now);
        self.v4.free() + self.v6.free()
    }

    /// The host itself may be a proxy with everybody behind it.
    fn may_enter(&self, entry: &Entry) -> Result<(), Refusal> {
        let mut sources = entry.sources().into_iter().zip(self.shares.source);
        let full = sources.any(|(source, share)| self.held(source) >= share);
        let exempt = entry.client.remote.ip().is_loopback();
        if full && !exempt { Err(Refusal::QuotaReached) } else { Ok(()) }
    }

    fn enter(&mut self, holder: &Principal, mut entry: Entry) {
        let client = entry.client;
        for source in entry.sources().into_iter().flatten() {
            *self.sources.entry(source).or_default() += 1;
        }
        self.entered += 1;
        entry.filed = (entry.pulse.heard(self.epoch), self.entered);
        self.silence.insert(entry.filed, (holder.clone(), client));
        self.holders.entry(holder.clone()).or_default().push(entry);
        self.total += 1;
        if holder.is_confined() {
            self.testers += 1;
            widest(client).into_iter().for_each(|source| *self.testers_of.entry(source).or_default() += 1);
        }
    }

    /// Those who only test have a share in all, and one source an eighth of it.
    fn may_test(&self, entry: &Entry, total: u32) -> Result<(), Refusal> {
        let share = self.shares.testers_of(total);
        let held = widest(entry.client).and_then(|source| self.testers_of.get(&source));
        let exempt = entry.client.remote.ip().is_loopback();
        let full = held.is_some_and(|held| *held >= of_one_source(share as usize) as u32);
        if self.testers >= share || (full && !exempt) { Err(Refusal::InsufficientCapacity) } else { Ok(()) }
    }

    fn held(&self, source: Option<Prefix>) -> u32 {
        source.and_then(|source| self.sources.get(&source)).copied().unwrap_or_default()
    }

    /// The allocation, of any holder, that has been silent for longest and gives way to another of `client`:
    /// its source is the same or holds more than `holds`, so that a source with many cannot take from one
    /// with few. Who only tests takes from nobody.
    fn silent_of_all(
        &mut self,
        holder: &Principal,
        client: ClientAddr,
        holds: u32,
        now: Instant,
    ) -> Option<(Principal, Entry)> {
        if holder.is_confined() {
            return None;
        }
        let mut after = Bound::Unbounded;
        for _ in 0..SEARCHED {
            let (&filed, _) = self.silence.range((after, Bound::Unbounded)).next()?;
            if filed.0 + SILENT > now {
                return None;
            }
            let (of, entry) = self.refiled(filed)?;
            let source = widest(entry.client);
            let gives_way = source == widest(client) || self.held(source) > holds;
            if entry.filed.0 + SILENT <= now && gives_way {
                return Some((of, entry));
            }
            after = Bound::Excluded(filed);
        }
        None
    }

    /// The entry filed there, filed anew by when it was really last heard.
    fn refiled(&mut self, filed: Filed) -> Option<(Principal, Entry)> {
        let (holder, client) = self.silence.remove(&filed)?;
        let entries = self.holders.get_mut(&holder)?;
        let entry = entries.iter_mut().find(|entry| entry.client == client)?;
        entry.filed.0 = entry.pulse.heard(self.epoch);
        let entry = entry.clone();
        self.silence.insert(entry.filed, (holder.clone(), client));
        Some((holder, entry))
    }

    fn longest_silent(&self, holder: &Principal, now: Instant) -> Option<Entry> {
        let heard = |entry: &&Entry| entry.pulse.heard(self.epoch);
        let longest = self.holders.get(holder)?.iter().min_by_key(heard)?;
        (heard(&longest) + SILENT <= now).then(|| longest.clone())
    }

    fn lend_one(
        &mut self,
        family: Family,
        parity: Parity,
        by: Requester<'_>,
        lent: &Families<IpAddr>,
        chance: &mut dyn FnMut() -> u64,
        now: Instant,
    ) -> Result<Grant, Refusal> {
        let ip = *lent.of(family).ok_or(Refusal::FamilyNotSupported)?;
        if parity == Parity::EvenAndNext && !self.may_reserve(by) {
            return Err(Refusal::InsufficientCapacity);
        }
        let port = self.pool(family).take(parity, chance()).ok_or(Refusal::InsufficientCapacity)?;
        let mut grant = Grant { relayed: Families::default(), extras: Extras::default() };
        *grant.relayed.of_mut(family) = Some(RelayedAddr(SocketAddr::new(ip, port)));
        if parity == Parity::EvenAndNext {
            let token = chance().to_be_bytes();
            let relayed = RelayedAddr(SocketAddr::new(ip, port + 1));
            let expires = now + RESERVATION_LIFE;
            let (holder, source) = (by.holder.clone(), widest(by.client));
            self.reservations.push(Reservation { token, holder, source, relayed, expires });
            grant.extras.reservation = Some(token);
        }
        Ok(grant)
    }

    fn may_reserve(&self, by: Requester<'_>) -> bool {
        let of = |counts: &dyn Fn(&Reservation) -> bool| {
            self.reservations.iter().filter(|one| counts(one)).count()
        };
        let (source, exempt) = (widest(by.client), by.client.remote.ip().is_loopback());
        of(&|one| one.holder == *by.holder) < RESERVATIONS
            && (exempt || of(&|one| one.source == source) < of_one_source(self.shares.kept))
            && self.reservations.len() < self.shares.kept
    }

    fn lend_both(
        &mut self,
        parity: Parity,
        by: Requester<'_>,
        lent: &Families<IpAddr>,
        chance: &mut dyn FnMut() -> u64,
        now: Instant,
    ) -> Result<Grant, Refusal> {
        let mut grant = self.lend_one(Family::V4, parity, by, lent, chance, now)?;
        match self.lend_one(Family::V6, Parity::Any, by, lent, chance, now) {
            Ok(second) => grant.relayed.v6 = second.relayed.v6,
            Err(refusal) => grant.extras.second_family = Some(refusal),
        }
        Ok(grant)
    }

    /// A token is good for the holder it was given to, once.
    fn lend_reserved(&mut self, token: &[u8; 8], holder: &Principal) -> Result<Grant, Refusal> {
        let kept = self.reservations.iter().position(|kept| kept.token == *token && kept.holder == *holder);
        let kept = self.reservations.swap_remove(kept.ok_or(Refusal::InsufficientCapacity)?);
        let mut relayed = Families::default();
        *relayed.of_mut(Family::of(kept.relayed.0.ip())) = Some(kept.relayed);
        Ok(Grant { relayed, extras: Extras::default() })
    }

    fn forget_reservations(&mut self, now: Instant) {
        let (kept, expired): (Vec<_>, Vec<_>) =
            self.reservations.drain(..).partition(|kept| kept.expires > now);
        self.reservations = kept;
        expired.into_iter().for_each(|gone| self.give_back(gone.relayed));
    }

    fn pool(&mut self, family: Family) -> &mut PortPool {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }
}

impl Entry {
    /// An allocation of `client`.
    pub fn new(worker: usize, client: ClientAddr, pulse: Arc<Pulse>, epoch: Instant) -> Self {
        Self { worker, client, pulse, filed: (epoch, 0) }
    }

    /// A seat costs a stranger nothing, its address does.
    fn sources(&self) -> [Option<Prefix>; 3] {
        Prefix::of(self.client.remote.ip())
    }
}

fn count_down(counts: &mut HashMap<Prefix, u32>, source: Prefix) {
    if let Some(count) = counts.get_mut(&source) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&source);
        }
    }
}

/// The widest prefix that a client is counted by.
fn widest(client: ClientAddr) -> Option<Prefix> {
    Prefix::of(client.remote.ip()).into_iter().flatten().last()
}
