//! Gathers outgoing packets, so that several packets to one destination leave in one send (UDP_SEGMENT).
//!
//! The order of packets to one destination is kept. Memory is reused from batch to batch and bounded by one batch of
//! received packets. A packet that cannot be sent is dropped and counted.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};

use super::stats::ErrorCounters;
use super::udp::BatchSocket;
use webrtc_box_turn::addr::RelayedAddr;
use webrtc_box_turn::channel_data::Header;

/// Where a packet goes, and by which socket it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Destination {
    pub(super) to: SocketAddr,
    pub(super) egress: Egress,
}

/// The socket by which a packet leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Egress {
    /// A socket of the TURN port, with this local address.
    Turn(IpAddr),
    /// The relay socket of a relayed address; `true` sets DF.
    Port(RelayedAddr, bool),
}

/// The packets to send at the end of a received batch. Payloads stay in the receive buffer.
#[derive(Debug, Default)]
pub(super) struct GsoQueue<'p> {
    batches: Vec<GsoBatch>,
    packets: Vec<QueuedPacket<'p>>,
}

/// Packets to one destination, all of one size except the last, which may be smaller.
#[derive(Debug)]
struct GsoBatch {
    destination: Destination,
    segment: usize,
    bytes: usize,
    count: usize,
    closed: bool,
    /// The first and last packet, as indexes into `packets`.
    first: usize,
    last: usize,
}

#[derive(Debug)]
struct QueuedPacket<'p> {
    header: Header,
    payload: &'p [u8],
    padding: usize,
    /// The next packet of the same batch.
    next: Option<usize>,
}

/// A batch that is being sent.
#[derive(Debug)]
pub(super) struct OutgoingBatch<'o> {
    pub(super) destination: Destination,
    /// The segment size; `None` for a single packet.
    segment: Option<u16>,
    /// The bytes of all packets.
    parts: &'o [IoSlice<'o>],
    /// The index in `parts` at which each packet starts.
    starts: &'o [usize],
}

/// The smallest MTU of IPv6. Only packets that fit it, with IP and UDP headers, are batched.
const MIN_MTU: usize = 1280;
/// The kernel's limit on segments in one send.
const MAX_SEGMENTS: usize = 64;
/// Below the largest UDP datagram, with room for headers.
const MAX_BATCH_BYTES: usize = 65_000;
/// How many recent batches are searched for one to the same destination.
const MAX_LOOKBACK: usize = 48;

impl<'p> GsoQueue<'p> {
    /// Adds a packet of `header`, `payload` and its padding.
    pub(super) fn push(&mut self, destination: Destination, header: Header, payload: &'p [u8]) {
        let padding = header.padding(payload.len(), false);
        let length = header.bytes().len() + payload.len() + padding;
        let index = self.packets.len();
        self.packets.push(QueuedPacket { header, payload, padding, next: None });
        let recent = self.batches.len().saturating_sub(MAX_LOOKBACK);
        match self.batches[recent..].iter_mut().rev().find(|batch| batch.destination == destination) {
            Some(batch) if batch.accepts(length) => {
                self.packets[batch.last].next = Some(index);
                batch.last = index;
                batch.count += 1;
                batch.bytes += length;
                batch.closed = length < batch.segment;
            }
            _ => self.batches.push(GsoBatch::of_one(destination, length, index)),
        }
    }

