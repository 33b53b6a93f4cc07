//! Turns SIGHUP, SIGTERM and SIGINT into values.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalRequest {
    /// SIGHUP, unless it means that the terminal was closed: read the settings again.
    Reload,
    /// The first SIGTERM or SIGINT: accept no new calls, let running ones end.
    Drain,
    /// Any further SIGTERM or SIGINT: stop now.
    End,
}

/// Receives SIGHUP, SIGTERM and SIGINT from its creation on.
#[derive(Debug)]
pub struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    drain_requested: bool,
    hangup_ends: bool,
}

impl Signals {
    /// Installs the handlers; needs a tokio runtime.
    ///
    /// # Errors
    /// The operating system refuses the handlers.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            drain_requested: false,
            hangup_ends: false,
        })
    }

    /// From now on SIGHUP is [`SignalRequest::End`]: the server ends with its terminal.
    pub fn end_on_hangup(&mut self) {
        self.hangup_ends = true;
    }

    /// The next request. Cancel safe.
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

/// Whether the parent process made this one ignore SIGHUP, as nohup does. Only valid before [`Signals::new`].
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
        let id = std::process::id().to_string();
        let sent = Command::new("kill").args([signal, &id]).stdout(Stdio::null()).status();
        assert!(sent.unwrap().success());
    }

    #[tokio::test]
    async fn the_first_signal_drains_the_second_ends_and_sighup_reloads() {
        let mut signals = Signals::new().unwrap();
        let cases = [
            ("-HUP", SignalRequest::Reload),
            ("-TERM", SignalRequest::Drain),
            ("-HUP", SignalRequest::Reload),
            ("-INT", SignalRequest::End),
            ("-TERM", SignalRequest::End),
        ];
        for (name, expected) in cases {
            send(name);
            assert_eq!(signals.next().await, expected);
        }
        // In the same test, because parallel tests would receive each other's signals.
        let mut signals = Signals::new().unwrap();
        signals.end_on_hangup();
        send("-HUP");
        assert_eq!(signals.next().await, SignalRequest::End);
    }

    #[test]
    fn nohup_is_recognized_by_the_mask_of_ignored_signals() {
        assert!(ignores_hangup("Name:\tbox\nSigIgn:\t0000000000001001\n"));
        assert!(!ignores_hangup("Name:\tbox\nSigIgn:\t0000000000001000\n"));
        assert!(!ignores_hangup(""));
    }
}
