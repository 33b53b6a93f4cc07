//! Decides what a box does with a join: from what it owns, what the store said, and the moment. Without IO.

use std::time::{Duration, Instant};

use crate::breaker::Breaker;
use crate::calls::{Call, CallId, Calls, Outcome, Ticket, Waiter};
use crate::lease::{OwnLease, RENEW_INTERVAL, Renewal};
use crate::owned_rooms::{BATCH, IDLE_TIME};
use crate::ownership::Ownership;
use crate::registry::{Asserted, ListedLease, Owner, Reply, Request};
use crate::{BoxId, ClusterConfig, Decision, Event, JoinRequest, Load, NodeInfo, RoomTag, StoreError};

/// Requests of the store for one join, before the client must try again.
const MAX_ROUNDS: u8 = 4;
/// Requests under way at a time that assert rooms.
const MAX_ASSERTIONS: usize = 4;

/// One box of the cluster.
#[derive(Debug)]
pub struct Cluster {
    ownership: Ownership,
    lease: OwnLease,
    store: Breaker,
    calls: Calls,
    /// Wait for the lease to be verified.
    waiting: Vec<Waiter>,
}

impl Cluster {
    /// A box that holds no lease yet.
    pub fn new(config: &ClusterConfig, now: Instant) -> Self {
        Self {
            ownership: Ownership::new(config),
            lease: OwnLease::new(now),
            store: Breaker::new(now),
            calls: Calls::new(config.boot),
            waiting: Vec::new(),
        }
    }

    /// The answer from memory to a join or a look; `None` if the store must be asked.
    pub fn owned(&mut self, request: &JoinRequest, now: Instant) -> Option<Decision> {
        self.observe(now);
        if self.lease.is_unverified() {
            return None;
        }
        self.ownership.serve(request, self.asks_store(), now)
    }

    /// A client joins a room.
    pub fn join(&mut self, request: JoinRequest, now: Instant) -> Ticket {
        self.ask(request, false, now)
    }

    /// A client asks whether a room is in use.
    pub fn look(&mut self, room: RoomTag, now: Instant) -> Ticket {
        self.ask(JoinRequest::new(room), true, now)
    }

    /// The number of seats of a room that this box serves. `true`: [`poll_timeout`](Self::poll_timeout) has become earlier.
    pub fn set_seats(&mut self, room: RoomTag, seats: usize, now: Instant) -> bool {
        self.ownership.rooms.set_seats(room, seats, now) && self.asks_store() && self.lease.renew_soon(now)
    }

    /// The load of this box.
    pub fn set_load(&mut self, load: Load) {
        self.ownership.own.load = load;
    }

    /// Whether this box reaches another one by its name.
    pub fn set_reachable(&mut self, node: &BoxId, reachable: bool) {
        self.ownership.peers.set_reachable(node, reachable);
    }

    /// Gives new rooms to other boxes, or no longer.
    pub fn drain(&mut self, on: bool) {
        self.ownership.own.draining = on;
    }

    /// Hands a room to another box.
    pub fn move_room(&mut self, room: RoomTag, now: Instant) -> Ticket {
        self.observe(now);
        let ticket = self.calls.ticket();
        let random = self.calls.random();
        match self.ownership.move_request(room, random).filter(|_| self.asks_store()) {
            Some(request) => self.calls.send(Call::Move { ticket, room }, request, now),
            None => self.calls.answer(ticket, Outcome::Moved(None)),
        }
        ticket
    }

    /// Sends a request that does not concern rooms, such as those for certificates.
    pub fn request(&mut self, request: Request, now: Instant) -> Ticket {
        self.observe(now);
        let ticket = self.calls.ticket();
        if self.store.is_open() {
            self.calls.answer(ticket, Outcome::Reply(Err(self.store.error())));
        } else {
            self.calls.send(Call::Other(ticket), request, now);
        }
        ticket
    }

    /// Releases the rooms without seats and the lease, which is not renewed any more.
    pub fn shut_down(&mut self, now: Instant) -> Ticket {
        self.observe(now);
        let ticket = self.calls.ticket();
        self.release(Duration::ZERO, now);
        self.ownership.own.stopped = true;
        self.calls.send(Call::Leave(ticket), Request::Leave, now);
        self.resolve_waiting(now);
        ticket
    }

