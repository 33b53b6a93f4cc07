//! The measures: one sample per round; the median and extremes of several samples.

use std::fmt;

use crate::target::Target;

/// The measures, in the order of the table: key, name, unit.
pub(crate) const MEASURES: [(&str, &str, &str); 9] = [
    ("connection", "connection opened", "µs CPU"),
    ("handshake", "  of which TLS", "µs CPU"),
    ("pair_paced", "pair joined, one at a time", "µs CPU"),
    ("pair_flat_out", "pair joined, concurrently", "µs CPU"),
    ("candidate_paced", "candidate forwarded, one at a time", "µs CPU"),
    ("candidate_groups", "candidate forwarded, eight at a time", "µs CPU"),
    ("candidate_flat_out", "candidate forwarded, unpaced", "µs CPU"),
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
