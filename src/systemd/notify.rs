//! The conversation with the service manager (sd_notify(3)), and the one who looks whether everything
//! turns. A thread of its own: it must not depend on those it looks at. It never waits for the manager,
//! whose socket holds ten messages where the kernel has its defaults: a change of state that does not
//! fit is sent later, anything else is dropped.

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

use crate::error::StartError;
use webrtc_box_relay::health::{HEARTBEAT_INTERVAL, HealthMonitor, Unresponsive};

/// Whom one tells how the box gets on. Dropped, nobody looks any more.
#[derive(Debug)]
pub struct Notifier(Sender<Notification>);

/// How the box gets on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notification {
    /// It serves, for the first time or after a reload.
    Ready,
    /// It reads its settings anew.
    Reloading,
    /// It takes no new calls and ends soon.
    Stopping,
    /// It closes everything; who ends from now on does so as he should.
    Ending,
}

/// Looks and tells; lives on its own thread.
struct Watchdog<S> {
    notifications: Receiver<Notification>,
    hearts: HealthMonitor,
    status: S,
    /// How long the manager waits for a sign of life, where it does.
    watchdog: Option<Duration>,
    fed: Option<Instant>,
    told: Option<(Instant, String)>,
    failing: Option<Unresponsive>,
    /// The last change of state, until it fits into the manager's socket.
    unsent: Option<String>,
    stopping: bool,
    ending: bool,
}

/// Time between two lines of status: a busy box has news every moment.
const STATUS_PAUSE: Duration = Duration::from_secs(2);

/// What a stopping box asks for each time, beyond `TimeoutStopSec=`. Longer than the last notifications take.
const MORE_TIME: Duration = Duration::from_secs(15);

impl Notifier {
    /// Begins to look after `hearts`. `status` says in a few notifications what the box is doing; it is asked
    /// where a service manager listens.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(
        hearts: HealthMonitor,
        status: impl Fn() -> String + Send + 'static,
    ) -> Result<Self, StartError> {
        let (tell, notifications) = channel();
        let watchdog = Watchdog {
            notifications,
            hearts,
            status,
            watchdog: sd_notify::watchdog_enabled(),
            fed: None,
            told: None,
            failing: None,
            unsent: None,
            stopping: false,
            ending: false,
        };
        let thread = std::thread::Builder::new().name("watchdog".to_owned());
        thread
            .spawn(move || watchdog.live())
            .map_err(|source| StartError::System { action: "start threads", source })?;
        Ok(Self(tell))
    }

    /// ActivatedSockets on in order; returns at once.
    pub fn tell(&self, word: Notification) {
        // Refused only by a thread that is gone, with the process behind it.
        let _ = self.0.send(word);
    }
}

impl<S: Fn() -> String> Watchdog<S> {
    fn live(mut self) {
        let pause = self.watchdog.map_or(HEARTBEAT_INTERVAL, |limit| HEARTBEAT_INTERVAL.min(limit / 3));
        let mut due = Instant::now() + pause;
        loop {
            match self.notifications.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(word) => self.handle(word),
                Err(RecvTimeoutError::Timeout) => {
                    let now = Instant::now();
                    due = now + pause;
                    self.look(now);
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn handle(&mut self, word: Notification) {
        match word {
            Notification::Ready => {
                let status = (self.status)();
                self.change_state(message(&[NotifyState::Ready, NotifyState::Status(&status)]));
                self.told = Some((Instant::now(), status));
            }
            // From systemd 253 on, a reload without the time of its beginning is none.
            Notification::Reloading => match NotifyState::monotonic_usec_now() {
                Ok(now) => self.change_state(message(&[NotifyState::Reloading, now])),
                Err(error) => debug!(%error, "no time for the service manager"),
            },
            Notification::Stopping => {
                self.stopping = true;
                self.change_state(message(&[NotifyState::Stopping]));
            }
            Notification::Ending => self.ending = true,
        }
    }

    /// Tells of a new state, now or at one of the next looks; an older one that was not told is no news then.
    fn change_state(&mut self, message: String) {
        self.unsent = (!send(&message)).then_some(message);
    }

    fn look(&mut self, now: Instant) {
        if let Some(message) = self.unsent.take() {
            self.change_state(message);
        }
        if !self.ending {
            self.hearts.check(now);
            self.judge();
        }
        if self.failing.is_none() {
            self.feed(now);
        }
        self.report(now);
    }

    fn judge(&mut self) {
        let failing = self.hearts.unresponsive();
        match &failing {
            now if *now == self.failing => {}
            Some(names) => error!(%names, "does not turn any more"),
            None => info!("everything turns again"),
        }
        self.failing = failing;
    }

    /// A third of the limit between two signs of life: one of them may be late by as much again.
    fn feed(&mut self, now: Instant) {
        let Some(limit) = self.watchdog else { return };
        if self.fed.is_none_or(|fed| now.saturating_duration_since(fed) + HEARTBEAT_INTERVAL > limit / 3) {
            // What did not fit is tried again at the next look.
            if send(&message(&[NotifyState::Watchdog])) {
                self.fed = Some(now);
            }
        }
    }

    fn report(&mut self, now: Instant) {
        let told = self.told.as_ref();
        let quiet = told.is_none_or(|(at, _)| now.saturating_duration_since(*at) < STATUS_PAUSE);
        if quiet || notify_socket().is_none() {
            return;
        }
        let status = (self.status)();
        let more = NotifyState::ExtendTimeoutUsec(MORE_TIME.as_micros() as u32);
        let is_sent = match (self.stopping, told.is_some_and(|(_, told)| *told != status)) {
            (true, _) => send(&message(&[NotifyState::Status(&status), more])),
            (false, true) => send(&message(&[NotifyState::Status(&status)])),
            (false, false) => true,
        };
        if is_sent {
            self.told = Some((now, status));
        }
    }
}

/// The manager's socket, where there is one.
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

/// False where the manager's socket is full. Where nobody has asked to be told nothing happens; where
/// nobody hears it, there is no cure.
fn send(message: &str) -> bool {
    let Some(path) = notify_socket() else { return true };
    match send_to(&path, message.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
        Err(error) => {
            debug!(%error, "the service manager was not told");
            true
        }
        Ok(()) => true,
    }
}

/// Never waits. A name that begins with `@` is an abstract one (unix(7)).
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
    fn a_manager_that_does_not_read_is_never_waited_for() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let filled = (0..1_000_000).find(|_| send_to(path.as_os_str(), b"STATUS=x").is_err()).unwrap();
        assert_eq!(send_to(path.as_os_str(), b"READY=1").unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let mut buffer = [0; 64];
        (0..filled).for_each(|_| assert_eq!(manager.recv(&mut buffer).unwrap(), 8));
        send_to(path.as_os_str(), b"READY=1").unwrap();
        assert_eq!(manager.recv(&mut buffer).unwrap(), 7);
    }

    #[test]
    fn a_manager_with_an_abstract_name_is_told() {
        let name = format!("webrtc-box-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        send_to(format!("@{name}").as_ref(), b"READY=1").unwrap();
        assert_eq!(manager.recv(&mut [0; 64]).unwrap(), 7);
    }
}
