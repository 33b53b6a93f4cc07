//! The counters of a server among several.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Upper bounds of the buckets of `webrtc_box_store_request_seconds`. A request has 0.3 s.
const STORE_BUCKETS: [f64; 9] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.3];

/// Why clients are redirected to another server; the label `cause`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RedirectCause {
    /// They asked for a seat in its room.
    Join,
    /// They asked for the status of its room.
    Look,
    /// It has the room now.
    Lost,
    /// This server drains and gave it the room.
    Drain,
}

impl RedirectCause {
    const ALL: [Self; 4] = [Self::Join, Self::Look, Self::Lost, Self::Drain];

    fn label(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Look => "look",
            Self::Lost => "lost",
            Self::Drain => "drain",
        }
    }
}

/// The counters. Cheap to clone: all clones share their values.
#[derive(Clone, Debug)]
pub(super) struct ClusterMetrics {
    store_requests: Histogram,
    store_errors: Counter,
    redirects: Family<Cause, Counter>,
    pub(super) takeovers: Counter,
    fence_conflicts: Family<Outcome, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Cause {
    cause: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

impl Default for ClusterMetrics {
    /// Every series exists from the start, with 0.
    fn default() -> Self {
        let metrics = Self {
            store_requests: Histogram::new(STORE_BUCKETS),
            store_errors: Counter::default(),
            redirects: Family::default(),
            takeovers: Counter::default(),
            fence_conflicts: Family::default(),
        };
        for cause in RedirectCause::ALL.map(RedirectCause::label) {
            drop(metrics.redirects.get_or_create(&Cause { cause }));
        }
        for outcome in ["won", "lost"] {
            drop(metrics.fence_conflicts.get_or_create(&Outcome { outcome }));
        }
        metrics
    }
}

impl ClusterMetrics {
    /// Names and describes every counter.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "webrtc_box_store_request_seconds",
            "Time of requests to the store that the boxes share, also of those that failed",
            self.store_requests.clone(),
        );
        registry.register(
            "webrtc_box_store_errors",
            "Requests to the store that failed or took too long",
            self.store_errors.clone(),
        );
        registry.register(
            "webrtc_box_redirects",
            "Clients redirected to another box, by cause: join, look, lost (it has the room now) or drain",
            self.redirects.clone(),
        );
        registry.register(
            "webrtc_box_room_takeovers",
            "Rooms taken over from a box that was gone",
            self.takeovers.clone(),
        );
        registry.register(
            "webrtc_box_fence_conflicts",
            "Rooms that two boxes had, by outcome for this one: won or lost",
            self.fence_conflicts.clone(),
        );
    }

    pub(super) fn count_store_call(&self, latency: Duration, ok: bool) {
        self.store_requests.observe(latency.as_secs_f64());
        if !ok {
            self.store_errors.inc();
        }
    }

    pub(super) fn count_redirects(&self, cause: RedirectCause, clients: usize) {
        self.redirects.get_or_create(&Cause { cause: cause.label() }).inc_by(clients as u64);
    }

    pub(super) fn count_conflict(&self, won: bool) {
        let outcome = if won { "won" } else { "lost" };
        self.fence_conflicts.get_or_create(&Outcome { outcome }).inc();
    }
}
