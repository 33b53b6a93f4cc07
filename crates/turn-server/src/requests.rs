//! Refresh, CreatePermission and ChannelBind: what a client does with an allocation it has
//! (RFC 8656 §8–10, §12).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::addr::{ClientAddr, Family, PeerAddr};
use super::allocate::lifetime;
use super::allocation::Route;
use super::auth::Identity;
use super::error::Refusal;
use super::request::Request;
use super::response::Reply;
use super::server::{CloseReason, Server};
use crate::time::Now;

impl Server {
    pub(super) fn refresh(
        &mut self,
        client: ClientAddr,
        request: &Request,
        identity: &Identity,
        Now { instant: now, unix }: Now,
    ) -> Result<Reply, Refusal> {
        let route = Arc::clone(&self.allocation_of(&client, identity)?.route);
        let wanted = request.refresh()?;
        if wanted.family.is_some_and(|family| route.relayed.of(family).is_none()) {
            return Err(Refusal::FamilyMismatch);
        }
        if wanted.lifetime == Some(Duration::ZERO) {
            self.delete(&client, &route, wanted.family);
            return Ok(Reply::success(request).lifetime(Duration::ZERO));
        }
        // A call outlives its credential, a stranger's test does not.
        if route.confined && identity.expiry <= unix {
            return Err(Refusal::Unauthenticated);
        }
        let granted = lifetime(wanted.lifetime, &identity.principal);
        let epoch = self.routes.epoch;
        self.table.update(&client, |allocation| {
            allocation.expires = now + granted;
            allocation.activity.touch(now, epoch);
        });
        self.routes.invalidate_flows();
        Ok(Reply::success(request).lifetime(granted))
    }

    pub(super) fn create_permission(
        &mut self,
        client: ClientAddr,
        request: &Request,
        identity: &Identity,
        now: Instant,
    ) -> Result<Reply, Refusal> {
        let mut route = Route::clone(&self.allocation_of(&client, identity)?.route);
        let peers: Vec<IpAddr> = request.peers()?.iter().map(|peer| peer.0.ip()).collect();
        peers.iter().try_for_each(|&peer| self.may_permit(&route, peer))?;
        route.permit(&peers, now)?;
        self.publish(client, route, now);
        Ok(Reply::success(request))
    }

    pub(super) fn channel_bind(
        &mut self,
        client: ClientAddr,
        request: &Request,
        identity: &Identity,
        now: Instant,
    ) -> Result<Reply, Refusal> {
        let mut route = Route::clone(&self.allocation_of(&client, identity)?.route);
        let wanted = request.channel_bind()?;
        self.may_permit(&route, wanted.peer.0.ip())?;
        self.may_bind(&route, wanted.peer)?;
        route.bind_channel(wanted.channel, wanted.peer, now)?;
        self.publish(client, route, now);
        Ok(Reply::success(request))
    }

    fn may_permit(&self, route: &Route, peer: IpAddr) -> Result<(), Refusal> {
        if route.relayed.of(Family::of(peer)).is_none() {
            return Err(Refusal::FamilyMismatch);
        }
        let permitted = self.is_relayed_ip(peer) || self.policy_of(route).permits(peer, &self.config.relayed);
        if permitted { Ok(()) } else { Err(Refusal::Forbidden) }
    }

    /// One of our relayed addresses must be somebody's, and in the same room.
    fn may_bind(&self, route: &Route, peer: PeerAddr) -> Result<(), Refusal> {
        let ip = peer.0.ip();
        let target = self.routes.lookup(Family::of(ip), peer.0.port());
        let found =
            |target: &Arc<Route>| target.has_relayed_addr(peer) && self.may_relay_internally(route, target);
        let inside = self.is_relayed_ip(ip) && target.as_ref().is_some_and(found);
        if inside || self.may_send_external(route, peer) { Ok(()) } else { Err(Refusal::Forbidden) }
    }

    /// Ends the allocation, or one of its two relayed addresses (RFC 8656 §8.2).
    fn delete(&mut self, client: &ClientAddr, route: &Route, family: Option<Family>) {
        let both = route.relayed.v4.is_some() && route.relayed.v6.is_some();
        let Some(family) = family.filter(|_| both) else {
            return self.close(client, CloseReason::Deleted);
        };
        let mut left = Route::clone(route);
        if let Some(relayed) = left.relayed.of_mut(family).take() {
            self.release(relayed);
        }
        left.retain_peers(|peer| Family::of(peer) != family);
        self.stats.family_removed(client.transport, &route.relayed, &left.relayed);
        let left = Arc::new(left);
        self.table.update(client, |allocation| allocation.route = Arc::clone(&left));
        self.routes.publish(&left);
    }

    fn publish(&mut self, client: ClientAddr, route: Route, now: Instant) {
        let (route, epoch) = (Arc::new(route), self.routes.epoch);
        self.routes.publish(&route);
        self.table.update(&client, |allocation| {
            allocation.route = route;
            allocation.activity.touch(now, epoch);
        });
    }
}
