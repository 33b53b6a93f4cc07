//! Packets on their way out, gathered so that neighbours for the same place leave in one send.
//!
//! Order is kept for each place. Memory is reused from batch to batch and bounded by a batch.

use std::net::{IpAddr, SocketAddr};

use crate::turn::address::RelayedAddr;
use crate::turn::channel_data::Head;

/// Where a packet goes and from where it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) to: SocketAddr,
    pub(super) leave: Leave,
}

/// By which socket a packet leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// The turn port's, from this address of ours.
    Turn(IpAddr),
    /// The one behind a relayed address; with DF set, where true.
    Port(RelayedAddr, bool),
}

/// What waits to be sent at the end of a batch.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    runs: Vec<Run>,
    /// How many of `runs` are in use; the rest keep their memory.
    used: usize,
}

/// Packets for one place: all of one size, but the last, which may be smaller.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) route: Route,
    pub(super) bytes: Vec<u8>,
    pub(super) segment: usize,
    count: usize,
    closed: bool,
}

/// No larger segment is joined with another: it, IP and UDP fit the smallest MTU that IPv6 allows.
const LARGEST_SEGMENT: usize = 1252;
/// The kernel's limit on segments of one send.
const MOST_SEGMENTS: usize = 64;
/// Below the largest datagram, with room for headers.
const LARGEST_RUN: usize = 65_000;
/// Runs that keep their memory between batches: a usual batch has fewer.
const KEPT_RUNS: usize = 128;
/// How far back a run for the same place is looked for.
const LOOK_BACK: usize = 48;

impl Outbox {
    /// Adds a packet: `head`, `payload` and its padding.
    pub(super) fn push(&mut self, route: Route, head: &Head, payload: &[u8]) {
        let padding = head.padding(payload.len(), false);
        let run = self.run_for(route, head.bytes().len() + payload.len() + padding);
        run.bytes.extend_from_slice(head.bytes());
        run.bytes.extend_from_slice(payload);
        run.bytes.resize(run.bytes.len() + padding, 0);
    }

    /// Adds a packet that is whole already.
    pub(super) fn push_whole(&mut self, route: Route, bytes: &[u8]) {
        self.run_for(route, bytes.len()).bytes.extend_from_slice(bytes);
    }

    /// Hands every run to `send`, oldest first, and is empty again.
    pub(super) fn drain(&mut self, mut send: impl FnMut(&Run)) {
        self.runs[..self.used].iter().for_each(&mut send);
        self.used = 0;
        self.runs.truncate(KEPT_RUNS);
    }

    /// The run that a packet of `length` bytes joins, or begins.
    fn run_for(&mut self, route: Route, length: usize) -> &mut Run {
        let recent = self.used.saturating_sub(LOOK_BACK);
        let last = self.runs[recent..self.used].iter().rposition(|run| run.route == route);
        let at = match last.map(|at| recent + at) {
            Some(at) if self.runs[at].takes(length) => at,
            _ => self.begin(route, length),
        };
        let run = &mut self.runs[at];
        run.count += 1;
        run.closed |= length < run.segment;
        run
    }

    fn begin(&mut self, route: Route, length: usize) -> usize {
        if self.used == self.runs.len() {
            self.runs.push(Run { route, bytes: Vec::new(), segment: 0, count: 0, closed: false });
        }
        let run = &mut self.runs[self.used];
        run.bytes.clear();
        (run.route, run.segment, run.count) = (route, length, 0);
        run.closed = length > LARGEST_SEGMENT;
        self.used += 1;
        self.used - 1
    }
}

impl Run {
    /// The size of its segments, where there is more than one.
    pub(super) fn segments(&self) -> Option<usize> {
        (self.count > 1).then_some(self.segment)
    }

    /// One by one.
    pub(super) fn packets(&self) -> impl Iterator<Item = &[u8]> {
        let empty = self.bytes.is_empty().then_some(&[][..]);
        self.bytes.chunks(self.segment.max(1)).chain(empty)
    }

    fn takes(&self, length: usize) -> bool {
        let fits = self.count < MOST_SEGMENTS && self.bytes.len() + length <= LARGEST_RUN;
        !self.closed && fits && length <= self.segment && length > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(port: u16) -> Route {
        let leave = Leave::Turn(IpAddr::from([45, 0, 0, 10]));
        Route { to: SocketAddr::from(([45, 0, 0, 1], port)), leave }
    }

    fn drained(outbox: &mut Outbox) -> Vec<(u16, usize, Option<usize>)> {
        let mut runs = Vec::new();
        outbox.drain(|run| runs.push((run.route.to.port(), run.bytes.len(), run.segments())));
        runs
    }

    #[test]
    fn neighbours_of_one_size_leave_together_and_a_smaller_one_ends_the_run() {
        let mut outbox = Outbox::default();
        for length in [1200, 1200, 700, 1200] {
            outbox.push_whole(route(1), &vec![0; length]);
        }
        assert_eq!(drained(&mut outbox), [(1, 3100, Some(1200)), (1, 1200, None)]);
        assert_eq!(drained(&mut outbox), []);
    }

    #[test]
    fn flows_that_alternate_are_gathered_apart() {
        let mut outbox = Outbox::default();
        for port in [1, 2, 1, 2, 1] {
            outbox.push_whole(route(port), &[0; 160]);
        }
        assert_eq!(drained(&mut outbox), [(1, 480, Some(160)), (2, 320, Some(160))]);
    }

    #[test]
    fn datagrams_above_any_mtu_leave_alone() {
        let mut outbox = Outbox::default();
        for _ in 0..2 {
            outbox.push_whole(route(1), &[0; 4000]);
        }
        assert_eq!(drained(&mut outbox), [(1, 4000, None), (1, 4000, None)]);
    }

    #[test]
    fn a_run_ends_at_the_kernels_limit() {
        let mut outbox = Outbox::default();
        for _ in 0..65 {
            outbox.push_whole(route(1), &[0; 10]);
        }
        assert_eq!(drained(&mut outbox), [(1, 640, Some(10)), (1, 10, None)]);
    }
}
