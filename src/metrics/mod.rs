//! The metrics listener: `/metrics`, the counters of the process in Prometheus' text format (version 0.0.4), and
//! `/healthz` in detail.
//!
//! The HTTP server's counters are `prometheus-client` types, defined in `http/counters.rs`. All others are read at scrape
//! time. Names follow Prometheus' conventions: base units, `_total` for counters. Labels come from closed sets, so clients
//! cannot create series.

mod relay;
mod scrape;

use std::fmt;
use std::fs;
use std::sync::{Arc, Weak};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::prometheus_text;
use prometheus_client::registry::Registry;
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};
use serde::Serialize;

use webrtc_box_relay::Relay;
use webrtc_box_relay::health::{HealthMonitor, HeartbeatReport, Status};

use self::scrape::ScrapeWriter;
use crate::cluster::Cluster;
use crate::http::{HttpServer, health_response};
use crate::tls::ActiveCertificate;

/// What the metrics and the detailed health are read from. Cheap to clone.
#[derive(Clone, Debug)]
pub struct MetricsSources {
    http: HttpServer,
    relay: Option<Weak<Relay>>,
    health_monitor: HealthMonitor,
    certificate: Arc<ActiveCertificate>,
    cluster: Option<Arc<Cluster>>,
    started: SystemTime,
}

/// The state of the request handlers.
struct Pages {
    registry: Registry,
    sources: MetricsSources,
}

/// The health of the server in detail.
#[derive(Serialize)]
struct HealthReport {
    /// `up` or `down`.
    status: &'static str,
    /// Why it is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// Persistent faults that impair the relay.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    faults: Vec<String>,
    /// Rooms with at least one seat taken.
    rooms: usize,
    /// Seats taken.
    seats: usize,
    /// Allocations of the relay.
    allocations: u32,
    listeners: Vec<ComponentHealth>,
    /// The relay workers and the timer of the rooms.
    workers: Vec<ComponentHealth>,
}

/// A component that sends heartbeats.
#[derive(Serialize)]
struct ComponentHealth {
    /// Such as `https [::]:443` or `relay-0`.
    name: String,
    /// Whether it responds.
    up: bool,
}

/// The routes of the metrics listener.
pub fn routes(sources: MetricsSources) -> Router {
    let mut registry = Registry::default();
    sources.http.register_metrics(&mut registry);
    if let Some(cluster) = &sources.cluster {
        cluster.register_metrics(&mut registry);
    }
    registry.register_collector(Box::new(sources.clone()));
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(health))
        .route("/health", get(health))
        .with_state(Arc::new(Pages { registry, sources }))
}

async fn metrics(State(pages): State<Arc<Pages>>) -> Response {
    let mut text = String::with_capacity(16 * 1024);
    if let Err(fmt::Error) = prometheus_text::encode(&mut text, &pages.registry) {
        // Writing to a string cannot fail.
        text.clear();
    }
    let headers =
        [(header::CONTENT_TYPE, prometheus_text::CONTENT_TYPE), (header::CACHE_CONTROL, "no-store")];
    (headers, text).into_response()
}

async fn health(State(pages): State<Arc<Pages>>) -> Response {
    let report = pages.sources.health_report();
    health_response(report.why.is_none(), &report)
}

impl Collector for MetricsSources {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut out = ScrapeWriter::new(encoder);
        self.write_server(&mut out)?;
        self.write_rooms(&mut out)?;
        if let Some(relay) = self.relay.as_ref().and_then(Weak::upgrade) {
            relay::write(&mut out, &relay.stats())?;
            out.gauge(
                "webrtc_box_relay_faults",
                "Persistent faults of the relay: failing receives, relay sockets that cannot be bound",
                relay.faults().len() as u64,
            )?;
        }
        write_process(&mut out, self.started)
    }
}

impl MetricsSources {
    /// The sources of a server that starts now.
    pub fn new(
        http: &HttpServer,
        relay: Option<&Arc<Relay>>,
        health_monitor: HealthMonitor,
        certificate: &Arc<ActiveCertificate>,
        cluster: Option<Arc<Cluster>>,
    ) -> Self {
        let (http, relay, certificate) = (http.clone(), relay.map(Arc::downgrade), Arc::clone(certificate));
        Self { http, relay, health_monitor, certificate, cluster, started: SystemTime::now() }
    }

    fn health_report(&self) -> HealthReport {
        let (rooms, seats) = self.http.count();
        let relay = self.relay.as_ref().and_then(Weak::upgrade);
        let stalled = self.health_monitor.unresponsive().map(|names| format!("does not respond: {names}"));
        let faults = relay.as_ref().map_or_else(Vec::new, |relay| relay.faults());
        let relay_down = relay.as_ref().is_some_and(|relay| relay.is_down()).then(|| faults.join("; "));
        let why = stalled.or(relay_down);
        let component =
            |report: HeartbeatReport| ComponentHealth { up: report.state == Status::Ok, name: report.name };
        let all = self.health_monitor.reports(Instant::now()).into_iter().map(component);
        // Only the name of a listener contains a space, before its address.
        let (listeners, workers) = all.partition(|component| component.name.contains(' '));
        HealthReport {
            status: if why.is_none() { "up" } else { "down" },
            why,
            faults,
            rooms,
            seats,
            allocations: relay.map_or(0, |relay| relay.allocations()),
            listeners,
            workers,
        }
    }

