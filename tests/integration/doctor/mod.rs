//! `webrtc-box check` against real boxes, well and ill: what it finds, how it ends, and how soon.

mod checked_server;

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::time::Duration;

use self::checked_server::{CheckedServer, NAME, leaked_secret};
use crate::harness::test_ca::Authority;

/// The goal is fifteen seconds, whatever does not answer; a busy machine gets twice that.
const LONGEST: Duration = Duration::from_secs(30);

#[test]
fn healthy_server_passes_every_check() {
    let server = CheckedServer::new().open(&[]);
    let checked = server.check(&[]);
    println!("a whole check took {} ms", checked.took.as_millis());
    for group in ["settings", "ports", "certificate", "page", "signaling", "relay"] {
        checked.is_well(group);
    }
    let relay = checked.of("relay");
    for way in [
        "UDP on",
        "TCP on",
        &format!("TLS on {}", server.ports.https),
        &format!("TLS on {}", server.ports.turns),
    ] {
        let through =
            |line: &&String| line.contains(way) && line.contains("a packet went through the relay and back");
        assert!(relay.iter().any(|line| through(&line)), "no {way}: {relay:#?}");
    }
    // That the name leads to loopback only is minded, and nothing else is asked of the machine here.
    assert_ne!(checked.report["verdict"], "fail");
    assert!(checked.code < 2, "{}", checked.report);
}

#[test]
fn server_with_proxy_protocol_is_checked() {
    let flags = ["--proxy-protocol", "127.0.0.1", "--proxy-protocol", "::1"];
    let server = CheckedServer::new().open(&flags);
    let checked = server.check(&flags);
    for group in ["page", "signaling", "relay"] {
        checked.is_well(group);
    }
    assert!(checked.code < 2, "{}", checked.report);
}

#[test]
fn server_is_checked_by_domain_alone() {
    let server = CheckedServer::new().open(&[]);
    let checked = server.check_by_name(&[]);
    for group in ["page", "signaling", "relay"] {
        checked.is_well(group);
    }
    assert!(checked.of("ports").is_empty() && checked.of("certificate").is_empty(), "{}", checked.report);
    assert_eq!((checked.code, checked.report["verdict"].as_str()), (0, Some("ok")), "{}", checked.report);
}

#[test]
fn json_report_has_a_fixed_shape() {
    let report = CheckedServer::new().open(&[]).check(&[]).report;
    assert!(report["sentence"].as_str().unwrap().ends_with(&format!("webrtc-box check --domain {NAME}")));
    for finding in report["findings"].as_array().unwrap() {
        assert!(["ok", "warn", "fail"].contains(&finding["mark"].as_str().unwrap()), "{finding}");
        assert!(finding["group"].is_string() && finding["text"].is_string(), "{finding}");
        assert_eq!(finding["cure"].is_null(), finding["mark"] == "ok", "{finding}");
        if finding["group"] == "relay" {
            assert!(finding["round_trip_ms"].as_f64().unwrap() > 0.0, "{finding}");
        }
    }
}

#[test]
fn text_report_has_headings_and_no_secret() {
    let server = CheckedServer::new().open(&[]);
    let said = server.said();
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[..2], ["Settings", &format!("  ok    good, for {NAME}")]);
    assert!(lines.last().unwrap().contains("findings"), "{said}");
    assert!(!leaked_secret(&server.file(""), &said), "{said}");
}

#[test]
fn certificate_for_another_name_fails() {
    let authority = Authority::new();
    let pair = authority.issue("elsewhere.example", 1);
    let checked = CheckedServer::with(authority, &pair).open(&[]).check(&[]);
    checked.says("certificate", "fail", &["is for elsewhere.example and not for localhost"]);
    checked.says("page", "fail", &["the served certificate is for elsewhere.example"]);
    checked.says("relay", "fail", &["TLS on", "for another name"]);
    assert_eq!((checked.code, checked.report["verdict"].as_str()), (2, Some("fail")));
}

#[test]
fn expired_certificate_fails() {
    let authority = Authority::new();
    let pair = authority.issue_until(NAME, 1, 2024);
    let checked = CheckedServer::with(authority, &pair).open(&[]).check(&[]);
    checked.says("certificate", "fail", &["expired on 2024-01-01", "renew it"]);
    assert_eq!(checked.code, 2);
}

