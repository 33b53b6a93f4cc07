//! A measured server: its process, and its CPU time and memory as the kernel counts them.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::sleep;

/// How long a server may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
}

impl Server {
    /// Starts `command` and waits until `address` accepts.
    pub(crate) async fn start(command: &mut Command, address: SocketAddr) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut server = Self { child: command.spawn().unwrap() };
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(address).await.is_err() {
            let ended = server.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "{command:?} did not start");
            sleep(Duration::from_millis(20)).await;
        }
        server
    }

    /// CPU time of all threads, including the kernel. No relevant thread ends during a measurement.
    pub(crate) fn cpu(&self) -> Duration {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let nanoseconds = |path| {
            // A thread may have ended since the folder was read.
            let statistics = fs::read_to_string(path).unwrap_or_default();
            statistics.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0)
        };
        let total = threads.map(|thread| nanoseconds(thread.unwrap().path().join("schedstat"))).sum();
        Duration::from_nanos(total)
    }

    /// Resident bytes, counted page by page.
    pub(crate) fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap();
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kibibytes * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
