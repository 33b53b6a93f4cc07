//! What a store must answer: one request of a box, one reply, nothing in between.
//!
//! | value | key | content |
//! |---|---|---|
//! | lease | `box:{node}#{boot}` | [`Lease`]; expires after three seconds |
//! | withdrawn lease | `away:{node}#{boot}` | the same, of a box that most others cannot reach |
//! | second box of a name | `double:{node}` | the box that gets no lease, for `check` alone; expires after three seconds |
//! | boxes | `boxes` | the set of `{node}#{boot}` that may have a lease |
//! | ownership | `room:{tag}` | owner, fence, the fence before, seats; expires after a day, or five minutes before the owner's first claim |
//! | counter | `fence` | the last fence |
//! | lost rooms | `lost:{node}#{boot}` | the set of rooms that another box asserted against this one; expires after a minute |
//!
//! A value that no box of this protocol wrote is defined, too. One that cannot be read (another type, no JSON, fields
//! missing) counts as absent and is replaced. One with another cluster key or version of the protocol is respected while
//! the box that it names as owner has a lease, and counts as absent afterwards.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{BoxId, ClusterConfig, Fence, NodeInfo, NodeName, RoomTag, StoreError};

/// The version of keys and values. Boxes of other versions do not share rooms.
pub const PROTOCOL: u32 = 1;
/// How long a lease lasts after a renewal.
pub const LEASE_DURATION: Duration = Duration::from_secs(3);
/// How long an ownership lasts after it was written or extended.
pub const ROOM_DURATION: Duration = Duration::from_secs(24 * 3600);
/// The same of an owner that another box chose, until its first claim: it does not know of the room before, so it would not
/// release it.
pub const CHOSEN_DURATION: Duration = Duration::from_secs(300);
/// How long a box may order a certificate while the others wait.
pub const ORDER_DURATION: Duration = Duration::from_secs(600);
/// How long a box waits for an answer of the store.
pub const CALL_TIMEOUT: Duration = Duration::from_millis(300);

/// A store. Each request is atomic.
pub trait Registry: Send + Sync + 'static {
    /// Answers within [`CALL_TIMEOUT`].
    ///
    /// # Errors
    /// The store did not answer, or not in time; the request may or may not have been carried out.
    fn call(&self, request: Request) -> impl Future<Output = Result<Reply, StoreError>> + Send;

    /// Keeps the connection; polled beside the calls.
    fn run(&self) -> impl Future<Output = Infallible> + Send {
        std::future::pending()
    }
}

/// Who asks: the part of each request that stays the same.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The box.
    pub id: BoxId,
    /// See [`ClusterConfig::domain`](crate::ClusterConfig::domain).
    pub domain: NodeName,
    /// See [`ClusterConfig::key_id`](crate::ClusterConfig::key_id).
    pub key_id: [u8; 8],
}

/// What a box asks the store. `floor` is the highest fence that the box knows: the counter is raised to it first, since the
/// store may have lost data.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Renew the lease, unless another live box has the same name.
    Renew {
        /// What other boxes learn.
        lease: Lease,
        /// Most other boxes cannot reach this one: keep no lease, but stay listed.
        withdrawn: bool,
        /// The highest known fence.
        floor: Fence,
        /// Rooms whose ownership is to last another day, and the number of their seats.
        extend: Vec<(RoomTag, Fence, u64)>,
    },
    /// Become the owner of a room, unless its owner has a lease. The answer is [`Reply::Owner`].
    Claim {
        /// The room.
        room: RoomTag,
        /// The number of this claim, which a later [`Request::Release`] or [`Request::Move`] must repeat.
        serial: u64,
        /// The highest known fence.
        floor: Fence,
        /// Whether another box is to become the owner rather than this one.
        elsewhere: Elsewhere,
    },
    /// Who owns a room. The answer is [`Reply::Owner`].
    Look {
        /// The room.
        room: RoomTag,
    },
    /// Write ownerships that the store may have lost or that another box may have taken. The higher fence wins, on
    /// equal fences the one with more seats, then the lesser name.
    Reassert {
        /// The highest known fence.
        floor: Fence,
        /// The ownerships.
        rooms: Vec<Assertion>,
    },
    /// Delete ownerships, each only if owner, fence and serial match.
    Release {
        /// Room, fence and serial.
        rooms: Vec<(RoomTag, Fence, u64)>,
    },
    /// Hand a room of this box to another one.
    Move {
        /// The room.
        room: RoomTag,
        /// The fence of this box's ownership.
        fence: Fence,
        /// Its serial. If the store has a later one, this request is late and has no effect.
        serial: u64,
        /// The highest known fence.
        floor: Fence,
        /// Random numbers that choose two candidates.
        random: [u32; 2],
    },
    /// Delete the lease.
    Leave,
    /// List the boxes.
    Nodes,
    /// Become the box that may order a certificate.
    LockOrder,
    /// Let others order.
    UnlockOrder,
    /// Share a key authorization.
    PutChallenge {
        /// The domain that it is for.
        domain: String,
        /// The key authorization (RFC 8555 §8.1).
        value: String,
        /// How long it is kept.
        ttl: Duration,
    },
    /// Read a shared key authorization.
    Challenge {
        /// The domain.
        domain: String,
    },
}

/// Whether a claim gives the room to the less loaded of two random other boxes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// No: this box becomes the owner.
    No,
    /// If that one is less loaded than this percentage.
    IfLess(u8, [u32; 2]),
    /// If there is one.
    IfAny([u32; 2]),
}

