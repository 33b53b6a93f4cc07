//! HTTP and TURN on one port: detects the protocol of a TLS stream by ALPN (RFC 7443) or by its first decrypted byte.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::tls::HelloStream;
use webrtc_box_relay::socket::HasTcpStream;

/// The protocol of a stream, and the stream from its first byte on.
#[derive(Debug)]
pub(super) enum Protocol {
    /// HTTP, or anything that the HTTP server answers with 400.
    Http(Rewound<TlsStream<HelloStream<TcpStream>>>),
    /// STUN or TURN.
    Stun(Rewound<TlsStream<HelloStream<TcpStream>>>),
}

/// A stream whose first byte was read ahead and is returned again.
#[derive(Debug)]
pub(super) struct Rewound<S> {
    first: Option<u8>,
    stream: S,
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

/// Detects the protocol; waits for the first byte if ALPN does not decide.
pub(super) async fn sniff(mut stream: TlsStream<HelloStream<TcpStream>>) -> io::Result<Protocol> {
    match stream.get_ref().1.alpn_protocol() {
        Some(b"stun.turn" | b"stun.nat-discovery") => {
            return Ok(Protocol::Stun(Rewound { first: None, stream }));
        }
        Some(b"http/1.1" | b"http/1.0") => return Ok(Protocol::Http(Rewound { first: None, stream })),
        _ => {}
    }
    let first = stream.read_u8().await?;
    let stream = Rewound { first: Some(first), stream };
    let stun = first < STUN_LIMIT && !begins_http(first);
    Ok(if stun { Protocol::Stun(stream) } else { Protocol::Http(stream) })
}

impl<S: HasTcpStream> HasTcpStream for Rewound<S> {
    fn tcp(&self) -> &TcpStream {
        self.stream.tcp()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() > 0
            && let Some(first) = self.first.take()
        {
            buf.put_slice(&[first]);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
