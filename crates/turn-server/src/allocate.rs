//! Allocate: from a wish to an allocation that exists (RFC 8656 §7.2).
//!
//! In `public` a real socket stands between the two: the success reply goes out only when the edge
//! has bound it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::addr::{ClientAddr, Family, RelayedAddr};
use super::allocation::{Activity, Allocation, Route};
use super::auth::Identity;
use super::error::Refusal;
use super::peer_policy::PeerPolicy;
use super::registry::{AllocationEntry, PortLease, Requester};
use super::request::{AddressRequest, Method, Parity, Request};
use super::response::Reply;
use super::server::{CloseReason, Event, Server};
use crate::credential::Principal;
use crate::principal::IsolationGroup;
use crate::time::Now;

/// An Allocate that waits for its sockets.
#[derive(Debug)]
pub struct PendingAllocation {
    client: ClientAddr,
    transaction: [u8; 12],
    identity: Identity,
    lifetime: Duration,
    activity: Arc<Activity>,
    lease: PortLease,
    /// Relayed addresses whose socket is still to be bound.
    unbound: Vec<RelayedAddr>,
    /// Further ports to try when one is in use by another program.
    retries: u8,
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
const LIFETIME_RANGE: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(600)..=Duration::from_secs(3600);
const MAX_PORT_RETRIES: u8 = 8;
/// 20 Mbit/s: twice what the test page sends, and nothing to run a service on.
const TESTER_RATE_LIMIT: u32 = 2_500_000;

impl Server {
    /// Answers an Allocate; `None` where the answer waits for a socket.
    pub(super) fn allocate(
        &mut self,
        client: ClientAddr,
        request: &Request,
        identity: &Identity,
        now: Now,
    ) -> Result<Option<Reply>, Refusal> {
        if let Some(allocation) = self.table.get(&client) {
            let again =
                allocation.transaction == request.transaction && *allocation.username == *identity.username;
            return if again {
                Ok(Some(success(allocation, now.instant)))
            } else {
                Err(Refusal::AllocationMismatch)
            };
        }
        if self.pending.iter().any(|pending| pending.client == client) {
            return Ok(None);
        }
        self.check_admission(identity, now.unix)?;
        let wanted = request.allocate()?;
        let lease = self.reserve(client, identity, &wanted.address_request, now.instant)?;
        let pending = PendingAllocation {
            client,
            transaction: request.transaction,
            identity: identity.clone(),
            lifetime: lifetime(wanted.lifetime, &identity.principal),
            activity: lease.1,
            unbound: lease.0.relayed.iter().copied().collect(),
            retries: retries(&wanted.address_request),
            disconnected: false,
            lease: lease.0,
        };
        match self.config.peer_policy {
            _ if identity.principal.is_confined() => Ok(Some(self.activate(pending, now.instant))),
            PeerPolicy::SameGroup => Ok(Some(self.activate(pending, now.instant))),
            PeerPolicy::Public(_) => {
                self.events.extend(pending.unbound.iter().copied().map(Event::OpenPort));
                self.pending.push(pending);
                Ok(None)
            }
        }
    }

    /// The edge has tried to bind the socket of `relayed`.
    pub fn handle_port_opened(&mut self, relayed: RelayedAddr, outcome: Result<(), PortError>, now: Instant) {
        let waits = |pending: &PendingAllocation| pending.unbound.contains(&relayed);
        let Some(at) = self.pending.iter().position(waits) else { return };
        let mut pending = self.pending.swap_remove(at);
        pending.unbound.retain(|other| *other != relayed);
        match outcome {
            Ok(()) => {}
            Err(PortError::InUse) if pending.retries > 0 && self.retry_port(&mut pending, relayed, now) => {}
            Err(_) => self.drop_family(&mut pending, relayed),
        }
        if !pending.unbound.is_empty() {
            self.pending.push(pending);
        } else if pending.lease.relayed.iter().next().is_none() {
            self.reject_pending(&pending);
        } else if pending.disconnected || !self.is_admitted(&pending.identity.principal) {
            self.cancel_pending(&pending, now);
        } else {
            let (client, key) = (pending.client, pending.identity.key.clone());
            let reply = self.activate(pending, now);
            self.reply(client, reply.encode(Some(&key)));
        }
    }

