//! The table of rooms: seats are joined, resumed, left, disconnected and expired.
//!
//! Who may join is decided in `admission.rs`. Disconnected seats and pending messages are bounded in total
//! and by source.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use webrtc_box_rate_limit::SourcePrefix;

use crate::call_report::{CallReport, CallSummary};
use crate::client_message::Relay;
use crate::display_name::DisplayName;
use crate::error::Refusal;
use crate::features::Features;
use crate::outputs::{Action, ConnectionId, Event, Outputs, Timer};
use crate::resume_token::ResumeClaims;
use crate::room::{Disconnected, PendingMessages, Room, Seat, SeatState};
use crate::room_name::RoomName;
use crate::seat::{RoomTag, SEATS_PER_ROOM, SeatEvent, SeatId, SeatKey};
use crate::server_message::ServerMessage;
use crate::transfer::Transfers;
use crate::{Now, UnixSeconds};

/// How long the seat of a closed page is kept: a reload resumes it.
const CLOSED_PAGE_GRACE: Duration = Duration::from_secs(15);

/// For this long after a resume token reopened a room, `POST /leave` may still come from the page before the reload.
const LATE_LEAVE: Duration = Duration::from_secs(3);

/// Disconnected seats in all rooms; beyond it a disconnected participant leaves at once.
const MAX_DISCONNECTED_SEATS: usize = 10_000;

/// Bytes of pending messages in all rooms.
const MAX_PENDING_BYTES: usize = 4 * 1024 * 1024;

/// Sources that it takes to use up a quota.
const SOURCES_PER_QUOTA: usize = 8;

/// All rooms with at least one seat taken.
#[derive(Debug)]
pub(crate) struct RoomTable {
    rooms: BTreeMap<RoomTag, Room>,
    room_grace: Duration,
    disconnected: SourceQuota,
    pending_bytes: SourceQuota,
}

/// A participant who joins a room.
#[derive(Clone, Debug)]
pub(crate) struct Newcomer {
    pub(crate) conn: ConnectionId,
    pub(crate) room_name: RoomName,
    /// What others see.
    pub(crate) name: Option<DisplayName>,
    pub(crate) features: Features,
}

/// Why `handle_page_closed` has nothing to do, or which connection it must drop.
pub(crate) enum ClosedPage {
    /// The seat is gone, belongs to a newer page, or was marked already.
    Nothing,
    /// The connection of the page, which still looks open.
    Connected(ConnectionId),
}

impl RoomTable {
    pub(crate) fn new(room_grace: Duration) -> Self {
        Self {
            rooms: BTreeMap::new(),
            room_grace,
            disconnected: SourceQuota::new(MAX_DISCONNECTED_SEATS),
            pending_bytes: SourceQuota::new(MAX_PENDING_BYTES),
        }
    }

    /// Whether any seat of `room` is taken.
    pub(crate) fn is_open(&self, room: RoomTag) -> bool {
        self.rooms.contains_key(&room)
    }

    /// Whether the seat is taken.
    pub(crate) fn is_taken(&self, key: SeatKey) -> bool {
        self.rooms.get(&key.room).is_some_and(|room| room.seat(key.seat).is_some())
    }

    /// Seats taken in `room`, without the seat `except`.
    pub(crate) fn seats(&self, room: RoomTag, except: Option<SeatId>) -> usize {
        self.rooms.get(&room).map_or(0, |room| {
            let counted = except.is_some_and(|seat| room.seat(seat).is_some());
            room.len() - usize::from(counted)
        })
    }

    /// Rooms with at least one seat taken.
    pub(crate) fn rooms(&self) -> usize {
        self.rooms.len()
    }

    /// Seats of disconnected participants.
    pub(crate) fn disconnected(&self) -> usize {
        self.disconnected.used()
    }

    /// Whether all seats of `room` are taken.
    pub(crate) fn is_full(&self, room: RoomTag) -> bool {
        self.seats(room, None) >= SEATS_PER_ROOM
    }

