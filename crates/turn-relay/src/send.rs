//! A run of packets on its way out of a socket: in one send where the way out can do that, else one by
//! one. What cannot be sent is lost and counted.

use std::io;

use super::gso_batch::{Egress, OutgoingBatch};
use super::stats::ErrorCounters;
use super::udp::BatchSocket;

/// A full socket buffer loses the packets, as any router would. Where segmentation offload fails,
/// the run goes out packet by packet; only where it is the way out that cannot do it, later runs too.
pub(super) fn send(socket: &BatchSocket, batch: &OutgoingBatch<'_>, errors: &ErrorCounters) {
    let (to, source) = match batch.destination.egress {
        Egress::Turn(source) => (batch.destination.to, Some(source)),
        Egress::Port(_, false) => (batch.destination.to, None),
        Egress::Port(_, true) => {
            return batch
                .packets()
                .for_each(|packet| errors.record(socket.send_unfragmented(batch.destination.to, packet), 1));
        }
    };
    let mut useless = false;
    if batch.segment.is_none() || socket.segments() {
        match socket.send(to, source, batch.parts, batch.segment) {
            Err(error) if batch.segment.is_some() && error.kind() != io::ErrorKind::WouldBlock => {
                useless = BatchSocket::refuses_segments(&error);
            }
            Ok(()) => return,
            lost => return errors.record(lost, batch.packets().count()),
        }
    }
    let mut sent = 0;
    for packet in batch.packets() {
        let outcome = socket.send(to, source, packet, None);
        sent += usize::from(outcome.is_ok());
        errors.record(outcome, 1);
    }
    if useless && sent > 0 {
        // It was segmentation that the kernel refused, and not the packets.
        socket.give_up_segments();
    }
}

#[cfg(test)]
mod tests {
    use super::super::gso_batch::{Destination, GsoQueue};
    use super::*;
    use webrtc_box_turn::channel_data::Header;

    #[test]
    fn a_run_leaves_packet_by_packet_where_the_way_out_refuses_segments() {
        let socket = BatchSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap().0;
        let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let egress = Egress::Turn(socket.local().ip());
        let destination = Destination { to: peer.local_addr().unwrap(), egress };
        for port_error in [false, true] {
            if port_error {
                socket.give_up_segments();
            }
            let mut gso_queue = GsoQueue::default();
            for payload in [&b"first"[..], b"again", b"end"] {
                gso_queue.push(destination, Header::default(), payload);
            }
            gso_queue.drain(|batch| send(&socket, batch, &ErrorCounters::default()));
            let mut buffer = [0; 9];
            let got = [0; 3].map(|_| peer.recv(&mut buffer).map(|length| buffer[..length].to_vec()).unwrap());
            assert_eq!(got, [b"first".to_vec(), b"again".to_vec(), b"end".to_vec()]);
            assert_eq!(socket.segments(), !port_error);
        }
    }
}
