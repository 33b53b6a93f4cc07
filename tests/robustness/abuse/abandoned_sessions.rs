//! Sessions over HTTP that clients open and abandon: no connection is needed to keep one for 15 seconds.

use std::io::{Read as _, Write as _};
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::harness::server_process::{ServerProcess, Tls};

const SESSIONS: usize = 10_000;
/// What the abandoned sessions may leave behind, in KiB.
const LEFT_GOAL_KIB: u64 = 1024;
/// Silence of 15 s, the time until memory is given back, and a busy machine.
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

/// The request that opens a session.
struct Opening {
    /// For the report.
    transport: &'static str,
    /// Method and target.
    line: &'static str,
    body: &'static str,
}

impl Proxy {
    fn new(server: &ServerProcess) -> Self {
        let host = format!("localhost:{}", server.https.port());
        Self { stream: server.tls(), host, received: Vec::new() }
    }

    /// Opens a session by `opening` for each of `clients`.
    fn open(&mut self, clients: Range<usize>, opening: &Opening) {
        let request = |client: usize| {
            let [.., b, c, d] = client.to_be_bytes();
            let Opening { line, body, .. } = opening;
            format!(
                "{line} HTTP/1.1\r\nHost: {}\r\nX-Forwarded-For: 198.{b}.{c}.{d}\r\nContent-Length: {}\r\n\r\n{body}",
                self.host,
                body.len()
            )
        };
        let requests: String = clients.clone().map(request).collect();
        self.stream.write_all(requests.as_bytes()).unwrap();
        clients.for_each(|client| assert_eq!(self.reply(), 200, "{client}"));
    }

    /// The status of the next reply.
    fn reply(&mut self) -> u16 {
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

    /// Opens sessions of `count` clients and waits until they are lost and most of their memory is given back. Returns the
    /// server's resident memory while they were open and after, in KiB.
    fn abandon(&mut self, server: &ServerProcess, count: usize, opening: &Opening) -> (u64, u64) {
        let before = server.usage().resident_kib;
        for first in (0..count).step_by(PIPELINED) {
            self.open(first..first + PIPELINED, opening);
        }
        let open = server.usage().resident_kib;
        let start = Instant::now();
        while server.usage().resident_kib > before + LEFT_GOAL_KIB && start.elapsed() < EXPIRY_LIMIT {
            std::thread::sleep(Duration::from_millis(500));
        }
        (open, server.usage().resident_kib)
    }
}

/// The status of the first reply in `bytes` and its length, if it is complete.
fn parse(bytes: &[u8]) -> Option<(u16, usize)> {
    let (head, rest) = std::str::from_utf8(bytes).unwrap().split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length = length.map_or(0, |length| length.parse::<usize>().unwrap());
    rest.get(..length)?;
    Some((status, head.len() + 4 + length))
}

fn abandoned_sessions_leave_nothing_behind(opening: &Opening) {
    let mut server = ServerProcess::with(&["--trusted-proxy", "127.0.0.1"], None);
    let mut proxy = Proxy::new(&server);
    let (_, before) = proxy.abandon(&server, PIPELINED, opening);
    let (open, after) = proxy.abandon(&server, SESSIONS, opening);
    let left = after.saturating_sub(before);
    println!(
        "{SESSIONS} sessions over {}: {:.2} KiB each while open, {left} KiB more after they expired (goal {LEFT_GOAL_KIB})",
        opening.transport,
        open.saturating_sub(before) as f64 / SESSIONS as f64,
    );
    assert!(left <= 3 * LEFT_GOAL_KIB);
    server.assert_healthy();
}

#[test]
fn abandoned_polling_sessions_leave_nothing_behind() {
    let opening = Opening { transport: "polling", line: "POST /poll", body: "{}" };
    abandoned_sessions_leave_nothing_behind(&opening);
}

#[test]
fn abandoned_socket_io_sessions_leave_nothing_behind() {
    let line = "GET /socket.io/?EIO=4&transport=polling";
    abandoned_sessions_leave_nothing_behind(&Opening { transport: "socket-io", line, body: "" });
}