#[test]
fn certificate_of_an_unknown_authority_fails() {
    let server = CheckedServer::new().open(&[]);
    std::fs::write(server.file("root.pem"), Authority::new().root_pem()).unwrap();
    let checked = server.check(&[]);
    checked.says("certificate", "fail", &["comes without the certificate of its issuer", "fullchain.pem"]);
    checked.says("relay", "ok", &["UDP on"]);
    assert_eq!(checked.code, 2);
}

#[test]
fn renewed_certificate_that_is_not_served_is_reported() {
    let server = CheckedServer::new().open(&[]);
    // In files of its own: the running box would take it from those it began with.
    let another = server.authority.issue("localhost", 2);
    std::fs::write(server.file("other.pem"), another.cert).unwrap();
    std::fs::write(server.file("other-key.pem"), another.key).unwrap();
    let checked = server.check_with_files("other.pem", "other-key.pem");
    checked.says("page", "warn", &["is not the one in the file cert", "reload"]);
}

#[test]
fn stopped_server_is_reported_with_expected_start_errors() {
    let server = CheckedServer::new();
    let taken = TcpListener::bind(("0.0.0.0", server.ports.http)).unwrap();
    let checked = server.check(&[]);
    checked.says("page", "warn", &["the server does not run", "systemctl start webrtc-box"]);
    checked.says("ports", "ok", &[&format!("{}/tcp (https-port)", server.ports.https), ": free"]);
    checked.says("ports", "fail", &[&format!("{}/tcp (http-port) is in use by", server.ports.http)]);
    assert!(checked.of("relay").is_empty());
    drop(taken);
    assert_eq!(server.check(&[]).code, 1);
    let elsewhere = server.check_by_name(&[]);
    elsewhere.says("page", "fail", &["nothing listens"]);
    assert_eq!(elsewhere.code, 2);
}

#[test]
fn disabled_relay_is_a_warning() {
    let mut server = CheckedServer::new();
    server.ports.turn = 0;
    let checked = server.open(&[]).check_by_name(&[]);
    assert_eq!(checked.of("relay").len(), 1);
    checked.says("relay", "warn", &["the relay is off"]);
    assert_eq!(checked.code, 1);
}

#[test]
fn small_user_quota_makes_checks_sequential() {
    let checked = CheckedServer::new().open(&["--user-quota", "2"]).check_by_name(&[]);
    checked.is_well("relay");
}

#[test]
fn server_with_a_host_key_passes() {
    let checked = CheckedServer::new().open(&["--host-key", "open sesame"]).check_by_name(&[]);
    checked.says("signaling", "ok", &["requires a host key"]);
    assert_eq!(checked.code, 0, "{}", checked.report);
}

#[test]
fn bad_settings_are_a_finding_and_a_bad_flag_is_not() {
    let server = CheckedServer::new();
    let checked = server.checked(&["--min-port", "60000", "--max-port", "50000"]);
    checked.says("settings", "fail", &["min-port 60000 is above max-port 50000; swap them"]);
    assert_eq!(checked.code, 2);
}

#[test]
fn unresolvable_domain_fails_without_further_checks() {
    let checked = CheckedServer::new().checked(&["--domain", "nobody.invalid"]);
    checked.says("addresses", "fail", &["nobody.invalid leads nowhere", "A record"]);
    assert_eq!(checked.code, 2);
}

#[test]
fn check_ends_when_no_one_answers() {
    let server = CheckedServer::new();
    // Whoever connects is left waiting by the kernel, and what is sent goes nowhere.
    let doors = [server.ports.https, server.ports.http, server.ports.turn];
    let _silent = doors.map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap());
    let _deaf = UdpSocket::bind((Ipv4Addr::LOCALHOST, server.ports.turn)).unwrap();
    let turn = server.ports.turn.to_string();
    let checked = server.check_by_name(&["--turn-port", &turn, "--turns-port", "0"]);
    println!("with nobody answering a check took {} ms", checked.took.as_millis());
    checked.says("page", "fail", &["no answer", "firewall"]);
    checked.says("relay", "fail", &["UDP on", "no answer"]);
    checked.says("relay", "warn", &["no credential"]);
    assert!(checked.took < LONGEST, "{:?}", checked.took);
}
