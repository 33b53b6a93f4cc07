//! Limits the bytes that wait for clients, per source and in all, with atomic counters.
//!
//! The first [`RESERVE`] bytes of each queue are outside both limits, so a client that reads is served however much waits
//! for others. A lock is taken when a connection opens and closes, never for a frame.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use webrtc_box_rate_limit::SourcePrefix;

/// Bytes of one queue that count towards no shared limit.
pub const RESERVE: usize = 16 * 1024;

/// A source has at most this fraction of the total; an IPv6 /56 has twice as much, a /48 four times.
const SOURCE_SHARE: usize = 8;

/// The totals of all connections. Clones share them.
#[derive(Clone, Debug)]
pub struct QueueBudget(Arc<Totals>);

#[derive(Debug)]
struct Totals {
    limit: usize,
    /// Briefly negative when a subtraction overtakes the addition before it.
    total: AtomicIsize,
    by_source: Mutex<BTreeMap<SourcePrefix, Arc<AtomicIsize>>>,
}

/// The budget of one connection within the limits of its source.
#[derive(Debug)]
pub struct SourceBudget {
    totals: Arc<Totals>,
    /// Each prefix of the source with its total and limit; empty for a proxy in front of many clients.
    prefixes: Vec<(SourcePrefix, Arc<AtomicIsize>, usize)>,
}

/// The bytes of one queue.
#[derive(Debug)]
pub struct QueueShare {
    source: Arc<SourceBudget>,
    queued: AtomicUsize,
    limit: usize,
    reserve: usize,
}

/// Bytes that count until this is dropped.
#[derive(Debug)]
pub struct Charge {
    share: Arc<QueueShare>,
    bytes: usize,
}

impl QueueBudget {
    /// At most `limit` bytes beyond the reserves.
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Totals { limit, total: AtomicIsize::new(0), by_source: Mutex::default() }))
    }

    /// The budget of a connection from `source`; `None` for a proxy in front of many clients.
    pub fn enter(&self, source: Option<IpAddr>) -> Arc<SourceBudget> {
        let mut by_source = self.0.lock();
        let prefixes = source.map_or([None; 3], SourcePrefix::of).into_iter().zip([1, 2, 4]);
        let prefixes = prefixes.filter_map(|(prefix, multiple)| {
            let total = Arc::clone(by_source.entry(prefix?).or_default());
            Some((prefix?, total, self.0.limit / SOURCE_SHARE * multiple))
        });
        Arc::new(SourceBudget { prefixes: prefixes.collect(), totals: Arc::clone(&self.0) })
    }
}

impl Totals {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<SourcePrefix, Arc<AtomicIsize>>> {
        self.by_source.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SourceBudget {
    /// A queue of at most `limit` bytes, the first `reserve` of which count towards no shared limit.
    pub fn queue(self: &Arc<Self>, limit: usize, reserve: usize) -> Arc<QueueShare> {
        let source = Arc::clone(self);
        Arc::new(QueueShare { source, queued: AtomicUsize::new(0), limit, reserve })
    }

    fn counters(&self) -> impl Iterator<Item = (&AtomicIsize, usize)> {
        let all = (&self.totals.total, self.totals.limit);
        self.prefixes.iter().map(|(_, total, limit)| (&**total, *limit)).chain([all])
    }

    /// Adds `bytes` to all totals, unless one of them would exceed its limit.
    fn try_add(&self, bytes: usize) -> bool {
        if bytes == 0 {
            return true;
        }
        let more = bytes as isize;
        for (index, (total, limit)) in self.counters().enumerate() {
            if total.fetch_add(more, Ordering::Relaxed) + more > limit as isize {
                self.counters().take(index + 1).for_each(|(total, _)| {
                    total.fetch_sub(more, Ordering::Relaxed);
                });
                return false;
            }
        }
        true
    }

    /// Changes all totals regardless of their limits.
    fn adjust(&self, change: isize) {
        if change != 0 {
            self.counters().for_each(|(total, _)| {
                total.fetch_add(change, Ordering::Relaxed);
            });
        }
    }
}

impl Drop for SourceBudget {
    fn drop(&mut self) {
        let mut by_source = self.totals.lock();
        for (prefix, total, _) in self.prefixes.drain(..) {
            // The references of the map and of this connection.
            if Arc::strong_count(&total) == 2 {
                by_source.remove(&prefix);
            }
        }
    }
}

impl QueueShare {
    /// Counts `bytes` more; `None` if that exceeds the limit of the queue, of its source or of all together.
    pub fn charge(self: &Arc<Self>, bytes: usize) -> Option<Charge> {
        let before = self.queued.fetch_add(bytes, Ordering::Relaxed);
        let shared = self.shared(before + bytes) - self.shared(before);
        let allowed = before + bytes <= self.limit;
        if !allowed || !self.source.try_add(shared) {
            let now = self.queued.fetch_sub(bytes, Ordering::Relaxed);
            // Concurrent charges were computed from the higher count, so the difference may not be `shared`.
            let removed = self.shared(now) - self.shared(now - bytes);
            self.source.adjust(shared as isize - removed as isize);
            return None;
        }
        Some(Charge { share: Arc::clone(self), bytes })
    }

