//! How many of the relayed ports one source may have, and those who only test, so that enough is left to others.

/// What is left to others, whatever the many credentials of one client ask for.
#[derive(Clone, Copy, Debug)]
pub(super) struct PortShares {
    /// AllocationCounts of one source, by each of its prefixes.
    pub(super) source: [u32; 3],
    /// Reservations in all, of which one source has no more than an eighth.
    pub(super) reservations: usize,
    /// AllocationCounts of all who only test, likewise.
    pub(super) testers: u32,
    /// With so few ports left, silent allocations give way: before the last is lent, since one of another
    /// worker gives its port back a moment later.
    pub(super) scarce: usize,
}

/// A share of the ports is no smaller than this.
const MIN_SHARE: usize = 64;
impl PortShares {
    /// A quarter of the ports is lent to one source (an IPv4 address, an IPv6 /64, the /56 that a home is
    /// given) and half to an IPv6 /48, an eighth kept under tokens, and an eighth lent to those who only test.
    pub(super) fn of(ports: usize) -> Self {
        let eighth = (ports / 8).max(MIN_SHARE);
        let quarter = (ports / 4).max(MIN_SHARE) as u32;
        let scarce = (ports / 64).clamp(1, 16);
        Self { source: [quarter, quarter, 2 * quarter], reservations: eighth, testers: eighth as u32, scarce }
    }

    /// Where there is a quota for the whole box, testers have no more than a quarter of it.
    pub(super) fn tester_quota(self, total: u32) -> u32 {
        if total == 0 { self.testers } else { self.testers.min(total.div_ceil(4)) }
    }
}

/// What one source may have of a share that all have together: an eighth, and what an honest client needs.
pub(super) fn per_source(share: usize) -> usize {
    (share / 8).max(16)
}
