//! Who sits where: connections, the seats of all rooms and the lists of those who wait for one, with the messages that follow from
//! each change. What frames ask for, and who may have it, is decided in `rooms.rs`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::admission::{Admission, Opening};
use crate::client_message::Join;
use crate::connection::{Connection, Place};
use crate::display_name::DisplayName;
use crate::error::Refusal;
use crate::features::Features;
use crate::ice_servers::{CredentialIssuer, IceServer, IceUrls};
use crate::outputs::{Action, CloseReason, ConnectionId, Event, Outputs, Timer, WaitOutcome};
use crate::ownership::{OtherOwner, OwnedRooms};
use crate::resume_token::ResumeClaims;
use crate::room::Seat;
use crate::room_name::RoomName;
use crate::room_table::{Newcomer, RoomTable};
use crate::rooms::RoomsConfig;
use crate::seat::{RoomTag, SEATS_PER_ROOM, SeatId, SeatKey};
use crate::server_message::ServerMessage;
use crate::waiting::{WaitingLists, WaitingParticipant};
use crate::{Now, UnixSeconds};

/// How long a connection may be silent that has no seat and waits for none. A `ping` counts as activity. Pages that wait in
/// the background send next to nothing, since browsers delay their timers.
pub(crate) const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// The participants of all rooms, and what is to be sent to them.
pub(crate) struct Seating {
    pub(crate) connections: BTreeMap<ConnectionId, Connection>,
    pub(crate) table: RoomTable,
    pub(crate) waiting: WaitingLists,
    pub(crate) admission: Admission,
    pub(crate) credential_issuer: Arc<dyn CredentialIssuer>,
    credential_ttl: Duration,
    pub(crate) ice_urls: IceUrls,
    /// New seats are refused.
    pub(crate) draining: bool,
    /// Empty without a cluster.
    pub(crate) owned: OwnedRooms,
    /// Rooms of other servers where a call runs to its end, because another one runs there.
    pub(crate) unmerged: BTreeMap<RoomTag, OtherOwner>,
    /// The servers of the cluster, which participants learn. Empty without a cluster.
    pub(crate) nodes: Vec<String>,
    pub(crate) out: Outputs,
}

/// How a join that was not refused ends.
pub(crate) enum JoinOutcome {
    /// With a seat; whether it existed before.
    Seated { resumed: bool },
    /// The participant waits for a seat.
    Waiting,
}

impl Seating {
    /// Nobody; `now` is the start of the server.
    pub(crate) fn new(config: RoomsConfig, now: Instant) -> Self {
        let RoomsConfig { tag_key, resume_key, host_keys, seeds, .. } = config;
        Self {
            connections: BTreeMap::new(),
            table: RoomTable::new(config.room_grace),
            waiting: WaitingLists::new(seeds, now),
            admission: Admission::new(tag_key, resume_key, host_keys, seeds, now),
            credential_issuer: config.credential_issuer,
            credential_ttl: config.credential_ttl,
            ice_urls: config.ice_urls,
            draining: false,
            owned: OwnedRooms::default(),
            unmerged: BTreeMap::new(),
            nodes: Vec::new(),
            out: Outputs::default(),
        }
    }

    /// See [`crate::Rooms::redirect_room`].
    pub(crate) fn redirect_room(&mut self, room: RoomTag, owner: OtherOwner, now: Now) -> usize {
        self.owned.remove(room);
        self.unmerged.remove(&room);
        if owner.seats > 0 && self.table.connections(room).count() == SEATS_PER_ROOM {
            let waiting = self.redirect_clients(room, &owner, false, now);
            self.unmerged.insert(room, owner);
            return waiting;
        }
        self.redirect_clients(room, &owner, true, now)
    }

    /// Redirects who is left of a call that ran on in `room`, which another server owns: a participant has left, or is
    /// disconnected while the owner has a free seat. The one who left may be the one that has it.
    fn merge(&mut self, room: RoomTag, now: Now) {
        let Some(owner) = self.unmerged.get(&room) else { return };
        let is_connected = self.table.connections(room).count() == SEATS_PER_ROOM;
        let runs_on = self.table.is_full(room) && (is_connected || owner.seats >= SEATS_PER_ROOM);
        if !runs_on && let Some(owner) = self.unmerged.remove(&room) {
            let clients = self.redirect_clients(room, &owner, true, now);
            self.out.push(Action::Redirected { clients });
        }
    }

