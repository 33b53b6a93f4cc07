//! A box whose words nobody takes: a journal that has stalled, a log on a full disk.

use std::fs::File;
use std::io::{ErrorKind, Write as _, pipe};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::Signal;

use super::call::Call;
use crate::harness::environment::Place;
use crate::harness::participant::Seat;
use crate::harness::server_process::House;

/// A call while the box logs whatever it does, and its end when it is told to stop.
fn lives_and_ends(house: House, name: &str) {
    let begun = Instant::now();
    let mut call = Call::begin(&house, "unheard");
    for number in 0..100 {
        call.goes_on();
        Seat::take(&house, &format!("room-{number}")).ping();
    }
    let lived = begun.elapsed();
    drop(call);
    house.signal(Signal::TERM);
    house.signal(Signal::INT);
    let (status, time) = house.ended();
    println!("{name}: a call and 100 joins in {lived:?}; ended {time:?} after it was told to");
    assert!(status.success(), "{status}");
    assert!(time < Duration::from_secs(9));
}

#[test]
fn stalled_journal_stops_no_client() {
    let place = Arc::new(Place::new());
    // Full before the box starts, so that its first word already waits.
    let (reader, mut writer) = pipe().unwrap();
    fcntl_setfl(writer.as_fd(), OFlags::NONBLOCK).unwrap();
    while let Ok(1..) | Err(_) = match writer.write(&[b'x'; 4096]) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        written => written,
    } {}
    fcntl_setfl(writer.as_fd(), OFlags::empty()).unwrap();
    let mut command = place.command(&["--log", "trace"]);
    command.stdout(writer.try_clone().unwrap()).stderr(writer);
    let house = House::start_unheard(&place, command);
    lives_and_ends(house, "a journal that has stalled");
    drop(reader);
}

#[test]
fn log_on_a_full_disk_stops_no_client() {
    let place = Arc::new(Place::new());
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let mut command = place.command(&["--log", "trace"]);
    command.stdout(full()).stderr(full());
    lives_and_ends(House::start_unheard(&place, command), "a log on a full disk");
}