    /// Whether a host key opened `room`; `None` if it is empty.
    pub(crate) fn opened_by_host(&self, room: RoomTag) -> Option<bool> {
        self.rooms.get(&room).map(Room::opened_by_host)
    }

    /// The seats besides `key`.
    pub(crate) fn peers(&self, key: SeatKey) -> impl Iterator<Item = &Seat> {
        self.rooms.get(&key.room).into_iter().flat_map(move |room| room.others(key.seat))
    }

    /// The normalized name of `room`, if a seat is taken.
    pub(crate) fn name(&self, room: RoomTag) -> Option<&str> {
        self.rooms.get(&room).map(Room::name)
    }

    /// Whether a call in `room` may have relayed media.
    pub(crate) fn may_relay(&self, room: RoomTag) -> bool {
        self.rooms.get(&room).is_some_and(Room::may_relay)
    }

    /// The connections of everybody in `room` who is connected.
    pub(crate) fn connections(&self, room: RoomTag) -> impl Iterator<Item = ConnectionId> {
        self.rooms.get(&room).into_iter().flat_map(Room::seats).filter_map(Seat::connection)
    }

    /// Adds a seat: a new one, or an expired one that returns under its ID.
    ///
    /// # Errors
    /// [`Refusal::RoomFull`]
    pub(crate) fn join(
        &mut self,
        key: SeatKey,
        newcomer: &Newcomer,
        opened_by_host: bool,
        now: Now,
        out: &mut Outputs,
    ) -> Result<(), Refusal> {
        let Newcomer { conn, room_name, name, features } = newcomer;
        let open = || Room::new(room_name.as_str(), opened_by_host);
        let room = self.rooms.entry(key.room).or_insert_with(open);
        if !room.add(key.seat, *conn, (name.clone(), features.clone()), now.instant) {
            return Err(Refusal::RoomFull);
        }
        out.push(Action::Seat(SeatEvent::Joined(key.room, key.seat)));
        let message = ServerMessage::NewPeer { id: key.seat, name: name.clone(), features: features.clone() };
        self.notify_others(key, &message, out);
        Ok(())
    }

    /// Connects `conn` to a taken seat. Returns the pending messages, and the connection that `conn` replaces.
    pub(crate) fn resume(
        &mut self,
        conn: ConnectionId,
        key: SeatKey,
        now: Now,
        out: &mut Outputs,
    ) -> (PendingMessages, Option<ConnectionId>) {
        if let Some(room) = self.rooms.get_mut(&key.room) {
            // It was forgotten if the room was on another server meanwhile.
            room.start_call(now.instant);
        }
        let seat = self.seat_mut(key);
        let before = seat.map(|seat| std::mem::replace(&mut seat.state, SeatState::Connected(conn)));
        // Also if the old connection was half open and looked alive: what was sent to it is lost.
        let (name, features) =
            self.seat_mut(key).map(|seat| (seat.name.clone(), seat.features.clone())).unwrap_or_default();
        self.notify_others(key, &ServerMessage::PeerBack { id: key.seat, name, features }, out);
        match before {
            Some(SeatState::Connected(old)) => (PendingMessages::default(), Some(old)),
            Some(SeatState::Disconnected(state)) => {
                self.release(key, &state, out);
                (state.pending, None)
            }
            None => (PendingMessages::default(), None),
        }
    }

    /// Replaces the name of a participant.
    pub(crate) fn set_name(&mut self, key: SeatKey, name: Option<DisplayName>) {
        if let Some(seat) = self.seat_mut(key) {
            seat.name = name;
        }
    }

    /// Replaces the features of the client of a seat.
    pub(crate) fn set_features(&mut self, key: SeatKey, features: Features) {
        if let Some(seat) = self.seat_mut(key) {
            seat.features = features;
        }
    }

    /// The transfer tokens of a seat.
    pub(crate) fn transfers_mut(&mut self, key: SeatKey) -> Option<&mut Transfers> {
        self.seat_mut(key).map(|seat| &mut seat.transfers)
    }

