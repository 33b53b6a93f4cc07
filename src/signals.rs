//! Signals as values.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::StartError;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalRequest {
    /// SIGHUP, where it does not stand for a terminal that was closed: read the settings anew.
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
    drain_requested: bool,
    hangup_ends: bool,
}

impl Signals {
    /// Catches the signals; needs a tokio runtime.
    ///
    /// # Errors
    /// The operating system refuses the handlers.
    pub fn new() -> Result<Self, StartError> {
        let catch =
            |kind| signal(kind).map_err(|source| StartError::System { action: "catch signals", source });
        Ok(Self {
            hangup: catch(SignalKind::hangup())?,
            terminate: catch(SignalKind::terminate())?,
            interrupt: catch(SignalKind::interrupt())?,
            drain_requested: false,
            hangup_ends: false,
        })
    }

    /// From now on SIGHUP ends it at once: the terminal it comes from is all there was to this box.
    pub fn end_on_hangup(&mut self) {
        self.hangup_ends = true;
    }

    /// The next signal, as what it asks for. Nothing is lost where this is dropped half way.
    pub async fn next(&mut self) -> SignalRequest {
        tokio::select! {
            _ = self.hangup.recv() => return if self.hangup_ends { SignalRequest::End } else { SignalRequest::Reload },
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        if std::mem::replace(&mut self.drain_requested, true) {
            SignalRequest::End
        } else {
            SignalRequest::Drain
        }
    }
}

/// Whether who started us has had SIGHUP ignored, as nohup does. To be asked before it is caught.
pub fn hangup_is_ignored() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores_hangup(&status))
}

/// SIGHUP is number 1, the lowest bit of the mask.
fn ignores_hangup(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
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
            ("-HUP", SignalRequest::Reload),
            ("-TERM", SignalRequest::Drain),
            ("-HUP", SignalRequest::Reload),
            ("-INT", SignalRequest::End),
            ("-TERM", SignalRequest::End),
        ];
        for (name, meant) in asked {
            send(name);
            assert_eq!(signals.next().await, meant);
        }
        // One process, so one test: two would hear each other's.
        let mut signals = Signals::new().unwrap();
        signals.end_on_hangup();
        send("-HUP");
        assert_eq!(signals.next().await, SignalRequest::End);
    }

    #[test]
    fn nohup_is_known_by_the_mask_it_leaves() {
        assert!(ignores_hangup("Name:\tbox\nSigIgn:\t0000000000001001\n"));
        assert!(!ignores_hangup("Name:\tbox\nSigIgn:\t0000000000001000\n"));
        assert!(!ignores_hangup(""));
    }
}
