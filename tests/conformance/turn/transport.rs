//! Complete messages to and from a listener: datagrams, or messages on a stream, padded to four bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use super::server::{Listener, Server};
use crate::harness::TEST_TIMEOUT;

/// A connection to the server.
pub(crate) enum Wire {
    Datagrams(UdpSocket),
    Stream { stream: Box<dyn Duplex>, unread: Vec<u8> },
}

pub(crate) trait Duplex: Read + Write {}
impl<T: Read + Write> Duplex for T {}

impl Wire {
    pub(crate) fn connect(server: &Server, listener: Listener) -> Self {
        let stream = || {
            let stream = TcpStream::connect(server.address(listener)).unwrap();
            stream.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
            stream.set_nodelay(true).unwrap();
            stream
        };
        let stream: Box<dyn Duplex> = match listener {
            Listener::Udp => return Self::Datagrams(datagrams(server)),
            Listener::Tcp => Box::new(stream()),
            Listener::Tls | Listener::Https => {
                let name = ServerName::try_from("box.test").unwrap();
                Box::new(StreamOwned::new(ClientConnection::new(server.tls(), name).unwrap(), stream()))
            }
        };
        Self::Stream { stream, unread: Vec::new() }
    }

    /// Sends `bytes` as they are; the caller pads ChannelData on a stream.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        match self {
            Self::Datagrams(socket) => assert_eq!(socket.send(bytes).unwrap(), bytes.len()),
            Self::Stream { stream, .. } => {
                stream.write_all(bytes).unwrap();
                stream.flush().unwrap();
            }
        }
    }

    /// The next message with its padding; panics after the timeout.
    pub(crate) fn receive(&mut self) -> Vec<u8> {
        match self {
            Self::Datagrams(socket) => datagram(socket).expect("a message in time"),
            Self::Stream { stream, unread } => loop {
                if let Some(length) = length_on_wire(unread).filter(|length| *length <= unread.len()) {
                    return unread.drain(..length).collect();
                }
                let mut buffer = [0; 16_384];
                let length = stream.read(&mut buffer).expect("a message in time");
                assert!(length > 0, "the server closed the stream");
                unread.extend_from_slice(&buffer[..length]);
            },
        }
    }

    pub(crate) fn is_stream(&self) -> bool {
        matches!(self, Self::Stream { .. })
    }
}

fn datagrams(server: &Server) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect(server.address(Listener::Udp)).unwrap();
    socket.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
    socket
}

/// One datagram, or `None` after the read timeout.
pub(crate) fn datagram(socket: &UdpSocket) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 65_536];
    match socket.recv(&mut buffer) {
        Ok(length) => Some(buffer[..length].to_vec()),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
        Err(error) => panic!("{error}"),
    }
}

/// A peer on the network with the read timeout `timeout`.
pub(crate) fn peer(port: u16, timeout: Duration) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    socket.set_read_timeout(Some(timeout)).unwrap();
    socket
}

/// The length on the wire of the first message in `bytes` (RFC 8656 §12.5).
fn length_on_wire(bytes: &[u8]) -> Option<usize> {
    let &[first, _, high, low] = bytes.first_chunk()?;
    let length = usize::from(u16::from_be_bytes([high, low]));
    Some(if first >> 6 == 1 { 4 + length.next_multiple_of(4) } else { 20 + length })
}
