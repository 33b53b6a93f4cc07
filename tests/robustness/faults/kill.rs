//! A server that is killed, as by a power cut or the OOM killer: its state directory stays intact.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::harness::environment::Environment;
use crate::harness::participant::Participant;
use crate::harness::server_process::{ServerProcess, exclusive};
use crate::harness::turn_client::TEST_TIMEOUT;

const KILLS: u32 = 20;

#[test]
fn killed_server_restarts_at_once_and_resumes_seats() {
    let environment = Arc::new(Environment::new());
    let mut server = ServerProcess::start(&environment, environment.command::<&str>(&[]));
    let seats = [(); 2].map(|()| Participant::join_room(&server, "kept"));
    let tokens = seats.each_ref().map(|seat| (seat.id.clone(), seat.token.clone()));
    let before = files(&environment.state);
    let mut worst = Duration::ZERO;
    for _ in 0..KILLS {
        let start = Instant::now();
        server = server.kill_and_restart(environment.command::<&str>(&[]));
        worst = worst.max(start.elapsed());
        assert!(files(&environment.state) == before, "the state directory has changed");
        let mut seats = tokens.each_ref().map(|(_, token)| Participant::resume(&server, "kept", token));
        // The new tokens differ, because they contain the time of the resume.
        for (seat, (id, _)) in seats.iter().zip(&tokens) {
            assert_eq!(&seat.id, id, "another seat");
        }
        assert_eq!(seats[1].peer.as_ref(), Some(&tokens[0].0), "not in one room");
        seats[0].ping();
    }
    println!("killed and restarted {KILLS} times, listening after {worst:?} at worst, with the same seats");
    assert!(worst < Duration::from_secs(3));
}

/// Names and contents of the files in a folder.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut files: Vec<_> = entries
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap_or_default()))
        .collect();
    files.sort();
    files
}

/// Starts the program and kills it when `count` files exist; the number of files afterwards.
fn kill_at_file_count(environment: &Environment, count: usize) -> usize {
    let _guard = exclusive();
    let mut child =
        environment.command::<&str>(&[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    // A busy loop, because only polling catches a partial file.
    while fs::read_dir(&environment.state).unwrap().count() < count {
        assert!(start.elapsed() < TEST_TIMEOUT, "fewer than {count} files");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    files(&environment.state).len()
}

#[test]
fn killed_first_start_does_not_break_the_next() {
    let (mut worst, mut left) = (Duration::ZERO, Vec::new());
    for round in 0..KILLS as usize {
        let environment = Arc::new(Environment::new());
        // A first start writes five files, each under a temporary name first.
        left.push(kill_at_file_count(&environment, round % 6));
        let (guard, start) = (exclusive(), Instant::now());
        let server = ServerProcess::start_exclusive(&environment, environment.command::<&str>(&[]), guard);
        worst = worst.max(start.elapsed());
        Participant::join_room(&server, "first").ping();
        let names: Vec<_> = files(&environment.state).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), 5, "{names:?}");
    }
    println!(
        "killed {KILLS} times during the first start, with {left:?} files; listening after {worst:?} at worst"
    );
    assert!(worst < Duration::from_secs(3));
}
