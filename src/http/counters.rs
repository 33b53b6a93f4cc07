//! The counters of rooms, calls and connections, and one log line per ended call.
//!
//! A counter is one field of [`HttpMetrics`] and one line of [`HttpMetrics::register`]. Labels come from closed sets, so
//! clients cannot create series.

use std::time::{Duration, Instant};

use axum::http::Version;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tracing::info;

use webrtc_box_rate_limit::LogLimit;
use webrtc_box_signaling::{CallSummary, Event, MediaPath, Refusal, WaitOutcome};

use super::hub::Transport;

/// Upper bounds of the buckets of `webrtc_box_call_setup_seconds`.
const SETUP_BUCKETS: [f64; 9] = [0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0];

/// The versions of HTTP, as labels.
const HTTP_VERSIONS: [&str; 3] = ["1.0", "1.1", "2"];

/// The counters of the HTTP server. Cheap to clone: all clones share their values.
#[derive(Clone, Debug)]
pub(super) struct HttpMetrics {
    joins: Family<Outcome, Counter>,
    join_refusals: Family<Code, Counter>,
    waits: Family<Outcome, Counter>,
    call_setup: Family<Path, Histogram>,
    calls_ended: Family<Path, Counter>,
    tls_handshakes: Family<Outcome, Counter>,
    requests: Family<HttpVersion, Counter>,
    http2_ends: Family<Reason, Counter>,
    sessions_opened: Family<TransportLabel, Counter>,
    pub(super) connections_refused: Counter,
    /// The metric is older than the other transports and keeps its name.
    pub(super) sessions_given_up: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Path {
    path: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HttpVersion {
    version: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TransportLabel {
    transport: &'static str,
}

/// Why an HTTP/2 connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Http2End {
    /// The client closed it, or the server stops.
    Closed,
    /// No request for a while.
    Idle,
    /// The client does not read a reply.
    Stalled,
    /// It broke off, or the client violated the protocol or a limit.
    Failed,
}

/// How a TLS handshake ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handshake {
    /// It succeeded.
    Completed,
    /// The client disconnected or requested something unsupported.
    Failed,
    /// It took too long.
    TimedOut,
    /// It was not started: its source exceeded the handshake rate.
    Refused,
}

impl Default for HttpMetrics {
    /// Every series exists from the start, with 0.
    fn default() -> Self {
        let setup_histogram: fn() -> Histogram = || Histogram::new(SETUP_BUCKETS);
        let metrics = Self {
            joins: Family::default(),
            join_refusals: Family::default(),
            waits: Family::default(),
            call_setup: Family::new_with_constructor(setup_histogram),
            calls_ended: Family::default(),
            tls_handshakes: Family::default(),
            requests: Family::default(),
            http2_ends: Family::default(),
            sessions_opened: Family::default(),
            connections_refused: Counter::default(),
            sessions_given_up: Counter::default(),
        };
        for outcome in ["fresh", "resumed"] {
            drop(metrics.joins.get_or_create(&Outcome { outcome }));
        }
        for code in Refusal::CODES {
            drop(metrics.join_refusals.get_or_create(&Code { code }));
        }
        for outcome in WaitOutcome::ALL.map(WaitOutcome::name) {
            drop(metrics.waits.get_or_create(&Outcome { outcome }));
        }
        for path in MediaPath::ALL.map(MediaPath::name) {
            drop(metrics.call_setup.get_or_create(&Path { path }));
        }
        for path in MediaPath::ALL.into_iter().map(MediaPath::name).chain(["none", "unreported"]) {
            drop(metrics.calls_ended.get_or_create(&Path { path }));
        }
        for version in HTTP_VERSIONS {
            drop(metrics.requests.get_or_create(&HttpVersion { version }));
        }
        for end in Http2End::ALL {
            drop(metrics.http2_ends.get_or_create(&Reason { reason: end.label() }));
        }
        for transport in Transport::ALL.map(Transport::label) {
            drop(metrics.sessions_opened.get_or_create(&TransportLabel { transport }));
        }
        for handshake in Handshake::ALL {
            drop(metrics.tls_handshakes.get_or_create(&Outcome { outcome: handshake.label() }));
        }
        metrics
    }
}

impl HttpMetrics {
    /// Names and describes every counter.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("webrtc_box_joins", "Joins by outcome: fresh or resumed", self.joins.clone());
        registry.register(
            "webrtc_box_join_refusals",
            "Joins refused, by the code of the error frame",
            self.join_refusals.clone(),
        );
        registry.register(
            "webrtc_box_waits",
            "People who have stopped waiting for a seat, by outcome: seated, declined or gone",
            self.waits.clone(),
        );
        registry.register(
            "webrtc_box_call_setup_seconds",
            "Time calls took to connect, as reported by pages",
            self.call_setup.clone(),
        );
        registry.register(
            "webrtc_box_calls_ended",
            "Calls that have ended; path none: no page reported a connection; unreported: no page sent a report",
            self.calls_ended.clone(),
        );
        registry.register(
            "webrtc_box_tls_handshakes",
            "TLS handshakes by outcome",
            self.tls_handshakes.clone(),
        );
        registry.register(
            "webrtc_box_http_requests",
            "Requests to the public listeners by version of HTTP",
            self.requests.clone(),
        );
        registry.register(
            "webrtc_box_http2_connections_ended",
            "HTTP/2 connections that have ended, by reason",
            self.http2_ends.clone(),
        );
        registry.register(
            "webrtc_box_sessions_opened",
            "Sessions opened, by transport",
            self.sessions_opened.clone(),
        );
        registry.register(
            "webrtc_box_connections_refused",
            "Connections refused because their source had reached its limit",
            self.connections_refused.clone(),
        );
        registry.register(
            "webrtc_box_websockets_given_up",
            "Sessions of any transport closed because their client did not read",
            self.sessions_given_up.clone(),
        );
    }

