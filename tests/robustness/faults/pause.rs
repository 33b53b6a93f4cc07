//! A box that stands still for a while, as when its host is moved or a debugger looks at it.

use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::call::Call;
use crate::harness::environment::Environment;
use crate::harness::participant::Participant;
use crate::harness::server_process::ServerProcess;
use crate::harness::turn_client::{PATIENCE, TurnClient, socket};

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
    let environment = Arc::new(Environment::new());
    let notify = environment.folder().join("notify");
    let manager = UnixDatagram::bind(&notify).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = environment.command::<&str>(&[]);
    command.env("NOTIFY_SOCKET", &notify).env("WATCHDOG_USEC", WATCHDOG_MICROSECONDS);
    let mut server = ServerProcess::start(&environment, command);
    let mut call = Call::begin(&server, "still");
    sign_of_life(&manager);
    server.signal(Signal::STOP);
    thread::sleep(STILL);
    server.signal(Signal::CONT);
    let begun = Instant::now();
    call.goes_on();
    let back = begun.elapsed();
    assert_eq!(server.get("/healthz"), "HTTP/1.1 200");
    sign_of_life(&manager);
    println!(
        "stood still for {STILL:?}; signaling and media both ways {back:?} later, a sign of life to the watchdog after \
         {:?}",
        begun.elapsed()
    );
    for client in &mut call.clients {
        client.refresh();
    }
    Participant::join_room(&server, "new").ping();
    TurnClient::allocated(socket([0, 12, 1], server.turn));
    assert!(back < Duration::from_secs(2) && begun.elapsed() < Duration::from_secs(20));
    assert!(!server.has_logged("does not respond"));
    server.assert_healthy();
}
