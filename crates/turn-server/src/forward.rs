//! The way of a media packet through a server: found without a lock or an allocation of memory
//! (RFC 8656 §11–12).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::addr::{ClientAddr, Family, PeerAddr, RelayedAddr};
use super::allocation::Route;
use super::bandwidth::BandwidthLimiter;
use super::channel_data;
use super::flow_cache::{Flow, FlowKey, NextHop};
use super::peer_policy::{PeerFilter, PeerPolicy};
use super::server::{Server, Transmit};
use super::stats::Direction;

impl Server {
    /// Takes one datagram that a peer sent to a real relayed port (RFC 8656 §11.3).
    pub fn handle_peer<'p>(
        &mut self,
        relayed: RelayedAddr,
        peer: PeerAddr,
        payload: &'p [u8],
        now: Instant,
    ) -> Option<Transmit<'p>> {
        let transaction = self.next_transaction();
        let route = self.routes.lookup(Family::of(relayed.0.ip()), relayed.0.port());
        let route = route.as_ref()?;
        let (encapsulation, _) = route.encapsulation(RelayedAddr(peer.0), now)?;
        let header = encapsulation.header(payload.len(), transaction)?;
        let own = route.limits.as_ref().map(|own| &own.down);
        if !passes(own, &self.routes.limits.down, payload.len(), now) {
            return None;
        }
        self.stats.count_relayed(Direction::PeerToClient, payload.len());
        Some(Transmit::Client { to: route.client, worker: route.worker, header, payload })
    }

    pub(super) fn channel_data<'p>(
        &mut self,
        client: ClientAddr,
        bytes: &'p [u8],
        now: Instant,
    ) -> Option<Transmit<'p>> {
        let (channel, payload) = channel_data::parse_channel_data(bytes)?;
        self.relay(&client, FlowKey::Channel(channel), payload, false, now)
    }

    pub(super) fn send_indication<'p>(
        &mut self,
        client: ClientAddr,
        bytes: &'p [u8],
        now: Instant,
    ) -> Option<Transmit<'p>> {
        let sent = channel_data::parse_send_indication(bytes)?;
        self.relay(&client, FlowKey::Peer(sent.peer), sent.payload, sent.dont_fragment, now)
    }

    /// Hands a payload on.
    fn relay<'p>(
        &mut self,
        client: &ClientAddr,
        key: FlowKey,
        payload: &'p [u8],
        dont_fragment: bool,
        now: Instant,
    ) -> Option<Transmit<'p>> {
        // Read before the tables are: what changes meanwhile ends what is found.
        let generation = self.routes.generation();
        let held = self.flow_cache.slot(client, &key).as_ref();
        if !held.is_some_and(|flow| flow.is_valid_for(client, &key, generation, now)) {
            // Found before it takes another's place: who is refused takes none.
            let found = self.find(client, key, generation, now)?;
            *self.flow_cache.slot(client, &key) = Some(found);
        }
        let transaction = self.next_transaction();
        let flow = self.flow_cache.slot(client, &key).as_ref()?;
        flow.activity.touch(now, self.routes.epoch);
        let (size, limits) = (payload.len(), &self.routes.limits);
        let up = flow.limits.as_ref().map(|own| &own.up);
        let (way, down, delivery) = match &flow.next_hop {
            NextHop::Peer { from, to } => (
                Direction::ClientToPeer,
                None,
                Transmit::Peer { from: *from, to: *to, payload, dont_fragment },
            ),
            NextHop::Client { to, worker, encapsulation, limits: own } => {
                let header = encapsulation.header(size, transaction)?;
                let down = Some(own.as_ref().map(|own| &own.down));
                (
                    Direction::ClientToClient,
                    down,
                    Transmit::Client { to: *to, worker: *worker, header, payload },
                )
            }
        };
        let allowed =
            passes(up, &limits.up, size, now) && down.is_none_or(|own| passes(own, &limits.down, size, now));
        if !allowed {
            return None;
        }
        flow.activity.add_sent(size);
        self.stats.count_relayed(way, size);
        Some(delivery)
    }

    /// Where what `client` sends by `aim` leads; inside the process where the peer is one of our
    /// relayed addresses. `None` where it leads nowhere.
    fn find(&self, client: &ClientAddr, key: FlowKey, generation: u64, now: Instant) -> Option<Flow> {
        let allocation = self.table.get(client).filter(|allocation| allocation.expires > now)?;
        let from = &allocation.route;
        allocation.activity.touch(now, self.routes.epoch);
        let (peer, bound_until) = match key {
            FlowKey::Channel(channel) => from.channel_peer(channel, now)?,
            FlowKey::Peer(peer) => (peer, allocation.expires),
        };
        let ip = peer.0.ip();
        let relayed = *from.relayed.of(Family::of(ip))?;
        let valid_until = from.permitted_until(ip, now)?.min(bound_until).min(allocation.expires);
        let found = |next_hop, valid_until| {
            let (activity, limits) = (Arc::clone(&allocation.activity), from.limits.clone());
            Flow { client: *client, key, generation, valid_until, activity, limits, next_hop }
        };
        if self.is_relayed_ip(ip) {
            let target = self.routes.lookup(Family::of(ip), peer.0.port());
            if let Some(target) = target
                .as_ref()
                .filter(|target| target.has_relayed_addr(peer) && self.may_relay_internally(from, target))
            {
                let (encapsulation, their_until) = target.encapsulation(relayed, now)?;
                let (to, worker, limits) = (target.client, target.worker, target.limits.clone());
                return Some(found(
                    NextHop::Client { to, worker, encapsulation, limits },
                    valid_until.min(their_until),
                ));
            }
        }
        self.may_send_external(from, peer)
            .then(|| found(NextHop::Peer { from: relayed, to: peer }, valid_until))
    }

    /// Whether `from` may reach `target` inside the process.
    pub(super) fn may_relay_internally(&self, from: &Route, target: &Route) -> bool {
        let open = |route| matches!(self.policy_of(route), PeerPolicy::Public(_));
        (open(from) && open(target)) || target.group == from.group
    }

    /// Whether packets of `from` to `peer`, which no allocation of ours answers to, may go out on the
    /// network.
    pub(super) fn may_send_external(&self, from: &Route, peer: PeerAddr) -> bool {
        match self.policy_of(from) {
            PeerPolicy::SameGroup => false,
            PeerPolicy::Public(filter) => filter_passes(filter, self.is_relayed_ip(peer.0.ip()), peer.0),
        }
    }

    /// The scope an allocation lives in: the box's, or its own tag alone.
    pub(super) fn policy_of(&self, route: &Route) -> &PeerPolicy {
        if route.confined { &PeerPolicy::SameGroup } else { &self.config.peer_policy }
    }

    /// Varied, not secret: nobody answers an indication.
    fn next_transaction(&mut self) -> [u8; 12] {
        self.transaction_counter = self.transaction_counter.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut transaction = [0; 12];
        transaction[..8].copy_from_slice(&self.transaction_counter.to_be_bytes());
        transaction
    }
}

/// Counts a payload, for one allocation and for the box.
fn passes(own: Option<&BandwidthLimiter>, whole: &BandwidthLimiter, size: usize, now: Instant) -> bool {
    own.is_none_or(|own| own.allows(size, now)) && whole.allows(size, now)
}

fn filter_passes(filter: &PeerFilter, relayed_ips: bool, peer: SocketAddr) -> bool {
    let allowed = if relayed_ips { filter.allows(peer.ip()) } else { filter.permits(peer.ip()) };
    allowed && peer.port() != 0 && !filter.is_listener(peer)
}
