//! The process as the kernel sees it, under the names that Prometheus' own libraries give.

use std::fmt;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

use super::sheet::Sheet;

/// What the kernel does not tell is left out.
pub(super) fn write(sheet: &mut Sheet<'_>, begun: SystemTime) -> fmt::Result {
    let begun = begun.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    sheet.gauge("process_start_time_seconds", "When the process began, since 1970", begun)?;
    if let Some(bytes) = resident() {
        sheet.gauge("process_resident_memory_bytes", "Memory the process holds", bytes)?;
    }
    if let Some(seconds) = worked() {
        sheet.seconds_total("process_cpu_seconds", "Processor time the process has taken", seconds)?;
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // The one it is read through does not count.
        sheet.gauge("process_open_fds", "Open descriptors", (open.count() as u64).saturating_sub(1))?;
    }
    match getrlimit(Resource::Nofile).current {
        Some(most) => sheet.gauge("process_max_fds", "Descriptors there may be", most),
        None => Ok(()),
    }
}

/// The second field of statm (proc_pid_statm(5)).
fn resident() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * page_size() as u64)
}

/// User and system time, of all threads (proc_pid_stat(5)).
fn worked() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name before the parenthesis may hold spaces.
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().ok());
    let ticks: u64 = ticks.sum::<Option<u64>>()?;
    Some(ticks as f64 / clock_ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_of_this_process() {
        let memory = resident().unwrap();
        assert!((1 << 20..1 << 40).contains(&memory), "{memory}");
        assert!(worked().unwrap() < 1e6);
    }
}
