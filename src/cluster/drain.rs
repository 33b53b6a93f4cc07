//! Gives the rooms of a server that stops to others: those without relayed media at once, the others after half of the time that
//! calls have. Rooms move one after the other, since all clients at once would overload the servers that they come to.

use std::convert::Infallible;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::time::{Instant, sleep};
use tracing::{debug, info};

use webrtc_box_signaling as signaling;

use super::{Cluster, RedirectCause, room_tag};
use crate::http::HttpServer;

/// The time between two steps, each of which moves some rooms.
const STEP: Duration = Duration::from_millis(100);

/// How often rooms are moved that no other server could have before, and how often a log line says how many have moved.
const INTERVAL: Duration = Duration::from_secs(1);

/// Rooms that are moved at the same time.
const CONCURRENT_MOVES: usize = 32;

/// Rooms of one kind, whose moves are spread evenly over some time.
struct Phase {
    start: Instant,
    duration: Duration,
    /// Rooms that have moved.
    moved: usize,
}

/// What was moved since the last log line.
#[derive(Default)]
struct Moved {
    rooms: usize,
    clients: usize,
    since: Option<Instant>,
}

/// Moves the rooms while the server drains for `drain_timeout`. Never ends.
pub(crate) async fn move_rooms(
    cluster: &Cluster,
    http_server: &HttpServer,
    drain_timeout: Duration,
) -> Infallible {
    let now = Instant::now();
    let mut direct = Phase::new(now, drain_timeout / 8);
    let mut relayed = Phase::new(now + drain_timeout / 2, drain_timeout / 4);
    let mut moved = Moved::default();
    cluster.handle.drain(true);
    loop {
        let rooms = http_server.owned_rooms();
        let (of_relayed, of_direct): (Vec<_>, Vec<_>) = rooms.into_iter().partition(|room| room.may_relay);
        let left = of_relayed.len() + of_direct.len();
        let (mut asked, before) = (0, moved.rooms);
        for (phase, rooms) in [(&mut direct, of_direct), (&mut relayed, of_relayed)] {
            let due = phase.due(rooms.len(), Instant::now());
            let tags = rooms.into_iter().take(due).map(|room| room.tag).collect();
            let (rooms, clients) = move_all(cluster, http_server, tags).await;
            asked += due;
            phase.moved += rooms;
            moved.add(rooms, clients);
        }
        let rooms = moved.rooms - before;
        moved.log(rooms == left);
        sleep(if rooms < asked { INTERVAL } else { STEP }).await;
    }
}

impl Phase {
    fn new(start: Instant, duration: Duration) -> Self {
        Self { start, duration, moved: 0 }
    }

    /// How many of `rooms` that have not moved are to move now.
    fn due(&self, rooms: usize, now: Instant) -> usize {
        if now < self.start {
            return 0;
        }
        let (total, duration) = ((self.moved + rooms) as u128, self.duration.as_millis().max(1));
        let elapsed = (now - self.start + STEP).as_millis().min(duration);
        let due = (total * elapsed).div_ceil(duration) as usize;
        due.saturating_sub(self.moved)
    }
}

impl Moved {
    fn add(&mut self, rooms: usize, clients: usize) {
        if rooms > 0 {
            self.since.get_or_insert_with(Instant::now);
        }
        self.rooms += rooms;
        self.clients += clients;
    }

    /// Writes a line for several steps; `all`: no room is left.
    fn log(&mut self, all: bool) {
        if self.since.is_some_and(|since| all || since.elapsed() >= INTERVAL) {
            info!(rooms = self.rooms, redirected = self.clients, "moved rooms to other boxes");
            *self = Self::default();
        }
    }
}

/// Returns how many rooms have moved, and how many clients were redirected.
async fn move_all(
    cluster: &Cluster,
    http_server: &HttpServer,
    rooms: Vec<signaling::RoomTag>,
) -> (usize, usize) {
    let moves = stream::iter(rooms).map(async |room| {
        let Some((node, fence)) = cluster.handle.move_room(room_tag(room)).await else {
            debug!(%room, "the room stays: no other box can have it now");
            return None;
        };
        cluster.count_loss();
        let redirected = http_server.redirect_room(room, cluster.other_owner(&node, fence, 0));
        cluster.count_redirects(RedirectCause::Drain, redirected);
        Some(redirected)
    });
    let count = async |(rooms, clients), moved: Option<usize>| match moved {
        Some(redirected) => (rooms + 1, clients + redirected),
        None => (rooms, clients),
    };
    moves.buffer_unordered(CONCURRENT_MOVES).fold((0, 0), count).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_are_spread_evenly_over_the_time() {
        let start = Instant::now();
        let mut phase = Phase::new(start, Duration::from_secs(5));
        let mut left = 100;
        assert_eq!(phase.due(left, start - STEP), 0, "not yet");
        for step in 0..50 {
            let due = phase.due(left, start + STEP * step);
            assert_eq!(due, 2, "step {step}");
            (phase.moved, left) = (phase.moved + due, left - due);
        }
        assert_eq!(left, 0);
    }

    #[test]
    fn a_room_that_is_alone_moves_at_once_and_late_ones_all_together() {
        let start = Instant::now();
        let phase = Phase::new(start, Duration::from_secs(5));
        assert_eq!(phase.due(1, start), 1);
        assert_eq!(phase.due(40, start + Duration::from_secs(60)), 40);
        assert_eq!(Phase::new(start, Duration::ZERO).due(40, start), 40);
    }
}
