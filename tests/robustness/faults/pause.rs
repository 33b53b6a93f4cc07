//! A server that is paused for a while, as by a VM migration or a debugger.

use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::call::Call;
use crate::harness::environment::Environment;
use crate::harness::participant::Participant;
use crate::harness::server_process::ServerProcess;
use crate::harness::turn_client::{TEST_TIMEOUT, TurnClient, socket};

const PAUSE: Duration = Duration::from_secs(10);
/// `WatchdogSec=` of the unit file.
const WATCHDOG_MICROSECONDS: &str = "30000000";

/// Waits for the next watchdog notification.
fn wait_for_watchdog(manager: &UnixDatagram) {
    let mut buffer = [0; 4096];
    loop {
        let length = manager.recv(&mut buffer).expect("a watchdog notification");
        if buffer[..length].starts_with(b"WATCHDOG=1") {
            return;
        }
    }
}

#[test]
fn ten_second_pause_keeps_calls_and_seats() {
    let environment = Arc::new(Environment::new());
    let notify = environment.folder().join("notify");
    let manager = UnixDatagram::bind(&notify).unwrap();
    manager.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
    let mut command = environment.command::<&str>(&[]);
    command.env("NOTIFY_SOCKET", &notify).env("WATCHDOG_USEC", WATCHDOG_MICROSECONDS);
    let mut server = ServerProcess::start(&environment, command);
    let mut call = Call::start(&server, "paused");
    wait_for_watchdog(&manager);
    server.signal(Signal::STOP);
    thread::sleep(PAUSE);
    server.signal(Signal::CONT);
    let start = Instant::now();
    call.assert_works();
    let call_time = start.elapsed();
    assert_eq!(server.get("/healthz").status, 200);
    wait_for_watchdog(&manager);
    println!(
        "paused for {PAUSE:?}; signaling and media work after {call_time:?}, watchdog notification after {:?}",
        start.elapsed()
    );
    for client in &mut call.clients {
        client.refresh();
    }
    Participant::join_room(&server, "new").ping();
    TurnClient::with_allocation(socket([0, 12, 1], server.turn));
    assert!(call_time < Duration::from_secs(2) && start.elapsed() < Duration::from_secs(20));
    assert!(!server.has_logged("does not respond"));
    server.assert_healthy();
}
