//! HTTP and TURN on one port: detects the protocol of a TLS stream by ALPN (RFC 7443) or by its first decrypted byte.

use std::io;

use bytes::Bytes;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::net::rewound::Rewound;

/// The protocol of a stream, and the stream from its first byte on.
#[derive(Debug)]
pub(super) enum Protocol {
    /// HTTP/1.1, or anything that the HTTP server answers with 400.
    Http(Rewound<TlsStream<Rewound<TcpStream>>>),
    /// STUN or TURN.
    Stun(Rewound<TlsStream<Rewound<TcpStream>>>),
}

/// The first two bits of a STUN message are clear (RFC 8489 §5); no HTTP method begins with such a byte.
const STUN_LIMIT: u8 = 0x40;

/// Whether HTTP may begin with `first`: a method in capitals, or the empty lines that some clients send before it
/// (RFC 9112 §2.2). No TLS record and no STUN method does.
fn begins_http(first: u8) -> bool {
    first.is_ascii_uppercase() || matches!(first, b'\r' | b'\n')
}

/// Waits for the first byte of a stream on a TLS port and returns whether it is HTTP. A stream that ends first is not.
pub(super) async fn is_plain_http(stream: &TcpStream) -> bool {
    let mut first = [0];
    matches!(stream.peek(&mut first).await, Ok(1)) && begins_http(first[0])
}

/// Whether the client chose HTTP/2. Only ALPN can (RFC 9113 §3.2): without it the stream is HTTP/1.1 or TURN.
pub(super) fn is_http2(stream: &TlsStream<Rewound<TcpStream>>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(b"h2")
}

/// Detects the protocol of a stream that is not HTTP/2; waits for the first byte if ALPN does not decide.
pub(super) async fn sniff(mut stream: TlsStream<Rewound<TcpStream>>) -> io::Result<Protocol> {
    match stream.get_ref().1.alpn_protocol() {
        Some(b"stun.turn" | b"stun.nat-discovery") => {
            return Ok(Protocol::Stun(Rewound::new(Bytes::new(), stream)));
        }
        Some(b"http/1.1" | b"http/1.0") => return Ok(Protocol::Http(Rewound::new(Bytes::new(), stream))),
        _ => {}
    }
    let first = stream.read_u8().await?;
    let stream = Rewound::new(Bytes::copy_from_slice(&[first]), stream);
    let stun = first < STUN_LIMIT && !begins_http(first);
    Ok(if stun { Protocol::Stun(stream) } else { Protocol::Http(stream) })
}
