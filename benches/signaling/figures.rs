//! What is measured: one sample a round, and of several samples the median and the extremes.

use std::fmt;

use crate::contestant::Contestant;

/// The figures, in the order of the table: key, what it is, its unit.
pub(crate) const MEASURES: [(&str, &str, &str); 9] = [
    ("connection", "connection opened", "µs CPU"),
    ("handshake", "  of which TLS", "µs CPU"),
    ("pair_paced", "pair joined, one at a time", "µs CPU"),
    ("pair_flat_out", "pair joined, in a rush", "µs CPU"),
    ("candidate_paced", "candidate forwarded, one at a time", "µs CPU"),
    ("candidate_groups", "candidate forwarded, eight at a time", "µs CPU"),
    ("candidate_flat_out", "candidate forwarded, flat out", "µs CPU"),
    ("open_kib", "connection open", "KiB"),
    ("joined_kib", "connection joined", "KiB"),
];

/// One round's figures, in the order and the units of [`MEASURES`]; `None` where there is nothing
/// to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample(pub(crate) [Option<f64>; MEASURES.len()]);

/// All samples of one contestant.
pub(crate) struct Figures {
    pub(crate) contestant: Contestant,
    samples: Vec<Sample>,
}

/// The middle of some samples and how far they spread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) most: f64,
}

impl Figures {
    pub(crate) fn of(contestant: Contestant) -> Self {
        Self { contestant, samples: Vec::new() }
    }

    pub(crate) fn add(&mut self, sample: Sample) {
        self.samples.push(sample);
    }

    /// Of the measure at `index` in [`MEASURES`].
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
