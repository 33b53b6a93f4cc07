//! Refresh, CreatePermission and ChannelBind: what a client does with an allocation it has
//! (RFC 8656 §8–10, §12).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::addr::{ClientAddr, Family, PeerAddr};
use super::allocate::lifetime;
use super::allocation::Listing;
use super::auth::Verified;
use super::error::Refusal;
use super::request::Request;
use super::response::Reply;
use super::server::{End, Server};
use crate::time::Now;

impl Server {
    pub(super) fn refresh(
        &mut self,
        client: ClientAddr,
        request: &Request,
        verified: &Verified,
        Now { instant: now, unix }: Now,
    ) -> Result<Reply, Refusal> {
        let listing = Arc::clone(&self.allocation_of(&client, verified)?.listing);
        let wanted = request.refresh()?;
        if wanted.family.is_some_and(|family| listing.relayed.of(family).is_none()) {
            return Err(Refusal::FamilyMismatch);
        }
        if wanted.lifetime == Some(Duration::ZERO) {
            self.delete(&client, &listing, wanted.family);
            return Ok(Reply::success(request).lifetime(Duration::ZERO));
        }
        // A call outlives its credential, a stranger's test does not.
        if listing.confined && verified.expiry <= unix {
            return Err(Refusal::Unauthenticated);
        }
        let granted = lifetime(wanted.lifetime, &verified.holder);
        let epoch = self.exchange.epoch;
        self.table.change(&client, |allocation| {
            allocation.expires = now + granted;
            allocation.pulse.beat(now, epoch);
        });
        self.exchange.changed();
        Ok(Reply::success(request).lifetime(granted))
    }

    pub(super) fn create_permission(
        &mut self,
        client: ClientAddr,
        request: &Request,
        verified: &Verified,
        now: Instant,
    ) -> Result<Reply, Refusal> {
        let mut listing = Listing::clone(&self.allocation_of(&client, verified)?.listing);
        let peers: Vec<IpAddr> = request.peers()?.iter().map(|peer| peer.0.ip()).collect();
        peers.iter().try_for_each(|&peer| self.may_permit(&listing, peer))?;
        listing.permit(&peers, now)?;
        self.publish(client, listing, now);
        Ok(Reply::success(request))
    }

    pub(super) fn channel_bind(
        &mut self,
        client: ClientAddr,
        request: &Request,
        verified: &Verified,
        now: Instant,
    ) -> Result<Reply, Refusal> {
        let mut listing = Listing::clone(&self.allocation_of(&client, verified)?.listing);
        let wanted = request.channel_bind()?;
        self.may_permit(&listing, wanted.peer.0.ip())?;
        self.may_bind(&listing, wanted.peer)?;
        listing.bind(wanted.channel, wanted.peer, now)?;
        self.publish(client, listing, now);
        Ok(Reply::success(request))
    }

    fn may_permit(&self, listing: &Listing, peer: IpAddr) -> Result<(), Refusal> {
        if listing.relayed.of(Family::of(peer)).is_none() {
            return Err(Refusal::FamilyMismatch);
        }
        let permitted = self.lends(peer) || self.scope_of(listing).permits(peer, &self.rules.relayed);
        if permitted { Ok(()) } else { Err(Refusal::Forbidden) }
    }

    /// One of our relayed addresses must be somebody's, and in the same room.
    fn may_bind(&self, listing: &Listing, peer: PeerAddr) -> Result<(), Refusal> {
        let ip = peer.0.ip();
        let target = self.exchange.at(Family::of(ip), peer.0.port());
        let found = |target: &Arc<Listing>| target.is_at(peer) && self.meets(listing, target);
        let inside = self.lends(ip) && target.as_ref().is_some_and(found);
        if inside || self.may_leave(listing, peer) { Ok(()) } else { Err(Refusal::Forbidden) }
    }

    /// Ends the allocation, or one of its two relayed addresses (RFC 8656 §8.2).
    fn delete(&mut self, client: &ClientAddr, listing: &Listing, family: Option<Family>) {
        let both = listing.relayed.v4.is_some() && listing.relayed.v6.is_some();
        let Some(family) = family.filter(|_| both) else {
            return self.close(client, End::Deleted);
        };
        let mut left = Listing::clone(listing);
        if let Some(relayed) = left.relayed.of_mut(family).take() {
            self.release(relayed);
        }
        left.revoke(|peer| Family::of(peer) != family);
        self.tally.narrowed(client.transport, &listing.relayed, &left.relayed);
        let left = Arc::new(left);
        self.table.change(client, |allocation| allocation.listing = Arc::clone(&left));
        self.exchange.publish(&left);
    }

    fn publish(&mut self, client: ClientAddr, listing: Listing, now: Instant) {
        let (listing, epoch) = (Arc::new(listing), self.exchange.epoch);
        self.exchange.publish(&listing);
        self.table.change(&client, |allocation| {
            allocation.listing = listing;
            allocation.pulse.beat(now, epoch);
        });
    }
}
