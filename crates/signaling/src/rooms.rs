//! The state machine of all rooms: connections and their frames become actions.
//!
//! After every `handle_*` call the caller polls [`Rooms::poll_action`] until it returns `None`. Memory grows only with
//! live connections and with disconnected seats, which are limited to 10,000.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::admission::{Admission, HostKeys};
use crate::connection::{Connection, Verdict};
use crate::error::{Malformed, Refusal};
use crate::ice_servers::{CredentialIssuer, IceServer, IceUrls};
use crate::outputs::{Action, CloseReason, ConnectionId, Event, Outputs, Timer};
use crate::protocol::{ClientMessage, Join, Peek, ServerMessage};
use crate::resume_token::{ResumeClaims, ResumeTokenKey};
use crate::room_name::RoomName;
use crate::room_table::{ClosedPage, RoomTable};
use crate::seat::{SeatId, SeatKey, TagKey};
use crate::{Now, UnixSeconds};

/// How long a connection without a seat may be silent. A `ping` counts as activity.
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
    admission: Admission,
    credential_issuer: Arc<dyn CredentialIssuer>,
    credential_ttl: Duration,
    ice_urls: IceUrls,
    draining: bool,
    out: Outputs,
}

impl Rooms {
    /// No rooms; `now` is the start of the server.
    pub fn new(config: RoomsConfig, now: Instant) -> Self {
        let RoomsConfig { tag_key, resume_key, host_keys, seeds, .. } = config;
        Self {
            connections: BTreeMap::new(),
            table: RoomTable::new(config.room_grace),
            admission: Admission::new(tag_key, resume_key, host_keys, seeds, now),
            credential_issuer: config.credential_issuer,
            credential_ttl: config.credential_ttl,
            ice_urls: config.ice_urls,
            draining: false,
            out: Outputs::default(),
        }
    }

    /// A WebSocket opened; `host` is the host name by which the client reached the server (an IPv6 address in brackets).
    pub fn handle_connect(&mut self, conn: ConnectionId, host: String, source: IpAddr, now: Now) {
        self.connections.insert(conn, Connection::new(host, source, now.instant));
        self.out.timers.set(Timer::Idle(conn), now.instant + IDLE_LIMIT);
    }

