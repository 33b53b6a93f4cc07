//! The path of a payload through a server: from a client to a peer or to another client, and from a peer to a client
//! (RFC 8656 §11–12). It takes no lock, no memory and copies no payload.
//!
//! The next hop of a flow follows from allocation, channel, permission and target. It is kept in a small direct-mapped
//! cache, so that the next packet of the flow reads one entry. An entry is valid until the first of these expires, and
//! until any allocation of the relay changes: the cache never knows less than the tables.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::addr::{ClientAddr, Family, PeerAddr, RelayedAddr};
use crate::allocation::Activity;
use crate::allocations::Allocations;
use crate::bandwidth::{BandwidthLimiter, BandwidthLimits};
use crate::channel_data::{ChannelNumber, parse_channel_data, parse_send_indication};
use crate::routing_table::{Encapsulation, Route, RoutingTable};
use crate::server::Transmit;
use crate::stats::{Direction, ServerStats};

/// Relays payloads of clients and peers.
#[derive(Debug, Default)]
pub(crate) struct Forwarder {
    cache: FlowCache,
    transaction_counter: u64,
}

/// A payload from a client.
#[derive(Debug)]
pub(crate) struct Packet<'p> {
    key: FlowKey,
    payload: &'p [u8],
    dont_fragment: bool,
}

/// How a client names the destination of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FlowKey {
    /// ChannelData.
    Channel(ChannelNumber),
    /// A Send indication.
    Peer(PeerAddr),
}

/// One client's channel or peer, with its next hop.
#[derive(Debug)]
struct Flow {
    client: ClientAddr,
    key: FlowKey,
    /// The routing table's generation when the next hop was found.
    generation: u64,
    /// When the first of allocation, channel and permissions expires.
    valid_until: Instant,
    /// The client's.
    activity: Arc<Activity>,
    /// The client's, if limited.
    limits: Option<Arc<BandwidthLimits>>,
    next_hop: NextHop,
}

/// Where the packets of a flow go.
#[derive(Debug)]
enum NextHop {
    /// To the client of an allocation, of this worker or another.
    Client {
        to: ClientAddr,
        /// The worker that has the client's stream; irrelevant for UDP.
        worker: usize,
        encapsulation: Encapsulation,
        /// That client's, if limited.
        limits: Option<Arc<BandwidthLimits>>,
    },
    /// From a relayed port to a peer on the network.
    Peer { from: RelayedAddr, to: PeerAddr },
}

/// The recently used flows of a worker.
#[derive(Debug)]
struct FlowCache(Box<[Option<Flow>]>);

/// More than a worker has busy flows, in a few pages of memory.
const SLOTS: usize = 512;

impl<'p> Packet<'p> {
    pub(crate) fn from_channel_data(bytes: &'p [u8]) -> Option<Self> {
        let (channel, payload) = parse_channel_data(bytes)?;
        Some(Self { key: FlowKey::Channel(channel), payload, dont_fragment: false })
    }

    pub(crate) fn from_send_indication(bytes: &'p [u8]) -> Option<Self> {
        let sent = parse_send_indication(bytes)?;
        let key = FlowKey::Peer(sent.peer);
        Some(Self { key, payload: sent.payload, dont_fragment: sent.dont_fragment })
    }
}

impl Forwarder {
    /// Relays a packet of `client`.
    pub(crate) fn handle_client<'p>(
        &mut self,
        client: &ClientAddr,
        Packet { key, payload, dont_fragment }: Packet<'p>,
        allocations: &Allocations,
        stats: &mut ServerStats,
        now: Instant,
    ) -> Option<Transmit<'p>> {
        let routes = allocations.routes();
        // Read before the tables: a change in between invalidates what is found.
        let generation = routes.generation();
        let cached = self.cache.slot(client, &key).as_ref();
        if !cached.is_some_and(|flow| flow.is_valid_for(client, &key, generation, now)) {
            // Found before it replaces another flow: a client that is refused replaces none.
            let found = find(allocations, client, key, generation, now)?;
            *self.cache.slot(client, &key) = Some(found);
        }
        let transaction = self.next_transaction();
        let flow = self.cache.slot(client, &key).as_ref()?;
        flow.activity.touch(now, routes.epoch);
        let (size, limits) = (payload.len(), &routes.limits);
        let up = flow.limits.as_ref().map(|own| &own.up);
        let (direction, down, transmit) = match &flow.next_hop {
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
        stats.count_relayed(direction, size);
        Some(transmit)
    }

    /// Relays a datagram that `peer` sent to the relay socket of `relayed`.
    pub(crate) fn handle_peer<'p>(
        &mut self,
        relayed: RelayedAddr,
        peer: PeerAddr,
        payload: &'p [u8],
        routes: &RoutingTable,
        stats: &mut ServerStats,
        now: Instant,
    ) -> Option<Transmit<'p>> {
        let transaction = self.next_transaction();
        let route = routes.lookup(Family::of(relayed.0.ip()), relayed.0.port());
        let route = route.as_ref()?;
        let (encapsulation, _) = route.encapsulation(RelayedAddr(peer.0), now)?;
        let header = encapsulation.header(payload.len(), transaction)?;
        let own = route.limits.as_ref().map(|own| &own.down);
        if !passes(own, &routes.limits.down, payload.len(), now) {
            return None;
        }
        stats.count_relayed(Direction::PeerToClient, payload.len());
        Some(Transmit::Client { to: route.client, worker: route.worker, header, payload })
    }

    /// Unique but not secret: an indication has no response that could be forged.
    fn next_transaction(&mut self) -> [u8; 12] {
        self.transaction_counter = self.transaction_counter.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut transaction = [0; 12];
        transaction[..8].copy_from_slice(&self.transaction_counter.to_be_bytes());
        transaction
    }
}

