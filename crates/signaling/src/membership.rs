//! Seats: taken, taken back, given up, kept for who dropped, and lapsed.

use std::net::IpAddr;
use std::time::Duration;

use super::call_stats::Event;
use super::error::Refusal;
use super::guesses::Guess;
use super::protocol::{Join, Look, ServerMessage};
use super::resume_token::Named;
use super::room::{Absence, Occupant, Place, Room, Waiting};
use super::room_name::RoomName;
use super::rooms::{Action, Closing, ConnectionId, Rooms};
use super::timers::Deadline;
use crate::seat::{RoomTag, SeatEvent, SeatId};
use crate::time::Now;
use crate::time::UnixSeconds;

/// How long the seat of a page that was closed is kept: a reload takes it back.
const CLOSED_GRACE: Duration = Duration::from_secs(15);

/// So long after a token's word has opened a room the news may come that the page before a reload was closed.
const LATE_NEWS: Duration = Duration::from_secs(3);

/// So long after its start a box takes the word of a token that a room was open, and asks no host key
/// for it: it has lost the rooms, and those who sat there with a guest's token only come back in any order.
/// Pages try again every quarter of a minute; who comes later than this is no longer coming back.
const REOPENING: Duration = Duration::from_secs(120);

/// A token that old opens nothing. Whoever left a room with its host hours ago is to ask for the key like
/// anybody else, also in the first minutes of a box; few calls are longer than this.
const REOPENS_FOR: UnixSeconds = 12 * 60 * 60;

impl Rooms {
    /// Takes a seat, or takes one back, and says what became of it.
    pub(super) fn join_and_tell(
        &mut self,
        conn: ConnectionId,
        join: &Join,
        now: Now,
        chance: [u8; 16],
    ) -> Result<(), Refusal> {
        let outcome = self.join(conn, join, now, chance);
        let event = outcome.map_or_else(Event::TurnedAway, |resumed| Event::Joined { resumed });
        self.actions.push_back(Action::Note(event));
        outcome.map(|_| ())
    }

    /// Whether it was taken back.
    fn join(&mut self, conn: ConnectionId, join: &Join, now: Now, chance: [u8; 16]) -> Result<bool, Refusal> {
        if self.place(conn).is_ok() {
            return Err(Refusal::AlreadyJoined);
        }
        let name = RoomName::parse(&join.room).ok_or(Refusal::BadRoom)?;
        let room = self.rules.tag_key.tag(name.as_str());
        let named = match &join.resume {
            Some(token) => Some(self.named_by_token(conn, (room, &join.room), token, now)?),
            None => None,
        };
        let place = Place { room, seat: named.map_or(SeatId::new(chance), |named| named.seat) };
        let resumed = named.is_some() && self.is_taken(place);
        if resumed {
            let waiting = self.take_back(conn, place, now);
            self.welcome(conn, place, &name, true, now, now.unix);
            self.deliver(conn, place, waiting);
        } else {
            // Whoever has been here guesses no name.
            if named.is_none() {
                self.try_name(conn, room, now)?;
            }
            let word = self.may_sit(conn, place, named, join.key.as_deref(), now)?;
            self.take(conn, place, &name, now)?;
            self.welcome(conn, place, &name, false, now, word.map_or(now.unix, |named| named.since));
        }
        Ok(resumed)
    }

    /// Says how many sit in a room, besides who asks. It tells no more than a join would, and every name counts, found or
    /// not.
    pub(super) fn look(&mut self, conn: ConnectionId, look: &Look, now: Now) -> Result<(), Refusal> {
        let name = RoomName::parse(&look.room).ok_or(Refusal::BadRoom)?;
        let tag = self.rules.tag_key.tag(name.as_str());
        let own = match &look.resume {
            // The answer tells whether a token is genuine. A wrong one is passed over here, and refused by a join.
            Some(token) => match self.named_by_token(conn, (tag, &look.room), token, now) {
                Err(Refusal::BadResume) => None,
                named => Some(named?),
            },
            None => None,
        };
        if own.is_none() {
            self.may_try(conn, Guess::Room(tag), now)?;
            self.tried(conn, Guess::Room(tag), now);
        }
        let seats = self.rooms.get_mut(&tag).map_or(0, |room| {
            let among_them = own.is_some_and(|own| room.seat(own.seat).is_some());
            room.len() - usize::from(among_them)
        });
        self.send(conn, ServerMessage::Room { room: name.as_str().to_owned(), seats });
        Ok(())
    }

    /// What `token` says. A genuine one is always taken, whatever its source has tried before.
    fn named_by_token(
        &mut self,
        conn: ConnectionId,
        (room, typed): (RoomTag, &str),
        token: &str,
        now: Now,
    ) -> Result<Named, Refusal> {
        if let Some((tag, named)) = self.rules.token_key.open(token) {
            // Given out before names had one spelling, to somebody who types it as before.
            let young = now.unix.abs_diff(named.since) < REOPENS_FOR;
            let earlier = || tag == self.rules.tag_key.tag(&RoomName::earlier(typed));
            if tag == room || (young && earlier()) {
                return Ok(named);
            }
        }
        self.may_try(conn, Guess::Token(token), now)?;
        self.tried(conn, Guess::Token(token), now);
        Err(Refusal::BadResume)
    }

