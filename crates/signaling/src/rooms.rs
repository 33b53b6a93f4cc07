//! The rooms of a box as a state machine: what came over a connection, or the time of day, becomes
//! frames to send, connections to close and news of seats.
//!
//! Every call is followed by [`Rooms::poll_action`] until there is none. Nothing here grows but with
//! live connections, and with seats kept for those who dropped, of which there are 10,000 at most.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::call_stats::Event;
use super::error::{Malformed, Refusal};
use super::guesses::{Guess, Guesses};
use super::host_keys::HostKeys;
use super::ice_servers::{CredentialIssuer, IceServer, IceUrls};
use super::protocol::{ClientMessage, Relay, ServerMessage};
use super::rate_limit::{Allowance, Verdict};
use super::resume_token::TokenKey;
use super::room::{Absence, Occupant, Place, Room};
use super::share::Share;
use super::timers::{Deadline, Deadlines};
use crate::seat::{SeatEvent, SeatId, TagKey};
use crate::time::Now;
use crate::time::UnixSeconds;

/// How long a connection without a seat may say nothing. A `ping` is something.
const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// The bad message that closes the connection.
const LAST_STRIKE: u32 = 10;

/// Seats kept for people who dropped, over all rooms; beyond it a drop is an end.
const AWAY_LIMIT: usize = 10_000;

/// Bytes that may wait for people who are away, over all rooms.
const WAITING_BYTES_IN_ALL: usize = 4 * 1024 * 1024;

/// What the edge calls one WebSocket; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What is to be done, in this order.
#[derive(Debug)]
pub enum Action {
    /// Send a frame.
    Send {
        /// To whom.
        to: ConnectionId,
        /// Who wrote it, where that is the other seat: where it does not fit into the queue of `to`, it is
        /// refused to the writer by [`Rooms::not_relayed`], and `to` stays.
        from: Option<ConnectionId>,
        /// What.
        message: ServerMessage,
    },
    /// Close a connection. It is forgotten already: nothing else is sent to it.
    Close {
        /// Which.
        conn: ConnectionId,
        /// Why.
        why: Closing,
    },
    /// Tell the relay of a seat. `Opened` comes before the `resp-join` of the same join.
    Seat(SeatEvent),
    /// Count it, or write it down.
    Note(Event),
}

/// Why the machine closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// Its seat was taken back from another connection.
    Replaced,
    /// It sent far more frames than it may.
    Flood,
    /// It sent its tenth bad message.
    TooManyBad,
    /// It took no seat and said nothing.
    Idle,
    /// Its page said by other means that it was closed.
    PageClosed,
}

/// What a box is set to, as far as rooms go.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Turns names of rooms into tags.
    pub tag_key: TagKey,
    /// Signs resume tokens.
    pub token_key: TokenKey,
    /// Issues relay credentials.
    pub credential_issuer: Arc<dyn CredentialIssuer>,
    /// The listeners that browsers are told of.
    pub ice_urls: IceUrls,
    /// How long a credential opens allocations.
    pub credential_ttl: Duration,
    /// How long a seat is kept for who dropped.
    pub room_grace: Duration,
    /// Who may open an empty room.
    pub host_keys: HostKeys,
    /// Random and secret: what is counted by source is found by them.
    pub seeds: [u64; 2],
}

/// The state of all rooms.
pub struct Rooms {
    pub(super) rules: Rules,
    pub(super) connections: BTreeMap<ConnectionId, Connection>,
    pub(super) rooms: BTreeMap<crate::seat::RoomTag, Room>,
    pub(super) deadlines: Deadlines,
    pub(super) actions: VecDeque<Action>,
    pub(super) guesses: Guesses,
    pub(super) waiting_bytes: Share,
    pub(super) away: Share,
    pub(super) draining: bool,
    pub(super) born: Instant,
}

/// One WebSocket as the machine knows it.
pub(super) struct Connection {
    pub(super) place: Option<Place>,
    /// When the credentials it was last given run out, by the wall clock.
    expiry: UnixSeconds,
    host: String,
    /// By which its guesses and what is kept for it are counted.
    pub(super) source: IpAddr,
    allowance: Allowance,
    strikes: u32,
}

