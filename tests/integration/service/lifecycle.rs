//! Readiness, status and watchdog notifications, with stalled threads and a paused process.

use std::fs;
use std::process::Command;
use std::time::Duration;

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use rustix::process::Signal;

use super::manager::{Manager, Service};
use crate::harness::http_client::Reply;
use crate::harness::participant::Participant;

/// Requests a watchdog notification per second.
fn enable_watchdog(command: &mut Command) {
    command.env("WATCHDOG_USEC", "1000000");
}

fn health(service: &Service) -> Reply {
    service.get("/healthz")
}

/// Threads of the server with this name.
fn threads(service: &Service, name: &str) -> Vec<Pid> {
    let tasks = fs::read_dir(format!("/proc/{}/task", service.id())).unwrap();
    // A thread may end between the two reads.
    let named = |task: &fs::DirEntry| {
        fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim() == name)
    };
    let pid = |task: fs::DirEntry| Pid::from_raw(task.file_name().to_str().unwrap().parse().unwrap());
    tasks.map(Result::unwrap).filter(named).map(pid).collect()
}

/// Threads that are stopped until this is dropped, while the others run.
struct StoppedThreads(Vec<Pid>);

impl StoppedThreads {
    fn new(threads: Vec<Pid>) -> Self {
        assert!(!threads.is_empty(), "no such thread");
        for thread in &threads {
            ptrace::seize(*thread, ptrace::Options::empty()).expect("a parent may trace its child");
            ptrace::interrupt(*thread).unwrap();
            waitpid(*thread, Some(WaitPidFlag::__WALL)).unwrap();
        }
        Self(threads)
    }
}

impl Drop for StoppedThreads {
    fn drop(&mut self) {
        for thread in &self.0 {
            // The server may have exited.
            let _ = ptrace::detach(*thread, None);
        }
    }
}

#[test]
fn ready_is_notified_when_serving_then_status() {
    let service = Service::start(|_, _| {});
    service.manager.wait_for(&["READY=1", "STATUS=rooms: 0, seats: 0, allocations: 0"]);
    assert_eq!(health(&service).status, 200);
    let _seat = Participant::join_room(&service, "kitchen");
    service.manager.wait_for(&["STATUS=rooms: 1, seats: 1, allocations: 0"]);
    assert_eq!(service.manager.count("WATCHDOG", Duration::from_secs(1)), 0, "the watchdog is not enabled");
}

#[test]
fn stalled_relay_worker_stops_the_watchdog_and_fails_healthz() {
    let service = Service::start(|command, _| enable_watchdog(command));
    service.manager.wait_for(&["WATCHDOG=1"]);
    assert_eq!(health(&service).status, 200);
    let stopped = StoppedThreads::new(threads(&service, "relay-0"));
    assert!(service.wait_for_line("does not respond").contains("relay-0"));
    let reply = health(&service);
    assert!(reply.status == 503 && reply.text().contains("does not respond"), "{reply:?}");
    service.manager.discard();
    assert_eq!(service.manager.count("WATCHDOG", Duration::from_secs(2)), 0);
    drop(stopped);
    service.manager.wait_for(&["WATCHDOG=1"]);
    assert_eq!(health(&service).status, 200);
}

#[test]
fn stalled_http_runtime_stops_the_watchdog() {
    let service = Service::start(|command, _| enable_watchdog(command));
    let stopped = StoppedThreads::new(threads(&service, "tokio-rt-worker"));
    service.wait_for_line(&format!("https {}", service.https));
    service.manager.discard();
    assert_eq!(service.manager.count("WATCHDOG", Duration::from_secs(2)), 0);
    drop(stopped);
    service.manager.wait_for(&["WATCHDOG=1"]);
}

#[test]
fn paused_process_continues_normally() {
    let service = Service::start(|command, _| enable_watchdog(command));
    service.manager.wait_for(&["WATCHDOG=1"]);
    service.signal(Signal::STOP);
    service.manager.discard();
    // Longer than the limit for stalled threads.
    assert_eq!(service.manager.count("WATCHDOG", Duration::from_secs(7)), 0);
    service.signal(Signal::CONT);
    service.manager.wait_for(&["WATCHDOG=1"]);
    assert!(service.manager.count("WATCHDOG", Duration::from_secs(2)) >= 2);
    assert!(!service.has_logged("does not respond"));
}

#[test]
fn blocked_notify_socket_delays_nothing_and_gets_the_state_later() {
    // The first notification, READY=1, finds a full queue.
    let service = Service::start(|command, environment| {
        enable_watchdog(command);
        Manager::fill(&environment.notify_socket());
    });
    let stopped = StoppedThreads::new(threads(&service, "relay-0"));
    assert!(service.wait_for_line("does not respond").contains("relay-0"));
    assert_eq!(health(&service).status, 503);
    service.manager.wait_for(&["READY=1"]);
    drop(stopped);
    service.manager.wait_for(&["WATCHDOG=1"]);
    // With a seat taken, the server drains instead of ending immediately.
    let _seat = Participant::join_room(&service, "kitchen");
    Manager::fill(&service.environment.notify_socket());
    service.signal(Signal::TERM);
    service.wait_for_line("stopping");
    service.manager.wait_for(&["STOPPING=1"]);
}