    /// Counts an event of the rooms.
    fn count(&self, event: &Event) {
        match event {
            Event::Joined { resumed } => {
                let outcome = if *resumed { "resumed" } else { "fresh" };
                self.joins.get_or_create(&Outcome { outcome }).inc();
            }
            Event::JoinRefused(refusal) => {
                self.join_refusals.get_or_create(&Code { code: refusal.code() }).inc();
            }
            Event::WaitEnded(outcome) => {
                self.waits.get_or_create(&Outcome { outcome: outcome.name() }).inc();
            }
            Event::CallConnected { path, setup } => self.observe_setup(*path, *setup),
            Event::CallEnded(summary) => {
                self.calls_ended.get_or_create(&Path { path: path_label(summary) }).inc();
            }
        }
    }

    pub(super) fn count_handshake(&self, handshake: Handshake) {
        self.tls_handshakes.get_or_create(&Outcome { outcome: handshake.label() }).inc();
    }

    pub(super) fn count_request(&self, version: Version) {
        let [http10, http11, http2] = HTTP_VERSIONS;
        let version = match version {
            Version::HTTP_2 => http2,
            Version::HTTP_11 => http11,
            _ => http10,
        };
        self.requests.get_or_create(&HttpVersion { version }).inc();
    }

    pub(super) fn count_http2_end(&self, end: Http2End) {
        self.http2_ends.get_or_create(&Reason { reason: end.label() }).inc();
    }

    pub(super) fn count_session(&self, transport: Transport) {
        self.sessions_opened.get_or_create(&TransportLabel { transport: transport.label() }).inc();
    }

    fn observe_setup(&self, path: MediaPath, setup: Duration) {
        self.call_setup.get_or_create(&Path { path: path.name() }).observe(setup.as_secs_f64());
    }
}

/// The path of an ended call, as label and log field.
fn path_label(summary: &CallSummary) -> &'static str {
    let unconnected = if summary.reported { "none" } else { "unreported" };
    summary.report.path.map_or(unconnected, MediaPath::name)
}

impl Http2End {
    const ALL: [Self; 4] = [Self::Closed, Self::Idle, Self::Stalled, Self::Failed];

    fn label(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Idle => "idle",
            Self::Stalled => "stalled",
            Self::Failed => "failed",
        }
    }
}

impl Handshake {
    const ALL: [Self; 4] = [Self::Completed, Self::Failed, Self::TimedOut, Self::Refused];

    fn label(self) -> &'static str {
        match self {
            Self::Completed => "ok",
            Self::Failed => "failed",
            Self::TimedOut => "timeout",
            Self::Refused => "refused",
        }
    }
}

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

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::prometheus_text::encode;

    use super::*;

    fn text(metrics: &HttpMetrics) -> String {
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn setup_times_are_counted_in_cumulative_buckets() {
        let metrics = HttpMetrics::default();
        for milliseconds in [0, 250, 251, 30_000, 30_001, 3_600_000] {
            metrics.observe_setup(MediaPath::RelayTls, Duration::from_millis(milliseconds));
        }
        let text = text(&metrics);
        let bucket = |bound: &str| {
            let le = format!("le=\"{bound}\"");
            let line = text.lines().find(|line| line.contains(&le) && line.contains("relay-tls")).unwrap();
            line.rsplit(' ').next().unwrap()
        };
        assert_eq!(["0.25", "0.5", "20", "30", "+Inf"].map(bucket), ["2", "3", "3", "4", "6"]);
        assert!(text.contains("webrtc_box_call_setup_seconds_sum{path=\"relay-tls\"} 3660.502\n"), "{text}");
        assert!(text.contains("webrtc_box_call_setup_seconds_count{path=\"direct\"} 0\n"), "{text}");
    }

    #[test]
    fn every_series_exists_before_its_first_event() {
        let metrics = HttpMetrics::default();
        let before = text(&metrics).lines().count();
        metrics.count(&Event::JoinRefused(Refusal::ShuttingDown));
        metrics.count(&Event::Joined { resumed: true });
        metrics.count(&Event::WaitEnded(WaitOutcome::Declined));
        metrics.count_handshake(Handshake::TimedOut);
        let text = text(&metrics);
        assert_eq!(text.lines().count(), before);
        assert!(text.contains("webrtc_box_join_refusals_total{code=\"shutting-down\"} 1\n"), "{text}");
        assert!(text.contains("webrtc_box_joins_total{outcome=\"resumed\"} 1\n"), "{text}");
        assert!(text.contains("webrtc_box_waits_total{outcome=\"declined\"} 1\n"), "{text}");
        assert!(text.contains("webrtc_box_tls_handshakes_total{outcome=\"timeout\"} 1\n"), "{text}");
    }
}
