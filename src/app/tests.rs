//! A box of which a part dies.

use std::net::Ipv4Addr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::*;
use crate::config::{RawSettings, StateDirDefaults};

/// No wait for an event is longer.
const PATIENCE: Duration = Duration::from_secs(20);

async fn box_in(place: &tempfile::TempDir) -> Running {
    let typed = RawSettings {
        listen: Some(vec!["127.0.0.1".into()]),
        state_dir: place.path().to_str().map(str::to_owned),
        ..RawSettings::default()
    };
    let mut settings = typed.validate(&StateDirDefaults::default()).unwrap();
    (settings.https_port, settings.http_port, settings.turn_port) = (Some(0), None, Some(0));
    settings.metrics_listen = Some((Ipv4Addr::LOCALHOST, 0).into());
    start(settings).await.unwrap()
}

/// The full health of a box: the status code and the body.
async fn health(running: &Running) -> (u16, Value) {
    let mut stream = TcpStream::connect(running.metrics[0]).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    let (head, body) = said.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
}

/// Waits until the box says that it is not well, and of whom.
async fn fails(running: &Running) -> Value {
    let begun = Instant::now();
    loop {
        let (code, said) = health(running).await;
        assert_eq!(code == 503, said["status"] == "down", "{said}");
        if code == 503 {
            return said;
        }
        assert!(begun.elapsed() < PATIENCE, "{said}");
        sleep(Duration::from_millis(20)).await;
    }
}

fn down(said: &Value, list: &str) -> Vec<String> {
    let down = said[list].as_array().unwrap().iter().filter(|one| one["up"] == false);
    down.map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_has_died_fails_the_health() {
    let place = tempfile::tempdir().unwrap();
    let running = box_in(&place).await;
    assert_eq!(health(&running).await.0, 200);
    // The first is the one that is asked.
    running.tasks[1].abort();
    let said = fails(&running).await;
    let name = format!("https {}", running.https[0]);
    assert_eq!(down(&said, "listeners"), [&*name]);
    assert_eq!(said["why"], format!("does not turn any more: {name}"));
    assert_eq!(down(&said, "workers"), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_worker_that_has_died_fails_the_health() {
    let place = tempfile::tempdir().unwrap();
    let running = box_in(&place).await;
    assert_eq!(health(&running).await.0, 200);
    running.relay.as_ref().unwrap().stop_first_worker();
    let said = fails(&running).await;
    assert_eq!(down(&said, "workers"), ["relay-0"]);
    assert_eq!(down(&said, "listeners"), Vec::<String>::new());
}
