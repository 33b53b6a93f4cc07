//! One room: its seats, and the messages that wait for a disconnected participant.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Instant;

use crate::UnixSeconds;
use crate::call_report::Call;
use crate::client_message::Relay;
use crate::display_name::DisplayName;
use crate::features::Features;
use crate::outputs::ConnectionId;
use crate::seat::{SEATS_PER_ROOM, SeatId};
use crate::server_message::ServerMessage;
use crate::transfer::Transfers;

/// Participants that make a call.
const CALL_PARTICIPANTS: usize = 2;

/// Frames that may wait for one seat: an offer and its candidates, twice.
const MAX_PENDING_FRAMES: usize = 64;

/// Bytes that may wait for one seat.
const MAX_PENDING_BYTES: usize = 128 * 1024;

/// A room with at least one seat taken; an empty room is removed.
#[derive(Debug)]
pub(crate) struct Room {
    name: Box<str>,
    /// A host key opened it.
    opened_by_host: bool,
    call: Option<Call>,
    seats: Vec<Seat>,
}

/// A taken seat.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) id: SeatId,
    /// The time in its newest resume token.
    pub(crate) token_time: UnixSeconds,
    /// When a resume token reopened the room without a host key, if the newest token repeats the time of that one.
    pub(crate) reopened: Option<Instant>,
    pub(crate) name: Option<DisplayName>,
    pub(crate) features: Features,
    pub(crate) transfers: Transfers,
    /// The client stores no resume token, so that it cannot return to this seat.
    pub(crate) without_token: bool,
    pub(crate) state: SeatState,
}

/// Whether the participant of a seat is connected.
#[derive(Debug)]
pub(crate) enum SeatState {
    /// Over a live connection.
    Connected(ConnectionId),
    /// The connection is lost; messages wait.
    Disconnected(Disconnected),
}

/// A seat that is kept for a participant who lost the connection.
#[derive(Debug)]
pub(crate) struct Disconnected {
    pub(crate) pending: PendingMessages,
    /// The page was closed or left; otherwise only the connection is lost.
    pub(crate) closing: bool,
    /// Whose quota of disconnected seats it uses.
    pub(crate) source: IpAddr,
}

/// Messages for a disconnected participant, oldest first.
#[derive(Debug, Default)]
pub(crate) struct PendingMessages {
    messages: VecDeque<PendingMessage>,
    bytes: usize,
}

/// A message, its sender, and the source whose quota of bytes it uses.
#[derive(Debug)]
pub(crate) struct PendingMessage {
    from: SeatId,
    source: IpAddr,
    relay: Relay,
}

impl Room {
    /// An empty room.
    pub(crate) fn new(name: &str, opened_by_host: bool) -> Self {
        Self { name: name.into(), opened_by_host, call: None, seats: Vec::new() }
    }