impl Rooms {
    /// No rooms yet; `born` is now.
    pub fn new(rules: Rules, born: Instant) -> Self {
        let guesses = Guesses::new(rules.seeds, born);
        Self {
            rules,
            guesses,
            connections: BTreeMap::new(),
            rooms: BTreeMap::new(),
            deadlines: Deadlines::default(),
            actions: VecDeque::new(),
            waiting_bytes: Share::new(WAITING_BYTES_IN_ALL),
            away: Share::new(AWAY_LIMIT),
            draining: false,
            born,
        }
    }

    /// A WebSocket opened; `host` is the name it reached us by (an IPv6 address in brackets).
    pub fn connected(&mut self, conn: ConnectionId, host: String, source: IpAddr, now: Now) {
        let allowance = Allowance::new(now.instant);
        let connection = Connection { place: None, expiry: 0, host, source, allowance, strikes: 0 };
        self.connections.insert(conn, connection);
        self.deadlines.set(Deadline::Idle(conn), now.instant + IDLE_LIMIT);
    }

    /// A text frame came. `chance` is 16 bytes nobody can guess; they name the seat if one is taken.
    /// Whether they may have done so: then they must not be given again.
    pub fn receive(&mut self, conn: ConnectionId, text: &str, now: Now, chance: [u8; 16]) -> bool {
        if !self.allowed(conn, now) {
            return false;
        }
        let heard = ClientMessage::parse(text).map_err(Refusal::BadMessage);
        let named = matches!(heard, Ok(ClientMessage::Join(_)));
        match heard.and_then(|message| self.handle(conn, message, now, chance)) {
            Ok(()) => {}
            Err(Refusal::BadMessage(malformed)) => self.strike(conn, malformed, now),
            Err(refusal) => self.send(conn, refusal.into()),
        }
        named
    }

    /// A frame came that says nothing, such as a WebSocket ping; it counts towards a flood.
    pub fn noticed(&mut self, conn: ConnectionId, now: Now) {
        self.allowed(conn, now);
    }

    /// A frame came that is no text; it counts as a bad message.
    pub fn receive_binary(&mut self, conn: ConnectionId, now: Now) {
        if self.allowed(conn, now) {
            self.strike(conn, Malformed::NotAFrame, now);
        }
    }

    /// A frame of `conn` for the other seat had no room in its queue.
    pub fn not_relayed(&mut self, conn: ConnectionId) {
        self.send(conn, Refusal::RateLimited.into());
    }

    /// A WebSocket is gone, however it went. Its seat is kept for a while; a shorter one where
    /// `closing`, which says that the page itself was closed or left.
    pub fn dropped(&mut self, conn: ConnectionId, closing: bool, now: Now) {
        let Some(connection) = self.forget(conn) else { return };
        if let Some(place) = connection.place {
            self.step_away(place, closing, connection.source, now);
        }
    }

    /// Does what has become due by `now`.
    pub fn advance(&mut self, now: Now) {
        while let Some(deadline) = self.deadlines.pop_due(now.instant) {
            match deadline {
                Deadline::Idle(conn) => self.close(conn, Closing::Idle, now),
                Deadline::Credentials(conn) => self.send_ice_servers(conn, now),
                Deadline::Grace(place) => self.lapse(place, now),
            }
        }
    }

    /// When [`Self::advance`] has something to do next.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// The box is about to stop: everybody is told, and no seat is taken any more. Calls go on, and
    /// who dropped may still come back.
    pub fn drain(&mut self) {
        self.draining = true;
        let everybody: Vec<_> = self.connections.keys().copied().collect();
        for conn in everybody {
            self.send(conn, Refusal::ShuttingDown.into());
        }
    }

    /// Replaces the issuer of credentials; every participant gets new credentials at once.
    pub fn set_credential_issuer(&mut self, issuer: Arc<dyn CredentialIssuer>, now: Now) {
        self.rules.credential_issuer = issuer;
        self.send_everybody_ice_servers(now);
    }