    /// Redirects those who wait for `room`, and if `seated` those who are in it.
    fn redirect_clients(&mut self, room: RoomTag, owner: &OtherOwner, seated: bool, now: Now) -> usize {
        let waiting: Vec<_> = self.waiting.iter(room).map(|waiting| waiting.newcomer.conn).collect();
        let seated: Vec<_> = self.table.connections(room).filter(|_| seated).collect();
        let first_waiting = || self.waiting.iter(room).next().map(|first| first.newcomer.room_name.as_str());
        let Some(name) = self.table.name(room).or_else(first_waiting).map(str::to_owned) else { return 0 };
        for conn in seated.iter().chain(&waiting) {
            let (url, room) = (owner.url.clone(), name.clone());
            self.out.send(*conn, ServerMessage::Redirect { url, room, fence: owner.fence });
        }
        if !seated.is_empty() {
            self.table.forget_call(room);
        }
        for conn in &seated {
            if let Some(connection) = self.forget(*conn)
                && let Some(seat) = connection.seat()
            {
                self.table.keep(seat, false, connection.source, now, &mut self.out);
            }
        }
        let redirected = seated.len() + waiting.len();
        seated.into_iter().for_each(|conn| {
            self.out.push(Action::Close { conn, reason: CloseReason::Redirected });
        });
        waiting.into_iter().for_each(|conn| self.close(conn, CloseReason::Redirected, now));
        redirected
    }

    /// Whether the seat is taken in a room of another server where its call runs to its end.
    pub(crate) fn is_unmerged(&self, seat: SeatKey) -> bool {
        self.unmerged.contains_key(&seat.room) && self.table.is_taken(seat)
    }

    /// A session ended. Its seat is kept for a while; for a shorter one if `closing`.
    pub(crate) fn disconnect(&mut self, conn: ConnectionId, closing: bool, now: Now) {
        let Some(connection) = self.forget(conn) else { return };
        match connection.place {
            Place::Outside => {}
            Place::Waiting(room) => self.end_wait(room, conn, WaitOutcome::Gone, &[]),
            Place::Seated(seat) => {
                self.table.disconnect(seat, closing, connection.source, now, &mut self.out);
                self.seat_waiting(seat.room, Vec::new(), now);
            }
        }
    }

    /// The next room whose number of seats has changed since it was reported.
    pub(crate) fn next_occupancy(&mut self) -> Option<Action> {
        while let Some(room) = self.owned.pop_touched() {
            let seats = self.occupancy(room);
            if self.owned.set_seats(room, seats) {
                return Some(Action::Occupancy { room, seats });
            }
        }
        None
    }

    /// Seats taken in `room`, including disconnected ones; 1 if there are none but somebody waits.
    pub(crate) fn occupancy(&self, room: RoomTag) -> usize {
        let waits = self.waiting.iter(room).next().is_some();
        self.table.seats(room, None).max(usize::from(waits))
    }

    pub(crate) fn resume(
        &mut self,
        conn: ConnectionId,
        seat: SeatKey,
        join: &Join,
        room_name: &RoomName,
        now: Now,
    ) {
        self.stop_waiting(conn, Some(seat.room), &[]);
        if let Some(name) = &join.name {
            self.table.set_name(seat, DisplayName::parse(name));
        }
        if let Some(features) = &join.features {
            self.table.set_features(seat, Features::parse(features));
        }
        if let (Some(token), Some(transfers)) = (&join.resume, self.table.transfers_mut(seat))
            && self.admission.verify_transfer(seat.room, token).is_some()
        {
            transfers.consume();
        }
        let (pending, replaced) = self.table.resume(conn, seat, now, &mut self.out);
        self.table.set_without_token(seat, false);
        self.set_place(conn, Place::Seated(seat), now);
        if let Some(old) = replaced {
            self.forget(old);
            self.out.push(Action::Close { conn: old, reason: CloseReason::Replaced });
        }
        self.send_join_reply(conn, seat, room_name, (now.unix, true), now);
        pending.into_messages().for_each(|message| self.out.send(conn, message));
        self.send_knocks(conn, seat.room);
    }

