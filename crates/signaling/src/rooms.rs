//! The state machine of all rooms: connections and their frames become actions.
//!
//! After every `handle_*` call the caller polls [`Rooms::poll_action`] until it returns `None`. Memory grows only with
//! live connections and with disconnected seats, which are limited to 10,000.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::Now;
use crate::admission::{HostKeys, Opening};
use crate::client_message::{ClientMessage, Join, Peek};
use crate::connection::{Connection, Place, Verdict};
use crate::display_name::DisplayName;
use crate::error::{Malformed, Refusal};
use crate::features::Features;
use crate::ice_servers::{CredentialIssuer, IceUrls};
use crate::outputs::{Action, CloseReason, ConnectionId, Event, Timer};
use crate::ownership::{Fence, OtherOwner, OwnedRoom, RoomOwner, RoomRequest, RoomRequestKind};
use crate::resume_token::{ResumeClaims, ResumeTokenKey};
use crate::room_name::RoomName;
use crate::room_table::{ClosedPage, Newcomer};
use crate::seat::{RoomTag, SeatId, SeatKey, TagKey};
use crate::seating::{IDLE_LIMIT, JoinOutcome, Seating};
use crate::server_message::ServerMessage;
use crate::transfer::TRANSFER_TTL;

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
    seating: Seating,
}

impl Rooms {
    /// No rooms; `now` is the start of the server.
    pub fn new(config: RoomsConfig, now: Instant) -> Self {
        Self { seating: Seating::new(config, now) }
    }

    /// A WebSocket opened; `host` is the host name by which the client reached the server (an IPv6 address in brackets).
    pub fn handle_connect(&mut self, conn: ConnectionId, host: String, source: IpAddr, now: Now) {
        self.seating.connections.insert(conn, Connection::new(host, source, now.instant));
        self.seating.out.timers.set(Timer::Idle(conn), now.instant + IDLE_LIMIT);
    }

    /// The client of `conn` stores no resume token and answers a ping every 5 s, as Socket.IO clients do. Its join replaces
    /// a seat that the same source abandoned, so that a client that reconnects does not find itself in the room.
    pub fn expect_no_token(&mut self, conn: ConnectionId) {
        if let Some(connection) = self.seating.connections.get_mut(&conn) {
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
            Err(refusal) => self.seating.out.send(conn, refusal.into()),
        }
        uses_random
    }

