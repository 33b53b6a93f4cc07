//! Allocate: from a wish to an allocation that exists (RFC 8656 §7.2).
//!
//! In `public` a real socket stands between the two: the success reply goes out only when the edge
//! has bound it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::addr::{ClientAddr, Family, RelayedAddr};
use super::allocation::{Allocation, Listing, Pulse};
use super::auth::Verified;
use super::error::Refusal;
use super::peer_policy::Scope;
use super::registry::{Entry, Grant, Requester};
use super::request::{Method, Parity, Request, Wants};
use super::response::Reply;
use super::server::{Action, End, Server};
use crate::credential::Principal;
use crate::principal::IsolationGroup;
use crate::time::Now;

/// An Allocate that waits for its sockets.
#[derive(Debug)]
pub struct Opening {
    client: ClientAddr,
    transaction: [u8; 12],
    verified: Verified,
    lifetime: Duration,
    pulse: Arc<Pulse>,
    grant: Grant,
    /// Relayed addresses whose socket is still to be bound.
    unbound: Vec<RelayedAddr>,
    /// Further ports to try when one is in use by another program.
    tries: u8,
    /// Its client's stream has ended meanwhile.
    disconnected: bool,
}

/// Why a relay socket could not be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortError {
    /// Another program has the port: another port may do.
    InUse,
    /// Nothing can be bound now, for lack of descriptors for example.
    Unavailable,
}

/// RFC 8656 §3.2 and §7.2.
const LIFETIMES: std::ops::RangeInclusive<Duration> = Duration::from_secs(600)..=Duration::from_secs(3600);
const TRIES: u8 = 8;
/// 20 Mbit/s: twice what the test page sends, and nothing to run a service on.
const TESTERS_RATE: u32 = 2_500_000;

impl Server {
    /// Answers an Allocate; `None` where the answer waits for a socket.
    pub(super) fn allocate(
        &mut self,
        client: ClientAddr,
        request: &Request,
        verified: &Verified,
        now: Now,
    ) -> Result<Option<Reply>, Refusal> {
        if let Some(allocation) = self.table.of(&client) {
            let again =
                allocation.opened_by == request.transaction && *allocation.username == *verified.username;
            return if again {
                Ok(Some(success(allocation, now.instant)))
            } else {
                Err(Refusal::AllocationMismatch)
            };
        }
        if self.opening.iter().any(|opening| opening.client == client) {
            return Ok(None);
        }
        self.may_open(verified, now.unix)?;
        let wanted = request.allocate()?;
        let grant = self.grant(client, verified, &wanted.wants, now.instant)?;
        let opening = Opening {
            client,
            transaction: request.transaction,
            verified: verified.clone(),
            lifetime: lifetime(wanted.lifetime, &verified.holder),
            pulse: grant.1,
            unbound: grant.0.relayed.iter().copied().collect(),
            tries: tries(&wanted.wants),
            disconnected: false,
            grant: grant.0,
        };
        match self.rules.scope {
            _ if verified.holder.is_confined() => Ok(Some(self.open(opening, now.instant))),
            Scope::Room => Ok(Some(self.open(opening, now.instant))),
            Scope::Public(_) => {
                self.actions.extend(opening.unbound.iter().copied().map(Action::OpenPort));
                self.opening.push(opening);
                Ok(None)
            }
        }
    }

    /// The edge has tried to bind the socket of `relayed`.
    pub fn port_opened(&mut self, relayed: RelayedAddr, outcome: Result<(), PortError>, now: Instant) {
        let waits = |opening: &Opening| opening.unbound.contains(&relayed);
        let Some(at) = self.opening.iter().position(waits) else { return };
        let mut opening = self.opening.swap_remove(at);
        opening.unbound.retain(|other| *other != relayed);
        match outcome {
            Ok(()) => {}
            Err(PortError::InUse) if opening.tries > 0 && self.try_another(&mut opening, relayed, now) => {}
            Err(_) => self.go_without(&mut opening, relayed),
        }
        if !opening.unbound.is_empty() {
            self.opening.push(opening);
        } else if opening.grant.relayed.iter().next().is_none() {
            self.give_up(&opening);
        } else if opening.disconnected || !self.is_live(&opening.verified.holder) {
            self.take_back(&opening, now);
        } else {
            let (client, key) = (opening.client, opening.verified.key.clone());
            let reply = self.open(opening, now);
            self.reply(client, reply.finish(Some(&key)));
        }
    }

