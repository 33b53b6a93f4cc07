//! Counts the events of the rooms, and logs one line per ended call.

use std::time::Instant;

use tracing::info;

use webrtc_box_rate_limit::LogLimit;
use webrtc_box_signaling::{CallSummary, Event};

use super::metrics::{HttpMetrics, path_label};

/// The metrics and the log of calls.
#[derive(Debug)]
pub(super) struct CallLog {
    pub(super) metrics: HttpMetrics,
    limit: LogLimit,
    /// Whether lines contain room names.
    log_rooms: bool,
}

impl CallLog {
    pub(super) fn new(metrics: HttpMetrics, log_rooms: bool, now: Instant) -> Self {
        Self { metrics, limit: LogLimit::new(now), log_rooms }
    }

    /// Counts `event`; logs the end of a call, within the rate limit of log lines.
    pub(super) fn record(&self, event: &Event, now: Instant) {
        self.metrics.count(event);
        if let Event::CallEnded(summary) = event
            && let Some(held) = self.limit.allows(now)
        {
            self.write(summary, held);
        }
    }

    /// Logs how many ended calls had no line.
    pub(super) fn close(&self) {
        let held = self.limit.take_suppressed();
        if held > 0 {
            info!(held, "further calls ended, beyond the rate limit of log lines");
        }
    }

    /// Fields that no page reported are omitted.
    fn write(&self, summary: &CallSummary, held: u64) {
        let report = &summary.report;
        info!(
            seconds = summary.duration.as_secs(),
            path = path_label(summary),
            bytes = report.bytes,
            lost_percent = report.lost.map(|share| (share * 10_000.0).round() / 100.0),
            rtt_ms = report.rtt.map(|time| time.as_millis() as u64),
            setup_ms = report.setup.map(|time| time.as_millis() as u64),
            cut_off = summary.server_stopped.then_some(true),
            room = self.log_rooms.then_some(&*summary.room),
            held,
            "call ended"
        );
    }
}
