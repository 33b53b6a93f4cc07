//! One client's hold on one relayed address (two with ADDITIONAL-ADDRESS-FAMILY), with its
//! permissions and channels (RFC 8656 §3.2, §9, §12).
//!
//! Nothing here opens a socket or reads a clock; `now` comes in with every call.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::addr::{ClientAddr, Families, PeerAddr, RelayedAddr};
use super::auth::IntegrityKey;
use super::bandwidth::BandwidthLimits;
use super::channel_data::{ChannelNumber, Header};
use super::error::Refusal;
use crate::credential::Principal;
use crate::principal::IsolationGroup;

/// What any worker may know of an allocation: enough to hand a packet to its client. Published
/// whole and never changed; a change publishes a new one.
#[derive(Clone, Debug)]
pub struct Route {
    /// To whom packets go.
    pub client: ClientAddr,
    /// Which worker has its stream, where it has one.
    pub worker: usize,
    /// Whose room it belongs to.
    pub group: IsolationGroup,
    /// A stranger's: it reaches, and is reached by, its own tag alone in any scope.
    pub confined: bool,
    /// How fast it may go, where that is limited.
    pub limits: Option<Arc<BandwidthLimits>>,
    /// By which addresses it is reached.
    pub relayed: Families<RelayedAddr>,
    permissions: Vec<Permission>,
    channels: Vec<Channel>,
}

/// In what a payload travels to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encapsulation {
    /// ChannelData.
    Channel(ChannelNumber),
    /// A Data indication, naming where the payload came from.
    Data(RelayedAddr),
}

/// What only its own worker knows of it.
#[derive(Debug)]
pub struct Allocation {
    /// Unique in its worker, never reused.
    pub id: AllocationId,
    /// The published half.
    pub route: Arc<Route>,
    /// Whose credential opened it.
    pub principal: Principal,
    /// USERNAME of that credential: requests with another get 441.
    pub username: Box<str>,
    /// Signs replies.
    pub key: IntegrityKey,
    /// The Allocate that opened it, so that its retransmission is recognised.
    pub transaction: [u8; 12],
    /// When it ends unless refreshed.
    pub expires: Instant,
    /// Where its seat's grace has run out: it also ends when silent, and at this moment in any case.
    pub orphaned: Option<Instant>,
    /// When its client was last heard, for others.
    pub activity: Arc<Activity>,
    /// The key under which its deadline is filed.
    pub deadline: Instant,
    /// What its Allocate was answered beyond addresses and lifetime.
    pub extras: Extras,
}

/// Parts of an Allocate reply that only some clients ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// The token of a kept port.
    pub reservation: Option<[u8; 8]>,
    /// Why the second address family is missing.
    pub second_family: Option<Refusal>,
}

/// Names an allocation within its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AllocationId(pub u64);

/// When a client was last heard, and how much it has sent. Written by one worker; when it was last
/// heard is read by those that look for the longest silent.
#[derive(Debug, Default)]
pub struct Activity {
    /// Whole seconds since an epoch.
    last_seen: AtomicU64,
    /// Bytes of payload.
    sent: AtomicU64,
}

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
/// A channel number rests this long after expiry before it may name another peer (RFC 8656 §12).
const CHANNEL_REUSE_DELAY: Duration = Duration::from_secs(300);
/// Permissions, and channels, of one allocation: a browser needs a handful.
pub const MAX_ENTRIES: usize = 64;
/// The largest payload of a UDP datagram over IPv4.
const MAX_UDP_PAYLOAD: usize = 65_507;

impl Route {
    /// A new allocation's: no permissions, no channels.
    pub fn new(
        client: ClientAddr,
        worker: usize,
        group: IsolationGroup,
        relayed: Families<RelayedAddr>,
    ) -> Self {
        let (permissions, channels) = (Vec::new(), Vec::new());
        Self { client, worker, group, confined: false, limits: None, relayed, permissions, channels }
    }

    /// The same, a stranger's if `confined`.
    pub fn confined(self, confined: bool) -> Self {
        Self { confined, ..self }
    }

    /// The same with a limit on its bytes per second; 0: none.
    pub fn with_rate_limit(self, rate: u32, epoch: Instant) -> Self {
        Self { limits: (rate != 0).then(|| Arc::new(BandwidthLimits::new(rate, epoch))), ..self }
    }