    /// Whether a host key opened the room.
    pub(crate) fn opened_by_host(&self) -> bool {
        self.opened_by_host
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Adds a connected seat; `false` if all seats are taken. The second seat starts a call.
    pub(crate) fn add(
        &mut self,
        id: SeatId,
        conn: ConnectionId,
        (name, features): (Option<DisplayName>, Features),
        now: Instant,
    ) -> bool {
        if self.seats.len() == SEATS_PER_ROOM {
            return false;
        }
        let (state, transfers) = (SeatState::Connected(conn), Transfers::default());
        let seat = Seat {
            id,
            token_time: 0,
            reopened: None,
            name,
            features,
            transfers,
            without_token: false,
            state,
        };
        self.seats.push(seat);
        self.start_call(now);
        true
    }

    /// Starts a call, if there are enough participants and none is in progress.
    pub(crate) fn start_call(&mut self, now: Instant) {
        if self.seats.len() >= CALL_PARTICIPANTS {
            self.call.get_or_insert_with(|| Call::new(now));
        }
    }

    /// Removes a seat.
    pub(crate) fn remove(&mut self, id: SeatId) -> Option<Seat> {
        let at = self.seats.iter().position(|seat| seat.id == id)?;
        Some(self.seats.remove(at))
    }

    pub(crate) fn seat(&self, id: SeatId) -> Option<&Seat> {
        self.seats.iter().find(|seat| seat.id == id)
    }

    pub(crate) fn seat_mut(&mut self, id: SeatId) -> Option<&mut Seat> {
        self.seats.iter_mut().find(|seat| seat.id == id)
    }

    /// All seats.
    pub(crate) fn seats(&self) -> impl Iterator<Item = &Seat> {
        self.seats.iter()
    }

    /// The seats except `id`.
    pub(crate) fn others(&self, id: SeatId) -> impl Iterator<Item = &Seat> {
        self.seats.iter().filter(move |seat| seat.id != id)
    }

    /// The seats except `id`.
    pub(crate) fn others_mut(&mut self, id: SeatId) -> impl Iterator<Item = &mut Seat> {
        self.seats.iter_mut().filter(move |seat| seat.id != id)
    }

    /// Seats taken.
    pub(crate) fn len(&self) -> usize {
        self.seats.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    /// The call, while two participants are in the room.
    pub(crate) fn call_mut(&mut self) -> Option<&mut Call> {
        self.call.as_mut()
    }

    /// Whether there is a call whose media may be relayed.
    pub(crate) fn may_relay(&self) -> bool {
        self.call.as_ref().is_some_and(Call::may_relay)
    }

    /// Ends the call if too few participants are left.
    pub(crate) fn take_ended_call(&mut self) -> Option<Call> {
        (self.seats.len() < CALL_PARTICIPANTS).then(|| self.call.take()).flatten()
    }

    /// Ends the call.
    pub(crate) fn take_call(&mut self) -> Option<Call> {
        self.call.take()
    }
}

impl Seat {
    /// The connection, if the participant is connected.
    pub(crate) fn connection(&self) -> Option<ConnectionId> {
        match &self.state {
            SeatState::Connected(conn) => Some(*conn),
            SeatState::Disconnected(_) => None,
        }
    }

    /// The state of a participant who is disconnected.
    pub(crate) fn disconnected(&self) -> Option<&Disconnected> {
        match &self.state {
            SeatState::Connected(_) => None,
            SeatState::Disconnected(state) => Some(state),
        }
    }

    /// Removes the messages from the seat `from` that wait for this one.
    pub(crate) fn take_from(&mut self, from: SeatId) -> Option<PendingMessages> {
        match &mut self.state {
            SeatState::Disconnected(state) => Some(state.pending.take_from(from)),
            SeatState::Connected(_) => None,
        }
    }
}

impl PendingMessages {
    /// Whether `relay` fits into this queue.
    pub(crate) fn fits(&self, relay: &Relay) -> bool {
        self.messages.len() < MAX_PENDING_FRAMES && self.bytes + relay.size() <= MAX_PENDING_BYTES
    }

    /// Appends `relay` from the seat `from`; `source` pays for its bytes.
    pub(crate) fn push(&mut self, from: SeatId, source: IpAddr, relay: Relay) {
        self.bytes += relay.size();
        self.messages.push_back(PendingMessage { from, source, relay });
    }

    /// Removes and returns the messages from the seat `from`.
    pub(crate) fn take_from(&mut self, from: SeatId) -> Self {
        let (taken, kept) = std::mem::take(&mut self.messages).into_iter().partition(|m| m.from == from);
        *self = Self::of(kept);
        Self::of(taken)
    }

    fn of(messages: VecDeque<PendingMessage>) -> Self {
        let bytes = messages.iter().map(|message| message.relay.size()).sum();
        Self { messages, bytes }
    }

    /// Bytes by the source that pays for them.
    pub(crate) fn sizes(&self) -> impl Iterator<Item = (IpAddr, usize)> {
        self.messages.iter().map(|message| (message.source, message.relay.size()))
    }

    /// The messages as the participant receives them.
    pub(crate) fn into_messages(self) -> impl Iterator<Item = ServerMessage> {
        self.messages.into_iter().map(|message| ServerMessage::relayed(message.from, message.relay))
    }
}
