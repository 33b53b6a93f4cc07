//! The allocations of one worker: requests create, change and delete them (RFC 8656 §7–12), timeouts and the end of a
//! participation close them.
//!
//! In [`PeerPolicy::Public`](crate::peer_policy::PeerPolicy::Public) the reply to an Allocate waits until the caller has
//! bound a socket for each relayed address.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::addr::{ClientAddr, Families, Family, PeerAddr, RelayedAddr};
use crate::allocation::{Activity, Allocation, AllocationTable};
use crate::auth::{Identity, IntegrityKey};
use crate::credential::Principal;
use crate::peer_policy::Reachability;
use crate::pending_allocates::{PendingAllocate, PendingAllocates, allocate_reply, granted_lifetime};
use crate::principal::{Admissions, IsolationGroup, PrincipalEvent, PrincipalId};
use crate::registry::{AllocationEntry, PortLease, Quota, Requester};
use crate::request::{AddressRequest, Method, Request};
use crate::response::{Refusal, Reply};
use crate::routing_table::{Route, RoutingTable};
use crate::server::{CloseReason, Event, Now, Output, PortError, ServerConfig};

/// The allocations of one worker, and what decides whether there may be more.
#[derive(Debug)]
pub(crate) struct Allocations {
    worker: usize,
    quota: Quota,
    max_bps: u32,
    credential_ttl: Duration,
    routes: Arc<RoutingTable>,
    table: AllocationTable,
    pending: PendingAllocates,
    admissions: Admissions,
    reachability: Reachability,
}

/// The outcome of an Allocate that waited for its sockets.
#[derive(Debug)]
pub(crate) struct CompletedAllocate {
    pub(crate) client: ClientAddr,
    pub(crate) transaction: [u8; 12],
    pub(crate) key: IntegrityKey,
    pub(crate) outcome: Result<Reply, Refusal>,
}

impl Allocations {
    pub(crate) fn new(
        config: ServerConfig,
        routes: Arc<RoutingTable>,
        rng: Box<dyn FnMut() -> u64 + Send>,
    ) -> Self {
        Self {
            worker: config.worker,
            quota: config.quota,
            max_bps: config.max_bps,
            credential_ttl: config.credential_ttl,
            table: AllocationTable::new(routes.epoch),
            pending: PendingAllocates::new(Arc::clone(&routes), rng),
            admissions: Admissions::new(config.group_size),
            reachability: Reachability::new(config.peer_policy, config.relayed),
            routes,
        }
    }

    pub(crate) fn table(&self) -> &AllocationTable {
        &self.table
    }

    pub(crate) fn routes(&self) -> &RoutingTable {
        &self.routes
    }

    pub(crate) fn reachability(&self) -> &Reachability {
        &self.reachability
    }

    /// The username and key that opened the allocation of `client`.
    pub(crate) fn credentials(&self, client: &ClientAddr) -> Option<(&str, &IntegrityKey)> {
        self.table.get(client).map(|allocation| (&*allocation.username, &allocation.key))
    }

    /// Carries out an authenticated request. `Ok(None)` if the reply waits for sockets.
    pub(crate) fn request(
        &mut self,
        client: ClientAddr,
        request: &Request,
        identity: &Identity,
        now: Now,
        output: &mut Output,
    ) -> Result<Option<Reply>, Refusal> {
        match request.method {
            Method::Allocate => self.allocate(client, request, identity, now, output),
            Method::Refresh => self.refresh(client, request, identity, now, output).map(Some),
            Method::CreatePermission => {
                self.create_permission(client, request, identity, now.instant).map(Some)
            }
            Method::ChannelBind => self.channel_bind(client, request, identity, now.instant).map(Some),
            Method::Binding => Ok(None),
        }
    }

    /// Continues the Allocate that waits for the socket of `relayed`; returns it once it waits for no other.
    pub(crate) fn port_opened(
        &mut self,
        relayed: RelayedAddr,
        result: Result<(), PortError>,
        now: Instant,
        output: &mut Output,
    ) -> Option<CompletedAllocate> {
        let pending = self.pending.port_opened(relayed, result, self.reachability.relayed(), now, output)?;
        let (client, transaction, key) = (pending.client, pending.transaction, pending.identity.key.clone());
        let outcome = if pending.lease.relayed.iter().next().is_none() {
            self.routes.registry().remove(&pending.identity.principal, client);
            Err(Refusal::InsufficientCapacity)
        } else if pending.disconnected || !self.admissions.is_admitted(&pending.identity.principal) {
            pending.lease.relayed.iter().for_each(|&relayed| self.release(relayed, output));
            self.routes.registry().remove(&pending.identity.principal, client);
            if pending.disconnected {
                return None;
            }
            Err(Refusal::Unauthenticated)
        } else {
            Ok(self.activate(pending, now, output))
        };
        Some(CompletedAllocate { client, transaction, key, outcome })
    }

