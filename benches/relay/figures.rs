//! Figures: what a process has spent, what it holds, and how samples are summed up.

use std::fs;

/// Nanoseconds that all threads of a process have been on a core, kernel time included (its
/// scheduler statistics).
pub fn cpu_nanos(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let spent = |task: fs::DirEntry| {
        let line = fs::read_to_string(task.path().join("schedstat")).ok()?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    tasks.filter_map(|task| spent(task.ok()?)).sum()
}

/// Resident bytes of a process.
pub fn resident(pid: u32) -> u64 {
    kib(&format!("/proc/{pid}/status"), "VmRSS:") * 1024
}

/// Bytes in the kernel's slab, of everybody.
pub fn slab() -> u64 {
    kib("/proc/meminfo", "Slab:") * 1024
}

fn kib(file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// What one measurement of moving packets gave.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    pub sent: u64,
    pub received: u64,
    /// Those that came after a later one of their flow, or again.
    pub disordered: u64,
    pub seconds: f64,
    pub cpu_nanos: u64,
    /// From send to receipt, in nanoseconds; sorted.
    pub delays: Vec<u32>,
}

impl Sample {
    pub fn rate(&self) -> f64 {
        self.received as f64 / self.seconds
    }

    pub fn loss(&self) -> f64 {
        1.0 - self.received as f64 / self.sent.max(1) as f64
    }

    /// Nanoseconds of the server for each packet that arrived.
    pub fn cost(&self) -> f64 {
        self.cpu_nanos as f64 / self.received.max(1) as f64
    }

    /// How much of a core the server had, 0 to 1.
    pub fn busy(&self) -> f64 {
        self.cpu_nanos as f64 / (self.seconds * 1e9)
    }

    /// Microseconds below which `part` of all packets stayed.
    pub fn delay(&self, part: f64) -> f64 {
        let at = (self.delays.len() as f64 * part) as usize;
        self.delays
            .get(at.min(self.delays.len().saturating_sub(1)))
            .map_or(f64::NAN, |nanos| f64::from(*nanos) / 1e3)
    }
}

/// The middle of several rounds, and how far they lie apart.
#[derive(Clone, Copy, Debug)]
pub struct Median {
    pub middle: f64,
    pub least: f64,
    pub most: f64,
}

impl Median {
    /// Of at least one.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let half = values.len() / 2;
        let middle =
            if values.len() % 2 == 1 { values[half] } else { (values[half - 1] + values[half]) / 2.0 };
        Self { middle, least: values[0], most: values[values.len() - 1] }
    }
}
