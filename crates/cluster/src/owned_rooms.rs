//! The rooms that this box owns: what it remembers of each, and which of them need a request of the store.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::registry::{Assertion, ROOM_DURATION};
use crate::{Decision, Fence, JoinRequest, RoomTag};

/// How long a room without seats is kept.
pub(crate) const IDLE_TIME: Duration = Duration::from_secs(5);
/// The same while the store is away, which must not let the table grow for hours.
const IDLE_LIMIT: Duration = Duration::from_secs(60);
/// How long the store is not asked again about a room because of a fence that it has just denied. Anybody can write any
/// fence into a join.
const DENIAL_TIME: Duration = Duration::from_secs(1);
/// Rooms in one request: it takes the store a few milliseconds.
pub(crate) const BATCH: usize = 200;
/// One room more is extended with each renewal for so many.
const ROOMS_PER_EXTENSION: usize = 20_000;

/// A room of this box.
#[derive(Debug)]
pub(crate) struct OwnedRoom {
    pub(crate) fence: Fence,
    pub(crate) resumes: Fence,
    pub(crate) seats: usize,
    /// The number that the store has.
    written_seats: usize,
    /// The number of the last claim or assertion.
    pub(crate) serial: u64,
    /// The store is known to agree.
    pub(crate) confirmed: bool,
    /// The numbers of the first and the last assertion that are under way.
    asserting: Option<(u64, u64)>,
    /// When the store denied that there is a later ownership, which a client claimed.
    denied: Option<Instant>,
    /// Since when it has no seat.
    idle_since: Option<Instant>,
    /// When the store wrote it last, as far as this box knows.
    written: Instant,
}

/// The rooms of this box.
#[derive(Debug, Default)]
pub(crate) struct OwnedRooms {
    rooms: HashMap<RoomTag, OwnedRoom>,
    /// Some room may be unconfirmed.
    unconfirmed: bool,
}

impl OwnedRoom {
    /// A room without seats yet. `serial`: of the claim by which the store knows it.
    pub(crate) fn new(fence: Fence, resumes: Fence, serial: Option<u64>, now: Instant) -> Self {
        // A claim wrote one seat for who joins.
        let (confirmed, written_seats) = (serial.is_some(), usize::from(serial.is_some()));
        let (serial, idle_since) = (serial.unwrap_or(0), Some(now));
        Self {
            fence,
            resumes,
            seats: 0,
            written_seats,
            serial,
            confirmed,
            asserting: None,
            denied: None,
            idle_since,
            written: now,
        }
    }

    /// Keeps it for the join that is under way.
    pub(crate) fn serve(&mut self, now: Instant) -> Decision {
        self.idle_since = self.idle_since.map(|_| now);
        Decision::Serve { fence: self.fence, resumes: self.resumes }
    }

    /// Whether the store must be asked before the request is served.
    pub(crate) fn is_doubtful(&self, request: &JoinRequest, now: Instant) -> bool {
        let is_denied = || self.denied.is_some_and(|denied| now < denied + DENIAL_TIME);
        !self.confirmed || (self.is_older_than(request) && !is_denied())
    }

    /// The store said that this box has the room. If the request claims a later ownership, that claim is false.
    pub(crate) fn deny(&mut self, request: &JoinRequest, now: Instant) {
        if self.is_older_than(request) {
            self.denied = Some(now);
        }
    }

    /// The request knows of a later ownership than this one.
    fn is_older_than(&self, request: &JoinRequest) -> bool {
        request.redirect_fence.max(request.token_fence).is_some_and(|fence| fence > self.fence)
    }

    fn assertion(&mut self, room: RoomTag, number: u64) -> Assertion {
        // A release or a move sent before, which may arrive later, has no effect then.
        (self.serial, self.written_seats) = (number, self.seats);
        self.asserting = Some((self.asserting.map_or(number, |(first, _)| first), number));
        let Self { fence, resumes, serial, .. } = *self;
        Assertion { room, fence, resumes, seats: self.seats as u64, serial }
    }

    /// Another box that had the room, too, must learn whether there is a call.
    fn has_unwritten_seats(&self) -> bool {
        self.confirmed && self.seats > 0 && self.seats != self.written_seats
    }

    fn is_extendable(&self, room: RoomTag, now: Instant) -> bool {
        // From a quarter to a half of the time, so that rooms that were opened together are not extended together.
        let spread = u32::from(room.as_bytes()[0]);
        self.confirmed && now >= self.written + ROOM_DURATION / 4 + ROOM_DURATION / 1024 * spread
    }
}

impl OwnedRooms {
    pub(crate) fn len(&self) -> usize {
        self.rooms.len()
    }

    pub(crate) fn get_mut(&mut self, room: RoomTag) -> Option<&mut OwnedRoom> {
        self.rooms.get_mut(&room)
    }

    pub(crate) fn insert(&mut self, tag: RoomTag, room: OwnedRoom) {
        self.unconfirmed |= !room.confirmed;
        self.rooms.insert(tag, room);
    }

