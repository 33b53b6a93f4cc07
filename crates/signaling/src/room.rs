//! One room: two seats at most, and what waits for somebody who is away.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Instant;

use super::call_stats::Call;
use super::protocol::Relay;
use super::rooms::ConnectionId;
use crate::seat::{RoomTag, SeatId};
use crate::time::UnixSeconds;

/// Seats of a room.
const SEATS: usize = 2;

/// Frames that wait for one seat: an offer and its candidates, twice over.
const WAITING_FRAMES: usize = 64;

/// Bytes that wait for one seat.
const WAITING_BYTES: usize = 128 * 1024;

/// One seat's name in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) room: RoomTag,
    pub(super) seat: SeatId,
}

/// A room somebody sits in; an empty one is not kept.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) name: Box<str>,
    /// There while both seats are taken.
    pub(super) call: Option<Call>,
    seats: Vec<Seat>,
}

/// A taken seat.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) id: SeatId,
    /// The time that its last token names.
    pub(super) since: UnixSeconds,
    /// When the word of a token opened it, while that token's time is its own.
    pub(super) reopened: Option<Instant>,
    pub(super) occupant: Occupant,
}

/// Who is on the other end of a seat just now.
#[derive(Debug)]
pub(super) enum Occupant {
    /// A live connection.
    Present(ConnectionId),
    /// Nobody; what comes meanwhile waits.
    Away(Absence),
}

/// A seat that is kept for somebody.
#[derive(Debug)]
pub(super) struct Absence {
    pub(super) waiting: Waiting,
    /// The page was closed, and did not merely drop.
    pub(super) closing: bool,
    /// By whom it is counted.
    pub(super) source: IpAddr,
}

/// What was sent to a seat whose holder is away, oldest first.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    frames: VecDeque<(Relay, IpAddr)>,
    bytes: usize,
}

impl Room {
    /// An empty room.
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.into(), call: None, seats: Vec::new() }
    }

    /// Adds a seat; `false` where both are taken.
    pub(super) fn sit(&mut self, id: SeatId, conn: ConnectionId, now: Instant) -> bool {
        if self.seats.len() == SEATS {
            return false;
        }
        self.seats.push(Seat { id, since: 0, reopened: None, occupant: Occupant::Present(conn) });
        self.call = (self.seats.len() == SEATS).then(|| Call::new(now));
        true
    }

    pub(super) fn seat(&mut self, id: SeatId) -> Option<&mut Seat> {
        self.seats.iter_mut().find(|seat| seat.id == id)
    }

    /// The seat that is not `id`.
    pub(super) fn other(&mut self, id: SeatId) -> Option<&mut Seat> {
        self.seats.iter_mut().find(|seat| seat.id != id)
    }

    pub(super) fn remove(&mut self, id: SeatId) -> Option<Seat> {
        let at = self.seats.iter().position(|seat| seat.id == id)?;
        Some(self.seats.remove(at))
    }

    /// Seats taken.
    pub(super) fn len(&self) -> usize {
        self.seats.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }
}

impl Seat {
    /// The connection of a seat whose holder is here.
    pub(super) fn connection(&self) -> Option<ConnectionId> {
        match &self.occupant {
            Occupant::Present(conn) => Some(*conn),
            Occupant::Away(_) => None,
        }
    }

    /// Where its holder is away, whether its page was closed.
    pub(super) fn is_closing(&self) -> Option<bool> {
        match &self.occupant {
            Occupant::Present(_) => None,
            Occupant::Away(absence) => Some(absence.closing),
        }
    }
}

impl Waiting {
    /// Whether `relay` fits besides what waits already.
    pub(super) fn fits(&self, relay: &Relay) -> bool {
        self.frames.len() < WAITING_FRAMES && self.bytes + relay.size() <= WAITING_BYTES
    }

    /// Keeps `relay`, sent from `source`, for later.
    pub(super) fn push(&mut self, relay: Relay, source: IpAddr) {
        self.bytes += relay.size();
        self.frames.push_back((relay, source));
    }

    /// What waits, by who sent it.
    pub(super) fn sizes(&self) -> impl Iterator<Item = (IpAddr, usize)> {
        self.frames.iter().map(|(relay, source)| (*source, relay.size()))
    }

    pub(super) fn into_frames(self) -> impl Iterator<Item = Relay> {
        self.frames.into_iter().map(|(relay, _)| relay)
    }
}

impl Relay {
    /// Bytes it holds, near enough.
    pub(super) fn size(&self) -> usize {
        self.body.get().len() + self.call.as_ref().map_or(0, |call| call.get().len()) + size_of::<Self>()
    }
}