    /// The boxes last known, this one first.
    pub fn nodes(&self, now: Instant) -> Vec<NodeInfo> {
        self.ownership.nodes(now)
    }

    /// The number of rooms of this box.
    pub fn room_count(&self) -> usize {
        self.ownership.rooms.len()
    }

    /// The next request for the store, to be answered by [`handle_reply`](Self::handle_reply).
    pub fn poll_request(&mut self) -> Option<(CallId, Request)> {
        self.calls.poll_request()
    }

    /// The next answer for the caller.
    pub fn poll_outcome(&mut self) -> Option<(Ticket, Outcome)> {
        self.calls.poll_outcome()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.ownership.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due, at most a second after `now`.
    pub fn poll_timeout(&self, now: Instant) -> Instant {
        let latest = now + RENEW_INTERVAL;
        if self.ownership.own.stopped {
            return latest;
        }
        let settled = self.store.timeout().filter(|until| *until > now);
        settled.unwrap_or(latest).min(self.lease.timeout())
    }

    /// Does what is due: renews the lease, releases rooms, asserts rooms.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.observe(now);
        let is_explained = self.store.is_open() || self.ownership.own.withdrawn;
        self.ownership.events.extend(self.lease.expire(is_explained, now));
        if self.asks_store() && !self.lease.is_unverified() {
            self.release(IDLE_TIME, now);
        } else {
            self.ownership.rooms.forget_idle(now);
        }
        self.advance(now);
    }

    /// Takes in the answer to a request.
    pub fn handle_reply(&mut self, id: CallId, reply: Result<Reply, StoreError>, now: Instant) {
        self.observe(now);
        let Some((sent, call)) = self.calls.end(id) else { return };
        let advances = matches!(call, Call::Renew { .. } | Call::Assert { .. });
        match reply {
            Ok(reply) => self.handle_answer(sent, call, reply, now),
            Err(error) if !call.fails_by(&error) => self.handle_refusal(call, error, now),
            Err(error) => {
                self.store.fail(error.clone(), now);
                self.lease.handle_failure(matches!(call, Call::Renew { .. }), now);
                self.handle_failure(call, error, now);
                self.resolve_waiting(now);
            }
        }
        self.ownership.events.extend(self.store.event(now));
        if advances {
            self.advance(now);
        }
    }

    /// Notes the moment. Answers to requests that were sent before a long pause of the process say nothing about now.
    fn observe(&mut self, now: Instant) {
        if self.lease.observe(now) {
            for call in self.calls.end_all() {
                self.handle_failure(call, StoreError::Timeout, now);
            }
        }
    }

    /// What follows from a renewal or an assertion, and from time.
    fn advance(&mut self, now: Instant) {
        self.renew(now);
        while self.asks_store() && !self.lease.is_unverified() && self.calls.assertions() < MAX_ASSERTIONS {
            let number = self.calls.number();
            let assertions = self.ownership.rooms.next_assertions(number);
            if assertions.is_empty() {
                break;
            }
            self.calls.assert((number, assertions), None, self.ownership.highest(), now);
        }
        self.store.settle(|| self.ownership.rooms.is_confirmed(), now);
        self.ownership.events.extend(self.store.event(now));
    }

    fn renew(&mut self, now: Instant) {
        let Some(serial) = self.lease.begin_renewal(now).filter(|_| !self.ownership.own.stopped) else {
            return;
        };
        let (call, request) = self.ownership.renewal(serial, now);
        if matches!(&call, Call::Renew { extend, .. } if extend.len() >= BATCH) {
            self.lease.renew_soon(now);
        }
        self.calls.send(call, request, now);
    }

    fn release(&mut self, idle_time: Duration, now: Instant) {
        for batch in self.ownership.rooms.remove_idle(idle_time, now).chunks(BATCH) {
            self.calls.send(Call::Release, Request::Release { rooms: batch.to_vec() }, now);
        }
    }

