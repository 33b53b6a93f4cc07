//! Which relayed ports may be lent, and which are.

use std::ops::RangeInclusive;

use super::request::Parity;

/// The ports of one address family.
#[derive(Debug)]
pub struct PortPool {
    /// Half the even port of its first pair.
    first: u16,
    /// Two for each pair: lent or never to be lent.
    in_use: Vec<[bool; 2]>,
    free: usize,
}

impl PortPool {
    /// The ports of `range` without `excluded`.
    pub fn new(range: &RangeInclusive<u16>, excluded: &[u16]) -> Self {
        let may_lend = |port: u16| range.contains(&port) && port != 0 && !excluded.contains(&port);
        let halves = range.start() / 2..=range.end() / 2;
        let in_use: Vec<_> = halves.map(|half| [!may_lend(2 * half), !may_lend(2 * half + 1)]).collect();
        let free = in_use.iter().flatten().filter(|in_use| !**in_use).count();
        Self { first: range.start() / 2, in_use, free }
    }

    /// Lends a port picked by `chance`; for [`Parity::EvenAndNext`] takes the one above as well.
    pub fn reserve(&mut self, parity: Parity, random: u64) -> Option<u16> {
        let count = self.in_use.len();
        let start = random.checked_rem(count as u64)? as usize;
        let favoured = usize::from(parity == Parity::Any && random >> 63 == 1);
        for at in (start..count).chain(0..start) {
            let pair = &mut self.in_use[at];
            let chosen = match parity {
                Parity::Any => [favoured, 1 - favoured].into_iter().find(|&side| !pair[side]),
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

    /// Takes a port back.
    pub fn release(&mut self, port: u16) {
        let at = (port / 2).checked_sub(self.first).map(usize::from);
        if let Some(pair) = at.and_then(|at| self.in_use.get_mut(at)) {
            let in_use = &mut pair[usize::from(port % 2)];
            self.free += usize::from(*in_use);
            *in_use = false;
        }
    }

    /// How many can still be lent.
    pub fn free(&self) -> usize {
        self.free
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_port_of_the_range_is_lent_once_but_the_excluded() {
        let mut reserved = HashSet::new();
        let mut pool = PortPool::new(&(49_153..=49_200), &[49_160]);
        while let Some(port) =
            pool.reserve(Parity::Any, (reserved.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
        {
            assert!(reserved.insert(port), "{port} lent twice");
        }
        let all: HashSet<u16> = (49_153..=49_200).filter(|port| *port != 49_160).collect();
        assert_eq!((reserved, pool.free()), (all, 0));
    }

    #[test]
    fn an_even_port_takes_its_neighbour_along_when_asked() {
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
    fn the_last_port_can_be_lent() {
        let mut pool = PortPool::new(&(65_535..=65_535), &[]);
        assert_eq!(pool.reserve(Parity::Even, 0), None);
        assert_eq!(pool.reserve(Parity::Any, 0), Some(65_535));
    }
}