    /// An expired credential, or one of a seat that is gone, opens nothing more. While the box drains, calls
    /// between seats may find other ways for themselves; nobody else begins anything.
    fn may_open(&self, verified: &Verified, unix: u64) -> Result<(), Refusal> {
        if !self.is_live(&verified.holder) || verified.expiry <= unix {
            Err(Refusal::Unauthenticated)
        } else if self.draining && !matches!(verified.holder, Principal::Participant(..)) {
            Err(Refusal::InsufficientCapacity)
        } else {
            Ok(())
        }
    }

    /// Whether a credential's seat is taken, where it names one.
    fn is_live(&self, holder: &Principal) -> bool {
        match holder {
            Principal::Participant(tag, seat) => self.live.contains(&(*tag, *seat)),
            Principal::Tool(..) | Principal::Tester(..) | Principal::Foreign(_) => true,
        }
    }

    /// Enters the allocation in the register and lends it its ports.
    fn grant(
        &mut self,
        client: ClientAddr,
        verified: &Verified,
        wants: &Wants,
        now: Instant,
    ) -> Result<(Grant, Arc<Pulse>), Refusal> {
        let pulse = Arc::new(Pulse::default());
        pulse.beat(now, self.exchange.epoch);
        let entry = Entry::new(self.rules.worker, client, Arc::clone(&pulse), self.exchange.epoch);
        let (holder, exchange) = (&verified.holder, Arc::clone(&self.exchange));
        let gone = exchange.register().admit(holder, entry, self.rules.quota, now)?;
        gone.into_iter().for_each(|gone| self.make_way(&gone));
        let gone = exchange.register().make_room(wants, holder, client, now);
        gone.into_iter().for_each(|gone| self.make_way(&gone));
        let mut register = exchange.register();
        let by = Requester { holder, client };
        let lent = register.lend(wants, by, &self.rules.relayed, &mut *self.chance, now);
        if lent.is_err() {
            register.strike(holder, client);
        }
        Ok((lent?, pulse))
    }

    fn make_way(&mut self, gone: &Entry) {
        if gone.worker == self.rules.worker {
            self.close(&gone.client, End::GaveWay);
        } else {
            self.actions.push_back(Action::Evict { worker: gone.worker, client: gone.client });
        }
    }

    fn open(&mut self, opening: Opening, now: Instant) -> Reply {
        let tag = tag_of(&opening.verified.holder);
        let listing = Listing::new(opening.client, self.rules.worker, tag, opening.grant.relayed);
        let confined = opening.verified.holder.is_confined();
        let (rate, epoch) = (self.rules.max_bps, self.exchange.epoch);
        let listing = Arc::new(if confined {
            let source = opening.client.remote.ip();
            let paces = self.exchange.testers.paces(source, testers_rate(rate), epoch);
            listing.confined(true).with_paces(paces)
        } else {
            listing.paced(rate, epoch)
        });
        let expires = now + opening.lifetime;
        let allocation = Allocation {
            id: self.next_id(),
            listing: Arc::clone(&listing),
            holder: opening.verified.holder,
            username: opening.verified.username.into(),
            key: opening.verified.key,
            opened_by: opening.transaction,
            expires,
            lapsed: None,
            pulse: opening.pulse,
            deadline: expires,
            extras: opening.grant.extras,
        };
        let reply = success(&allocation, now);
        self.exchange.publish(&listing);
        self.table.insert(allocation);
        self.tally.opened(opening.client.transport, &opening.grant.relayed);
        self.actions.push_back(Action::Opened { client: opening.client, relayed: opening.grant.relayed });
        reply
    }

    /// Another port for one that is taken; `false` where there is none.
    fn try_another(&mut self, opening: &mut Opening, taken: RelayedAddr, now: Instant) -> bool {
        opening.tries -= 1;
        let family = Family::of(taken.0.ip());
        // EVEN-PORT may have been asked for; an even port suits everybody.
        let parity = if taken.0.port().is_multiple_of(2) { Parity::Even } else { Parity::Any };
        let exchange = Arc::clone(&self.exchange);
        let mut register = exchange.register();
        let wants = Wants::One { family, parity };
        let by = Requester { holder: &opening.verified.holder, client: opening.client };
        let other = register.lend(&wants, by, &self.rules.relayed, &mut *self.chance, now);
        // Given back only now, so that it is not picked again.
        register.give_back(taken);
        let Some(other) = other.ok().and_then(|grant| grant.relayed.of(family).copied()) else {
            return false;
        };
        *opening.grant.relayed.of_mut(family) = Some(other);
        opening.unbound.push(other);
        self.actions.push_back(Action::OpenPort(other));
        true
    }

