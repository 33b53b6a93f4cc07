//! Questions of the caller and requests to the store: their numbers, what each request was for, and what waits to be
//! fetched.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use crate::registry::{Assertion, Reply, Request};
use crate::{Decision, Fence, JoinRequest, NodeName, RoomTag, StoreError};

/// Identifies a question of the caller; its answer is an [`Outcome`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// Identifies a request to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(u64);

/// The answer to a question of the caller.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// To [`Cluster::join`](crate::Cluster::join) and [`Cluster::look`](crate::Cluster::look).
    Decision(Decision),
    /// To [`Cluster::move_room`](crate::Cluster::move_room): the new owner.
    Moved(Option<(NodeName, Fence)>),
    /// To [`Cluster::request`](crate::Cluster::request).
    Reply(Result<Reply, StoreError>),
    /// To [`Cluster::shut_down`](crate::Cluster::shut_down).
    ShutDown,
}

/// A join or a look without an answer yet.
#[derive(Clone, Debug)]
pub(crate) struct Waiter {
    pub(crate) ticket: Ticket,
    pub(crate) request: JoinRequest,
    pub(crate) is_look: bool,
    /// Requests of the store so far.
    pub(crate) rounds: u8,
}

/// What a request to the store is for.
#[derive(Debug)]
pub(crate) enum Call {
    Renew { withdrawn: bool, extend: Vec<RoomTag> },
    Claim { waiter: Waiter, serial: u64 },
    Look(Waiter),
    Assert { number: u64, assertions: Vec<Assertion>, waiter: Option<Waiter> },
    Release,
    Move { ticket: Ticket, room: RoomTag },
    Leave(Ticket),
    Other(Ticket),
}

impl Call {
    /// Whether this error of the call is a failure of the store. A renewal that names no room fails for no single key.
    pub(crate) fn fails_by(&self, error: &StoreError) -> bool {
        let names_no_room = matches!(self, Self::Renew { extend, .. } if extend.is_empty());
        error.is_outage() || names_no_room
    }
}

/// The calls of one box.
#[derive(Debug)]
pub(crate) struct Calls {
    last_number: u64,
    random: u64,
    in_flight: HashMap<CallId, (Instant, Call)>,
    requests: VecDeque<(CallId, Request)>,
    outcomes: VecDeque<(Ticket, Outcome)>,
}

impl Calls {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            last_number: 0,
            random: seed,
            in_flight: HashMap::new(),
            requests: VecDeque::new(),
            outcomes: VecDeque::new(),
        }
    }

    /// A number higher than all before.
    pub(crate) fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    pub(crate) fn ticket(&mut self) -> Ticket {
        Ticket(self.number())
    }

    /// SplitMix64: chooses among boxes, which needs no secrecy.
    pub(crate) fn random(&mut self) -> [u32; 2] {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let mixed = mixed ^ (mixed >> 31);
        [mixed as u32, (mixed >> 32) as u32]
    }

    pub(crate) fn send(&mut self, call: Call, request: Request, now: Instant) {
        let id = CallId(self.number());
        self.in_flight.insert(id, (now, call));
        self.requests.push_back((id, request));
    }

    /// Sends an assertion with its number.
    pub(crate) fn assert(
        &mut self,
        (number, assertions): (u64, Vec<Assertion>),
        waiter: Option<Waiter>,
        floor: Fence,
        now: Instant,
    ) {
        let request = Request::Reassert { floor, rooms: assertions.clone() };
        self.send(Call::Assert { number, assertions, waiter }, request, now);
    }

    /// Sends a refused assertion in two parts, to find the room that it was refused for.
    pub(crate) fn assert_halves(
        &mut self,
        number: u64,
        assertions: &[Assertion],
        floor: Fence,
        now: Instant,
    ) {
        for half in assertions.chunks(assertions.len().div_ceil(2).max(1)) {
            self.assert((number, half.to_vec()), None, floor, now);
        }
    }

    /// When the request was sent, and what for.
    pub(crate) fn end(&mut self, id: CallId) -> Option<(Instant, Call)> {
        self.in_flight.remove(&id)
    }

    /// Gives up all requests, also those that were not fetched yet.
    pub(crate) fn end_all(&mut self) -> Vec<Call> {
        self.requests.clear();
        self.in_flight.drain().map(|(_, (_, call))| call).collect()
    }

    /// The number of requests under way that assert rooms.
    pub(crate) fn assertions(&self) -> usize {
        self.in_flight.values().filter(|(_, call)| matches!(call, Call::Assert { .. })).count()
    }

    pub(crate) fn answer(&mut self, ticket: Ticket, outcome: Outcome) {
        self.outcomes.push_back((ticket, outcome));
    }

    pub(crate) fn decide(&mut self, waiter: &Waiter, decision: Decision) {
        self.answer(waiter.ticket, Outcome::Decision(decision));
    }

    pub(crate) fn poll_request(&mut self) -> Option<(CallId, Request)> {
        self.requests.pop_front()
    }

    pub(crate) fn poll_outcome(&mut self) -> Option<(Ticket, Outcome)> {
        self.outcomes.pop_front()
    }
}