    /// Frees the seat that the client of `conn`, which stores no token, abandoned in `room`; whether there was one.
    pub(crate) fn replace_abandoned(
        &mut self,
        conn: ConnectionId,
        room: RoomTag,
        source: IpAddr,
        now: Now,
    ) -> bool {
        let stores_none = |connection: &Connection| connection.without_token;
        if !self.connections.get(&conn).is_some_and(stores_none) {
            return false;
        }
        let is_abandoned = |other: ConnectionId| {
            let connection = self.connections.get(&other);
            connection.is_some_and(|other| other.source == source && other.is_overdue(now.instant))
        };
        let Some(seat) = self.table.abandoned(room, source, is_abandoned) else { return false };
        if let Some(old) = self.table.connection(seat) {
            self.forget(old);
            self.out.push(Action::Close { conn: old, reason: CloseReason::Replaced });
        }
        self.table.leave(seat, now, &mut self.out);
        true
    }

    /// Gives `newcomer` the new seat `seat`. The connections `unaware` have not received the knock of the newcomer.
    pub(crate) fn take_seat(
        &mut self,
        seat: SeatKey,
        newcomer: &Newcomer,
        opening: Opening,
        unaware: &[ConnectionId],
        now: Now,
    ) -> Result<(), Refusal> {
        let Newcomer { conn, room_name, .. } = newcomer;
        self.stop_waiting(*conn, Some(seat.room), unaware);
        self.table.join(seat, newcomer, opening == Opening::HostKey, now, &mut self.out)?;
        let without_token = self.connections.get(conn).is_some_and(|connection| connection.without_token);
        self.table.set_without_token(seat, without_token);
        self.set_place(*conn, Place::Seated(seat), now);
        let joined_at = match opening {
            Opening::ResumeToken(claims) => claims.joined_at,
            Opening::Free | Opening::HostKey => now.unix,
        };
        self.send_join_reply(*conn, seat, room_name, (joined_at, false), now);
        Ok(())
    }

    pub(crate) fn leave(&mut self, conn: ConnectionId, now: Now) -> Result<(), Refusal> {
        match self.place(conn) {
            Place::Outside => return Err(Refusal::NotJoined),
            Place::Waiting(_) => {
                self.stop_waiting(conn, None, &[]);
                self.set_place(conn, Place::Outside, now);
            }
            Place::Seated(seat) => {
                self.set_place(conn, Place::Outside, now);
                self.table.leave(seat, now, &mut self.out);
                self.seat_waiting(seat.room, Vec::new(), now);
            }
        }
        Ok(())
    }

    /// Lets `newcomer` wait for a seat in `room`. Who waits there already keeps the place.
    pub(crate) fn wait(
        &mut self,
        room: RoomTag,
        newcomer: Newcomer,
        now: Now,
        random: [u8; 16],
    ) -> Result<JoinOutcome, Refusal> {
        let conn = newcomer.conn;
        if self.place(conn) == Place::Waiting(room) {
            self.waiting.send_position(room, conn, &mut self.out);
            return Ok(JoinOutcome::Waiting);
        }
        // Not the ID of a token: several connections may wait with the same one.
        let participant =
            WaitingParticipant { id: SeatId::new(random), newcomer, source: self.source(conn)? };
        let knock = participant.knock();
        self.waiting.add(room, participant, now.instant, &mut self.out)?;
        self.stop_waiting(conn, None, &[]);
        self.set_place(conn, Place::Waiting(room), now);
        self.owned.touch(room);
        self.table.connections(room).for_each(|to| self.out.send(to, knock.clone()));
        Ok(JoinOutcome::Waiting)
    }

    /// Lets the waiting participant `id` in.
    pub(crate) fn admit(&mut self, conn: ConnectionId, id: Option<SeatId>, now: Now) -> Result<(), Refusal> {
        let room = self.seat(conn)?.room;
        let waiting = self.knocking(room, id)?;
        if self.draining {
            return Err(Refusal::ShuttingDown);
        }
        if self.table.is_full(room) {
            return Err(Refusal::RoomFull);
        }
        self.seat_from_list(room, waiting, &[], now);
        self.seat_waiting(room, vec![waiting], now);
        Ok(())
    }

    pub(crate) fn decline(
        &mut self,
        conn: ConnectionId,
        id: Option<SeatId>,
        now: Now,
    ) -> Result<(), Refusal> {
        let room = self.seat(conn)?.room;
        let waiting = self.knocking(room, id)?;
        self.end_wait(room, waiting, WaitOutcome::Declined, &[]);
        self.set_place(waiting, Place::Outside, now);
        self.out.send(waiting, Refusal::Declined.into());
        Ok(())
    }

