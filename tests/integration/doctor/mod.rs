//! `webrtc-box check` against real servers, working and broken: findings, exit code and duration.

mod blocking_proxy;
mod checked_server;
mod cluster;
mod healthcheck;

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::time::Duration;

use self::blocking_proxy::BlockingProxy;
use self::checked_server::{CheckedServer, NAME, contains_secret};
use crate::harness::test_ca::Authority;

/// The goal is fifteen seconds even if nothing answers; a busy machine gets twice that.
const TIME_LIMIT: Duration = Duration::from_secs(30);

#[test]
fn healthy_server_passes_every_check() {
    let server = CheckedServer::new().start(&[]);
    let checked = server.check(&[]);
    println!("a complete check took {} ms", checked.took.as_millis());
    for group in ["settings", "ports", "certificate", "page", "signaling", "relay"] {
        checked.assert_ok(group);
    }
    let relay = checked.findings("relay");
    for way in [
        "UDP on",
        "TCP on",
        &format!("TLS on {}", server.ports.https),
        &format!("TLS on {}", server.ports.turns),
    ] {
        let passed =
            |line: &&String| line.contains(way) && line.contains("a packet went through the relay and back");
        assert!(relay.iter().any(|line| passed(&line)), "no {way}: {relay:#?}");
    }
    // The only warning is that the domain resolves to loopback; other facts of the machine are not asserted.
    assert_ne!(checked.report["verdict"], "fail");
    assert!(checked.code < 2, "{}", checked.report);
}

#[test]
fn server_with_proxy_protocol_is_checked() {
    let flags = ["--proxy-protocol", "127.0.0.1", "--proxy-protocol", "::1"];
    let server = CheckedServer::new().start(&flags);
    let checked = server.check(&flags);
    for group in ["page", "signaling", "relay"] {
        checked.assert_ok(group);
    }
    assert!(checked.code < 2, "{}", checked.report);
}

#[test]
fn server_is_checked_by_domain_alone() {
    let server = CheckedServer::new().start(&[]);
    let checked = server.check_by_name(&[]);
    for group in ["page", "signaling", "relay"] {
        checked.assert_ok(group);
    }
    assert!(
        checked.findings("ports").is_empty() && checked.findings("certificate").is_empty(),
        "{}",
        checked.report
    );
    assert_eq!((checked.code, checked.report["verdict"].as_str()), (0, Some("ok")), "{}", checked.report);
}

#[test]
fn blocked_websocket_is_told_from_an_unreachable_server() {
    let server = CheckedServer::new().start(&[]);
    let check = |blocked| {
        let proxy = BlockingProxy::start(&server, blocked);
        server.check_with_settings(&["--domain", NAME, "--https-port", &proxy.port.to_string()])
    };
    let no_websocket = check(&["upgrade: websocket"]);
    no_websocket.assert_finding("signaling", "warn", &["blocks WebSockets", "over HTTP", "Upgrade"]);
    let neither = check(&["upgrade: websocket", "post /poll"]);
    neither.assert_finding("signaling", "fail", &["cannot be reached", "/ws", "/poll"]);
}

#[test]
fn json_report_has_a_fixed_shape() {
    let report = CheckedServer::new().start(&[]).check(&[]).report;
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
    let server = CheckedServer::new().start(&[]);
    let report = server.text_report();
    let lines: Vec<_> = report.lines().collect();
    assert_eq!(lines[..2], ["Settings", &format!("  ok    good, for {NAME}")]);
    assert!(lines.last().unwrap().contains("findings"), "{report}");
    assert!(!contains_secret(&server.file(""), &report), "{report}");
}

#[test]
fn certificate_for_another_name_fails() {
    let authority = Authority::new();
    let pair = authority.issue("elsewhere.example", 1);
    let checked = CheckedServer::with_certificate(authority, &pair).start(&[]).check(&[]);
    checked.assert_finding("certificate", "fail", &["is for elsewhere.example and not for localhost"]);
    checked.assert_finding("page", "fail", &["the served certificate is for elsewhere.example"]);
    checked.assert_finding("relay", "fail", &["TLS on", "for another name"]);
    assert_eq!((checked.code, checked.report["verdict"].as_str()), (2, Some("fail")));
}

#[test]
fn expired_certificate_fails() {
    let authority = Authority::new();
    let pair = authority.issue_until(NAME, 1, 2024);
    let checked = CheckedServer::with_certificate(authority, &pair).start(&[]).check(&[]);
    checked.assert_finding("certificate", "fail", &["expired on 2024-01-01", "renew it"]);
    assert_eq!(checked.code, 2);
}