    /// A text frame arrived. `random` is 16 unpredictable bytes, the ID of a seat that it may join. Returns whether
    /// they may be in use now: then the caller must not pass them again.
    pub fn handle_text(&mut self, conn: ConnectionId, text: &str, now: Now, random: [u8; 16]) -> bool {
        if !self.count_frame(conn, now) {
            return false;
        }
        let message = ClientMessage::parse(text).map_err(Refusal::BadMessage);
        let is_join = matches!(message, Ok(ClientMessage::Join(_)));
        match message.and_then(|message| self.handle_message(conn, message, now, random)) {
            Ok(()) => {}
            Err(Refusal::BadMessage(malformed)) => self.reject_malformed(conn, malformed, now),
            Err(refusal) => self.out.send(conn, refusal.into()),
        }
        is_join
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
        if let Some(seat) = connection.seat {
            self.table.disconnect(seat, closing, connection.source, now, &mut self.out);
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
                Timer::Grace(seat) => self.table.expire(seat, now, &mut self.out),
            }
        }
    }

    /// When [`Self::handle_timeout`] is due next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.out.timers.next()
    }

    /// The next action.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.out.pop()
    }

    /// The server will stop soon: all clients are notified and new seats are refused. Calls continue, and disconnected
    /// participants may resume.
    pub fn drain(&mut self) {
        self.draining = true;
        self.connections.keys().for_each(|conn| self.out.send(*conn, Refusal::ShuttingDown.into()));
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

    /// Replaces the keys that open an empty room.
    pub fn set_host_keys(&mut self, host_keys: HostKeys) {
        self.admission.set_host_keys(host_keys);
    }

    /// Rooms with at least one seat taken, and seats taken.
    pub fn count(&self) -> (usize, usize) {
        let connected = self.connections.values().filter(|connection| connection.seat.is_some()).count();
        (self.table.rooms(), connected + self.table.disconnected())
    }

    /// Counts one frame and returns whether it is to be processed.
    fn count_frame(&mut self, conn: ConnectionId, now: Now) -> bool {
        let Some(connection) = self.connections.get_mut(&conn) else { return false };
        if connection.seat.is_none() {
            self.out.timers.set(Timer::Idle(conn), now.instant + IDLE_LIMIT);
        }
        match connection.frames.count(now.instant) {
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
        now: Now,
        random: [u8; 16],
    ) -> Result<(), Refusal> {
        match message {
            ClientMessage::Join(join) => {
                let outcome = self.join(conn, &join, now, random);
                let event = outcome.map_or_else(Event::JoinRefused, |resumed| Event::Joined { resumed });
                self.out.push(Action::Event(event));
                outcome.map(|_| ())
            }
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

    /// Takes a new seat or resumes one; returns whether one was resumed.
    fn join(&mut self, conn: ConnectionId, join: &Join, now: Now, random: [u8; 16]) -> Result<bool, Refusal> {
        if self.seat(conn).is_ok() {
            return Err(Refusal::AlreadyJoined);
        }
        let name = RoomName::parse(&join.room).ok_or(Refusal::BadRoom)?;
        let source = self.source(conn)?;
        let room = self.admission.tag(&name);
        let claims = match &join.resume {
            Some(token) => Some(self.admission.verify_token(source, (room, &join.room), token, now)?),
            None => None,
        };
        let seat = SeatKey { room, seat: claims.map_or(SeatId::new(random), |claims| claims.seat) };
        if claims.is_some() && self.table.is_taken(seat) {
            self.resume(conn, seat, &name, now);
            return Ok(true);
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
        let opened_by = match is_open {
            true => None,
            false => self.admission.check_opening(source, claims, join.key.as_deref(), now)?,
        };
        self.table.join(conn, seat, &name, now, &mut self.out)?;
        self.set_seat(conn, Some(seat), now);
        let joined_at = opened_by.map_or(now.unix, |claims| claims.joined_at);
        self.send_join_reply(conn, seat, &name, (joined_at, false), now);
        Ok(false)
    }

    fn resume(&mut self, conn: ConnectionId, seat: SeatKey, name: &RoomName, now: Now) {
        let (pending, replaced) = self.table.resume(conn, seat, &mut self.out);
        self.set_seat(conn, Some(seat), now);
        if let Some(old) = replaced {
            self.forget(old);
            self.out.push(Action::Close { conn: old, reason: CloseReason::Replaced });
        }
        self.send_join_reply(conn, seat, name, (now.unix, true), now);
        pending.into_messages().for_each(|message| self.out.send(conn, message));
    }

    fn leave(&mut self, conn: ConnectionId, now: Now) -> Result<(), Refusal> {
        let seat = self.seat(conn)?;
        self.set_seat(conn, None, now);
        self.table.leave(seat, now, &mut self.out);
        Ok(())
    }

    /// Sends how many seats of a room are taken, without the seat of the client itself. Every name counts as an
    /// attempt, whether the room is open or not.
    fn peek(&mut self, conn: ConnectionId, peek: &Peek, now: Now) -> Result<(), Refusal> {
        let name = RoomName::parse(&peek.room).ok_or(Refusal::BadRoom)?;
        let source = self.source(conn)?;
        let room = self.admission.tag(&name);
        let own = match &peek.resume {
            // A join would refuse a wrong token; here it is ignored, but counted because the answer reveals
            // whether it is valid.
            Some(token) => match self.admission.verify_token(source, (room, &peek.room), token, now) {
                Err(Refusal::BadResume) => None,
                claims => Some(claims?),
            },
            None => None,
        };
        if own.is_none() {
            self.admission.check_room_name(source, room, true, now)?;
        }
        let seats = self.table.seats(room, own.map(|claims| claims.seat));
        self.out.send(conn, ServerMessage::RoomStatus { room: name.as_str().to_owned(), seats });
        Ok(())
    }

    /// Sends `resp-join` with a token of the time `joined_at`, then `peer-away` if the peer is disconnected.
    fn send_join_reply(
        &mut self,
        conn: ConnectionId,
        seat: SeatKey,
        name: &RoomName,
        (joined_at, resumed): (UnixSeconds, bool),
        now: Now,
    ) {
        self.table.set_token_time(seat, joined_at, now);
        let (ice_servers, ttl) = self.issue_ice_servers(conn, seat, now);
        let peer = self.table.peers(seat).next();
        let claims = ResumeClaims { seat: seat.seat, joined_at };
        let message = ServerMessage::RespJoin {
            id: seat.seat,
            room: name.as_str().to_owned(),
            peer: peer.map(|(id, _)| id),
            ice_servers,
            ttl,
            resume: self.admission.sign_token(seat.room, claims),
            resumed,
        };
        self.out.send(conn, message);
        if let Some((id, Some(closing))) = peer {
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

    fn set_seat(&mut self, conn: ConnectionId, seat: Option<SeatKey>, now: Now) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        connection.seat = seat;
        self.out.timers.cancel(Timer::Idle(conn));
        self.out.timers.cancel(Timer::Credentials(conn));
        if seat.is_none() {
            self.out.timers.set(Timer::Idle(conn), now.instant + IDLE_LIMIT);
        }
    }

    fn seat(&self, conn: ConnectionId) -> Result<SeatKey, Refusal> {
        self.connections.get(&conn).and_then(|connection| connection.seat).ok_or(Refusal::NotJoined)
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

    #[cfg(test)]
    pub(crate) fn parts(&self) -> (&Admission, &RoomTable, &Outputs, usize) {
        (&self.admission, &self.table, &self.out, self.connections.len())
    }
}

impl fmt::Debug for Rooms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rooms").field("count", &self.count()).finish_non_exhaustive()
    }
}
