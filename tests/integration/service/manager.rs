//! A service manager that only listens (sd_notify(3)), and a box that it has started.

use std::ops::Deref;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::harness::environment::Environment;
use crate::harness::server_process::ServerProcess;
use crate::harness::turn_client::PATIENCE;

/// A box and who listens to it.
pub struct Service {
    pub server: ServerProcess,
    pub environment: Arc<Environment>,
    pub manager: Manager,
}

/// The socket that `NOTIFY_SOCKET` names.
pub struct Manager(UnixDatagram);

impl Service {
    /// A box that has said that it is ready; `mend` adds to how it is started.
    pub fn start(mend: impl FnOnce(&mut Command, &Environment)) -> Self {
        let environment = Arc::new(Environment::new());
        let at = environment.notify_socket();
        let manager = Manager(UnixDatagram::bind(&at).unwrap());
        let mut command = environment.command::<&str>(&[]);
        command.env("NOTIFY_SOCKET", at);
        mend(&mut command, &environment);
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
    /// The next word that says all of this; others are passed over.
    pub fn hears(&self, parts: &[&str]) -> String {
        let begun = Instant::now();
        let mut passed_over = Vec::new();
        while begun.elapsed() < PATIENCE {
            let Some(word) = self.next(PATIENCE) else { continue };
            if parts.iter().all(|part| word.contains(part)) {
                return word;
            }
            passed_over.push(word);
        }
        panic!("nobody says {parts:?}, only {passed_over:?}");
    }

    /// How many of the words of this time say this.
    pub fn counts(&self, part: &str, time: Duration) -> usize {
        let begun = Instant::now();
        let left = || time.saturating_sub(begun.elapsed());
        let mut count = 0;
        while !left().is_zero() {
            count += usize::from(self.next(left()).is_some_and(|word| word.contains(part)));
        }
        count
    }

    /// Leaves no room for another word, as a manager does that has not read for a while, however many the
    /// kernel lets wait.
    pub fn fill(at: &Path) {
        let socket = UnixDatagram::unbound().unwrap();
        socket.set_nonblocking(true).unwrap();
        while socket.send_to(b"FILLED=1", at).is_ok() {}
    }

    /// Forgets what has been said so far.
    pub fn forget(&self) {
        while self.next(Duration::from_millis(1)).is_some() {}
    }

    fn next(&self, patience: Duration) -> Option<String> {
        let mut buffer = [0; 4096];
        self.0.set_read_timeout(Some(patience.max(Duration::from_millis(1)))).unwrap();
        let length = self.0.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
    }
}
