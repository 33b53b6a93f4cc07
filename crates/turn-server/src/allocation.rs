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
use super::bandwidth::Paces;
use super::channel_data::{ChannelNumber, Head};
use super::error::Refusal;
use crate::credential::Principal;
use crate::principal::IsolationGroup;

/// What any worker may know of an allocation: enough to hand a packet to its client. Published
/// whole and never changed; a change publishes a new one.
#[derive(Clone, Debug)]
pub struct Listing {
    /// To whom packets go.
    pub client: ClientAddr,
    /// Which worker has its stream, where it has one.
    pub worker: usize,
    /// Whose room it belongs to.
    pub tag: IsolationGroup,
    /// A stranger's: it reaches, and is reached by, its own tag alone in any scope.
    pub confined: bool,
    /// How fast it may go, where that is limited.
    pub paces: Option<Arc<Paces>>,
    /// By which addresses it is reached.
    pub relayed: Families<RelayedAddr>,
    permissions: Vec<Permission>,
    channels: Vec<Channel>,
}

/// In what a payload travels to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
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
    pub listing: Arc<Listing>,
    /// Whose credential opened it.
    pub holder: Principal,
    /// USERNAME of that credential: requests with another get 441.
    pub username: Box<str>,
    /// Signs replies.
    pub key: IntegrityKey,
    /// The Allocate that opened it, so that its retransmission is recognised.
    pub opened_by: [u8; 12],
    /// When it ends unless refreshed.
    pub expires: Instant,
    /// Where its seat's grace has run out: it also ends when silent, and at this moment in any case.
    pub lapsed: Option<Instant>,
    /// When its client was last heard, for others.
    pub pulse: Arc<Pulse>,
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
pub struct Pulse {
    /// Whole seconds since an epoch.
    heard: AtomicU64,
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
const PERMISSION_LIFE: Duration = Duration::from_secs(300);
/// RFC 8656 §12.
const CHANNEL_LIFE: Duration = Duration::from_secs(600);
/// A channel number rests this long after expiry before it may name another peer (RFC 8656 §12).
const CHANNEL_REST: Duration = Duration::from_secs(300);
/// Permissions, and channels, of one allocation: a browser needs a handful.
pub const MOST: usize = 64;
/// The largest payload of a UDP datagram over IPv4.
const LARGEST_DATAGRAM: usize = 65_507;

impl Listing {
    /// A new allocation's: no permissions, no channels.
    pub fn new(
        client: ClientAddr,
        worker: usize,
        tag: IsolationGroup,
        relayed: Families<RelayedAddr>,
    ) -> Self {
        let (permissions, channels) = (Vec::new(), Vec::new());
        Self { client, worker, tag, confined: false, paces: None, relayed, permissions, channels }
    }

    /// The same, a stranger's if `confined`.
    pub fn confined(self, confined: bool) -> Self {
        Self { confined, ..self }
    }

    /// The same with a limit on its bytes per second; 0: none.
    pub fn paced(self, rate: u32, epoch: Instant) -> Self {
        Self { paces: (rate != 0).then(|| Arc::new(Paces::new(rate, epoch))), ..self }
    }

    /// The same with limits that are made already.
    pub fn with_paces(self, paces: Paces) -> Self {
        Self { paces: Some(Arc::new(paces)), ..self }
    }

    /// Until when packets to and from `peer` pass; `None` where they do not.
    pub fn permitted_until(&self, peer: IpAddr, now: Instant) -> Option<Instant> {
        let live = |permission: &&Permission| permission.peer == peer && permission.expires > now;
        self.permissions.iter().find(live).map(|permission| permission.expires)
    }

    /// The peer `channel` is bound to, and until when.
    pub fn peer_on(&self, channel: ChannelNumber, now: Instant) -> Option<(PeerAddr, Instant)> {
        let live = |bound: &&Channel| bound.number == channel && bound.expires > now;
        self.channels.iter().find(live).map(|bound| (bound.peer, bound.expires))
    }

