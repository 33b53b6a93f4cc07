//! The clock and the limits of the host: open files and socket buffers.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::report::{Finding, Subject};
use crate::clock::UnixSeconds;

/// systemd-timesyncd creates this file at its first synchronization.
const TIMESYNC: &str = "/run/systemd/timesync/synchronized";
/// How long timedatectl may take: it waits for a service on D-Bus.
const TIMEDATECTL_LIMIT: Duration = Duration::from_secs(2);
/// The buffer size that the relay requests: about 30 ms at 1 Gbit/s.
const BUFFER: u64 = 4 << 20;
/// A thousand participants, and what the server itself needs.
const OPEN_FILES: u64 = 4096;
/// A credential still works if the clocks differ by this much.
const CLOCK_TOLERANCE: UnixSeconds = 60;
const ENABLE_NTP: &str = "enable NTP: timedatectl set-ntp true";

/// The clock of this machine, and times to compare it with.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    /// The time on this machine.
    pub(super) now: UnixSeconds,
    /// Whether NTP synchronizes it; `None` if unknown.
    pub(super) synchronized: Option<bool>,
    /// When this program was installed.
    pub(super) installed: Option<UnixSeconds>,
    /// Start of the certificate's validity.
    pub(super) certificate: Option<UnixSeconds>,
    /// The `Date` of the server's response.
    pub(super) server: Option<UnixSeconds>,
}

/// What the system allows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits {
    /// Open files of one process.
    pub(super) open_files: Option<u64>,
    /// Whether `open_files` is the limit of the running server, not of this shell.
    pub(super) of_server: bool,
    /// `net.core.rmem_max` in bytes; `None` leaves the buffers out of the report.
    pub(super) receive_buffer: Option<u64>,
    /// `net.core.wmem_max` in bytes.
    pub(super) send_buffer: Option<u64>,
}

/// Whether NTP, by whichever program, synchronizes the clock; `None` if this host does not report it.
pub(super) async fn is_synchronized() -> Option<bool> {
    if Path::new(TIMESYNC).exists() {
        return Some(true);
    }
    // A plain thread: the runtime does not wait for it when D-Bus hangs.
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || sender.send(run_timedatectl()));
    timeout(TIMEDATECTL_LIMIT, receiver).await.ok()?.ok()?
}

/// timedatectl reports the kernel's flag, which chrony and ntpd set as well.
fn run_timedatectl() -> Option<bool> {
    let mut command = Command::new("timedatectl");
    command.args(["show", "--property=NTPSynchronized", "--value"]).stdin(Stdio::null());
    match command.output().ok()?.stdout.as_slice() {
        b"yes\n" => Some(true),
        b"no\n" => Some(false),
        _ => None,
    }
}

/// When the file of this program was written.
pub(super) fn installed() -> Option<UnixSeconds> {
    let modified = fs::metadata(std::env::current_exe().ok()?).ok()?.modified().ok()?;
    SystemTime::duration_since(&modified, UNIX_EPOCH).ok().map(|since| since.as_secs())
}

impl Clock {
    pub(super) fn evaluate(&self) -> Finding {
        let subject = Subject::Clock;
        let is_before = |time: Option<UnixSeconds>| time.is_some_and(|time| self.now < time);
        if is_before(self.certificate) {
            return subject.fail("the clock shows a time before the certificate's first day", ENABLE_NTP);
        }
        if is_before(self.installed) {
            return subject.fail("the clock shows a time before this program was installed", ENABLE_NTP);
        }
        let difference = self.server.map_or(0, |server| server.abs_diff(self.now));
        if difference > CLOCK_TOLERANCE {
            return subject.warn(
                format!("the clocks of the server and of this machine differ by {difference} seconds"),
                format!("on the machine that is wrong, {ENABLE_NTP}"),
            );
        }
        match self.synchronized {
            Some(true) => subject.ok("synchronized by NTP"),
            Some(false) => subject.warn("the clock is not synchronized", ENABLE_NTP),
            None => subject.ok("plausible; this host does not report whether NTP is on"),
        }
    }
}

