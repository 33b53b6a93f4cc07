//! A table that all rooms share, of which no source holds more than an eighth.

use std::collections::BTreeMap;
use std::net::IpAddr;

use webrtc_box_rate_limit::SourcePrefix;

/// Sources that it takes to fill a table.
const SOURCES: usize = 8;

/// How much of a table is held: in all and by each source. An IPv6 /56 and a /48 count as one source too.
#[derive(Debug)]
pub(super) struct Share {
    most: usize,
    held: usize,
    by_source: BTreeMap<SourcePrefix, usize>,
}

impl Share {
    pub(super) fn new(most: usize) -> Self {
        Self { most, held: 0, by_source: BTreeMap::new() }
    }

    /// Takes `amount` for `source`; `false` where the source or the table has no more.
    pub(super) fn take(&mut self, source: IpAddr, amount: usize) -> bool {
        let each = self.most / SOURCES;
        let by = |prefix| self.by_source.get(prefix).copied().unwrap_or_default();
        let fits = self.held + amount <= self.most
            && SourcePrefix::of(source).iter().flatten().all(|prefix| by(prefix) + amount <= each);
        if fits {
            self.held += amount;
            SourcePrefix::of(source)
                .into_iter()
                .flatten()
                .for_each(|prefix| *self.by_source.entry(prefix).or_default() += amount);
        }
        fits
    }

    /// Gives back what was taken for `source`.
    pub(super) fn give(&mut self, source: IpAddr, amount: usize) {
        self.held -= amount;
        for prefix in SourcePrefix::of(source).into_iter().flatten() {
            if let Some(held) = self.by_source.get_mut(&prefix) {
                *held -= amount;
                if *held == 0 {
                    self.by_source.remove(&prefix);
                }
            }
        }
    }

    /// How much is held in all.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.held == 0 && self.by_source.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_source_holds_an_eighth_and_gives_it_back() {
        let mut share = Share::new(80);
        assert_eq!((0..20).filter(|_| share.take(ip("45.0.0.1"), 1)).count(), 10);
        assert!(share.take(ip("45.0.0.2"), 10));
        assert_eq!(share.held(), 20);
        share.give(ip("45.0.0.1"), 10);
        assert!(share.take(ip("45.0.0.1"), 10));
        ["45.0.0.1", "45.0.0.2"].iter().for_each(|source| share.give(ip(source), 10));
        assert!(share.is_empty());
    }

    #[test]
    fn the_networks_of_one_site_hold_an_eighth_together() {
        let mut share = Share::new(80);
        let taken = (0..100).filter(|n| share.take(ip(&format!("2a00:0:0:{:x}::1", n << 8)), 1)).count();
        assert_eq!(taken, 10);
        assert!(share.take(ip("2a00:0:1::1"), 10));
    }

    #[test]
    fn eight_sources_fill_it_and_no_more_fits() {
        let mut share = Share::new(80);
        assert!((1..9).all(|n| share.take(ip(&format!("45.0.0.{n}")), 10)));
        assert!(!share.take(ip("45.0.0.9"), 1));
    }
}