#[test]
fn certificate_of_an_unknown_authority_fails() {
    let server = CheckedServer::new().start(&[]);
    std::fs::write(server.file("root.pem"), Authority::new().root_pem()).unwrap();
    let checked = server.check(&[]);
    checked.assert_finding(
        "certificate",
        "fail",
        &["comes without the certificate of its issuer", "fullchain.pem"],
    );
    checked.assert_finding("relay", "ok", &["UDP on"]);
    assert_eq!(checked.code, 2);
}

#[test]
fn renewed_certificate_that_is_not_served_is_reported() {
    let server = CheckedServer::new().start(&[]);
    // In other files, because the server would reload its own.
    let another = server.authority.issue("localhost", 2);
    std::fs::write(server.file("other.pem"), another.cert).unwrap();
    std::fs::write(server.file("other-key.pem"), another.key).unwrap();
    let checked = server.check_with_files("other.pem", "other-key.pem");
    checked.assert_finding("page", "warn", &["is not the one in the file cert", "reload"]);
}

#[test]
fn stopped_server_is_reported_with_expected_start_errors() {
    let server = CheckedServer::new();
    let taken = TcpListener::bind(("0.0.0.0", server.ports.http)).unwrap();
    let checked = server.check(&[]);
    checked.assert_finding("page", "warn", &["the server does not run", "systemctl start webrtc-box"]);
    checked.assert_finding("ports", "ok", &[&format!("{}/tcp (https-port)", server.ports.https), ": free"]);
    checked.assert_finding(
        "ports",
        "fail",
        &[&format!("{}/tcp (http-port) is in use by", server.ports.http)],
    );
    assert!(checked.findings("relay").is_empty());
    drop(taken);
    assert_eq!(server.check(&[]).code, 1);
    let by_name = server.check_by_name(&[]);
    by_name.assert_finding("page", "fail", &["nothing listens"]);
    assert_eq!(by_name.code, 2);
}

#[test]
fn disabled_relay_is_a_warning() {
    let mut server = CheckedServer::new();
    server.ports.turn = 0;
    let checked = server.start(&[]).check_by_name(&[]);
    assert_eq!(checked.findings("relay").len(), 1);
    checked.assert_finding("relay", "warn", &["the relay is off"]);
    assert_eq!(checked.code, 1);
}

#[test]
fn small_user_quota_makes_checks_sequential() {
    let checked = CheckedServer::new().start(&["--user-quota", "2"]).check_by_name(&[]);
    checked.assert_ok("relay");
}

#[test]
fn server_with_a_host_key_passes() {
    let checked = CheckedServer::new().start(&["--host-key", "open sesame"]).check_by_name(&[]);
    checked.assert_finding("signaling", "ok", &["requires a host key"]);
    assert_eq!(checked.code, 0, "{}", checked.report);
}

#[test]
fn bad_settings_are_a_finding_and_a_bad_flag_is_not() {
    let server = CheckedServer::new();
    let checked = server.check_with_settings(&["--min-port", "60000", "--max-port", "50000"]);
    checked.assert_finding("settings", "fail", &["min-port 60000 is above max-port 50000; swap them"]);
    assert_eq!(checked.code, 2);
}

#[test]
fn unresolvable_domain_fails_without_further_checks() {
    let checked = CheckedServer::new().check_with_settings(&["--domain", "unknown.invalid"]);
    checked.assert_finding("addresses", "fail", &["unknown.invalid leads nowhere", "A record"]);
    assert_eq!(checked.code, 2);
}

#[test]
fn check_ends_when_no_one_answers() {
    let server = CheckedServer::new();
    // The kernel accepts connections and datagrams, but nothing reads them.
    let ports = [server.ports.https, server.ports.http, server.ports.turn];
    let _silent = ports.map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap());
    let _unread = UdpSocket::bind((Ipv4Addr::LOCALHOST, server.ports.turn)).unwrap();
    let turn = server.ports.turn.to_string();
    let checked = server.check_by_name(&["--turn-port", &turn, "--turns-port", "0"]);
    println!("without any answer a check took {} ms", checked.took.as_millis());
    checked.assert_finding("page", "fail", &["no answer", "firewall"]);
    checked.assert_finding("relay", "fail", &["UDP on", "no answer"]);
    checked.assert_finding("relay", "warn", &["no credential"]);
    assert!(checked.took < TIME_LIMIT, "{:?}", checked.took);
}
