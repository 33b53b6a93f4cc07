//! FlowCache: where a client's channel, or its indications to one peer, lead.
//!
//! What `media.rs` works out of allocation, channel, permission and target is kept in a small
//! direct-mapped table, so that the next packet of the flow asks one entry. An entry ends with the
//! first of the lives it rests on, and with the next change to any allocation of the relay: it never
//! knows less than the tables it was made from.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::addr::{ClientAddr, PeerAddr, RelayedAddr};
use super::allocation::{Activity, Encapsulation};
use super::bandwidth::BandwidthLimits;
use super::channel_data::ChannelNumber;

/// By what a client names whom it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FlowKey {
    /// ChannelData.
    Channel(ChannelNumber),
    /// A Send indication.
    Peer(PeerAddr),
}

/// One of them.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) client: ClientAddr,
    pub(super) key: FlowKey,
    /// The exchange's when it was found.
    pub(super) generation: u64,
    /// When the first of the lives it rests on ends.
    pub(super) valid_until: Instant,
    /// Its client's.
    pub(super) activity: Arc<Activity>,
    /// Its client's, where limited.
    pub(super) limits: Option<Arc<BandwidthLimits>>,
    pub(super) next_hop: NextHop,
}

/// Where a flow's packets go.
#[derive(Debug)]
pub(super) enum NextHop {
    /// To the client of an allocation, of this worker or another.
    Client {
        to: ClientAddr,
        /// Which worker has its stream, where it has one.
        worker: usize,
        encapsulation: Encapsulation,
        /// That client's, where limited.
        limits: Option<Arc<BandwidthLimits>>,
    },
    /// From a relayed port to a peer on the network.
    Peer { from: RelayedAddr, to: PeerAddr },
}

/// The table.
#[derive(Debug)]
pub(super) struct FlowCache(Box<[Option<Flow>]>);

/// FlowCache a worker remembers: more than busy ones at a time, and a few pages of memory.
const SLOTS: usize = 512;

impl Default for FlowCache {
    fn default() -> Self {
        Self(std::iter::repeat_with(|| None).take(SLOTS).collect())
    }
}

impl FlowCache {
    /// Where a flow is, or would be. Two may share a place: then they take turns.
    pub(super) fn slot(&mut self, client: &ClientAddr, key: &FlowKey) -> &mut Option<Flow> {
        &mut self.0[slot(client, key)]
    }
}

impl Flow {
    /// Whether it still is the one of `client` and `aim`.
    pub(super) fn is_valid_for(
        &self,
        client: &ClientAddr,
        key: &FlowKey,
        generation: u64,
        now: Instant,
    ) -> bool {
        self.generation == generation && now < self.valid_until && self.key == *key && self.client == *client
    }
}

/// Mixed with nothing secret: a stranger has no flow, and who makes theirs collide slows itself.
fn slot(client: &ClientAddr, key: &FlowKey) -> usize {
    let (ip, port) = (fold(client.remote.ip()), u32::from(client.remote.port()));
    let key = match key {
        FlowKey::Channel(number) => u32::from(number.number()),
        FlowKey::Peer(peer) => fold(peer.0.ip()) ^ u32::from(peer.0.port()),
    };
    let mixed = (ip ^ port.rotate_left(16) ^ key.rotate_left(7)).wrapping_mul(0x9e37_79b1);
    // The upper bits, which all of the lower ones have gone into.
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
