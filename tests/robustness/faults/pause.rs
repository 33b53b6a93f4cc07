//! A box that stands still for a while, as when its host is moved or a debugger looks at it.

use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::call::Call;
use crate::harness::environment::Place;
use crate::harness::participant::Seat;
use crate::harness::server_process::House;
use crate::harness::turn_client::{Guest, PATIENCE, socket};

const STILL: Duration = Duration::from_secs(10);
/// What the unit asks for.
const WATCHDOG_MICROSECONDS: &str = "30000000";

/// Waits for the next sign of life to the service manager.
fn sign_of_life(manager: &UnixDatagram) {
    let mut buffer = [0; 4096];
    loop {
        let length = manager.recv(&mut buffer).expect("a sign of life");
        if buffer[..length].starts_with(b"WATCHDOG=1") {
            return;
        }
    }
}

#[test]
fn ten_second_pause_keeps_calls_and_seats() {
    let place = Arc::new(Place::new());
    let notify = place.folder().join("notify");
    let manager = UnixDatagram::bind(&notify).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = place.command::<&str>(&[]);
    command.env("NOTIFY_SOCKET", &notify).env("WATCHDOG_USEC", WATCHDOG_MICROSECONDS);
    let mut house = House::start(&place, command);
    let mut call = Call::begin(&house, "still");
    sign_of_life(&manager);
    house.signal(Signal::STOP);
    thread::sleep(STILL);
    house.signal(Signal::CONT);
    let begun = Instant::now();
    call.goes_on();
    let back = begun.elapsed();
    assert_eq!(house.get("/healthz"), "HTTP/1.1 200");
    sign_of_life(&manager);
    println!(
        "stood still for {STILL:?}; signaling and media both ways {back:?} later, a sign of life to the watchdog after \
         {:?}",
        begun.elapsed()
    );
    for guest in &mut call.guests {
        guest.refresh();
    }
    Seat::take(&house, "new").ping();
    Guest::allocated(socket([0, 12, 1], house.turn));
    assert!(back < Duration::from_secs(2) && begun.elapsed() < Duration::from_secs(20));
    assert!(!house.has_said("does not turn"));
    house.is_well();
}