    /// An expired credential, or one of a seat that is gone, opens nothing more. While the box drains, calls
    /// between seats may find other ways for themselves; nobody else begins anything.
    fn check_admission(&self, identity: &Identity, unix: u64) -> Result<(), Refusal> {
        if !self.is_admitted(&identity.principal) || identity.expiry <= unix {
            Err(Refusal::Unauthenticated)
        } else if self.draining && !matches!(identity.principal, Principal::Participant(..)) {
            Err(Refusal::InsufficientCapacity)
        } else {
            Ok(())
        }
    }

    /// Whether a credential's seat is taken, where it names one.
    fn is_admitted(&self, principal: &Principal) -> bool {
        match principal {
            Principal::Participant(group, seat) => self.admitted.contains(&(*group, *seat)),
            Principal::Tool(..) | Principal::Tester(..) | Principal::Foreign(_) => true,
        }
    }

    /// Enters the allocation in the register and lends it its ports.
    fn reserve(
        &mut self,
        client: ClientAddr,
        identity: &Identity,
        address_request: &AddressRequest,
        now: Instant,
    ) -> Result<(PortLease, Arc<Activity>), Refusal> {
        let activity = Arc::new(Activity::default());
        activity.touch(now, self.routes.epoch);
        let entry =
            AllocationEntry::new(self.config.worker, client, Arc::clone(&activity), self.routes.epoch);
        let (principal, routes) = (&identity.principal, Arc::clone(&self.routes));
        let evicted = routes.registry().insert(principal, entry, self.config.quota, now)?;
        evicted.into_iter().for_each(|evicted| self.evict_entry(&evicted));
        let evicted = routes.registry().evict_idle(address_request, principal, client, now);
        evicted.into_iter().for_each(|evicted| self.evict_entry(&evicted));
        let mut registry = routes.registry();
        let requester = Requester { principal, client };
        let relayed_ips =
            registry.reserve_port(address_request, requester, &self.config.relayed, &mut *self.rng, now);
        if relayed_ips.is_err() {
            registry.remove(principal, client);
        }
        Ok((relayed_ips?, activity))
    }

    fn evict_entry(&mut self, evicted: &AllocationEntry) {
        if evicted.worker == self.config.worker {
            self.close(&evicted.client, CloseReason::Evicted);
        } else {
            self.events.push_back(Event::Evict { worker: evicted.worker, client: evicted.client });
        }
    }

    fn activate(&mut self, pending: PendingAllocation, now: Instant) -> Reply {
        let group = group_of(&pending.identity.principal);
        let route = Route::new(pending.client, self.config.worker, group, pending.lease.relayed);
        let confined = pending.identity.principal.is_confined();
        let (rate, epoch) = (self.config.max_bps, self.routes.epoch);
        let route = Arc::new(if confined {
            let source = pending.client.remote.ip();
            let limits = self.routes.tester_bandwidth.limits(source, tester_rate(rate), epoch);
            route.confined(true).with_limits(limits)
        } else {
            route.with_rate_limit(rate, epoch)
        });
        let expires = now + pending.lifetime;
        let allocation = Allocation {
            id: self.next_id(),
            route: Arc::clone(&route),
            principal: pending.identity.principal,
            username: pending.identity.username.into(),
            key: pending.identity.key,
            transaction: pending.transaction,
            expires,
            orphaned: None,
            activity: pending.activity,
            deadline: expires,
            extras: pending.lease.extras,
        };
        let reply = success(&allocation, now);
        self.routes.publish(&route);
        self.table.insert(allocation);
        self.stats.opened(pending.client.transport, &pending.lease.relayed);
        self.events
            .push_back(Event::AllocationOpened { client: pending.client, relayed: pending.lease.relayed });
        reply
    }

