//! Reload on SIGHUP: settings that apply while calls continue, and settings that need a restart.

use std::fs;
use std::io::Write as _;
use std::process::Command;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use serde_json::json;
use stun::message as wire;
use webrtc_box_turn::credential::{Credential, Principal, Secret, Secrets};

use super::manager::Service;
use crate::harness::environment::{Environment, program};
use crate::harness::participant::Participant;
use crate::harness::server_process::ServerProcess;
use crate::harness::turn_client::{TurnClient, UDP, error_code, socket};

/// A server with a settings file.
fn start_with_file(settings: &str) -> Service {
    let service = Service::start(|command, environment| {
        let file = environment.folder().join("box.toml");
        fs::write(&file, settings).unwrap();
        command.env_remove("WEBRTC_BOX_STATIC_AUTH_SECRET").env_remove("WEBRTC_BOX_LOG");
        command.env("WEBRTC_BOX_CONFIG", file);
    });
    service.manager.wait_for(&["READY=1"]);
    service
}

/// Changes the settings file, sends SIGHUP, and waits until the server is ready again.
fn reload(service: &Service, settings: &str) {
    fs::write(service.environment.folder().join("box.toml"), settings).unwrap();
    service.signal(Signal::HUP);
    service.manager.wait_for(&["RELOADING=1", "MONOTONIC_USEC="]);
    service.manager.wait_for(&["READY=1"]);
}

fn credential(secret: &str) -> Credential {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let secrets = Secrets::new(Secret::new(secret), vec![]);
    secrets.mint(&Principal::Foreign("bob".into()), now + 3600)
}

/// The error code of an Allocate with a credential of `secret`; 0 for success.
fn allocate(service: &Service, last: u8, secret: &str) -> u16 {
    let wire = socket([0, 9, last], service.turn);
    error_code(&TurnClient::with_credential(credential(secret), wire).try_request(
        wire::METHOD_ALLOCATE,
        &[UDP],
        &[],
    ))
}

#[test]
fn hangup_ends_a_try_out_server_except_under_nohup() {
    let environment = Arc::new(Environment::new());
    // The tests may run under nohup, which ignores SIGHUP.
    let mut command = Command::new("env");
    command.arg("--default-signal=HUP").arg(program());
    let server = ServerProcess::start(&environment, environment.configure::<&str>(command, &[]));
    server.signal(Signal::HUP);
    let (status, took) = server.wait_for_exit();
    println!("exit {took:?} after SIGHUP");
    assert!(status.success(), "{status}");

    let environment = Arc::new(Environment::new());
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "trap '' HUP && exec \"$@\"", "sh"]).arg(program());
    let server = ServerProcess::start(&environment, environment.configure::<&str>(command, &[]));
    server.signal(Signal::HUP);
    server.wait_for_line("settings reloaded");
    assert!(!server.has_logged("stopping"));
}

#[test]
fn new_secret_allows_allocations_and_old_ones_continue() {
    let service = start_with_file("static-auth-secret = 'north'");
    let mut seat = Participant::join_room(&service, "kitchen");
    let mut client = TurnClient::with_credential(credential("north"), socket([0, 9, 1], service.turn));
    client.allocate();
    assert_eq!(allocate(&service, 2, "south"), 401);

    reload(&service, "static-auth-secret = 'south'");
    assert_eq!(allocate(&service, 3, "south"), 0);
    assert_eq!(allocate(&service, 4, "north"), 401);
    assert_eq!(error_code(&client.try_request(wire::METHOD_REFRESH, &[], &[])), 0);
    seat.wait_for_credential();
    assert_eq!(Secret::new("south").password(&seat.credential.username), seat.credential.password);
    service.wait_for_line("static-auth-secret");
}

#[test]
fn changed_secret_file_is_read_on_reload() {
    let service = Service::start(|command, environment| {
        fs::write(environment.folder().join("secrets"), "north\n").unwrap();
        command.env_remove("WEBRTC_BOX_STATIC_AUTH_SECRET");
        command.env("WEBRTC_BOX_STATIC_AUTH_SECRET_FILE", environment.folder().join("secrets"));
    });
    service.manager.wait_for(&["READY=1"]);
    fs::write(service.environment.folder().join("secrets"), "south\nnorth\n").unwrap();
    service.signal(Signal::HUP);
    service.manager.wait_for(&["READY=1"]);
    assert_eq!([allocate(&service, 1, "south"), allocate(&service, 2, "north")], [0, 0]);
}

#[test]
fn new_host_key_applies_to_empty_rooms_only() {
    let service = start_with_file("host-key = 'the old key'");
    let join = |room: &str, key: &str| {
        Participant::try_join(&service, &json!({ "type": "join", "room": room, "key": key }))
    };
    let mut host = join("kitchen", "the old key").unwrap();
    reload(&service, "host-key = 'the new key'");
    assert_eq!(join("cellar", "the old key").err().as_deref(), Some("key-required"));
    assert!(join("cellar", "the new key").is_ok());
    assert!(join("kitchen", "none at all").is_ok());
    host.ping();
    service.wait_for_line("host-key");
}

#[test]
fn host_key_file_is_read_on_reload() {
    let keys = |service: &Service| service.environment.folder().join("keys");
    let service = Service::start(|command, environment| {
        fs::write(environment.folder().join("keys"), "\u{feff}old-old-old\r\n").unwrap();
        command.env("WEBRTC_BOX_HOST_KEY_FILE", environment.folder().join("keys"));
    });
    service.manager.wait_for(&["READY=1"]);
    let join = |room: &str, key: &str| {
        Participant::try_join(&service, &json!({ "type": "join", "room": room, "key": key }))
    };
    assert!(join("kitchen", "old-old-old").is_ok());
    fs::write(keys(&service), "# comment\nnew-new-new\n").unwrap();
    service.signal(Signal::HUP);
    service.manager.wait_for(&["READY=1"]);
    assert_eq!(join("cellar", "old-old-old").err().as_deref(), Some("key-required"));
    assert!(join("attic", "new-new-new").is_ok());
    service.wait_for_line("host-key");
}

#[test]
fn reload_changes_the_log_level() {
    let service = start_with_file("log = 'info'");
    let garbage = || service.tcp(service.https).write_all(b"this is not TLS\r\n\r\n").unwrap();
    garbage();
    reload(&service, "log = 'webrtc_box=debug'");
    garbage();
    service.wait_for_line("TLS handshake failed");
}

#[test]
fn invalid_settings_on_reload_change_nothing_and_log_one_line() {
    let service = start_with_file("static-auth-secret = 'north'");
    reload(&service, "static-auth-secret = 'south'\nmin-port = 60000\nmax-port = 50000");
    let line = service.wait_for_line("settings not reloaded");
    assert!(line.contains("min-port 60000 is above max-port 50000; swap them"), "{line}");
    assert_eq!([allocate(&service, 1, "north"), allocate(&service, 2, "south")], [0, 401]);
    reload(&service, "static-auth-secret = ");
    service.wait_for_line("box.toml");
    assert_eq!(allocate(&service, 3, "north"), 0);
}

#[test]
fn reload_names_settings_that_need_a_restart() {
    let service = start_with_file("log = 'info'");
    reload(&service, "realm = 'other'\ntotal-quota = 5\ndrain-timeout = 7");
    let line = service.wait_for_line("changed settings need a restart");
    assert!(line.contains("realm, total-quota") && !line.contains("drain-timeout"), "{line}");
    assert!(service.wait_for_line("settings reloaded").contains("drain-timeout"));
}
