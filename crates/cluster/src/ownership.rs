//! What this box owns and knows of the others, and the decisions that follow without a request of the store.

use std::collections::VecDeque;
use std::time::Instant;

use crate::calls::{Call, Waiter};
use crate::own_box::OwnBox;
use crate::owned_rooms::{OwnedRoom, OwnedRooms};
use crate::peers::Peers;
use crate::registry::{Asserted, Assertion, ListedLease, Request};
use crate::{
    BoxId, ClusterConfig, Decision, Event, Fallback, Fence, JoinRequest, NodeInfo, NodeName, RoomTag,
    rendezvous,
};

/// The knowledge of one box.
#[derive(Debug)]
pub(crate) struct Ownership {
    pub(crate) own: OwnBox,
    pub(crate) rooms: OwnedRooms,
    pub(crate) peers: Peers,
    pub(crate) events: VecDeque<Event>,
    fallback: Fallback,
    /// The highest fence that this box has seen.
    highest: Fence,
}

impl Ownership {
    pub(crate) fn new(config: &ClusterConfig) -> Self {
        let own = OwnBox::new(config);
        Self {
            rooms: OwnedRooms::default(),
            peers: Peers::new(own.key().to_owned(), config.domain.clone()),
            own,
            events: VecDeque::new(),
            fallback: config.fallback,
            highest: Fence::FALLBACK,
        }
    }

    /// The highest fence that this box has seen.
    pub(crate) fn highest(&self) -> Fence {
        self.highest
    }

    /// Notes a fence that the store named.
    pub(crate) fn note(&mut self, fence: Fence) -> Fence {
        self.highest = self.highest.max(fence.min(Fence::MAX));
        fence
    }

    /// The boxes last known, this one first.
    pub(crate) fn nodes(&self, now: Instant) -> Vec<NodeInfo> {
        std::iter::once(self.own.info(self.rooms.len())).chain(self.peers.infos(now)).collect()
    }

    /// What this box tells the store with its lease.
    pub(crate) fn renewal(&mut self, serial: u64, now: Instant) -> (Call, Request) {
        let lease = self.own.lease(serial, self.rooms.len(), self.peers.unreachable());
        let (withdrawn, floor, extend) = (self.own.withdrawn, self.highest, self.rooms.extensions(now));
        let call = Call::Renew { withdrawn, extend: extend.iter().map(|(room, ..)| *room).collect() };
        (call, Request::Renew { lease, withdrawn, floor, extend })
    }

    /// Serves a room of this box, unless the store must be asked and can be.
    pub(crate) fn serve(
        &mut self,
        request: &JoinRequest,
        asks_store: bool,
        now: Instant,
    ) -> Option<Decision> {
        let room = self.rooms.get_mut(request.room)?;
        if asks_store && room.is_doubtful(request, now) {
            return None;
        }
        if room.fence == Fence::FALLBACK && !room.confirmed {
            // Without the store, the latest token says which the last fence was.
            room.resumes = room.resumes.max(request.token_fence.unwrap_or_default());
        }
        Some(room.serve(now))
    }

    /// Serves a room that the store has just confirmed, whatever fences the client names.
    pub(crate) fn serve_confirmed(&mut self, request: &JoinRequest, now: Instant) -> Option<Decision> {
        let room = self.rooms.get_mut(request.room).filter(|room| room.confirmed)?;
        room.deny(request, now);
        Some(room.serve(now))
    }