    /// Bytes that wait in this queue.
    pub fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// How many of `queued` bytes count towards the shared limits.
    fn shared(&self, queued: usize) -> usize {
        queued.saturating_sub(self.reserve)
    }
}

impl Charge {
    /// Merges two charges of one queue.
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
        let shared = self.share.shared(before) - self.share.shared(before - self.bytes);
        self.share.source.adjust(-(shared as isize));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;

    fn source(budget: &QueueBudget, address: &str) -> Arc<SourceBudget> {
        budget.enter(Some(address.parse().unwrap()))
    }

    /// Charges of 1 KiB until a queue is full.
    fn filled(source: &Arc<SourceBudget>) -> Vec<Charge> {
        let queue = source.queue(usize::MAX, 16 * KIB);
        std::iter::from_fn(|| queue.charge(KIB)).collect()
    }

    #[test]
    fn a_source_has_an_eighth_and_each_queue_a_reserve() {
        let budget = QueueBudget::new(800 * KIB);
        let first = source(&budget, "192.0.2.1");
        let retries = source(&budget, "192.0.2.1");
        let (one, two) = (filled(&first), filled(&retries));
        assert_eq!((one.len(), two.len()), (116, 16), "100 KiB for both and 16 KiB for each");
        assert_eq!(filled(&source(&budget, "192.0.2.2")).len(), 116, "another source has its own share");
        drop(one);
        assert_eq!(filled(&first).len(), 116, "dropped charges free their bytes");
        assert_eq!(two.len(), 16);
    }

    #[test]
    fn the_total_is_limited_but_each_queue_keeps_its_reserve() {
        let budget = QueueBudget::new(800 * KIB);
        let sources: Vec<_> = (0..20).map(|n| source(&budget, &format!("192.0.2.{n}"))).collect();
        let charges: Vec<_> = sources.iter().map(filled).collect();
        assert_eq!(charges.iter().map(Vec::len).sum::<usize>(), 800 + 20 * 16);
        assert!(charges.iter().all(|charges| charges.len() >= 16));
    }

    #[test]
    fn a_56_prefix_shares_a_limit_and_a_proxy_has_only_the_total() {
        let budget = QueueBudget::new(800 * KIB);
        let networks: Vec<_> = (0..9).map(|n| source(&budget, &format!("2001:db8:0:{n}::1"))).collect();
        let charges: Vec<_> = networks.iter().map(filled).collect();
        assert_eq!(charges.iter().map(Vec::len).sum::<usize>(), 200 + 9 * 16, "one /56");
        drop(charges);
        assert_eq!(filled(&budget.enter(None)).len(), 816);
    }

    #[test]
    fn a_queue_has_its_own_limit_and_leaves_no_count_behind() {
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
        assert!(budget.0.by_source.lock().unwrap().is_empty(), "a source without connections is removed");
    }

    #[test]
    fn concurrent_refusals_and_charges_balance() {
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
