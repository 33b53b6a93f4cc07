//! The program as a child process whose log lines can be waited for.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Longer than a certificate of the ACME tests is valid.
const TEST_TIMEOUT: Duration = Duration::from_secs(40);

/// Runs until it is dropped.
pub struct Program {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Program {
    /// Starts `command` and reads its stderr.
    pub fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self { child, lines }
    }

    /// Waits for a line that contains `text`; returns all lines since the last wait, that one last.
    pub fn wait_for_line(&self, text: &str) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        let end = Instant::now() + TEST_TIMEOUT;
        while lines.last().is_none_or(|line| !line.contains(text)) {
            let line = self.lines.recv_timeout(end.saturating_duration_since(Instant::now()));
            lines.push(line.unwrap_or_else(|_| panic!("no {text:?} after {lines:#?}")));
        }
        lines
    }

    /// Sends SIGHUP.
    pub fn reload(&self) {
        self.signal("-HUP");
    }

    /// Sends SIGTERM and waits for the exit.
    pub fn stop(mut self) {
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
