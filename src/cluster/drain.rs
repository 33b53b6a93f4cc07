//! Gives the rooms of a server that stops to others: those without relayed media at once, the others after half of the time that
//! calls have.

use std::convert::Infallible;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{debug, info};

use webrtc_box_signaling as signaling;

use super::{Cluster, RedirectCause, room_tag};
use crate::http::HttpServer;

/// How often rooms are moved that could not be, or need not be, before.
const INTERVAL: Duration = Duration::from_secs(1);

/// Rooms that are moved at the same time.
const CONCURRENT_MOVES: usize = 32;

/// Moves the rooms while the server drains for `drain_timeout`. Never ends.
pub(crate) async fn move_rooms(
    cluster: &Cluster,
    http_server: &HttpServer,
    drain_timeout: Duration,
) -> Infallible {
    let half = Instant::now() + drain_timeout / 2;
    cluster.handle.drain(true);
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let all = Instant::now() >= half;
        let rooms = http_server.owned_rooms().into_iter();
        let rooms: Vec<_> = rooms.filter(|room| all || !room.may_relay).map(|room| room.tag).collect();
        if !rooms.is_empty() {
            let (rooms_moved, redirected) = move_all(cluster, http_server, rooms).await;
            if rooms_moved > 0 {
                info!(rooms = rooms_moved, redirected, "moved rooms to other boxes");
            }
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