    /// Other listeners are told of from now on: whoever sits here hears of them at once.
    pub fn take_ice_urls(&mut self, ice_urls: IceUrls, now: Now) {
        self.rules.ice_urls = ice_urls;
        self.send_everybody_ice_servers(now);
    }

    /// Other keys open an empty room from now on.
    pub fn take_host_keys(&mut self, host_keys: HostKeys) {
        self.rules.host_keys = host_keys;
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Rooms somebody sits in, and seats taken.
    pub fn count(&self) -> (usize, usize) {
        let seated = self.connections.values().filter(|connection| connection.place.is_some()).count();
        (self.rooms.len(), seated + self.away.held())
    }

    /// Counts one frame, and says whether it is to be looked at.
    fn allowed(&mut self, conn: ConnectionId, now: Now) -> bool {
        let Some(connection) = self.connections.get_mut(&conn) else { return false };
        if connection.place.is_none() {
            self.deadlines.set(Deadline::Idle(conn), now.instant + IDLE_LIMIT);
        }
        match connection.allowance.spend(now.instant) {
            Verdict::Taken => return true,
            Verdict::Refused => self.send(conn, Refusal::RateLimited.into()),
            Verdict::Flood => self.close(conn, Closing::Flood, now),
        }
        false
    }

    fn handle(
        &mut self,
        conn: ConnectionId,
        message: ClientMessage,
        now: Now,
        chance: [u8; 16],
    ) -> Result<(), Refusal> {
        match message {
            ClientMessage::Join(join) => self.join_and_tell(conn, &join, now, chance),
            ClientMessage::Leave => self.leave(conn, now),
            ClientMessage::Look(look) => self.look(conn, &look, now),
            ClientMessage::Relay { target, relay } => self.relay(conn, target, relay),
            ClientMessage::IceServers => {
                self.place(conn)?;
                self.send_ice_servers(conn, now);
                Ok(())
            }
            ClientMessage::Report(report) => self.report(conn, report),
            ClientMessage::Ping => {
                self.send(conn, ServerMessage::Pong);
                self.renew_after_a_jump(conn, now);
                Ok(())
            }
            ClientMessage::Pong => Ok(()),
        }
    }

    fn relay(&mut self, conn: ConnectionId, target: Option<SeatId>, relay: Relay) -> Result<(), Refusal> {
        let place = self.place(conn)?;
        let source = self.source(conn)?;
        let other = self.rooms.get_mut(&place.room).and_then(|room| room.other(place.seat));
        let Some(other) = other.filter(|other| Some(other.id) == target) else {
            return Err(Refusal::NoSuchPeer);
        };
        match &mut other.occupant {
            Occupant::Present(to) => {
                let to = *to;
                let message = ServerMessage::relayed(place.seat, relay);
                self.actions.push_back(Action::Send { to, from: Some(conn), message });
            }
            Occupant::Away(Absence { waiting, .. }) => {
                if !waiting.fits(&relay) || !self.waiting_bytes.take(source, relay.size()) {
                    return Err(Refusal::RateLimited);
                }
                waiting.push(relay, source);
            }
        }
        Ok(())
    }

    fn strike(&mut self, conn: ConnectionId, malformed: Malformed, now: Now) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        connection.strikes += 1;
        let last = connection.strikes >= LAST_STRIKE;
        self.send(conn, Refusal::BadMessage(malformed).into());
        if last {
            self.close(conn, Closing::TooManyBad, now);
        }
    }

    /// Whether the source of `conn` may try `guess` and hear whether it is right.
    pub(super) fn may_try(&mut self, conn: ConnectionId, guess: Guess<'_>, now: Now) -> Result<(), Refusal> {
        let source = self.source(conn)?;
        self.guesses.may_try(source, guess, now.instant)
    }

    /// The source of `conn` has tried `guess`, and it was wrong.
    pub(super) fn tried(&mut self, conn: ConnectionId, guess: Guess<'_>, now: Now) {
        if let Ok(source) = self.source(conn) {
            self.guesses.tried(source, guess, now.instant);
        }
    }

