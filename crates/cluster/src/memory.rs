//! The store in memory, for tests and examples: the same answers as the scripts give, and faults on request.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::registry::{
    Asserted, Assertion, CHOSEN_DURATION, Elsewhere, Identity, LEASE_DURATION, Lease, ListedLease,
    ORDER_DURATION, Owner, PROTOCOL, ROOM_DURATION, Registry, Reply, Request,
};
use crate::{BoxId, ClusterConfig, Fence, NodeName, RoomTag, StoreError};

/// The content of a store. A clone is a snapshot, as a replica has one.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    leases: BTreeMap<BoxId, StoredLease>,
    /// The second box of a name, which gets no lease.
    doubles: BTreeMap<NodeName, (BoxId, Instant)>,
    rooms: HashMap<RoomTag, StoredRoom>,
    lost: BTreeMap<BoxId, BTreeSet<RoomTag>>,
    counter: u64,
    order: Option<(BoxId, Instant)>,
    challenges: HashMap<String, (String, Instant)>,
    session: u64,
}

#[derive(Clone, Debug)]
struct StoredLease {
    lease: Lease,
    withdrawn: bool,
    renewed: Instant,
}

#[derive(Clone, Debug)]
struct StoredRoom {
    key: String,
    owner: BoxId,
    fence: Fence,
    resumes: Fence,
    seats: u64,
    serial: u64,
    expires: Instant,
}

/// A [`Registry`] on a [`MemoryStore`] that boxes of one process share.
#[derive(Clone, Debug)]
pub struct MemoryRegistry {
    identity: Identity,
    store: Arc<Mutex<MemoryStore>>,
    fault: Arc<Mutex<Option<StoreError>>>,
}

impl StoredRoom {
    /// The last fence that clients have tokens of. An owner that another box chose has served nobody before its first
    /// claim.
    fn served_fence(&self) -> Fence {
        if self.serial == 0 { self.resumes } else { self.fence }
    }
}

impl MemoryRegistry {
    /// The registry of one box.
    pub fn new(config: &ClusterConfig, store: Arc<Mutex<MemoryStore>>) -> Self {
        let identity = Identity::of(config);
        Self { identity, store, fault: Arc::default() }
    }

    /// From now on all requests of this box fail with `fault`, or none.
    pub fn set_fault(&self, fault: Option<StoreError>) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }
}

impl Registry for MemoryRegistry {
    async fn call(&self, request: Request) -> Result<Reply, StoreError> {
        let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        fault.map_or_else(|| Ok(store.answer(&self.identity, request, Instant::now())), Err)
    }
}

impl MemoryStore {
    /// Continues with this content as another process: after a restart or a fail-over.
    #[must_use]
    pub fn restarted(self, session: u64) -> Self {
        Self { session, ..self }
    }

    /// Owner and fence of a room, whether or not the owner has a lease.
    pub fn owner(&self, room: RoomTag) -> Option<(&BoxId, Fence)> {
        self.rooms.get(&room).map(|stored| (&stored.owner, stored.fence))
    }

    /// Carries out a request of the box `me`.
    pub fn answer(&mut self, me: &Identity, request: Request, now: Instant) -> Reply {
        self.expire(now);
        match request {
            Request::Renew { lease, withdrawn, floor, extend } => {
                self.renew(me, StoredLease { lease, withdrawn, renewed: now }, floor, &extend)
            }
            Request::Claim { room, serial, floor, elsewhere } => {
                Reply::Owner(self.claim(me, (room, serial), floor, elsewhere, now))
            }
            Request::Look { room } => Reply::Owner(self.look(me, room)),
            Request::Reassert { floor, rooms } => {
                self.counter = self.counter.max(floor.0);
                Reply::Asserted(rooms.iter().map(|room| self.reassert(me, room, now)).collect())
            }
            Request::Release { rooms } => {
                rooms.iter().for_each(|room| self.release(me, *room));
                Reply::Done(true)
            }
            Request::Move { room, fence, serial, floor, random } => {
                let stored = self.usable(me, room);
                let is_late = stored.is_some_and(|stored| stored.owner == me.id && stored.serial > serial);
                let moved = (!is_late).then(|| self.move_room(me, (room, fence), floor, random, now));
                Reply::Moved(moved.flatten())
            }
            Request::Leave => {
                self.leases.remove(&me.id);
                self.lost.remove(&me.id);
                Reply::Done(true)
            }
            Request::Nodes => {
                let mut nodes = self.others(me, now);
                let second = |node: &ListedLease| {
                    let (id, _) = self.doubles.get(&node.id.name).filter(|(double, _)| *double != node.id)?;
                    Some(ListedLease { id: id.clone(), withdrawn: true, age: Duration::ZERO, ..node.clone() })
                };
                let doubles: Vec<ListedLease> = nodes.iter().filter_map(second).collect();
                nodes.extend(doubles);
                Reply::Nodes(nodes)
            }
            Request::LockOrder => Reply::Done(self.lock_order(me, now)),
            Request::UnlockOrder => {
                self.order = self.order.take().filter(|(holder, _)| *holder != me.id);
                Reply::Done(true)
            }
            Request::PutChallenge { domain, value, ttl } => {
                self.challenges.insert(domain, (value, now + ttl));
                Reply::Done(true)
            }
            Request::Challenge { domain } => {
                Reply::Challenge(self.challenges.get(&domain).map(|(value, _)| value.clone()))
            }
        }
    }

