//! Notifies the service manager (sd_notify(3)) and feeds its watchdog, as long as all components respond.
//!
//! Runs on a thread of its own, because it must not depend on what it monitors. It never waits for the manager, whose
//! socket holds ten messages by default: a change of state that does not fit is sent later, anything else is dropped.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tracing::{debug, error, info};

use webrtc_box_relay::health::{HEARTBEAT_INTERVAL, HealthMonitor, Unresponsive};

/// Sends notifications. Dropping it stops the monitoring.
#[derive(Debug)]
pub struct Notifier(Sender<Notification>);

/// A change of the server's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notification {
    /// It serves, for the first time or after a reload.
    Ready,
    /// It reads its settings again.
    Reloading,
    /// It accepts no new calls and will end soon.
    Stopping,
    /// It closes everything: components that end from now on are no fault.
    Ending,
}

/// The state of the watchdog thread.
struct Watchdog<S> {
    notifications: Receiver<Notification>,
    health_monitor: HealthMonitor,
    status: S,
    /// The manager's watchdog timeout (`WatchdogSec=`), if it has one.
    timeout: Option<Duration>,
    fed: Option<Instant>,
    /// The last status that was sent.
    sent_status: Option<(Instant, String)>,
    unresponsive: Option<Unresponsive>,
    /// The last change of state, while the manager's socket is full.
    unsent: Option<String>,
    stopping: bool,
    ending: bool,
}

/// The minimum time between two status messages: the status of a busy server changes all the time.
const STATUS_INTERVAL: Duration = Duration::from_secs(2);

/// The additional time that a stopping server requests with each status, beyond `TimeoutStopSec=`. Longer than all steps
/// after the last status.
const EXTENSION: Duration = Duration::from_secs(15);

impl Notifier {
    /// Starts to monitor the components of `health_monitor`. `status` is the status line in a few words; it is called only
    /// if there is a service manager.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(
        health_monitor: HealthMonitor,
        status: impl Fn() -> String + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, notifications) = channel();
        let watchdog = Watchdog {
            notifications,
            health_monitor,
            status,
            timeout: sd_notify::watchdog_enabled(),
            fed: None,
            sent_status: None,
            unresponsive: None,
            unsent: None,
            stopping: false,
            ending: false,
        };
        std::thread::Builder::new().name("watchdog".to_owned()).spawn(move || watchdog.run())?;
        Ok(Self(sender))
    }

    /// Queues `notification`; does not wait.
    pub fn notify(&self, notification: Notification) {
        // Fails only if the thread has ended, which means that the process ends.
        let _ = self.0.send(notification);
    }
}

impl<S: Fn() -> String> Watchdog<S> {
    fn run(mut self) {
        let interval = self.timeout.map_or(HEARTBEAT_INTERVAL, |timeout| HEARTBEAT_INTERVAL.min(timeout / 3));
        let mut due = Instant::now() + interval;
        loop {
            match self.notifications.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(notification) => self.handle(notification),
                Err(RecvTimeoutError::Timeout) => {
                    let now = Instant::now();
                    due = now + interval;
                    self.handle_timeout(now);
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn handle(&mut self, notification: Notification) {
        match notification {
            Notification::Ready => {
                let status = (self.status)();
                self.send_state(message(&[NotifyState::Ready, NotifyState::Status(&status)]));
                self.sent_status = Some((Instant::now(), status));
            }
            // systemd 253 and later ignore a reload without its start time.
            Notification::Reloading => match NotifyState::monotonic_usec_now() {
                Ok(now) => self.send_state(message(&[NotifyState::Reloading, now])),
                Err(error) => debug!(%error, "cannot read the monotonic clock"),
            },
            Notification::Stopping => {
                self.stopping = true;
                self.send_state(message(&[NotifyState::Stopping]));
            }
            Notification::Ending => self.ending = true,
        }
    }

    /// Sends a change of state, now or at one of the next timeouts. It replaces an older unsent one.
    fn send_state(&mut self, message: String) {
        self.unsent = (!send(&message)).then_some(message);
    }

    fn handle_timeout(&mut self, now: Instant) {
        if let Some(message) = self.unsent.take() {
            self.send_state(message);
        }
        if !self.ending {
            self.health_monitor.check(now);
            self.log_health_change();
        }
        if self.unresponsive.is_none() {
            self.feed(now);
        }
        self.send_status(now);
    }

    fn log_health_change(&mut self) {
        let unresponsive = self.health_monitor.unresponsive();
        match &unresponsive {
            current if *current == self.unresponsive => {}
            Some(names) => error!(%names, "a component does not respond"),
            None => info!("all components respond again"),
        }
        self.unresponsive = unresponsive;
    }

    /// Feeds the watchdog every third of its timeout, so that one message may be late by as much.
    fn feed(&mut self, now: Instant) {
        let Some(timeout) = self.timeout else { return };
        let is_due = |fed| now.saturating_duration_since(fed) + HEARTBEAT_INTERVAL > timeout / 3;
        // A message that does not fit is sent at the next timeout.
        if self.fed.is_none_or(is_due) && send(&message(&[NotifyState::Watchdog])) {
            self.fed = Some(now);
        }
    }

    fn send_status(&mut self, now: Instant) {
        // `Ready` sends the first status.
        let Some((sent_at, sent)) = &self.sent_status else { return };
        if now.saturating_duration_since(*sent_at) < STATUS_INTERVAL || notify_socket().is_none() {
            return;
        }
        let status = (self.status)();
        let extension = NotifyState::ExtendTimeoutUsec(EXTENSION.as_micros() as u32);
        let is_sent = match (self.stopping, *sent != status) {
            (true, _) => send(&message(&[NotifyState::Status(&status), extension])),
            (false, true) => send(&message(&[NotifyState::Status(&status)])),
            (false, false) => true,
        };
        if is_sent {
            self.sent_status = Some((now, status));
        }
    }
}

/// The manager's socket, if there is one.
fn notify_socket() -> Option<OsString> {
    std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty())
}

fn message(states: &[NotifyState<'_>]) -> String {
    states.iter().fold(String::new(), |mut text, state| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{state}");
        text
    })
}

/// Sends `message` if there is a manager. `false` if its socket is full; other errors are permanent and only logged.
fn send(message: &str) -> bool {
    let Some(path) = notify_socket() else { return true };
    match send_to(&path, message.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
        Err(error) => {
            debug!(%error, "cannot notify the service manager");
            true
        }
        Ok(()) => true,
    }
}

/// Sends without waiting. A path that begins with `@` is an abstract name (unix(7)).
fn send_to(path: &OsStr, message: &[u8]) -> io::Result<()> {
    let address = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(path)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(message, &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_that_does_not_read_blocks_no_notification() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let filled = (0..1_000_000).find(|_| send_to(path.as_os_str(), b"STATUS=x").is_err()).unwrap();
        assert_eq!(send_to(path.as_os_str(), b"READY=1").unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let mut buffer = [0; 64];
        (0..filled).for_each(|_| assert_eq!(manager.recv(&mut buffer).unwrap(), 8));
        send_to(path.as_os_str(), b"READY=1").unwrap();
        assert_eq!(manager.recv(&mut buffer).unwrap(), 7);
    }

    #[test]
    fn a_manager_with_an_abstract_name_is_notified() {
        let name = format!("webrtc-box-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        send_to(format!("@{name}").as_ref(), b"READY=1").unwrap();
        assert_eq!(manager.recv(&mut [0; 64]).unwrap(), 7);
    }
}
