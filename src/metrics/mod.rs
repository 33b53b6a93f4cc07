//! What a running box counts, as one text in Prometheus' format (version 0.0.4).
//!
//! Whoever counts does so for itself; here the counts are asked for and named when somebody looks, and
//! nothing is kept. Names follow Prometheus' practice: base units, `_total` for what only grows. No
//! series is named by anything a stranger chose.

mod process;
mod relay;
mod sheet;
mod web;

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Instant, SystemTime};

use axum::Router;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::prometheus_text;
use prometheus_client::registry::Registry;

use crate::http::{Overview, Turner, Watched, Web, inside};
use crate::tls::InForce;
use sheet::Sheet;
use webrtc_box_relay::Relay;
use webrtc_box_relay::health::{HealthMonitor, HealthReport, Status};

/// Whom the counts are asked of. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sources {
    web: Web,
    relay: Option<Weak<Relay>>,
    hearts: HealthMonitor,
    certificate: Arc<InForce>,
    begun: SystemTime,
}

/// The pages for who looks after the box.
pub fn pages(sources: Sources) -> Router {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(sources.clone()));
    inside(Watched {
        health: Box::new(move || sources.overview()),
        metrics: Box::new(move || (prometheus_text::CONTENT_TYPE, text(&registry))),
    })
}

fn text(registry: &Registry) -> String {
    let mut text = String::with_capacity(16 * 1024);
    match prometheus_text::encode(&mut text, registry) {
        Ok(()) => text,
        // A text takes whatever is written to it.
        Err(fmt::Error) => String::new(),
    }
}

impl Collector for Sources {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut sheet = Sheet::new(encoder);
        self.box_itself(&mut sheet)?;
        web::write(&mut sheet, &self.web.figures())?;
        if let Some(relay) = self.relay.as_ref().and_then(Weak::upgrade) {
            relay::write(&mut sheet, &relay.stats())?;
            sheet.gauge(
                "webrtc_box_relay_faults",
                "What lasts and keeps the relay from its work: receives that fail, sockets that cannot be bound",
                relay.faults().len() as u64,
            )?;
        }
        process::write(&mut sheet, self.begun)
    }
}

impl Sources {
    /// Of a box that begins now.
    pub fn new(
        web: &Web,
        relay: Option<&Arc<Relay>>,
        hearts: HealthMonitor,
        certificate: &Arc<InForce>,
    ) -> Self {
        let (web, relay, certificate) = (web.clone(), relay.map(Arc::downgrade), Arc::clone(certificate));
        Self { web, relay, hearts, certificate, begun: SystemTime::now() }
    }

    fn overview(&self) -> Overview {
        let (rooms, seats) = self.web.count();
        let relay = self.relay.as_ref().and_then(Weak::upgrade);
        let failing = self.hearts.unresponsive().map(|names| format!("does not turn any more: {names}"));
        let faults = relay.as_ref().map_or_else(Vec::new, |relay| relay.faults());
        let idle = relay.as_ref().is_some_and(|relay| relay.is_down()).then(|| faults.join("; "));
        let why = failing.or(idle);
        let turner = |vital: HealthReport| Turner { up: vital.state == Status::Ok, name: vital.name };
        let all = self.hearts.reports(Instant::now()).into_iter().map(turner);
        // A listener's name has its address.
        let (listeners, workers) = all.partition(|turner| turner.name.contains(' '));
        Overview {
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

    fn box_itself(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let version = env!("CARGO_PKG_VERSION");
        sheet
            .gauges("webrtc_box_build_info", "Always 1; the version that runs", ["version"])?
            .gauge([version], 1_u64)?;
        self.turning(sheet)?;
        self.certificate(sheet)?;
        sheet.counter(
            "webrtc_box_log_lines_lost",
            "Log lines lost because nobody took them in time",
            crate::log::lost_lines(),
        )
    }

    fn turning(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let relay = self.relay.as_ref().and_then(Weak::upgrade);
        let well = self.hearts.unresponsive().is_none() && !relay.is_some_and(|relay| relay.is_down());
        sheet.gauge(
            "webrtc_box_up",
            "Whether every relay worker, every listener and the rooms' timekeeper turns, and the relay relays",
            u64::from(well),
        )?;
        let mut lags = sheet.gauges(
            "webrtc_box_lag_seconds",
            "By how much a relay worker, a listener or the rooms' timekeeper is late to say that it turns",
            ["name"],
        )?;
        let vitals = self.hearts.reports(Instant::now());
        vitals.iter().try_for_each(|vital| lags.gauge([&vital.name], vital.lag.as_secs_f64()))
    }

    fn certificate(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let summary = self.certificate.summary();
        sheet.gauge(
            "webrtc_box_certificate_expiry_timestamp_seconds",
            "When the certificate in force runs out, since 1970; 0: there is none",
            summary.expiry().unwrap_or(0),
        )?;
        sheet.gauge(
            "webrtc_box_certificate_failing",
            "Whether the last one that was to take its place did not",
            u64::from(summary.fault.is_some() || summary.upkeep.is_some()),
        )?;
        sheet.counter(
            "webrtc_box_certificate_renewals",
            "Certificates taken since the start",
            summary.renewals,
        )
    }
}
