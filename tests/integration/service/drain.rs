//! The way to the end: first SIGTERM, second SIGTERM.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use stun::message as wire;

use super::manager::Service;
use crate::harness::participant::Participant;
use crate::harness::turn_client::{TurnClient, UDP, code, socket};

/// A box that lets calls go on for so many seconds.
fn patient(seconds: &str) -> Service {
    let service = Service::start(|command, _| {
        command.env("WEBRTC_BOX_DRAIN_TIMEOUT", seconds);
    });
    service.manager.hears(&["READY=1"]);
    service
}

/// A seat with an allocation of its own.
fn caller(service: &Service) -> (Participant, TurnClient<std::net::UdpSocket>) {
    let seat = Participant::join_room(service, "kitchen");
    let mut client = TurnClient::holding(seat.credential.clone(), socket([0, 9, 1], service.turn));
    client.allocate();
    (seat, client)
}

#[test]
fn drain_lets_calls_end_and_refuses_joins() {
    let service = patient("600");
    let (mut seat, mut client) = caller(&service);
    service.signal(Signal::TERM);
    service.manager.hears(&["STOPPING=1"]);
    assert_eq!(seat.hear("error")["code"], "shutting-down");
    let newcomer = Participant::attempt(&service, &json!({ "type": "join", "room": "kitchen" }));
    assert_eq!(newcomer.err().as_deref(), Some("shutting-down"));
    seat.ping();
    assert_eq!(code(&client.attempt(wire::METHOD_REFRESH, &[], &[])), 0);
    service.manager.hears(&["EXTEND_TIMEOUT_USEC="]);
    // Settings are not what counts now.
    service.signal(Signal::HUP);
    seat.ping();

    seat.say(&json!({ "type": "leave" }));
    let (status, took) = service.server.wait_for_exit();
    println!("gone {took:?} after the last call");
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
    service.manager.hears(&["READY=1"]);
    let (mut seat, mut client) = caller(&service);
    let mut external = TurnClient::new(socket([0, 9, 2], service.turn));
    external.allocate();
    external.delete();
    service.signal(Signal::TERM);
    assert_eq!(seat.hear("error")["code"], "shutting-down");
    // The rooms hear of it first.
    let begun = std::time::Instant::now();
    loop {
        let answer = code(&external.attempt(wire::METHOD_ALLOCATE, &[UDP], &[]));
        if answer == 508 {
            break;
        }
        assert!(answer == 0 && begun.elapsed() < Duration::from_secs(5), "{answer}");
        external.delete();
    }
    client.delete();
    client.allocate();
    seat.say(&json!({ "type": "leave" }));
    let (status, took) = service.server.wait_for_exit();
    println!("gone {took:?} after the last call");
    assert!(status.success(), "{status}");
}

#[test]
fn drain_timeout_ends_remaining_calls() {
    let service = patient("2");
    let (_seat, _guest) = caller(&service);
    service.signal(Signal::TERM);
    let (status, took) = service.server.wait_for_exit();
    assert!(status.success(), "{status}");
    println!("gone {took:?} after SIGTERM, with drain-timeout 2");
    assert!(took >= Duration::from_secs(2), "{took:?}");
}

fn held_by(line: &str) -> usize {
    line.split("held=").nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn each_ended_call_is_logged_or_counted() {
    const CALLS: usize = 13;
    let service = patient("1");
    let rooms = (0..CALLS).map(|call| format!("room-{call}"));
    let _seats: Vec<_> =
        rooms.flat_map(|room| [(); 2].map(|()| Participant::join_room(&service, &room))).collect();
    service.signal(Signal::TERM);
    let last = service.wait_for_line("further calls ended");
    // A busy machine may get round to a line in between, which then counts those before it.
    let others = service.lines_with(&["call ended", "held="]);
    let held: usize = others.iter().chain([&last]).map(|line| held_by(line)).sum();
    let lines = service.count_lines(&["call ended", "cut_off=true"]);
    println!("of {CALLS} calls {lines} have a line of their own");
    assert!(lines >= 10 && lines + held == CALLS, "{lines} and {held}");
}

#[test]
fn second_signal_ends_the_drain() {
    let service = patient("600");
    let (_seat, _guest) = caller(&service);
    service.signal(Signal::TERM);
    service.manager.hears(&["STOPPING=1"]);
    service.signal(Signal::TERM);
    let (status, took) = service.server.wait_for_exit();
    assert!(status.success(), "{status}");
    println!("gone {took:?} after the second SIGTERM (goal 1 s)");
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn server_without_calls_stops_at_once() {
    let service = patient("600");
    service.signal(Signal::TERM);
    let (status, took) = service.server.wait_for_exit();
    assert!(status.success(), "{status}");
    println!("gone {took:?} after SIGTERM, with nobody there");
}