    /// Joining whoever is there counts for nothing, but is refused like the rest when the source has tried too many: the
    /// refusal must not tell an empty room from another.
    fn try_name(&mut self, conn: ConnectionId, room: RoomTag, now: Now) -> Result<(), Refusal> {
        self.may_try(conn, Guess::Room(room), now)?;
        if !self.rooms.contains_key(&room) {
            self.tried(conn, Guess::Room(room), now);
        }
        Ok(())
    }

    fn is_taken(&mut self, place: Place) -> bool {
        self.rooms.get_mut(&place.room).is_some_and(|room| room.seat(place.seat).is_some())
    }

    /// Whether a new seat is to be had: not on the way out, and an empty room is opened by who may. Gives the token whose
    /// word alone opens it: it grows no younger by that, or it would go from restart to restart.
    fn may_sit(
        &mut self,
        conn: ConnectionId,
        place: Place,
        named: Option<Named>,
        key: Option<&str>,
        now: Now,
    ) -> Result<Option<Named>, Refusal> {
        if self.draining {
            return Err(Refusal::ShuttingDown);
        }
        if self.rooms.contains_key(&place.room) || self.rules.host_keys.none() {
            return Ok(None);
        }
        let outcome = self.try_key(conn, key, now);
        let word = named.filter(|named| self.reopens(*named, now));
        if outcome.is_err() && word.is_some() {
            return Ok(word);
        }
        outcome.map(|()| None)
    }

    fn try_key(&mut self, conn: ConnectionId, key: Option<&str>, now: Now) -> Result<(), Refusal> {
        let key = key.ok_or(Refusal::KeyRequired)?;
        self.may_try(conn, Guess::Key(key), now)?;
        if self.rules.host_keys.hold(key) {
            return Ok(());
        }
        self.tried(conn, Guess::Key(key), now);
        Err(Refusal::KeyRequired)
    }

    fn reopens(&self, named: Named, now: Now) -> bool {
        let young = now.instant.saturating_duration_since(self.born) < REOPENING;
        // Of a clock that was ahead a token may come from the future.
        young && now.unix.abs_diff(named.since) < REOPENS_FOR
    }

    /// An ordinary join. `place` names a new seat, or one that was gone and comes back under its name.
    fn take(&mut self, conn: ConnectionId, place: Place, name: &RoomName, now: Now) -> Result<(), Refusal> {
        let room = self.rooms.entry(place.room).or_insert_with(|| Room::new(name.as_str()));
        if !room.sit(place.seat, conn, now.instant) {
            return Err(Refusal::RoomFull);
        }
        self.settle(conn, Some(place), now);
        self.actions.push_back(Action::Seat(SeatEvent::Opened(place.room, place.seat)));
        self.tell_other(place, ServerMessage::NewPeer { id: place.seat });
        Ok(())
    }

    /// The seat in `place`, taken, gets `conn` for its holder; gives what waited for it.
    fn take_back(&mut self, conn: ConnectionId, place: Place, now: Now) -> Waiting {
        let seat = self.rooms.get_mut(&place.room).and_then(|room| room.seat(place.seat));
        let before = seat.map(|seat| std::mem::replace(&mut seat.occupant, Occupant::Present(conn)));
        self.settle(conn, Some(place), now);
        // Also where the old connection was half open and nobody had noticed: what went to it is lost.
        self.tell_other(place, ServerMessage::PeerBack { id: place.seat });
        match before {
            Some(Occupant::Present(old)) => {
                self.forget(old);
                self.actions.push_back(Action::Close { conn: old, why: Closing::Replaced });
                Waiting::default()
            }
            Some(Occupant::Away(absence)) => {
                self.no_longer_away(place, &absence);
                absence.waiting
            }
            None => Waiting::default(),
        }
    }

    /// `since`: the time that the new token names.
    fn welcome(
        &mut self,
        conn: ConnectionId,
        place: Place,
        name: &RoomName,
        resumed: bool,
        now: Now,
        since: UnixSeconds,
    ) {
        let seat = self.rooms.get_mut(&place.room).and_then(|room| room.seat(place.seat));
        if let Some(seat) = seat {
            seat.since = since;
            seat.reopened = (since != now.unix).then_some(now.instant);
        }
        let other = self.other(place).map(|other| (other.id, other.is_closing()));
        let (ice_servers, ttl) = self.mint(conn, place, now);
        let message = ServerMessage::RespJoin {
            id: place.seat,
            room: name.as_str().to_owned(),
            peer: other.map(|(id, _)| id),
            ice_servers,
            ttl,
            resume: self.rules.token_key.token(place.room, place.seat, since),
            resumed,
        };
        self.send(conn, message);
        if let Some((id, Some(closing))) = other {
            self.send(conn, ServerMessage::PeerAway { id, closing });
        }
    }

    /// Everything that waits came from who sits in the other seat: [`Self::vacate`] sees to that.
    fn deliver(&mut self, conn: ConnectionId, place: Place, waiting: Waiting) {
        let Some(from) = self.other(place).map(|other| other.id) else { return };
        for relay in waiting.into_frames() {
            self.send(conn, ServerMessage::relayed(from, relay));
        }
    }

