//! Packets on their way out, gathered so that neighbours for the same place leave in one send.
//!
//! Order is kept for each place. Memory is reused from batch to batch and bounded by a batch.

use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};

use webrtc_box_turn::addr::RelayedAddr;
use webrtc_box_turn::channel_data::Header;

/// Where a packet goes and from where it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Destination {
    pub(super) to: SocketAddr,
    pub(super) egress: Egress,
}

/// By which socket a packet leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Egress {
    /// The turn port's, from this address of ours.
    Turn(IpAddr),
    /// The one behind a relayed address; with DF set, where true.
    Port(RelayedAddr, bool),
}

/// What waits to be sent at the end of a batch. Payloads stay where they arrived.
#[derive(Debug, Default)]
pub(super) struct GsoQueue<'p> {
    batches: Vec<GsoBatch>,
    packets: Vec<QueuedPacket<'p>>,
}

/// Packets for one place: all of one size, but the last, which may be smaller.
#[derive(Debug)]
struct GsoBatch {
    destination: Destination,
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
struct QueuedPacket<'p> {
    header: Header,
    payload: &'p [u8],
    padding: usize,
    /// The next of its run.
    next: Option<usize>,
}

/// A run on its way out.
#[derive(Debug)]
pub(super) struct OutgoingBatch<'o> {
    pub(super) destination: Destination,
    /// The size of its segments, where there is more than one.
    pub(super) segment: Option<u16>,
    /// All its bytes.
    pub(super) parts: &'o [IoSlice<'o>],
    starts: &'o [usize],
}

/// The smallest that IPv6 allows: a segment that is joined with another fits it, with IP and UDP.
const MIN_MTU: usize = 1280;
/// The kernel's limit on segments of one send.
const MAX_SEGMENTS: usize = 64;
/// Below the largest datagram, with room for headers.
const MAX_BATCH_BYTES: usize = 65_000;
/// How far back a run for the same place is looked for.
const MAX_LOOKBACK: usize = 48;

impl<'p> GsoQueue<'p> {
    /// Adds a packet: `head`, `payload` and its padding.
    pub(super) fn push(&mut self, destination: Destination, header: Header, payload: &'p [u8]) {
        let padding = header.padding(payload.len(), false);
        let length = header.bytes().len() + payload.len() + padding;
        let at = self.packets.len();
        self.packets.push(QueuedPacket { header, payload, padding, next: None });
        let recent = self.batches.len().saturating_sub(MAX_LOOKBACK);
        match self.batches[recent..].iter_mut().rev().find(|batch| batch.destination == destination) {
            Some(batch) if batch.takes(length) => {
                self.packets[batch.last].next = Some(at);
                batch.last = at;
                batch.count += 1;
                batch.bytes += length;
                batch.closed = length < batch.segment;
            }
            _ => self.batches.push(GsoBatch::of_one(destination, length, at)),
        }
    }

    /// Hands every run to `send`, oldest first, and is empty again.
    pub(super) fn drain(&mut self, mut send: impl FnMut(&OutgoingBatch<'_>)) {
        let (mut parts, mut starts) = (Vec::new(), Vec::new());
        for batch in self.batches.drain(..) {
            parts.clear();
            starts.clear();
            let mut next = Some(batch.first);
            while let Some(packet) = next.map(|at| &self.packets[at]) {
                starts.push(parts.len());
                let slices = [packet.header.bytes(), packet.payload, &[0; 4][..packet.padding]];
                parts.extend(slices.into_iter().filter(|slice| !slice.is_empty()).map(IoSlice::new));
                next = packet.next;
            }
            let segment = (batch.count > 1).then_some(batch.segment as u16);
            send(&OutgoingBatch { destination: batch.destination, segment, parts: &parts, starts: &starts });
        }
        self.packets.clear();
    }

    /// The same, empty, for another batch: its memory is used again.
    pub(super) fn recycled<'q>(self) -> GsoQueue<'q> {
        let Self { mut batches, packets } = self;
        batches.clear();
        // None of them: only another lifetime for the same memory.
        GsoQueue { batches, packets: packets.into_iter().map_while(|_| None).collect() }
    }
}

impl GsoBatch {
    fn of_one(destination: Destination, length: usize, at: usize) -> Self {
        let headers = if destination.to.is_ipv4() { 20 + 8 } else { 40 + 8 };
        let closed = length + headers > MIN_MTU;
        Self { destination, segment: length, bytes: length, count: 1, closed, first: at, last: at }
    }

