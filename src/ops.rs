//! What the operating system has to do with it: the log's way to stderr, and signals as values.

use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use crate::config::{Log, SettingsError};
use crate::error::StartError;

/// Writes out what is still on its way to the log when it is dropped.
#[derive(Debug)]
pub struct LogGuard(#[expect(dead_code, reason = "its drop is what counts")] WorkerGuard);

/// Lines that may wait for a slow reader of stderr; more are lost.
const WAITING_LINES: usize = 4096;

/// Starts logging to stderr; coloured only on a terminal. Lines are written by a thread of their
/// own: nobody who logs waits for a journal that has stalled. Where somebody else (a test) has
/// started logging before, that stays.
///
/// # Errors
/// The filter makes no sense, which [`Typed::settings`](crate::config::Typed::settings) rules out.
pub fn start_logging(log: &Log) -> Result<LogGuard, StartError> {
    let filter = EnvFilter::builder().parse(&log.filter).map_err(|_| SettingsError::Value {
        setting: "log",
        value: log.filter.clone(),
        fault: "no log filter",
        cure: "give error, warn, info, debug or trace",
    })?;
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(WAITING_LINES)
        .thread_name("log")
        .finish(io::stderr());
    let plain = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(io::stderr().is_terminal());
    // The only error is that a log runs already.
    let _ = if log.json { plain.json().flatten_event(true).try_init() } else { plain.try_init() };
    Ok(LogGuard(guard))
}

/// How many lines strangers can cause: those beyond are counted and told with the next line.
#[derive(Clone, Debug)]
pub struct LineLimit {
    second: Instant,
    lines: u32,
    held: u64,
}

/// Lines a second that one cause may write.
const LINES: u32 = 20;

impl LineLimit {
    /// Nothing written yet.
    pub fn new(now: Instant) -> Self {
        Self { second: now, lines: 0, held: 0 }
    }

    /// Whether a line may be written now; if so, how many were held back since the last.
    pub fn allows(&mut self, now: Instant) -> Option<u64> {
        if now.saturating_duration_since(self.second) >= Duration::from_secs(1) {
            (self.second, self.lines) = (now, 0);
        }
        if self.lines == LINES {
            self.held += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.held))
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The first SIGTERM or SIGINT: take no new calls, let the running ones end.
    Drain,
    /// Any further one: end now.
    Now,
}

/// SIGTERM and SIGINT, caught from the moment this is made.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    asked_before: bool,
}

impl Signals {
    /// Catches the signals; needs a tokio runtime.
    ///
    /// # Errors
    /// The operating system refuses the handlers.
    pub fn new() -> Result<Self, StartError> {
        let catch =
            |kind| signal(kind).map_err(|source| StartError::System { deed: "catch signals", source });
        Ok(Self {
            terminate: catch(SignalKind::terminate())?,
            interrupt: catch(SignalKind::interrupt())?,
            asked_before: false,
        })
    }

    /// The next signal, as what it asks for. Nothing is lost where this is dropped half way.
    pub async fn next(&mut self) -> Stop {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        if std::mem::replace(&mut self.asked_before, true) { Stop::Now } else { Stop::Drain }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn send(signal: &str) {
        let me = std::process::id().to_string();
        let sent = Command::new("kill").args([signal, &me]).stdout(Stdio::null()).status();
        assert!(sent.unwrap().success());
    }

    #[tokio::test]
    async fn the_first_signal_drains_and_the_second_ends() {
        let mut signals = Signals::new().unwrap();
        send("-TERM");
        assert_eq!(signals.next().await, Stop::Drain);
        send("-INT");
        assert_eq!(signals.next().await, Stop::Now);
        send("-TERM");
        assert_eq!(signals.next().await, Stop::Now);
    }

    #[test]
    fn lines_beyond_twenty_a_second_are_counted_and_told_later() {
        let start = Instant::now();
        let mut limit = LineLimit::new(start);
        let written = (0..100).filter(|_| limit.allows(start).is_some()).count();
        assert_eq!(written, 20);
        assert_eq!(limit.allows(start + Duration::from_secs(1)), Some(80));
        assert_eq!(limit.allows(start + Duration::from_secs(1)), Some(0));
    }
}