    /// The same with limits that are made already.
    pub fn with_limits(self, limits: BandwidthLimits) -> Self {
        Self { limits: Some(Arc::new(limits)), ..self }
    }

    /// Until when packets to and from `peer` pass; `None` where they do not.
    pub fn permitted_until(&self, peer: IpAddr, now: Instant) -> Option<Instant> {
        let live = |permission: &&Permission| permission.peer == peer && permission.expires > now;
        self.permissions.iter().find(live).map(|permission| permission.expires)
    }

    /// The peer `channel` is bound to, and until when.
    pub fn channel_peer(&self, channel: ChannelNumber, now: Instant) -> Option<(PeerAddr, Instant)> {
        let live = |bound: &&Channel| bound.number == channel && bound.expires > now;
        self.channels.iter().find(live).map(|bound| (bound.peer, bound.expires))
    }

    /// The form in which what comes from `peer` goes to the client: on its channel where one is
    /// bound, else as a Data indication; and until when. `None` without a permission.
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
    /// 508 where there would be more than [`MAX_ENTRIES`].
    pub fn permit(&mut self, peers: &[IpAddr], now: Instant) -> Result<(), Refusal> {
        self.permit_until(peers, now + PERMISSION_LIFETIME, now)
    }

    /// A permission that lasts longer already is not shortened.
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

    /// Binds or refreshes a channel, and its peer's permission for as long as the channel lives: longer
    /// than RFC 8656 §12.2 asks, as coturn does, since aioice and werift refresh nothing but channels.
    ///
    /// # Errors
    /// 400 where the number names another peer or the peer has another number, both also for five
    /// minutes after the binding's end; 508 where there would be more than [`MAX_ENTRIES`].
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

    /// Whether `peer` is one of its relayed addresses, as its client was told them.
    pub fn has_relayed_addr(&self, peer: PeerAddr) -> bool {
        self.relayed.iter().any(|relayed| relayed.0 == peer.0)
    }

    /// Takes back permissions and channels to peers that `keep` no longer allows; whether any
    /// went.
    pub fn retain_peers(&mut self, is_allowed: impl Fn(IpAddr) -> bool) -> bool {
        let before = self.permissions.len() + self.channels.len();
        self.permissions.retain(|permission| is_allowed(permission.peer));
        self.channels.retain(|bound| is_allowed(bound.peer.0.ip()));
        before != self.permissions.len() + self.channels.len()
    }
}

impl Encapsulation {
    /// The head for `payload` bytes; `None` where they do not fit a datagram with it.
    pub fn header(self, payload: usize, transaction: [u8; 12]) -> Option<Header> {
        if payload > MAX_UDP_PAYLOAD {
            return None;
        }
        let header = match self {
            Self::Channel(number) => Header::channel(number, payload),
            Self::Data(from) => Header::data(from, payload, transaction),
        };
        let whole = header.bytes().len() + payload.next_multiple_of(4);
        (whole <= MAX_UDP_PAYLOAD).then_some(header)
    }
}

impl Allocation {
    /// When something must be decided about it: its expiry, or where its seat has lapsed the end of its
    /// silence or of what that allows.
    pub fn compute_deadline(&self, idle_timeout: Duration, epoch: Instant) -> Instant {
        match self.orphaned {
            None => self.expires,
            Some(end) => self.expires.min(end).min(self.activity.last_seen(epoch) + idle_timeout),
        }
    }
}

impl Activity {
    /// Notes that the client was heard. Writes only when the second has changed, so that packets
    /// do not fight over a cache line.
    pub fn touch(&self, now: Instant, epoch: Instant) {
        let second = now.saturating_duration_since(epoch).as_secs();
        if self.last_seen.load(Ordering::Relaxed) != second {
            self.last_seen.store(second, Ordering::Relaxed);
        }
    }

    /// Notes that so many bytes of the client's were passed on. Its own worker alone does, so a
    /// load and a store are enough.
    pub fn add_sent(&self, bytes: usize) {
        let sent = self.sent.load(Ordering::Relaxed).wrapping_add(bytes as u64);
        self.sent.store(sent, Ordering::Relaxed);
    }

    /// Bytes of the client's that were passed on.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// When it was last heard, to the second.
    pub fn last_seen(&self, epoch: Instant) -> Instant {
        epoch + Duration::from_secs(self.last_seen.load(Ordering::Relaxed))
    }
}
