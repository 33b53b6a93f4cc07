//! Packets on their way out, gathered so that neighbours for the same place leave in one send.
//!
//! Order is kept for each place. Memory is reused from batch to batch and bounded by a batch.

use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};

use webrtc_box_turn::addr::RelayedAddr;
use webrtc_box_turn::channel_data::Head;

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

/// What waits to be sent at the end of a batch. Payloads stay where they arrived.
#[derive(Debug, Default)]
pub(super) struct Outbox<'p> {
    runs: Vec<Run>,
    pieces: Vec<Piece<'p>>,
}

/// Packets for one place: all of one size, but the last, which may be smaller.
#[derive(Debug)]
struct Run {
    route: Route,
    segment: usize,
    bytes: usize,
    count: usize,
    closed: bool,
    /// Its packets, by their places in `pieces`.
    first: usize,
    last: usize,
}

/// One packet.
#[derive(Debug)]
struct Piece<'p> {
    head: Head,
    payload: &'p [u8],
    padding: usize,
    /// The next of its run.
    next: Option<usize>,
}

/// A run on its way out.
#[derive(Debug)]
pub(super) struct Outgoing<'o> {
    pub(super) route: Route,
    /// The size of its segments, where there is more than one.
    pub(super) segment: Option<u16>,
    /// All its bytes.
    pub(super) parts: &'o [IoSlice<'o>],
    starts: &'o [usize],
}

/// The smallest that IPv6 allows: a segment that is joined with another fits it, with IP and UDP.
const SMALLEST_MTU: usize = 1280;
/// The kernel's limit on segments of one send.
const MOST_SEGMENTS: usize = 64;
/// Below the largest datagram, with room for headers.
const LARGEST_RUN: usize = 65_000;
/// How far back a run for the same place is looked for.
const LOOK_BACK: usize = 48;

impl<'p> Outbox<'p> {
    /// Adds a packet: `head`, `payload` and its padding.
    pub(super) fn push(&mut self, route: Route, head: Head, payload: &'p [u8]) {
        let padding = head.padding(payload.len(), false);
        let length = head.bytes().len() + payload.len() + padding;
        let at = self.pieces.len();
        self.pieces.push(Piece { head, payload, padding, next: None });
        let recent = self.runs.len().saturating_sub(LOOK_BACK);
        match self.runs[recent..].iter_mut().rev().find(|run| run.route == route) {
            Some(run) if run.takes(length) => {
                self.pieces[run.last].next = Some(at);
                run.last = at;
                run.count += 1;
                run.bytes += length;
                run.closed = length < run.segment;
            }
            _ => self.runs.push(Run::of_one(route, length, at)),
        }
    }

    /// Hands every run to `send`, oldest first, and is empty again.
    pub(super) fn drain(&mut self, mut send: impl FnMut(&Outgoing<'_>)) {
        let (mut parts, mut starts) = (Vec::new(), Vec::new());
        for run in self.runs.drain(..) {
            parts.clear();
            starts.clear();
            let mut next = Some(run.first);
            while let Some(piece) = next.map(|at| &self.pieces[at]) {
                starts.push(parts.len());
                let slices = [piece.head.bytes(), piece.payload, &[0; 4][..piece.padding]];
                parts.extend(slices.into_iter().filter(|slice| !slice.is_empty()).map(IoSlice::new));
                next = piece.next;
            }
            let segment = (run.count > 1).then_some(run.segment as u16);
            send(&Outgoing { route: run.route, segment, parts: &parts, starts: &starts });
        }
        self.pieces.clear();
    }

    /// The same, empty, for another batch: its memory is used again.
    pub(super) fn renewed<'q>(self) -> Outbox<'q> {
        let Self { mut runs, pieces } = self;
        runs.clear();
        // None of them: only another lifetime for the same memory.
        Outbox { runs, pieces: pieces.into_iter().map_while(|_| None).collect() }
    }
}

impl Run {
    fn of_one(route: Route, length: usize, at: usize) -> Self {
        let headers = if route.to.is_ipv4() { 20 + 8 } else { 40 + 8 };
        let closed = length + headers > SMALLEST_MTU;
        Self { route, segment: length, bytes: length, count: 1, closed, first: at, last: at }
    }

    fn takes(&self, length: usize) -> bool {
        let fits = self.count < MOST_SEGMENTS && self.bytes + length <= LARGEST_RUN;
        !self.closed && fits && length <= self.segment && length > 0
    }
}

impl<'o> Outgoing<'o> {
    /// One packet by itself.
    pub(super) fn single(route: Route, parts: &'o [IoSlice<'o>]) -> Self {
        Self { route, segment: None, parts, starts: &[0] }
    }

