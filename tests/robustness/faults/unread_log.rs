//! A log that cannot be written: a stalled journal, a full disk.

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

/// Asserts that a call and joins work, and that the server exits on SIGTERM.
fn assert_serves_and_stops(server: ServerProcess, name: &str) {
    let start = Instant::now();
    let mut call = Call::start(&server, "unlogged");
    for number in 0..100 {
        call.assert_works();
        Participant::join_room(&server, &format!("room-{number}")).ping();
    }
    let service_time = start.elapsed();
    drop(call);
    server.signal(Signal::TERM);
    server.signal(Signal::INT);
    let (status, time) = server.wait_for_exit();
    println!("{name}: a call and 100 joins in {service_time:?}; exit {time:?} after SIGTERM");
    assert!(status.success(), "{status}");
    assert!(time < Duration::from_secs(9));
}

#[test]
fn stalled_journal_stops_no_client() {
    let environment = Arc::new(Environment::new());
    // The pipe is full before the start, so that the first line already blocks.
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
    assert_serves_and_stops(server, "a stalled journal");
    drop(reader);
}

#[test]
fn log_on_a_full_disk_stops_no_client() {
    let environment = Arc::new(Environment::new());
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let mut command = environment.command(&["--log", "trace"]);
    command.stdout(full()).stderr(full());
    assert_serves_and_stops(ServerProcess::start_without_log(&environment, command), "a log on a full disk");
}