    /// Admits a participant, or ends its allocations: immediately when it left, later when it expired.
    pub(crate) fn principal_event(&mut self, event: PrincipalEvent, now: Instant, output: &mut Output) {
        match event {
            PrincipalEvent::Admitted(group, id) => {
                let replaced = self.admissions.admit(group, id);
                self.set_orphan_deadline(group, id, None);
                replaced.into_iter().for_each(|other| self.close_participant(group, other, output));
            }
            PrincipalEvent::Left(group, id) => {
                self.admissions.remove(group, id);
                self.close_participant(group, id, output);
            }
            PrincipalEvent::Expired(group, id) => {
                self.admissions.remove(group, id);
                // By then every credential of the participant has expired.
                if self.set_orphan_deadline(group, id, Some(now + self.credential_ttl)) {
                    self.admissions.add_orphan(group, id);
                }
            }
        }
    }

    pub(crate) fn drain(&mut self) {
        self.admissions.drain();
    }

    pub(crate) fn timeout(&mut self, now: Instant, output: &mut Output) {
        while let Some(client) = self.table.next_expired(now) {
            self.close(&client, CloseReason::Expired, output);
        }
    }

    pub(crate) fn disconnect(&mut self, client: &ClientAddr, output: &mut Output) {
        self.pending.disconnect(client);
        self.close(client, CloseReason::Disconnected, output);
    }

    /// Closes the allocation of `client`, if it has one.
    pub(crate) fn close(&mut self, client: &ClientAddr, end: CloseReason, output: &mut Output) {
        let Some(allocation) = self.table.remove(client) else { return };
        for &relayed in allocation.route.relayed.iter() {
            self.release(relayed, output);
        }
        self.routes.registry().remove(&allocation.principal, *client);
        self.forget_orphan(&allocation);
        output.stats.closed(client.transport, &allocation.route.relayed, end);
        let sent = allocation.activity.sent();
        output.events.push_back(Event::AllocationClosed { client: *client, end, sent });
    }

    /// Replaces the addresses of the host, and withdraws permissions that the policy no longer allows.
    pub(crate) fn set_addresses(&mut self, relayed: Families<IpAddr>, own: Vec<IpAddr>) {
        self.reachability.set_addresses(relayed, own);
        for route in self.table.routes_mut() {
            let mut changed = Route::clone(route);
            if changed.retain_peers(|peer| self.reachability.permits(peer)) {
                *route = Arc::new(changed);
                self.routes.publish(route);
            }
        }
        // Also ends flows that only the filter allows, such as one to an address that now has a listener.
        self.routes.invalidate_flows();
    }

    fn allocate(
        &mut self,
        client: ClientAddr,
        request: &Request,
        identity: &Identity,
        now: Now,
        output: &mut Output,
    ) -> Result<Option<Reply>, Refusal> {
        if let Some(allocation) = self.table.get(&client) {
            let retransmitted =
                allocation.transaction == request.transaction && *allocation.username == *identity.username;
            return if retransmitted {
                Ok(Some(allocate_reply(allocation, now.instant)))
            } else {
                Err(Refusal::AllocationMismatch)
            };
        }
        if self.pending.contains(&client) {
            return Ok(None);
        }
        self.admissions.check(&identity.principal, identity.expiry, now.unix)?;
        let wanted = request.allocate()?;
        let (lease, activity) =
            self.reserve(client, identity, &wanted.address_request, now.instant, output)?;
        let pending =
            PendingAllocate::new(client, request.transaction, identity.clone(), &wanted, lease, activity);
        if self.reachability.needs_sockets() && !identity.principal.is_confined() {
            self.pending.push(pending, output);
            Ok(None)
        } else {
            Ok(Some(self.activate(pending, now.instant, output)))
        }
    }