    fn release(&mut self, me: &Identity, (room, fence, serial): (RoomTag, Fence, u64)) {
        let matches =
            |stored: &StoredRoom| stored.owner == me.id && (stored.fence, stored.serial) == (fence, serial);
        if self.usable(me, room).is_some_and(matches) {
            self.rooms.remove(&room);
        }
    }

    fn lock_order(&mut self, me: &Identity, now: Instant) -> bool {
        let holder = self.order.as_ref().map(|(holder, _)| holder);
        let is_free = holder.is_none_or(|holder| *holder == me.id || !self.leases.contains_key(holder));
        if is_free {
            self.order = Some((me.id.clone(), now + ORDER_DURATION));
        }
        is_free
    }

    fn expire(&mut self, now: Instant) {
        self.leases.retain(|_, stored| now < stored.renewed + LEASE_DURATION);
        self.doubles.retain(|_, (_, end)| now < *end);
        self.rooms.retain(|_, stored| now < stored.expires);
        self.order = self.order.take().filter(|(_, end)| now < *end);
        self.challenges.retain(|_, (_, end)| now < *end);
    }

    fn is_alive(&self, id: &BoxId) -> bool {
        self.leases.get(id).is_some_and(|stored| !stored.withdrawn)
    }

    fn others(&self, me: &Identity, now: Instant) -> Vec<ListedLease> {
        let others = self.leases.iter().filter(|(id, _)| **id != me.id);
        let listed = |(id, stored): (&BoxId, &StoredLease)| ListedLease {
            id: id.clone(),
            lease: stored.lease.clone(),
            withdrawn: stored.withdrawn,
            age: now.saturating_duration_since(stored.renewed),
        };
        others.map(listed).collect()
    }

    fn usable(&self, me: &Identity, room: RoomTag) -> Option<&StoredRoom> {
        self.rooms.get(&room).filter(|stored| stored.key == me.key())
    }

    fn renew(
        &mut self,
        me: &Identity,
        own: StoredLease,
        floor: Fence,
        extend: &[(RoomTag, Fence, u64)],
    ) -> Reply {
        let (held, now) = (self.is_alive(&me.id), own.renewed);
        let nodes = self.others(me, now);
        let is_rival = |node: &ListedLease| node.id.name == me.id.name && !node.withdrawn;
        if !held && nodes.iter().any(is_rival) {
            self.doubles.insert(me.id.name.clone(), (me.id.clone(), now + LEASE_DURATION));
            return Reply::NameTaken { nodes };
        }
        self.leases.insert(me.id.clone(), own);
        self.counter = self.counter.max(floor.0);
        let mut lost: Vec<RoomTag> = self.lost.get(&me.id).into_iter().flatten().copied().collect();
        for (room, fence, seats) in extend {
            let key = me.key();
            match self.rooms.get_mut(room) {
                Some(stored) if stored.key == key && stored.owner == me.id && stored.fence == *fence => {
                    (stored.seats, stored.expires) = (*seats, now + ROOM_DURATION);
                }
                Some(_) | None => lost.push(*room),
            }
        }
        Reply::Renewed { held, session: self.session, nodes, lost }
    }

    fn set_room(&mut self, me: &Identity, assertion: &Assertion, owner: BoxId, now: Instant) {
        let Assertion { room, fence, resumes, seats, serial } = *assertion;
        let expires = now + if serial == 0 { CHOSEN_DURATION } else { ROOM_DURATION };
        self.rooms.insert(room, StoredRoom { key: me.key(), owner, fence, resumes, seats, serial, expires });
    }

    fn next_fence(&mut self, floor: Fence) -> Fence {
        self.counter = (self.counter.max(floor.0) + 1).min(Fence::MAX.0);
        Fence(self.counter)
    }

    fn claim(
        &mut self,
        me: &Identity,
        (room, serial): (RoomTag, u64),
        floor: Fence,
        elsewhere: Elsewhere,
        now: Instant,
    ) -> Owner {
        let mut from = None;
        if let Some(stored) = self.rooms.get(&room).cloned() {
            let is_foreign = stored.key != me.key();
            if stored.owner == me.id && !is_foreign {
                let StoredRoom { fence, resumes, seats, .. } = stored;
                let (seats, serial) = (seats.max(1), serial.max(stored.serial));
                self.set_room(me, &Assertion { room, fence, resumes, seats, serial }, me.id.clone(), now);
                return Owner::Me { fence, resumes, from: None, corrupt: false };
            }
            if self.is_alive(&stored.owner) {
                let StoredRoom { owner: id, fence, .. } = stored;
                return if is_foreign { Owner::Foreign } else { Owner::Other { id, fence, alive: true } };
            }
            let served = stored.served_fence();
            from = (!is_foreign).then_some((stored.owner, stored.fence, served));
        }
        let (from, last, resumes) =
            from.map_or((None, floor, Fence::NONE), |(from, last, served)| (Some(from), last, served));
        let chosen = match elsewhere {
            Elsewhere::No => None,
            Elsewhere::IfAny(random) => self.pick(me, random),
            Elsewhere::IfLess(load, random) => self.pick(me, random).filter(|(_, chosen)| *chosen < load),
        };
        let fence = self.next_fence(floor.max(last));
        let (seats, serial) = if chosen.is_none() { (1, serial) } else { (0, 0) };
        let assertion = Assertion { room, fence, resumes, seats, serial };
        self.set_room(me, &assertion, chosen.as_ref().map_or(&me.id, |(id, _)| id).clone(), now);
        match chosen {
            None => Owner::Me { fence, resumes, from, corrupt: false },
            Some((id, _)) => Owner::Other { id, fence, alive: true },
        }
    }