    /// The form in which what comes from `peer` goes to the client: on its channel where one is
    /// bound, else as a Data indication; and until when. `None` without a permission.
    pub fn form(&self, peer: RelayedAddr, now: Instant) -> Option<(Form, Instant)> {
        let permitted = self.permitted_until(peer.0.ip(), now)?;
        let live = |bound: &&Channel| bound.peer.0 == peer.0 && bound.expires > now;
        Some(match self.channels.iter().find(live) {
            Some(bound) => (Form::Channel(bound.number), permitted.min(bound.expires)),
            None => (Form::Data(peer), permitted),
        })
    }

    /// Installs or refreshes permissions, all or none.
    ///
    /// # Errors
    /// 508 where there would be more than [`MOST`].
    pub fn permit(&mut self, peers: &[IpAddr], now: Instant) -> Result<(), Refusal> {
        self.permit_until(peers, now + PERMISSION_LIFE, now)
    }

    /// A permission that lasts longer already is not shortened.
    fn permit_until(&mut self, peers: &[IpAddr], expires: Instant, now: Instant) -> Result<(), Refusal> {
        let mut permissions = self.permissions.clone();
        permissions.retain(|permission| permission.expires > now);
        for &peer in peers {
            let full = permissions.len() == MOST;
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
    /// minutes after the binding's end; 508 where there would be more than [`MOST`].
    pub fn bind(&mut self, number: ChannelNumber, peer: PeerAddr, now: Instant) -> Result<(), Refusal> {
        let mut channels = self.channels.clone();
        channels.retain(|bound| bound.expires + CHANNEL_REST > now);
        let expires = now + CHANNEL_LIFE;
        let full = channels.len() >= MOST;
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
    pub fn is_at(&self, peer: PeerAddr) -> bool {
        self.relayed.iter().any(|relayed| relayed.0 == peer.0)
    }

    /// Takes back permissions and channels to peers that `keep` no longer allows; whether any
    /// went.
    pub fn revoke(&mut self, keep: impl Fn(IpAddr) -> bool) -> bool {
        let before = self.permissions.len() + self.channels.len();
        self.permissions.retain(|permission| keep(permission.peer));
        self.channels.retain(|bound| keep(bound.peer.0.ip()));
        before != self.permissions.len() + self.channels.len()
    }
}

impl Form {
    /// The head for `payload` bytes; `None` where they do not fit a datagram with it.
    pub fn head(self, payload: usize, transaction: [u8; 12]) -> Option<Head> {
        if payload > LARGEST_DATAGRAM {
            return None;
        }
        let head = match self {
            Self::Channel(number) => Head::channel(number, payload),
            Self::Data(from) => Head::data(from, payload, transaction),
        };
        let whole = head.bytes().len() + payload.next_multiple_of(4);
        (whole <= LARGEST_DATAGRAM).then_some(head)
    }
}

impl Allocation {
    /// When something must be decided about it: its expiry, or where its seat has lapsed the end of its
    /// silence or of what that allows.
    pub fn due(&self, silence: Duration, epoch: Instant) -> Instant {
        match self.lapsed {
            None => self.expires,
            Some(end) => self.expires.min(end).min(self.pulse.heard(epoch) + silence),
        }
    }
}

impl Pulse {
    /// Notes that the client was heard. Writes only when the second has changed, so that packets
    /// do not fight over a cache line.
    pub fn beat(&self, now: Instant, epoch: Instant) {
        let second = now.saturating_duration_since(epoch).as_secs();
        if self.heard.load(Ordering::Relaxed) != second {
            self.heard.store(second, Ordering::Relaxed);
        }
    }

    /// Notes that so many bytes of the client's were passed on. Its own worker alone does, so a
    /// load and a store are enough.
    pub fn carry(&self, bytes: usize) {
        let sent = self.sent.load(Ordering::Relaxed).wrapping_add(bytes as u64);
        self.sent.store(sent, Ordering::Relaxed);
    }

    /// Bytes of the client's that were passed on.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// When it was last heard, to the second.
    pub fn heard(&self, epoch: Instant) -> Instant {
        epoch + Duration::from_secs(self.heard.load(Ordering::Relaxed))
    }
}
