//! The program itself, whose log is read.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(40);

/// Runs until it is dropped.
pub struct Program {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Program {
    /// Starts `command`; what it writes to stderr can be waited for.
    pub fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (said, lines) = mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = said.send(line);
            }
        });
        Self { child, lines }
    }

    /// All lines up to one with `words`, which comes in time however much else is said.
    pub fn says(&self, words: &str) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        let end = Instant::now() + PATIENCE;
        while lines.last().is_none_or(|line| !line.contains(words)) {
            let line = self.lines.recv_timeout(end.saturating_duration_since(Instant::now()));
            lines.push(line.unwrap_or_else(|_| panic!("no {words:?} after {lines:#?}")));
        }
        lines
    }

    /// Sends it SIGHUP.
    #[allow(dead_code, reason = "each test crate uses its part")]
    pub fn hang_up(&self) {
        self.signal("-HUP");
    }

    /// Sends it SIGTERM and waits for its end.
    #[allow(dead_code, reason = "each test crate uses its part")]
    pub fn end(mut self) {
        self.signal("-TERM");
        assert!(self.child.wait().unwrap().success());
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
