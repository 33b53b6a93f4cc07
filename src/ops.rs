//! What the operating system has to do with it: the log's way to stderr, and signals as values.

use std::io::{self, IsTerminal as _};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::config::{Log, SettingsError};
use crate::error::StartError;

/// Starts logging to stderr; coloured only on a terminal. Where somebody else (a test) has started
/// logging before, that stays.
///
/// # Errors
/// The filter makes no sense, which [`Typed::settings`](crate::config::Typed::settings) rules out.
pub fn start_logging(log: &Log) -> Result<(), StartError> {
    let filter = EnvFilter::builder().parse(&log.filter).map_err(|_| SettingsError::Value {
        setting: "log",
        value: log.filter.clone(),
        fault: "no log filter",
        cure: "give error, warn, info, debug or trace",
    })?;
    let plain = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    // The only error is that a log runs already.
    let _ = if log.json { plain.json().flatten_event(true).try_init() } else { plain.try_init() };
    Ok(())
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
}