    fn source(&self, conn: ConnectionId) -> Result<IpAddr, Refusal> {
        self.connections.get(&conn).map(|connection| connection.source).ok_or(Refusal::NotJoined)
    }

    fn close(&mut self, conn: ConnectionId, why: Closing, now: Now) {
        self.actions.push_back(Action::Close { conn, why });
        self.dropped(conn, false, now);
    }

    /// Lets go of a connection and its deadlines; its seat is the caller's to see to.
    pub(super) fn forget(&mut self, conn: ConnectionId) -> Option<Connection> {
        self.deadlines.cancel(Deadline::Idle(conn));
        self.deadlines.cancel(Deadline::Credentials(conn));
        self.connections.remove(&conn)
    }

    /// From now on `conn` sits in `place`, or nowhere.
    pub(super) fn settle(&mut self, conn: ConnectionId, place: Option<Place>, now: Now) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        connection.place = place;
        self.deadlines.cancel(Deadline::Idle(conn));
        self.deadlines.cancel(Deadline::Credentials(conn));
        if place.is_none() {
            self.deadlines.set(Deadline::Idle(conn), now.instant + IDLE_LIMIT);
        }
    }

    pub(super) fn place(&self, conn: ConnectionId) -> Result<Place, Refusal> {
        self.connections.get(&conn).and_then(|connection| connection.place).ok_or(Refusal::NotJoined)
    }

    fn send_everybody_ice_servers(&mut self, now: Now) {
        let everybody: Vec<_> = self.connections.keys().copied().collect();
        everybody.into_iter().for_each(|conn| self.send_ice_servers(conn, now));
    }

    fn send_ice_servers(&mut self, conn: ConnectionId, now: Now) {
        let Ok(place) = self.place(conn) else { return };
        let (ice_servers, ttl) = self.mint(conn, place, now);
        self.send(conn, ServerMessage::IceServers { ice_servers, ttl });
    }

    /// The wall clock may jump, which the deadline of [`Self::mint`] does not see: credentials that
    /// have run out all the same are replaced with the next `ping`.
    fn renew_after_a_jump(&mut self, conn: ConnectionId, now: Now) {
        if self.connections.get(&conn).is_some_and(|connection| connection.expiry <= now.unix) {
            self.send_ice_servers(conn, now);
        }
    }

    /// Credentials for who sits in `place`, and the deadline by which others follow.
    pub(super) fn mint(&mut self, conn: ConnectionId, place: Place, now: Now) -> (Vec<IceServer>, u64) {
        let ttl = self.rules.credential_ttl;
        // Three quarters: time enough for a page that is asleep or between two connections.
        let renewal = (ttl * 3 / 4).max(Duration::from_secs(1));
        self.deadlines.set(Deadline::Credentials(conn), now.instant + renewal);
        let expiry = now.unix.saturating_add(ttl.as_secs());
        let credential = self.rules.credential_issuer.issue(place.room, place.seat, expiry);
        let host = self.connections.get_mut(&conn).map_or("", |connection| {
            connection.expiry = expiry;
            connection.host.as_str()
        });
        (self.rules.ice_urls.servers(host, credential), ttl.as_secs())
    }

    pub(super) fn send(&mut self, to: ConnectionId, message: ServerMessage) {
        self.actions.push_back(Action::Send { to, from: None, message });
    }
}

impl Closing {
    /// The WebSocket close code (RFC 6455 §7.4).
    pub fn code(self) -> u16 {
        match self {
            Self::Replaced => 4001,
            Self::Flood | Self::TooManyBad => 1008,
            Self::Idle | Self::PageClosed => 1000,
        }
    }

    /// The close reason, for people.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Replaced => "the seat was taken back elsewhere",
            Self::Flood => "too many frames",
            Self::TooManyBad => "too many bad messages",
            Self::Idle => "no seat taken",
            Self::PageClosed => "the page was closed",
        }
    }
}

impl fmt::Debug for Rooms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rooms").field("count", &self.count()).finish_non_exhaustive()
    }
}