    /// Gives the seat up; the connection stays.
    pub(super) fn leave(&mut self, conn: ConnectionId, now: Now) -> Result<(), Refusal> {
        let place = self.place(conn)?;
        self.settle(conn, None, now);
        self.vacate(place, SeatEvent::Left(place.room, place.seat), now);
        Ok(())
    }

    /// The holder of a seat dropped: it is kept for a while, where its source has not enough kept already.
    pub(super) fn step_away(&mut self, place: Place, closing: bool, source: IpAddr, now: Now) {
        if !self.away.take(source, 1) {
            return self.lapse(place, now);
        }
        let Some(seat) = self.rooms.get_mut(&place.room).and_then(|room| room.seat(place.seat)) else {
            return self.away.give(source, 1);
        };
        seat.occupant = Occupant::Away(Absence { waiting: Waiting::default(), closing, source });
        let grace = self.rules.room_grace;
        let grace = if closing { grace.min(CLOSED_GRACE) } else { grace };
        self.deadlines.set(Deadline::Grace(place), now.instant + grace);
        self.tell_other(place, ServerMessage::PeerAway { id: place.seat, closing });
    }

    /// The page that holds `token` says that it was closed or left, from `source` and without a WebSocket.
    ///
    /// # Errors
    /// [`Refusal::BadResume`], and [`Refusal::TooManyGuesses`] where that comes too often.
    pub fn page_closed(&mut self, token: &str, source: IpAddr, now: Now) -> Result<(), Refusal> {
        let Some((room, named)) = self.rules.token_key.open(token) else {
            self.guesses.may_try(source, Guess::Token(token), now.instant)?;
            self.guesses.tried(source, Guess::Token(token), now.instant);
            return Err(Refusal::BadResume);
        };
        let place = Place { room, seat: named.seat };
        let seat = self.rooms.get_mut(&room).and_then(|room| room.seat(named.seat));
        // A page that has sat down since has another token: that one stays.
        let Some(seat) = seat.filter(|seat| seat.since == named.since) else { return Ok(()) };
        let is_late = seat.reopened.is_some_and(|at| now.instant.saturating_duration_since(at) < LATE_NEWS);
        match &mut seat.occupant {
            // The token after a reload names the same time, so this is the page before it.
            Occupant::Present(_) if is_late => {}
            Occupant::Present(conn) => {
                let conn = *conn;
                self.actions.push_back(Action::Close { conn, why: Closing::PageClosed });
                self.dropped(conn, true, now);
            }
            Occupant::Away(absence) if !absence.closing => {
                absence.closing = true;
                self.deadlines.hasten(Deadline::Grace(place), now.instant + CLOSED_GRACE);
                self.tell_other(place, ServerMessage::PeerAway { id: place.seat, closing: true });
            }
            Occupant::Away(_) => {}
        }
        Ok(())
    }

    /// Nobody came back to the seat in time.
    pub(super) fn lapse(&mut self, place: Place, now: Now) {
        self.vacate(place, SeatEvent::Lapsed(place.room, place.seat), now);
    }

    fn vacate(&mut self, place: Place, news: SeatEvent, now: Now) {
        let Some(room) = self.rooms.get_mut(&place.room) else { return };
        let Some(seat) = room.remove(place.seat) else { return };
        let ended = room.call.take().map(|call| call.end(&room.name, now.instant));
        // What it said to somebody who is away is not for whoever sits here next.
        let unsaid = room.other(place.seat).and_then(|other| match &mut other.occupant {
            Occupant::Away(absence) => Some(std::mem::take(&mut absence.waiting)),
            Occupant::Present(_) => None,
        });
        if room.is_empty() {
            self.rooms.remove(&place.room);
        }
        unsaid.into_iter().for_each(|waiting| self.wait_no_more(&waiting));
        if let Occupant::Away(absence) = &seat.occupant {
            self.no_longer_away(place, absence);
        }
        self.actions.extend(ended.map(|ended| Action::Note(Event::CallEnded(ended))));
        self.actions.push_back(Action::Seat(news));
        self.tell_other(place, ServerMessage::PeerLeave { id: place.seat });
    }

    fn no_longer_away(&mut self, place: Place, absence: &Absence) {
        self.deadlines.cancel(Deadline::Grace(place));
        self.away.give(absence.source, 1);
        self.wait_no_more(&absence.waiting);
    }

    fn wait_no_more(&mut self, waiting: &Waiting) {
        waiting.sizes().for_each(|(source, size)| self.waiting_bytes.give(source, size));
    }

    /// Who is away is told when it comes back, by its `resp-join`.
    fn tell_other(&mut self, place: Place, message: ServerMessage) {
        if let Some(to) = self.other(place).and_then(|other| other.connection()) {
            self.send(to, message);
        }
    }

    fn other(&mut self, place: Place) -> Option<&mut super::room::Seat> {
        self.rooms.get_mut(&place.room).and_then(|room: &mut Room| room.other(place.seat))
    }
}
