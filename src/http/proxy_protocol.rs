//! The PROXY protocol, versions 1 and 2 (<https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>): a
//! header before the stream names the client.

use std::io;
use std::net::{IpAddr, SocketAddr};

use ppp::{v1, v2};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// Both addresses of a connection as the proxy saw them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Addresses {
    pub(super) client: SocketAddr,
    pub(super) local: SocketAddr,
}

/// Bytes of a version 1 header at most (§2.1).
const MAX_V1_BYTES: usize = 107;

/// Bytes of a version 2 header at most; addresses are 36 of them, extensions are ignored.
const MAX_V2_BYTES: usize = 4096;

/// Bytes before the addresses of a version 2 header.
const V2_PREFIX_BYTES: usize = 16;

/// Reads the header from `stream` and no byte after it. `None`: the connection is the proxy's own (a health check), or the
/// proxy does not know the client.
pub(super) async fn read(stream: &mut TcpStream) -> io::Result<Option<Addresses>> {
    let mut header = vec![0; v2::PROTOCOL_PREFIX.len()];
    stream.read_exact(&mut header).await?;
    let addresses = if header == v2::PROTOCOL_PREFIX {
        rest_of_v2(stream, &mut header).await?;
        addresses_of_v2(&header)
    } else if header.starts_with(v1::PROTOCOL_PREFIX.as_bytes()) {
        rest_of_v1(stream, &mut header).await?;
        addresses_of_v1(&header)
    } else {
        Err("no PROXY header")
    };
    addresses.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

async fn rest_of_v2(stream: &mut TcpStream, header: &mut Vec<u8>) -> io::Result<()> {
    header.resize(V2_PREFIX_BYTES, 0);
    stream.read_exact(&mut header[v2::PROTOCOL_PREFIX.len()..]).await?;
    let length = V2_PREFIX_BYTES
        + usize::from(u16::from_be_bytes([header[V2_PREFIX_BYTES - 2], header[V2_PREFIX_BYTES - 1]]));
    if length > MAX_V2_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    header.resize(length, 0);
    stream.read_exact(&mut header[V2_PREFIX_BYTES..]).await.map(drop)
}

/// Peeks before it reads, because the bytes after the line belong to the client.
async fn rest_of_v1(stream: &mut TcpStream, header: &mut Vec<u8>) -> io::Result<()> {
    while !header.ends_with(b"\n") {
        let mut ahead = [0; MAX_V1_BYTES];
        let room = MAX_V1_BYTES.saturating_sub(header.len());
        let seen = stream.peek(&mut ahead[..room]).await?;
        if seen == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let line = ahead[..seen].iter().position(|byte| *byte == b'\n').map_or(seen, |end| end + 1);
        stream.read_exact(&mut ahead[..line]).await?;
        header.extend_from_slice(&ahead[..line]);
    }
    Ok(())
}

fn addresses_of_v1(header: &[u8]) -> Result<Option<Addresses>, &'static str> {
    match v1::Header::try_from(header).map_err(|_| "an invalid PROXY header")?.addresses {
        v1::Addresses::Unknown => Ok(None),
        v1::Addresses::Tcp4(ip) => addresses(
            (ip.source_address, ip.source_port).into(),
            (ip.destination_address, ip.destination_port).into(),
        ),
        v1::Addresses::Tcp6(ip) => addresses(
            (ip.source_address, ip.source_port).into(),
            (ip.destination_address, ip.destination_port).into(),
        ),
    }
}

fn addresses_of_v2(header: &[u8]) -> Result<Option<Addresses>, &'static str> {
    let header = v2::Header::try_from(header).map_err(|_| "an invalid PROXY header")?;
    if header.command == v2::Command::Local {
        return Ok(None);
    }
    if header.protocol == v2::Protocol::Datagram {
        return Err("a PROXY header for datagrams");
    }
    match header.addresses {
        v2::Addresses::Unspecified | v2::Addresses::Unix(_) => Ok(None),
        v2::Addresses::IPv4(ip) => addresses(
            (ip.source_address, ip.source_port).into(),
            (ip.destination_address, ip.destination_port).into(),
        ),
        v2::Addresses::IPv6(ip) => addresses(
            (ip.source_address, ip.source_port).into(),
            (ip.destination_address, ip.destination_port).into(),
        ),
    }
}