    /// Goes on with the other family, where there is one.
    fn go_without(&mut self, opening: &mut Opening, relayed: RelayedAddr) {
        let family = Family::of(relayed.0.ip());
        if opening.grant.relayed.of_mut(family).take().is_some() {
            self.exchange.register().give_back(relayed);
        }
        if family == Family::V6 {
            opening.grant.extras.second_family = Some(Refusal::InsufficientCapacity);
        } else if let Some(other) = opening.grant.relayed.v6.take() {
            // IPv4 is what ADDITIONAL-ADDRESS-FAMILY adds to; without it there is nothing to add.
            opening.unbound.clear();
            self.release(other);
        }
    }

    /// The sockets are there, and whoever wanted them has gone meanwhile.
    fn take_back(&mut self, opening: &Opening, now: Instant) {
        for &relayed in opening.grant.relayed.iter() {
            self.release(relayed);
        }
        self.exchange.register().strike(&opening.verified.holder, opening.client);
        if !opening.disconnected {
            let (client, transaction) = (opening.client, opening.transaction);
            self.challenge(client, Method::Allocate, transaction, &Refusal::Unauthenticated, now);
        }
    }

    /// Its client's stream has ended.
    pub(super) fn abandon(&mut self, client: &ClientAddr) {
        let of_client = self.opening.iter_mut().filter(|opening| opening.client == *client);
        of_client.for_each(|opening| opening.disconnected = true);
    }

    fn give_up(&mut self, opening: &Opening) {
        self.exchange.register().strike(&opening.verified.holder, opening.client);
        let (client, transaction) = (opening.client, opening.transaction);
        self.refuse(client, Method::Allocate, transaction, &Refusal::InsufficientCapacity, &opening.verified);
    }
}

/// What an Allocate is answered, the first time and to a retransmission.
fn success(allocation: &Allocation, now: Instant) -> Reply {
    let mut reply = Reply::success_to(Method::Allocate, allocation.opened_by);
    for relayed in allocation.listing.relayed.iter() {
        reply = reply.relayed(*relayed);
    }
    if let Some(refusal) = &allocation.extras.second_family {
        reply = reply.address_error(Family::V6, refusal);
    }
    if let Some(token) = allocation.extras.reservation {
        reply = reply.reservation(token);
    }
    // Rounded up, so that a retransmission within the second gets the same answer.
    let left = allocation.expires.saturating_duration_since(now) + Duration::from_millis(999);
    reply.lifetime(left).mapped(allocation.listing.client.remote)
}

/// How many other ports will do where one is in use: none where it is that very port, or its
/// neighbour, that was promised.
fn tries(wants: &Wants) -> u8 {
    match wants {
        Wants::Reserved(_) | Wants::One { parity: Parity::EvenAndNext, .. } => 0,
        Wants::One { .. } | Wants::Both { .. } => TRIES,
    }
}

/// What is asked, within bounds; ten minutes where nothing is, and to strangers who test.
pub(super) fn lifetime(asked: Option<Duration>, holder: &Principal) -> Duration {
    let asked = asked.filter(|_| !holder.is_confined()).unwrap_or(*LIFETIMES.start());
    asked.clamp(*LIFETIMES.start(), *LIFETIMES.end())
}

/// Bytes per second for a stranger who tests, where `max_bps` (0: none) allows as much.
fn testers_rate(max_bps: u32) -> u32 {
    if max_bps == 0 { TESTERS_RATE } else { max_bps.min(TESTERS_RATE) }
}

/// The room of a holder; other software's ids are each a room of their own.
fn tag_of(holder: &Principal) -> IsolationGroup {
    match holder {
        Principal::Participant(tag, _) | Principal::Tool(tag, _) | Principal::Tester(tag, _) => *tag,
        Principal::Foreign(id) => IsolationGroup::of_foreign(id),
    }
}
