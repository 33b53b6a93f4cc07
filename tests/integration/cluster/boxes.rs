//! Several boxes on addresses of loopback that share a real Redis, and blocking clients of their WebSockets.

use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

use crate::harness::TEST_TIMEOUT;
use crate::harness::environment::Environment;
use crate::harness::http_client::{self, Reply};
use crate::harness::ports::free_port;
use crate::harness::redis_server::RedisServer;
use crate::harness::server_process::{ExclusiveGuard, ServerProcess, Tls, exclusive};

/// The boxes b1, b2 and so on of the domain `localhost`, on 127.0.0.1, 127.0.0.2 and so on.
pub struct Boxes {
    /// `None`: stopped.
    pub redis: Option<RedisServer>,
    boxes: Vec<Option<ServerProcess>>,
    port: u16,
    /// Holds the file of the keys that all share.
    folder: TempDir,
    _guard: ExclusiveGuard,
}

/// The file in that folder.
const KEYS: &str = "cluster-keys";

/// A client of a WebSocket.
pub struct Client(WebSocket<Tls>);

/// What a client receives.
#[derive(Debug, PartialEq)]
pub enum Received {
    Frame(Value),
    /// The code of a close frame.
    Close(u16),
    /// The connection ended without one.
    Lost,
}

impl Boxes {
    /// Starts them with further settings, and waits until each holds a lease. `None` if Redis is not installed.
    pub fn start(count: usize, settings: &[&str]) -> Option<Self> {
        let redis = RedisServer::start(&[])?;
        let (guard, port, folder) = (exclusive(), free_port(), tempfile::tempdir().unwrap());
        let keys = folder.path().join(KEYS);
        std::fs::write(&keys, "a key that all boxes share\n").unwrap();
        let start = |index| Some(start_box(index, port, (&redis.url(), &keys), settings));
        let boxes = (0..count).map(start).collect();
        let boxes = Self { boxes, redis: Some(redis), port, folder, _guard: guard };
        boxes.boxes.iter().flatten().for_each(|server| drop(server.wait_for_line("this box holds a lease")));
        Some(boxes)
    }

    /// Waits until every box knows all others.
    pub fn wait_until_known(&self) {
        let (all, start) = (Some(self.boxes.len() as f64), Instant::now());
        while (0..self.boxes.len()).any(|index| self.metric(index, "webrtc_box_live_boxes") != all) {
            assert!(start.elapsed() < TEST_TIMEOUT, "a box does not know the others");
            std::thread::sleep(RETRY_INTERVAL);
        }
    }

