//! How many bytes may wait for clients: one sum per source, one for all, in atomics.
//!
//! The first [`RESERVE`] bytes of each queue belong to that queue alone, so that a client which reads
//! is served however much others have waiting. A lock is taken when a connection begins and ends,
//! never for a frame.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use webrtc_box_rate_limit::SourcePrefix;

/// Bytes of one queue that no sum counts.
pub const RESERVE: usize = 16 * 1024;

/// No source has more than this part of the whole; an IPv6 /56 has twice as much, a /48 four times.
const SOURCE_SHARE: usize = 8;

/// The sums of all connections. Cheap to clone: all clones are one.
#[derive(Clone, Debug)]
pub struct QueueBudget(Arc<Sums>);

#[derive(Debug)]
struct Sums {
    limit: usize,
    /// Below zero for moments: what is taken back may be counted before what was added.
    total: AtomicIsize,
    by_source: Mutex<HashMap<SourcePrefix, Arc<AtomicIsize>>>,
}

/// What one source has waiting, for one of its connections.
#[derive(Debug)]
pub struct SourceBudget {
    sums: Arc<Sums>,
    /// Each with the most that it may be; empty for a proxy, behind which anybody may be.
    prefixes: Vec<(SourcePrefix, Arc<AtomicIsize>, usize)>,
}

/// One queue's bytes within the sums.
#[derive(Debug)]
pub struct QueueShare {
    source: Arc<SourceBudget>,
    queued: AtomicUsize,
    limit: usize,
    reserve: usize,
}

/// Bytes that are counted until this is dropped.
#[derive(Debug)]
pub struct Charge {
    share: Arc<QueueShare>,
    bytes: usize,
}

impl QueueBudget {
    /// At most `limit` bytes beyond the reserves.
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Sums { limit, total: AtomicIsize::new(0), by_source: Mutex::default() }))
    }

    /// For a connection of `source`; `None` where that says nothing of who it is.
    pub fn enter(&self, source: Option<IpAddr>) -> Arc<SourceBudget> {
        let mut by_source = self.0.lock();
        let prefixes = source.map_or([None; 3], SourcePrefix::of).into_iter().zip([1, 2, 4]);
        let prefixes = prefixes.filter_map(|(prefix, multiple)| {
            let sum = Arc::clone(by_source.entry(prefix?).or_default());
            Some((prefix?, sum, self.0.limit / SOURCE_SHARE * multiple))
        });
        Arc::new(SourceBudget { prefixes: prefixes.collect(), sums: Arc::clone(&self.0) })
    }
}

impl Sums {
    fn lock(&self) -> MutexGuard<'_, HashMap<SourcePrefix, Arc<AtomicIsize>>> {
        self.by_source.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SourceBudget {
    /// A queue of at most `limit` bytes; `reserve` of them are in no sum.
    pub fn queue(self: &Arc<Self>, limit: usize, reserve: usize) -> Arc<QueueShare> {
        let source = Arc::clone(self);
        Arc::new(QueueShare { source, queued: AtomicUsize::new(0), limit, reserve })
    }

    fn counters(&self) -> impl Iterator<Item = (&AtomicIsize, usize)> {
        let all = (&self.sums.total, self.sums.limit);
        self.prefixes.iter().map(|(_, sum, limit)| (&**sum, *limit)).chain([all])
    }

    fn add(&self, bytes: usize) -> bool {
        if bytes == 0 {
            return true;
        }
        let more = bytes as isize;
        for (number, (sum, limit)) in self.counters().enumerate() {
            if sum.fetch_add(more, Ordering::Relaxed) + more > limit as isize {
                self.counters().take(number + 1).for_each(|(sum, _)| {
                    sum.fetch_sub(more, Ordering::Relaxed);
                });
                return false;
            }
        }
        true
    }

    /// Counts `change`, whatever the limits say.
    fn correct(&self, change: isize) {
        if change != 0 {
            self.counters().for_each(|(sum, _)| {
                sum.fetch_add(change, Ordering::Relaxed);
            });
        }
    }
}

impl Drop for SourceBudget {
    fn drop(&mut self) {
        let mut by_source = self.sums.lock();
        for (prefix, sum, _) in self.prefixes.drain(..) {
            // The map's and this one.
            if Arc::strong_count(&sum) == 2 {
                by_source.remove(&prefix);
            }
        }
    }
}

impl QueueShare {
    /// Counts `bytes` more; `None` where the queue, its source or all together have too much.
    pub fn charge(self: &Arc<Self>, bytes: usize) -> Option<Charge> {
        let before = self.queued.fetch_add(bytes, Ordering::Relaxed);
        let summed = self.summed(before + bytes) - self.summed(before);
        let allowed = before + bytes <= self.limit;
        if !allowed || !self.source.add(summed) {
            let now = self.queued.fetch_sub(bytes, Ordering::Relaxed);
            // What came and went meanwhile has counted from the higher level.
            let taken_back = self.summed(now) - self.summed(now - bytes);
            self.source.correct(summed as isize - taken_back as isize);
            return None;
        }
        Some(Charge { share: Arc::clone(self), bytes })
    }

