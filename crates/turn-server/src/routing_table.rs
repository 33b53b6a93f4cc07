//! Which allocation owns a relayed port: shared by all workers, with the [`AllocationRegistry`].
//!
//! A packet reads one slot and never waits. Only an Allocate and the end of an allocation lock the registry, for about a
//! microsecond.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwapOption, Guard};

use crate::addr::{ClientAddr, Families, Family, PeerAddr, RelayedAddr};
use crate::bandwidth::{BandwidthLimits, TesterBandwidth};
use crate::channel_data::{ChannelNumber, Header};
use crate::principal::IsolationGroup;
use crate::registry::AllocationRegistry;
use crate::response::Refusal;

/// Shared by all workers of a relay.
#[derive(Debug)]
pub struct RoutingTable {
    first_port: u16,
    v4: Box<[Slot]>,
    v6: Box<[Slot]>,
    registry: Mutex<AllocationRegistry>,
    /// Counts changes to any allocation.
    generation: AtomicU64,
    /// Bandwidth of the whole server.
    pub limits: BandwidthLimits,
    /// Bandwidth of connection tests, by source.
    pub tester_bandwidth: TesterBandwidth,
    /// Start of the times in [`Activity`](crate::allocation::Activity) and limiters.
    pub epoch: Instant,
}

/// What any worker may know of an allocation: enough to send a packet to its client. It is immutable; a change
/// publishes a new one.
#[derive(Clone, Debug)]
pub struct Route {
    /// Destination of packets.
    pub client: ClientAddr,
    /// The worker that has the client's stream; irrelevant for UDP.
    pub worker: usize,
    /// Which allocations it may reach in [`PeerPolicy::SameGroup`](crate::peer_policy::PeerPolicy::SameGroup).
    pub group: IsolationGroup,
    /// Belongs to a connection test: it exchanges packets with its own group only, whatever the policy.
    pub confined: bool,
    /// Bandwidth, if limited.
    pub limits: Option<Arc<BandwidthLimits>>,
    /// The relayed addresses.
    pub relayed: Families<RelayedAddr>,
    permissions: Vec<Permission>,
    channels: Vec<Channel>,
}

/// The framing of a payload to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encapsulation {
    /// ChannelData.
    Channel(ChannelNumber),
    /// A Data indication with the address that the payload came from.
    Data(RelayedAddr),
}