impl Limits {
    /// The limits of the process `server`, otherwise those of this process.
    pub(super) fn observe(server: Option<u32>) -> Self {
        let of_process = |pid| open_files(&fs::read_to_string(format!("/proc/{pid}/limits")).ok()?);
        let of_server = server.and_then(of_process);
        // The server raises its soft limit to the hard limit.
        let of_shell = || Some(getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX));
        let sysctl =
            |name: &str| fs::read_to_string(format!("/proc/sys/net/core/{name}")).ok()?.trim().parse().ok();
        Self {
            open_files: of_server.or_else(of_shell),
            of_server: of_server.is_some(),
            receive_buffer: sysctl("rmem_max"),
            send_buffer: sysctl("wmem_max"),
        }
    }

    pub(super) fn evaluate(&self) -> Vec<Finding> {
        let open_files = self.open_files.map(|limit| self.evaluate_open_files(limit));
        open_files.into_iter().chain(self.evaluate_buffers()).collect()
    }

    fn evaluate_open_files(&self, limit: u64) -> Finding {
        let process = if self.of_server { "the running server" } else { "a process started from this shell" };
        let text = format!("{process} may open {limit} files");
        if limit >= OPEN_FILES {
            return Subject::Limits.ok(text);
        }
        let hint = "set LimitNOFILE=65536 in the unit, or raise the hard limit of the shell that starts it";
        Subject::Limits.warn(format!("{text}, one for each connection"), hint)
    }

    fn evaluate_buffers(&self) -> Option<Finding> {
        let limits = [("rmem_max", self.receive_buffer?), ("wmem_max", self.send_buffer?)];
        let small = limits.iter().filter(|(_, limit)| *limit < BUFFER);
        let (found, needed): (Vec<_>, Vec<_>) = small
            .map(|(name, limit)| (format!("net.core.{name} is {limit}"), format!("net.core.{name}={BUFFER}")))
            .unzip();
        if found.is_empty() {
            return Some(Subject::Limits.ok("socket buffers may have the 4 MiB that the relay requests"));
        }
        Some(Subject::Limits.warn(
            format!("{}: under load the relay would lose packets", found.join(", ")),
            format!("sysctl -w {}, and the same in /etc/sysctl.d/", needed.join(" ")),
        ))
    }
}

/// The soft limit in a `/proc/PID/limits`.
fn open_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::Level;

    const NOON: UnixSeconds = 1_800_000_000;

    fn clock() -> Clock {
        Clock { now: NOON, synchronized: Some(true), ..Clock::default() }
    }

    #[test]
    fn a_clock_before_the_certificate_or_the_program_fails() {
        assert_eq!(clock().evaluate().level, Level::Ok);
        let early = [
            Clock { certificate: Some(NOON + 1), ..clock() },
            Clock { installed: Some(NOON + 1), ..clock() },
        ];
        for wrong in early {
            let finding = wrong.evaluate();
            assert_eq!(finding.level, Level::Fail, "{finding}");
            assert!(finding.hint.unwrap().contains("set-ntp"));
        }
    }

    #[test]
    fn a_clock_without_ntp_or_unlike_the_servers_is_a_warning() {
        let unsynchronized = Clock { synchronized: Some(false), ..clock() };
        assert_eq!(unsynchronized.evaluate().level, Level::Warn);
        let different = Clock { server: Some(NOON - 3600), ..clock() }.evaluate();
        assert!(different.text.contains("differ by 3600 seconds"), "{different}");
        let close = Clock { server: Some(NOON + 2), synchronized: None, ..clock() };
        assert_eq!(close.evaluate().level, Level::Ok);
    }

    #[test]
    fn low_limits_come_with_the_value_to_set() {
        let low = Limits {
            open_files: Some(1024),
            of_server: true,
            receive_buffer: Some(212_992),
            send_buffer: Some(BUFFER),
        };
        let [files, buffers] = low.evaluate().try_into().unwrap();
        assert_eq!(files.text, "the running server may open 1024 files, one for each connection");
        assert_eq!(buffers.text, "net.core.rmem_max is 212992: under load the relay would lose packets");
        let hint = "sysctl -w net.core.rmem_max=4194304, and the same in /etc/sysctl.d/";
        assert_eq!(buffers.hint.unwrap(), hint);
        let high = Limits { open_files: Some(65_536), receive_buffer: Some(BUFFER), ..low };
        assert!(high.evaluate().iter().all(|finding| finding.level == Level::Ok));
    }

    #[test]
    fn the_open_files_limit_of_a_process_is_read() {
        let table = "Limit                     Soft Limit           Hard Limit           Units     \n\
            Max processes             15389                15389                processes \n\
            Max open files            1024                 524288               files     \n";
        assert_eq!(open_files(table), Some(1024));
        assert!(Limits::observe(None).open_files.is_some_and(|limit| limit > 0));
    }
}