    /// Notes whether the client of a seat stores no resume token.
    pub(crate) fn set_without_token(&mut self, key: SeatKey, without_token: bool) {
        if let Some(seat) = self.seat_mut(key) {
            seat.without_token = without_token;
        }
    }

    /// The first seat of `room` without a token that `source` has abandoned; `is_abandoned` decides for a connected one.
    pub(crate) fn abandoned(
        &self,
        room: RoomTag,
        source: IpAddr,
        is_abandoned: impl Fn(ConnectionId) -> bool,
    ) -> Option<SeatKey> {
        let mut seats = self.rooms.get(&room)?.seats().filter(|seat| seat.without_token);
        let seat = seats.find(|seat| match &seat.state {
            SeatState::Connected(conn) => is_abandoned(*conn),
            SeatState::Disconnected(state) => state.source == source,
        })?;
        Some(SeatKey { room, seat: seat.id })
    }

    /// The connection in a seat.
    pub(crate) fn connection(&self, key: SeatKey) -> Option<ConnectionId> {
        self.rooms.get(&key.room)?.seat(key.seat)?.connection()
    }

    /// Notes the time in the newest token of a seat.
    pub(crate) fn set_token_time(&mut self, key: SeatKey, token_time: UnixSeconds, now: Now) {
        if let Some(seat) = self.seat_mut(key) {
            seat.token_time = token_time;
            seat.reopened = (token_time != now.unix).then_some(now.instant);
        }
    }

    /// Passes `relay` from `key` at `conn` to the seat `target`, now or when its participant is back.
    ///
    /// # Errors
    /// [`Refusal::NoSuchPeer`]; [`Refusal::RateLimited`] if too much waits for the target already.
    pub(crate) fn relay(
        &mut self,
        (conn, source): (ConnectionId, IpAddr),
        key: SeatKey,
        target: Option<SeatId>,
        relay: Relay,
        out: &mut Outputs,
    ) -> Result<(), Refusal> {
        let room = self.rooms.get_mut(&key.room);
        let target = room.and_then(|room| room.others_mut(key.seat).find(|other| Some(other.id) == target));
        match &mut target.ok_or(Refusal::NoSuchPeer)?.state {
            SeatState::Connected(to) => out.relay(conn, *to, ServerMessage::relayed(key.seat, relay)),
            SeatState::Disconnected(Disconnected { pending, .. }) => {
                if !pending.fits(&relay) || !self.pending_bytes.acquire(source, relay.size()) {
                    return Err(Refusal::RateLimited);
                }
                pending.push(key.seat, source, relay);
            }
        }
        Ok(())
    }

    /// The participant leaves; the seat is free at once.
    pub(crate) fn leave(&mut self, key: SeatKey, now: Now, out: &mut Outputs) {
        self.remove(key, SeatEvent::Left(key.room, key.seat), now, out);
    }

    /// The seat was not resumed in time.
    pub(crate) fn expire(&mut self, key: SeatKey, now: Now, out: &mut Outputs) {
        self.remove(key, SeatEvent::Expired(key.room, key.seat), now, out);
    }

    /// The connection of a seat is lost: the seat is kept for a while, within the quota of its source.
    pub(crate) fn disconnect(
        &mut self,
        key: SeatKey,
        closing: bool,
        source: IpAddr,
        now: Now,
        out: &mut Outputs,
    ) {
        if self.keep(key, closing, source, now, out) {
            self.notify_others(key, &ServerMessage::PeerAway { id: key.seat, closing }, out);
        }
    }