    /// The room of `text`, if that is a request of `conn` whose answer depends on the owner of the room. `None` for everything
    /// else, also for what would be refused anyway, so that nobody is asked too often.
    pub fn room_request(&mut self, conn: ConnectionId, text: &str, now: Now) -> Option<RoomRequest> {
        let connection = self.seating.connections.get(&conn)?;
        if connection.seat().is_some() || !connection.accepts_frame(now.instant) {
            return None;
        }
        let source = connection.source;
        let (kind, Peek { room: typed, resume }, redirect_fence) = ClientMessage::parse_room_request(text)?;
        let room_name = RoomName::parse(&typed)?;
        let room = self.seating.admission.tag(&room_name);
        let claims =
            resume.as_deref().and_then(|token| self.seating.admission.claims((room, &typed), token, now));
        let is_transfer = |token: &str| self.seating.admission.verify_transfer(room, token).is_some();
        match claims {
            // The call there runs to its end here.
            Some(claims) if self.seating.is_unmerged(SeatKey { room, seat: claims.seat }) => return None,
            Some(_) => {}
            // A wrong token, which is refused without counting the name: each could be about another room.
            None if kind == RoomRequestKind::Join && !resume.as_deref().is_none_or(is_transfer) => {
                return None;
            }
            None => {
                self.seating.admission.check_room_name(source, room, false, now).ok()?;
                // After too many wrong tokens a look does not count the name.
                if let (RoomRequestKind::Look, Some(token)) = (kind, &resume) {
                    self.seating.admission.check_token(source, token, now).ok()?;
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
        let Ok(source) = self.seating.source(conn) else { return };
        if request.is_guess
            && let Err(refusal) = self.seating.admission.check_room_name(source, request.room, true, now)
        {
            return self.seating.out.send(conn, refusal.into());
        }
        let room = request.room_name.as_str().to_owned();
        self.seating.out.send(conn, ServerMessage::Redirect { url, room, fence });
        if !self.seating.connections.get(&conn).is_some_and(|connection| connection.without_token) {
            self.seating.close(conn, CloseReason::Redirected, now);
        }
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
        self.seating.out.send(conn, Refusal::RateLimited.into());
    }

    /// A WebSocket ended. Its seat is kept for a while; for a shorter one if `closing`, which means that the page was
    /// closed or left.
    pub fn handle_disconnect(&mut self, conn: ConnectionId, closing: bool, now: Now) {
        self.seating.disconnect(conn, closing, now);
    }

    /// `owner` owns `room` from now on. Everybody in the room and everybody who waits for it is redirected; returns their number.
    /// The seats are kept like those of lost connections, so that their allocations live on. A call whose participants are both
    /// connected runs on here if anybody is in the owner's room, where they would not all find a seat.
    pub fn redirect_room(&mut self, room: RoomTag, owner: OtherOwner, now: Now) -> usize {
        self.seating.redirect_room(room, owner, now)
    }

    /// Seats taken in `room`, including disconnected ones; 1 if there are none but somebody waits.
    pub fn occupancy(&self, room: RoomTag) -> usize {
        self.seating.occupancy(room)
    }

    /// The page with the resume token `token` reported from `source`, without a WebSocket, that it was closed or left.
    ///
    /// # Errors
    /// [`Refusal::BadResume`], and [`Refusal::TooManyAttempts`] after too many of them.
    pub fn handle_page_closed(&mut self, token: &str, source: IpAddr, now: Now) -> Result<(), Refusal> {
        let (room, claims) = self.seating.admission.verify_any_token(source, token, now)?;
        match self.seating.table.page_closed(room, claims, now, &mut self.seating.out) {
            ClosedPage::Nothing => {}
            ClosedPage::Connected(conn) => {
                self.seating.out.push(Action::Close { conn, reason: CloseReason::PageClosed });
                self.seating.disconnect(conn, true, now);
            }
        }
        Ok(())
    }

    /// Handles the timers that are due at `now`.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(timer) = self.seating.out.timers.pop_due(now.instant) {
            match timer {
                Timer::Idle(conn) => self.seating.close(conn, CloseReason::Idle, now),
                Timer::Credentials(conn) => self.seating.send_ice_servers(conn, now),
                Timer::Grace(seat) => {
                    self.seating.table.expire(seat, now, &mut self.seating.out);
                    self.seating.seat_waiting(seat.room, Vec::new(), now);
                }
            }
        }
    }

    /// When [`Self::handle_timeout`] is due next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.seating.out.timers.next()
    }

    /// The next action.
    pub fn poll_action(&mut self) -> Option<Action> {
        let action = self.seating.out.pop();
        if let Some(Action::Seat(event)) = &action {
            self.seating.owned.touch(event.room());
        }
        action.or_else(|| self.seating.next_occupancy())
    }

    /// The server will stop soon: new seats are refused and all clients are notified. Calls continue, disconnected
    /// participants may resume, and those who wait keep their places.
    pub fn drain(&mut self) {
        self.refuse_new_seats();
        self.seating
            .connections
            .keys()
            .for_each(|conn| self.seating.out.send(*conn, Refusal::ShuttingDown.into()));
    }

    /// [`Self::drain`] without telling anybody: other servers take the rooms over.
    pub fn refuse_new_seats(&mut self) {
        self.seating.draining = true;
    }

    /// The rooms that this server owns, as long as somebody is in them or waits for them.
    pub fn owned_rooms(&self) -> Vec<OwnedRoom> {
        let room = |tag| OwnedRoom { tag, may_relay: self.seating.table.may_relay(tag) };
        self.seating.owned.iter().map(room).collect()
    }

    /// The server stops: every call ends and is reported.
    pub fn end_calls(&mut self, now: Now) {
        self.seating.table.end_calls(now.instant, &mut self.seating.out);
    }

    /// Replaces the issuer of credentials; every participant gets new credentials at once.
    pub fn set_credential_issuer(&mut self, issuer: Arc<dyn CredentialIssuer>, now: Now) {
        self.seating.credential_issuer = issuer;
        self.seating.send_all_ice_servers(now);
    }

    /// Replaces the STUN and TURN listeners; every participant gets the new list at once.
    pub fn set_ice_urls(&mut self, ice_urls: IceUrls, now: Now) {
        self.seating.ice_urls = ice_urls;
        self.seating.send_all_ice_servers(now);
    }

    /// Replaces the servers of the cluster by host and port, this one first. Participants learn them with their next join.
    pub fn set_nodes(&mut self, nodes: Vec<String>) {
        self.seating.nodes = nodes;
    }