    /// The connection that waits for `room` under `id`.
    fn knocking(&self, room: RoomTag, id: Option<SeatId>) -> Result<ConnectionId, Refusal> {
        let mut list = self.waiting.iter(room);
        let waiting = list.find(|waiting| Some(waiting.id) == id).ok_or(Refusal::NoSuchPeer)?;
        Ok(waiting.newcomer.conn)
    }

    /// Seats those who wait for `room` and need nobody's permission. Then `newcomers`, who took their seats before,
    /// and the new ones receive the knocks of those who still wait.
    pub(crate) fn seat_waiting(&mut self, room: RoomTag, mut newcomers: Vec<ConnectionId>, now: Now) {
        self.merge(room, now);
        while self.seats_next(room) {
            let Some(next) = self.waiting.iter(room).next() else { break };
            let conn = next.newcomer.conn;
            self.seat_from_list(room, conn, &newcomers, now);
            newcomers.push(conn);
        }
        newcomers.into_iter().for_each(|conn| self.send_knocks(conn, room));
    }

    /// Whether the first who waits for `room` gets a seat at once: a host opened it, or it is empty and needs no host.
    fn seats_next(&self, room: RoomTag) -> bool {
        let entitled = match self.table.opened_by_host(room) {
            Some(opened_by_host) => opened_by_host && !self.table.is_full(room),
            None => !self.admission.requires_key(),
        };
        entitled && !self.draining
    }

    /// Seats a participant from the list of `room`, which has a free seat.
    fn seat_from_list(&mut self, room: RoomTag, conn: ConnectionId, unaware: &[ConnectionId], now: Now) {
        let Some(waiting) = self.waiting.iter(room).find(|waiting| waiting.newcomer.conn == conn) else {
            return;
        };
        let (seat, newcomer) = (SeatKey { room, seat: waiting.id }, waiting.newcomer.clone());
        let outcome = self.take_seat(seat, &newcomer, Opening::Free, unaware, now);
        self.out.event(outcome.map_or_else(Event::JoinRefused, |()| Event::Joined { resumed: false }));
    }

    /// Sends the knocks of all who wait for `room`.
    fn send_knocks(&mut self, conn: ConnectionId, room: RoomTag) {
        self.waiting.iter(room).for_each(|waiting| self.out.send(conn, waiting.knock()));
    }

