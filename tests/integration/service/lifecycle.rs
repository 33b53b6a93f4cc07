//! Ready, alive, or not.

use std::fs;
use std::io::{Read, Write};
use std::process::Command;
use std::time::Duration;

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use rustix::process::Signal;

use super::manager::{Manager, Service};
use crate::harness::participant::Participant;

/// The manager wants to hear every second that it lives.
fn watched(command: &mut Command) {
    command.env("WATCHDOG_USEC", "1000000");
}

/// What `/healthz` answers.
fn health(service: &Service) -> String {
    get(&mut service.tls(), "/healthz")
}

/// What a path is answered, head and body.
pub fn get(stream: &mut (impl Read + Write), path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    // How the stream ends is not what is asked here.
    let _ = stream.read_to_string(&mut answer);
    answer
}

/// Threads of the box that are called this.
fn threads(service: &Service, name: &str) -> Vec<Pid> {
    let tasks = fs::read_dir(format!("/proc/{}/task", service.id())).unwrap();
    // A thread may end meanwhile.
    let named = |task: &fs::DirEntry| {
        fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim() == name)
    };
    let pid = |task: fs::DirEntry| Pid::from_raw(task.file_name().to_str().unwrap().parse().unwrap());
    tasks.map(Result::unwrap).filter(named).map(pid).collect()
}

/// Threads that stand still until this is dropped, while the others run.
struct Frozen(Vec<Pid>);

impl Frozen {
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

impl Drop for Frozen {
    fn drop(&mut self) {
        for thread in &self.0 {
            // The box may have ended.
            let _ = ptrace::detach(*thread, None);
        }
    }
}

#[test]
fn ready_is_notified_when_serving_then_status() {
    let service = Service::start(|_, _| {});
    service.manager.hears(&["READY=1", "STATUS=rooms: 0, seats: 0, allocations: 0"]);
    assert!(health(&service).starts_with("HTTP/1.1 200 "));
    let _seat = Participant::join_room(&service, "kitchen");
    service.manager.hears(&["STATUS=rooms: 1, seats: 1, allocations: 0"]);
    assert_eq!(service.manager.counts("WATCHDOG", Duration::from_secs(1)), 0, "nobody has asked for that");
}

#[test]
fn stalled_relay_worker_stops_the_watchdog_and_fails_healthz() {
    let service = Service::start(|command, _| watched(command));
    service.manager.hears(&["WATCHDOG=1"]);
    assert!(health(&service).starts_with("HTTP/1.1 200 "));
    let frozen = Frozen::new(threads(&service, "relay-0"));
    assert!(service.wait_for_line("does not respond").contains("relay-0"));
    let answer = health(&service);
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("has stopped"), "{answer}");
    service.manager.forget();
    assert_eq!(service.manager.counts("WATCHDOG", Duration::from_secs(2)), 0);
    drop(frozen);
    service.manager.hears(&["WATCHDOG=1"]);
    assert!(health(&service).starts_with("HTTP/1.1 200 "));
}

#[test]
fn stalled_http_runtime_stops_the_watchdog() {
    let service = Service::start(|command, _| watched(command));
    let frozen = Frozen::new(threads(&service, "tokio-rt-worker"));
    service.wait_for_line(&format!("https {}", service.https));
    service.manager.forget();
    assert_eq!(service.manager.counts("WATCHDOG", Duration::from_secs(2)), 0);
    drop(frozen);
    service.manager.hears(&["WATCHDOG=1"]);
}

#[test]
fn paused_process_continues_normally() {
    let service = Service::start(|command, _| watched(command));
    service.manager.hears(&["WATCHDOG=1"]);
    service.signal(Signal::STOP);
    service.manager.forget();
    // As long as a stall may last, and more.
    assert_eq!(service.manager.counts("WATCHDOG", Duration::from_secs(7)), 0);
    service.signal(Signal::CONT);
    service.manager.hears(&["WATCHDOG=1"]);
    assert!(service.manager.counts("WATCHDOG", Duration::from_secs(2)) >= 2);
    assert!(!service.has_logged("does not respond"));
}

#[test]
fn blocked_notify_socket_delays_nothing_and_gets_the_state_later() {
    // It has no room for the first word, that the box is ready.
    let service = Service::start(|command, environment| {
        watched(command);
        Manager::fill(&environment.notify_socket());
    });
    let frozen = Frozen::new(threads(&service, "relay-0"));
    assert!(service.wait_for_line("does not respond").contains("relay-0"));
    assert!(health(&service).starts_with("HTTP/1.1 503 "));
    service.manager.hears(&["READY=1"]);
    drop(frozen);
    service.manager.hears(&["WATCHDOG=1"]);
    // Somebody to wait for, or the box ends at once.
    let _seat = Participant::join_room(&service, "kitchen");
    Manager::fill(&service.environment.notify_socket());
    service.signal(Signal::TERM);
    service.wait_for_line("stopping");
    service.manager.hears(&["STOPPING=1"]);
}
