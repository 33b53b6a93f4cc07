//! A run of packets on its way out of a socket: in one send where the way out can do that, else one by
//! one. What cannot be sent is lost and counted.

use std::io;

use super::gso_batch::{Leave, Outgoing};
use super::stats::Unsent;
use super::udp::BatchSocket;

/// A full socket buffer loses the packets, as any router would. Where segmentation offload fails,
/// the run goes out packet by packet; only where it is the way out that cannot do it, later runs too.
pub(super) fn send(socket: &BatchSocket, run: &Outgoing<'_>, unsent: &Unsent) {
    let (to, source) = match run.route.leave {
        Leave::Turn(source) => (run.route.to, Some(source)),
        Leave::Port(_, false) => (run.route.to, None),
        Leave::Port(_, true) => {
            return run
                .packets()
                .for_each(|packet| unsent.note(socket.send_unfragmented(run.route.to, packet), 1));
        }
    };
    let mut useless = false;
    if run.segment.is_none() || socket.segments() {
        match socket.send(to, source, run.parts, run.segment) {
            Err(error) if run.segment.is_some() && error.kind() != io::ErrorKind::WouldBlock => {
                useless = BatchSocket::refuses_segments(&error);
            }
            Ok(()) => return,
            lost => return unsent.note(lost, run.packets().count()),
        }
    }
    let mut sent = 0;
    for packet in run.packets() {
        let outcome = socket.send(to, source, packet, None);
        sent += usize::from(outcome.is_ok());
        unsent.note(outcome, 1);
    }
    if useless && sent > 0 {
        // It was segmentation that the kernel refused, and not the packets.
        socket.give_up_segments();
    }
}

#[cfg(test)]
mod tests {
    use super::super::gso_batch::{Outbox, Route};
    use super::*;
    use webrtc_box_turn::channel_data::Head;

    #[test]
    fn a_run_leaves_packet_by_packet_where_the_way_out_refuses_segments() {
        let socket = BatchSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap().0;
        let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let leave = Leave::Turn(socket.local().ip());
        let route = Route { to: peer.local_addr().unwrap(), leave };
        for refused in [false, true] {
            if refused {
                socket.give_up_segments();
            }
            let mut outbox = Outbox::default();
            for payload in [&b"first"[..], b"again", b"end"] {
                outbox.push(route, Head::default(), payload);
            }
            outbox.drain(|run| send(&socket, run, &Unsent::default()));
            let mut buffer = [0; 9];
            let got = [0; 3].map(|_| peer.recv(&mut buffer).map(|length| buffer[..length].to_vec()).unwrap());
            assert_eq!(got, [b"first".to_vec(), b"again".to_vec(), b"end".to_vec()]);
            assert_eq!(socket.segments(), !refused);
        }
    }
}