type Slot = ArcSwapOption<Route>;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Permission {
    peer: IpAddr,
    expires: Instant,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Channel {
    number: ChannelNumber,
    peer: PeerAddr,
    expires: Instant,
}

/// RFC 8656 §9.
const PERMISSION_LIFETIME: Duration = Duration::from_secs(300);
/// RFC 8656 §12.
const CHANNEL_LIFETIME: Duration = Duration::from_secs(600);
/// How long after its expiry a channel number may not name another peer (RFC 8656 §12).
const CHANNEL_REUSE_DELAY: Duration = Duration::from_secs(300);
/// Permissions, and channels, of one allocation. A browser needs a handful.
pub const MAX_ENTRIES: usize = 64;
/// The largest payload of a UDP datagram over IPv4.
const MAX_UDP_PAYLOAD: usize = 65_507;

impl RoutingTable {
    /// For relayed ports in `ports` without `excluded`. `capacity` is the bandwidth of the whole server in bytes per
    /// second each way (0: no limit). `seed` is random and secret.
    pub fn new(
        ports: &RangeInclusive<u16>,
        excluded: &[u16],
        capacity: u32,
        seed: u64,
        epoch: Instant,
    ) -> Self {
        let slots = || std::iter::repeat_with(Slot::empty).take(ports.clone().count()).collect();
        let registry = Mutex::new(AllocationRegistry::new(ports, excluded, epoch));
        Self {
            first_port: *ports.start(),
            v4: slots(),
            v6: slots(),
            registry,
            generation: AtomicU64::new(0),
            limits: BandwidthLimits::new(capacity, epoch),
            tester_bandwidth: TesterBandwidth::new(seed, epoch),
            epoch,
        }
    }

    /// The allocation that owns `port`. Never waits.
    pub fn lookup(&self, family: Family, port: u16) -> Guard<Option<Arc<Route>>> {
        match self.slot(family, port) {
            Some(slot) => slot.load(),
            None => Guard::from_inner(None),
        }
    }

    /// Changes with every change to an allocation of any worker. A result that was found at another generation is no
    /// longer valid.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Starts a new generation, for a change that is in no [`Route`].
    pub fn invalidate_flows(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Makes an allocation reachable at its relayed addresses, or replaces its route.
    pub fn publish(&self, route: &Arc<Route>) {
        for relayed in route.relayed.iter() {
            if let Some(slot) = self.slot_of(*relayed) {
                slot.store(Some(Arc::clone(route)));
            }
        }
        self.invalidate_flows();
    }

    /// Withdraws the route of `relayed` and returns its port.
    pub fn release(&self, relayed: RelayedAddr) {
        if let Some(slot) = self.slot_of(relayed) {
            slot.store(None);
        }
        self.invalidate_flows();
        self.registry().release_port(relayed);
    }

    /// Locks the registry. Do not hold the guard while packets wait.
    pub fn registry(&self) -> MutexGuard<'_, AllocationRegistry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot_of(&self, relayed: RelayedAddr) -> Option<&Slot> {
        self.slot(Family::of(relayed.0.ip()), relayed.0.port())
    }

    fn slot(&self, family: Family, port: u16) -> Option<&Slot> {
        let index = usize::from(port.checked_sub(self.first_port)?);
        match family {
            Family::V4 => self.v4.get(index),
            Family::V6 => self.v6.get(index),
        }
    }
}

impl Route {
    /// The route of a new allocation: no permissions, no channels.
    pub fn new(
        client: ClientAddr,
        worker: usize,
        group: IsolationGroup,
        relayed: Families<RelayedAddr>,
    ) -> Self {
        let (permissions, channels) = (Vec::new(), Vec::new());
        Self { client, worker, group, confined: false, limits: None, relayed, permissions, channels }
    }

    /// Sets whether it belongs to a connection test.
    pub fn confined(self, confined: bool) -> Self {
        Self { confined, ..self }
    }

    /// Limits its bandwidth to `rate` bytes per second each way; 0: no limit.
    pub fn with_rate_limit(self, rate: u32, epoch: Instant) -> Self {
        Self { limits: (rate != 0).then(|| Arc::new(BandwidthLimits::new(rate, epoch))), ..self }
    }

    /// Limits its bandwidth by existing limiters.
    pub fn with_limits(self, limits: BandwidthLimits) -> Self {
        Self { limits: Some(Arc::new(limits)), ..self }
    }

    /// When the permission for `peer` expires; `None` without one.
    pub fn permitted_until(&self, peer: IpAddr, now: Instant) -> Option<Instant> {
        let live = |permission: &&Permission| permission.peer == peer && permission.expires > now;
        self.permissions.iter().find(live).map(|permission| permission.expires)
    }

    /// The peer that `channel` is bound to, and when the binding expires.
    pub fn channel_peer(&self, channel: ChannelNumber, now: Instant) -> Option<(PeerAddr, Instant)> {
        let live = |bound: &&Channel| bound.number == channel && bound.expires > now;
        self.channels.iter().find(live).map(|bound| (bound.peer, bound.expires))
    }

    /// The framing of payloads from `peer` to the client, and until when it is valid: ChannelData if a channel is bound,
    /// otherwise a Data indication. `None` without a permission.
    pub fn encapsulation(&self, peer: RelayedAddr, now: Instant) -> Option<(Encapsulation, Instant)> {
        let permitted = self.permitted_until(peer.0.ip(), now)?;
        let live = |bound: &&Channel| bound.peer.0 == peer.0 && bound.expires > now;
        Some(match self.channels.iter().find(live) {
            Some(bound) => (Encapsulation::Channel(bound.number), permitted.min(bound.expires)),
            None => (Encapsulation::Data(peer), permitted),
        })
    }

    /// Installs or refreshes permissions, all or none.
    ///
    /// # Errors
    /// 508 if there would be more than [`MAX_ENTRIES`].
    pub fn permit(&mut self, peers: &[IpAddr], now: Instant) -> Result<(), Refusal> {
        self.permit_until(peers, now + PERMISSION_LIFETIME, now)
    }

    /// A permission that already lasts longer is not shortened.
    fn permit_until(&mut self, peers: &[IpAddr], expires: Instant, now: Instant) -> Result<(), Refusal> {
        let mut permissions = self.permissions.clone();
        permissions.retain(|permission| permission.expires > now);
        for &peer in peers {
            let full = permissions.len() == MAX_ENTRIES;
            match permissions.iter_mut().find(|permission| permission.peer == peer) {
                Some(permission) => permission.expires = permission.expires.max(expires),
                None if full => return Err(Refusal::InsufficientCapacity),
                None => permissions.push(Permission { peer, expires }),
            }
        }
        self.permissions = permissions;
        Ok(())
    }

    /// Binds or refreshes a channel, and a permission for its peer for the lifetime of the channel. RFC 8656 §12.2 asks
    /// for less; coturn does the same, and aioice and werift refresh nothing but channels.
    ///
    /// # Errors
    /// 400 if the number is bound to another peer or the peer to another number, also for five minutes after the binding
    /// expired; 508 if there would be more than [`MAX_ENTRIES`].
    pub fn bind_channel(
        &mut self,
        number: ChannelNumber,
        peer: PeerAddr,
        now: Instant,
    ) -> Result<(), Refusal> {
        let mut channels = self.channels.clone();
        channels.retain(|bound| bound.expires + CHANNEL_REUSE_DELAY > now);
        let expires = now + CHANNEL_LIFETIME;
        let full = channels.len() >= MAX_ENTRIES;
        match channels.iter_mut().find(|bound| bound.number == number || bound.peer == peer) {
            Some(bound) if bound.number == number && bound.peer == peer => bound.expires = expires,
            Some(_) => return Err(Refusal::BadRequest),
            None if full => return Err(Refusal::InsufficientCapacity),
            None => channels.push(Channel { number, peer, expires }),
        }
        self.permit_until(&[peer.0.ip()], expires, now)?;
        self.channels = channels;
        Ok(())
    }

    /// Whether `peer` is one of its relayed addresses.
    pub fn has_relayed_addr(&self, peer: PeerAddr) -> bool {
        self.relayed.iter().any(|relayed| relayed.0 == peer.0)
    }

    /// Withdraws permissions and channels of peers that are not allowed. Whether there were any.
    pub fn retain_peers(&mut self, is_allowed: impl Fn(IpAddr) -> bool) -> bool {
        let before = self.permissions.len() + self.channels.len();
        self.permissions.retain(|permission| is_allowed(permission.peer));
        self.channels.retain(|bound| is_allowed(bound.peer.0.ip()));
        before != self.permissions.len() + self.channels.len()
    }
}

impl Encapsulation {
    /// The header of a payload of `payload` bytes; `None` if both do not fit a datagram.
    pub fn header(self, payload: usize, transaction: [u8; 12]) -> Option<Header> {
        if payload > MAX_UDP_PAYLOAD {
            return None;
        }
        let header = match self {
            Self::Channel(number) => Header::channel(number, payload),
            Self::Data(from) => Header::data(from, payload, transaction),
        };
        let total = header.bytes().len() + payload.next_multiple_of(4);
        (total <= MAX_UDP_PAYLOAD).then_some(header)
    }
}