#[cfg(test)]
impl Forwarder {
    pub(crate) fn clear_cache(&mut self) {
        self.cache = FlowCache::default();
    }

    /// Whether the cache has the flow from `client` to `peer`.
    pub(crate) fn has_cached(&mut self, client: &ClientAddr, peer: PeerAddr) -> bool {
        let key = FlowKey::Peer(peer);
        self.cache.slot(client, &key).as_ref().is_some_and(|flow| flow.client == *client && flow.key == key)
    }
}

impl Default for FlowCache {
    fn default() -> Self {
        Self(std::iter::repeat_with(|| None).take(SLOTS).collect())
    }
}

impl FlowCache {
    /// The slot of a flow. Flows that share a slot replace each other.
    fn slot(&mut self, client: &ClientAddr, key: &FlowKey) -> &mut Option<Flow> {
        &mut self.0[slot_index(client, key)]
    }
}

impl Flow {
    fn is_valid_for(&self, client: &ClientAddr, key: &FlowKey, generation: u64, now: Instant) -> bool {
        self.generation == generation && now < self.valid_until && self.key == *key && self.client == *client
    }
}

/// The flow of `client` to `key`: inside the process if the peer is the relayed address of an allocation that the client
/// may reach. `None` without an allocation, channel or permission, or where the policy forbids the peer.
fn find(
    allocations: &Allocations,
    client: &ClientAddr,
    key: FlowKey,
    generation: u64,
    now: Instant,
) -> Option<Flow> {
    let (routes, reachability) = (allocations.routes(), allocations.reachability());
    let allocation = allocations.table().get(client).filter(|allocation| allocation.expires > now)?;
    let from = &allocation.route;
    allocation.activity.touch(now, routes.epoch);
    let (peer, bound_until) = match key {
        FlowKey::Channel(channel) => from.channel_peer(channel, now)?,
        FlowKey::Peer(peer) => (peer, allocation.expires),
    };
    let ip = peer.0.ip();
    let relayed = *from.relayed.of(Family::of(ip))?;
    let valid_until = from.permitted_until(ip, now)?.min(bound_until).min(allocation.expires);
    let flow = |next_hop, valid_until| {
        let (activity, limits) = (Arc::clone(&allocation.activity), from.limits.clone());
        Flow { client: *client, key, generation, valid_until, activity, limits, next_hop }
    };
    if reachability.is_relayed_ip(ip) {
        let target = routes.lookup(Family::of(ip), peer.0.port());
        let is_reachable = |target: &&Arc<Route>| {
            target.has_relayed_addr(peer) && reachability.may_relay_internally(from, target)
        };
        if let Some(target) = target.as_ref().filter(is_reachable) {
            let (encapsulation, target_until) = target.encapsulation(relayed, now)?;
            let (to, worker, limits) = (target.client, target.worker, target.limits.clone());
            let next_hop = NextHop::Client { to, worker, encapsulation, limits };
            return Some(flow(next_hop, valid_until.min(target_until)));
        }
    }
    let may_send = reachability.may_send_external(from, peer);
    may_send.then(|| flow(NextHop::Peer { from: relayed, to: peer }, valid_until))
}

/// Charges a payload to the limits of one allocation and of the whole server.
fn passes(own: Option<&BandwidthLimiter>, total: &BandwidthLimiter, size: usize, now: Instant) -> bool {
    own.is_none_or(|own| own.allows(size, now)) && total.allows(size, now)
}

/// The hash has no secret: unauthenticated clients have no flows, and a client that makes its own flows collide only
/// slows itself.
fn slot_index(client: &ClientAddr, key: &FlowKey) -> usize {
    let (ip, port) = (fold(client.remote.ip()), u32::from(client.remote.port()));
    let key = match key {
        FlowKey::Channel(channel) => u32::from(channel.number()),
        FlowKey::Peer(peer) => fold(peer.0.ip()) ^ u32::from(peer.0.port()),
    };
    let mixed = (ip ^ port.rotate_left(16) ^ key.rotate_left(7)).wrapping_mul(0x9e37_79b1);
    // All lower bits of the factors influence the upper bits of the product.
    (mixed >> 23) as usize % SLOTS
}

fn fold(ip: IpAddr) -> u32 {
    match ip {
        IpAddr::V4(ip) => ip.to_bits(),
        IpAddr::V6(ip) => {
            let bits = ip.to_bits();
            (bits ^ (bits >> 32) ^ (bits >> 64) ^ (bits >> 96)) as u32
        }
    }
}
