//! A sheet that metrics are written on: each with its name, what it means, and its values.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// The sheet.
#[derive(Debug)]
pub(super) struct Sheet<'s>(DescriptorEncoder<'s>);

/// A metric with a value for each combination of its labels.
#[derive(Debug)]
pub(super) struct Family<'s, const N: usize> {
    encoder: MetricEncoder<'s>,
    labels: [&'static str; N],
}

impl<'s> Sheet<'s> {
    pub(super) fn new(encoder: DescriptorEncoder<'s>) -> Self {
        Self(encoder)
    }

    /// What goes up and down.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    /// What only goes up; `_total` is added to the name.
    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        encoder.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    /// Seconds that only go up.
    pub(super) fn seconds_total(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        encoder.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    pub(super) fn gauges<'f, const N: usize>(
        &'f mut self,
        name: &'f str,
        help: &str,
        labels: [&'static str; N],
    ) -> Result<Family<'f, N>, fmt::Error> {
        Ok(Family { encoder: self.0.encode_descriptor(name, help, None, MetricType::Gauge)?, labels })
    }

    pub(super) fn counters<'f, const N: usize>(
        &'f mut self,
        name: &'f str,
        help: &str,
        labels: [&'static str; N],
    ) -> Result<Family<'f, N>, fmt::Error> {
        Ok(Family { encoder: self.0.encode_descriptor(name, help, None, MetricType::Counter)?, labels })
    }

    pub(super) fn histograms<'f, const N: usize>(
        &'f mut self,
        name: &'f str,
        help: &str,
        labels: [&'static str; N],
    ) -> Result<Family<'f, N>, fmt::Error> {
        Ok(Family { encoder: self.0.encode_descriptor(name, help, None, MetricType::Histogram)?, labels })
    }
}

impl<const N: usize> Family<'_, N> {
    pub(super) fn gauge(&mut self, labels: [&str; N], value: impl EncodeGaugeValue) -> fmt::Result {
        let set = self.set(labels);
        self.encoder.encode_family(&set)?.encode_gauge(&value)
    }

    pub(super) fn counter(&mut self, labels: [&str; N], value: u64) -> fmt::Result {
        let set = self.set(labels);
        self.encoder.encode_family(&set)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    /// `buckets`: how many were in each and in no smaller one, by its bound.
    pub(super) fn histogram(&mut self, labels: [&str; N], sum: f64, buckets: &[(f64, u64)]) -> fmt::Result {
        let set = self.set(labels);
        let count = buckets.iter().map(|(_, count)| count).sum();
        self.encoder.encode_family(&set)?.encode_histogram::<NoLabelSet>(sum, count, buckets, None)
    }

    fn set<'l>(&self, labels: [&'l str; N]) -> [(&'static str, &'l str); N] {
        std::array::from_fn(|at| (self.labels[at], labels[at]))
    }
}