    /// One by one.
    pub(super) fn packets(&self) -> impl Iterator<Item = &[IoSlice<'_>]> {
        let ends = self.starts[1..].iter().copied().chain([self.parts.len()]);
        self.starts.iter().zip(ends).map(|(start, end)| &self.parts[*start..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(port: u16) -> Route {
        let leave = Leave::Turn(IpAddr::from([45, 0, 0, 10]));
        Route { to: SocketAddr::from(([45, 0, 0, 1], port)), leave }
    }

    /// To whom, the sizes of its packets, and the segment size.
    fn drained(outbox: &mut Outbox<'_>) -> Vec<(u16, Vec<usize>, Option<u16>)> {
        let mut runs = Vec::new();
        outbox.drain(|run| {
            let sizes = run.packets().map(|parts| parts.iter().map(|part| part.len()).sum()).collect();
            runs.push((run.route.to.port(), sizes, run.segment));
        });
        runs
    }

    fn pushed(packets: &[(u16, usize)]) -> Vec<(u16, Vec<usize>, Option<u16>)> {
        let (bytes, mut outbox) = ([0; 5000], Outbox::default());
        packets.iter().for_each(|&(port, size)| outbox.push(route(port), Head::default(), &bytes[..size]));
        let runs = drained(&mut outbox);
        assert_eq!(drained(&mut outbox.renewed()), []);
        runs
    }

    #[test]
    fn neighbours_of_one_size_leave_together_and_a_smaller_one_ends_the_run() {
        let runs = pushed(&[(1, 1200), (1, 1200), (1, 700), (1, 1200)]);
        assert_eq!(runs, [(1, vec![1200, 1200, 700], Some(1200)), (1, vec![1200], None)]);
    }

    #[test]
    fn flows_that_alternate_are_gathered_apart() {
        let runs = pushed(&[(1, 160), (2, 160), (1, 160), (2, 160), (1, 160)]);
        assert_eq!(runs, [(1, vec![160; 3], Some(160)), (2, vec![160; 2], Some(160))]);
    }

    #[test]
    fn datagrams_above_any_mtu_leave_alone() {
        assert_eq!(pushed(&[(1, 4000), (1, 4000)]), [(1, vec![4000], None), (1, vec![4000], None)]);
    }

    #[test]
    fn what_is_joined_fits_the_smallest_mtu_of_either_family() {
        for (ip, largest) in [("45.0.0.1", 1252), ("2a00::1", 1232)] {
            let to = SocketAddr::new(ip.parse().unwrap(), 1);
            for (size, runs) in [(largest, 1), (largest + 1, 2)] {
                let mut outbox = Outbox::default();
                let payload = vec![0; size];
                (0..2).for_each(|_| outbox.push(Route { to, ..route(1) }, Head::default(), &payload));
                assert_eq!(drained(&mut outbox).len(), runs, "{size} bytes to {ip}");
            }
        }
    }

    #[test]
    fn a_run_ends_at_the_kernels_limit() {
        assert_eq!(pushed(&[(1, 10); 65]), [(1, vec![10; 64], Some(10)), (1, vec![10], None)]);
    }

    #[test]
    fn memory_is_used_again() {
        let mut outbox = Outbox::default();
        (0..100).for_each(|_| outbox.push(route(1), Head::default(), b"payload"));
        let (pieces, capacity) = (outbox.pieces.as_ptr().addr(), outbox.pieces.capacity());
        let outbox = outbox.renewed();
        assert_eq!((outbox.pieces.as_ptr().addr(), outbox.pieces.capacity()), (pieces, capacity));
    }

    #[test]
    fn an_empty_datagram_is_a_packet() {
        assert_eq!(pushed(&[(1, 0), (1, 0)]), [(1, vec![0], None), (1, vec![0], None)]);
    }

    #[test]
    fn heads_and_padding_stand_around_the_payload() {
        let from = RelayedAddr(SocketAddr::from(([45, 0, 0, 10], 50_000)));
        let (head, mut outbox) = (Head::data(from, 5, [7; 12]), Outbox::default());
        outbox.push(route(1), head, b"hello");
        outbox.drain(|run| {
            let bytes: Vec<u8> = run.parts.iter().flat_map(|part| part.to_vec()).collect();
            assert_eq!(bytes, [head.bytes(), b"hello\0\0\0"].concat());
        });
    }
}
