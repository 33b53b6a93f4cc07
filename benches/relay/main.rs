//! The cost of a relayed packet in webrtc-box, in coturn, and in a baseline without protocol, measured in one run.
//!
//! `cargo bench --bench relay` measures all cases with a goal, `-- --short` is a smoke test of less than two minutes, and
//! `-- --help` lists all options. `benches/README.md` has the results.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failure ends the bench with its location")]
#![allow(clippy::print_stdout, unreachable_pub, reason = "it prints a table; all modules are private")]

mod baseline;
mod cases;
mod client;
mod client_costs;
mod load;
mod results;
mod scenarios;
mod servers;
mod transport;

use std::process::Command;

use clap::Parser;

use cases::{Case, Subject};
use results::Report;
use servers::{Servers, Target};

/// The cost of a relayed packet in webrtc-box, in coturn, and in a baseline without protocol.
#[derive(Parser)]
struct Flags {
    /// One short round of a few cases, in less than two minutes.
    #[arg(long)]
    short: bool,
    /// Number of rounds; the targets alternate within each.
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds per measurement.
    #[arg(long)]
    seconds: Option<f64>,
    /// Measure only cases whose name contains this text; repeatable.
    #[arg(long = "case", value_name = "TEXT")]
    cases: Vec<String>,
    /// Measure every combination, not only the cases with a goal.
    #[arg(long)]
    all: bool,
    /// Also measure this build of coturn; repeatable.
    #[arg(long = "coturn", value_name = "NAME=PATH")]
    coturn: Vec<String>,
    /// The program to measure instead of the one that cargo built.
    #[arg(long)]
    box_bin: Option<std::path::PathBuf>,
    /// The file for the results as JSON.
    #[arg(long, default_value = "target/bench-relay.json")]
    json: std::path::PathBuf,
    /// Only list the names of the cases.
    #[arg(long)]
    list: bool,
    /// Run the baseline server.
    #[arg(long, hide = true)]
    baseline: bool,
    /// An argument that `cargo bench` passes to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// The core of the servers; the load generator uses the other one.
pub const SERVER_CORE: &str = "0";
const LOAD_CORE: &str = "1";

fn main() {
    let flags = Flags::parse();
    if flags.baseline {
        return baseline::run();
    }
    let cases = selected_cases(&flags);
    if flags.list {
        return cases.iter().for_each(|case| println!("{}", case.name));
    }
    pin_to(LOAD_CORE);
    transport::raise_file_limit().expect("the limit on open files can be raised");
    let rounds = flags.rounds.unwrap_or(if flags.short { 1 } else { 7 });
    let seconds = flags.seconds.unwrap_or(if flags.short { 0.5 } else { 1.5 });
    let mut servers = Servers::new(targets(&flags));
    let mut report = Report::new(rounds, seconds);
    for case in &cases {
        let outcome = match &case.subject {
            Subject::Packets(load) => load::compare(&mut servers, load, rounds, seconds),
            Subject::ClientCost(cost) => client_costs::compare(&mut servers, *cost, rounds, flags.short),
            Subject::Scenario(scenario) => scenarios::compare(&servers, *scenario, rounds, seconds),
        };
        report.add(case, outcome);
    }
    report.write(&flags.json);
}

fn selected_cases(flags: &Flags) -> Vec<Case> {
    let mut cases = if flags.short {
        cases::short()
    } else if flags.all {
        cases::all()
    } else {
        cases::with_goal()
    };
    let wanted = |case: &Case| flags.cases.iter().any(|text| case.name.contains(text.as_str()));
    cases.retain(|case| flags.cases.is_empty() || wanted(case));
    cases
}

fn targets(flags: &Flags) -> Vec<Target> {
    let ours = flags.box_bin.clone().unwrap_or_else(|| env!("CARGO_BIN_EXE_webrtc-box").into());
    // Each server runs in its own folder.
    let ours = std::path::absolute(ours).expect("a path");
    let mut targets = vec![Target::WebrtcBox(ours), Target::Baseline];
    if Command::new("turnserver").arg("--version").output().is_ok() {
        targets.push(Target::Coturn {
            name: "coturn 4.6.1".into(),
            program: "turnserver".into(),
            batching: false,
        });
    } else {
        println!("coturn is not installed; the table does not include it");
    }
    for named in &flags.coturn {
        let (name, path) = named.split_once('=').expect("--coturn NAME=PATH");
        for batching in [false, true] {
            let name = if batching { format!("{name} mux+gso") } else { name.to_owned() };
            targets.push(Target::Coturn { name, program: path.into(), batching });
        }
    }
    targets
}

/// Pins this process, and the processes that it starts, to one core.
fn pin_to(core: &str) {
    let pid = std::process::id().to_string();
    let pinned = Command::new("taskset").args(["-cp", core, &pid]).output();
    if !pinned.is_ok_and(|output| output.status.success()) {
        println!("warning: taskset failed; the load generator is not pinned to a core");
    }
}
