//! Waits until a draining server has nothing left to do: its calls have ended, or other servers have them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::info;

use webrtc_box_relay::Relay;
use webrtc_box_turn::allocation::Activity;

use crate::cluster::{Cluster, move_rooms};
use crate::http::HttpServer;

/// How often it is checked whether the last call has ended.
const CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// How long no allocation has carried media when calls have moved: more than an ICE restart interrupts it.
const SILENCE: Duration = Duration::from_secs(3);

/// How often the bytes of allocations are compared.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// What a client sends over an allocation without media in that time at most: browsers check the paths that they do not use any
/// more, for half a minute. Speech takes several times as much.
const MAX_IDLE_BYTES: u64 = 1000;

/// Resolves once the last call has ended, or has moved to another server.
pub(super) async fn finished(
    http_server: &HttpServer,
    relay: Option<&Relay>,
    cluster: Option<&Cluster>,
    drain_timeout: Duration,
) {
    match cluster {
        None => all_calls_ended(http_server, relay).await,
        Some(cluster) => tokio::select! {
            () = all_calls_moved(http_server, relay) => {}
            never = move_rooms(cluster, http_server, drain_timeout) => match never {},
        },
    }
}

/// Resolves once no seat is taken and no allocation is left: a call may outlast its WebSockets.
async fn all_calls_ended(http_server: &HttpServer, relay: Option<&Relay>) {
    while http_server.count().1 > 0 || relay.is_some_and(|relay| relay.allocations() > 0) {
        sleep(CHECK_INTERVAL).await;
    }
}

/// Resolves once nobody is connected to a seat and no allocation carries media. Seats of rooms that have moved are kept, but
/// nobody returns to them. Their clients keep the allocations for a while beside those at the next server.
async fn all_calls_moved(http_server: &HttpServer, relay: Option<&Relay>) {
    let mut media = MediaMonitor::default();
    loop {
        let allocations = relay.map_or(0, Relay::allocations);
        let is_silent = allocations == 0 || media.is_silent(relay);
        if is_silent && http_server.connected_seats() == 0 {
            info!(allocations, "no calls are left; remaining allocations carry no media");
            return;
        }
        sleep(CHECK_INTERVAL).await;
    }
}

/// Whether any allocation carries media.
#[derive(Default)]
struct MediaMonitor {
    last: Option<Sample>,
    silent_since: Option<Instant>,
}

/// What the client of each allocation had sent at a moment.
struct Sample {
    at: Instant,
    sent: Vec<(Arc<Activity>, u64)>,
}

impl MediaMonitor {
    /// Whether no allocation has carried media for [`SILENCE`].
    fn is_silent(&mut self, relay: Option<&Relay>) -> bool {
        let now = Instant::now();
        if self.last.as_ref().is_none_or(|last| now >= last.at + SAMPLE_INTERVAL) {
            self.compare(Sample::take(&relay.map(Relay::activities).unwrap_or_default(), now));
        }
        self.silent_since.is_some_and(|since| now >= since + SILENCE)
    }

    /// Compares a sample with the one before.
    fn compare(&mut self, sample: Sample) {
        let now = sample.at;
        let was_silent = self.last.replace(sample).is_some_and(|last| !last.precedes_media(now));
        self.silent_since = was_silent.then(|| self.silent_since.unwrap_or(now));
    }
}

impl Sample {
    fn take(activities: &[Arc<Activity>], at: Instant) -> Self {
        let sent = activities.iter().map(|activity| (Arc::clone(activity), activity.sent()));
        Self { at, sent: sent.collect() }
    }

    /// Whether any client has sent media since, until `now`.
    fn precedes_media(&self, now: Instant) -> bool {
        let limit = (MAX_IDLE_BYTES as f64 * (now - self.at).as_secs_f64()) as u64;
        self.sent.iter().any(|(activity, before)| activity.sent() - before > limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_is_silent_when_no_allocation_has_carried_media_for_a_while() {
        let [speaks, idle] = [(); 2].map(|()| Arc::new(Activity::default()));
        let mut media = MediaMonitor::default();
        let start = Instant::now();
        let mut sample = |second: u64, bytes: [usize; 2]| {
            let activities = [&speaks, &idle].map(Arc::clone);
            activities.iter().zip(bytes).for_each(|(activity, bytes)| activity.add_sent(bytes));
            media.compare(Sample::take(&activities, start + Duration::from_secs(second)));
            media.silent_since.map(|since| (since - start).as_secs())
        };
        assert_eq!(sample(0, [0, 0]), None, "nothing to compare with");
        assert_eq!(sample(1, [4000, 500]), None);
        assert_eq!(sample(2, [900, 500]), Some(2));
        assert_eq!(sample(5, [2500, 1500]), Some(2), "a later sample covers more time");
        assert_eq!(sample(6, [4000, 0]), None);
        assert_eq!(sample(7, [0, 100]), Some(7));
    }
}
