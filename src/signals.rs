//! Signals as values.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::StartError;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// SIGHUP: read the settings anew.
    Reload,
    /// The first SIGTERM or SIGINT: take no new calls, let the running ones end.
    Drain,
    /// Any further one: end now.
    End,
}

/// SIGHUP, SIGTERM and SIGINT, caught from the moment this is made.
#[derive(Debug)]
pub struct Signals {
    hangup: Signal,
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
            hangup: catch(SignalKind::hangup())?,
            terminate: catch(SignalKind::terminate())?,
            interrupt: catch(SignalKind::interrupt())?,
            asked_before: false,
        })
    }

    /// The next signal, as what it asks for. Nothing is lost where this is dropped half way.
    pub async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.hangup.recv() => return Asked::Reload,
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        if std::mem::replace(&mut self.asked_before, true) { Asked::End } else { Asked::Drain }
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
    async fn the_first_signal_drains_and_the_second_ends_and_a_hangup_does_neither() {
        let mut signals = Signals::new().unwrap();
        let asked = [
            ("-HUP", Asked::Reload),
            ("-TERM", Asked::Drain),
            ("-HUP", Asked::Reload),
            ("-INT", Asked::End),
            ("-TERM", Asked::End),
        ];
        for (name, meant) in asked {
            send(name);
            assert_eq!(signals.next().await, meant);
        }
    }
}
