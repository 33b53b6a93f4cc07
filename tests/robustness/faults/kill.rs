//! A box that is killed, as by a power cut or a shortage of memory: what it keeps stays whole.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::harness::environment::Place;
use crate::harness::participant::Seat;
use crate::harness::server_process::{House, alone};
use crate::harness::turn_client::PATIENCE;

const KILLS: u32 = 20;

#[test]
fn killed_server_restarts_at_once_and_resumes_seats() {
    let place = Arc::new(Place::new());
    let mut house = House::start(&place, place.command::<&str>(&[]));
    let seats = [(); 2].map(|()| Seat::take(&house, "kept"));
    let tokens = seats.each_ref().map(|seat| (seat.id.clone(), seat.token.clone()));
    let kept = files(&place.state);
    let mut worst = Duration::ZERO;
    for _ in 0..KILLS {
        let begun = Instant::now();
        house = house.killed_and_started(place.command::<&str>(&[]));
        worst = worst.max(begun.elapsed());
        assert!(files(&place.state) == kept, "the state directory has changed");
        let mut seats = tokens.each_ref().map(|(_, token)| Seat::take_back(&house, "kept", token));
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
fn killed_at(place: &Place, count: usize) -> usize {
    let _turn = alone();
    let mut child = place.command::<&str>(&[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    // No event says that a file is half written; whoever looks all the time sees it.
    while fs::read_dir(&place.state).unwrap().count() < count {
        assert!(begun.elapsed() < PATIENCE, "there never are {count} files");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    files(&place.state).len()
}

#[test]
fn killed_first_start_does_not_break_the_next() {
    let (mut worst, mut left) = (Duration::ZERO, Vec::new());
    for round in 0..KILLS as usize {
        let place = Arc::new(Place::new());
        // Five files are made on a first start, each under another name first.
        left.push(killed_at(&place, round % 6));
        let (turn, begun) = (alone(), Instant::now());
        let house = House::start_alone(&place, place.command::<&str>(&[]), turn);
        worst = worst.max(begun.elapsed());
        Seat::take(&house, "first").ping();
        let names: Vec<_> = files(&place.state).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), 5, "{names:?}");
    }
    println!(
        "killed {KILLS} times on its first start, with {left:?} files there; up at worst after {worst:?}"
    );
    assert!(worst < Duration::from_secs(3));
}