    /// Passes every batch to `send`, oldest first, and empties the queue.
    pub(super) fn drain(&mut self, mut send: impl FnMut(&OutgoingBatch<'_>)) {
        let (mut parts, mut starts) = (Vec::new(), Vec::new());
        for batch in self.batches.drain(..) {
            parts.clear();
            starts.clear();
            let mut next = Some(batch.first);
            while let Some(packet) = next.map(|index| &self.packets[index]) {
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

    /// An empty queue in the same memory.
    pub(super) fn recycled<'q>(self) -> GsoQueue<'q> {
        let Self { mut batches, packets } = self;
        batches.clear();
        // Keeps no packet: the collect in place only changes the lifetime of the allocation.
        GsoQueue { batches, packets: packets.into_iter().map_while(|_| None).collect() }
    }
}

impl GsoBatch {
    fn of_one(destination: Destination, length: usize, index: usize) -> Self {
        let headers = if destination.to.is_ipv4() { 20 + 8 } else { 40 + 8 };
        let closed = length + headers > MIN_MTU;
        Self { destination, segment: length, bytes: length, count: 1, closed, first: index, last: index }
    }

    fn accepts(&self, length: usize) -> bool {
        let fits = self.count < MAX_SEGMENTS && self.bytes + length <= MAX_BATCH_BYTES;
        !self.closed && fits && length <= self.segment && length > 0
    }
}

impl<'o> OutgoingBatch<'o> {
    /// A batch of one packet.
    pub(super) fn single(destination: Destination, parts: &'o [IoSlice<'o>]) -> Self {
        Self { destination, segment: None, parts, starts: &[0] }
    }

    /// The parts of each packet.
    fn packets(&self) -> impl Iterator<Item = &[IoSlice<'_>]> {
        let ends = self.starts[1..].iter().copied().chain([self.parts.len()]);
        self.starts.iter().zip(ends).map(|(start, end)| &self.parts[*start..end])
    }

    /// Sends the packets by `socket`, in one send if possible.
    ///
    /// A full socket buffer drops the packets, as a router would. If segmentation offload fails, the packets leave one by
    /// one; if the error shows that no destination supports it, so do all later batches of the socket.
    pub(super) fn send(&self, socket: &BatchSocket, errors: &ErrorCounters) {
        let (to, source) = match self.destination.egress {
            Egress::Turn(source) => (self.destination.to, Some(source)),
            Egress::Port(_, false) => (self.destination.to, None),
            Egress::Port(_, true) => {
                return self.packets().for_each(|packet| {
                    errors.record(socket.send_unfragmented(self.destination.to, packet), 1)
                });
            }
        };
        let mut unsupported = false;
        if self.segment.is_none() || socket.segments() {
            match socket.send(to, source, self.parts, self.segment) {
                Err(error) if self.segment.is_some() && error.kind() != io::ErrorKind::WouldBlock => {
                    unsupported = BatchSocket::refuses_segments(&error);
                }
                Ok(()) => return,
                failed => return errors.record(failed, self.packets().count()),
            }
        }
        let mut sent = 0;
        for packet in self.packets() {
            let outcome = socket.send(to, source, packet, None);
            sent += usize::from(outcome.is_ok());
            errors.record(outcome, 1);
        }
        if unsupported && sent > 0 {
            // The kernel refused segmentation, not the packets themselves.
            socket.disable_segments();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(port: u16) -> Destination {
        let egress = Egress::Turn(IpAddr::from([45, 0, 0, 10]));
        Destination { to: SocketAddr::from(([45, 0, 0, 1], port)), egress }
    }

    /// The port, packet sizes and segment size of each batch.
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
    fn packets_of_one_size_form_a_batch_and_a_smaller_one_ends_it() {
        let batches = pushed(&[(1, 1200), (1, 1200), (1, 700), (1, 1200)]);
        assert_eq!(batches, [(1, vec![1200, 1200, 700], Some(1200)), (1, vec![1200], None)]);
    }

    #[test]
    fn alternating_destinations_form_two_batches() {
        let batches = pushed(&[(1, 160), (2, 160), (1, 160), (2, 160), (1, 160)]);
        assert_eq!(batches, [(1, vec![160; 3], Some(160)), (2, vec![160; 2], Some(160))]);
    }

    #[test]
    fn packets_above_any_mtu_are_sent_alone() {
        assert_eq!(pushed(&[(1, 4000), (1, 4000)]), [(1, vec![4000], None), (1, vec![4000], None)]);
    }

    #[test]
    fn batched_packets_fit_the_smallest_mtu_of_either_family() {
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
    fn a_batch_ends_at_the_kernel_limit_on_segments() {
        assert_eq!(pushed(&[(1, 10); 65]), [(1, vec![10; 64], Some(10)), (1, vec![10], None)]);
    }

    #[test]
    fn a_recycled_queue_keeps_its_memory() {
        let mut gso_queue = GsoQueue::default();
        (0..100).for_each(|_| gso_queue.push(destination(1), Header::default(), b"payload"));
        let (packets, capacity) = (gso_queue.packets.as_ptr().addr(), gso_queue.packets.capacity());
        let gso_queue = gso_queue.recycled();
        assert_eq!((gso_queue.packets.as_ptr().addr(), gso_queue.packets.capacity()), (packets, capacity));
    }

    #[test]
    fn an_empty_datagram_is_sent_alone() {
        assert_eq!(pushed(&[(1, 0), (1, 0)]), [(1, vec![0], None), (1, vec![0], None)]);
    }

    #[test]
    fn a_packet_is_header_payload_and_padding() {
        let from = RelayedAddr(SocketAddr::from(([45, 0, 0, 10], 50_000)));
        let (header, mut gso_queue) = (Header::data(from, 5, [7; 12]), GsoQueue::default());
        gso_queue.push(destination(1), header, b"hello");
        gso_queue.drain(|batch| {
            let bytes: Vec<u8> = batch.parts.iter().flat_map(|part| part.to_vec()).collect();
            assert_eq!(bytes, [header.bytes(), b"hello\0\0\0"].concat());
        });
    }

    #[test]
    fn packets_leave_one_by_one_without_segmentation_offload() {
        let socket = BatchSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap().0;
        let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let egress = Egress::Turn(socket.local().ip());
        let destination = Destination { to: peer.local_addr().unwrap(), egress };
        for disabled in [false, true] {
            if disabled {
                socket.disable_segments();
            }
            let mut gso_queue = GsoQueue::default();
            for payload in [&b"first"[..], b"again", b"end"] {
                gso_queue.push(destination, Header::default(), payload);
            }
            gso_queue.drain(|batch| batch.send(&socket, &ErrorCounters::default()));
            let mut buffer = [0; 9];
            let received =
                [0; 3].map(|_| peer.recv(&mut buffer).map(|length| buffer[..length].to_vec()).unwrap());
            assert_eq!(received, [b"first".to_vec(), b"again".to_vec(), b"end".to_vec()]);
            assert_eq!(socket.segments(), !disabled);
        }
    }
}
