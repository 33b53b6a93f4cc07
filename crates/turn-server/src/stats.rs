//! What one server has done, counted: plain numbers of its own, which its worker shows now and then.
//!
//! Every count is under one of a closed set of headings; nothing a stranger sends makes a new one.

use super::addr::{Families, RelayedAddr, Transport};
use super::error::Refusal;
use super::server::CloseReason;

/// The counts of one server, or of several together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerStats {
    /// By [`Transport::ALL`] and [`RelayedFamilies::ALL`].
    pub allocations: [[AllocationCounts; 3]; 3],
    /// AllocationCounts that have ended, by [`CloseReason::ALL`].
    pub ended: [u64; 5],
    /// Error replies, by [`Refusal::CODES`].
    pub refused: [u64; 12],
    /// Requests of strangers left without an answer, because their source has had its share.
    pub unanswered: u64,
    /// Payloads, by [`Direction::ALL`].
    pub relayed: [Traffic; 3],
}

/// How many allocations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AllocationCounts {
    /// Since the start.
    pub opened: u64,
    /// Now.
    pub open: u64,
}

/// What has passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// How many payloads.
    pub packets: u64,
    /// Their bytes, without heads.
    pub bytes: u64,
}

/// Of which address families an allocation's relayed addresses are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayedFamilies {
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
    /// One of each (RFC 8656 §7.2).
    Both,
}

/// Which way a payload goes.
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
    /// In the order of the counts.
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
    /// In the order of the counts.
    pub const ALL: [Self; 3] = [Self::ClientToClient, Self::ClientToPeer, Self::PeerToClient];
}

impl ServerStats {
    pub(super) fn opened(&mut self, transport: Transport, relayed: &Families<RelayedAddr>) {
        let count = self.of(transport, relayed);
        count.opened += 1;
        count.open += 1;
    }

    /// An allocation goes on with fewer addresses.
    pub(super) fn family_removed(
        &mut self,
        transport: Transport,
        before: &Families<RelayedAddr>,
        after: &Families<RelayedAddr>,
    ) {
        self.of(transport, before).open -= 1;
        self.of(transport, after).open += 1;
    }

    pub(super) fn closed(&mut self, transport: Transport, relayed: &Families<RelayedAddr>, end: CloseReason) {
        self.of(transport, relayed).open -= 1;
        self.ended[end as usize] += 1;
    }

    pub(super) fn refused(&mut self, refusal: &Refusal) {
        if let Some(at) = Refusal::CODES.iter().position(|code| *code == refusal.code()) {
            self.refused[at] += 1;
        }
    }

    pub(super) fn count_relayed(&mut self, way: Direction, bytes: usize) {
        let traffic = &mut self.relayed[way as usize];
        traffic.packets += 1;
        traffic.bytes += bytes as u64;
    }

    /// Adds what another server has done.
    pub fn add(&mut self, other: &Self) {
        let ours = self.allocations.iter_mut().flatten();
        for (ours, theirs) in ours.zip(other.allocations.iter().flatten()) {
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

    fn of(&mut self, transport: Transport, relayed: &Families<RelayedAddr>) -> &mut AllocationCounts {
        &mut self.allocations[transport as usize][RelayedFamilies::of(relayed) as usize]
    }
}
