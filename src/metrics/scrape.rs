//! Writes metrics that are read at scrape time: each with its name, help text and values.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// Writes metrics to the output of a scrape.
#[derive(Debug)]
pub(super) struct ScrapeWriter<'s>(DescriptorEncoder<'s>);

/// A metric with a value for each combination of its labels.
#[derive(Debug)]
pub(super) struct FamilyWriter<'s, const N: usize> {
    encoder: MetricEncoder<'s>,
    labels: [&'static str; N],
}

impl<'s> ScrapeWriter<'s> {
    pub(super) fn new(encoder: DescriptorEncoder<'s>) -> Self {
        Self(encoder)
    }

    /// A gauge.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    /// A counter; `_total` is appended to the name.
    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        encoder.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    /// A counter of seconds.
    pub(super) fn seconds_total(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        encoder.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    pub(super) fn gauges<'f, const N: usize>(
        &'f mut self,
        name: &'f str,
        help: &str,
        labels: [&'static str; N],
    ) -> Result<FamilyWriter<'f, N>, fmt::Error> {
        Ok(FamilyWriter { encoder: self.0.encode_descriptor(name, help, None, MetricType::Gauge)?, labels })
    }

    pub(super) fn counters<'f, const N: usize>(
        &'f mut self,
        name: &'f str,
        help: &str,
        labels: [&'static str; N],
    ) -> Result<FamilyWriter<'f, N>, fmt::Error> {
        Ok(FamilyWriter { encoder: self.0.encode_descriptor(name, help, None, MetricType::Counter)?, labels })
    }
}

impl<const N: usize> FamilyWriter<'_, N> {
    pub(super) fn gauge(&mut self, labels: [&str; N], value: impl EncodeGaugeValue) -> fmt::Result {
        let set = self.set(labels);
        self.encoder.encode_family(&set)?.encode_gauge(&value)
    }

    pub(super) fn counter(&mut self, labels: [&str; N], value: u64) -> fmt::Result {
        let set = self.set(labels);
        self.encoder.encode_family(&set)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    fn set<'l>(&self, labels: [&'l str; N]) -> [(&'static str, &'l str); N] {
        std::array::from_fn(|at| (self.labels[at], labels[at]))
    }
}
