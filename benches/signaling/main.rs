//! What signaling costs, beside the minimal example that people start from: CPU time for a connection,
//! a pair and a candidate, and memory for a connection. `README.md` says how it is measured.
//!
//! ```sh
//! cargo bench --bench signaling [-- [--short] [--rounds N] [--only NAME] [--json FILE]]
//! ```
#![allow(clippy::print_stdout, reason = "it prints a table")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "what fails here ends the bench, and says where")]

mod client;
mod contestant;
mod crowd;
mod dialect;
mod example;
mod figures;
mod round;
mod server;
mod table;

use std::path::PathBuf;
use std::time::Instant;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use contestant::Contestant;
use figures::{Figures, Sample};
use round::Size;

/// Where the JSON goes unless `--json` says otherwise.
const JSON: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/signaling.json");

/// What was typed.
struct Wish {
    size: Size,
    rounds: usize,
    only: Option<String>,
    json: PathBuf,
}

fn main() {
    // `cargo test --all-targets` starts benches too, without this; there is nothing to test here.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        return println!("a bench: cargo bench --bench signaling");
    }
    let wish = wish(&arguments);
    more_files();
    example::install();
    let contestants: Vec<Contestant> = Contestant::ALL
        .into_iter()
        .filter(|contestant| wish.only.as_deref().is_none_or(|only| contestant.key().contains(only)))
        .collect();
    let mut figures: Vec<Figures> = contestants.iter().map(|contestant| Figures::of(*contestant)).collect();
    let started = Instant::now();
    for round in 1..=wish.rounds {
        // One after the other within each round, so that a busy minute of the host meets all of them.
        for (contestant, figures) in contestants.iter().zip(&mut figures) {
            let sample = measure(*contestant, &wish.size);
            println!("round {round}/{}, {}: {sample}", wish.rounds, contestant.key());
            figures.add(sample);
        }
    }
    table::print(&figures, &wish.size);
    table::write(&wish.json, &figures, &wish.size);
    println!("\n{} s; JSON in {}", started.elapsed().as_secs(), wish.json.display());
}

/// One round of one contestant. The load is driven from one thread, so that it takes one core at most.
fn measure(contestant: Contestant, size: &Size) -> Sample {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(round::play(contestant, size))
}

fn wish(arguments: &[String]) -> Wish {
    let after = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        Some(arguments.get(at + 1).unwrap_or_else(|| panic!("{name} takes a value")).clone())
    };
    let short = arguments.iter().any(|argument| argument == "--short");
    let rounds = after("--rounds").map(|rounds| rounds.parse().expect("--rounds takes a number"));
    Wish {
        size: if short { Size::short() } else { Size::full() },
        rounds: rounds.unwrap_or(if short { 1 } else { 7 }),
        only: after("--only"),
        json: after("--json").map_or_else(|| PathBuf::from(JSON), PathBuf::from),
    }
}

/// Thousands of sockets here and in the servers, which inherit the limit.
fn more_files() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
}