    /// Keeps a seat without its connection, of which the others learn nothing. `false` if its source has no quota: then the
    /// participant has left.
    pub(crate) fn keep(
        &mut self,
        key: SeatKey,
        closing: bool,
        source: IpAddr,
        now: Now,
        out: &mut Outputs,
    ) -> bool {
        if !self.disconnected.acquire(source, 1) {
            self.expire(key, now, out);
            return false;
        }
        let Some(seat) = self.seat_mut(key) else {
            self.disconnected.release(source, 1);
            return false;
        };
        let pending = PendingMessages::default();
        seat.state = SeatState::Disconnected(Disconnected { pending, closing, source });
        let grace = if closing { self.room_grace.min(CLOSED_PAGE_GRACE) } else { self.room_grace };
        out.timers.set(Timer::Grace(key), now.instant + grace);
        true
    }

    /// The page with the token of `claims` reported that it was closed or left.
    pub(crate) fn page_closed(
        &mut self,
        room: RoomTag,
        claims: ResumeClaims,
        now: Now,
        out: &mut Outputs,
    ) -> ClosedPage {
        let key = SeatKey { room, seat: claims.seat };
        // A page that joined later has a newer token: it stays.
        let Some(seat) = self.seat_mut(key).filter(|seat| seat.token_time == claims.joined_at) else {
            return ClosedPage::Nothing;
        };
        let late = seat.reopened.is_some_and(|at| now.instant.saturating_duration_since(at) < LATE_LEAVE);
        match &mut seat.state {
            // The token after the reload has the same time, so this report is of the page before it.
            SeatState::Connected(_) if late => {}
            SeatState::Connected(conn) => return ClosedPage::Connected(*conn),
            SeatState::Disconnected(state) if !state.closing => {
                state.closing = true;
                out.timers.shorten(Timer::Grace(key), now.instant + CLOSED_PAGE_GRACE);
                self.notify_others(key, &ServerMessage::PeerAway { id: key.seat, closing: true }, out);
            }
            SeatState::Disconnected(_) => {}
        }
        ClosedPage::Nothing
    }

    /// Stores a page's report of its call. A report after the end of the call is ignored.
    pub(crate) fn report(&mut self, key: SeatKey, report: CallReport, out: &mut Outputs) {
        let call = self.rooms.get_mut(&key.room).and_then(Room::call_mut);
        if let Some((path, setup)) = call.and_then(|call| call.record(key.seat, report)) {
            out.push(Action::Event(Event::CallConnected { path, setup }));
        }
    }

    /// The call in `room` goes on at another server, which will report it.
    pub(crate) fn forget_call(&mut self, room: RoomTag) {
        self.rooms.get_mut(&room).and_then(Room::take_call);
    }

    /// Ends every call because the server stops.
    pub(crate) fn end_calls(&mut self, now: Instant, out: &mut Outputs) {
        for room in self.rooms.values_mut() {
            if let Some(call) = room.take_call() {
                let summary = CallSummary { server_stopped: true, ..call.summary(room.name(), now) };
                out.push(Action::Event(Event::CallEnded(summary)));
            }
        }
    }

    fn remove(&mut self, key: SeatKey, event: SeatEvent, now: Now, out: &mut Outputs) {
        let Some(room) = self.rooms.get_mut(&key.room) else { return };
        let Some(seat) = room.remove(key.seat) else { return };
        let ended = room.take_ended_call().map(|call| call.summary(room.name(), now.instant));
        // Its messages for a disconnected peer are dropped: their sender is gone.
        let dropped: Vec<_> =
            room.others_mut(key.seat).filter_map(|other| other.take_from(key.seat)).collect();
        if room.is_empty() {
            self.rooms.remove(&key.room);
        }
        dropped.iter().for_each(|pending| self.release_pending(pending));
        if let SeatState::Disconnected(state) = &seat.state {
            self.release(key, state, out);
        }
        if let Some(summary) = ended {
            out.push(Action::Event(Event::CallEnded(summary)));
        }
        out.push(Action::Seat(event));
        self.notify_others(key, &ServerMessage::PeerLeave { id: key.seat }, out);
    }

    /// Releases what a disconnected seat used.
    fn release(&mut self, key: SeatKey, state: &Disconnected, out: &mut Outputs) {
        out.timers.cancel(Timer::Grace(key));
        self.disconnected.release(state.source, 1);
        self.release_pending(&state.pending);
    }