    /// Enters the allocation in the registry and reserves its ports. Idle allocations are evicted for it.
    fn reserve(
        &mut self,
        client: ClientAddr,
        identity: &Identity,
        address_request: &AddressRequest,
        now: Instant,
        output: &mut Output,
    ) -> Result<(PortLease, Arc<Activity>), Refusal> {
        let (principal, epoch) = (&identity.principal, self.routes.epoch);
        let activity = Arc::new(Activity::default());
        activity.touch(now, epoch);
        let entry = AllocationEntry::new(self.worker, client, Arc::clone(&activity), epoch);
        let evicted = self.routes.registry().insert(principal, entry, self.quota, now)?;
        evicted.into_iter().for_each(|entry| self.evict(&entry, output));
        let evicted = self.routes.registry().evict_idle(address_request, principal, client, now);
        evicted.into_iter().for_each(|entry| self.evict(&entry, output));
        let requester = Requester { principal, client };
        let lease = self.pending.reserve(address_request, requester, self.reachability.relayed(), now);
        if lease.is_err() {
            self.routes.registry().remove(principal, client);
        }
        Ok((lease?, activity))
    }

    fn evict(&mut self, entry: &AllocationEntry, output: &mut Output) {
        if entry.worker == self.worker {
            self.close(&entry.client, CloseReason::Evicted, output);
        } else {
            output.events.push_back(Event::Evict { worker: entry.worker, client: entry.client });
        }
    }

    fn activate(&mut self, pending: PendingAllocate, now: Instant, output: &mut Output) -> Reply {
        let id = self.table.next_id();
        let allocation = pending.into_allocation(id, self.worker, self.max_bps, &self.routes, now);
        let reply = allocate_reply(&allocation, now);
        let Route { client, relayed, .. } = *allocation.route;
        self.routes.publish(&allocation.route);
        self.table.insert(allocation);
        output.stats.opened(client.transport, &relayed);
        output.events.push_back(Event::AllocationOpened { client, relayed });
        reply
    }

    fn refresh(
        &mut self,
        client: ClientAddr,
        request: &Request,
        identity: &Identity,
        Now { instant: now, unix }: Now,
        output: &mut Output,
    ) -> Result<Reply, Refusal> {
        let route = Arc::clone(&self.allocation_of(&client, identity)?.route);
        let wanted = request.refresh()?;
        if wanted.family.is_some_and(|family| route.relayed.of(family).is_none()) {
            return Err(Refusal::FamilyMismatch);
        }
        if wanted.lifetime == Some(Duration::ZERO) {
            self.delete(&client, &route, wanted.family, output);
            return Ok(Reply::success(request).lifetime(Duration::ZERO));
        }
        // A call continues after its credential has expired, a connection test does not.
        if route.confined && identity.expiry <= unix {
            return Err(Refusal::Unauthenticated);
        }
        let lifetime = granted_lifetime(wanted.lifetime, &identity.principal);
        let epoch = self.routes.epoch;
        self.table.update(&client, |allocation| {
            allocation.expires = now + lifetime;
            allocation.activity.touch(now, epoch);
        });
        self.routes.invalidate_flows();
        Ok(Reply::success(request).lifetime(lifetime))
    }

    fn create_permission(
        &mut self,
        client: ClientAddr,
        request: &Request,
        identity: &Identity,
        now: Instant,
    ) -> Result<Reply, Refusal> {
        let mut route = Route::clone(&self.allocation_of(&client, identity)?.route);
        let peers: Vec<IpAddr> = request.peers()?.iter().map(|peer| peer.0.ip()).collect();
        peers.iter().try_for_each(|&peer| self.check_permission(&route, peer))?;
        route.permit(&peers, now)?;
        self.publish(client, route, now);
        Ok(Reply::success(request))
    }

    fn channel_bind(
        &mut self,
        client: ClientAddr,
        request: &Request,
        identity: &Identity,
        now: Instant,
    ) -> Result<Reply, Refusal> {
        let mut route = Route::clone(&self.allocation_of(&client, identity)?.route);
        let wanted = request.channel_bind()?;
        self.check_permission(&route, wanted.peer.0.ip())?;
        self.check_channel_peer(&route, wanted.peer)?;
        route.bind_channel(wanted.channel, wanted.peer, now)?;
        self.publish(client, route, now);
        Ok(Reply::success(request))
    }

