//! The results as a table and as JSON.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::results::{MEASURES, Results, Spread};
use crate::round::Size;
use crate::target::Target;

/// Prints one line per measure: median, extremes, and the ratio to the example.
pub(crate) fn print(results: &[Results], size: &Size) {
    println!("\nmedian (least–most), and its ratio to {}; {size:?}\n", Target::Example.key());
    let heads = results.iter().map(|results| format!(" {:>32} |", results.target.key()));
    println!("| {:44} |{}", "", heads.collect::<String>());
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
        "bench": "signaling", "connections": size.connections, "talkers": size.senders,
        "paced_each": size.paced, "groups_each": size.groups, "flat_out_each": size.unpaced, "contestants": targets,
    });
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).unwrap();
    }
    fs::write(path, format!("{report:#}\n")).unwrap();
}
