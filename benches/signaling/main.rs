//! The cost of signaling, compared with a minimal Node example: CPU time per connection, pair and candidate, and memory per
//! connection. `README.md` describes the method.
//!
//! ```sh
//! cargo bench --bench signaling [-- [--short] [--rounds N] [--only NAME] [--json FILE]]
//! ```
#![allow(clippy::print_stdout, reason = "it prints a table")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a failure ends the bench with its location")]

mod client;
mod clients;
mod dialect;
mod results;
mod round;
mod servers;

use std::path::PathBuf;
use std::time::Instant;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use results::{Results, Sample};
use round::Size;
use servers::Target;

/// The default of `--json`.
const JSON: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/signaling.json");

/// The command-line options.
struct Options {
    size: Size,
    rounds: usize,
    only: Option<String>,
    json: PathBuf,
}

fn main() {
    // `cargo test --all-targets` starts benches without `--bench`; there is nothing to test.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        return println!("a bench: cargo bench --bench signaling");
    }
    let options = options(&arguments);
    raise_file_limit();
    servers::install_example();
    let targets: Vec<Target> = Target::ALL
        .into_iter()
        .filter(|target| options.only.as_deref().is_none_or(|only| target.key().contains(only)))
        .collect();
    let mut results: Vec<Results> = targets.iter().map(|target| Results::of(*target)).collect();
    let started = Instant::now();
    for round in 1..=options.rounds {
        // Interleaved, so that other load on the host affects all targets alike.
        for (target, results) in targets.iter().zip(&mut results) {
            let sample = measure(*target, &options.size);
            println!("round {round}/{}, {}: {sample}", options.rounds, target.key());
            results.add(sample);
        }
    }
    results::print(&results, &options.size);
    results::write(&options.json, &results, &options.size);
    println!("\n{} s; JSON in {}", started.elapsed().as_secs(), options.json.display());
}

/// One round of one target. The load generator uses one thread, so it uses at most one core.
fn measure(target: Target, size: &Size) -> Sample {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(round::run(target, size))
}

fn options(arguments: &[String]) -> Options {
    let after = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        Some(arguments.get(at + 1).unwrap_or_else(|| panic!("{name} requires a value")).clone())
    };
    let short = arguments.iter().any(|argument| argument == "--short");
    let rounds = after("--rounds").map(|rounds| rounds.parse().expect("--rounds requires a number"));
    Options {
        size: if short { Size::short() } else { Size::full() },
        rounds: rounds.unwrap_or(if short { 1 } else { 7 }),
        only: after("--only"),
        json: after("--json").map_or_else(|| PathBuf::from(JSON), PathBuf::from),
    }
}

/// Thousands of sockets in this process and in the servers, which inherit the limit.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
}