    fn check_permission(&self, route: &Route, peer: IpAddr) -> Result<(), Refusal> {
        if route.relayed.of(Family::of(peer)).is_none() {
            return Err(Refusal::FamilyMismatch);
        }
        if self.reachability.may_permit(route, peer) { Ok(()) } else { Err(Refusal::Forbidden) }
    }

    /// A channel to a relayed address needs an allocation there that `route` may reach.
    fn check_channel_peer(&self, route: &Route, peer: PeerAddr) -> Result<(), Refusal> {
        let ip = peer.0.ip();
        let target = self.routes.lookup(Family::of(ip), peer.0.port());
        let is_reachable = |target: &Arc<Route>| {
            target.has_relayed_addr(peer) && self.reachability.may_relay_internally(route, target)
        };
        let internal = self.reachability.is_relayed_ip(ip) && target.as_ref().is_some_and(is_reachable);
        if internal || self.reachability.may_send_external(route, peer) {
            Ok(())
        } else {
            Err(Refusal::Forbidden)
        }
    }

    /// Deletes the allocation, or one of its two relayed addresses (RFC 8656 §8.2).
    fn delete(&mut self, client: &ClientAddr, route: &Route, family: Option<Family>, output: &mut Output) {
        let has_both = route.relayed.v4.is_some() && route.relayed.v6.is_some();
        let Some(family) = family.filter(|_| has_both) else {
            return self.close(client, CloseReason::Deleted, output);
        };
        let mut remaining = Route::clone(route);
        if let Some(relayed) = remaining.relayed.of_mut(family).take() {
            self.release(relayed, output);
        }
        remaining.retain_peers(|peer| Family::of(peer) != family);
        output.stats.family_removed(client.transport, &route.relayed, &remaining.relayed);
        let remaining = Arc::new(remaining);
        self.table.update(client, |allocation| allocation.route = Arc::clone(&remaining));
        self.routes.publish(&remaining);
    }

    fn publish(&mut self, client: ClientAddr, route: Route, now: Instant) {
        let (route, epoch) = (Arc::new(route), self.routes.epoch);
        self.routes.publish(&route);
        self.table.update(&client, |allocation| {
            allocation.route = route;
            allocation.activity.touch(now, epoch);
        });
    }

    /// Withdraws one relayed address, returns its port and closes its socket.
    fn release(&self, relayed: RelayedAddr, output: &mut Output) {
        self.routes.release(relayed);
        if self.reachability.needs_sockets() {
            output.events.push_back(Event::ClosePort(relayed));
        }
    }

    fn allocation_of(&self, client: &ClientAddr, identity: &Identity) -> Result<&Allocation, Refusal> {
        let allocation = self.table.get(client).ok_or(Refusal::AllocationMismatch)?;
        if *allocation.username == *identity.username {
            Ok(allocation)
        } else {
            Err(Refusal::WrongCredentials)
        }
    }

    fn close_participant(&mut self, group: IsolationGroup, id: PrincipalId, output: &mut Output) {
        let clients = self.clients_of(group, id);
        clients.iter().for_each(|client| self.close(client, CloseReason::PrincipalLeft, output));
    }

    /// Sets when the allocations of a participant end without it; `None`: it is admitted. Whether it has any.
    fn set_orphan_deadline(
        &mut self,
        group: IsolationGroup,
        id: PrincipalId,
        deadline: Option<Instant>,
    ) -> bool {
        let mut has_allocations = false;
        for client in self.clients_of(group, id) {
            let updated = self.table.update(&client, |allocation| allocation.orphaned = deadline);
            has_allocations |= updated.is_some();
        }
        has_allocations
    }

    /// Forgets an expired participant once its last allocation here has closed.
    fn forget_orphan(&mut self, closed: &Allocation) {
        if let (Some(_), &Principal::Participant(group, id)) = (closed.orphaned, &closed.principal)
            && self.clients_of(group, id).is_empty()
        {
            self.admissions.forget_orphan(group, id);
        }
    }

    fn clients_of(&self, group: IsolationGroup, id: PrincipalId) -> Vec<ClientAddr> {
        self.routes.registry().clients_of(&Principal::Participant(group, id), self.worker)
    }
}

#[cfg(test)]
impl Allocations {
    pub(crate) fn set_max_bps(&mut self, max_bps: u32) {
        self.max_bps = max_bps;
    }

    pub(crate) fn orphan_count(&self) -> usize {
        self.admissions.orphan_count()
    }

    pub(crate) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }
}
