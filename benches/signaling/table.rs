//! The figures for people and for programs.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::contestant::Contestant;
use crate::figures::{Figures, MEASURES, Spread};
use crate::round::Size;

/// Prints one line for each measure: medians, the extremes behind them, and the ratio to the example.
pub(crate) fn print(figures: &[Figures], size: &Size) {
    println!("\nmedian (least–most), and its ratio to {}; {size:?}\n", Contestant::Example.key());
    let heads = figures.iter().map(|figures| format!(" {:>32} |", figures.contestant.key()));
    println!("| {:44} |{}", "", heads.collect::<String>());
    println!("|{}|{}", "-".repeat(46), format!("{}:|", "-".repeat(33)).repeat(figures.len()));
    for (index, (_, name, unit)) in MEASURES.iter().enumerate() {
        let cells = figures.iter().map(|one| format!(" {:>32} |", cell(one, index, example(figures, index))));
        println!("| {:44} |{}", format!("{name}, {unit}"), cells.collect::<String>());
    }
}

fn cell(figures: &Figures, index: usize, example: Option<Spread>) -> String {
    let Some(Spread { least, median, most }) = figures.spread(index) else { return "–".to_owned() };
    let own = format!("{median:.1} ({least:.1}–{most:.1})");
    match example {
        Some(example) if figures.contestant != Contestant::Example => {
            format!("{own} ×{:.3}", median / example.median)
        }
        _ => own,
    }
}

fn example(figures: &[Figures], index: usize) -> Option<Spread> {
    figures.iter().find(|one| one.contestant == Contestant::Example)?.spread(index)
}

/// Writes everything, each sample too, as JSON.
pub(crate) fn write(path: &Path, figures: &[Figures], size: &Size) {
    let contestants: serde_json::Map<String, Value> = figures
        .iter()
        .map(|one| {
            let measures: serde_json::Map<String, Value> = MEASURES
                .iter()
                .enumerate()
                .filter_map(|(index, (key, _, unit))| {
                    let Spread { least, median, most } = one.spread(index)?;
                    let ratio = example(figures, index).map(|example| median / example.median);
                    let measure = json!({
                        "unit": unit, "median": median, "least": least, "most": most,
                        "ratio_to_example": ratio, "samples": one.samples(index),
                    });
                    Some(((*key).to_owned(), measure))
                })
                .collect();
            (one.contestant.key().to_owned(), measures.into())
        })
        .collect();
    let report = json!({
        "bench": "signaling", "connections": size.connections, "talkers": size.talkers,
        "paced_each": size.paced, "groups_each": size.groups, "flat_out_each": size.flat_out, "contestants": contestants,
    });
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).unwrap();
    }
    fs::write(path, format!("{report:#}\n")).unwrap();
}
