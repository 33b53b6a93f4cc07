//! Polling sessions that clients open and abandon: no connection is needed to keep one for 15 seconds.

use std::io::{Read as _, Write as _};
use std::ops::Range;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::server_process::{ServerProcess, Tls};

const SESSIONS: usize = 10_000;
/// What the abandoned sessions of one wave may leave behind, in KiB.
const LEFT_GOAL_KIB: u64 = 1024;
/// Silence of 15 s, and a busy machine.
const EXPIRY_LIMIT: Duration = Duration::from_secs(60);

/// Requests that are sent before their replies are read.
const PIPELINED: usize = 50;

/// A connection of a trusted proxy that is kept open.
struct Proxy {
    stream: Tls,
    host: String,
    /// Bytes of replies that were not parsed yet.
    received: Vec<u8>,
}

impl Proxy {
    fn new(server: &ServerProcess) -> Self {
        let host = format!("localhost:{}", server.https.port());
        Self { stream: server.tls(), host, received: Vec::new() }
    }

    /// Sends a request for each of `clients`; returns the replies, as status and body.
    fn poll(&mut self, clients: Range<usize>, body: &str) -> Vec<(u16, Value)> {
        let request = |client: usize| {
            let [.., b, c, d] = client.to_be_bytes();
            format!(
                "POST /poll HTTP/1.1\r\nHost: {}\r\nX-Forwarded-For: 198.{b}.{c}.{d}\r\nContent-Length: {}\r\n\r\n{body}",
                self.host,
                body.len()
            )
        };
        let requests: String = clients.clone().map(request).collect();
        self.stream.write_all(requests.as_bytes()).unwrap();
        clients.map(|_| self.reply()).collect()
    }

    fn reply(&mut self) -> (u16, Value) {
        loop {
            if let Some((reply, length)) = parse(&self.received) {
                self.received.drain(..length);
                return reply;
            }
            let mut chunk = [0; 16 * 1024];
            let count = self.stream.read(&mut chunk).unwrap();
            assert!(count > 0, "the connection ended");
            self.received.extend_from_slice(&chunk[..count]);
        }
    }

    /// Opens `count` sessions of different clients and waits until they are lost; returns the server's resident memory
    /// while they were open and after, in KiB.
    fn abandon(&mut self, server: &ServerProcess, count: usize) -> (u64, u64) {
        let mut last = Value::Null;
        for first in (0..count).step_by(PIPELINED) {
            for (status, reply) in self.poll(first..first + PIPELINED, "{}") {
                assert_eq!(status, 200, "{first}");
                last = reply["session"].clone();
            }
        }
        let open = server.usage().resident_kib;
        // Frames do not keep a session.
        let body = json!({"session": last, "seq": 1, "frames": []}).to_string();
        let start = Instant::now();
        while self.poll(0..1, &body)[0].0 != 404 {
            assert!(start.elapsed() < EXPIRY_LIMIT);
            std::thread::sleep(Duration::from_millis(500));
        }
        (open, server.usage().resident_kib)
    }
}

/// The first reply in `bytes` and its length, if it is complete.
fn parse(bytes: &[u8]) -> Option<((u16, Value), usize)> {
    let (head, rest) = std::str::from_utf8(bytes).unwrap().split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length = length.map_or(0, |length| length.parse::<usize>().unwrap());
    let body = rest.get(..length)?;
    Some(((status, serde_json::from_str(body).unwrap_or_default()), head.len() + 4 + length))
}

#[test]
fn abandoned_polling_sessions_leave_nothing_behind() {
    let mut server = ServerProcess::with(&["--trusted-proxy", "127.0.0.1"], None);
    let mut proxy = Proxy::new(&server);
    let (_, before) = proxy.abandon(&server, PIPELINED);
    let (open, kept) = proxy.abandon(&server, SESSIONS);
    // The allocator keeps freed memory, which the next sessions use.
    let (_, after) = proxy.abandon(&server, SESSIONS);
    let left = after.saturating_sub(kept);
    println!(
        "{SESSIONS} polling sessions: {:.2} KiB each while open, {} KiB kept by the allocator after they expired, \
         {left} KiB more after as many again (goal {LEFT_GOAL_KIB})",
        open.saturating_sub(before) as f64 / SESSIONS as f64,
        kept.saturating_sub(before),
    );
    assert!(left <= 3 * LEFT_GOAL_KIB);
    server.assert_healthy();
}
