//! The way of a media packet through a server: found without a lock or an allocation of memory
//! (RFC 8656 §11–12).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::addr::{ClientAddr, Family, PeerAddr, RelayedAddr};
use super::allocation::Listing;
use super::bandwidth::Pace;
use super::channel_data;
use super::flow_cache::{Aim, Flow, Onward};
use super::peer_policy::{PeerFilter, Scope};
use super::server::{Delivery, Server};
use super::stats::Way;

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
        let (form, _) = listing.form(RelayedAddr(peer.0), now)?;
        let head = form.head(payload.len(), transaction)?;
        let own = listing.paces.as_ref().map(|own| &own.down);
        if !passes(own, &self.exchange.paces.down, payload.len(), now) {
            return None;
        }
        self.tally.carried(Way::Back, payload.len());
        Some(Delivery::Client { to: listing.client, worker: listing.worker, head, payload })
    }

    pub(super) fn channel_data<'p>(
        &mut self,
        client: ClientAddr,
        bytes: &'p [u8],
        now: Instant,
    ) -> Option<Delivery<'p>> {
        let (channel, payload) = channel_data::parse_channel_data(bytes)?;
        self.relay(&client, Aim::Channel(channel), payload, false, now)
    }

    pub(super) fn send_indication<'p>(
        &mut self,
        client: ClientAddr,
        bytes: &'p [u8],
        now: Instant,
    ) -> Option<Delivery<'p>> {
        let sent = channel_data::parse_send_indication(bytes)?;
        self.relay(&client, Aim::Peer(sent.peer), sent.payload, sent.dont_fragment, now)
    }

    /// Hands a payload on.
    fn relay<'p>(
        &mut self,
        client: &ClientAddr,
        aim: Aim,
        payload: &'p [u8],
        dont_fragment: bool,
        now: Instant,
    ) -> Option<Delivery<'p>> {
        // Read before the tables are: what changes meanwhile ends what is found.
        let generation = self.exchange.generation();
        let held = self.flows.place(client, &aim).as_ref();
        if !held.is_some_and(|flow| flow.holds(client, &aim, generation, now)) {
            // Found before it takes another's place: who is refused takes none.
            let found = self.find(client, aim, generation, now)?;
            *self.flows.place(client, &aim) = Some(found);
        }
        let transaction = self.next_transaction();
        let flow = self.flows.place(client, &aim).as_ref()?;
        flow.pulse.beat(now, self.exchange.epoch);
        let (size, paces) = (payload.len(), &self.exchange.paces);
        let up = flow.paces.as_ref().map(|own| &own.up);
        let (way, down, delivery) = match &flow.onward {
            Onward::Peer { from, to } => {
                (Way::Out, None, Delivery::Peer { from: *from, to: *to, payload, dont_fragment })
            }
            Onward::Client { to, worker, form, paces: own } => {
                let head = form.head(size, transaction)?;
                let down = Some(own.as_ref().map(|own| &own.down));
                (Way::Across, down, Delivery::Client { to: *to, worker: *worker, head, payload })
            }
        };
        let allowed =
            passes(up, &paces.up, size, now) && down.is_none_or(|own| passes(own, &paces.down, size, now));
        if !allowed {
            return None;
        }
        flow.pulse.carry(size);
        self.tally.carried(way, size);
        Some(delivery)
    }

    /// Where what `client` sends by `aim` leads; inside the process where the peer is one of our
    /// relayed addresses. `None` where it leads nowhere.
    fn find(&self, client: &ClientAddr, aim: Aim, generation: u64, now: Instant) -> Option<Flow> {
        let allocation = self.table.of(client).filter(|allocation| allocation.expires > now)?;
        let from = &allocation.listing;
        allocation.pulse.beat(now, self.exchange.epoch);
        let (peer, bound_until) = match aim {
            Aim::Channel(channel) => from.peer_on(channel, now)?,
            Aim::Peer(peer) => (peer, allocation.expires),
        };
        let ip = peer.0.ip();
        let relayed = *from.relayed.of(Family::of(ip))?;
        let until = from.permitted_until(ip, now)?.min(bound_until).min(allocation.expires);
        let found = |onward, until| {
            let (pulse, paces) = (Arc::clone(&allocation.pulse), from.paces.clone());
            Flow { client: *client, aim, generation, until, pulse, paces, onward }
        };
        if self.lends(ip) {
            let target = self.exchange.at(Family::of(ip), peer.0.port());
            if let Some(target) =
                target.as_ref().filter(|target| target.is_at(peer) && self.meets(from, target))
            {
                let (form, their_until) = target.form(relayed, now)?;
                let (to, worker, paces) = (target.client, target.worker, target.paces.clone());
                return Some(found(Onward::Client { to, worker, form, paces }, until.min(their_until)));
            }
        }
        self.may_leave(from, peer).then(|| found(Onward::Peer { from: relayed, to: peer }, until))
    }

    /// Whether `from` may reach `target` inside the process.
    pub(super) fn meets(&self, from: &Listing, target: &Listing) -> bool {
        let open = |listing| matches!(self.scope_of(listing), Scope::Public(_));
        (open(from) && open(target)) || target.tag == from.tag
    }

    /// Whether packets of `from` to `peer`, which no allocation of ours answers to, may go out on the
    /// network.
    pub(super) fn may_leave(&self, from: &Listing, peer: PeerAddr) -> bool {
        match self.scope_of(from) {
            Scope::Room => false,
            Scope::Public(filter) => filter_passes(filter, self.lends(peer.0.ip()), peer.0),
        }
    }

    /// The scope an allocation lives in: the box's, or its own tag alone.
    pub(super) fn scope_of(&self, listing: &Listing) -> &Scope {
        if listing.confined { &Scope::Room } else { &self.rules.scope }
    }

    /// Varied, not secret: nobody answers an indication.
    fn next_transaction(&mut self) -> [u8; 12] {
        self.indications_made = self.indications_made.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut transaction = [0; 12];
        transaction[..8].copy_from_slice(&self.indications_made.to_be_bytes());
        transaction
    }
}

/// Counts a payload, for one allocation and for the box.
fn passes(own: Option<&Pace>, whole: &Pace, size: usize, now: Instant) -> bool {
    own.is_none_or(|own| own.allows(size, now)) && whole.allows(size, now)
}

fn filter_passes(filter: &PeerFilter, lent: bool, peer: SocketAddr) -> bool {
    let allowed = if lent { filter.allows(peer.ip()) } else { filter.permits(peer.ip()) };
    allowed && peer.port() != 0 && !filter.is_listener(peer)
}
