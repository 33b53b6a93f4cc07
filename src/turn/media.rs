//! The way of a media packet through a server: found without a lock or an allocation of memory
//! (RFC 8656 §11–12).

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::address::{ClientAddr, Families, Family, PeerAddr, RelayedAddr};
use super::allocation::Listing;
use super::channel_data;
use super::scope::{self, PeerFilter, Scope};
use super::server::{Delivery, Server};
use crate::seat::RoomTag;

impl Server {
    /// Takes one datagram that a peer sent to a real relayed port (RFC 8656 §11.3).
    pub fn handle_peer<'p>(
        &mut self,
        relayed: RelayedAddr,
        peer: PeerAddr,
        payload: &'p [u8],
        now: Instant,
    ) -> Option<Delivery<'p>> {
        let transaction = self.next_transaction();
        let listing = self.exchange.at(Family::of(relayed.0.ip()), relayed.0.port());
        let listing = listing.as_ref()?;
        let head = listing.head(RelayedAddr(peer.0), payload.len(), transaction, now)?;
        let passes = self.may_receive(listing, payload, now);
        passes.then_some(Delivery::Client { to: listing.client, worker: listing.worker, head, payload })
    }

    pub(super) fn channel_data<'p>(
        &mut self,
        client: ClientAddr,
        bytes: &'p [u8],
        now: Instant,
    ) -> Option<Delivery<'p>> {
        let (channel, payload) = channel_data::parse_channel_data(bytes)?;
        let transaction = self.next_transaction();
        let from = self.heard(&client, now)?;
        let peer = from.peer_on(channel, now)?;
        self.relay(from, peer, payload, false, transaction, now)
    }

    pub(super) fn send_indication<'p>(
        &mut self,
        client: ClientAddr,
        bytes: &'p [u8],
        now: Instant,
    ) -> Option<Delivery<'p>> {
        let sent = channel_data::parse_send_indication(bytes)?;
        let transaction = self.next_transaction();
        let from = self.heard(&client, now)?;
        self.relay(from, sent.peer, sent.payload, sent.dont_fragment, transaction, now)
    }

    /// The allocation of a client that has just been heard.
    fn heard(&self, client: &ClientAddr, now: Instant) -> Option<&Listing> {
        let allocation = self.table.of(client)?;
        if allocation.expires <= now {
            return None;
        }
        allocation.pulse.beat(now, self.exchange.epoch);
        Some(&allocation.listing)
    }

    /// Hands a payload on, inside the process where the peer is one of our relayed addresses.
    fn relay<'p>(
        &self,
        from: &Listing,
        peer: PeerAddr,
        payload: &'p [u8],
        dont_fragment: bool,
        transaction: [u8; 12],
        now: Instant,
    ) -> Option<Delivery<'p>> {
        let ip = peer.0.ip();
        let relayed = *from.relayed.of(Family::of(ip))?;
        if !from.permits(ip, now) {
            return None;
        }
        if scope::is_relayed(ip, &self.rules.relayed) {
            let target = self.exchange.at(Family::of(ip), peer.0.port());
            if let Some(target) = target.as_ref().filter(|target| self.meets(from.tag, target)) {
                let head = target.head(relayed, payload.len(), transaction, now)?;
                if !(self.may_send(from, payload, now) && self.may_receive(target, payload, now)) {
                    return None;
                }
                return Some(Delivery::Client { to: target.client, worker: target.worker, head, payload });
            }
        }
        let leaves = self.may_leave(peer) && self.may_send(from, payload, now);
        leaves.then_some(Delivery::Peer { from: relayed, to: peer, payload, dont_fragment })
    }

    /// Counts what a client sends.
    fn may_send(&self, from: &Listing, payload: &[u8], now: Instant) -> bool {
        let own = from.paces.as_ref().is_none_or(|paces| paces.up.allows(payload.len(), now));
        own && self.exchange.paces.up.allows(payload.len(), now)
    }

    /// Counts what a client is sent.
    fn may_receive(&self, to: &Listing, payload: &[u8], now: Instant) -> bool {
        let own = to.paces.as_ref().is_none_or(|paces| paces.down.allows(payload.len(), now));
        own && self.exchange.paces.down.allows(payload.len(), now)
    }

    /// Whether an allocation of `tag` may reach `target` inside the process.
    pub(super) fn meets(&self, tag: RoomTag, target: &Listing) -> bool {
        matches!(self.rules.scope, Scope::Public(_)) || target.tag == tag
    }

    /// Whether packets to `peer`, which no allocation of ours answers to, may go out on the
    /// network.
    pub(super) fn may_leave(&self, peer: PeerAddr) -> bool {
        match &self.rules.scope {
            Scope::Room => false,
            Scope::Public(filter) => filter_passes(filter, &self.rules.relayed, peer.0),
        }
    }

    /// Varied, not secret: nobody answers an indication.
    fn next_transaction(&mut self) -> [u8; 12] {
        self.indications_made = self.indications_made.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut transaction = [0; 12];
        transaction[..8].copy_from_slice(&self.indications_made.to_be_bytes());
        transaction
    }
}

fn filter_passes(filter: &PeerFilter, relayed: &Families<IpAddr>, peer: SocketAddr) -> bool {
    let lent = scope::is_relayed(peer.ip(), relayed);
    let allowed = if lent { filter.allows(peer.ip()) } else { filter.permits(peer.ip()) };
    allowed && peer.port() != 0 && !filter.is_listener(peer)
}