    /// Adds a room as the store has it. If this box has it already, its seats hold tokens of the fence that it has.
    pub(crate) fn add(&mut self, tag: RoomTag, room: OwnedRoom) {
        match self.rooms.get_mut(&tag) {
            None => self.insert(tag, room),
            Some(known) if known.fence == room.fence => known.serial = known.serial.max(room.serial),
            Some(_) => {
                self.unconfirm(tag);
            }
        }
    }

    pub(crate) fn remove(&mut self, room: RoomTag) -> Option<OwnedRoom> {
        self.rooms.remove(&room)
    }

    /// `true`: the store must know of it soon. Another box that has the room, too, sends its participants here if it sees fewer.
    pub(crate) fn set_seats(&mut self, room: RoomTag, seats: usize, now: Instant) -> bool {
        let Some(room) = self.rooms.get_mut(&room) else { return false };
        room.seats = seats;
        room.idle_since = (seats == 0).then(|| room.idle_since.unwrap_or(now));
        room.confirmed && seats > room.written_seats
    }

    /// Other boxes may have taken any room, or the store lost it.
    pub(crate) fn unconfirm_all(&mut self) {
        self.unconfirmed = true;
        for room in self.rooms.values_mut() {
            (room.confirmed, room.asserting) = (false, None);
        }
    }

    /// The store may not agree on this room; `false`: this box does not have it.
    pub(crate) fn unconfirm(&mut self, room: RoomTag) -> bool {
        let Some(room) = self.rooms.get_mut(&room) else { return false };
        (room.confirmed, room.asserting) = (false, None);
        self.unconfirmed = true;
        true
    }

    /// The store may not agree on these rooms.
    pub(crate) fn unconfirm_each(&mut self, rooms: &[RoomTag]) {
        for room in rooms {
            self.unconfirm(*room);
        }
    }

    /// All rooms with seats are confirmed.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.rooms.values().all(|room| room.confirmed || room.seats == 0)
    }

    /// The assertion of one room.
    pub(crate) fn assert(&mut self, room: RoomTag, number: u64) -> Option<Assertion> {
        self.rooms.get_mut(&room).map(|owned| owned.assertion(room, number))
    }

    /// Some of the unconfirmed rooms with seats that no assertion is under way for.
    pub(crate) fn next_assertions(&mut self, number: u64) -> Vec<Assertion> {
        if !self.unconfirmed {
            return Vec::new();
        }
        self.unconfirmed = self.rooms.values().any(|room| !room.confirmed);
        let is_due = |room: &OwnedRoom| !room.confirmed && room.asserting.is_none() && room.seats > 0;
        let due = self.rooms.iter_mut().filter(|(_, room)| is_due(room)).take(BATCH);
        due.map(|(tag, room)| room.assertion(*tag, number)).collect()
    }

    /// An assertion ended: the room as it was asserted, unless it has become another one since or is unconfirmed again.
    pub(crate) fn end_assertion(&mut self, number: u64, assertion: &Assertion) -> Option<&mut OwnedRoom> {
        let room = self.rooms.get_mut(&assertion.room)?;
        let (_, last) = room.asserting.filter(|(first, last)| (*first..=*last).contains(&number))?;
        if number == last {
            room.asserting = None;
        }
        (room.fence == assertion.fence).then_some(room)
    }

    /// Removes rooms that have been without seats for so long: room, fence and serial.
    pub(crate) fn remove_idle(&mut self, idle_time: Duration, now: Instant) -> Vec<(RoomTag, Fence, u64)> {
        let is_idle = |room: &OwnedRoom| room.idle_since.is_some_and(|since| now >= since + idle_time);
        let idle = self.rooms.extract_if(|_, room| is_idle(room));
        idle.map(|(tag, room)| (tag, room.fence, room.serial)).collect()
    }

    /// Removes rooms that ended while the store was away; there they expire.
    pub(crate) fn forget_idle(&mut self, now: Instant) {
        self.rooms.retain(|_, room| room.idle_since.is_none_or(|since| now < since + IDLE_LIMIT));
    }

    /// A few rooms whose ownership must be extended in the store, and rooms whose number of seats has changed.
    pub(crate) fn extensions(&mut self, now: Instant) -> Vec<(RoomTag, Fence, u64)> {
        let (mut extensions, mut changes) = (1 + self.rooms.len() / ROOMS_PER_EXTENSION, BATCH);
        let mut is_due = |tag: RoomTag, room: &OwnedRoom| {
            let left = match room {
                room if room.has_unwritten_seats() => &mut changes,
                room if room.is_extendable(tag, now) => &mut extensions,
                _ => return false,
            };
            let is_due = *left > 0;
            *left = left.saturating_sub(1);
            is_due
        };
        let due = self.rooms.iter_mut().filter(|(tag, room)| is_due(**tag, room));
        due.map(|(tag, room)| {
            (room.written, room.written_seats) = (now, room.seats);
            (*tag, room.fence, room.seats as u64)
        })
        .collect()
    }
}
