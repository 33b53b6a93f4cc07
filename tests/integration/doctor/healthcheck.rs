//! `webrtc-box healthcheck` against servers that run, do not run, or do not answer.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::thread;

use super::checked_server::CheckedServer;
use crate::harness::ports::free_port;

fn metrics(address: &TcpListener) -> String {
    address.local_addr().unwrap().to_string()
}

#[test]
fn running_server_is_healthy_over_metrics_and_over_the_page() {
    let address = format!("127.0.0.1:{}", free_port());
    let server = CheckedServer::new().start(&["--metrics-listen", &address]);
    server.assert_healthy(&["--metrics-listen", &address]);
    let https = server.ports.https.to_string();
    server.assert_healthy(&["--https-port", &https]);
    // The name and the files of the certificate do not matter.
    server.assert_healthy(&[
        "--https-port",
        &https,
        "--domain",
        "other.example",
        "--acme-email",
        "a@b.example",
    ]);
}

#[test]
fn page_behind_the_proxy_protocol_is_asked_with_its_header() {
    let flags = ["--proxy-protocol", "127.0.0.1"];
    let server = CheckedServer::new().start(&flags);
    let https = server.ports.https.to_string();
    server.assert_healthy(&["--https-port", &https, flags[0], flags[1]]);
}

#[test]
fn stopped_server_is_not_healthy() {
    let server = CheckedServer::new();
    let error = server.healthcheck_error(&["--https-port", &server.ports.https.to_string()]);
    assert!(error.contains("no healthy server at https://127.0.0.1:"), "{error}");
    assert!(error.contains("nothing listens there"), "{error}");
    let error = server.healthcheck_error(&["--https-port", "0"]);
    assert!(error.contains("no listener to ask; set metrics-listen"), "{error}");
}

#[test]
fn listener_without_an_answer_is_not_healthy_within_three_seconds() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let server = CheckedServer::new();
    let started = std::time::Instant::now();
    let error = server.healthcheck_error(&["--metrics-listen", &metrics(&silent)]);
    let took = started.elapsed();
    println!("an unanswered healthcheck took {} ms", took.as_millis());
    assert!(error.contains("no answer"), "{error}");
    // The goal is two seconds.
    assert!(took.as_secs() < 6, "{took:?}");
}

#[test]
fn server_that_is_down_or_another_program_is_not_healthy() {
    let server = CheckedServer::new();
    for (body, expected) in [
        (r#"{"status":"down","why":"does not respond: relay-0"}"#, "is down: does not respond: relay-0"),
        ("hello", "it answers, but not as webrtc-box"),
    ] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = metrics(&listener);
        let answering = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
            let head = "HTTP/1.1 503 Service Unavailable\r\nConnection: close";
            write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        });
        let error = server.healthcheck_error(&["--metrics-listen", &address]);
        assert!(error.contains(expected), "{error}");
        answering.join().unwrap();
    }
}
