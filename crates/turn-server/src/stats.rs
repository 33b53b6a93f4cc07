//! Counters of one server, in a fixed set: no client can add one.

use crate::addr::{Families, RelayedAddr, Transport};
use crate::response::Refusal;
use crate::server::CloseReason;

/// The counters of one server, or the sums of several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerStats {
    /// By [`Transport::ALL`] and [`RelayedFamilies::ALL`].
    pub allocations: [[AllocationCounts; 3]; 3],
    /// Allocations that have ended, by [`CloseReason::ALL`].
    pub ended: [u64; 5],
    /// Error replies, by [`Refusal::CODES`].
    pub refused: [u64; 12],
    /// Requests of unauthenticated clients that got no reply because of the reply limit.
    pub unanswered: u64,
    /// Relayed payloads, by [`Direction::ALL`].
    pub relayed: [Traffic; 3],
}

/// Numbers of allocations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AllocationCounts {
    /// Opened since the start.
    pub opened: u64,
    /// Open now.
    pub open: u64,
}

/// Relayed payloads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Number of payloads.
    pub packets: u64,
    /// Their bytes, without headers.
    pub bytes: u64,
}

/// The address families of an allocation's relayed addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayedFamilies {
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
    /// One of each (RFC 8656 §7.2).
    Both,
}

/// The direction of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From one client to another, inside the process.
    ClientToClient,
    /// From a client to a peer on the network.
    ClientToPeer,
    /// From a peer on the network to a client.
    PeerToClient,
}

impl RelayedFamilies {
    /// Every value, in the order of counters.
    pub const ALL: [Self; 3] = [Self::V4, Self::V6, Self::Both];

    fn of(relayed: &Families<RelayedAddr>) -> Self {
        match (relayed.v4, relayed.v6) {
            (Some(_), Some(_)) => Self::Both,
            (None, Some(_)) => Self::V6,
            (_, None) => Self::V4,
        }
    }
}

impl Direction {
    /// Every value, in the order of counters.
    pub const ALL: [Self; 3] = [Self::ClientToClient, Self::ClientToPeer, Self::PeerToClient];
}

impl ServerStats {
    pub(crate) fn opened(&mut self, transport: Transport, relayed: &Families<RelayedAddr>) {
        let counts = self.counts_mut(transport, relayed);
        counts.opened += 1;
        counts.open += 1;
    }

    /// Counts an allocation that continues with one address fewer.
    pub(crate) fn family_removed(
        &mut self,
        transport: Transport,
        before: &Families<RelayedAddr>,
        after: &Families<RelayedAddr>,
    ) {
        self.counts_mut(transport, before).open -= 1;
        self.counts_mut(transport, after).open += 1;
    }

    pub(crate) fn closed(&mut self, transport: Transport, relayed: &Families<RelayedAddr>, end: CloseReason) {
        self.counts_mut(transport, relayed).open -= 1;
        self.ended[end as usize] += 1;
    }

    pub(crate) fn refused(&mut self, refusal: &Refusal) {
        if let Some(at) = Refusal::CODES.iter().position(|code| *code == refusal.code()) {
            self.refused[at] += 1;
        }
    }

    pub(crate) fn count_relayed(&mut self, direction: Direction, bytes: usize) {
        let traffic = &mut self.relayed[direction as usize];
        traffic.packets += 1;
        traffic.bytes += bytes as u64;
    }

    /// Adds the counters of another server.
    pub fn add(&mut self, other: &Self) {
        let counts = self.allocations.iter_mut().flatten();
        for (ours, theirs) in counts.zip(other.allocations.iter().flatten()) {
            ours.opened += theirs.opened;
            ours.open += theirs.open;
        }
        for (ours, theirs) in self.relayed.iter_mut().zip(&other.relayed) {
            ours.packets += theirs.packets;
            ours.bytes += theirs.bytes;
        }
        self.ended.iter_mut().zip(&other.ended).for_each(|(ours, theirs)| *ours += theirs);
        self.refused.iter_mut().zip(&other.refused).for_each(|(ours, theirs)| *ours += theirs);
        self.unanswered += other.unanswered;
    }

    fn counts_mut(&mut self, transport: Transport, relayed: &Families<RelayedAddr>) -> &mut AllocationCounts {
        &mut self.allocations[transport as usize][RelayedFamilies::of(relayed) as usize]
    }
}