fn addresses(client: SocketAddr, local: SocketAddr) -> Result<Option<Addresses>, &'static str> {
    let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let is_no_client = |ip: IpAddr| ip.is_unspecified() || ip.is_multicast();
    let (client, local) = (canonical(client), canonical(local));
    if is_no_client(client.ip()) {
        Err("a PROXY header without a client address")
    } else {
        Ok(Some(Addresses { client, local }))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    /// The header read from these pieces, and the bytes after it.
    async fn read_pieces(pieces: &[&[u8]]) -> (io::Result<Option<Addresses>>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut theirs = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        theirs.set_nodelay(true).unwrap();
        let (mut ours, _) = listener.accept().await.unwrap();
        let write = async {
            for piece in pieces {
                theirs.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            theirs.shutdown().await.unwrap();
        };
        let (read_result, ()) = tokio::join!(read(&mut ours), write);
        let mut rest = Vec::new();
        ours.read_to_end(&mut rest).await.unwrap();
        (read_result, rest)
    }

    fn v2_header(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u16).to_be_bytes();
        [v2::PROTOCOL_PREFIX, &[command, family], &length, body].concat()
    }

    fn seen(client: &str, local: &str) -> Option<Addresses> {
        Some(Addresses { client: client.parse().unwrap(), local: local.parse().unwrap() })
    }

    #[tokio::test]
    async fn the_header_is_read_and_no_byte_after_it() {
        let v4 = b"PROXY TCP4 192.0.2.9 192.0.2.1 4711 443\r\n";
        let whole = [&v4[..], b"\x16\x03\x01"].concat();
        for pieces in [vec![&whole[..]], whole.chunks(1).collect(), whole.chunks(13).collect()] {
            let (addresses, rest) = read_pieces(&pieces).await;
            assert_eq!(addresses.unwrap(), seen("192.0.2.9:4711", "192.0.2.1:443"));
            assert_eq!(rest, b"\x16\x03\x01");
        }
        let v6 = b"PROXY TCP6 2001:db8::9 2001:db8::1 4711 443\r\nGET";
        let (addresses, rest) = read_pieces(&[v6]).await;
        assert_eq!(
            (addresses.unwrap(), &rest[..]),
            (seen("[2001:db8::9]:4711", "[2001:db8::1]:443"), &b"GET"[..])
        );
        let body = [192, 0, 2, 9, 192, 0, 2, 1, 0x12, 0x67, 1, 0xbb, 4, 0, 1, 0];
        let whole = [v2_header(0x21, 0x11, &body), b"\0\x01".to_vec()].concat();
        for pieces in [vec![&whole[..]], whole.chunks(1).collect()] {
            let (addresses, rest) = read_pieces(&pieces).await;
            assert_eq!(
                (addresses.unwrap(), &rest[..]),
                (seen("192.0.2.9:4711", "192.0.2.1:443"), &b"\0\x01"[..])
            );
        }
    }

    #[tokio::test]
    async fn a_connection_may_be_the_proxys_own() {
        for header in [
            b"PROXY UNKNOWN\r\n".to_vec(),
            b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(),
            v2_header(0x20, 0x00, &[]),
            v2_header(0x20, 0x11, &[9; 12]),
            v2_header(0x21, 0x00, &[]),
            v2_header(0x21, 0x31, &[0; 216]),
        ] {
            assert_eq!(read_pieces(&[&header]).await.0.unwrap(), None, "{header:?}");
        }
    }

    #[tokio::test]
    async fn invalid_headers_are_rejected() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
        for header in [
            b"".to_vec(),
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\0\0\0".to_vec(),
            b"PROXY TCP4 192.0.2.9 192.0.2.1 4711".to_vec(),
            b"PROXY TCP4 192.0.2.9 192.0.2.1 4711 99999\r\n".to_vec(),
            b"PROXY TCP4 0.0.0.0 192.0.2.1 4711 443\r\n".to_vec(),
            b"PROXYTCP4 192.0.2.9 192.0.2.1 1 2\r\n".to_vec(),
            long.into_bytes(),
            v2_header(0x22, 0x11, &[9; 12]),
            v2_header(0x21, 0x12, &[9; 12]),
            v2_header(0x21, 0x11, &[9; 11]),
            v2_header(0x21, 0x11, &[9; MAX_V2_BYTES]),
        ] {
            assert!(read_pieces(&[&header]).await.0.is_err(), "{header:?}");
        }
    }
}