    fn write_server(&self, out: &mut ScrapeWriter<'_>) -> fmt::Result {
        let version = env!("CARGO_PKG_VERSION");
        out.gauges("webrtc_box_build_info", "Always 1; the running version", ["version"])?
            .gauge([version], 1_u64)?;
        self.write_heartbeats(out)?;
        self.write_certificate(out)?;
        out.counter(
            "webrtc_box_log_lines_lost",
            "Log lines lost because the log's reader was too slow",
            crate::log::lost_lines(),
        )
    }

    fn write_rooms(&self, out: &mut ScrapeWriter<'_>) -> fmt::Result {
        let (rooms, seats) = self.http.count();
        out.gauge("webrtc_box_rooms", "Rooms with at least one seat taken", rooms as u64)?;
        out.gauge("webrtc_box_seats", "Seats taken, including disconnected ones", seats as u64)?;
        if let Some(cluster) = &self.cluster {
            out.gauge(
                "webrtc_box_live_boxes",
                "Boxes of the cluster that take rooms, as far as this one knows, itself included",
                cluster.live_boxes() as u64,
            )?;
            out.gauge(
                "webrtc_box_owned_rooms",
                "Rooms that this box owns among several",
                cluster.owned_rooms(),
            )?;
        }
        let sessions = self.http.sessions();
        let mut open = out.gauges("webrtc_box_sessions", "Open sessions, by transport", ["transport"])?;
        sessions.iter().try_for_each(|(transport, count)| open.gauge([*transport], *count as u64))?;
        let websockets: usize =
            sessions.iter().filter(|(label, _)| *label == "websocket").map(|(_, n)| n).sum();
        out.gauge("webrtc_box_websockets", "Open WebSockets", websockets as u64)
    }

    fn write_heartbeats(&self, out: &mut ScrapeWriter<'_>) -> fmt::Result {
        let relay = self.relay.as_ref().and_then(Weak::upgrade);
        let up = self.health_monitor.unresponsive().is_none() && !relay.is_some_and(|relay| relay.is_down());
        out.gauge(
            "webrtc_box_up",
            "Whether all relay workers, listeners and the rooms' timer respond, and the relay works",
            u64::from(up),
        )?;
        let mut lags = out.gauges(
            "webrtc_box_lag_seconds",
            "By how much the heartbeat of a relay worker, a listener or the rooms' timer is late",
            ["name"],
        )?;
        let reports = self.health_monitor.reports(Instant::now());
        reports.iter().try_for_each(|report| lags.gauge([&report.name], report.lag.as_secs_f64()))
    }

    fn write_certificate(&self, out: &mut ScrapeWriter<'_>) -> fmt::Result {
        let status = self.certificate.status();
        out.gauge(
            "webrtc_box_certificate_expiry_timestamp_seconds",
            "Expiry of the active certificate since the Unix epoch; 0: none",
            status.expiry().unwrap_or(0),
        )?;
        out.gauge(
            "webrtc_box_certificate_failing",
            "Whether the last renewal or reload of the certificate failed",
            u64::from(status.renewal_error.is_some() || status.maintenance_error.is_some()),
        )?;
        out.counter(
            "webrtc_box_certificate_renewals",
            "Certificates activated since the start",
            status.renewals,
        )
    }
}

/// The process as the kernel reports it, under the names of Prometheus' client libraries. Values that the kernel does not
/// report are omitted.
fn write_process(out: &mut ScrapeWriter<'_>, started: SystemTime) -> fmt::Result {
    let started = started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    out.gauge("process_start_time_seconds", "Start time of the process since the Unix epoch", started)?;
    if let Some(bytes) = resident_bytes() {
        out.gauge("process_resident_memory_bytes", "Resident memory of the process", bytes)?;
    }
    if let Some(seconds) = cpu_seconds() {
        out.seconds_total("process_cpu_seconds", "User and system CPU time of the process", seconds)?;
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // Without the descriptor of this directory.
        out.gauge("process_open_fds", "Open file descriptors", (open.count() as u64).saturating_sub(1))?;
    }
    match getrlimit(Resource::Nofile).current {
        Some(limit) => out.gauge("process_max_fds", "Limit of open file descriptors", limit),
        None => Ok(()),
    }
}

/// The second field of statm (proc_pid_statm(5)).
fn resident_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * page_size() as u64)
}

/// User and system time, of all threads (proc_pid_stat(5)).
fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name before the parenthesis may contain spaces.
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().ok());
    let ticks: u64 = ticks.sum::<Option<u64>>()?;
    Some(ticks as f64 / clock_ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_reports_this_process() {
        let memory = resident_bytes().unwrap();
        assert!((1 << 20..1 << 40).contains(&memory), "{memory}");
        assert!(cpu_seconds().unwrap() < 1e6);
    }
}
