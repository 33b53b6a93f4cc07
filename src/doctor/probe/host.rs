//! The host's clock and limits.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::clock::UnixSeconds;
use crate::doctor::judge::host::Limits;

/// systemd-timesyncd leaves this file once it has been in step.
const TIMESYNC: &str = "/run/systemd/timesync/synchronized";
/// For a service that is asked over D-Bus.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether NTP keeps the clock, whichever program does it; `None` where nothing here says so.
pub(in crate::doctor) async fn synchronised() -> Option<bool> {
    if Path::new(TIMESYNC).exists() {
        return Some(true);
    }
    // On a thread of its own, so that a bus that does not answer does not hold up the end.
    let (answer, awaited) = oneshot::channel();
    std::thread::spawn(move || answer.send(asked()));
    timeout(PATIENCE, awaited).await.ok()?.ok()?
}

/// timedatectl reads the kernel's own word for it, which chrony and ntpd set as well.
fn asked() -> Option<bool> {
    let mut command = Command::new("timedatectl");
    command.args(["show", "--property=NTPSynchronized", "--value"]).stdin(Stdio::null());
    match command.output().ok()?.stdout.as_slice() {
        b"yes\n" => Some(true),
        b"no\n" => Some(false),
        _ => None,
    }
}

/// When this program was written to where it is.
pub(in crate::doctor) fn installed() -> Option<UnixSeconds> {
    unix(fs::metadata(std::env::current_exe().ok()?).ok()?.modified().ok()?)
}

/// Seconds since 1970, for a moment after that.
pub(in crate::doctor) fn unix(moment: SystemTime) -> Option<UnixSeconds> {
    moment.duration_since(UNIX_EPOCH).ok().as_ref().map(Duration::as_secs)
}

/// The limits of the process `running`, else those of this one.
pub(in crate::doctor) fn limits(running: Option<u32>) -> Limits {
    let theirs = running.and_then(|pid| open_files(&fs::read_to_string(format!("/proc/{pid}/limits")).ok()?));
    // A box raises its soft limit to the hard one.
    let ours = || Some(getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX));
    let sysctl =
        |name: &str| fs::read_to_string(format!("/proc/sys/net/core/{name}")).ok()?.trim().parse().ok();
    Limits {
        descriptors: theirs.or_else(ours),
        of_the_box: theirs.is_some(),
        receive: sysctl("rmem_max"),
        send: sysctl("wmem_max"),
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

    #[test]
    fn the_limit_of_another_process_is_read() {
        let table = "Limit                     Soft Limit           Hard Limit           Units     \n\
            Max processes             15389                15389                processes \n\
            Max open files            1024                 524288               files     \n";
        assert_eq!(open_files(table), Some(1024));
        assert!(limits(None).descriptors.is_some_and(|limit| limit > 0));
    }
}
