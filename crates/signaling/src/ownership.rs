//! Rooms of several servers: which requests need the owner of a room, what the owner may do, and how many people keep a room.
//!
//! Who owns a room is decided elsewhere. A server without others uses none of this.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use crate::room_name::RoomName;
use crate::seat::RoomTag;

/// The number of one ownership of a room; a later owner has a higher one. 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Fence(pub u64);

/// This server owns a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// The fence of this ownership; new resume tokens contain it.
    pub fence: Fence,
    /// The fence of the owner before, which is gone. [`Fence::NONE`] if none is known.
    pub resumes: Fence,
}

/// Who owns the room of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomOwner {
    /// This server.
    ThisServer(Ownership),
    /// It is not known: only seats that this server has can be resumed.
    Unknown,
}

/// Another server that owns a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherOwner {
    /// Its WebSocket.
    pub url: String,
    /// The fence of its ownership.
    pub fence: Fence,
    /// The seats that are taken there, as far as that is known.
    pub seats: usize,
}

/// A frame whose room has an owner, see [`crate::Rooms::room_request`].
#[derive(Clone, Debug)]
pub struct RoomRequest {
    /// The room.
    pub room: RoomTag,
    /// What is requested.
    pub kind: RoomRequestKind,
    /// The fence in the resume token, if that is valid.
    pub token_fence: Option<Fence>,
    /// The fence in the redirect that the client follows. Everybody can write any number here.
    pub redirect_fence: Option<Fence>,
    pub(crate) room_name: RoomName,
    /// The client has no token of this room: the answer counts as an attempt to guess a room name.
    pub(crate) is_guess: bool,
}

/// What a [`RoomRequest`] asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomRequestKind {
    /// A seat.
    Join,
    /// The status of the room.
    Look,
}

impl Fence {
    /// No ownership.
    pub const NONE: Self = Self(0);

    /// Whether this is no ownership.
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Ownership {
    /// Whether a token with `fence` may reopen the room. A token without one is of a server that was alone. If the owner before
    /// is not known, older tokens cannot be told from those of that owner.
    pub(crate) fn accepts(self, fence: Option<Fence>) -> bool {
        fence.is_none_or(|fence| fence == self.fence || fence == self.resumes || self.resumes.is_none())
    }

    /// Whether a token with `fence` is of the owner before.
    pub(crate) fn takes_over(self, fence: Option<Fence>) -> bool {
        !self.resumes.is_none() && fence == Some(self.resumes)
    }
}

impl RoomOwner {
    /// The ownership of this server.
    pub(crate) fn ownership(self) -> Option<Ownership> {
        match self {
            Self::ThisServer(ownership) => Some(ownership),
            Self::Unknown => None,
        }
    }
}

/// A room that this server owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnedRoom {
    /// The room.
    pub tag: RoomTag,
    /// A call there may have relayed media, because no participant reported a direct path.
    pub may_relay: bool,
}

/// The rooms that this server owns, as long as somebody is in them or waits for them.
#[derive(Debug, Default)]
pub(crate) struct OwnedRooms {
    rooms: BTreeMap<RoomTag, RoomState>,
    /// Rooms whose number of seats may have changed.
    touched: BTreeSet<RoomTag>,
}

#[derive(Debug)]
struct RoomState {
    fence: Fence,
    /// The seats that were reported last.
    seats: usize,
}

impl OwnedRooms {
    /// This server owns `room` under `fence`.
    pub(crate) fn insert(&mut self, room: RoomTag, fence: Fence) {
        self.rooms.entry(room).or_insert(RoomState { fence, seats: 0 }).fence = fence;
        self.touched.insert(room);
    }

    /// This server does not own `room` any longer; its seats are not reported.
    pub(crate) fn remove(&mut self, room: RoomTag) {
        self.rooms.remove(&room);
        self.touched.remove(&room);
    }

    pub(crate) fn fence(&self, room: RoomTag) -> Option<Fence> {
        Some(self.rooms.get(&room)?.fence)
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = RoomTag> {
        self.rooms.keys().copied()
    }

    /// The number of seats in `room`, or of those who wait for it, may have changed.
    pub(crate) fn touch(&mut self, room: RoomTag) {
        if self.rooms.contains_key(&room) {
            self.touched.insert(room);
        }
    }

    /// A room whose number of seats may have changed.
    pub(crate) fn pop_touched(&mut self) -> Option<RoomTag> {
        self.touched.pop_first()
    }

    /// Notes the `seats` of `room`; whether they are to be reported. A room without any is owned no longer.
    pub(crate) fn set_seats(&mut self, room: RoomTag, seats: usize) -> bool {
        if seats == 0 {
            return self.rooms.remove(&room).is_some();
        }
        let Some(owned) = self.rooms.get_mut(&room) else { return false };
        std::mem::replace(&mut owned.seats, seats) != seats
    }
}
