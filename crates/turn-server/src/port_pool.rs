//! Which relayed ports may be lent, and which are.

use std::ops::RangeInclusive;

use super::request::Parity;

/// The ports of one address family.
#[derive(Debug)]
pub struct PortPool {
    /// Half the even port of its first pair.
    first: u16,
    /// Two for each pair: lent or never to be lent.
    taken: Vec<[bool; 2]>,
    free: usize,
}

impl PortPool {
    /// The ports of `range` without `excluded`.
    pub fn new(range: &RangeInclusive<u16>, excluded: &[u16]) -> Self {
        let may_lend = |port: u16| range.contains(&port) && port != 0 && !excluded.contains(&port);
        let halves = range.start() / 2..=range.end() / 2;
        let taken: Vec<_> = halves.map(|half| [!may_lend(2 * half), !may_lend(2 * half + 1)]).collect();
        let free = taken.iter().flatten().filter(|taken| !**taken).count();
        Self { first: range.start() / 2, taken, free }
    }

    /// Lends a port picked by `chance`; for [`Parity::EvenAndNext`] takes the one above as well.
    pub fn take(&mut self, parity: Parity, chance: u64) -> Option<u16> {
        let count = self.taken.len();
        let start = chance.checked_rem(count as u64)? as usize;
        let favoured = usize::from(parity == Parity::Any && chance >> 63 == 1);
        for at in (start..count).chain(0..start) {
            let pair = &mut self.taken[at];
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
    pub fn give_back(&mut self, port: u16) {
        let at = (port / 2).checked_sub(self.first).map(usize::from);
        if let Some(pair) = at.and_then(|at| self.taken.get_mut(at)) {
            let taken = &mut pair[usize::from(port % 2)];
            self.free += usize::from(*taken);
            *taken = false;
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
        let mut lent = HashSet::new();
        let mut pool = PortPool::new(&(49_153..=49_200), &[49_160]);
        while let Some(port) = pool.take(Parity::Any, (lent.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
        {
            assert!(lent.insert(port), "{port} lent twice");
        }
        let all: HashSet<u16> = (49_153..=49_200).filter(|port| *port != 49_160).collect();
        assert_eq!((lent, pool.free()), (all, 0));
    }

    #[test]
    fn an_even_port_takes_its_neighbour_along_when_asked() {
        let mut pool = PortPool::new(&(50_000..=50_003), &[]);
        let even = pool.take(Parity::EvenAndNext, 3).unwrap();
        assert_eq!((even % 2, pool.free()), (0, 2));
        assert!(pool.take(Parity::EvenAndNext, 0).is_some());
        assert_eq!(pool.take(Parity::Any, 0), None);
        pool.give_back(even + 1);
        assert_eq!(pool.take(Parity::Even, 0), None);
        assert_eq!(pool.take(Parity::Any, 0), Some(even + 1));
    }

    #[test]
    fn the_last_port_can_be_lent() {
        let mut pool = PortPool::new(&(65_535..=65_535), &[]);
        assert_eq!(pool.take(Parity::Even, 0), None);
        assert_eq!(pool.take(Parity::Any, 0), Some(65_535));
    }
}
