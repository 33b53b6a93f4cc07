//! Calls, as the box knows them: two people in a room, and what their pages told of it.

use std::time::{Duration, Instant};

use super::call_report::{Path, Report};
use super::error::Refusal;
use super::rooms::{Action, ConnectionId, Rooms};
use crate::seat::SeatId;
use crate::time::Now;

/// Something that is worth counting, and of which the end of a call is worth a line.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Somebody took a seat.
    Joined {
        /// It was theirs before and still kept.
        resumed: bool,
    },
    /// Somebody did not.
    TurnedAway(Refusal),
    /// A page says that its call is connected.
    Connected {
        /// Which way.
        path: Path,
        /// How long that took.
        setup: Duration,
    },
    /// Of two in a room one has left.
    CallEnded(Ended),
}

/// A call that is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// The room's name.
    pub room: String,
    /// How long two were in the room.
    pub lasted: Duration,
    /// It did not end by itself: the box did. Its pages take it up again with the next one.
    pub cut_off: bool,
    /// A page told anything at all. One that speaks only the eight messages tells nothing.
    pub reported: bool,
    /// The worst of what the two pages told: the longer times, the greater losses, and the way and
    /// the bytes of the one that counted more of these.
    pub told: Report,
}

/// Two people in a room.
#[derive(Debug)]
pub(super) struct Call {
    since: Instant,
    /// What each page has told so far.
    told: [Option<(SeatId, Report)>; 2],
}

impl Call {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, told: [None, None] }
    }

    /// Takes a page's report; the connection it is the first to tell of. A page tells of one.
    fn hear(&mut self, seat: SeatId, report: Report) -> Option<(Path, Duration)> {
        let own = |told: &&mut Option<(SeatId, Report)>| told.as_ref().is_none_or(|(id, _)| *id == seat);
        let place = self.told.iter_mut().find(own)?;
        let before = place.take().map_or(Report::default(), |(_, before)| before);
        *place = Some((seat, report.over(before)));
        report.path.zip(report.setup).filter(|_| before.setup.is_none())
    }

    pub(super) fn end(&self, room: &str, now: Instant) -> Ended {
        let told = self.told.iter().flatten().map(|(_, report)| *report);
        let lasted = now.saturating_duration_since(self.since);
        let told = told.reduce(worse);
        let reported = told.is_some();
        Ended { room: room.to_owned(), lasted, cut_off: false, reported, told: told.unwrap_or_default() }
    }
}

fn worse(one: Report, other: Report) -> Report {
    let (more, less) = if one.bytes >= other.bytes { (one, other) } else { (other, one) };
    Report {
        path: more.path.or(less.path),
        setup: more.setup.max(less.setup),
        rtt: more.rtt.max(less.rtt),
        lost: more.lost.into_iter().chain(less.lost).reduce(f64::max),
        bytes: more.bytes,
    }
}

impl Rooms {
    /// A page tells of its call. Where the other has left already, the call has been told of.
    pub(super) fn report(&mut self, conn: ConnectionId, report: Report) -> Result<(), Refusal> {
        let place = self.place(conn)?;
        let call = self.rooms.get_mut(&place.room).and_then(|room| room.call.as_mut());
        if let Some((path, setup)) = call.and_then(|call| call.hear(place.seat, report)) {
            self.actions.push_back(Action::Note(Event::Connected { path, setup }));
        }
        Ok(())
    }

    /// The box ends, and with it every call: each is told of, as far as it has come.
    pub fn end_calls(&mut self, now: Now) {
        for room in self.rooms.values_mut() {
            if let Some(call) = room.call.take() {
                let ended = Ended { cut_off: true, ..call.end(&room.name, now.instant) };
                self.actions.push_back(Action::Note(Event::CallEnded(ended)));
            }
        }
    }
}
