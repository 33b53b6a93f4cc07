//! What [`super::Rooms`] asks of its caller: actions in the order they happened, and the pending timers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::call_report::{CallSummary, MediaPath};
use crate::error::Refusal;
use crate::seat::{RoomTag, SeatEvent, SeatKey};
use crate::server_message::ServerMessage;

/// The caller's number for one WebSocket; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// One thing for the caller to do.
#[derive(Debug)]
pub enum Action {
    /// Send a frame.
    Send {
        /// The receiver.
        to: ConnectionId,
        /// The sender, if another participant wrote the frame. If the send queue of `to` is full, the caller
        /// drops such a frame and calls [`super::Rooms::relay_failed`]; `to` stays connected.
        from: Option<ConnectionId>,
        /// The frame.
        message: ServerMessage,
    },
    /// Close a connection. Its state is gone already: no later action refers to it.
    Close {
        /// The connection.
        conn: ConnectionId,
        /// The reason.
        reason: CloseReason,
    },
    /// Report a seat to the relay. `Joined` precedes the `resp-join` of the same join.
    Seat(SeatEvent),
    /// Count or log an event.
    Event(Event),
    /// Participants of a room of another server, where their call has ended, were redirected there. Only in a cluster.
    Redirected {
        /// Their number.
        clients: usize,
    },
    /// The number of people in a room that this server owns has changed. Only in a cluster; the last action of an input.
    Occupancy {
        /// The room.
        room: RoomTag,
        /// See [`super::Rooms::occupancy`]. 0: the room need not be kept.
        seats: usize,
    },
}

/// Why the server closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// Another connection resumed its seat.
    Replaced,
    /// It far exceeded the frame rate limit.
    RateLimitExceeded,
    /// It sent its tenth malformed frame.
    TooManyBadMessages,
    /// It took no seat and sent nothing.
    Idle,
    /// Its page reported by `POST /leave` that it was closed.
    PageClosed,
    /// Another server owns the room; a `redirect` was sent.
    Redirected,
}

/// Something to count; the end of a call is also worth a log line.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A join succeeded.
    Joined {
        /// An existing seat was resumed.
        resumed: bool,
    },
    /// A join was refused.
    JoinRefused(Refusal),
    /// A participant waits no longer.
    WaitEnded(WaitOutcome),
    /// A page reported that its call is connected.
    CallConnected {
        /// The path of the media.
        path: MediaPath,
        /// Time from the join, or from the peer's arrival, to the connection.
        setup: Duration,
    },
    /// One of the participants of a call left.
    CallEnded(CallSummary),
}

/// How waiting for a seat ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitOutcome {
    /// With a seat.
    Seated,
    /// Somebody in the room refused.
    Declined,
    /// The participant left or disconnected.
    Gone,
}

/// Something that becomes due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A connection without a seat has been silent for too long.
    Idle(ConnectionId),
    /// The credentials of a connection must be replaced.
    Credentials(ConnectionId),
    /// A disconnected seat expires.
    Grace(SeatKey),
}

/// The pending timers, at most one per [`Timer`] value.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    by_time: BTreeSet<(Instant, Timer)>,
    due: BTreeMap<Timer, Instant>,
}

/// Pending actions and timers.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    actions: VecDeque<Action>,
    pub(crate) timers: Timers,
}

impl WaitOutcome {
    /// Every value.
    pub const ALL: [Self; 3] = [Self::Seated, Self::Declined, Self::Gone];

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Seated => "seated",
            Self::Declined => "declined",
            Self::Gone => "gone",
        }
    }
}

impl CloseReason {
    /// The WebSocket close code (RFC 6455 §7.4).
    pub fn code(self) -> u16 {
        match self {
            Self::Replaced => 4001,
            Self::Redirected => 4002,
            Self::RateLimitExceeded | Self::TooManyBadMessages => 1008,
            Self::Idle | Self::PageClosed => 1000,
        }
    }

    /// The text of the close frame.
    pub fn text(self) -> &'static str {
        match self {
            Self::Replaced => "the seat was resumed by another connection",
            Self::RateLimitExceeded => "too many frames",
            Self::TooManyBadMessages => "too many bad messages",
            Self::Idle => "no seat taken",
            Self::PageClosed => "the page was closed",
            Self::Redirected => "the room is on another server",
        }
    }
}

impl Outputs {
    /// Sends `message` from the server.
    pub(crate) fn send(&mut self, to: ConnectionId, message: ServerMessage) {
        self.actions.push_back(Action::Send { to, from: None, message });
    }

    /// Sends `message`, which the participant at `from` wrote.
    pub(crate) fn relay(&mut self, from: ConnectionId, to: ConnectionId, message: ServerMessage) {
        self.actions.push_back(Action::Send { to, from: Some(from), message });
    }

    pub(crate) fn push(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.push(Action::Event(event));
    }

    pub(crate) fn pop(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
}

impl Timers {
    /// Sets or moves `timer`.
    pub(crate) fn set(&mut self, timer: Timer, due: Instant) {
        self.cancel(timer);
        self.due.insert(timer, due);
        self.by_time.insert((due, timer));
    }

    /// Moves `timer`, if it is pending, to `due` if that is earlier.
    pub(crate) fn shorten(&mut self, timer: Timer, due: Instant) {
        if self.due.get(&timer).is_some_and(|later| due < *later) {
            self.set(timer, due);
        }
    }

    pub(crate) fn cancel(&mut self, timer: Timer) {
        if let Some(due) = self.due.remove(&timer) {
            self.by_time.remove(&(due, timer));
        }
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(due, _)| *due)
    }

    /// Removes and returns the earliest timer that is due at `now`.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        let (due, timer) = *self.by_time.first()?;
        if due > now {
            return None;
        }
        self.cancel(timer);
        Some(timer)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        assert_eq!(self.by_time.len(), self.due.len());
        self.due.len()
    }
}
