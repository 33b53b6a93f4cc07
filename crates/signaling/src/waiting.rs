//! The people who wait for a seat: one list for each room, in the order of their arrival.
//!
//! `rooms.rs` decides when the first of a list is seated. Nobody here has a seat, a token or relay credentials.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use webrtc_box_rate_limit::{Rate, SourcePrefix, SourceRateLimiter};

use crate::error::Refusal;
use crate::outputs::{ConnectionId, Outputs};
use crate::room_table::Newcomer;
use crate::seat::{RoomTag, SeatId};
use crate::server_message::ServerMessage;

/// People who may wait for one room.
const MAX_WAITING: usize = 20;

/// People of one [`site`] who may wait for one room.
const MAX_WAITING_PER_SITE: usize = 5;

/// Knocks of one [`site`] at one room: a page that loses its connection knocks again.
const SITE_RATE: Rate = Rate { interval: Duration::from_secs(30), burst: 12 };

/// Knocks at one room.
const ROOM_RATE: Rate = Rate { interval: Duration::from_secs(1), burst: 60 };

/// All lists; a room that nobody waits for has none.
#[derive(Debug)]
pub(crate) struct WaitingLists {
    lists: BTreeMap<RoomTag, Vec<WaitingParticipant>>,
    by_site: SourceRateLimiter,
    by_room: SourceRateLimiter,
}

/// Somebody who waits.
#[derive(Debug)]
pub(crate) struct WaitingParticipant {
    /// The seat that the participant gets.
    pub(crate) id: SeatId,
    pub(crate) newcomer: Newcomer,
    /// Places are counted by its [`site`].
    pub(crate) source: IpAddr,
}

impl WaitingLists {
    /// `seeds` are random and secret.
    pub(crate) fn new(seeds: [u64; 2], now: Instant) -> Self {
        Self {
            lists: BTreeMap::new(),
            by_site: SourceRateLimiter::new(SITE_RATE, seeds, now),
            by_room: SourceRateLimiter::new(ROOM_RATE, seeds, now),
        }
    }

    /// Appends `participant` to the list of `room` and sends the position.
    ///
    /// # Errors
    /// [`Refusal::TryLater`] if too many wait, [`Refusal::TooManyRequests`] if its site knocked too often.
    pub(crate) fn add(
        &mut self,
        room: RoomTag,
        participant: WaitingParticipant,
        now: Instant,
        out: &mut Outputs,
    ) -> Result<(), Refusal> {
        let own_site = site(participant.source);
        let neighbours = self.iter(room).filter(|other| site(other.source) == own_site).count();
        if self.iter(room).count() >= MAX_WAITING || neighbours >= MAX_WAITING_PER_SITE {
            return Err(Refusal::TryLater);
        }
        if !self.by_site.allows_key((own_site, room), now) {
            return Err(Refusal::TooManyRequests);
        }
        if !self.by_room.allows_key(room, now) {
            return Err(Refusal::TryLater);
        }
        let conn = participant.newcomer.conn;
        self.lists.entry(room).or_default().push(participant);
        self.send_position(room, conn, out);
        Ok(())
    }

    /// Removes the participant at `conn` and sends the new positions of those behind.
    pub(crate) fn remove(
        &mut self,
        room: RoomTag,
        conn: ConnectionId,
        out: &mut Outputs,
    ) -> Option<WaitingParticipant> {
        let list = self.lists.get_mut(&room)?;
        let at = list.iter().position(|waiting| waiting.newcomer.conn == conn)?;
        let removed = list.remove(at);
        for (position, behind) in (1..).zip(list.iter()).skip(at) {
            out.send(behind.newcomer.conn, ServerMessage::Waiting { position });
        }
        if list.is_empty() {
            self.lists.remove(&room);
        }
        Some(removed)
    }

    /// Sends the position of the participant at `conn`.
    pub(crate) fn send_position(&self, room: RoomTag, conn: ConnectionId, out: &mut Outputs) {
        if let Some(at) = self.iter(room).position(|waiting| waiting.newcomer.conn == conn) {
            out.send(conn, ServerMessage::Waiting { position: at + 1 });
        }
    }

    /// Those who wait for `room`, in order.
    pub(crate) fn iter(&self, room: RoomTag) -> impl Iterator<Item = &WaitingParticipant> {
        self.lists.get(&room).into_iter().flatten()
    }

    /// How many wait in all.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        assert!(self.lists.values().all(|list| !list.is_empty()));
        self.lists.values().map(Vec::len).sum()
    }

    /// The rooms that somebody waits for.
    pub(crate) fn rooms(&self) -> impl Iterator<Item = RoomTag> {
        self.lists.keys().copied()
    }
}

impl WaitingParticipant {
    /// What people in the room receive.
    pub(crate) fn knock(&self) -> ServerMessage {
        ServerMessage::Knock { id: self.id, name: self.newcomer.name.clone(), gone: false }
    }
}

/// What counts as one source here: an IPv4 address or an IPv6 /48. Each knock makes a sound at the participants, and a /48
/// has 65,536 networks to knock from.
fn site(source: IpAddr) -> Option<SourcePrefix> {
    SourcePrefix::of(source).into_iter().flatten().next_back()
}
