//! The house keeps its shape: pure rooms import nothing that does IO, tells the time or rolls
//! dice, and the two wings never meet except in `start.rs`.
#![allow(clippy::unwrap_used, reason = "a test crate; clippy knows only functions marked as tests")]

use std::fs;
use std::path::{Path, PathBuf};

/// Every source file below `place`, without tests, and its text up to its own tests.
fn sources(place: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(place);
    let mut found = Vec::new();
    if root.is_dir() {
        walk(&root, &mut found);
    } else {
        found.push(root);
    }
    assert!(!found.is_empty(), "{place} is gone; mend this test");
    let without_tests = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
        (path, code)
    };
    found.into_iter().map(without_tests).collect()
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "tests" && name != "scenes" {
            walk(&path, found);
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

/// Lines of code (not comments) in `places` that mention one of `words`.
fn mentions(places: &[&str], words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in places.iter().flat_map(|place| sources(place)) {
        let code = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
        for (number, line) in code {
            if words.iter().any(|word| line.contains(word)) {
                found.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    found
}

const PURE: [&str; 12] = [
    "turn",
    "signaling",
    "seat.rs",
    "credential.rs",
    "addresses.rs",
    "heartbeat.rs",
    "tls/leaf.rs",
    "tls/looks.rs",
    "check/judge",
    "check/report.rs",
    "check/target.rs",
    "tls/acme/schedule.rs",
];

#[test]
fn pure_rooms_do_no_io() {
    let io = [
        "tokio",
        "std::fs",
        "std::io",
        "std::net::Udp",
        "std::net::Tcp",
        "std::thread",
        "socket2",
        "quinn_udp",
        "println",
        "tracing",
    ];
    assert_eq!(mentions(&PURE, &io), Vec::<String>::new());
}

#[test]
fn pure_rooms_read_no_clock_and_roll_no_dice() {
    let chance = ["Instant::now", "SystemTime", "Now::read", "getrandom", "rand::", "std::env"];
    assert_eq!(mentions(&PURE, &chance), Vec::<String>::new());
}

#[test]
fn the_wings_never_meet() {
    assert_eq!(mentions(&["web", "signaling"], &["crate::turn", "crate::relay"]), Vec::<String>::new());
    assert_eq!(mentions(&["turn", "relay"], &["crate::web", "crate::signaling"]), Vec::<String>::new());
}

#[test]
fn the_check_knows_a_box_from_outside_alone() {
    let insides =
        ["crate::start", "crate::web", "crate::relay", "crate::signaling", "turn::server", "turn::register"];
    assert_eq!(mentions(&["check", "greeting.rs"], &insides), Vec::<String>::new());
}

#[test]
fn no_file_has_grown_a_heart() {
    let everywhere = [
        "check",
        "turn",
        "relay",
        "signaling",
        "web",
        "config",
        "start.rs",
        "cli.rs",
        "tls",
        "state.rs",
        "metrics",
        "log.rs",
    ];
    for (path, text) in everywhere.iter().flat_map(|place| sources(place)) {
        assert!(text.lines().count() <= 450, "{} has {} lines", path.display(), text.lines().count());
    }
}
