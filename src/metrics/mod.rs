//! `/metrics`: the counters of the process in Prometheus' text format (version 0.0.4).
//!
//! The HTTP server's counters are `prometheus-client` types, defined in `http/metrics.rs`. All others are read at scrape
//! time. Names follow Prometheus' conventions: base units, `_total` for counters. Labels come from closed sets, so clients
//! cannot create series.

mod process;
mod relay;
mod scrape;

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Instant, SystemTime};

use axum::Router;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::prometheus_text;
use prometheus_client::registry::Registry;

use webrtc_box_relay::Relay;
use webrtc_box_relay::health::{HealthMonitor, HeartbeatReport, Status};

use self::scrape::ScrapeWriter;
use crate::http::{AdminPages, ComponentHealth, HealthReport, HttpServer, admin_routes};
use crate::tls::ActiveCertificate;

/// What the metrics and the detailed health are read from. Cheap to clone.
#[derive(Clone, Debug)]
pub struct MetricsSources {
    http: HttpServer,
    relay: Option<Weak<Relay>>,
    hearts: HealthMonitor,
    certificate: Arc<ActiveCertificate>,
    started: SystemTime,
}

/// The routes of the metrics listener.
pub fn routes(sources: MetricsSources) -> Router {
    let mut registry = Registry::default();
    sources.http.register_metrics(&mut registry);
    registry.register_collector(Box::new(sources.clone()));
    admin_routes(AdminPages {
        health: Box::new(move || sources.health_report()),
        metrics: Box::new(move || (prometheus_text::CONTENT_TYPE, encode(&registry))),
    })
}

fn encode(registry: &Registry) -> String {
    let mut text = String::with_capacity(16 * 1024);
    match prometheus_text::encode(&mut text, registry) {
        Ok(()) => text,
        // Writing to a string cannot fail.
        Err(fmt::Error) => String::new(),
    }
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
        process::write(&mut out, self.started)
    }
}

impl MetricsSources {
    /// The sources of a server that starts now.
    pub fn new(
        http: &HttpServer,
        relay: Option<&Arc<Relay>>,
        hearts: HealthMonitor,
        certificate: &Arc<ActiveCertificate>,
    ) -> Self {
        let (http, relay, certificate) = (http.clone(), relay.map(Arc::downgrade), Arc::clone(certificate));
        Self { http, relay, hearts, certificate, started: SystemTime::now() }
    }

    fn health_report(&self) -> HealthReport {
        let (rooms, seats) = self.http.count();
        let relay = self.relay.as_ref().and_then(Weak::upgrade);
        let stalled = self.hearts.unresponsive().map(|names| format!("does not turn any more: {names}"));
        let faults = relay.as_ref().map_or_else(Vec::new, |relay| relay.faults());
        let relay_down = relay.as_ref().is_some_and(|relay| relay.is_down()).then(|| faults.join("; "));
        let why = stalled.or(relay_down);
        let component =
            |report: HeartbeatReport| ComponentHealth { up: report.state == Status::Ok, name: report.name };
        let all = self.hearts.reports(Instant::now()).into_iter().map(component);
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
        out.gauge("webrtc_box_websockets", "Open WebSockets", self.http.websockets() as u64)
    }

    fn write_heartbeats(&self, out: &mut ScrapeWriter<'_>) -> fmt::Result {
        let relay = self.relay.as_ref().and_then(Weak::upgrade);
        let up = self.hearts.unresponsive().is_none() && !relay.is_some_and(|relay| relay.is_down());
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
        let vitals = self.hearts.reports(Instant::now());
        vitals.iter().try_for_each(|report| lags.gauge([&report.name], report.lag.as_secs_f64()))
    }

    fn write_certificate(&self, out: &mut ScrapeWriter<'_>) -> fmt::Result {
        let summary = self.certificate.summary();
        out.gauge(
            "webrtc_box_certificate_expiry_timestamp_seconds",
            "Expiry of the active certificate since the Unix epoch; 0: none",
            summary.expiry().unwrap_or(0),
        )?;
        out.gauge(
            "webrtc_box_certificate_failing",
            "Whether the last renewal or reload of the certificate failed",
            u64::from(summary.fault.is_some() || summary.upkeep.is_some()),
        )?;
        out.counter(
            "webrtc_box_certificate_renewals",
            "Certificates activated since the start",
            summary.renewals,
        )
    }
}
