//! The wall clock of a running server jumps by an hour and a day, in both directions.
//!
//! The clock of the machine does not change: a small library (`clock.c`), compiled here and loaded
//! before libc, changes the time that the server reads.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use stun::message as wire;

use super::call::Call;
use crate::harness::environment::Environment;
use crate::harness::participant::Participant;
use crate::harness::server_process::ServerProcess;
use crate::harness::turn_client::{TurnClient, UDP, error_code, socket};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// The offset of the clock that the server reads.
struct Clock(fs::File);

impl Clock {
    fn new(path: &Path) -> Self {
        let file = fs::File::create(path).unwrap();
        file.write_all_at(&0_i64.to_ne_bytes(), 0).unwrap();
        Self(file)
    }

    fn set_offset(&self, seconds: i64) {
        self.0.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }
}

fn library(folder: &Path) -> PathBuf {
    let library = folder.join("clock.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/robustness/faults/clock.c");
    let compiled =
        Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status();
    assert!(compiled.unwrap().success());
    library
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

/// Seconds until the credential of a seat expires on a clock with this offset.
fn seconds_left(seat: &Participant, offset: i64) -> i64 {
    let expiry: i64 = seat.credential.username.split(':').next().unwrap().parse().unwrap();
    expiry - (now() + offset)
}

/// The error code of an Allocate with the credential of a seat; 0 for success.
fn allocate(server: &ServerProcess, seat: &Participant) -> u16 {
    let mut client = TurnClient::with_credential(seat.credential.clone(), socket([0, 13, 1], server.turn));
    error_code(&client.try_request(wire::METHOD_ALLOCATE, &[UDP], &[]))
}

#[test]
fn wall_clock_jump_ends_no_call() {
    let environment = Arc::new(Environment::new());
    let (clock_file, library) = (environment.folder().join("clock"), library(environment.folder()));
    let clock = Clock::new(&clock_file);
    let mut command = environment.command::<&str>(&[]);
    command.env("CLOCK_FILE", &clock_file).env("LD_PRELOAD", library);
    let mut server = ServerProcess::start(&environment, command);
    let mut call = Call::start(&server, "jumps");
    for (room, (name, offset)) in [
        ("an hour forward", HOUR),
        ("an hour back", 0),
        ("a day forward", DAY),
        ("a day back", 0),
        ("an hour back", -HOUR),
        ("a day back", -HOUR - DAY),
        ("a day and an hour forward", 0),
    ]
    .into_iter()
    .enumerate()
    {
        clock.set_offset(offset);
        call.assert_works();
        call.clients.iter_mut().for_each(TurnClient::refresh);
        let before = seconds_left(&call.seats[0], offset);
        // The page pings every five seconds. The server then replaces a credential that is about to
        // expire, so that an ICE restart can use it.
        call.seats[0].ping();
        if before < HOUR / 4 {
            call.seats[0].wait_for_credential();
        }
        let new = Participant::join_room(&server, &format!("after-{room}"));
        let codes = [allocate(&server, &call.seats[0]), allocate(&server, &new)];
        println!(
            "{name}: the call continues; a credential had {before} s left, then {} s; Allocate of an old and of a new \
             participant: {codes:?}",
            seconds_left(&call.seats[0], offset)
        );
        assert_eq!(codes, [0, 0]);
        assert!((HOUR - 60..=HOUR).contains(&seconds_left(&new, offset)), "the server uses the new time");
    }
    // The grace period of a seat uses the monotonic clock.
    let [first, second] = call.seats;
    let (token, id) = (first.token.clone(), first.id.clone());
    drop(first);
    clock.set_offset(DAY);
    let back = Participant::resume(&server, "jumps", &token);
    assert_eq!((back.id, back.resumed, back.peer), (id, true, Some(second.id.clone())));
    server.assert_healthy();
}