    /// Decides without the store. `last`: the fence of the last owner, if the store said that it is gone.
    pub(crate) fn fall_back(
        &mut self,
        Waiter { request, is_look, .. }: &Waiter,
        last: Option<Fence>,
        now: Instant,
    ) -> Decision {
        let room = request.room;
        let others: Vec<&NodeName> = self.peers.candidates().collect();
        let own = (!self.own.draining || others.is_empty()).then_some(&self.own.id.name);
        let chosen = rendezvous::choose(room, others.iter().copied().chain(own));
        match (self.fallback, chosen.filter(|chosen| **chosen != self.own.id.name)) {
            (Fallback::Refuse, _) => Decision::TryLater,
            (Fallback::Open, Some(node)) => Decision::Redirect { node: node.clone(), fence: Fence::NONE },
            (Fallback::Open, None) if *is_look => Decision::Vacant,
            (Fallback::Open, None) => {
                let (fence, resumes) = (Fence::FALLBACK, last.or(request.token_fence).unwrap_or_default());
                if resumes != Fence::NONE {
                    self.events.push_back(Event::TookOver { room, from: None, fence });
                }
                let mut owned = OwnedRoom::new(fence, resumes, None, now);
                let decision = owned.serve(now);
                self.rooms.insert(room, owned);
                decision
            }
        }
    }

    /// Another box owns the room, or did until its lease ran out.
    pub(crate) fn redirect(
        &mut self,
        waiter: &Waiter,
        (node, alive): (NodeName, bool),
        fence: Fence,
        now: Instant,
    ) -> Decision {
        self.note(fence);
        match alive {
            // The process before this one, or a box that should have another name.
            true if node == self.own.id.name => Decision::TryLater,
            true => Decision::Redirect { node, fence },
            false if waiter.is_look => Decision::Vacant,
            false => self.fall_back(waiter, Some(fence), now),
        }
    }

    /// The store said that this box owns a room. `serial`: of the claim; `None`: it was only asked.
    pub(crate) fn add(
        &mut self,
        room: RoomTag,
        (fence, resumes): (Fence, Fence),
        from: Option<BoxId>,
        serial: Option<u64>,
        now: Instant,
    ) {
        self.note(fence);
        self.events.extend(from.map(|from| Event::TookOver { room, from: Some(from.name), fence }));
        self.rooms.add(room, OwnedRoom::new(fence, resumes, serial, now));
    }

    /// The store said what became of a room that this box asserted.
    pub(crate) fn handle_asserted(&mut self, number: u64, assertion: &Assertion, result: Asserted) {
        let room = assertion.room;
        let Some(owned) = self.rooms.end_assertion(number, assertion) else { return };
        owned.confirmed = true;
        let (other, won) = match result {
            Asserted::Foreign => return,
            Asserted::Kept { against, resumes } => {
                owned.resumes = resumes;
                let Some(other) = against else { return };
                (other.name, true)
            }
            Asserted::Lost { owner, fence, seats } => {
                self.rooms.remove(room);
                self.note(fence);
                self.events.push_back(Event::RoomLost { room, owner: owner.name.clone(), fence, seats });
                (owner.name, false)
            }
        };
        self.events.push_back(Event::FenceConflict { room, other, won });
    }

    /// The request that hands a room of this box to another one.
    pub(crate) fn move_request(&mut self, room: RoomTag, random: [u32; 2]) -> Option<Request> {
        let OwnedRoom { fence, serial, .. } = *self.rooms.get_mut(room)?;
        Some(Request::Move { room, fence, serial, floor: self.highest, random })
    }

    /// The store gave a room of this box to another one.
    pub(crate) fn handle_moved(&mut self, room: RoomTag, (id, fence): (BoxId, Fence)) -> (NodeName, Fence) {
        self.rooms.remove(room);
        (id.name, self.note(fence))
    }

    /// The store listed the other boxes. `keep`: those that it does not list may still be alive.
    pub(crate) fn handle_nodes(&mut self, nodes: Vec<ListedLease>, keep: bool, now: Instant) {
        self.peers.update(nodes, keep, now, &mut self.events);
        let voters = self.peers.voters_against(&self.own.id);
        if self.own.withdrawn != voters.is_some() {
            self.own.withdrawn = voters.is_some();
            self.events.push_back(voters.map_or(Event::Reachable, |by| Event::Unreachable { by }));
        }
    }
}