    fn look(&self, me: &Identity, room: RoomTag) -> Owner {
        match self.rooms.get(&room) {
            None => Owner::Nobody,
            Some(stored) if stored.key != me.key() && self.is_alive(&stored.owner) => Owner::Foreign,
            Some(stored) if stored.key != me.key() => Owner::Nobody,
            Some(StoredRoom { owner, fence, resumes, .. }) if *owner == me.id => {
                Owner::Me { fence: *fence, resumes: *resumes, from: None, corrupt: false }
            }
            Some(stored @ StoredRoom { owner: id, fence, .. }) => {
                let alive = self.is_alive(id);
                Owner::Other {
                    id: id.clone(),
                    fence: if alive { *fence } else { stored.served_fence() },
                    alive,
                }
            }
        }
    }

    fn reassert(&mut self, me: &Identity, assertion: &Assertion, now: Instant) -> Asserted {
        self.lost.entry(me.id.clone()).or_default().remove(&assertion.room);
        let others = self.rooms.get(&assertion.room).filter(|stored| stored.owner != me.id).cloned();
        let known = self.usable(me, assertion.room).filter(|stored| stored.owner == me.id);
        let serial = known.map_or(0, |stored| stored.serial).max(assertion.serial);
        // An assertion that was sent at the same time may have learned of an owner that is gone.
        let learned = known
            .filter(|stored| stored.fence == assertion.fence)
            .map_or(Fence::NONE, |stored| stored.resumes);
        let (contested, gone) = match others {
            Some(stored) if self.is_alive(&stored.owner) => (Some(stored), None),
            gone => (None, gone),
        };
        let last =
            gone.filter(|stored| stored.key == me.key()).map_or(Fence::NONE, |stored| stored.served_fence());
        let mut against = None;
        if let Some(stored) = contested {
            if stored.key != me.key() {
                return Asserted::Foreign;
            }
            let rank = |fence, seats, id| (fence, seats, std::cmp::Reverse(id));
            let own = rank(assertion.fence, assertion.seats, &me.id);
            if own < rank(stored.fence, stored.seats, &stored.owner) {
                return Asserted::Lost { owner: stored.owner, fence: stored.fence, seats: stored.seats };
            }
            self.lost.entry(stored.owner.clone()).or_default().insert(assertion.room);
            against = Some(stored.owner);
        }
        let resumes = assertion.resumes.max(last).max(learned);
        self.set_room(me, &Assertion { resumes, serial, ..*assertion }, me.id.clone(), now);
        Asserted::Kept { against, resumes }
    }

    fn move_room(
        &mut self,
        me: &Identity,
        (room, fence): (RoomTag, Fence),
        floor: Fence,
        random: [u32; 2],
        now: Instant,
    ) -> Option<(BoxId, Fence)> {
        let stored = self.rooms.get(&room);
        if let Some(stored) = stored.filter(|stored| stored.owner != me.id && self.is_alive(&stored.owner)) {
            return (stored.key == me.key()).then(|| (stored.owner.clone(), stored.fence));
        }
        let (owner, _) = self.pick(me, random)?;
        let new_fence = self.next_fence(floor.max(fence));
        let assertion = Assertion { room, fence: new_fence, resumes: fence, seats: 0, serial: 0 };
        self.set_room(me, &assertion, owner.clone(), now);
        Some((owner, new_fence))
    }

    /// The less loaded of two random boxes that take new rooms, and its load.
    fn pick(&self, me: &Identity, [first, second]: [u32; 2]) -> Option<(BoxId, u8)> {
        let takes_rooms = |(id, stored): &(&BoxId, &StoredLease)| {
            let StoredLease { lease, withdrawn, .. } = stored;
            let is_member = lease.v == PROTOCOL && lease.key == me.key() && id.name != me.id.name;
            is_member && !withdrawn && !lease.draining
        };
        let candidates: Vec<_> = self.leases.iter().filter(takes_rooms).collect();
        let count = candidates.len();
        let index = first as usize % count.max(1);
        let one = candidates.get(index)?;
        let other =
            if count == 1 { one } else { &candidates[(index + 1 + second as usize % (count - 1)) % count] };
        let (id, stored) = if other.1.lease.load < one.1.lease.load { other } else { one };
        Some(((*id).clone(), stored.lease.load))
    }
}
