//! What becomes of joins and calls: counted, and of each call that has ended one line in the log.

use std::sync::Arc;
use std::time::Instant;

use tracing::info;

use super::metrics::Tally;
use webrtc_box_relay::log_limit::LogLimit;
use webrtc_box_signaling::{CallSummary, Event, MediaPath};

/// Where it is written.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) tally: Arc<Tally>,
    limit: LogLimit,
    /// Names of rooms may stand in the log.
    names: bool,
}

impl Ledger {
    pub(super) fn new(tally: Arc<Tally>, names: bool, now: Instant) -> Self {
        Self { tally, limit: LogLimit::new(now), names }
    }

    pub(super) fn enter(&self, event: &Event, now: Instant) {
        match event {
            Event::Joined { resumed } => self.tally.joined(*resumed),
            Event::JoinRefused(refusal) => self.tally.turned_away(*refusal),
            Event::CallConnected { path, setup } => self.tally.connected(*path, *setup),
            Event::CallEnded(ended) => {
                self.tally.call_ended(ended.report.path, ended.reported);
                if let Some(held) = self.limit.allows(now) {
                    self.write(ended, held);
                }
            }
        }
    }

    /// Nothing follows: calls that had no line are told of in one.
    pub(super) fn close(&self) {
        let held = self.limit.take_suppressed();
        if held > 0 {
            info!(held, "further calls ended, more than have a line each");
        }
    }

    /// What no page has told is left out.
    fn write(&self, ended: &CallSummary, held: u64) {
        let told = &ended.report;
        info!(
            seconds = ended.duration.as_secs(),
            path = told.path.map_or(if ended.reported { "none" } else { "unreported" }, MediaPath::name),
            bytes = told.bytes,
            lost_percent = told.lost.map(|share| (share * 10_000.0).round() / 100.0),
            rtt_ms = told.rtt.map(|time| time.as_millis() as u64),
            setup_ms = told.setup.map(|time| time.as_millis() as u64),
            cut_off = ended.server_stopped.then_some(true),
            room = self.names.then_some(&*ended.room),
            held,
            "call ended"
        );
    }
}
