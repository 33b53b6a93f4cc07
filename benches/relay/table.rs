//! One table for people and one for programs.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value as Json, json};

use super::cases::Case;
use super::figures::{Median, Sample};

/// What a case gave.
pub enum Outcome {
    /// Who moved packets how, round by round.
    Packets(Vec<(String, Vec<Sample>)>),
    /// Single figures, round by round.
    Values(Vec<Value>),
}

pub struct Value {
    pub who: String,
    pub what: String,
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
            "{rounds} rounds of {seconds} s; medians, in brackets least–most; ratios are medians of each round's"
        );
        Self { rounds, seconds, cases: Vec::new() }
    }

    /// Prints it and keeps it.
    pub fn add(&mut self, case: &Case, outcome: Outcome) {
        println!("\n{}", case.name);
        let rows = match outcome {
            Outcome::Packets(samples) => packets(&samples),
            Outcome::Values(values) => single(&values),
        };
        self.cases.push(json!({ "case": case.name, "rows": rows }));
    }

    pub fn write(&self, path: &Path) {
        let all = json!({ "rounds": self.rounds, "seconds": self.seconds, "cases": self.cases });
        let written = std::fs::write(path, serde_json::to_vec_pretty(&all).unwrap());
        match written {
            Ok(()) => println!("\nas JSON: {}", path.display()),
            Err(error) => println!("\nno JSON at {}: {error}", path.display()),
        }
    }
}

fn packets(samples: &[(String, Vec<Sample>)]) -> Vec<Json> {
    println!(
        "  {:<20} {:>9} {:>7} {:>5} {:>24} {:>8} {:>8} {:>8}   box/this: CPU  p50  p99",
        "", "packets/s", "lost %", "busy", "CPU ns/packet", "p50 µs", "p99 µs", "p99.9"
    );
    let ours = samples.first().map(|(_, ours)| ours.as_slice()).unwrap_or_default();
    samples.iter().map(|(who, theirs)| row(who, theirs, ours)).collect()
}

fn row(who: &str, samples: &[Sample], ours: &[Sample]) -> Json {
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
        "  {who:<20} {:>9.0} {:>7.3} {:>5.2} {spread:>24} {:>8.1} {:>8.1} {:>8.1}   {:>13.2} {:>4.2} {:>4.2}",
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
        "who": who,
        "packets_per_second": rate.middle,
        "loss": loss.middle,
        "busy": busy.middle,
        "cpu_ns_per_packet": { "median": cost.middle, "least": cost.least, "most": cost.most },
        "delay_us": { "p50": delays[0].middle, "p99": delays[1].middle, "p99.9": delays[2].middle },
        "box_to_this": { "cpu": ratios[0], "p50": ratios[1], "p99": ratios[2] },
    })
}

fn single(values: &[Value]) -> Vec<Json> {
    let mut sorted: BTreeMap<(usize, &str), Vec<f64>> = BTreeMap::new();
    let mut names: Vec<(&str, &str)> = Vec::new();
    for value in values {
        let name = (value.what.as_str(), value.who.as_str());
        let at = names.iter().position(|known| *known == name).unwrap_or_else(|| {
            names.push(name);
            names.len() - 1
        });
        sorted.entry((at, &value.who)).or_default().push(value.value);
    }
    let medians: Vec<_> = sorted.into_values().map(Median::of).collect();
    let row = |((what, who), median): (&(&str, &str), &Median)| {
        // The box comes first.
        let ours = names.iter().position(|(name, _)| name == what).map_or(f64::NAN, |at| medians[at].middle);
        let ratio = ours / median.middle;
        let beside = names.iter().filter(|(name, _)| name == what).count() > 1;
        let ratio_text = if beside { format!("   box/this {ratio:.2}") } else { String::new() };
        println!(
            "  {who:<22} {what:<28} {:>12.2} ({:.2}–{:.2}){ratio_text}",
            median.middle, median.least, median.most
        );
        json!({
            "who": who, "what": what, "median": median.middle, "least": median.least, "most": median.most,
            "box_to_this": ratio,
        })
    };
    names.iter().zip(&medians).map(row).collect()
}