    /// Waits until the store has this number of seats of the only room.
    pub fn wait_for_stored_seats(&self, seats: usize) {
        let (redis, start) = (self.redis.as_ref().expect("a running store"), Instant::now());
        let key = redis.cli(&["KEYS", "webrtc-box:room:*"]);
        while !redis.cli(&["GET", key.trim()]).contains(&format!(r#""seats":{seats},"#)) {
            assert!(start.elapsed() < TEST_TIMEOUT, "the store does not learn of {seats} seats");
            std::thread::sleep(RETRY_INTERVAL);
        }
    }

    /// Replaces the keys that all share, one a line, and reloads every box.
    pub fn set_keys(&self, keys: &[&str]) {
        std::fs::write(self.folder.path().join(KEYS), keys.join("\n")).unwrap();
        for server in self.boxes.iter().flatten() {
            server.signal(Signal::HUP);
            server.wait_for_line("settings reloaded");
        }
    }

    pub fn server(&self, index: usize) -> &ServerProcess {
        self.boxes[index].as_ref().expect("a running box")
    }

    pub fn is_running(&self, index: usize) -> bool {
        self.boxes[index].is_some()
    }

    /// Kills Redis, and starts an empty one at the same address once a box has noticed.
    pub fn restart_redis(&mut self) {
        let port = self.redis.take().expect("a running store").port;
        // A box that notices nothing has nothing to say when the store is back.
        for server in self.boxes.iter().flatten() {
            server.wait_for_line("the store cannot be used");
        }
        self.redis = RedisServer::start_at(port, &[]);
    }

    /// Takes a box out, which is killed when it is dropped.
    pub fn take(&mut self, index: usize) -> ServerProcess {
        self.boxes[index].take().expect("a running box")
    }

    /// Host and port of a box by its name.
    pub fn authority(&self, index: usize) -> String {
        format!("b{}.localhost:{}", index + 1, self.port)
    }

    pub fn url(&self, index: usize) -> String {
        format!("wss://{}/ws", self.authority(index))
    }

    /// Connects to a box by its name.
    pub fn client(&self, index: usize) -> Client {
        Client::connect(self.server(index), &self.url(index))
    }

    /// Connects to the box that a redirect names.
    pub fn follow(&self, redirect: &Value) -> Client {
        assert_eq!(redirect["type"], "redirect", "{redirect}");
        let url = redirect["url"].as_str().unwrap();
        let index = (0..self.boxes.len()).find(|index| self.url(*index) == url);
        self.client(index.expect("a box of this name"))
    }

    /// The index of the box whose WebSocket is `url`.
    pub fn index_of(&self, url: &Value) -> usize {
        (0..self.boxes.len()).find(|index| url == &self.url(*index)).expect("a box of this name")
    }

    /// `POST /poll` at a box by its name.
    pub fn poll(&self, index: usize, body: &Value) -> Reply {
        let body = body.to_string();
        let (host, length) = (self.authority(index), body.len());
        let head = format!("POST /poll HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n");
        http_client::send(self.server(index).tls(), &format!("{head}Connection: close\r\n\r\n{body}"))
    }

    /// The value of a metric of a box, with its labels.
    pub fn metric(&self, index: usize, series: &str) -> Option<f64> {
        let stream = TcpStream::connect(self.server(index).metrics()).unwrap();
        let text = http_client::get(stream, "/metrics");
        let line = text.text().lines().find_map(|line| line.strip_prefix(series).map(str::to_owned));
        line.map(|value| value.trim().parse().unwrap())
    }
}

fn start_box(index: usize, port: u16, (store, keys): (&str, &Path), settings: &[&str]) -> ServerProcess {
    let address = IpAddr::from(Ipv4Addr::new(127, 0, 0, 1 + index as u8));
    let environment = Environment::with_domain_at(address, port, &["localhost", "*.localhost"]);
    let (address, name) = (address.to_string(), format!("b{}.localhost", index + 1));
    let own = ["--listen", &address, "--cluster", store, "--node-name", &name];
    let shared = ["--cluster-key-file", keys.to_str().expect("UTF-8")];
    let environment = Arc::new(environment);
    let command = environment.command(&[&own[..], &shared[..], settings].concat());
    ServerProcess::start_beside(&environment, command)
}

impl Client {
    pub fn connect(server: &ServerProcess, url: &str) -> Self {
        let tls = server.tls();
        Self(tungstenite::client(url, tls).expect("a WebSocket").0)
    }

    pub fn send(&mut self, frame: &Value) {
        self.0.send(Message::text(frame.to_string())).unwrap();
    }

    /// The next frame or the end.
    pub fn receive(&mut self) -> Received {
        loop {
            match self.0.read() {
                Ok(Message::Text(text)) => return Received::Frame(serde_json::from_str(&text).unwrap()),
                Ok(Message::Close(Some(frame))) => return Received::Close(frame.code.into()),
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(_) | Err(_) => return Received::Lost,
            }
        }
    }

    pub fn frame(&mut self) -> Value {
        match self.receive() {
            Received::Frame(frame) => frame,
            end @ (Received::Close(_) | Received::Lost) => panic!("expected a frame, not {end:?}"),
        }
    }

    /// Sends a frame and returns the next one.
    pub fn ask(&mut self, frame: &Value) -> Value {
        self.send(frame);
        self.frame()
    }

    /// The next frame of a type; skips others.
    pub fn wait_for(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.frame();
            if frame["type"] == kind {
                return frame;
            }
        }
    }

    /// Sends text of a Socket.IO client and returns the answer.
    pub fn ask_text(&mut self, text: &str) -> String {
        self.0.send(Message::text(text)).unwrap();
        self.text()
    }

    pub fn text(&mut self) -> String {
        loop {
            if let Message::Text(text) = self.0.read().unwrap() {
                return text.to_string();
            }
        }
    }
}

/// How often a client tries again.
pub const RETRY_INTERVAL: Duration = Duration::from_millis(100);
