//! Datagrams with forged sources: port 0, the server itself, broadcast and multicast. Needs raw sockets.

use std::io::{self, ErrorKind, Read as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use stun::message as wire;

use crate::harness::server_process::ServerProcess;
use crate::harness::turn_client::{TEST_TIMEOUT, UDP, Wire as _, binding, request, socket};

/// Captures every datagram that leaves from one port.
struct Capture(Socket);

/// Bytes before the payload on loopback: IPv4 without options, UDP.
const HEADERS: usize = 28;
/// Forged datagrams per source.
const COUNT: usize = 200;

impl Capture {
    fn on(port: u16) -> io::Result<Self> {
        let every_protocol = Protocol::from(i32::from(3_u16.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(every_protocol))?;
        // The half-word at offset 20 is the source port; other packets are dropped.
        socket.attach_filter(&[
            SockFilter::new(0x28, 0, 0, 20),
            SockFilter::new(0x15, 0, 1, u32::from(port)),
            SockFilter::new(0x06, 0, 0, u32::MAX),
            SockFilter::new(0x06, 0, 0, 0),
        ])?;
        socket.set_read_timeout(Some(TEST_TIMEOUT))?;
        socket.set_recv_buffer_size(4 << 20)?;
        Ok(Self(socket))
    }

    /// Destination and payload of each datagram up to the reply to the transaction `last`.
    fn read_until(&self, last: &[u8]) -> Vec<(SocketAddrV4, Vec<u8>)> {
        let (mut seen, mut buffer) = (Vec::new(), [0; 2048]);
        loop {
            let length = (&self.0).read(&mut buffer).expect("the last reply");
            let (headers, payload) = buffer[..length].split_at(HEADERS);
            let ip: [u8; 4] = headers[16..20].try_into().unwrap();
            let port = u16::from_be_bytes([headers[22], headers[23]]);
            seen.push((SocketAddrV4::new(ip.into(), port), payload.to_vec()));
            if payload[0] == 1 && payload[8..20] == *last {
                return seen;
            }
        }
    }
}

/// An IPv4 datagram; the kernel sets length and checksum of the IP header.
fn datagram(from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let length = (8 + payload.len()) as u16;
    let mut bytes = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0];
    bytes.extend(from.ip().octets());
    bytes.extend(to.ip().octets());
    bytes.extend([from.port(), to.port(), length, 0].into_iter().flat_map(u16::to_be_bytes));
    bytes.extend(payload);
    bytes
}

fn raw_socket() -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP))?;
    socket.set_header_included_v4(true)?;
    Ok(socket)
}

#[test]
fn forged_source_is_never_answered() {
    let mut server = ServerProcess::new();
    let SocketAddr::V4(to) = server.turn else { panic!("not on IPv4") };
    let (raw, capture) = match raw_socket().and_then(|raw| Ok((raw, Capture::on(to.port())?))) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return println!("skipped: raw sockets need root ({error})");
        }
        opened => opened.unwrap(),
    };
    let requests = [binding(1), request(wire::METHOD_ALLOCATE, [1; 12], &[UDP]).raw];
    let broadcast = Ipv4Addr::new(127, 255, 255, 255);
    let sources = [
        ("port 0", SocketAddrV4::new(Ipv4Addr::new(127, 0, 5, 1), 0)),
        ("the server itself", to),
        ("its address, port 0", SocketAddrV4::new(*to.ip(), 0)),
        ("broadcast", SocketAddrV4::new(Ipv4Addr::BROADCAST, 5000)),
        ("broadcast on loopback", SocketAddrV4::new(broadcast, 5000)),
        ("all hosts", SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 1), 5000)),
    ];
    for (name, from) in sources {
        let before = server.cpu_time();
        let forged: Vec<_> = requests.iter().map(|request| datagram(from, to, request)).collect();
        let sent =
            (0..COUNT).filter(|n| raw.send_to(&forged[n % 2], &SocketAddr::from(to).into()).is_ok()).count();
        // Sent from enough ports that each worker has read the forged datagrams before.
        let honest: Vec<_> = (0..16).map(|_| socket([0, 5, 2], server.turn)).collect();
        let mut seen = Vec::new();
        for (id, mut socket) in (100..).zip(honest) {
            socket.send(&binding(id)).unwrap();
            assert_eq!(socket.receive().expect("a reply to an honest client")[8..20], [id; 12]);
            seen.extend(capture.read_until(&[id; 12]));
        }
        let start = Instant::now();
        thread::sleep(Duration::from_millis(300));
        let cpu = server.cpu_time() - before;
        let replies = seen.iter().filter(|(_, payload)| payload[0] == 1 && payload[8] == 1).count();
        println!(
            "{name}: {sent} sent, {replies} replies; {cpu:?} of CPU time until {:?} later",
            start.elapsed()
        );
        assert_eq!(replies, 0, "{name}");
        assert!(cpu < Duration::from_millis(200), "a busy loop");
    }
    server.assert_healthy();
}
