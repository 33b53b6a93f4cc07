//! Waits until a draining server has nothing left to do.

use std::time::Duration;

use webrtc_box_relay::Relay;

use crate::cluster::{Cluster, move_rooms};
use crate::http::HttpServer;

/// How often it is checked whether the last call has ended.
const CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// Resolves once the last call has ended, or has moved to another server.
pub(super) async fn finished(
    http_server: &HttpServer,
    relay: Option<&Relay>,
    cluster: Option<&Cluster>,
    drain_timeout: Duration,
) {
    match cluster {
        None => all_calls_ended(|| http_server.count().1, relay).await,
        Some(cluster) => tokio::select! {
            // Seats of rooms that have moved are kept, but nobody returns to them.
            () = all_calls_ended(|| http_server.connected_seats(), relay) => {}
            never = move_rooms(cluster, http_server, drain_timeout) => match never {},
        },
    }
}

/// Resolves once no seat is taken and no allocation is left: a call may outlast its WebSockets.
async fn all_calls_ended(seats: impl Fn() -> usize, relay: Option<&Relay>) {
    while seats() > 0 || relay.is_some_and(|relay| relay.allocations() > 0) {
        tokio::time::sleep(CHECK_INTERVAL).await;
    }
}
