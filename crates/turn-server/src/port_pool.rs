//! The relayed ports of one address family, and how many of them each source may have.

use std::ops::RangeInclusive;

use crate::request::Parity;

/// The ports of one address family.
#[derive(Debug)]
pub struct PortPool {
    /// Half the even port of the first pair.
    first: u16,
    /// For each pair of an even and an odd port, whether it is reserved or excluded.
    in_use: Vec<[bool; 2]>,
    free: usize,
}

impl PortPool {
    /// The ports of `range` without `excluded`.
    pub fn new(range: &RangeInclusive<u16>, excluded: &[u16]) -> Self {
        let is_available = |port: u16| range.contains(&port) && port != 0 && !excluded.contains(&port);
        let halves = range.start() / 2..=range.end() / 2;
        let in_use: Vec<_> =
            halves.map(|half| [!is_available(2 * half), !is_available(2 * half + 1)]).collect();
        let free = in_use.iter().flatten().filter(|in_use| !**in_use).count();
        Self { first: range.start() / 2, in_use, free }
    }

    /// Reserves a port that follows from `random`; for [`Parity::EvenAndNext`] also the next port.
    pub fn reserve(&mut self, parity: Parity, random: u64) -> Option<u16> {
        let count = self.in_use.len();
        let start = random.checked_rem(count as u64)? as usize;
        let first_side = usize::from(parity == Parity::Any && random >> 63 == 1);
        for at in (start..count).chain(0..start) {
            let pair = &mut self.in_use[at];
            let chosen = match parity {
                Parity::Any => [first_side, 1 - first_side].into_iter().find(|&side| !pair[side]),
                Parity::Even => (!pair[0]).then_some(0),
                Parity::EvenAndNext => (!pair[0] && !pair[1]).then_some(0),
            };
            let Some(side) = chosen else { continue };
            pair[side] = true;
            self.free -= 1;
            if parity == Parity::EvenAndNext {
                pair[1] = true;
                self.free -= 1;
            }
            return Some(2 * (self.first + at as u16) + side as u16);
        }
        None
    }

    /// Returns a port to the pool.
    pub fn release(&mut self, port: u16) {
        let at = (port / 2).checked_sub(self.first).map(usize::from);
        if let Some(pair) = at.and_then(|at| self.in_use.get_mut(at)) {
            let in_use = &mut pair[usize::from(port % 2)];
            self.free += usize::from(*in_use);
            *in_use = false;
        }
    }

    /// Number of free ports.
    pub fn free(&self) -> usize {
        self.free
    }
}

/// What one source, and connection tests, may have of the ports, so that enough are left for others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PortShares {
    /// Allocations of one source, by each of its prefixes.
    pub(crate) source: [u32; 3],
    /// Reservations of all sources.
    pub(crate) reservations: usize,
    /// Allocations of all connection tests.
    pub(crate) testers: u32,
    /// With this few free ports, idle allocations are evicted. More than one, because an allocation of another worker
    /// returns its port only a moment later.
    pub(crate) scarce: usize,
}

/// The smallest share of the ports.
const MIN_SHARE: usize = 64;

impl PortShares {
    /// Of `ports` ports, one source may have a quarter (an IPv4 address, an IPv6 /64, the /56 of a household) or half (an
    /// IPv6 /48); reservations an eighth, connection tests an eighth.
    pub(crate) fn of(ports: usize) -> Self {
        let eighth = (ports / 8).max(MIN_SHARE);
        let quarter = (ports / 4).max(MIN_SHARE) as u32;
        let scarce = (ports / 64).clamp(1, 16);
        Self { source: [quarter, quarter, 2 * quarter], reservations: eighth, testers: eighth as u32, scarce }
    }

    /// Allocations of all connection tests: at most a quarter of a quota for the whole server (`total`; 0: none).
    pub(crate) fn tester_quota(self, total: u32) -> u32 {
        if total == 0 { self.testers } else { self.testers.min(total.div_ceil(4)) }
    }

    /// What one source may have of a share for all sources: an eighth, but enough for a normal client.
    pub(crate) fn per_source(share: usize) -> usize {
        (share / 8).max(16)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_port_of_the_range_is_reserved_once_except_excluded_ones() {
        let mut reserved = HashSet::new();
        let mut pool = PortPool::new(&(49_153..=49_200), &[49_160]);
        while let Some(port) =
            pool.reserve(Parity::Any, (reserved.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
        {
            assert!(reserved.insert(port), "{port} reserved twice");
        }
        let all: HashSet<u16> = (49_153..=49_200).filter(|port| *port != 49_160).collect();
        assert_eq!((reserved, pool.free()), (all, 0));
    }

    #[test]
    fn an_even_port_reserves_the_next_one_if_requested() {
        let mut pool = PortPool::new(&(50_000..=50_003), &[]);
        let even = pool.reserve(Parity::EvenAndNext, 3).unwrap();
        assert_eq!((even % 2, pool.free()), (0, 2));
        assert!(pool.reserve(Parity::EvenAndNext, 0).is_some());
        assert_eq!(pool.reserve(Parity::Any, 0), None);
        pool.release(even + 1);
        assert_eq!(pool.reserve(Parity::Even, 0), None);
        assert_eq!(pool.reserve(Parity::Any, 0), Some(even + 1));
    }

    #[test]
    fn the_last_port_can_be_reserved() {
        let mut pool = PortPool::new(&(65_535..=65_535), &[]);
        assert_eq!(pool.reserve(Parity::Even, 0), None);
        assert_eq!(pool.reserve(Parity::Any, 0), Some(65_535));
    }
}
