//! The measures with one sample per round, and their report: median and extremes as a table and as JSON.

use std::fmt;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::round::Size;
use crate::servers::Target;

/// The measures, in the order of the table: key, name, unit.
pub(crate) const MEASURES: [(&str, &str, &str); 9] = [
    ("connection", "connection opened", "µs CPU"),
    ("handshake", "  of which TLS", "µs CPU"),
    ("pair_paced", "pair joined, one at a time", "µs CPU"),
    ("pair_concurrent", "pair joined, concurrently", "µs CPU"),
    ("candidate_paced", "candidate forwarded, one at a time", "µs CPU"),
    ("candidate_groups", "candidate forwarded, eight at a time", "µs CPU"),
    ("candidate_unpaced", "candidate forwarded, unpaced", "µs CPU"),
    ("open_kib", "connection open", "KiB"),
    ("joined_kib", "connection joined", "KiB"),
];

/// The values of one round, in the order and units of [`MEASURES`]; `None` if a measure does not apply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample(pub(crate) [Option<f64>; MEASURES.len()]);

/// All samples of one target.
pub(crate) struct Results {
    pub(crate) target: Target,
    samples: Vec<Sample>,
}

/// The median and the extremes of samples.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) most: f64,
}

impl Results {
    pub(crate) fn of(target: Target) -> Self {
        Self { target, samples: Vec::new() }
    }

    pub(crate) fn add(&mut self, sample: Sample) {
        self.samples.push(sample);
    }

    /// The spread of the measure at `index` in [`MEASURES`].
    pub(crate) fn spread(&self, index: usize) -> Option<Spread> {
        let mut values: Vec<f64> = self.samples.iter().filter_map(|sample| sample.0[index]).collect();
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Spread { least, median, most })
    }

    /// The measure at `index`, round by round.
    pub(crate) fn samples(&self, index: usize) -> Vec<Option<f64>> {
        self.samples.iter().map(|sample| sample.0[index]).collect()
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((key, _, _), value) in MEASURES.iter().zip(self.0) {
            if let Some(value) = value {
                write!(f, "{key} {value:.1}  ")?;
            }
        }
        Ok(())
    }
}

/// Prints one line per measure: median, extremes, and the ratio to the example.
pub(crate) fn print(results: &[Results], size: &Size) {
    println!("\nmedian (least–most), and its ratio to {}; {size:?}\n", Target::Example.key());
    let titles = results.iter().map(|results| format!(" {:>32} |", results.target.key()));
    println!("| {:44} |{}", "", titles.collect::<String>());
    println!("|{}|{}", "-".repeat(46), format!("{}:|", "-".repeat(33)).repeat(results.len()));
    for (index, (_, name, unit)) in MEASURES.iter().enumerate() {
        let cells = results.iter().map(|one| format!(" {:>32} |", cell(one, index, example(results, index))));
        println!("| {:44} |{}", format!("{name}, {unit}"), cells.collect::<String>());
    }
}

fn cell(results: &Results, index: usize, example: Option<Spread>) -> String {
    let Some(Spread { least, median, most }) = results.spread(index) else { return "–".to_owned() };
    let own = format!("{median:.1} ({least:.1}–{most:.1})");
    match example {
        Some(example) if results.target != Target::Example => {
            format!("{own} ×{:.3}", median / example.median)
        }
        _ => own,
    }
}

fn example(results: &[Results], index: usize) -> Option<Spread> {
    results.iter().find(|one| one.target == Target::Example)?.spread(index)
}

/// Writes all results and samples as JSON.
pub(crate) fn write(path: &Path, results: &[Results], size: &Size) {
    let targets: serde_json::Map<String, Value> = results
        .iter()
        .map(|one| {
            let measures: serde_json::Map<String, Value> = MEASURES
                .iter()
                .enumerate()
                .filter_map(|(index, (key, _, unit))| {
                    let Spread { least, median, most } = one.spread(index)?;
                    let ratio = example(results, index).map(|example| median / example.median);
                    let measure = json!({
                        "unit": unit, "median": median, "least": least, "most": most,
                        "ratio_to_example": ratio, "samples": one.samples(index),
                    });
                    Some(((*key).to_owned(), measure))
                })
                .collect();
            (one.target.key().to_owned(), measures.into())
        })
        .collect();
    let report = json!({
        "bench": "signaling", "connections": size.connections, "senders": size.senders,
        "paced_each": size.paced, "groups_each": size.groups, "unpaced_each": size.unpaced, "targets": targets,
    });
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).unwrap();
    }
    fs::write(path, format!("{report:#}\n")).unwrap();
}
