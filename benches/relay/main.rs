//! The relay side by side with coturn and with a floor: what a packet costs each of them, in one run.
//!
//! `cargo bench --bench relay` runs the whole table, `-- --short` a smoke test of under two minutes.
//! `-- --help` lists the rest. What was measured stands in `benches/README.md`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench ends where something is not as it should be; clippy knows only functions marked as tests"
)]
#![allow(clippy::print_stdout, unreachable_pub, reason = "figures are printed; all modules are private")]

mod cases;
mod client;
mod figures;
mod floor;
mod house;
mod load;
mod scenes;
mod standing;
mod table;
mod wire;

use std::process::Command;

use clap::Parser;

use cases::{Case, Quantity};
use house::{Contestant, Houses};
use table::Report;

/// What a packet costs webrtc-box, coturn and a floor that knows no protocol.
#[derive(Parser)]
struct Flags {
    /// Under two minutes: one short round of a few cases.
    #[arg(long)]
    short: bool,
    /// Rounds; the contestants take turns in each.
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds of each measurement.
    #[arg(long)]
    seconds: Option<f64>,
    /// Only cases whose name contains one of these texts.
    #[arg(long = "case", value_name = "TEXT")]
    cases: Vec<String>,
    /// Every combination, not only those that the targets name.
    #[arg(long)]
    all: bool,
    /// A build of another coturn to stand beside Debian's; repeatable as NAME=PATH.
    #[arg(long = "coturn", value_name = "NAME=PATH")]
    coturn: Vec<String>,
    /// The program to measure; else the one that cargo built.
    #[arg(long)]
    box_bin: Option<std::path::PathBuf>,
    /// Where the figures go as JSON.
    #[arg(long, default_value = "target/bench-relay.json")]
    json: std::path::PathBuf,
    /// Names of the cases, and nothing else.
    #[arg(long)]
    list: bool,
    /// Be the floor, and nothing else.
    #[arg(long, hide = true)]
    floor: bool,
    /// What cargo bench says to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// The servers' core; the load has the other one.
pub const SERVER_CORE: &str = "0";
const LOAD_CORE: &str = "1";

fn main() {
    let flags = Flags::parse();
    if flags.floor {
        return floor::run();
    }
    let cases = chosen(&flags);
    if flags.list {
        return cases.iter().for_each(|case| println!("{}", case.name));
    }
    pin_to(LOAD_CORE);
    wire::many_descriptors().expect("more descriptors");
    let rounds = flags.rounds.unwrap_or(if flags.short { 1 } else { 7 });
    let seconds = flags.seconds.unwrap_or(if flags.short { 0.5 } else { 1.5 });
    let mut houses = Houses::new(contestants(&flags));
    let mut report = Report::new(rounds, seconds);
    for case in &cases {
        let outcome = match &case.quantity {
            Quantity::Packets(load) => load::compare(&mut houses, load, rounds, seconds),
            Quantity::Standing(standing) => standing::compare(&mut houses, *standing, rounds, flags.short),
            Quantity::Scene(scene) => scenes::compare(&mut houses, *scene, rounds, seconds),
        };
        report.add(case, outcome);
    }
    report.write(&flags.json);
}

fn chosen(flags: &Flags) -> Vec<Case> {
    let mut cases = if flags.short {
        cases::short()
    } else if flags.all {
        cases::all()
    } else {
        cases::targets()
    };
    let wanted = |case: &Case| flags.cases.iter().any(|text| case.name.contains(text.as_str()));
    cases.retain(|case| flags.cases.is_empty() || wanted(case));
    cases
}

fn contestants(flags: &Flags) -> Vec<Contestant> {
    let ours = flags.box_bin.clone().unwrap_or_else(|| env!("CARGO_BIN_EXE_webrtc-box").into());
    // Servers run in folders of their own.
    let ours = std::path::absolute(ours).expect("a path");
    let mut contestants = vec![Contestant::Box(ours), Contestant::Floor];
    if Command::new("turnserver").arg("--version").output().is_ok() {
        contestants.push(Contestant::Coturn {
            name: "coturn 4.6.1".into(),
            program: "turnserver".into(),
            lean: false,
        });
    } else {
        println!("Debian's coturn is not installed: it is missing from this table");
    }
    for named in &flags.coturn {
        let (name, path) = named.split_once('=').expect("--coturn NAME=PATH");
        for lean in [false, true] {
            let name = if lean { format!("{name} mux+gso") } else { name.to_owned() };
            contestants.push(Contestant::Coturn { name, program: path.into(), lean });
        }
    }
    contestants
}

/// Keeps this process, and what it starts, on one core.
fn pin_to(core: &str) {
    let pid = std::process::id().to_string();
    let pinned = Command::new("taskset").args(["-cp", core, &pid]).output();
    if !pinned.is_ok_and(|output| output.status.success()) {
        println!("note: not pinned to a core: taskset failed");
    }
}
