//! The process as the kernel reports it, under the names of Prometheus' client libraries.

use std::fmt;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

use super::scrape::ScrapeWriter;

/// Values that the kernel does not report are omitted.
pub(super) fn write(out: &mut ScrapeWriter<'_>, started: SystemTime) -> fmt::Result {
    let started = started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    out.gauge("process_start_time_seconds", "Start time of the process since the Unix epoch", started)?;
    if let Some(bytes) = resident_bytes() {
        out.gauge("process_resident_memory_bytes", "Resident memory of the process", bytes)?;
    }
    if let Some(seconds) = cpu_seconds() {
        out.seconds_total("process_cpu_seconds", "User and system CPU time of the process", seconds)?;
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // Without the descriptor of this directory.
        out.gauge("process_open_fds", "Open file descriptors", (open.count() as u64).saturating_sub(1))?;
    }
    match getrlimit(Resource::Nofile).current {
        Some(limit) => out.gauge("process_max_fds", "Limit of open file descriptors", limit),
        None => Ok(()),
    }
}

/// The second field of statm (proc_pid_statm(5)).
fn resident_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * page_size() as u64)
}

/// User and system time, of all threads (proc_pid_stat(5)).
fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name before the parenthesis may contain spaces.
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().ok());
    let ticks: u64 = ticks.sum::<Option<u64>>()?;
    Some(ticks as f64 / clock_ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_reports_this_process() {
        let memory = resident_bytes().unwrap();
        assert!((1 << 20..1 << 40).contains(&memory), "{memory}");
        assert!(cpu_seconds().unwrap() < 1e6);
    }
}
