//! The state machine of all rooms: connections and their frames become actions.
//!
//! After every `handle_*` call the caller polls [`Rooms::poll_action`] until it returns `None`. Memory grows only with
//! live connections and with disconnected seats, which are limited to 10,000.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::admission::{Admission, HostKeys, Opening};
use crate::connection::{Connection, Place, Verdict};
use crate::display_name::DisplayName;
use crate::error::{Malformed, Refusal};
use crate::features::Features;
use crate::ice_servers::{CredentialIssuer, IceServer, IceUrls};
use crate::outputs::{Action, CloseReason, ConnectionId, Event, Outputs, Timer, WaitOutcome};
use crate::ownership::{Fence, OtherOwner, OwnedRoom, OwnedRooms, RoomOwner, RoomRequest, RoomRequestKind};
use crate::protocol::{ClientMessage, Join, Peek, ServerMessage};
use crate::resume_token::{ResumeClaims, ResumeTokenKey};
use crate::room::Seat;
use crate::room_name::RoomName;
use crate::room_table::{ClosedPage, Newcomer, RoomTable};
use crate::seat::{RoomTag, SEATS_PER_ROOM, SeatId, SeatKey, TagKey};
use crate::transfer::TRANSFER_TTL;
use crate::waiting::{WaitingLists, WaitingParticipant};
use crate::{Now, UnixSeconds};

/// How long a connection may be silent that has no seat and waits for none. A `ping` counts as activity. Pages that wait in
/// the background send next to nothing, since browsers delay their timers.
const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// The settings of [`Rooms`].
#[derive(Clone, Debug)]
pub struct RoomsConfig {
    /// Turns room names into tags.
    pub tag_key: TagKey,
    /// Signs resume tokens.
    pub resume_key: ResumeTokenKey,
    /// Issues relay credentials.
    pub credential_issuer: Arc<dyn CredentialIssuer>,
    /// The STUN and TURN listeners that participants receive.
    pub ice_urls: IceUrls,
    /// How long a credential opens allocations.
    pub credential_ttl: Duration,
    /// How long the seat of a disconnected participant is kept.
    pub room_grace: Duration,
    /// Keys that open an empty room.
    pub host_keys: HostKeys,
    /// Secret random seeds of the tables that count by source.
    pub seeds: [u64; 2],
}

/// The state of all rooms.
pub struct Rooms {
    connections: BTreeMap<ConnectionId, Connection>,
    table: RoomTable,
    waiting: WaitingLists,
    admission: Admission,
    credential_issuer: Arc<dyn CredentialIssuer>,
    credential_ttl: Duration,
    ice_urls: IceUrls,
    draining: bool,
    /// Empty without a cluster.
    owned: OwnedRooms,
    /// Rooms of other servers where a call runs to its end, because another one runs there.
    unmerged: BTreeMap<RoomTag, OtherOwner>,
    out: Outputs,
}

/// How a join that was not refused ends.
enum JoinOutcome {
    /// With a seat; whether it existed before.
    Seated { resumed: bool },
    /// The participant waits for a seat.
    Waiting,
}

