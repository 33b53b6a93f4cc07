//! Gives freed memory back to the operating system.
//!
//! glibc keeps what many small objects leave behind when they end, unless they were the last ones on its heap: 34 MiB
//! after 10,000 polling sessions. It uses that memory again, but until then other programs cannot.

use std::time::Duration;

use crate::task::run_blocking;

/// How often the number of objects is looked at.
const INTERVAL: Duration = Duration::from_secs(10);

/// Fewer ended objects are not worth a pass over the heap.
const MIN_ENDED: usize = 500;

/// Decides when a pass over the heap is worth its time.
#[derive(Debug, Default)]
struct ReleasePolicy {
    /// The highest number of objects since the last pass.
    peak: usize,
}

impl ReleasePolicy {
    /// Whether most of the objects have ended, of which there are `count` now.
    fn is_due(&mut self, count: usize) -> bool {
        self.peak = self.peak.max(count);
        let due = self.peak - count >= MIN_ENDED.max(self.peak / 2);
        if due {
            self.peak = count;
        }
        due
    }
}

/// Gives memory back whenever most objects have ended; `count` returns how many there are.
pub(crate) async fn release_when_unused(count: impl Fn() -> usize) {
    let mut policy = ReleasePolicy::default();
    loop {
        tokio::time::sleep(INTERVAL).await;
        if policy.is_due(count()) {
            run_blocking(release).await;
        }
    }
}

#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "no safe crate has this function")]
fn release() {
    // SAFETY: the function takes no pointer and may be called from any thread at any time (malloc_trim(3)).
    unsafe { libc::malloc_trim(0) };
}

/// Other C libraries give memory back by themselves, or have no such function.
#[cfg(not(target_env = "gnu"))]
fn release() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_is_due_once_most_objects_have_ended() {
        let mut policy = ReleasePolicy::default();
        let due = [100, 0, 10_000, 5_001, 5_000, 4_000, 0, 0, 900, 401, 400];
        let due = due.map(|count| (count, policy.is_due(count)));
        let passes: Vec<_> = due.into_iter().filter(|(_, due)| *due).map(|(count, _)| count).collect();
        assert_eq!(passes, [5_000, 0, 400]);
    }
}