    /// Replaces the keys that open an empty room. Without any, nobody waits for a host any longer.
    pub fn set_host_keys(&mut self, host_keys: HostKeys, now: Now) {
        self.seating.admission.set_host_keys(host_keys);
        let rooms: Vec<_> = self.seating.waiting.rooms().collect();
        rooms.into_iter().for_each(|room| self.seating.seat_waiting(room, Vec::new(), now));
    }

    /// Replaces the key of resume tokens. Tokens stay valid if the new one verifies those of the old one.
    pub fn set_resume_key(&mut self, key: ResumeTokenKey) {
        self.seating.admission.set_resume_key(key);
    }

    /// Rooms with at least one seat taken, and seats taken. Those who wait do not count.
    pub fn count(&self) -> (usize, usize) {
        (self.seating.table.rooms(), self.connected_seats() + self.seating.table.disconnected())
    }

    /// Seats whose participants are connected.
    pub fn connected_seats(&self) -> usize {
        self.seating.connections.values().filter(|connection| connection.seat().is_some()).count()
    }

    /// Counts one frame and returns whether it is to be processed.
    fn count_frame(&mut self, conn: ConnectionId, now: Now) -> bool {
        let Some(connection) = self.seating.connections.get_mut(&conn) else { return false };
        if connection.place == Place::Outside {
            self.seating.out.timers.set(Timer::Idle(conn), now.instant + IDLE_LIMIT);
        }
        match connection.count_frame(now.instant) {
            Verdict::Accept => return true,
            Verdict::Refuse => self.seating.out.send(conn, Refusal::RateLimited.into()),
            Verdict::Close => self.seating.close(conn, CloseReason::RateLimitExceeded, now),
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
                        self.seating.out.event(Event::Joined { resumed: *resumed })
                    }
                    Ok(JoinOutcome::Waiting) => {}
                    Err(refusal) => self.seating.out.event(Event::JoinRefused(*refusal)),
                }
                outcome.map(|_| ())
            }
            ClientMessage::Admit { id } => self.seating.admit(conn, id, now),
            ClientMessage::Decline { id } => self.seating.decline(conn, id, now),
            ClientMessage::Transfer => self.issue_transfer(conn, now, random),
            ClientMessage::Leave => self.seating.leave(conn, now),
            ClientMessage::Peek(peek) => self.peek(conn, &peek, now),
            ClientMessage::Relay { target, relay } => {
                let (seat, source) = (self.seating.seat(conn)?, self.seating.source(conn)?);
                self.seating.table.relay((conn, source), seat, target, relay, &mut self.seating.out)
            }
            ClientMessage::IceServers => {
                self.seating.seat(conn)?;
                self.seating.send_ice_servers(conn, now);
                Ok(())
            }
            ClientMessage::Report(report) => {
                let seat = self.seating.seat(conn)?;
                self.seating.table.report(seat, report, &mut self.seating.out);
                Ok(())
            }
            ClientMessage::Ping => {
                self.seating.out.send(conn, ServerMessage::Pong);
                self.seating.renew_expired_credentials(conn, now);
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
        if self.seating.seat(conn).is_ok() {
            return Err(Refusal::AlreadyJoined);
        }
        let room_name = RoomName::parse(&join.room).ok_or(Refusal::BadRoom)?;
        let source = self.seating.source(conn)?;
        let room = self.seating.admission.tag(&room_name);
        let ownership = owner.and_then(RoomOwner::ownership);
        if let Some(ownership) = ownership {
            self.seating.owned.insert(room, ownership.fence);
            self.seating.unmerged.remove(&room);
        }
        let claims = match &join.resume {
            Some(token) => Some(self.verify_token(source, (room, &join.room), token, now)?),
            None => None,
        };
        let seat = SeatKey { room, seat: claims.map_or(SeatId::new(random), |claims| claims.seat) };
        // Another server has a room from which everybody was redirected.
        let has_moved = owner == Some(RoomOwner::Unknown)
            && self.seating.owned.fence(room).is_none()
            && !self.seating.unmerged.contains_key(&room);
        if claims.is_some() && self.seating.table.is_taken(seat) && !has_moved {
            self.seating.resume(conn, seat, join, &room_name, now);
            return Ok(JoinOutcome::Seated { resumed: true });
        }
        let is_open = self.seating.table.is_open(room);
        // The holder of a token guesses no name. Joining an open room is no failed attempt, but is refused like
        // the rest after too many: the refusal must not reveal which rooms are open.
        if claims.is_none() {
            self.seating.admission.check_room_name(source, room, !is_open, now)?;
        }
        if self.seating.draining {
            return Err(Refusal::ShuttingDown);
        }
        if owner == Some(RoomOwner::Unknown) {
            return Err(Refusal::OwnerUnknown);
        }
        let opened_by_host = self.seating.table.opened_by_host(room);
        let replaced = claims.is_none() && self.seating.replace_abandoned(conn, room, source, now);
        let opening = match is_open {
            true if self.seating.table.is_full(room) => Err(Refusal::RoomFull),
            // The replaced seat was the only one: the room stays open.
            true if replaced && opened_by_host == Some(true) => Ok(Opening::HostKey),
            true => Ok(Opening::Free),
            false => {
                self.seating.admission.check_opening(source, (claims, ownership), join.key.as_deref(), now)
            }
        };
        let name = join.name.as_deref().and_then(DisplayName::parse);
        let features = join.features.as_deref().map(Features::parse).unwrap_or_default();
        let newcomer = Newcomer { conn, room_name, name, features };
        // A wrong key is an error, so that the host learns of it.
        let may_wait = join.wait == Some(true) && join.key.is_none();
        match opening {
            Ok(opening) => {
                self.seating.take_seat(seat, &newcomer, opening, &[], now)?;
                self.seating.seat_waiting(room, vec![conn], now);
                Ok(JoinOutcome::Seated { resumed: false })
            }
            Err(Refusal::RoomFull) if join.wait == Some(true) => {
                self.seating.wait(room, newcomer, now, random)
            }
            Err(Refusal::KeyRequired) if may_wait => self.seating.wait(room, newcomer, now, random),
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
        if let Some((seat, nonce)) = self.seating.admission.verify_transfer(room, token)
            && let Some(transfers) = self.seating.table.transfers_mut(seat)
            && transfers.is_valid(nonce, now.instant)
        {
            return Ok(ResumeClaims { seat: seat.seat, joined_at: now.unix, fence: None });
        }
        self.seating.admission.verify_token(source, (room, typed), token, now)
    }

    /// Sends a token that moves the seat to another device.
    fn issue_transfer(&mut self, conn: ConnectionId, now: Now, random: [u8; 16]) -> Result<(), Refusal> {
        let seat = self.seating.seat(conn)?;
        let [a, b, c, d, e, f, g, h, ..] = random;
        let nonce = [a, b, c, d, e, f, g, h];
        self.seating.table.transfers_mut(seat).ok_or(Refusal::NotJoined)?.issue(nonce, now.instant)?;
        let token = self.seating.admission.sign_transfer(seat, nonce);
        self.seating.out.send(conn, ServerMessage::Transfer { token, ttl: TRANSFER_TTL.as_secs() });
        Ok(())
    }

    /// Sends how many seats of a room are taken, without the seat of the client itself. Every name counts as an
    /// attempt, whether the room is open or not.
    fn peek(&mut self, conn: ConnectionId, peek: &Peek, now: Now) -> Result<(), Refusal> {
        let room_name = RoomName::parse(&peek.room).ok_or(Refusal::BadRoom)?;
        let source = self.seating.source(conn)?;
        let room = self.seating.admission.tag(&room_name);
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
            self.seating.admission.check_room_name(source, room, true, now)?;
        }
        let seats = self.seating.table.seats(room, own.map(|claims| claims.seat));
        // Who waits for a seat learns no name, and neither does somebody who was in the room long ago.
        let is_waiting = matches!(self.seating.place(conn), Place::Waiting(_));
        let entitled = own.filter(|claims| claims.is_recent(now.unix) && !is_waiting);
        let peer =
            entitled.and_then(|claims| self.seating.table.peers(SeatKey { room, seat: claims.seat }).next());
        let name = peer.and_then(|peer| peer.name.clone());
        self.seating
            .out
            .send(conn, ServerMessage::RoomStatus { room: room_name.as_str().to_owned(), seats, name });
        Ok(())
    }

    fn reject_malformed(&mut self, conn: ConnectionId, malformed: Malformed, now: Now) {
        let Some(connection) = self.seating.connections.get_mut(&conn) else { return };
        let is_last = connection.count_bad_message();
        self.seating.out.send(conn, Refusal::BadMessage(malformed).into());
        if is_last {
            self.seating.close(conn, CloseReason::TooManyBadMessages, now);
        }
    }

    #[cfg(test)]
    pub(crate) fn seating(&self) -> &Seating {
        &self.seating
    }
}

impl fmt::Debug for Rooms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rooms").field("count", &self.count()).finish_non_exhaustive()
    }
}
