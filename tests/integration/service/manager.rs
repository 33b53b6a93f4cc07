//! The receiver of a service manager's notifications (sd_notify(3)), and a server that sends them.

use std::ops::Deref;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::harness::environment::Environment;
use crate::harness::server_process::ServerProcess;
use crate::harness::turn_client::TEST_TIMEOUT;

/// A server and the receiver of its notifications.
pub struct Service {
    pub server: ServerProcess,
    pub environment: Arc<Environment>,
    pub manager: Manager,
}

/// The socket that `NOTIFY_SOCKET` names.
pub struct Manager(UnixDatagram);

impl Service {
    /// Starts a server; `configure` changes its command.
    pub fn start(configure: impl FnOnce(&mut Command, &Environment)) -> Self {
        let environment = Arc::new(Environment::new());
        let path = environment.notify_socket();
        let manager = Manager(UnixDatagram::bind(&path).unwrap());
        let mut command = environment.command::<&str>(&[]);
        command.env("NOTIFY_SOCKET", path);
        configure(&mut command, &environment);
        let server = ServerProcess::start(&environment, command);
        Self { server, environment, manager }
    }
}

impl Deref for Service {
    type Target = ServerProcess;

    fn deref(&self) -> &ServerProcess {
        &self.server
    }
}

impl Manager {
    /// The next notification that contains all of `parts`; skips others.
    pub fn wait_for(&self, parts: &[&str]) -> String {
        let start = Instant::now();
        let mut skipped = Vec::new();
        while start.elapsed() < TEST_TIMEOUT {
            let Some(notification) = self.next(TEST_TIMEOUT) else { continue };
            if parts.iter().all(|part| notification.contains(part)) {
                return notification;
            }
            skipped.push(notification);
        }
        panic!("no notification with {parts:?}, only {skipped:?}");
    }

    /// The number of notifications during `time` that contain `part`.
    pub fn count(&self, part: &str, time: Duration) -> usize {
        let start = Instant::now();
        let left = || time.saturating_sub(start.elapsed());
        let mut count = 0;
        while !left().is_zero() {
            count += usize::from(self.next(left()).is_some_and(|notification| notification.contains(part)));
        }
        count
    }

    /// Fills the queue of the socket, as if the manager had not read for a while.
    pub fn fill(path: &Path) {
        let socket = UnixDatagram::unbound().unwrap();
        socket.set_nonblocking(true).unwrap();
        while socket.send_to(b"FILLED=1", path).is_ok() {}
    }

    /// Discards the notifications received so far.
    pub fn discard(&self) {
        while self.next(Duration::from_millis(1)).is_some() {}
    }

    fn next(&self, timeout: Duration) -> Option<String> {
        let mut buffer = [0; 4096];
        self.0.set_read_timeout(Some(timeout.max(Duration::from_millis(1)))).unwrap();
        let length = self.0.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
    }
}
