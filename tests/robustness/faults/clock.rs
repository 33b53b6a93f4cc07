//! The wall clock jumps an hour and a day, either way, under a box that runs.
//!
//! Not this machine's: a library of a few lines (`clock.c`), compiled here and loaded before libc,
//! tells the box alone another time.

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
use crate::harness::turn_client::{TurnClient, UDP, code, socket};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// What the box takes for the time.
struct Clock(fs::File);

impl Clock {
    fn new(path: &Path) -> Self {
        let file = fs::File::create(path).unwrap();
        file.write_all_at(&0_i64.to_ne_bytes(), 0).unwrap();
        Self(file)
    }

    fn is_wrong_by(&self, seconds: i64) {
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

/// Seconds that a seat's credential still opens allocations by a clock that is wrong by so much.
fn left(seat: &Participant, wrong_by: i64) -> i64 {
    let expiry: i64 = seat.credential.username.split(':').next().unwrap().parse().unwrap();
    expiry - (now() + wrong_by)
}

/// What an Allocate with this seat's credential is answered.
fn allocates(server: &ServerProcess, seat: &Participant) -> u16 {
    let mut client = TurnClient::holding(seat.credential.clone(), socket([0, 13, 1], server.turn));
    code(&client.attempt(wire::METHOD_ALLOCATE, &[UDP], &[]))
}

#[test]
fn wall_clock_jump_ends_no_call() {
    let environment = Arc::new(Environment::new());
    let (clock_file, library) = (environment.folder().join("clock"), library(environment.folder()));
    let clock = Clock::new(&clock_file);
    let mut command = environment.command::<&str>(&[]);
    command.env("CLOCK_FILE", &clock_file).env("LD_PRELOAD", library);
    let mut server = ServerProcess::start(&environment, command);
    let mut call = Call::begin(&server, "jumps");
    for (room, (name, wrong_by)) in [
        ("an hour on", HOUR),
        ("an hour back", 0),
        ("a day on", DAY),
        ("a day back", 0),
        ("an hour back", -HOUR),
        ("a day back", -HOUR - DAY),
        ("a day and an hour on", 0),
    ]
    .into_iter()
    .enumerate()
    {
        clock.is_wrong_by(wrong_by);
        call.goes_on();
        call.clients.iter_mut().for_each(TurnClient::refresh);
        let held = left(&call.seats[0], wrong_by);
        // The page asks after the box every five seconds; that is when a credential that has run out
        // is replaced, so that ICE can begin anew.
        call.seats[0].ping();
        if held < HOUR / 4 {
            call.seats[0].renew();
        }
        let newcomer = Participant::join_room(&server, &format!("after-{room}"));
        let answers = [allocates(&server, &call.seats[0]), allocates(&server, &newcomer)];
        println!(
            "{name}: the call goes on; a credential had {held} s left, then {} s; Allocates of its holder and of a \
             newcomer: {answers:?}",
            left(&call.seats[0], wrong_by)
        );
        assert_eq!(answers, [0, 0]);
        assert!((HOUR - 60..=HOUR).contains(&left(&newcomer, wrong_by)), "the box knows the new time");
    }
    // A seat is kept by a clock that does not jump.
    let [first, second] = call.seats;
    let (token, id) = (first.token.clone(), first.id.clone());
    drop(first);
    clock.is_wrong_by(DAY);
    let back = Participant::resume(&server, "jumps", &token);
    assert_eq!((back.id, back.resumed, back.peer), (id, true, Some(second.id.clone())));
    server.assert_healthy();
}
