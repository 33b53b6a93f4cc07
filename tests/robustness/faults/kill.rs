//! A box that is killed, as by a power cut or a shortage of memory: what it keeps stays whole.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::harness::environment::Environment;
use crate::harness::participant::Participant;
use crate::harness::server_process::{ServerProcess, exclusive};
use crate::harness::turn_client::PATIENCE;

const KILLS: u32 = 20;

#[test]
fn killed_server_restarts_at_once_and_resumes_seats() {
    let environment = Arc::new(Environment::new());
    let mut server = ServerProcess::start(&environment, environment.command::<&str>(&[]));
    let seats = [(); 2].map(|()| Participant::join_room(&server, "kept"));
    let tokens = seats.each_ref().map(|seat| (seat.id.clone(), seat.token.clone()));
    let kept = files(&environment.state);
    let mut worst = Duration::ZERO;
    for _ in 0..KILLS {
        let begun = Instant::now();
        server = server.kill_and_restart(environment.command::<&str>(&[]));
        worst = worst.max(begun.elapsed());
        assert!(files(&environment.state) == kept, "the state directory has changed");
        let mut seats = tokens.each_ref().map(|(_, token)| Participant::resume(&server, "kept", token));
        // The tokens differ from those kept: they carry the time at which their bearer sat down again.
        for (seat, (id, _)) in seats.iter().zip(&tokens) {
            assert_eq!(&seat.id, id, "another seat");
        }
        assert_eq!(seats[1].peer.as_ref(), Some(&tokens[0].0), "not in one room");
        seats[0].ping();
    }
    println!("{KILLS} times killed and up again, at worst after {worst:?}; each time the same seats");
    assert!(worst < Duration::from_secs(3));
}

/// What files there are, and what is in them.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut files: Vec<_> = entries
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap_or_default()))
        .collect();
    files.sort();
    files
}

/// Starts the program and kills it when there are so many files; how many it left.
fn killed_at(environment: &Environment, count: usize) -> usize {
    let _turn = exclusive();
    let mut child =
        environment.command::<&str>(&[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    // No event says that a file is half written; whoever looks all the time sees it.
    while fs::read_dir(&environment.state).unwrap().count() < count {
        assert!(begun.elapsed() < PATIENCE, "there never are {count} files");
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
        // Five files are made on a first start, each under another name first.
        left.push(killed_at(&environment, round % 6));
        let (turn, begun) = (exclusive(), Instant::now());
        let server = ServerProcess::start_exclusive(&environment, environment.command::<&str>(&[]), turn);
        worst = worst.max(begun.elapsed());
        Participant::join_room(&server, "first").ping();
        let names: Vec<_> = files(&environment.state).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), 5, "{names:?}");
    }
    println!(
        "killed {KILLS} times on its first start, with {left:?} files there; up at worst after {worst:?}"
    );
    assert!(worst < Duration::from_secs(3));
}
