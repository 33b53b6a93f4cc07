//! Drain on the first SIGTERM, end on the second.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use stun::message as wire;

use super::manager::Service;
use crate::harness::participant::Participant;
use crate::harness::turn_client::{TurnClient, UDP, error_code, socket};

/// A server with this `drain-timeout`.
fn service_with_drain_timeout(seconds: &str) -> Service {
    let service = Service::start(|command, _| {
        command.env("WEBRTC_BOX_DRAIN_TIMEOUT", seconds);
    });
    service.manager.wait_for(&["READY=1"]);
    service
}

/// A participant with an allocation.
fn join_and_allocate(service: &Service) -> (Participant, TurnClient<std::net::UdpSocket>) {
    let seat = Participant::join_room(service, "kitchen");
    let mut client = TurnClient::with_credential(seat.credential.clone(), socket([0, 9, 1], service.turn));
    client.allocate();
    (seat, client)
}

#[test]
fn drain_lets_calls_end_and_refuses_joins() {
    let service = service_with_drain_timeout("600");
    let (mut seat, mut client) = join_and_allocate(&service);
    service.signal(Signal::TERM);
    service.manager.wait_for(&["STOPPING=1"]);
    assert_eq!(seat.wait_for("error")["code"], "shutting-down");
    let new = Participant::try_join(&service, &json!({ "type": "join", "room": "kitchen" }));
    assert_eq!(new.err().as_deref(), Some("shutting-down"));
    seat.ping();
    assert_eq!(error_code(&client.try_request(wire::METHOD_REFRESH, &[], &[])), 0);
    service.manager.wait_for(&["EXTEND_TIMEOUT_USEC="]);
    // A reload during the drain has no effect.
    service.signal(Signal::HUP);
    seat.ping();

    seat.send(&json!({ "type": "leave" }));
    let (status, took) = service.server.wait_for_exit();
    println!("exit {took:?} after the last call");
    assert!(status.success(), "{status}");
}

#[test]
fn external_users_cannot_prolong_a_drain() {
    const PUBLIC: [(&str, &str); 3] = [
        ("WEBRTC_BOX_RELAY_SCOPE", "public"),
        ("WEBRTC_BOX_EXTERNAL_IP", "127.0.0.1"),
        ("WEBRTC_BOX_ALLOWED_PEER_IP", "127.0.0.0/8"),
    ];
    let service = Service::start(|command, _| {
        command.env("WEBRTC_BOX_DRAIN_TIMEOUT", "600").envs(PUBLIC);
    });
    service.manager.wait_for(&["READY=1"]);
    let (mut seat, mut client) = join_and_allocate(&service);
    let mut external = TurnClient::new(socket([0, 9, 2], service.turn));
    external.allocate();
    external.delete();
    service.signal(Signal::TERM);
    assert_eq!(seat.wait_for("error")["code"], "shutting-down");
    // The relay starts to drain after the rooms.
    let start = std::time::Instant::now();
    loop {
        let answer = error_code(&external.try_request(wire::METHOD_ALLOCATE, &[UDP], &[]));
        if answer == 508 {
            break;
        }
        assert!(answer == 0 && start.elapsed() < Duration::from_secs(5), "{answer}");
        external.delete();
    }
    client.delete();
    client.allocate();
    seat.send(&json!({ "type": "leave" }));
    let (status, took) = service.server.wait_for_exit();
    println!("exit {took:?} after the last call");
    assert!(status.success(), "{status}");
}

#[test]
fn drain_timeout_ends_remaining_calls() {
    let service = service_with_drain_timeout("2");
    let (_seat, _client) = join_and_allocate(&service);
    service.signal(Signal::TERM);
    let (status, took) = service.server.wait_for_exit();
    assert!(status.success(), "{status}");
    println!("exit {took:?} after SIGTERM, with drain-timeout 2");
    assert!(took >= Duration::from_secs(2), "{took:?}");
}

/// The number of suppressed lines that a log line counts.
fn suppressed(line: &str) -> usize {
    line.split("held=").nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn each_ended_call_is_logged_or_counted() {
    const CALLS: usize = 13;
    let service = service_with_drain_timeout("1");
    let rooms = (0..CALLS).map(|call| format!("room-{call}"));
    let _seats: Vec<_> =
        rooms.flat_map(|room| [(); 2].map(|()| Participant::join_room(&service, &room))).collect();
    service.signal(Signal::TERM);
    let last = service.wait_for_line("further calls ended");
    // On a busy machine another line may come in between, which counts the suppressed ones before it.
    let others = service.lines_with(&["call ended", "held="]);
    let suppressed: usize = others.iter().chain([&last]).map(|line| suppressed(line)).sum();
    let lines = service.count_lines(&["call ended", "cut_off=true"]);
    println!("{lines} of {CALLS} calls have their own line");
    assert!(lines >= 10 && lines + suppressed == CALLS, "{lines} and {suppressed}");
}

#[test]
fn second_signal_ends_the_drain() {
    let service = service_with_drain_timeout("600");
    let (_seat, _client) = join_and_allocate(&service);
    service.signal(Signal::TERM);
    service.manager.wait_for(&["STOPPING=1"]);
    service.signal(Signal::TERM);
    let (status, took) = service.server.wait_for_exit();
    assert!(status.success(), "{status}");
    println!("exit {took:?} after the second SIGTERM (goal 1 s)");
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn server_without_calls_stops_at_once() {
    let service = service_with_drain_timeout("600");
    service.signal(Signal::TERM);
    let (status, took) = service.server.wait_for_exit();
    assert!(status.success(), "{status}");
    println!("exit {took:?} after SIGTERM, without calls");
}