impl Rooms {
    /// No rooms; `now` is the start of the server.
    pub fn new(config: RoomsConfig, now: Instant) -> Self {
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
            out: Outputs::default(),
        }
    }

    /// A WebSocket opened; `host` is the host name by which the client reached the server (an IPv6 address in brackets).
    pub fn handle_connect(&mut self, conn: ConnectionId, host: String, source: IpAddr, now: Now) {
        self.connections.insert(conn, Connection::new(host, source, now.instant));
        self.out.timers.set(Timer::Idle(conn), now.instant + IDLE_LIMIT);
    }

    /// The client of `conn` stores no resume token and answers a ping every 5 s, as Socket.IO clients do. Its join replaces
    /// a seat that the same source abandoned, so that a client that reconnects does not find itself in the room.
    pub fn expect_no_token(&mut self, conn: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.without_token = true;
        }
    }

    /// A text frame arrived. `random` is 16 unpredictable bytes, the ID of a seat that it may join or part of a token.
    /// Returns whether they may be in use now: then the caller must not pass them again.
    pub fn handle_text(&mut self, conn: ConnectionId, text: &str, now: Now, random: [u8; 16]) -> bool {
        self.handle_frame(conn, text, None, now, random)
    }

    /// [`Self::handle_text`] in a cluster: `owner` owns the room of [`Self::room_request`]. It is [`RoomOwner::Unknown`] for a
    /// frame that is no such request.
    pub fn handle_text_of(
        &mut self,
        conn: ConnectionId,
        text: &str,
        owner: RoomOwner,
        now: Now,
        random: [u8; 16],
    ) -> bool {
        self.handle_frame(conn, text, Some(owner), now, random)
    }

    fn handle_frame(
        &mut self,
        conn: ConnectionId,
        text: &str,
        owner: Option<RoomOwner>,
        now: Now,
        random: [u8; 16],
    ) -> bool {
        if !self.count_frame(conn, now) {
            return false;
        }
        let message = ClientMessage::parse(text).map_err(Refusal::BadMessage);
        let uses_random = matches!(message, Ok(ClientMessage::Join(_) | ClientMessage::Transfer));
        match message.and_then(|message| self.handle_message(conn, message, owner, now, random)) {
            Ok(()) => {}
            Err(Refusal::BadMessage(malformed)) => self.reject_malformed(conn, malformed, now),
            Err(refusal) => self.out.send(conn, refusal.into()),
        }
        uses_random
    }

    /// The room of `text`, if that is a request of `conn` whose answer depends on the owner of the room. `None` for everything
    /// else, also for what would be refused anyway, so that nobody is asked too often.
    pub fn room_request(&mut self, conn: ConnectionId, text: &str, now: Now) -> Option<RoomRequest> {
        let connection = self.connections.get(&conn)?;
        if connection.seat().is_some() || !connection.accepts_frame(now.instant) {
            return None;
        }
        let source = connection.source;
        let (kind, Peek { room: typed, resume }, redirect_fence) = ClientMessage::parse_room_request(text)?;
        let room_name = RoomName::parse(&typed)?;
        let room = self.admission.tag(&room_name);
        let claims = resume.as_deref().and_then(|token| self.admission.claims((room, &typed), token, now));
        let is_transfer = |token: &str| self.admission.verify_transfer(room, token).is_some();
        match claims {
            // The call there runs to its end here.
            Some(claims) if self.is_unmerged(SeatKey { room, seat: claims.seat }) => return None,
            Some(_) => {}
            // A wrong token, which is refused without counting the name: each could be about another room.
            None if kind == RoomRequestKind::Join && !resume.as_deref().is_none_or(is_transfer) => {
                return None;
            }
            None => {
                self.admission.check_room_name(source, room, false, now).ok()?;
                // After too many wrong tokens a look does not count the name.
                if let (RoomRequestKind::Look, Some(token)) = (kind, &resume) {
                    self.admission.check_token(source, token, now).ok()?;
                }
            }
        }
        Some(RoomRequest {
            room,
            kind,
            token_fence: claims.and_then(|claims| claims.fence),
            redirect_fence,
            room_name,
            is_guess: claims.is_none(),
        })
    }

    /// Answers `request`: another server owns the room, under `fence`, and has its WebSocket at `url`. The connection is closed,
    /// except that of a client without tokens, which does not follow by itself.
    pub fn redirect(
        &mut self,
        conn: ConnectionId,
        request: &RoomRequest,
        url: String,
        fence: Fence,
        now: Now,
    ) {
        if !self.count_frame(conn, now) {
            return;
        }
        let Ok(source) = self.source(conn) else { return };
        if request.is_guess
            && let Err(refusal) = self.admission.check_room_name(source, request.room, true, now)
        {
            return self.out.send(conn, refusal.into());
        }
        let room = request.room_name.as_str().to_owned();
        self.out.send(conn, ServerMessage::Redirect { url, room, fence });
        if !self.connections.get(&conn).is_some_and(|connection| connection.without_token) {
            self.close(conn, CloseReason::Redirected, now);
        }
    }

    /// `owner` owns `room` from now on. Everybody in the room and everybody who waits for it is redirected; returns their number.
    /// The seats are kept like those of lost connections, so that their allocations live on. A call whose participants are both
    /// connected runs on here if anybody is in the owner's room, where they would not all find a seat.
    pub fn redirect_room(&mut self, room: RoomTag, owner: OtherOwner, now: Now) -> usize {
        self.owned.remove(room);
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
    fn is_unmerged(&self, seat: SeatKey) -> bool {
        self.unmerged.contains_key(&seat.room) && self.table.is_taken(seat)
    }

    /// A frame without a message arrived, such as a WebSocket ping; it counts towards the rate limit.
    pub fn handle_control_frame(&mut self, conn: ConnectionId, now: Now) {
        self.count_frame(conn, now);
    }

    /// A binary frame arrived; it counts as malformed.
    pub fn handle_binary(&mut self, conn: ConnectionId, now: Now) {
        if self.count_frame(conn, now) {
            self.reject_malformed(conn, Malformed::NotAFrame, now);
        }
    }

    /// The send queue of the peer had no room for a frame of `conn`.
    pub fn relay_failed(&mut self, conn: ConnectionId) {
        self.out.send(conn, Refusal::RateLimited.into());
    }

    /// A WebSocket ended. Its seat is kept for a while; for a shorter one if `closing`, which means that the page was
    /// closed or left.
    pub fn handle_disconnect(&mut self, conn: ConnectionId, closing: bool, now: Now) {
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

    /// The page with the resume token `token` reported from `source`, without a WebSocket, that it was closed or left.
    ///
    /// # Errors
    /// [`Refusal::BadResume`], and [`Refusal::TooManyAttempts`] after too many of them.
    pub fn handle_page_closed(&mut self, token: &str, source: IpAddr, now: Now) -> Result<(), Refusal> {
        let (room, claims) = self.admission.verify_any_token(source, token, now)?;
        match self.table.page_closed(room, claims, now, &mut self.out) {
            ClosedPage::Nothing => {}
            ClosedPage::Connected(conn) => {
                self.out.push(Action::Close { conn, reason: CloseReason::PageClosed });
                self.handle_disconnect(conn, true, now);
            }
        }
        Ok(())
    }

    /// Handles the timers that are due at `now`.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(timer) = self.out.timers.pop_due(now.instant) {
            match timer {
                Timer::Idle(conn) => self.close(conn, CloseReason::Idle, now),
                Timer::Credentials(conn) => self.send_ice_servers(conn, now),
                Timer::Grace(seat) => {
                    self.table.expire(seat, now, &mut self.out);
                    self.seat_waiting(seat.room, Vec::new(), now);
                }
            }
        }
    }

    /// When [`Self::handle_timeout`] is due next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.out.timers.next()
    }

    /// The next action.
    pub fn poll_action(&mut self) -> Option<Action> {
        let action = self.out.pop();
        if let Some(Action::Seat(event)) = &action {
            self.owned.touch(event.room());
        }
        action.or_else(|| self.next_occupancy())
    }

    /// The next room whose number of seats has changed since it was reported.
    fn next_occupancy(&mut self) -> Option<Action> {
        while let Some(room) = self.owned.pop_touched() {
            let seats = self.occupancy(room);
            if self.owned.set_seats(room, seats) {
                return Some(Action::Occupancy { room, seats });
            }
        }
        None
    }

    /// The server will stop soon: new seats are refused and all clients are notified. Calls continue, disconnected
    /// participants may resume, and those who wait keep their places.
    pub fn drain(&mut self) {
        self.refuse_new_seats();
        self.connections.keys().for_each(|conn| self.out.send(*conn, Refusal::ShuttingDown.into()));
    }

    /// [`Self::drain`] without telling anybody: other servers take the rooms over.
    pub fn refuse_new_seats(&mut self) {
        self.draining = true;
    }

    /// The rooms that this server owns, as long as somebody is in them or waits for them.
    pub fn owned_rooms(&self) -> Vec<OwnedRoom> {
        let room = |tag| OwnedRoom { tag, may_relay: self.table.may_relay(tag) };
        self.owned.iter().map(room).collect()
    }

    /// The server stops: every call ends and is reported.
    pub fn end_calls(&mut self, now: Now) {
        self.table.end_calls(now.instant, &mut self.out);
    }

    /// Replaces the issuer of credentials; every participant gets new credentials at once.
    pub fn set_credential_issuer(&mut self, issuer: Arc<dyn CredentialIssuer>, now: Now) {
        self.credential_issuer = issuer;
        self.send_all_ice_servers(now);
    }

    /// Replaces the STUN and TURN listeners; every participant gets the new list at once.
    pub fn set_ice_urls(&mut self, ice_urls: IceUrls, now: Now) {
        self.ice_urls = ice_urls;
        self.send_all_ice_servers(now);
    }

    /// Replaces the keys that open an empty room. Without any, nobody waits for a host any longer.
    pub fn set_host_keys(&mut self, host_keys: HostKeys, now: Now) {
        self.admission.set_host_keys(host_keys);
        let rooms: Vec<_> = self.waiting.rooms().collect();
        rooms.into_iter().for_each(|room| self.seat_waiting(room, Vec::new(), now));
    }

    /// Replaces the key of resume tokens. Tokens stay valid if the new one verifies those of the old one.
    pub fn set_resume_key(&mut self, key: ResumeTokenKey) {
        self.admission.set_resume_key(key);
    }

    /// Seats taken in `room`, including disconnected ones; 1 if there are none but somebody waits.
    pub fn occupancy(&self, room: RoomTag) -> usize {
        let waits = self.waiting.iter(room).next().is_some();
        self.table.seats(room, None).max(usize::from(waits))
    }

    /// Rooms with at least one seat taken, and seats taken. Those who wait do not count.
    pub fn count(&self) -> (usize, usize) {
        (self.table.rooms(), self.connected_seats() + self.table.disconnected())
    }

    /// Seats whose participants are connected.
    pub fn connected_seats(&self) -> usize {
        self.connections.values().filter(|connection| connection.seat().is_some()).count()
    }

    /// Counts one frame and returns whether it is to be processed.
    fn count_frame(&mut self, conn: ConnectionId, now: Now) -> bool {
        let Some(connection) = self.connections.get_mut(&conn) else { return false };
        if connection.place == Place::Outside {
            self.out.timers.set(Timer::Idle(conn), now.instant + IDLE_LIMIT);
        }
        match connection.count_frame(now.instant) {
            Verdict::Accept => return true,
            Verdict::Refuse => self.out.send(conn, Refusal::RateLimited.into()),
            Verdict::Close => self.close(conn, CloseReason::RateLimitExceeded, now),
        }
        false
    }

    fn handle_message(
        &mut self,
        conn: ConnectionId,
        message: ClientMessage,
        owner: Option<RoomOwner>,
        now: Now,
        random: [u8; 16],
    ) -> Result<(), Refusal> {
        match message {
            ClientMessage::Join(join) => {
                let outcome = self.join(conn, &join, owner, now, random);
                match &outcome {
                    Ok(JoinOutcome::Seated { resumed }) => {
                        self.out.event(Event::Joined { resumed: *resumed })
                    }
                    Ok(JoinOutcome::Waiting) => {}
                    Err(refusal) => self.out.event(Event::JoinRefused(*refusal)),
                }
                outcome.map(|_| ())
            }
            ClientMessage::Admit { id } => self.admit(conn, id, now),
            ClientMessage::Decline { id } => self.decline(conn, id, now),
            ClientMessage::Transfer => self.issue_transfer(conn, now, random),
            ClientMessage::Leave => self.leave(conn, now),
            ClientMessage::Peek(peek) => self.peek(conn, &peek, now),
            ClientMessage::Relay { target, relay } => {
                let (seat, source) = (self.seat(conn)?, self.source(conn)?);
                self.table.relay((conn, source), seat, target, relay, &mut self.out)
            }
            ClientMessage::IceServers => {
                self.seat(conn)?;
                self.send_ice_servers(conn, now);
                Ok(())
            }
            ClientMessage::Report(report) => {
                let seat = self.seat(conn)?;
                self.table.report(seat, report, &mut self.out);
                Ok(())
            }
            ClientMessage::Ping => {
                self.out.send(conn, ServerMessage::Pong);
                self.renew_expired_credentials(conn, now);
                Ok(())
            }
            ClientMessage::Pong => Ok(()),
        }
    }

    /// Takes a new seat, resumes one, or waits for one.
    fn join(
        &mut self,
        conn: ConnectionId,
        join: &Join,
        owner: Option<RoomOwner>,
        now: Now,
        random: [u8; 16],
    ) -> Result<JoinOutcome, Refusal> {
        if self.seat(conn).is_ok() {
            return Err(Refusal::AlreadyJoined);
        }
        let room_name = RoomName::parse(&join.room).ok_or(Refusal::BadRoom)?;
        let source = self.source(conn)?;
        let room = self.admission.tag(&room_name);
        let ownership = owner.and_then(RoomOwner::ownership);
        if let Some(ownership) = ownership {
            self.owned.insert(room, ownership.fence);
            self.unmerged.remove(&room);
        }
        let claims = match &join.resume {
            Some(token) => Some(self.verify_token(source, (room, &join.room), token, now)?),
            None => None,
        };
        let seat = SeatKey { room, seat: claims.map_or(SeatId::new(random), |claims| claims.seat) };
        // Another server has a room from which everybody was redirected.
        let has_moved = owner == Some(RoomOwner::Unknown)
            && self.owned.fence(room).is_none()
            && !self.unmerged.contains_key(&room);
        if claims.is_some() && self.table.is_taken(seat) && !has_moved {
            self.resume(conn, seat, join, &room_name, now);
            return Ok(JoinOutcome::Seated { resumed: true });
        }
        let is_open = self.table.is_open(room);
        // The holder of a token guesses no name. Joining an open room is no failed attempt, but is refused like
        // the rest after too many: the refusal must not reveal which rooms are open.
        if claims.is_none() {
            self.admission.check_room_name(source, room, !is_open, now)?;
        }
        if self.draining {
            return Err(Refusal::ShuttingDown);
        }
        if owner == Some(RoomOwner::Unknown) {
            return Err(Refusal::OwnerUnknown);
        }
        let opened_by_host = self.table.opened_by_host(room);
        let replaced = claims.is_none() && self.replace_abandoned(conn, room, source, now);
        let opening = match is_open {
            true if self.table.is_full(room) => Err(Refusal::RoomFull),
            // The replaced seat was the only one: the room stays open.
            true if replaced && opened_by_host == Some(true) => Ok(Opening::HostKey),
            true => Ok(Opening::Free),
            false => self.admission.check_opening(source, (claims, ownership), join.key.as_deref(), now),
        };
        let name = join.name.as_deref().and_then(DisplayName::parse);
        let features = join.features.as_deref().map(Features::parse).unwrap_or_default();
        let newcomer = Newcomer { conn, room_name, name, features };
        // A wrong key is an error, so that the host learns of it.
        let may_wait = join.wait == Some(true) && join.key.is_none();
        match opening {
            Ok(opening) => {
                self.take_seat(seat, &newcomer, opening, &[], now)?;
                self.seat_waiting(room, vec![conn], now);
                Ok(JoinOutcome::Seated { resumed: false })
            }
            Err(Refusal::RoomFull) if join.wait == Some(true) => self.wait(room, newcomer, now, random),
            Err(Refusal::KeyRequired) if may_wait => self.wait(room, newcomer, now, random),
            Err(refusal) => Err(refusal),
        }
    }

    /// The claims of a resume or transfer token of `room`, whose name the client wrote as `typed`.
    fn verify_token(
        &mut self,
        source: IpAddr,
        (room, typed): (RoomTag, &str),
        token: &str,
        now: Now,
    ) -> Result<ResumeClaims, Refusal> {
        if let Some((seat, nonce)) = self.admission.verify_transfer(room, token)
            && let Some(transfers) = self.table.transfers_mut(seat)
            && transfers.is_valid(nonce, now.instant)
        {
            return Ok(ResumeClaims { seat: seat.seat, joined_at: now.unix, fence: None });
        }
        self.admission.verify_token(source, (room, typed), token, now)
    }

    fn resume(&mut self, conn: ConnectionId, seat: SeatKey, join: &Join, room_name: &RoomName, now: Now) {
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
    fn replace_abandoned(&mut self, conn: ConnectionId, room: RoomTag, source: IpAddr, now: Now) -> bool {
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
    fn take_seat(
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

    fn leave(&mut self, conn: ConnectionId, now: Now) -> Result<(), Refusal> {
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
    fn wait(
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
    fn admit(&mut self, conn: ConnectionId, id: Option<SeatId>, now: Now) -> Result<(), Refusal> {
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

    fn decline(&mut self, conn: ConnectionId, id: Option<SeatId>, now: Now) -> Result<(), Refusal> {
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
    fn seat_waiting(&mut self, room: RoomTag, mut newcomers: Vec<ConnectionId>, now: Now) {
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
    fn stop_waiting(&mut self, conn: ConnectionId, seated: Option<RoomTag>, unaware: &[ConnectionId]) {
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

    /// Sends a token that moves the seat to another device.
    fn issue_transfer(&mut self, conn: ConnectionId, now: Now, random: [u8; 16]) -> Result<(), Refusal> {
        let seat = self.seat(conn)?;
        let [a, b, c, d, e, f, g, h, ..] = random;
        let nonce = [a, b, c, d, e, f, g, h];
        self.table.transfers_mut(seat).ok_or(Refusal::NotJoined)?.issue(nonce, now.instant)?;
        let token = self.admission.sign_transfer(seat, nonce);
        self.out.send(conn, ServerMessage::Transfer { token, ttl: TRANSFER_TTL.as_secs() });
        Ok(())
    }

    /// Sends how many seats of a room are taken, without the seat of the client itself. Every name counts as an
    /// attempt, whether the room is open or not.
    fn peek(&mut self, conn: ConnectionId, peek: &Peek, now: Now) -> Result<(), Refusal> {
        let room_name = RoomName::parse(&peek.room).ok_or(Refusal::BadRoom)?;
        let source = self.source(conn)?;
        let room = self.admission.tag(&room_name);
        let own = match &peek.resume {
            // A join would refuse a wrong token; here it is ignored, but counted because the answer reveals
            // whether it is valid.
            Some(token) => match self.verify_token(source, (room, &peek.room), token, now) {
                Err(Refusal::BadResume) => None,
                claims => Some(claims?),
            },
            None => None,
        };
        if own.is_none() {
            self.admission.check_room_name(source, room, true, now)?;
        }
        let seats = self.table.seats(room, own.map(|claims| claims.seat));
        // Who waits for a seat learns no name, and neither does somebody who was in the room long ago.
        let is_waiting = matches!(self.place(conn), Place::Waiting(_));
        let entitled = own.filter(|claims| claims.is_recent(now.unix) && !is_waiting);
        let peer = entitled.and_then(|claims| self.table.peers(SeatKey { room, seat: claims.seat }).next());
        let name = peer.and_then(|peer| peer.name.clone());
        self.out.send(conn, ServerMessage::RoomStatus { room: room_name.as_str().to_owned(), seats, name });
        Ok(())
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
        };
        self.out.send(conn, message);
        if let (Some(id), Some(closing)) = (peer.map(|peer| peer.id), away) {
            self.out.send(conn, ServerMessage::PeerAway { id, closing });
        }
    }

    fn reject_malformed(&mut self, conn: ConnectionId, malformed: Malformed, now: Now) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let is_last = connection.count_bad_message();
        self.out.send(conn, Refusal::BadMessage(malformed).into());
        if is_last {
            self.close(conn, CloseReason::TooManyBadMessages, now);
        }
    }

    fn close(&mut self, conn: ConnectionId, reason: CloseReason, now: Now) {
        self.out.push(Action::Close { conn, reason });
        self.handle_disconnect(conn, false, now);
    }

    /// Removes a connection and its timers; the caller takes care of its seat.
    fn forget(&mut self, conn: ConnectionId) -> Option<Connection> {
        self.out.timers.cancel(Timer::Idle(conn));
        self.out.timers.cancel(Timer::Credentials(conn));
        self.connections.remove(&conn)
    }

    fn set_place(&mut self, conn: ConnectionId, place: Place, now: Now) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        connection.place = place;
        self.out.timers.cancel(Timer::Idle(conn));
        self.out.timers.cancel(Timer::Credentials(conn));
        if place == Place::Outside {
            self.out.timers.set(Timer::Idle(conn), now.instant + IDLE_LIMIT);
        }
    }

    fn place(&self, conn: ConnectionId) -> Place {
        self.connections.get(&conn).map_or(Place::Outside, |connection| connection.place)
    }

    fn seat(&self, conn: ConnectionId) -> Result<SeatKey, Refusal> {
        self.connections.get(&conn).and_then(Connection::seat).ok_or(Refusal::NotJoined)
    }

    fn source(&self, conn: ConnectionId) -> Result<IpAddr, Refusal> {
        self.connections.get(&conn).map(|connection| connection.source).ok_or(Refusal::NotJoined)
    }

    fn send_all_ice_servers(&mut self, now: Now) {
        let all: Vec<_> = self.connections.keys().copied().collect();
        all.into_iter().for_each(|conn| self.send_ice_servers(conn, now));
    }

    fn send_ice_servers(&mut self, conn: ConnectionId, now: Now) {
        let Ok(seat) = self.seat(conn) else { return };
        let (ice_servers, ttl) = self.issue_ice_servers(conn, seat, now);
        self.out.send(conn, ServerMessage::IceServers { ice_servers, ttl });
    }

    /// A jump of the wall clock does not move the renewal timer: credentials that expired by it are replaced
    /// with the next `ping`.
    fn renew_expired_credentials(&mut self, conn: ConnectionId, now: Now) {
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

    #[cfg(test)]
    pub(crate) fn parts(&self) -> (&Admission, &RoomTable, &Outputs, usize, &WaitingLists) {
        (&self.admission, &self.table, &self.out, self.connections.len(), &self.waiting)
    }
}

impl fmt::Debug for Rooms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rooms").field("count", &self.count()).finish_non_exhaustive()
    }
}
