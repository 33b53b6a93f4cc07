//! Allocate requests that wait for their sockets, and the allocations that they become (RFC 8656 §7.2).

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::addr::{ClientAddr, Families, Family, RelayedAddr};
use crate::allocation::{Activity, Allocation, AllocationId};
use crate::auth::Identity;
use crate::credential::Principal;
use crate::principal::IsolationGroup;
use crate::registry::{PortLease, Requester};
use crate::request::{AddressRequest, Allocate, Method, Parity};
use crate::response::{Refusal, Reply};
use crate::routing_table::{Route, RoutingTable};
use crate::server::{Event, Output, PortError};

/// An accepted Allocate with its reserved ports.
#[derive(Debug)]
pub(crate) struct PendingAllocate {
    pub(crate) client: ClientAddr,
    pub(crate) transaction: [u8; 12],
    pub(crate) identity: Identity,
    pub(crate) lease: PortLease,
    /// The client's stream has closed since.
    pub(crate) disconnected: bool,
    lifetime: Duration,
    activity: Arc<Activity>,
    /// Relayed addresses whose socket is still to be bound.
    unbound: Vec<RelayedAddr>,
    /// Ports still to try when another program has one.
    retries: u8,
}

/// The Allocate requests of a worker that wait for sockets.
pub(crate) struct PendingAllocates {
    list: Vec<PendingAllocate>,
    routes: Arc<RoutingTable>,
    /// Picks ports and reservation tokens.
    rng: Box<dyn FnMut() -> u64 + Send>,
}

/// RFC 8656 §3.2 and §7.2.
const LIFETIME_RANGE: RangeInclusive<Duration> = Duration::from_secs(600)..=Duration::from_secs(3600);
const MAX_PORT_RETRIES: u8 = 8;
/// 20 Mbit/s: twice what the connection test sends, and too little to run a service with.
const TESTER_RATE_LIMIT: u32 = 2_500_000;

impl PendingAllocates {
    pub(crate) fn new(routes: Arc<RoutingTable>, rng: Box<dyn FnMut() -> u64 + Send>) -> Self {
        Self { list: Vec::new(), routes, rng }
    }

    pub(crate) fn contains(&self, client: &ClientAddr) -> bool {
        self.list.iter().any(|pending| pending.client == *client)
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Reserves what `address_request` asks for, on the addresses in `relayed_ips`.
    pub(crate) fn reserve(
        &mut self,
        address_request: &AddressRequest,
        requester: Requester<'_>,
        relayed_ips: &Families<IpAddr>,
        now: Instant,
    ) -> Result<PortLease, Refusal> {
        self.routes.registry().reserve_port(address_request, requester, relayed_ips, &mut *self.rng, now)
    }

    /// Asks for the sockets of an Allocate.
    pub(crate) fn push(&mut self, pending: PendingAllocate, output: &mut Output) {
        output.events.extend(pending.unbound.iter().copied().map(Event::OpenPort));
        self.list.push(pending);
    }

    /// Notes the result of binding the socket of `relayed`; returns the Allocate once all its sockets have a result. A
    /// port in use is replaced by another; a family without a socket leaves the lease.
    pub(crate) fn port_opened(
        &mut self,
        relayed: RelayedAddr,
        result: Result<(), PortError>,
        relayed_ips: &Families<IpAddr>,
        now: Instant,
        output: &mut Output,
    ) -> Option<PendingAllocate> {
        let at = self.list.iter().position(|pending| pending.unbound.contains(&relayed))?;
        let mut pending = self.list.swap_remove(at);
        pending.unbound.retain(|other| *other != relayed);
        match result {
            Ok(()) => {}
            Err(PortError::InUse)
                if pending.retries > 0
                    && self.retry_port(&mut pending, relayed, relayed_ips, now, output) => {}
            Err(_) => self.drop_family(&mut pending, relayed, output),
        }
        if pending.unbound.is_empty() {
            return Some(pending);
        }
        self.list.push(pending);
        None
    }

    /// Notes that the stream of `client` has closed.
    pub(crate) fn disconnect(&mut self, client: &ClientAddr) {
        let of_client = self.list.iter_mut().filter(|pending| pending.client == *client);
        of_client.for_each(|pending| pending.disconnected = true);
    }

    /// Reserves another port in place of `in_use`; `false` if there is none.
    fn retry_port(
        &mut self,
        pending: &mut PendingAllocate,
        in_use: RelayedAddr,
        relayed_ips: &Families<IpAddr>,
        now: Instant,
        output: &mut Output,
    ) -> bool {
        pending.retries -= 1;
        let family = Family::of(in_use.0.ip());
        // The client may have sent EVEN-PORT; an even port is right in any case.
        let parity = if in_use.0.port().is_multiple_of(2) { Parity::Even } else { Parity::Any };
        let address_request = AddressRequest::Single { family, parity };
        let requester = Requester { principal: &pending.identity.principal, client: pending.client };
        let lease = self.reserve(&address_request, requester, relayed_ips, now);
        // Released after the reservation, so that it is not picked again.
        self.routes.registry().release_port(in_use);
        let Some(other) = lease.ok().and_then(|lease| lease.relayed.of(family).copied()) else {
            return false;
        };
        *pending.lease.relayed.of_mut(family) = Some(other);
        pending.unbound.push(other);
        output.events.push_back(Event::OpenPort(other));
        true
    }

    /// Continues with the other family, if there is one.
    fn drop_family(&mut self, pending: &mut PendingAllocate, failed: RelayedAddr, output: &mut Output) {
        let family = Family::of(failed.0.ip());
        if pending.lease.relayed.of_mut(family).take().is_some() {
            self.routes.registry().release_port(failed);
        }
        if family == Family::V6 {
            pending.lease.extras.second_family = Some(Refusal::InsufficientCapacity);
        } else if let Some(other) = pending.lease.relayed.v6.take() {
            // ADDITIONAL-ADDRESS-FAMILY adds to IPv4; without IPv4 there is nothing to add to.
            pending.unbound.clear();
            self.routes.release(other);
            output.events.push_back(Event::ClosePort(other));
        }
    }
}

impl PendingAllocate {
    pub(crate) fn new(
        client: ClientAddr,
        transaction: [u8; 12],
        identity: Identity,
        wanted: &Allocate,
        lease: PortLease,
        activity: Arc<Activity>,
    ) -> Self {
        Self {
            client,
            transaction,
            lifetime: granted_lifetime(wanted.lifetime, &identity.principal),
            identity,
            activity,
            unbound: lease.relayed.iter().copied().collect(),
            retries: max_retries(&wanted.address_request),
            disconnected: false,
            lease,
        }
    }