/// One ownership to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assertion {
    /// The room.
    pub room: RoomTag,
    /// The fence.
    pub fence: Fence,
    /// The fence before.
    pub resumes: Fence,
    /// The number of seats.
    pub seats: u64,
    /// A number higher than that of all requests before.
    pub serial: u64,
}

/// What a box writes about itself with its lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// [`PROTOCOL`].
    pub v: u32,
    /// The key id in hexadecimal digits.
    pub key: String,
    /// The version of the program.
    #[serde(default)]
    pub version: String,
    /// In percent.
    #[serde(default)]
    pub load: u8,
    /// The number of rooms.
    #[serde(default)]
    pub rooms: u64,
    /// No new rooms go there.
    #[serde(default)]
    pub draining: bool,
    /// The boxes that it cannot reach, each by name and boot, since a box that has just started was not asked yet.
    #[serde(default)]
    pub unreachable: Vec<String>,
    /// Rises with each renewal.
    #[serde(default)]
    pub serial: u64,
}

/// A lease as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedLease {
    /// The box.
    pub id: BoxId,
    /// What it wrote.
    pub lease: Lease,
    /// It is withdrawn.
    pub withdrawn: bool,
    /// Time since its renewal.
    pub age: Duration,
}

/// What the store answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The lease was renewed.
    Renewed {
        /// The lease was still there. Otherwise other boxes may have taken rooms.
        held: bool,
        /// Differs when the store may have lost data: after a restart or a fail-over.
        session: u64,
        /// The other boxes.
        nodes: Vec<ListedLease>,
        /// Rooms that another box took, and those of `extend` that are not as this box believes.
        lost: Vec<RoomTag>,
    },
    /// Another box of the same name has a lease.
    NameTaken {
        /// The others, that one included.
        nodes: Vec<ListedLease>,
    },
    /// The answer to a claim or a look.
    Owner(Owner),
    /// The answer to [`Request::Reassert`], in its order.
    Asserted(Vec<Asserted>),
    /// The new owner of a moved room, or the one that already owned it; `None`: there is no other box.
    Moved(Option<(BoxId, Fence)>),
    /// The answer to [`Request::Nodes`].
    Nodes(Vec<ListedLease>),
    /// Done, or for [`Request::LockOrder`] whether this box may order.
    Done(bool),
    /// The answer to [`Request::Challenge`].
    Challenge(Option<String>),
}

/// The owner of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// None. Only in answer to a look.
    Nobody,
    /// The box that asks.
    Me {
        /// The fence.
        fence: Fence,
        /// The fence before.
        resumes: Fence,
        /// The claim took the room from this box, whose lease was gone.
        from: Option<BoxId>,
        /// The claim replaced a value that cannot be read.
        corrupt: bool,
    },
    /// Another one.
    Other {
        /// That box.
        id: BoxId,
        /// The fence; of an owner without a lease the last one that clients have tokens of.
        fence: Fence,
        /// It has a lease. Always in answer to a claim.
        alive: bool,
    },
    /// A live box of another cluster key or protocol.
    Foreign,
}

/// What became of an [`Assertion`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asserted {
    /// This box owns the room.
    Kept {
        /// Another live box that had it.
        against: Option<BoxId>,
        /// The fence before: of the assertion, or a later one of an owner that is gone.
        resumes: Fence,
    },
    /// Another live box owns the room.
    Lost {
        /// That box.
        owner: BoxId,
        /// The fence.
        fence: Fence,
        /// The seats that it wrote last, a claim as one; 0 if it has not claimed the room yet.
        seats: u64,
    },
    /// A live box of another cluster key or protocol owns the room.
    Foreign,
}

impl Identity {
    /// That of a box.
    pub fn of(config: &ClusterConfig) -> Self {
        let id = BoxId { name: config.name.clone(), boot: config.boot };
        Self { id, domain: config.domain.clone(), key_id: config.key_id }
    }

    /// The key id as it stands in values.
    pub(crate) fn key(&self) -> String {
        format!("{:016x}", u64::from_be_bytes(self.key_id))
    }
}

impl ListedLease {
    /// For a reader with this key.
    pub(crate) fn info(&self, key: &str) -> NodeInfo {
        NodeInfo {
            id: self.id.clone(),
            version: self.lease.version.clone(),
            load: self.lease.load,
            rooms: self.lease.rooms,
            draining: self.lease.draining,
            unreachable: self.withdrawn,
            foreign: self.is_foreign(key),
            age: self.age,
        }
    }

    pub(crate) fn is_foreign(&self, key: &str) -> bool {
        self.lease.v != PROTOCOL || self.lease.key != key
    }

    pub(crate) fn cannot_reach(&self, id: &BoxId) -> bool {
        let id = id.to_string();
        self.lease.unreachable.contains(&id)
    }
}

/// Facts about the server, for `webrtc-box check`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreFacts {
    /// `Redis 7.0.15` or `Valkey 8.0.1`.
    pub server: String,
    /// `maxmemory-policy`; anything but `noeviction` may delete leases and owners.
    pub eviction_policy: String,
    /// The memory limit in bytes; `0`: none.
    pub memory_limit: u64,
    /// Time of one request, after connecting.
    pub latency: Duration,
}

/// The boxes that the store knows, and facts about the server.
#[derive(Clone, Debug)]
pub struct StoreStatus {
    /// About the server.
    pub facts: StoreFacts,
    /// The boxes with a lease, and those that gave it up because most others cannot reach them.
    pub nodes: Vec<NodeInfo>,
}