    fn ask(&mut self, request: JoinRequest, is_look: bool, now: Instant) -> Ticket {
        let ticket = self.calls.ticket();
        self.resolve(Waiter { ticket, request, is_look, rounds: 0 }, now);
        self.renew(now);
        ticket
    }

    fn asks_store(&self) -> bool {
        !self.store.is_open() && !self.lease.is_name_taken() && !self.ownership.own.stopped
    }

    /// Decides, or sends the request whose answer decides.
    fn resolve(&mut self, mut waiter: Waiter, now: Instant) {
        let request = waiter.request;
        if let Some(decision) = self.owned(&request, now) {
            return self.calls.decide(&waiter, decision);
        }
        if waiter.rounds >= MAX_ROUNDS || self.lease.is_name_taken() || self.ownership.own.stopped {
            return self.calls.decide(&waiter, Decision::TryLater);
        }
        if self.lease.is_unverified() {
            return self.waiting.push(waiter);
        }
        if self.store.is_open() {
            return self.calls.decide(&waiter, self.ownership.fall_back(&waiter, None, now));
        }
        waiter.rounds += 1;
        let (room, floor) = (request.room, self.ownership.highest());
        let number = self.calls.number();
        if let Some(assertion) = self.ownership.rooms.assert(room, number) {
            return self.calls.assert((number, vec![assertion]), Some(waiter), floor, now);
        }
        if waiter.is_look || self.store.is_settling() {
            return self.calls.send(Call::Look(waiter), Request::Look { room }, now);
        }
        let elsewhere = self.ownership.own.elsewhere(self.calls.random());
        let request = Request::Claim { room, serial: number, floor, elsewhere };
        self.calls.send(Call::Claim { waiter, serial: number }, request, now);
    }

    fn resolve_waiting(&mut self, now: Instant) {
        for waiter in std::mem::take(&mut self.waiting) {
            self.resolve(waiter, now);
        }
    }

    fn handle_answer(&mut self, sent: Instant, call: Call, reply: Reply, now: Instant) {
        match (call, reply) {
            (Call::Renew { withdrawn, .. }, Reply::Renewed { held, session, nodes, lost }) => {
                self.handle_renewed(sent, Renewal { held, session, withdrawn }, nodes, now);
                self.ownership.rooms.unconfirm_each(&lost);
                self.resolve_waiting(now);
            }
            (Call::Renew { .. }, Reply::NameTaken { nodes }) => {
                let duplicate = self.lease.handle_name_taken(&nodes, &self.ownership.own.id, now);
                self.ownership.events.extend(duplicate);
                self.store.succeed(false, now);
                self.ownership.handle_nodes(nodes, false, now);
                self.resolve_waiting(now);
            }
            (Call::Claim { waiter, serial }, Reply::Owner(owner)) => {
                self.handle_owner(waiter, owner, Some(serial), now);
            }
            (Call::Look(waiter), Reply::Owner(owner)) => self.handle_owner(waiter, owner, None, now),
            (Call::Assert { number, assertions, waiter }, Reply::Asserted(results)) => {
                for (assertion, result) in assertions.iter().zip(results) {
                    self.ownership.handle_asserted(number, assertion, result);
                }
                waiter.into_iter().for_each(|waiter| self.serve(waiter, now));
            }
            (Call::Move { ticket, room }, Reply::Moved(owner)) => {
                let moved = owner.map(|owner| self.ownership.handle_moved(room, owner));
                self.calls.answer(ticket, Outcome::Moved(moved));
            }
            (Call::Other(ticket), reply) => self.calls.answer(ticket, Outcome::Reply(Ok(reply))),
            (Call::Leave(ticket), _) => self.calls.answer(ticket, Outcome::ShutDown),
            (Call::Release, _) => {}
            (call, _) => self.handle_failure(call, StoreError::Reply, now),
        }
    }

    fn handle_renewed(&mut self, sent: Instant, renewal: Renewal, nodes: Vec<ListedLease>, now: Instant) {
        let interruption = self.lease.handle_renewed(sent, renewal, now, &mut self.ownership.events);
        if interruption.is_some() {
            self.ownership.rooms.unconfirm_all();
        }
        let is_open = self.store.is_open();
        self.store.succeed(interruption.is_some_and(|interruption| interruption.is_outage(is_open)), now);
        self.ownership.handle_nodes(nodes, self.store.is_settling(), now);
    }