    /// Ends the wait of `conn`, if it waits; it gets a seat in the room `seated`, or none.
    pub(crate) fn stop_waiting(
        &mut self,
        conn: ConnectionId,
        seated: Option<RoomTag>,
        unaware: &[ConnectionId],
    ) {
        let Place::Waiting(room) = self.place(conn) else { return };
        let outcome = if seated == Some(room) { WaitOutcome::Seated } else { WaitOutcome::Gone };
        self.end_wait(room, conn, outcome, unaware);
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.place = Place::Outside;
        }
    }

    /// Removes `conn` from the list of `room` and notifies everybody in the room except `unaware`.
    fn end_wait(
        &mut self,
        room: RoomTag,
        conn: ConnectionId,
        outcome: WaitOutcome,
        unaware: &[ConnectionId],
    ) {
        let Some(removed) = self.waiting.remove(room, conn, &mut self.out) else { return };
        let gone = ServerMessage::Knock { id: removed.id, name: None, gone: true };
        let aware = self.table.connections(room).filter(|to| !unaware.contains(to));
        aware.for_each(|to| self.out.send(to, gone.clone()));
        self.out.event(Event::WaitEnded(outcome));
        self.owned.touch(room);
    }

    /// Sends `resp-join` with a token of the time `joined_at`, then `peer-away` if the peer is disconnected.
    fn send_join_reply(
        &mut self,
        conn: ConnectionId,
        seat: SeatKey,
        room_name: &RoomName,
        (joined_at, resumed): (UnixSeconds, bool),
        now: Now,
    ) {
        self.table.set_token_time(seat, joined_at, now);
        let (ice_servers, ttl) = self.issue_ice_servers(conn, seat, now);
        let peer = self.table.peers(seat).next();
        let away = peer.and_then(Seat::disconnected).map(|state| state.closing);
        let unmerged = self.unmerged.get(&seat.room).map(|owner| owner.fence);
        let fence = self.owned.fence(seat.room).or(unmerged);
        let claims = ResumeClaims { seat: seat.seat, joined_at, fence };
        let message = ServerMessage::RespJoin {
            id: seat.seat,
            room: room_name.as_str().to_owned(),
            peer: peer.map(|peer| peer.id),
            peer_name: peer.and_then(|peer| peer.name.clone()),
            peer_features: peer.map(|peer| peer.features.clone()).unwrap_or_default(),
            ice_servers,
            ttl,
            resume: self.admission.sign_token(seat.room, claims),
            resumed,
            fence,
            nodes: self.nodes.clone(),
        };
        self.out.send(conn, message);
        if let (Some(id), Some(closing)) = (peer.map(|peer| peer.id), away) {
            self.out.send(conn, ServerMessage::PeerAway { id, closing });
        }
    }

    pub(crate) fn close(&mut self, conn: ConnectionId, reason: CloseReason, now: Now) {
        self.out.push(Action::Close { conn, reason });
        self.disconnect(conn, false, now);
    }

    /// Removes a connection and its timers; the caller takes care of its seat.
    pub(crate) fn forget(&mut self, conn: ConnectionId) -> Option<Connection> {
        self.out.timers.cancel(Timer::Idle(conn));
        self.out.timers.cancel(Timer::Credentials(conn));
        self.connections.remove(&conn)
    }

    pub(crate) fn set_place(&mut self, conn: ConnectionId, place: Place, now: Now) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        connection.place = place;
        self.out.timers.cancel(Timer::Idle(conn));
        self.out.timers.cancel(Timer::Credentials(conn));
        if place == Place::Outside {
            self.out.timers.set(Timer::Idle(conn), now.instant + IDLE_LIMIT);
        }
    }

    pub(crate) fn place(&self, conn: ConnectionId) -> Place {
        self.connections.get(&conn).map_or(Place::Outside, |connection| connection.place)
    }

    pub(crate) fn seat(&self, conn: ConnectionId) -> Result<SeatKey, Refusal> {
        self.connections.get(&conn).and_then(Connection::seat).ok_or(Refusal::NotJoined)
    }

    pub(crate) fn source(&self, conn: ConnectionId) -> Result<IpAddr, Refusal> {
        self.connections.get(&conn).map(|connection| connection.source).ok_or(Refusal::NotJoined)
    }

    pub(crate) fn send_all_ice_servers(&mut self, now: Now) {
        let all: Vec<_> = self.connections.keys().copied().collect();
        all.into_iter().for_each(|conn| self.send_ice_servers(conn, now));
    }

    pub(crate) fn send_ice_servers(&mut self, conn: ConnectionId, now: Now) {
        let Ok(seat) = self.seat(conn) else { return };
        let (ice_servers, ttl) = self.issue_ice_servers(conn, seat, now);
        self.out.send(conn, ServerMessage::IceServers { ice_servers, ttl });
    }

    /// A jump of the wall clock does not move the renewal timer: credentials that expired by it are replaced
    /// with the next `ping`.
    pub(crate) fn renew_expired_credentials(&mut self, conn: ConnectionId, now: Now) {
        if self.connections.get(&conn).is_some_and(|connection| connection.credential_expiry <= now.unix) {
            self.send_ice_servers(conn, now);
        }
    }

    /// New credentials for `seat`, their lifetime in seconds, and the timer of their renewal.
    fn issue_ice_servers(&mut self, conn: ConnectionId, seat: SeatKey, now: Now) -> (Vec<IceServer>, u64) {
        let ttl = self.credential_ttl;
        // Three quarters: time enough for a page that sleeps or is reconnecting.
        let renewal = (ttl * 3 / 4).max(Duration::from_secs(1));
        self.out.timers.set(Timer::Credentials(conn), now.instant + renewal);
        let expiry = now.unix.saturating_add(ttl.as_secs());
        let credential = self.credential_issuer.issue(seat.room, seat.seat, expiry);
        let host = self.connections.get_mut(&conn).map_or("", |connection| {
            connection.credential_expiry = expiry;
            connection.host.as_str()
        });
        (self.ice_urls.servers(host, credential), ttl.as_secs())
    }

    /// The calls that run to their end in rooms of other servers are those for which there is no other place.
    #[cfg(test)]
    pub(crate) fn unmerged_is_right(&self) -> bool {
        self.unmerged.iter().all(|(room, owner)| {
            let is_connected = self.table.connections(*room).count() == SEATS_PER_ROOM;
            self.owned.fence(*room).is_none()
                && self.table.is_full(*room)
                && (owner.seats >= SEATS_PER_ROOM || (owner.seats > 0 && is_connected))
        })
    }
}