    fn takes(&self, length: usize) -> bool {
        let fits = self.count < MAX_SEGMENTS && self.bytes + length <= MAX_BATCH_BYTES;
        !self.closed && fits && length <= self.segment && length > 0
    }
}

impl<'o> OutgoingBatch<'o> {
    /// One packet by itself.
    pub(super) fn single(destination: Destination, parts: &'o [IoSlice<'o>]) -> Self {
        Self { destination, segment: None, parts, starts: &[0] }
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

    fn destination(port: u16) -> Destination {
        let egress = Egress::Turn(IpAddr::from([45, 0, 0, 10]));
        Destination { to: SocketAddr::from(([45, 0, 0, 1], port)), egress }
    }

    /// To whom, the sizes of its packets, and the segment size.
    fn drained(gso_queue: &mut GsoQueue<'_>) -> Vec<(u16, Vec<usize>, Option<u16>)> {
        let mut batches = Vec::new();
        gso_queue.drain(|batch| {
            let sizes = batch.packets().map(|parts| parts.iter().map(|part| part.len()).sum()).collect();
            batches.push((batch.destination.to.port(), sizes, batch.segment));
        });
        batches
    }

    fn pushed(packets: &[(u16, usize)]) -> Vec<(u16, Vec<usize>, Option<u16>)> {
        let (bytes, mut gso_queue) = ([0; 5000], GsoQueue::default());
        packets
            .iter()
            .for_each(|&(port, size)| gso_queue.push(destination(port), Header::default(), &bytes[..size]));
        let batches = drained(&mut gso_queue);
        assert_eq!(drained(&mut gso_queue.recycled()), []);
        batches
    }

    #[test]
    fn neighbours_of_one_size_leave_together_and_a_smaller_one_ends_the_run() {
        let batches = pushed(&[(1, 1200), (1, 1200), (1, 700), (1, 1200)]);
        assert_eq!(batches, [(1, vec![1200, 1200, 700], Some(1200)), (1, vec![1200], None)]);
    }

    #[test]
    fn flows_that_alternate_are_gathered_apart() {
        let batches = pushed(&[(1, 160), (2, 160), (1, 160), (2, 160), (1, 160)]);
        assert_eq!(batches, [(1, vec![160; 3], Some(160)), (2, vec![160; 2], Some(160))]);
    }

    #[test]
    fn datagrams_above_any_mtu_leave_alone() {
        assert_eq!(pushed(&[(1, 4000), (1, 4000)]), [(1, vec![4000], None), (1, vec![4000], None)]);
    }

    #[test]
    fn what_is_joined_fits_the_smallest_mtu_of_either_family() {
        for (ip, largest) in [("45.0.0.1", 1252), ("2a00::1", 1232)] {
            let to = SocketAddr::new(ip.parse().unwrap(), 1);
            for (size, batches) in [(largest, 1), (largest + 1, 2)] {
                let mut gso_queue = GsoQueue::default();
                let payload = vec![0; size];
                (0..2).for_each(|_| {
                    gso_queue.push(Destination { to, ..destination(1) }, Header::default(), &payload)
                });
                assert_eq!(drained(&mut gso_queue).len(), batches, "{size} bytes to {ip}");
            }
        }
    }

    #[test]
    fn a_run_ends_at_the_kernels_limit() {
        assert_eq!(pushed(&[(1, 10); 65]), [(1, vec![10; 64], Some(10)), (1, vec![10], None)]);
    }

    #[test]
    fn memory_is_used_again() {
        let mut gso_queue = GsoQueue::default();
        (0..100).for_each(|_| gso_queue.push(destination(1), Header::default(), b"payload"));
        let (packets, capacity) = (gso_queue.packets.as_ptr().addr(), gso_queue.packets.capacity());
        let gso_queue = gso_queue.recycled();
        assert_eq!((gso_queue.packets.as_ptr().addr(), gso_queue.packets.capacity()), (packets, capacity));
    }

    #[test]
    fn an_empty_datagram_is_a_packet() {
        assert_eq!(pushed(&[(1, 0), (1, 0)]), [(1, vec![0], None), (1, vec![0], None)]);
    }

    #[test]
    fn heads_and_padding_stand_around_the_payload() {
        let from = RelayedAddr(SocketAddr::from(([45, 0, 0, 10], 50_000)));
        let (header, mut gso_queue) = (Header::data(from, 5, [7; 12]), GsoQueue::default());
        gso_queue.push(destination(1), header, b"hello");
        gso_queue.drain(|batch| {
            let bytes: Vec<u8> = batch.parts.iter().flat_map(|part| part.to_vec()).collect();
            assert_eq!(bytes, [header.bytes(), b"hello\0\0\0"].concat());
        });
    }
}
