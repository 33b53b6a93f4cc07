//! Dead components in a running server.

use std::net::Ipv4Addr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::*;
use crate::config::{RawSettings, StateDirDefaults};

/// How long a test waits for an event.
const DEADLINE: Duration = Duration::from_secs(20);

async fn start_in(dir: &tempfile::TempDir) -> Running {
    let raw = RawSettings {
        listen: Some(vec!["127.0.0.1".into()]),
        state_dir: dir.path().to_str().map(str::to_owned),
        ..RawSettings::default()
    };
    let mut settings = raw.validate(&StateDirDefaults::default()).unwrap();
    (settings.https_port, settings.http_port, settings.turn_port) = (Some(0), None, Some(0));
    settings.metrics_listen = Some((Ipv4Addr::LOCALHOST, 0).into());
    start(settings).await.unwrap()
}

/// The status code and the body of the detailed `/healthz`.
async fn health(running: &Running) -> (u16, Value) {
    let mut stream = TcpStream::connect(running.metrics[0]).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
}

/// Waits until the server is down, and returns its report.
async fn wait_until_down(running: &Running) -> Value {
    let started = Instant::now();
    loop {
        let (code, report) = health(running).await;
        assert_eq!(code == 503, report["status"] == "down", "{report}");
        if code == 503 {
            return report;
        }
        assert!(started.elapsed() < DEADLINE, "{report}");
        sleep(Duration::from_millis(20)).await;
    }
}

fn down(report: &Value, list: &str) -> Vec<String> {
    let down = report[list].as_array().unwrap().iter().filter(|component| component["up"] == false);
    down.map(|component| component["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_listener_fails_the_health_check() {
    let dir = tempfile::tempdir().unwrap();
    let running = start_in(&dir).await;
    assert_eq!(health(&running).await.0, 200);
    // Task 0 is the metrics listener, which `health` needs.
    running.tasks[1].abort();
    let report = wait_until_down(&running).await;
    let name = format!("https {}", running.https[0]);
    assert_eq!(down(&report, "listeners"), [&*name]);
    assert_eq!(report["why"], format!("does not respond: {name}"));
    assert_eq!(down(&report, "workers"), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_relay_worker_fails_the_health_check() {
    let dir = tempfile::tempdir().unwrap();
    let running = start_in(&dir).await;
    assert_eq!(health(&running).await.0, 200);
    running.relay.as_ref().unwrap().stop_first_worker();
    let report = wait_until_down(&running).await;
    assert_eq!(down(&report, "workers"), ["relay-0"]);
    assert_eq!(down(&report, "listeners"), Vec::<String>::new());
}
