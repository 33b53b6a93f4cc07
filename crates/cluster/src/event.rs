//! What the cluster tells the program: one event per change, for the log, metrics and the rooms.

use std::time::Duration;

use crate::{BoxId, Fence, NodeName, RoomTag};

/// Receives events. Called from the task of the driver, without a lock held.
pub trait Observer: Send + Sync {
    /// Handles one event; must not block.
    fn handle(&self, event: Event);
}

/// Something changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Another box owns a room that this box had: its seats belong there.
    RoomLost {
        /// The room.
        room: RoomTag,
        /// The new owner.
        owner: NodeName,
        /// The fence of the new ownership.
        fence: Fence,
        /// The seats there, as far as the store knows: within 100 ms if their number has grown, else within a second.
        seats: u64,
    },
    /// This box owns a room whose last owner lost its lease.
    TookOver {
        /// The room.
        room: RoomTag,
        /// The last owner; `None` if the store was away.
        from: Option<NodeName>,
        /// The fence of this ownership.
        fence: Fence,
    },
    /// Two live boxes had the same room, and the store decided.
    FenceConflict {
        /// The room.
        room: RoomTag,
        /// The other box.
        other: NodeName,
        /// Whether this box keeps the room.
        won: bool,
    },
    /// Calls of the store fail. Of each outage; if there are many, of one in 20 seconds. A second time in the same outage if the
    /// connection was lost first and the server then says why it refuses another one.
    StoreLost {
        /// One sentence; contains no secret.
        reason: String,
        /// Outages since the last event that were not reported.
        unreported: u32,
    },
    /// The store answers again, and this box has asserted its rooms. Follows [`Event::StoreLost`], and ends the outage.
    StoreBack {
        /// Since [`Event::StoreLost`].
        after: Duration,
    },
    /// The store refused a request about one room or a few, and serves others. Once a minute at most.
    RequestRefused {
        /// One sentence; contains no secret.
        reason: String,
    },
    /// The lease of this box ran out: other boxes may take over its rooms. Not where [`Event::StoreLost`] or
    /// [`Event::Unreachable`] says why.
    LeaseLost,
    /// This box holds a lease, for the first time or after [`Event::LeaseLost`].
    LeaseRenewed,
    /// Another live box has the same name. This one started later and serves no new rooms.
    DuplicateName {
        /// The other box.
        other: BoxId,
    },
    /// The name is no longer in use by another box.
    NameFree,
    /// A box in the same store has another cluster key or speaks another version of the protocol.
    ForeignBox {
        /// That box.
        node: NodeName,
        /// Its cluster key differs; otherwise the version of its protocol.
        key_differs: bool,
    },
    /// A box in the same store has a name outside the domain of the service, and is ignored.
    ForeignName {
        /// Its name.
        node: NodeName,
    },
    /// The store held a value that no box of this protocol writes; it was replaced.
    CorruptValue {
        /// The room whose value it was.
        room: RoomTag,
    },
    /// Most other boxes cannot reach this one by its name: it gave up its lease.
    Unreachable {
        /// Those boxes.
        by: Vec<NodeName>,
    },
    /// Other boxes reach this one again.
    Reachable,
    /// A call of the store ended. Of every call; for metrics.
    StoreCall {
        /// How long it took.
        latency: Duration,
        /// Whether the store answered without an error.
        ok: bool,
    },
}
