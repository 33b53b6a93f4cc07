//! Datagrams whose source is a lie: port 0, the box itself, everybody. Needs raw sockets.

use std::io::{self, ErrorKind, Read as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use stun::message as wire;

use crate::harness::server_process::ServerProcess;
use crate::harness::turn_client::{PATIENCE, UDP, Wire as _, binding, request, socket};

/// Sees every datagram that leaves from one port, whoever sent it and wherever it goes.
struct Watch(Socket);

/// Loopback's headers in front of a payload: IPv4 without options, UDP.
const HEADERS: usize = 28;
/// Forged datagrams of one kind.
const MANY: usize = 200;

impl Watch {
    fn on(port: u16) -> io::Result<Self> {
        let every_protocol = Protocol::from(i32::from(3_u16.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(every_protocol))?;
        // The half-word at 20 is the source port; the whole packet where it is ours, else nothing.
        socket.attach_filter(&[
            SockFilter::new(0x28, 0, 0, 20),
            SockFilter::new(0x15, 0, 1, u32::from(port)),
            SockFilter::new(0x06, 0, 0, u32::MAX),
            SockFilter::new(0x06, 0, 0, 0),
        ])?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_recv_buffer_size(4 << 20)?;
        Ok(Self(socket))
    }

    /// What was sent from the port up to the answers to `last`: of each its destination and payload.
    fn until(&self, last: &[u8]) -> Vec<(SocketAddrV4, Vec<u8>)> {
        let (mut seen, mut buffer) = (Vec::new(), [0; 2048]);
        loop {
            let length = (&self.0).read(&mut buffer).expect("the last answer");
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

/// A whole IPv4 datagram; the kernel adds length and checksum of the outer header.
fn datagram(from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let length = (8 + payload.len()) as u16;
    let mut bytes = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0];
    bytes.extend(from.ip().octets());
    bytes.extend(to.ip().octets());
    bytes.extend([from.port(), to.port(), length, 0].into_iter().flat_map(u16::to_be_bytes));
    bytes.extend(payload);
    bytes
}

fn forger() -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP))?;
    socket.set_header_included_v4(true)?;
    Ok(socket)
}

#[test]
fn forged_source_is_never_answered() {
    let mut server = ServerProcess::new();
    let SocketAddr::V4(to) = server.turn else { panic!("not on IPv4") };
    let (forger, watch) = match forger().and_then(|forger| Ok((forger, Watch::on(to.port())?))) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return println!("skipped: raw sockets need root ({error})");
        }
        opened => opened.unwrap(),
    };
    let requests = [binding(1), request(wire::METHOD_ALLOCATE, [1; 12], &[UDP]).raw];
    let broadcast = Ipv4Addr::new(127, 255, 255, 255);
    let sources = [
        ("port 0", SocketAddrV4::new(Ipv4Addr::new(127, 0, 5, 1), 0)),
        ("the box itself", to),
        ("its address, port 0", SocketAddrV4::new(*to.ip(), 0)),
        ("everybody", SocketAddrV4::new(Ipv4Addr::BROADCAST, 5000)),
        ("everybody on loopback", SocketAddrV4::new(broadcast, 5000)),
        ("all hosts", SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 1), 5000)),
    ];
    for (name, from) in sources {
        let before = server.cpu_time();
        let forged: Vec<_> = requests.iter().map(|request| datagram(from, to, request)).collect();
        let sent = (0..MANY)
            .filter(|n| forger.send_to(&forged[n % 2], &SocketAddr::from(to).into()).is_ok())
            .count();
        // From enough ports that each worker has read what came before.
        let honest: Vec<_> = (0..16).map(|_| socket([0, 5, 2], server.turn)).collect();
        let mut seen = Vec::new();
        for (name, mut socket) in (100..).zip(honest) {
            socket.send(&binding(name)).unwrap();
            assert_eq!(socket.receive().expect("an honest client is answered")[8..20], [name; 12]);
            seen.extend(watch.until(&[name; 12]));
        }
        let begun = Instant::now();
        thread::sleep(Duration::from_millis(300));
        let worked = server.cpu_time() - before;
        let answers = seen.iter().filter(|(_, payload)| payload[0] == 1 && payload[8] == 1).count();
        println!(
            "{name}: {sent} sent, {answers} answered; worked {worked:?} until {:?} later",
            begun.elapsed()
        );
        assert_eq!(answers, 0, "{name}");
        assert!(worked < Duration::from_millis(200), "a loop");
    }
    server.assert_healthy();
}
