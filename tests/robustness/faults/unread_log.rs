//! A box whose words nobody takes: a journal that has stalled, a log on a full disk.

use std::fs::File;
use std::io::{ErrorKind, Write as _, pipe};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::Signal;

use super::call::Call;
use crate::harness::environment::Environment;
use crate::harness::participant::Participant;
use crate::harness::server_process::ServerProcess;

/// A call while the box logs whatever it does, and its end when it is told to stop.
fn lives_and_ends(server: ServerProcess, name: &str) {
    let begun = Instant::now();
    let mut call = Call::begin(&server, "unheard");
    for number in 0..100 {
        call.goes_on();
        Participant::join_room(&server, &format!("room-{number}")).ping();
    }
    let lived = begun.elapsed();
    drop(call);
    server.signal(Signal::TERM);
    server.signal(Signal::INT);
    let (status, time) = server.wait_for_exit();
    println!("{name}: a call and 100 joins in {lived:?}; ended {time:?} after it was told to");
    assert!(status.success(), "{status}");
    assert!(time < Duration::from_secs(9));
}

#[test]
fn stalled_journal_stops_no_client() {
    let environment = Arc::new(Environment::new());
    // Full before the box starts, so that its first word already waits.
    let (reader, mut writer) = pipe().unwrap();
    fcntl_setfl(writer.as_fd(), OFlags::NONBLOCK).unwrap();
    while let Ok(1..) | Err(_) = match writer.write(&[b'x'; 4096]) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        written => written,
    } {}
    fcntl_setfl(writer.as_fd(), OFlags::empty()).unwrap();
    let mut command = environment.command(&["--log", "trace"]);
    command.stdout(writer.try_clone().unwrap()).stderr(writer);
    let server = ServerProcess::start_without_log(&environment, command);
    lives_and_ends(server, "a journal that has stalled");
    drop(reader);
}

#[test]
fn log_on_a_full_disk_stops_no_client() {
    let environment = Arc::new(Environment::new());
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let mut command = environment.command(&["--log", "trace"]);
    command.stdout(full()).stderr(full());
    lives_and_ends(ServerProcess::start_without_log(&environment, command), "a log on a full disk");
}
