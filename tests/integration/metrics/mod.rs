//! Metrics and health of the real program on `metrics-listen`: scraped before and after an event, and compared
//! series by series.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stun::message as wire;

mod scrape;

use self::scrape::Scrape;
use crate::harness::environment::Environment;
use crate::harness::http_client::{self, Reply};
use crate::harness::participant::Participant;
use crate::harness::server_process::ServerProcess;
use crate::harness::turn_client::{
    Framed, TEST_TIMEOUT, TurnClient, Wire as _, channel_data, error_code, parse, request, socket,
};

/// A server with a metrics listener.
struct MonitoredServer {
    server: ServerProcess,
    metrics: SocketAddr,
}

impl MonitoredServer {
    fn start(settings: &[&str]) -> Self {
        let metrics = SocketAddr::from((Ipv4Addr::LOCALHOST, crate::harness::ports::free_port()));
        let listen = format!("--metrics-listen={metrics}");
        Self { server: ServerProcess::with(&[settings, &[&listen]].concat(), None), metrics }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.metrics).unwrap();
        stream.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
        stream
    }

    fn get(&self, path: &str) -> Reply {
        http_client::get(self.connect(), path)
    }

    fn scrape(&self) -> Scrape {
        let reply = self.get("/metrics");
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(reply.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
        Scrape::parse(reply.text())
    }

    fn health(&self) -> Value {
        let reply = self.get("/healthz");
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()
    }

    /// Waits until exactly these series have changed since `before`. Relay workers publish their counters
    /// twice a second.
    fn wait_for_changes(&self, before: &Scrape, expected: &[(&str, f64)]) -> Scrape {
        let expected: BTreeMap<&str, f64> = expected.iter().copied().collect();
        self.wait_until(|now| now.since(before) == expected)
    }

    fn wait_until(&self, condition: impl Fn(&Scrape) -> bool) -> Scrape {
        let start = Instant::now();
        loop {
            let now = self.scrape();
            if condition(&now) {
                return now;
            }
            assert!(start.elapsed() < TEST_TIMEOUT, "{now:#?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

const FRESH: &str = r#"webrtc_box_joins_total{outcome="fresh"}"#;
const RESUMED: &str = r#"webrtc_box_joins_total{outcome="resumed"}"#;
const SESSIONS: &str = r#"webrtc_box_sessions{transport="websocket"}"#;
const OPENED: &str = r#"webrtc_box_sessions_opened_total{transport="websocket"}"#;
const HANDSHAKES: &str = r#"webrtc_box_tls_handshakes_total{outcome="ok"}"#;
const REQUESTS: &str = r#"webrtc_box_http_requests_total{version="1.1"}"#;
const CHALLENGES: &str = r#"webrtc_box_stun_refusals_total{code="401"}"#;

fn allocations(transport: &str) -> [String; 2] {
    let labels = format!(r#"{{transport="{transport}",family="ipv4"}}"#);
    ["webrtc_box_allocations", "webrtc_box_allocations_opened_total"].map(|name| format!("{name}{labels}"))
}

#[test]
fn each_join_is_counted() {
    let monitored = MonitoredServer::start(&[]);
    let before = monitored.scrape();
    let one = Participant::join_room(&monitored.server, "kitchen");
    let (rooms, seats, sockets) = ("webrtc_box_rooms", "webrtc_box_seats", "webrtc_box_websockets");
    let first = [
        (rooms, 1.0),
        (seats, 1.0),
        (sockets, 1.0),
        (SESSIONS, 1.0),
        (OPENED, 1.0),
        (FRESH, 1.0),
        (HANDSHAKES, 1.0),
        (REQUESTS, 1.0),
    ];
    let after = monitored.wait_for_changes(&before, &first);

    let _other = Participant::join_room(&monitored.server, "kitchen");
    let third = Participant::try_join(&monitored.server, &json!({ "type": "join", "room": "kitchen" }));
    assert_eq!(third.err().as_deref(), Some("room-full"));
    let full = r#"webrtc_box_join_refusals_total{code="room-full"}"#;
    let second = [
        (seats, 1.0),
        (sockets, 1.0),
        (SESSIONS, 1.0),
        (OPENED, 2.0),
        (FRESH, 1.0),
        (full, 1.0),
        (HANDSHAKES, 2.0),
        (REQUESTS, 2.0),
    ];
    let after = monitored.wait_for_changes(&after, &second);

    let _again = Participant::resume(&monitored.server, "kitchen", &one.token);
    let resumed = [(RESUMED, 1.0), (OPENED, 1.0), (HANDSHAKES, 1.0), (REQUESTS, 1.0)];
    let after = monitored.wait_for_changes(&after, &resumed);
    let mut garbage = TcpStream::connect(monitored.server.https).unwrap();
    garbage.write_all(b"this is not a TLS handshake at all").unwrap();
    drop(garbage);
    monitored.wait_for_changes(&after, &[(r#"webrtc_box_tls_handshakes_total{outcome="failed"}"#, 1.0)]);
    let health = monitored.health();
    assert_eq!((&health["rooms"], &health["seats"]), (&json!(1), &json!(2)), "{health}");
}

#[test]
fn each_allocation_and_payload_is_counted() {
    let monitored = MonitoredServer::start(&[]);
    let before = monitored.scrape();
    let (one, at_one) = TurnClient::with_allocation(socket([0, 7, 1], monitored.server.turn));
    let (other, at_other) = TurnClient::with_allocation(Framed::new(monitored.server.tls()));
    let (mut one, mut other) = (one, other);
    one.bind(0x4000, at_other);
    other.bind(0x4000, at_one);
    let ([udp, udp_opened], [tls, tls_opened]) = (allocations("udp"), allocations("tls"));
    let opened = [
        (&*udp, 1.0),
        (&*udp_opened, 1.0),
        (&*tls, 1.0),
        (&*tls_opened, 1.0),
        (CHALLENGES, 2.0),
        (HANDSHAKES, 1.0),
    ];
    let after = monitored.wait_for_changes(&before, &opened);
    assert_eq!(monitored.health()["allocations"], 2);

    // One after the other, so that no queue fills up.
    for size in 1..=100 {
        one.wire.send_message(&channel_data(0x4000, &vec![7; size]));
        other.wire.receive().expect("the payload");
    }
    other.wire.send_message(&channel_data(0x4000, &[8; 20]));
    one.wire.receive().expect("the payload");
    // Data on an unbound channel is dropped.
    one.wire.send_message(&channel_data(0x4001, &[9; 30]));
    let packets = r#"webrtc_box_relayed_packets_total{way="across"}"#;
    let bytes = r#"webrtc_box_relayed_bytes_total{way="across"}"#;
    let after = monitored.wait_for_changes(&after, &[(packets, 101.0), (bytes, 5050.0 + 20.0)]);

    let outside = "45.0.0.1:9".parse().unwrap();
    assert_eq!(error_code(&one.try_request(wire::METHOD_CREATE_PERMISSION, &[], &[outside])), 403);
    one.delete();
    drop(other);
    let closed = [
        (r#"webrtc_box_stun_refusals_total{code="403"}"#, 1.0),
        (&*udp, -1.0),
        (&*tls, -1.0),
        (r#"webrtc_box_allocations_ended_total{reason="deleted"}"#, 1.0),
        (r#"webrtc_box_allocations_ended_total{reason="disconnected"}"#, 1.0),
    ];
    monitored.wait_for_changes(&after, &closed);
}

#[test]
fn page_reports_are_counted_and_an_ended_call_logs_one_line() {
    let monitored = MonitoredServer::start(&[]);
    let mut pair = [(); 2].map(|()| Participant::join_room(&monitored.server, "kitchen"));
    let before = monitored.scrape();
    for (seat, setup) in pair.iter_mut().zip([400, 1500]) {
        seat.send(&json!({ "type": "report", "path": "relay-udp", "setup": setup }));
        // A second report of one connection does not count.
        seat.send(&json!({ "type": "report", "path": "relay-udp", "setup": 9 }));
        seat.ping();
    }
    let name = "webrtc_box_call_setup_seconds";
    let bucket = |bound: &str| format!(r#"{name}_bucket{{path="relay-udp",le="{bound}"}}"#);
    let [sum, count] = ["sum", "count"].map(|part| format!(r#"{name}_{part}{{path="relay-udp"}}"#));
    let mut expected: Vec<(String, f64)> = vec![(sum, 1.9), (count, 2.0)];
    expected.extend(["0.5", "1"].map(|bound| (bucket(bound), 1.0)));
    expected.extend(["2", "3", "5", "10", "20", "30", "+Inf"].map(|bound| (bucket(bound), 2.0)));
    let expected: Vec<(&str, f64)> = expected.iter().map(|(series, by)| (&**series, *by)).collect();
    let after = monitored.wait_for_changes(&before, &expected);

    pair[0]
        .send(&json!({ "type": "report", "path": "relay-udp", "rtt": 31, "lost": 0.0123, "bytes": 98765 }));
    pair[0].send(&json!({ "type": "leave" }));
    pair[1].wait_for("peer-leave");
    let ended = r#"webrtc_box_calls_ended_total{path="relay-udp"}"#;
    monitored.wait_for_changes(&after, &[(ended, 1.0), ("webrtc_box_seats", -1.0)]);
    let line = monitored.server.wait_for_line("call ended");
    calls_that_no_page_reports_do_not_count_as_not_connected(&monitored);
    let fields = ["path=\"relay-udp\"", "bytes=98765", "lost_percent=1.23", "rtt_ms=31", "setup_ms=1500"];
    assert!(fields.iter().all(|field| line.contains(field)), "{line}");
    assert!(!line.contains("kitchen") && !line.contains("127.0.0.1"), "{line}");
}

/// The alert of docs/operations.md counts `none` among all but `unreported`.
fn calls_that_no_page_reports_do_not_count_as_not_connected(monitored: &MonitoredServer) {
    let cases = [("cellar", None, "unreported"), ("attic", Some(json!({ "type": "report" })), "none")];
    let mut pairs = Vec::new();
    for (room, report, path) in cases {
        let mut pair = [(); 2].map(|()| Participant::join_room(&monitored.server, room));
        let before = monitored.scrape();
        report.into_iter().for_each(|report| pair[0].send(&report));
        pair[0].send(&json!({ "type": "leave" }));
        pair[1].wait_for("peer-leave");
        let ended = format!(r#"webrtc_box_calls_ended_total{{path="{path}"}}"#);
        monitored.wait_for_changes(&before, &[(&ended, 1.0), ("webrtc_box_seats", -1.0)]);
        pairs.push(pair);
    }
}

#[test]
fn room_name_is_logged_if_configured() {
    let server = ServerProcess::with(&["--log-addresses=on"], None);
    let mut pair = [(); 2].map(|()| Participant::join_room(&server, "kitchen"));
    pair[0].send(&json!({ "type": "leave" }));
    let line = server.wait_for_line("call ended");
    assert!(line.contains("path=\"unreported\"") && line.contains("room=\"kitchen\""), "{line}");
}

#[test]
fn client_input_never_creates_a_metric_series() {
    let monitored = MonitoredServer::start(&["--unauth-reply-rate", "0"]);
    let before = monitored.scrape();
    let mut client = TurnClient::new(socket([0, 7, 2], monitored.server.turn));
    let mut seat = Participant::join_room(&monitored.server, "kitchen");
    for number in 0..1000_u32 {
        let mut transaction = [0xdd; 12];
        transaction[..4].copy_from_slice(&number.to_be_bytes());
        let username = format!("1999999999:{number}\"\n\\}} 1");
        let attributes =
            [crate::harness::turn_client::UDP, (stun::attributes::ATTR_USERNAME, username.as_bytes())];
        let message = request(wire::METHOD_ALLOCATE, transaction, &attributes);
        client.wire.send_message(&client.signed(message));
        let refused = error_code(&parse(&client.wire.receive().unwrap()));
        assert!([400, 401].contains(&refused), "{refused}");
    }
    for number in 0..100 {
        let frames = [
            json!({ "type": "join", "room": format!("room-{number}") }),
            json!({ "type": "report", "path": format!("path-{number}"), "setup": 1 }),
        ];
        // A new connection each time, because the messages of one are rate limited.
        let mut other = Participant::join_room(&monitored.server, &format!("room-{number}"));
        frames.iter().for_each(|frame| other.send(frame));
        assert_eq!(other.wait_for("error")["code"], "already-joined");
        assert_eq!(other.wait_for("error")["code"], "bad-message");
    }
    let codes = ["400", "401"].map(|code| format!("webrtc_box_stun_refusals_total{{code=\"{code}\"}}"));
    let refused =
        |after: &Scrape| codes.iter().map(|series| after.value(series) - before.value(series)).sum::<f64>();
    // One more, because the client got its nonce from a 401.
    let after = monitored.wait_until(|after| refused(after) == 1001.0);
    assert_eq!(after.series(), before.series());
    println!("{} series", after.series().len());
    seat.ping();
}

#[test]
fn local_connections_do_not_exhaust_the_metrics_listener() {
    let monitored = MonitoredServer::start(&["--source-connections", "2"]);
    let before = monitored.scrape();
    let _open = [(); 2].map(|()| TcpStream::connect(monitored.server.https).unwrap());
    let mut third = TcpStream::connect(monitored.server.https).unwrap();
    third.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
    assert!(third.read(&mut [0]).is_ok_and(|length| length == 0), "the third is closed");
    monitored.wait_for_changes(&before, &[("webrtc_box_connections_refused_total", 1.0)]);
}

#[test]
fn metrics_listener_serves_only_its_paths_and_is_bounded() {
    let monitored = MonitoredServer::start(&[]);
    for path in ["/", "/ws", "/test.json", "/r/kitchen", "/metrics/x"] {
        assert_eq!(monitored.get(path).status, 404, "{path}");
    }
    let post = "POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    assert_eq!(http_client::send(monitored.connect(), post).status, 405);
    let long = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(17 * 1024));
    assert_eq!(http_client::send(monitored.connect(), &long).status, 431);
    let health = monitored.health();
    assert_eq!(health["status"], "up");
    let names = |list: &str| {
        let list = health[list].as_array().unwrap();
        assert!(list.iter().all(|item| item["up"] == true), "{health}");
        list.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let name_of = |kind: &str, address: SocketAddr| format!("{kind} {address}");
    let mut listeners = names("listeners");
    listeners.sort();
    let turn = name_of("turn", monitored.server.turn);
    assert_eq!(
        listeners,
        [name_of("https", monitored.server.https), name_of("metrics", monitored.metrics), turn]
    );
    assert!(names("workers").iter().all(|name| name.starts_with("relay-") || name == "rooms"));
}

#[test]
fn port_in_use_ends_the_start_with_one_line() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap();
    let output = Environment::new().command(&[format!("--metrics-listen={address}")]).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{error}");
    let last = error.lines().last().unwrap_or_default();
    assert!(last.contains(&format!("metrics-listen {} is in use at {address}", address.port())), "{error}");
}