    /// The allocation, with `max_bps` as its bandwidth limit (0: none).
    pub(crate) fn into_allocation(
        self,
        id: AllocationId,
        worker: usize,
        max_bps: u32,
        routes: &RoutingTable,
        now: Instant,
    ) -> Allocation {
        let principal = self.identity.principal;
        let route = Route::new(self.client, worker, isolation_group(&principal), self.lease.relayed);
        let route = if principal.is_confined() {
            let source = self.client.remote.ip();
            let limits = routes.tester_bandwidth.limits(source, tester_rate(max_bps), routes.epoch);
            route.confined(true).with_limits(limits)
        } else {
            route.with_rate_limit(max_bps, routes.epoch)
        };
        let expires = now + self.lifetime;
        Allocation {
            id,
            route: Arc::new(route),
            principal,
            username: self.identity.username.into(),
            key: self.identity.key,
            transaction: self.transaction,
            expires,
            orphaned: None,
            activity: self.activity,
            deadline: expires,
            extras: self.lease.extras,
        }
    }
}

/// The success reply of an Allocate, the first time and to a retransmission.
pub(crate) fn allocate_reply(allocation: &Allocation, now: Instant) -> Reply {
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
    // Rounded up, so that a retransmission within the same second gets an equal reply.
    let remaining = allocation.expires.saturating_duration_since(now) + Duration::from_millis(999);
    reply.lifetime(remaining).mapped(allocation.route.client.remote)
}

/// The requested lifetime within bounds. Ten minutes by default, and always for connection tests.
pub(crate) fn granted_lifetime(requested: Option<Duration>, principal: &Principal) -> Duration {
    let requested = requested.filter(|_| !principal.is_confined()).unwrap_or(*LIFETIME_RANGE.start());
    requested.clamp(*LIFETIME_RANGE.start(), *LIFETIME_RANGE.end())
}

/// How many other ports may replace one in use: none where exactly this port, or the next one, was promised.
fn max_retries(address_request: &AddressRequest) -> u8 {
    match address_request {
        AddressRequest::Reserved(_) | AddressRequest::Single { parity: Parity::EvenAndNext, .. } => 0,
        AddressRequest::Single { .. } | AddressRequest::Dual { .. } => MAX_PORT_RETRIES,
    }
}

/// Bytes per second of a connection test, where `max_bps` (0: no limit) allows as much.
fn tester_rate(max_bps: u32) -> u32 {
    if max_bps == 0 { TESTER_RATE_LIMIT } else { max_bps.min(TESTER_RATE_LIMIT) }
}

/// Each id of other software is an isolation group of its own.
fn isolation_group(principal: &Principal) -> IsolationGroup {
    match principal {
        Principal::Participant(group, _) | Principal::Tool(group, _) | Principal::Tester(group, _) => *group,
        Principal::Foreign(id) => IsolationGroup::of_foreign(id),
    }
}

impl fmt::Debug for PendingAllocates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PendingAllocates").field(&self.list).finish()
    }
}
