//! A real `redis-server` on a free port of loopback, without persistence.

use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::ports::free_port;

const START_LIMIT: Duration = Duration::from_secs(20);

/// A running server; killed when dropped.
pub struct RedisServer {
    child: Child,
    pub port: u16,
    _folder: TempDir,
}

impl RedisServer {
    /// Starts one with further arguments of its command line; `None` if it is not installed.
    pub fn start(arguments: &[&str]) -> Option<Self> {
        let usual = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        Self::run(&[&usual, arguments].concat())
    }

    /// Starts one with the settings of a file, but on another port.
    pub fn start_with_file(path: &str) -> Option<Self> {
        Self::run(&[path])
    }

    fn run(arguments: &[&str]) -> Option<Self> {
        Self::start_at(free_port(), arguments)
    }

    /// Like [`Self::start`] on a port that was free before.
    pub fn start_at(port: u16, arguments: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("redis-server");
        command.args(arguments).arg("--port").arg(port.to_string()).arg("--dir").arg(folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let Ok(child) = command.spawn() else {
            println!("skipped: redis-server is not installed");
            return None;
        };
        let server = Self { child, port, _folder: folder };
        let start = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(start.elapsed() < START_LIMIT, "redis-server does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(server)
    }

    /// Stops answering until [`Self::resume`].
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Answers again.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// The output of a command of `redis-cli`.
    pub fn cli(&self, command: &[&str]) -> String {
        let port = self.port.to_string();
        let output = Command::new("redis-cli").args(["-p", &port]).args(command).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// The value of the setting `cluster`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
