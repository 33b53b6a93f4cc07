//! What the real program shows of itself on `metrics-listen`: scraped before and after something has
//! happened, and compared number by number.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stun::message as wire;

mod scrape;

use self::scrape::Scrape;
use crate::harness::environment::Environment;
use crate::harness::participant::Participant;
use crate::harness::server_process::ServerProcess;
use crate::harness::turn_client::{
    Framed, PATIENCE, TurnClient, Wire as _, channel_data, code, read, request, socket,
};

/// A box that is looked at.
struct Watched {
    server: ServerProcess,
    at: SocketAddr,
}

impl Watched {
    fn open(settings: &[&str]) -> Self {
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, crate::harness::ports::free_port()));
        let listen = format!("--metrics-listen={at}");
        Self { server: ServerProcess::with(&[settings, &[&listen]].concat(), None), at }
    }

    /// A request's status, headers and body.
    fn ask(&self, request: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.at).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        let (head, body) = said.split_once("\r\n\r\n").expect("a whole head");
        (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_owned(), body.to_owned())
    }

    fn get(&self, path: &str) -> (u16, String, String) {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
    }

    fn scrape(&self) -> Scrape {
        let (status, head, body) = self.get("/metrics");
        assert_eq!(status, 200, "{body}");
        assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{head}");
        Scrape::read(&body)
    }

    fn health(&self) -> Value {
        let (status, _, body) = self.get("/healthz");
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Waits until exactly this has changed since `before`: the relay's workers show their counts twice
    /// a second.
    fn changes(&self, before: &Scrape, wanted: &[(&str, f64)]) -> Scrape {
        let wanted: BTreeMap<&str, f64> = wanted.iter().copied().collect();
        self.until(|now| now.since(before) == wanted)
    }

    fn until(&self, holds: impl Fn(&Scrape) -> bool) -> Scrape {
        let begun = Instant::now();
        loop {
            let now = self.scrape();
            if holds(&now) {
                return now;
            }
            assert!(begun.elapsed() < PATIENCE, "{now:#?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

const FRESH: &str = r#"webrtc_box_joins_total{outcome="fresh"}"#;
const RESUMED: &str = r#"webrtc_box_joins_total{outcome="resumed"}"#;
const HANDSHAKES: &str = r#"webrtc_box_tls_handshakes_total{outcome="ok"}"#;
const CHALLENGES: &str = r#"webrtc_box_stun_refusals_total{code="401"}"#;

fn allocations(transport: &str) -> [String; 2] {
    let labels = format!(r#"{{transport="{transport}",family="ipv4"}}"#);
    ["webrtc_box_allocations", "webrtc_box_allocations_opened_total"].map(|name| format!("{name}{labels}"))
}

#[test]
fn each_join_is_counted() {
    let watched = Watched::open(&[]);
    let before = watched.scrape();
    let one = Participant::join_room(&watched.server, "kitchen");
    let (rooms, seats, sockets) = ("webrtc_box_rooms", "webrtc_box_seats", "webrtc_box_websockets");
    let first = [(rooms, 1.0), (seats, 1.0), (sockets, 1.0), (FRESH, 1.0), (HANDSHAKES, 1.0)];
    let after = watched.changes(&before, &first);

    let _other = Participant::join_room(&watched.server, "kitchen");
    let third = Participant::attempt(&watched.server, &json!({ "type": "join", "room": "kitchen" }));
    assert_eq!(third.err().as_deref(), Some("room-full"));
    let full = r#"webrtc_box_join_refusals_total{code="room-full"}"#;
    let second = [(seats, 1.0), (sockets, 1.0), (FRESH, 1.0), (full, 1.0), (HANDSHAKES, 2.0)];
    let after = watched.changes(&after, &second);

    let _again = Participant::resume(&watched.server, "kitchen", &one.token);
    let after = watched.changes(&after, &[(RESUMED, 1.0), (HANDSHAKES, 1.0)]);
    let mut noise = TcpStream::connect(watched.server.https).unwrap();
    noise.write_all(b"no TLS at all, whatever this may be").unwrap();
    drop(noise);
    watched.changes(&after, &[(r#"webrtc_box_tls_handshakes_total{outcome="failed"}"#, 1.0)]);
    let health = watched.health();
    assert_eq!((&health["rooms"], &health["seats"]), (&json!(1), &json!(2)), "{health}");
}

#[test]
fn each_allocation_and_payload_is_counted() {
    let watched = Watched::open(&[]);
    let before = watched.scrape();
    let (one, at_one) = TurnClient::allocated(socket([0, 7, 1], watched.server.turn));
    let (other, at_other) = TurnClient::allocated(Framed::new(watched.server.tls()));
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
    let after = watched.changes(&before, &opened);
    assert_eq!(watched.health()["allocations"], 2);

    // One after the other, so that none waits for a client that does not read.
    for size in 1..=100 {
        one.wire.say(&channel_data(0x4000, &vec![7; size]));
        other.wire.receive().expect("the payload");
    }
    other.wire.say(&channel_data(0x4000, &[8; 20]));
    one.wire.receive().expect("the payload");
    // A channel that is not bound leads nowhere.
    one.wire.say(&channel_data(0x4001, &[9; 30]));
    let packets = r#"webrtc_box_relayed_packets_total{way="across"}"#;
    let bytes = r#"webrtc_box_relayed_bytes_total{way="across"}"#;
    let after = watched.changes(&after, &[(packets, 101.0), (bytes, 5050.0 + 20.0)]);

    let unauthenticated_client = "45.0.0.1:9".parse().unwrap();
    assert_eq!(code(&one.attempt(wire::METHOD_CREATE_PERMISSION, &[], &[unauthenticated_client])), 403);
    one.delete();
    drop(other);
    let gone = [
        (r#"webrtc_box_stun_refusals_total{code="403"}"#, 1.0),
        (&*udp, -1.0),
        (&*tls, -1.0),
        (r#"webrtc_box_allocations_ended_total{reason="deleted"}"#, 1.0),
        (r#"webrtc_box_allocations_ended_total{reason="disconnected"}"#, 1.0),
    ];
    watched.changes(&after, &gone);
}

#[test]
fn page_reports_are_counted_and_an_ended_call_logs_one_line() {
    let watched = Watched::open(&[]);
    let mut pair = [(); 2].map(|()| Participant::join_room(&watched.server, "kitchen"));
    let before = watched.scrape();
    for (seat, setup) in pair.iter_mut().zip([400, 1500]) {
        seat.say(&json!({ "type": "report", "path": "relay-udp", "setup": setup }));
        // One connection is told of once.
        seat.say(&json!({ "type": "report", "path": "relay-udp", "setup": 9 }));
        seat.ping();
    }
    let name = "webrtc_box_call_setup_seconds";
    let bucket = |bound: &str| format!(r#"{name}_bucket{{path="relay-udp",le="{bound}"}}"#);
    let [sum, count] = ["sum", "count"].map(|part| format!(r#"{name}_{part}{{path="relay-udp"}}"#));
    let mut wanted: Vec<(String, f64)> = vec![(sum, 1.9), (count, 2.0)];
    wanted.extend(["0.5", "1"].map(|bound| (bucket(bound), 1.0)));
    wanted.extend(["2", "3", "5", "10", "20", "30", "+Inf"].map(|bound| (bucket(bound), 2.0)));
    let wanted: Vec<(&str, f64)> = wanted.iter().map(|(series, by)| (&**series, *by)).collect();
    let after = watched.changes(&before, &wanted);

    pair[0].say(&json!({ "type": "report", "path": "relay-udp", "rtt": 31, "lost": 0.0123, "bytes": 98765 }));
    pair[0].say(&json!({ "type": "leave" }));
    pair[1].hear("peer-leave");
    let ended = r#"webrtc_box_calls_ended_total{path="relay-udp"}"#;
    watched.changes(&after, &[(ended, 1.0), ("webrtc_box_seats", -1.0)]);
    let line = watched.server.wait_for_line("call ended");
    calls_that_no_page_reports_do_not_count_as_not_connected(&watched);
    let told = ["path=\"relay-udp\"", "bytes=98765", "lost_percent=1.23", "rtt_ms=31", "setup_ms=1500"];
    assert!(told.iter().all(|word| line.contains(word)), "{line}");
    assert!(!line.contains("kitchen") && !line.contains("127.0.0.1"), "{line}");
}

/// The alert of docs/operations.md counts `none` among all but `unreported`.
fn calls_that_no_page_reports_do_not_count_as_not_connected(watched: &Watched) {
    let cases = [("cellar", None, "unreported"), ("attic", Some(json!({ "type": "report" })), "none")];
    let mut pairs = Vec::new();
    for (room, report, path) in cases {
        let mut pair = [(); 2].map(|()| Participant::join_room(&watched.server, room));
        let before = watched.scrape();
        report.into_iter().for_each(|report| pair[0].say(&report));
        pair[0].say(&json!({ "type": "leave" }));
        pair[1].hear("peer-leave");
        let ended = format!(r#"webrtc_box_calls_ended_total{{path="{path}"}}"#);
        watched.changes(&before, &[(&ended, 1.0), ("webrtc_box_seats", -1.0)]);
        pairs.push(pair);
    }
}

#[test]
fn room_name_is_logged_if_configured() {
    let server = ServerProcess::with(&["--log-addresses=on"], None);
    let mut pair = [(); 2].map(|()| Participant::join_room(&server, "kitchen"));
    pair[0].say(&json!({ "type": "leave" }));
    let line = server.wait_for_line("call ended");
    assert!(line.contains("path=\"unreported\"") && line.contains("room=\"kitchen\""), "{line}");
}

#[test]
fn client_input_never_creates_a_metric_series() {
    let watched = Watched::open(&["--unauth-reply-rate", "0"]);
    let before = watched.scrape();
    let mut client = TurnClient::new(socket([0, 7, 2], watched.server.turn));
    let mut seat = Participant::join_room(&watched.server, "kitchen");
    for number in 0..1000_u32 {
        let mut transaction = [0xdd; 12];
        transaction[..4].copy_from_slice(&number.to_be_bytes());
        let username = format!("1999999999:{number}\"\n\\}} 1");
        let attributes =
            [crate::harness::turn_client::UDP, (stun::attributes::ATTR_USERNAME, username.as_bytes())];
        let message = request(wire::METHOD_ALLOCATE, transaction, &attributes);
        client.wire.say(&client.signed(message));
        let refused = code(&read(&client.wire.receive().unwrap()));
        assert!([400, 401].contains(&refused), "{refused}");
    }
    for number in 0..100 {
        let frames = [
            json!({ "type": "join", "room": format!("room-{number}") }),
            json!({ "type": "report", "path": format!("way-{number}"), "setup": 1 }),
        ];
        // A new connection now and then: it may not say too much at once.
        let mut other = Participant::join_room(&watched.server, &format!("room-{number}"));
        frames.iter().for_each(|frame| other.say(frame));
        assert_eq!(other.hear("error")["code"], "already-joined");
        assert_eq!(other.hear("error")["code"], "bad-message");
    }
    let codes = ["400", "401"].map(|code| format!("webrtc_box_stun_refusals_total{{code=\"{code}\"}}"));
    let refused =
        |after: &Scrape| codes.iter().map(|series| after.of(series) - before.of(series)).sum::<f64>();
    // The one more was how the client came by its nonce.
    let after = watched.until(|after| refused(after) == 1001.0);
    assert_eq!(after.series(), before.series());
    println!("{} series", after.series().len());
    seat.ping();
}

#[test]
fn local_connections_do_not_exhaust_the_metrics_listener() {
    let watched = Watched::open(&["--source-connections", "2"]);
    let before = watched.scrape();
    let _held = [(); 2].map(|()| TcpStream::connect(watched.server.https).unwrap());
    let mut third = TcpStream::connect(watched.server.https).unwrap();
    third.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(third.read(&mut [0]).is_ok_and(|length| length == 0), "the third is turned off");
    watched.changes(&before, &[("webrtc_box_connections_refused_total", 1.0)]);
}

#[test]
fn metrics_listener_serves_only_its_paths_and_is_bounded() {
    let watched = Watched::open(&[]);
    for path in ["/", "/ws", "/test.json", "/r/kitchen", "/metrics/x"] {
        assert_eq!(watched.get(path).0, 404, "{path}");
    }
    let post = "POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    assert_eq!(watched.ask(post).0, 405);
    let endless = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(17 * 1024));
    assert_eq!(watched.ask(&endless).0, 431);
    let health = watched.health();
    assert_eq!(health["status"], "up");
    let names = |list: &str| {
        let list = health[list].as_array().unwrap();
        assert!(list.iter().all(|one| one["up"] == true), "{health}");
        list.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let at = |kind: &str, at: SocketAddr| format!("{kind} {at}");
    let mut listeners = names("listeners");
    listeners.sort();
    let turn = at("turn", watched.server.turn);
    assert_eq!(listeners, [at("https", watched.server.https), at("metrics", watched.at), turn]);
    assert!(names("workers").iter().all(|name| name.starts_with("relay-") || name == "rooms"));
}

#[test]
fn port_in_use_ends_the_start_with_one_line() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let at = taken.local_addr().unwrap();
    let output = Environment::new().command(&[format!("--metrics-listen={at}")]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{said}");
    let last = said.lines().last().unwrap_or_default();
    assert!(last.contains(&format!("metrics-listen {} is in use at {at}", at.port())), "{said}");
}