    /// Another port for one that is taken; `false` where there is none.
    fn retry_port(&mut self, pending: &mut PendingAllocation, taken: RelayedAddr, now: Instant) -> bool {
        pending.retries -= 1;
        let family = Family::of(taken.0.ip());
        // EVEN-PORT may have been asked for; an even port suits everybody.
        let parity = if taken.0.port().is_multiple_of(2) { Parity::Even } else { Parity::Any };
        let routes = Arc::clone(&self.routes);
        let mut registry = routes.registry();
        let address_request = AddressRequest::Single { family, parity };
        let requester = Requester { principal: &pending.identity.principal, client: pending.client };
        let other =
            registry.reserve_port(&address_request, requester, &self.config.relayed, &mut *self.rng, now);
        // Given back only now, so that it is not picked again.
        registry.release_port(taken);
        let Some(other) = other.ok().and_then(|lease| lease.relayed.of(family).copied()) else {
            return false;
        };
        *pending.lease.relayed.of_mut(family) = Some(other);
        pending.unbound.push(other);
        self.events.push_back(Event::OpenPort(other));
        true
    }

    /// Goes on with the other family, where there is one.
    fn drop_family(&mut self, pending: &mut PendingAllocation, relayed: RelayedAddr) {
        let family = Family::of(relayed.0.ip());
        if pending.lease.relayed.of_mut(family).take().is_some() {
            self.routes.registry().release_port(relayed);
        }
        if family == Family::V6 {
            pending.lease.extras.second_family = Some(Refusal::InsufficientCapacity);
        } else if let Some(other) = pending.lease.relayed.v6.take() {
            // IPv4 is what ADDITIONAL-ADDRESS-FAMILY adds to; without it there is nothing to add.
            pending.unbound.clear();
            self.release(other);
        }
    }

    /// The sockets are there, and whoever wanted them has gone meanwhile.
    fn cancel_pending(&mut self, pending: &PendingAllocation, now: Instant) {
        for &relayed in pending.lease.relayed.iter() {
            self.release(relayed);
        }
        self.routes.registry().remove(&pending.identity.principal, pending.client);
        if !pending.disconnected {
            let (client, transaction) = (pending.client, pending.transaction);
            self.challenge(client, Method::Allocate, transaction, &Refusal::Unauthenticated, now);
        }
    }

    /// Its client's stream has ended.
    pub(super) fn mark_pending_disconnected(&mut self, client: &ClientAddr) {
        let of_client = self.pending.iter_mut().filter(|pending| pending.client == *client);
        of_client.for_each(|pending| pending.disconnected = true);
    }

    fn reject_pending(&mut self, pending: &PendingAllocation) {
        self.routes.registry().remove(&pending.identity.principal, pending.client);
        let (client, transaction) = (pending.client, pending.transaction);
        self.refuse(client, Method::Allocate, transaction, &Refusal::InsufficientCapacity, &pending.identity);
    }
}

/// What an Allocate is answered, the first time and to a retransmission.
fn success(allocation: &Allocation, now: Instant) -> Reply {
    let mut reply = Reply::success_to(Method::Allocate, allocation.transaction);
    for relayed in allocation.route.relayed.iter() {
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
    reply.lifetime(left).mapped(allocation.route.client.remote)
}

/// How many other ports will do where one is in use: none where it is that very port, or its
/// neighbour, that was promised.
fn retries(address_request: &AddressRequest) -> u8 {
    match address_request {
        AddressRequest::Reserved(_) | AddressRequest::Single { parity: Parity::EvenAndNext, .. } => 0,
        AddressRequest::Single { .. } | AddressRequest::Dual { .. } => MAX_PORT_RETRIES,
    }
}

/// What is asked, within bounds; ten minutes where nothing is, and to strangers who test.
pub(super) fn lifetime(asked: Option<Duration>, principal: &Principal) -> Duration {
    let asked = asked.filter(|_| !principal.is_confined()).unwrap_or(*LIFETIME_RANGE.start());
    asked.clamp(*LIFETIME_RANGE.start(), *LIFETIME_RANGE.end())
}

/// Bytes per second for a stranger who tests, where `max_bps` (0: none) allows as much.
fn tester_rate(max_bps: u32) -> u32 {
    if max_bps == 0 { TESTER_RATE_LIMIT } else { max_bps.min(TESTER_RATE_LIMIT) }
}

/// The room of a holder; other software's ids are each a room of their own.
fn group_of(principal: &Principal) -> IsolationGroup {
    match principal {
        Principal::Participant(group, _) | Principal::Tool(group, _) | Principal::Tester(group, _) => *group,
        Principal::Foreign(id) => IsolationGroup::of_foreign(id),
    }
}
