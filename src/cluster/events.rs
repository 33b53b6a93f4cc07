//! Handles the events of the cluster one after the other: sends participants of lost rooms away, counts, and writes one log
//! line for each change. Rooms that change together share a line.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tracing::{debug, error, info, warn};

use webrtc_box_cluster::Event;
use webrtc_box_signaling as signaling;

use super::{Cluster, RedirectCause};
use crate::http::HttpServer;

/// Rooms that are lost or taken over within this time share a log line.
const SUMMARY_PERIOD: Duration = Duration::from_secs(1);

/// Rooms that changed their owner and were not logged yet.
#[derive(Debug, Default)]
struct RoomSummary {
    taken_over: usize,
    lost: usize,
    redirected: usize,
    conflicts: usize,
    corrupt: usize,
    /// When the line is due.
    due: Option<Instant>,
}

/// Handles `events` until the driver ends.
pub(super) async fn run(
    cluster: Arc<Cluster>,
    http_server: HttpServer,
    mut events: mpsc::UnboundedReceiver<Event>,
) {
    let mut summary = RoomSummary::default();
    loop {
        let next = match summary.due {
            Some(due) => timeout_at(due, events.recv()).await,
            None => Ok(events.recv().await),
        };
        match next {
            Ok(Some(event)) => handle(&cluster, &http_server, event, &mut summary),
            Ok(None) => return,
            Err(_) => {}
        }
        // Also if events never cease.
        if summary.due.is_some_and(|due| due <= Instant::now()) {
            summary.log();
        }
    }
}

fn handle(cluster: &Cluster, http_server: &HttpServer, event: Event, summary: &mut RoomSummary) {
    match event {
        Event::RoomLost { room, owner, fence, seats } => {
            let other = cluster.other_owner(&owner, fence, seats as usize);
            let redirected = http_server.redirect_room(signaling::RoomTag::new(*room.as_bytes()), other);
            cluster.count_redirects(RedirectCause::Lost, redirected);
            debug!(%room, %owner, %fence, redirected, "another box has the room");
            summary.lost += 1;
            summary.redirected += redirected;
            summary.start();
        }
        Event::TookOver { room, from, fence } => {
            cluster.metrics.takeovers.inc();
            debug!(%room, ?from, %fence, "took the room over");
            summary.taken_over += 1;
            summary.start();
        }
        Event::FenceConflict { room, other, won } => {
            cluster.metrics.count_conflict(won);
            debug!(%room, %other, won, "two boxes had the room");
            summary.conflicts += 1;
            summary.start();
        }
        Event::CorruptValue { room } => {
            debug!(%room, "the store had a corrupt value for the room");
            summary.corrupt += 1;
            summary.start();
        }
        // Counted where it is observed.
        Event::StoreCall { .. } => {}
        change @ (Event::StoreLost { .. }
        | Event::StoreBack { .. }
        | Event::RequestRefused { .. }
        | Event::LeaseLost
        | Event::LeaseRenewed
        | Event::DuplicateName { .. }
        | Event::NameFree
        | Event::ForeignBox { .. }
        | Event::ForeignName { .. }
        | Event::Unreachable { .. }
        | Event::Reachable) => log_change(change),
    }
}

/// Logs a change of this box or of the store.
fn log_change(change: Event) {
    match change {
        Event::StoreLost { reason, unreported: 0 } => {
            warn!("the store cannot be used: {reason}; calls continue, new rooms follow cluster-fallback");
        }
        Event::StoreLost { reason, unreported } => {
            warn!(unreported, "the store cannot be used, again and again: {reason}");
        }
        Event::RequestRefused { reason } => {
            warn!("the store refuses a request about a room: {reason}; the others are not affected");
        }
        Event::StoreBack { after } => info!(after_s = after.as_secs_f32(), "the store answers again"),
        Event::LeaseLost => warn!("the lease of this box ran out: other boxes may take its rooms over"),
        Event::LeaseRenewed => info!("this box holds a lease"),
        Event::DuplicateName { other } => {
            error!(%other, "another live box has the same node-name: this one takes no new rooms; correct node-name");
        }
        Event::NameFree => info!("node-name is no longer in use by another box"),
        Event::ForeignBox { node, key_differs: true } => {
            error!(%node, "a box has another cluster-key and is ignored: give all boxes the same");
        }
        Event::ForeignBox { node, key_differs: false } => {
            error!(%node, "a box has another version of the cluster's protocol and is ignored: upgrade it");
        }
        Event::ForeignName { node } => {
            error!(%node, "the store lists a box outside domain, which is ignored: who else writes to the store?");
        }
        Event::Unreachable { by } => {
            let by: Vec<_> = by.iter().map(ToString::to_string).collect();
            error!(
                by = by.join(","),
                "other boxes cannot reach this one by node-name: it gives up its lease"
            );
        }
        Event::Reachable => info!("other boxes reach this one again"),
        Event::RoomLost { .. }
        | Event::TookOver { .. }
        | Event::FenceConflict { .. }
        | Event::CorruptValue { .. }
        | Event::StoreCall { .. } => {}
    }
}

impl RoomSummary {
    fn start(&mut self) {
        self.due.get_or_insert_with(|| Instant::now() + SUMMARY_PERIOD);
    }

    fn log(&mut self) {
        let Self { taken_over, lost, redirected, conflicts, corrupt, .. } = std::mem::take(self);
        if taken_over > 0 {
            info!(rooms = taken_over, "took rooms over from a box that is gone");
        }
        if lost > 0 {
            info!(rooms = lost, redirected, "other boxes have rooms of this one");
        }
        if conflicts > 0 {
            info!(rooms = conflicts, "two boxes had the same rooms");
        }
        if corrupt > 0 {
            warn!(rooms = corrupt, "the store had corrupt values, which were replaced");
        }
    }
}
