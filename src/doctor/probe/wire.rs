//! What the TURN client talks through: datagrams, or whole messages on a stream, which pads
//! ChannelData to four bytes (RFC 8656 §12.5).

use std::any::Any;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UdpSocket;
use tokio::sync::{Mutex, watch};
use webrtc_util::{Conn, Error};

use super::dial::trouble;
use crate::doctor::judge::Trouble;

/// One 5-tuple to the relay.
pub(super) struct Wire {
    kind: Kind,
    local: SocketAddr,
    server: SocketAddr,
    /// The client gives no reason when its connection fails; it is kept here.
    broken: watch::Sender<Option<Trouble>>,
}

enum Kind {
    Datagrams(UdpSocket),
    Stream { reader: Mutex<Reader>, writer: Mutex<Box<dyn AsyncWrite + Send + Unpin>> },
}

struct Reader {
    stream: Box<dyn AsyncRead + Send + Unpin>,
    unread: Vec<u8>,
}

const STUN_HEADER: usize = 20;
const CHANNEL_HEADER: usize = 4;

impl Wire {
    /// Connected, so that a port that is closed says so.
    pub(super) async fn datagrams(server: SocketAddr) -> Result<Self, Trouble> {
        let any = match server {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let open = async {
            let socket = UdpSocket::bind(any).await?;
            socket.connect(server).await?;
            let local = socket.local_addr()?;
            Ok(Self::new(Kind::Datagrams(socket), local, server))
        };
        open.await.map_err(|error: io::Error| trouble(&error))
    }

    /// A stream that stands, from `local` to `server`.
    pub(super) fn stream(
        stream: impl AsyncRead + AsyncWrite + Send + 'static,
        local: SocketAddr,
        server: SocketAddr,
    ) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        let reader = Mutex::new(Reader { stream: Box::new(reader), unread: Vec::new() });
        Self::new(Kind::Stream { reader, writer: Mutex::new(Box::new(writer)) }, local, server)
    }

    fn new(kind: Kind, local: SocketAddr, server: SocketAddr) -> Self {
        Self { kind, local, server, broken: watch::channel(None).0 }
    }

    /// Resolves when the connection has failed.
    pub(super) async fn breaks(&self) -> Trouble {
        let mut broken = self.broken.subscribe();
        match broken.wait_for(Option::is_some).await.map(|why| why.clone()) {
            Ok(Some(why)) => why,
            _ => Trouble::Silent,
        }
    }

    fn note(&self, error: io::Error) -> Error {
        self.broken.send_replace(Some(trouble(&error)));
        error.into()
    }

    async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.kind {
            Kind::Datagrams(socket) => socket.recv(buffer).await,
            Kind::Stream { reader, .. } => reader.lock().await.message(buffer).await,
        }
    }

    async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match &self.kind {
            Kind::Datagrams(socket) => socket.send(bytes).await,
            Kind::Stream { writer, .. } => {
                let mut padded = bytes.to_vec();
                padded.resize(bytes.len().next_multiple_of(4), 0);
                let mut writer = writer.lock().await;
                writer.write_all(&padded).await?;
                writer.flush().await?;
                Ok(bytes.len())
            }
        }
    }
}

impl Reader {
    /// The next whole message. What was read of one stays when this is cut short.
    async fn message(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some((length, padded)) = whole(&self.unread) {
                let room = buffer.get_mut(..length).ok_or(io::ErrorKind::InvalidData)?;
                room.copy_from_slice(&self.unread[..length]);
                self.unread.drain(..padded);
                return Ok(length);
            }
            if self.stream.read_buf(&mut self.unread).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// The length of the message that `bytes` begin with, without and with its padding, once it is all there.
fn whole(bytes: &[u8]) -> Option<(usize, usize)> {
    let &[first, _, high, low] = bytes.first_chunk()?;
    let header = if first >> 6 == 1 { CHANNEL_HEADER } else { STUN_HEADER };
    let length = header + usize::from(u16::from_be_bytes([high, low]));
    let padded = length.next_multiple_of(4);
    (bytes.len() >= padded).then_some((length, padded))
}

#[async_trait]
impl Conn for Wire {
    async fn connect(&self, _: SocketAddr) -> Result<(), Error> {
        Ok(())
    }

    async fn recv(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        self.read(buffer).await.map_err(|error| self.note(error))
    }

    async fn recv_from(&self, buffer: &mut [u8]) -> Result<(usize, SocketAddr), Error> {
        Ok((self.recv(buffer).await?, self.server))
    }

    async fn send(&self, bytes: &[u8]) -> Result<usize, Error> {
        self.write(bytes).await.map_err(|error| self.note(error))
    }

    async fn send_to(&self, bytes: &[u8], _: SocketAddr) -> Result<usize, Error> {
        self.send(bytes).await
    }

    fn local_addr(&self) -> Result<SocketAddr, Error> {
        Ok(self.local)
    }

    fn remote_addr(&self) -> Option<SocketAddr> {
        Some(self.server)
    }

    async fn close(&self) -> Result<(), Error> {
        Ok(())
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_are_cut_from_a_stream_however_they_arrive() {
        let (ours, mut theirs) = tokio::io::duplex(7);
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let wire = Wire::stream(ours, at(1), at(2));
        let stun = [&[1u8, 1, 0, 4][..], &[9; 20]].concat();
        let sent = [stun.as_slice(), b"\x40\x00\x00\x05hello\0\0\0", &stun].concat();
        tokio::spawn(async move { theirs.write_all(&sent).await });
        let mut buffer = [0; 64];
        for expected in [stun.as_slice(), b"\x40\x00\x00\x05hello", &stun] {
            let length = wire.recv(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..length], expected);
        }
        assert!(wire.recv(&mut buffer).await.is_err());
        assert_eq!(wire.breaks().await, Trouble::Broken("hangs up".into()));
    }
}
