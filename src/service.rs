//! The conversation with the service manager (sd_notify(3)), and the one who looks whether everything
//! turns. A thread of its own: it must not depend on those it looks at, and a manager that does not
//! read may hold up nobody else.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tracing::{debug, error, info};

use crate::error::StartError;
use crate::heartbeat::{BEAT, Failing, Hearts};

/// Whom one tells how the box gets on. Dropped, nobody looks any more.
#[derive(Debug)]
pub struct Service(Sender<Word>);

/// How the box gets on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
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
struct Lookout<S> {
    words: Receiver<Word>,
    hearts: Hearts,
    status: S,
    /// How long the manager waits for a sign of life, where it does.
    watchdog: Option<Duration>,
    fed: Option<Instant>,
    told: Option<(Instant, String)>,
    failing: Option<Failing>,
    stopping: bool,
    ending: bool,
}

/// Time between two lines of status: a busy box has news every moment.
const STATUS_PAUSE: Duration = Duration::from_secs(2);

/// What a stopping box asks for each time, beyond `TimeoutStopSec=`. Longer than the last words take.
const MORE_TIME: Duration = Duration::from_secs(15);

impl Service {
    /// Begins to look after `hearts`. `status` says in a few words what the box is doing; it is asked
    /// where a service manager listens.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(hearts: Hearts, status: impl Fn() -> String + Send + 'static) -> Result<Self, StartError> {
        let (tell, words) = channel();
        let lookout = Lookout {
            words,
            hearts,
            status,
            watchdog: sd_notify::watchdog_enabled(),
            fed: None,
            told: None,
            failing: None,
            stopping: false,
            ending: false,
        };
        let thread = std::thread::Builder::new().name("lookout".to_owned());
        thread
            .spawn(move || lookout.live())
            .map_err(|source| StartError::System { deed: "start threads", source })?;
        Ok(Self(tell))
    }

    /// Passed on in order; returns at once.
    pub fn tell(&self, word: Word) {
        // Refused only by a thread that is gone, with the process behind it.
        let _ = self.0.send(word);
    }
}

impl<S: Fn() -> String> Lookout<S> {
    fn live(mut self) {
        let pause = self.watchdog.map_or(BEAT, |limit| BEAT.min(limit / 3));
        let mut due = Instant::now() + pause;
        loop {
            match self.words.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(word) => self.pass_on(word),
                Err(RecvTimeoutError::Timeout) => {
                    let now = Instant::now();
                    due = now + pause;
                    self.look(now);
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn pass_on(&mut self, word: Word) {
        match word {
            Word::Ready => {
                let status = (self.status)();
                notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
                self.told = Some((Instant::now(), status));
            }
            // From systemd 253 on, a reload without the time of its beginning is none.
            Word::Reloading => match NotifyState::monotonic_usec_now() {
                Ok(now) => notify(&[NotifyState::Reloading, now]),
                Err(error) => debug!(%error, "no time for the service manager"),
            },
            Word::Stopping => {
                self.stopping = true;
                notify(&[NotifyState::Stopping]);
            }
            Word::Ending => self.ending = true,
        }
    }

    fn look(&mut self, now: Instant) {
        if !self.ending {
            self.hearts.look(now);
            self.judge();
        }
        if self.failing.is_none() {
            self.feed(now);
        }
        self.report(now);
    }

    fn judge(&mut self) {
        let failing = self.hearts.failing();
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
        if self.fed.is_none_or(|fed| now.saturating_duration_since(fed) + BEAT > limit / 3) {
            self.fed = Some(now);
            notify(&[NotifyState::Watchdog]);
        }
    }

    fn report(&mut self, now: Instant) {
        let told = self.told.as_ref();
        let quiet = told.is_none_or(|(at, _)| now.saturating_duration_since(*at) < STATUS_PAUSE);
        if quiet || !is_heard() {
            return;
        }
        let status = (self.status)();
        let more = NotifyState::ExtendTimeoutUsec(MORE_TIME.as_micros() as u32);
        match (self.stopping, told.is_some_and(|(_, told)| *told != status)) {
            (true, _) => notify(&[NotifyState::Status(&status), more]),
            (false, true) => notify(&[NotifyState::Status(&status)]),
            (false, false) => {}
        }
        self.told = Some((now, status));
    }
}

fn is_heard() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Where nobody has asked to be told, nothing happens; where nobody hears it, there is no cure.
fn notify(states: &[NotifyState<'_>]) {
    let sent: io::Result<()> = sd_notify::notify(states);
    if let Err(error) = sent {
        debug!(%error, "the service manager was not told");
    }
}