    fn release_pending(&mut self, pending: &PendingMessages) {
        pending.sizes().for_each(|(source, size)| self.pending_bytes.release(source, size));
    }

    /// Notifies the connected peers. A disconnected one learns it from its `resp-join`.
    fn notify_others(&self, key: SeatKey, message: &ServerMessage, out: &mut Outputs) {
        let others = self.rooms.get(&key.room).into_iter().flat_map(|room| room.others(key.seat));
        others.filter_map(Seat::connection).for_each(|to| out.send(to, message.clone()));
    }

    fn seat_mut(&mut self, key: SeatKey) -> Option<&mut Seat> {
        self.rooms.get_mut(&key.room)?.seat_mut(key.seat)
    }

    #[cfg(test)]
    pub(crate) fn quotas(&self) -> (&SourceQuota, &SourceQuota) {
        (&self.disconnected, &self.pending_bytes)
    }
}

/// A quantity that all rooms share, of which one source uses at most an eighth. An IPv6 /56 and a /48
/// also count as one source.
#[derive(Debug)]
pub(crate) struct SourceQuota {
    limit: usize,
    used: usize,
    by_source: BTreeMap<SourcePrefix, usize>,
}

impl SourceQuota {
    fn new(limit: usize) -> Self {
        Self { limit, used: 0, by_source: BTreeMap::new() }
    }

    /// Takes `amount` for `source`; `false` if the source or the whole has no more.
    fn acquire(&mut self, source: IpAddr, amount: usize) -> bool {
        let per_source = self.limit / SOURCES_PER_QUOTA;
        let used_by = |prefix| self.by_source.get(prefix).copied().unwrap_or_default();
        let fits = self.used + amount <= self.limit
            && SourcePrefix::of(source).iter().flatten().all(|prefix| used_by(prefix) + amount <= per_source);
        if fits {
            self.used += amount;
            SourcePrefix::of(source)
                .into_iter()
                .flatten()
                .for_each(|prefix| *self.by_source.entry(prefix).or_default() += amount);
        }
        fits
    }

    /// Returns what was acquired for `source`.
    fn release(&mut self, source: IpAddr, amount: usize) {
        self.used -= amount;
        for prefix in SourcePrefix::of(source).into_iter().flatten() {
            if let Some(used) = self.by_source.get_mut(&prefix) {
                *used -= amount;
                if *used == 0 {
                    self.by_source.remove(&prefix);
                }
            }
        }
    }

    /// How much is used in total.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.used == 0 && self.by_source.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_source_uses_an_eighth_and_releases_it() {
        let mut quota = SourceQuota::new(80);
        assert_eq!((0..20).filter(|_| quota.acquire(ip("45.0.0.1"), 1)).count(), 10);
        assert!(quota.acquire(ip("45.0.0.2"), 10));
        assert_eq!(quota.used(), 20);
        quota.release(ip("45.0.0.1"), 10);
        assert!(quota.acquire(ip("45.0.0.1"), 10));
        ["45.0.0.1", "45.0.0.2"].iter().for_each(|source| quota.release(ip(source), 10));
        assert!(quota.is_empty());
    }

    #[test]
    fn the_networks_of_one_site_use_an_eighth_together() {
        let mut quota = SourceQuota::new(80);
        let acquired =
            (0..100).filter(|n| quota.acquire(ip(&format!("2a00:0:0:{:x}::1", n << 8)), 1)).count();
        assert_eq!(acquired, 10);
        assert!(quota.acquire(ip("2a00:0:1::1"), 10));
    }

    #[test]
    fn eight_sources_use_up_a_quota() {
        let mut quota = SourceQuota::new(80);
        assert!((1..9).all(|n| quota.acquire(ip(&format!("45.0.0.{n}")), 10)));
        assert!(!quota.acquire(ip("45.0.0.9"), 1));
    }
}
