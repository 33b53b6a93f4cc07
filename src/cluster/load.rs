//! Reports the load of this server every second, by which others choose where new rooms go.

use std::fs;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};
use tokio::time::{MissedTickBehavior, interval};

use webrtc_box_cluster::Load;
use webrtc_box_relay::{Relay, RelayStats};

use super::Cluster;
use crate::task::run_blocking;

const INTERVAL: Duration = Duration::from_secs(1);

/// What counts as full.
#[derive(Clone, Copy, Debug)]
pub(super) struct Capacity {
    /// Allocations in all; 0: no limit.
    pub(super) allocations: u32,
    /// Bytes per second in each direction; 0: no limit.
    pub(super) bytes_per_second: u32,
}

/// Runs as long as the process.
pub(super) async fn run(cluster: Arc<Cluster>, relay: Option<Weak<Relay>>, capacity: Capacity) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = (Instant::now(), [0, 0]);
    loop {
        ticks.tick().await;
        let relay = relay.as_ref().and_then(Weak::upgrade);
        let now = relay.as_ref().map_or([0, 0], |relay| relayed_bytes(&relay.stats()));
        let (at, bytes) = std::mem::replace(&mut before, (Instant::now(), now));
        let highest = now[0].saturating_sub(bytes[0]).max(now[1].saturating_sub(bytes[1]));
        let rate = highest as f64 / at.elapsed().as_secs_f64().max(0.1);
        let allocations = relay.map_or(0, |relay| relay.allocations());
        cluster.handle.set_load(Load {
            allocations: percent(f64::from(allocations), capacity.allocations.into()),
            bandwidth: percent(rate, capacity.bytes_per_second.into()),
            // Without that number Linux lists them, which takes a while.
            descriptors: run_blocking(open_files)
                .await
                .zip(getrlimit(Resource::Nofile).current)
                .map_or(0, |(open, limit)| percent(open as f64, limit)),
        });
    }
}

/// Bytes from clients, and bytes to clients.
fn relayed_bytes(stats: &RelayStats) -> [u64; 2] {
    let [between_clients, to_peers, from_peers] = stats.server_stats.relayed.map(|traffic| traffic.bytes);
    [between_clients + to_peers, between_clients + from_peers]
}

/// How much of `limit` is used; 0 without a limit.
fn percent(used: f64, limit: u64) -> u8 {
    if limit == 0 { 0 } else { (used * 100.0 / limit as f64).clamp(0.0, 100.0) as u8 }
}

/// The open files of this process. Linux 6.2 and later tell the number without a list.
fn open_files() -> Option<u64> {
    const FOLDER: &str = "/proc/self/fd";
    let counted = fs::metadata(FOLDER).ok()?.len();
    if counted > 0 { Some(counted) } else { Some(fs::read_dir(FOLDER).ok()?.count() as u64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_is_the_share_of_a_limit() {
        assert_eq!((percent(0.0, 0), percent(5.0, 0)), (0, 0), "no limit");
        assert_eq!((percent(0.0, 200), percent(100.0, 200), percent(500.0, 200)), (0, 50, 100));
    }

    #[test]
    fn open_files_are_counted() {
        let before = open_files().unwrap();
        let files: Vec<_> = (0..50).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        assert!(open_files().unwrap() >= before.min(3) + files.len() as u64);
    }
}
