//! Samples, their medians, and the report: a table on standard output and JSON in a file.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value as Json, json};

use super::cases::Case;

/// One measurement of relayed packets.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    pub sent: u64,
    pub received: u64,
    /// Packets that arrived after a later one of their flow, or twice.
    pub disordered: u64,
    pub seconds: f64,
    pub cpu_nanos: u64,
    /// From send to receipt, in nanoseconds; sorted.
    pub delays: Vec<u32>,
}

impl Sample {
    pub fn rate(&self) -> f64 {
        self.received as f64 / self.seconds
    }

    pub fn loss(&self) -> f64 {
        1.0 - self.received as f64 / self.sent.max(1) as f64
    }

    /// CPU time of the server per received packet, in nanoseconds.
    pub fn cost(&self) -> f64 {
        self.cpu_nanos as f64 / self.received.max(1) as f64
    }

    /// The part of a core that the server used, 0 to 1.
    pub fn busy(&self) -> f64 {
        self.cpu_nanos as f64 / (self.seconds * 1e9)
    }

    /// The quantile `part` of the delays, in microseconds.
    pub fn delay(&self, part: f64) -> f64 {
        let index = (self.delays.len() as f64 * part) as usize;
        self.delays
            .get(index.min(self.delays.len().saturating_sub(1)))
            .map_or(f64::NAN, |nanos| f64::from(*nanos) / 1e3)
    }
}

/// The median and the extremes of several rounds.
#[derive(Clone, Copy, Debug)]
pub struct Median {
    pub middle: f64,
    pub least: f64,
    pub most: f64,
}

impl Median {
    /// Of at least one value.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let half = values.len() / 2;
        let middle =
            if values.len() % 2 == 1 { values[half] } else { (values[half - 1] + values[half]) / 2.0 };
        Self { middle, least: values[0], most: values[values.len() - 1] }
    }
}

/// The outcome of a case.
pub enum Outcome {
    /// The samples of each target, round by round.
    Packets(Vec<(String, Vec<Sample>)>),
    /// Single values, round by round.
    Values(Vec<Value>),
}

pub struct Value {
    pub target: String,
    pub measure: String,
    pub value: f64,
}

pub struct Report {
    rounds: usize,
    seconds: f64,
    cases: Vec<Json>,
}

impl Report {
    pub fn new(rounds: usize, seconds: f64) -> Self {
        println!(
            "{rounds} rounds of {seconds} s; medians, least–most in parentheses; ratios are medians of the ratios \
             within rounds"
        );
        Self { rounds, seconds, cases: Vec::new() }
    }

    /// Prints the outcome of a case and keeps it for [`Self::write`].
    pub fn add(&mut self, case: &Case, outcome: Outcome) {
        println!("\n{}", case.name);
        let rows = match outcome {
            Outcome::Packets(samples) => packet_rows(&samples),
            Outcome::Values(values) => value_rows(&values),
        };
        self.cases.push(json!({ "case": case.name, "rows": rows }));
    }

    pub fn write(&self, path: &Path) {
        let all = json!({ "rounds": self.rounds, "seconds": self.seconds, "cases": self.cases });
        let written = std::fs::write(path, serde_json::to_vec_pretty(&all).unwrap());
        match written {
            Ok(()) => println!("\nJSON: {}", path.display()),
            Err(error) => println!("\ncannot write JSON to {}: {error}", path.display()),
        }
    }
}

fn packet_rows(samples: &[(String, Vec<Sample>)]) -> Vec<Json> {
    println!(
        "  {:<20} {:>9} {:>7} {:>5} {:>24} {:>8} {:>8} {:>8}   box/this: CPU  p50  p99",
        "", "packets/s", "lost %", "busy", "CPU ns/packet", "p50 µs", "p99 µs", "p99.9"
    );
    let ours = samples.first().map(|(_, ours)| ours.as_slice()).unwrap_or_default();
    samples.iter().map(|(target, theirs)| packet_row(target, theirs, ours)).collect()
}

fn packet_row(target: &str, samples: &[Sample], ours: &[Sample]) -> Json {
    let median = |of: &dyn Fn(&Sample) -> f64| Median::of(samples.iter().map(of));
    let ratio = |of: &dyn Fn(&Sample) -> f64| {
        Median::of(ours.iter().zip(samples).map(|(ours, theirs)| of(ours) / of(theirs))).middle
    };
    let (rate, loss, busy) = (median(&Sample::rate), median(&Sample::loss), median(&Sample::busy));
    let cost = median(&Sample::cost);
    let delays = [0.5, 0.99, 0.999].map(|part| median(&|sample| sample.delay(part)));
    let ratios =
        [ratio(&Sample::cost), ratio(&|sample| sample.delay(0.5)), ratio(&|sample| sample.delay(0.99))];
    let spread = format!("{:.0} ({:.0}–{:.0})", cost.middle, cost.least, cost.most);
    println!(
        "  {target:<20} {:>9.0} {:>7.3} {:>5.2} {spread:>24} {:>8.1} {:>8.1} {:>8.1}   {:>13.2} {:>4.2} {:>4.2}",
        rate.middle,
        loss.middle * 100.0,
        busy.middle,
        delays[0].middle,
        delays[1].middle,
        delays[2].middle,
        ratios[0],
        ratios[1],
        ratios[2],
    );
    json!({
        "target": target,
        "packets_per_second": rate.middle,
        "loss": loss.middle,
        "busy": busy.middle,
        "cpu_ns_per_packet": { "median": cost.middle, "least": cost.least, "most": cost.most },
        "delay_us": { "p50": delays[0].middle, "p99": delays[1].middle, "p99.9": delays[2].middle },
        "box_to_this": { "cpu": ratios[0], "p50": ratios[1], "p99": ratios[2] },
    })
}

fn value_rows(values: &[Value]) -> Vec<Json> {
    let mut sorted: BTreeMap<(usize, &str), Vec<f64>> = BTreeMap::new();
    let mut names: Vec<(&str, &str)> = Vec::new();
    for value in values {
        let name = (value.measure.as_str(), value.target.as_str());
        let index = names.iter().position(|known| *known == name).unwrap_or_else(|| {
            names.push(name);
            names.len() - 1
        });
        sorted.entry((index, &value.target)).or_default().push(value.value);
    }
    let medians: Vec<_> = sorted.into_values().map(Median::of).collect();
    let row = |((measure, target), median): (&(&str, &str), &Median)| {
        // webrtc-box is the first target.
        let ours = names
            .iter()
            .position(|(name, _)| name == measure)
            .map_or(f64::NAN, |index| medians[index].middle);
        let ratio = ours / median.middle;
        let compared = names.iter().filter(|(name, _)| name == measure).count() > 1;
        let ratio_text = if compared { format!("   box/this {ratio:.2}") } else { String::new() };
        println!(
            "  {target:<22} {measure:<28} {:>12.2} ({:.2}–{:.2}){ratio_text}",
            median.middle, median.least, median.most
        );
        json!({
            "target": target, "measure": measure, "median": median.middle, "least": median.least,
            "most": median.most, "box_to_this": ratio,
        })
    };
    names.iter().zip(&medians).map(row).collect()
}
