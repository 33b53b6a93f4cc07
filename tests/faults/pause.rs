//! A box that stands still for a while, as when its host is moved or a debugger looks at it.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::call::Call;
use super::client::{Guest, socket};
use super::house::House;
use super::seat::Seat;

const STILL: Duration = Duration::from_secs(10);

#[test]
fn after_ten_seconds_of_standstill_calls_and_seats_are_as_before() {
    let mut house = House::open();
    let mut call = Call::begin(&house, "still");
    house.signal(Signal::STOP);
    thread::sleep(STILL);
    house.signal(Signal::CONT);
    let begun = Instant::now();
    call.goes_on();
    let back = begun.elapsed();
    println!("stood still for {STILL:?}; signaling and media both ways {back:?} later");
    for guest in &mut call.guests {
        guest.refresh();
    }
    Seat::take(&house, "new").ping();
    Guest::allocated(socket([0, 12, 1], house.turn));
    assert!(back < Duration::from_secs(2));
    assert!(!house.has_said("panicked"));
    house.is_well();
}