    /// The store said who owns a room. `serial` of the claim; `None`: it was only asked.
    fn handle_owner(&mut self, waiter: Waiter, owner: Owner, serial: Option<u64>, now: Instant) {
        let room = waiter.request.room;
        if self.lease.is_unverified() || self.store.is_open() {
            return self.resolve(waiter, now);
        }
        match owner {
            Owner::Me { fence, resumes, .. } if waiter.is_look => {
                self.calls.decide(&waiter, Decision::Serve { fence, resumes });
            }
            Owner::Me { fence, resumes, from, corrupt } => {
                self.ownership.events.extend(corrupt.then_some(Event::CorruptValue { room }));
                self.ownership.add(room, (fence, resumes), from, serial, now);
                self.serve(waiter, now);
            }
            // A room that this box has as well is contested: an assertion decides.
            Owner::Other { .. } if self.ownership.rooms.unconfirm(room) => self.resolve(waiter, now),
            Owner::Other { id, fence, alive } => {
                // After an outage of the store a box may be alive that has not renewed its lease yet.
                let alive = alive || (self.store.is_settling() && self.ownership.peers.is_alive(&id.name));
                let decision = self.ownership.redirect(&waiter, (id.name, alive), fence, now);
                self.calls.decide(&waiter, decision);
            }
            Owner::Nobody if waiter.is_look => self.calls.decide(&waiter, Decision::Vacant),
            Owner::Nobody => self.calls.decide(&waiter, self.ownership.fall_back(&waiter, None, now)),
            Owner::Foreign => self.calls.decide(&waiter, Decision::TryLater),
        }
    }

    /// Serves a room that the store has just confirmed, whatever fences the client names.
    fn serve(&mut self, waiter: Waiter, now: Instant) {
        match self.ownership.serve_confirmed(&waiter.request, now) {
            Some(decision) => self.calls.decide(&waiter, decision),
            None => self.resolve(waiter, now),
        }
    }

    /// The store works, but refused this request because of one key.
    fn handle_refusal(&mut self, call: Call, error: StoreError, now: Instant) {
        self.ownership.events.extend(self.store.refuse(&error, now));
        match call {
            Call::Renew { extend, .. } => {
                self.ownership.rooms.unconfirm_each(&extend);
                self.lease.renew_again(now);
            }
            Call::Claim { waiter, .. } | Call::Look(waiter) => self.calls.decide(&waiter, Decision::TryLater),
            Call::Assert { number, assertions, waiter } => {
                if let [refused] = &*assertions {
                    // Kept like a room that a foreign box has, and not asserted again.
                    self.ownership.handle_asserted(number, refused, Asserted::Foreign);
                } else {
                    self.calls.assert_halves(number, &assertions, self.ownership.highest(), now);
                }
                waiter.into_iter().for_each(|waiter| self.serve(waiter, now));
            }
            Call::Release | Call::Move { .. } | Call::Leave(_) | Call::Other(_) => {
                self.handle_failure(call, error, now);
            }
        }
    }

    /// The store did not answer.
    fn handle_failure(&mut self, call: Call, error: StoreError, now: Instant) {
        match call {
            Call::Release => {}
            // An assertion extends them, too.
            Call::Renew { extend, .. } => self.ownership.rooms.unconfirm_each(&extend),
            Call::Claim { waiter, .. } | Call::Look(waiter) => self.resolve(waiter, now),
            Call::Assert { number, assertions, waiter } => {
                for assertion in &assertions {
                    self.ownership.rooms.end_assertion(number, assertion);
                }
                waiter.into_iter().for_each(|waiter| self.resolve(waiter, now));
            }
            Call::Move { ticket, room } => {
                // It may have been moved.
                self.ownership.rooms.unconfirm(room);
                self.calls.answer(ticket, Outcome::Moved(None));
            }
            Call::Leave(ticket) => self.calls.answer(ticket, Outcome::ShutDown),
            Call::Other(ticket) => self.calls.answer(ticket, Outcome::Reply(Err(error))),
        }
    }
}