    /// Bytes that wait.
    pub fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// How many of so many bytes the sums count.
    fn summed(&self, queued: usize) -> usize {
        queued.saturating_sub(self.reserve)
    }
}

impl Charge {
    /// Both as one.
    #[must_use]
    pub fn and(mut self, mut other: Self) -> Self {
        debug_assert!(Arc::ptr_eq(&self.share, &other.share));
        self.bytes += std::mem::take(&mut other.bytes);
        self
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let before = self.share.queued.fetch_sub(self.bytes, Ordering::Relaxed);
        let summed = self.share.summed(before) - self.share.summed(before - self.bytes);
        self.share.source.correct(-(summed as isize));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;

    fn source(budget: &QueueBudget, address: &str) -> Arc<SourceBudget> {
        budget.enter(Some(address.parse().unwrap()))
    }

    /// How much a queue takes in pieces of 1 KiB.
    fn filled(source: &Arc<SourceBudget>) -> Vec<Charge> {
        let queue = source.queue(usize::MAX, 16 * KIB);
        std::iter::from_fn(|| queue.charge(KIB)).collect()
    }

    #[test]
    fn a_source_has_an_eighth_and_everybody_a_reserve() {
        let budget = QueueBudget::new(800 * KIB);
        let first = source(&budget, "192.0.2.1");
        let retries = source(&budget, "192.0.2.1");
        let (one, two) = (filled(&first), filled(&retries));
        assert_eq!((one.len(), two.len()), (116, 16), "100 KiB for both, and 16 for each");
        assert_eq!(filled(&source(&budget, "192.0.2.2")).len(), 116, "another source has its own");
        drop(one);
        assert_eq!(filled(&first).len(), 116, "what has left makes room");
        assert_eq!(two.len(), 16);
    }

    #[test]
    fn all_together_are_bounded_and_a_reserve_is_always_there() {
        let budget = QueueBudget::new(800 * KIB);
        let sources: Vec<_> = (0..20).map(|n| source(&budget, &format!("192.0.2.{n}"))).collect();
        let held: Vec<_> = sources.iter().map(filled).collect();
        assert_eq!(held.iter().map(Vec::len).sum::<usize>(), 800 + 20 * 16);
        assert!(held.iter().all(|held| held.len() >= 16));
    }

    #[test]
    fn networks_of_one_ipv6_site_share_and_a_proxy_has_only_the_whole() {
        let budget = QueueBudget::new(800 * KIB);
        let networks: Vec<_> = (0..9).map(|n| source(&budget, &format!("2001:db8:0:{n}::1"))).collect();
        let held: Vec<_> = networks.iter().map(filled).collect();
        assert_eq!(held.iter().map(Vec::len).sum::<usize>(), 200 + 9 * 16, "one /56");
        drop(held);
        assert_eq!(filled(&budget.enter(None)).len(), 816);
    }

    #[test]
    fn a_queue_has_its_own_limit_and_nothing_is_left_behind() {
        let budget = QueueBudget::new(800 * KIB);
        let source = source(&budget, "192.0.2.1");
        let queue = source.queue(40 * KIB, 16 * KIB);
        let charges: Vec<_> = std::iter::from_fn(|| queue.charge(3 * KIB)).collect();
        assert_eq!((charges.len(), queue.queued()), (13, 39 * KIB));
        let merged = charges.into_iter().reduce(Charge::and);
        assert_eq!(queue.queued(), 39 * KIB);
        drop(merged);
        assert_eq!((queue.queued(), budget.0.total.load(Ordering::Relaxed)), (0, 0));
        drop((queue, source));
        assert!(budget.0.by_source.lock().unwrap().is_empty(), "who is gone is forgotten");
    }

    #[test]
    fn refusals_beside_charges_of_other_threads_lose_no_byte() {
        let budget = QueueBudget::new(64 * KIB);
        let queue = source(&budget, "192.0.2.1").queue(40 * KIB, 16 * KIB);
        std::thread::scope(|scope| {
            for bytes in [KIB, 5 * KIB, 13 * KIB] {
                let queue = &queue;
                scope.spawn(move || (0..20_000).for_each(|_| drop(queue.charge(bytes))));
            }
        });
        assert_eq!((queue.queued(), budget.0.total.load(Ordering::Relaxed)), (0, 0));
    }
}
