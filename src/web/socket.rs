//! One WebSocket: its frames to the hub, the hub's frames to it, and an end for each way to break
//! the rules.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tracing::{debug, error};

use super::hub::Hub;
use super::outbox::{Inbox, Outgoing};
use super::{Phase, stopping};
use crate::signaling::{ConnectionId, FRAME_LIMIT};

/// How often we ask whether anybody is there.
const PING_EVERY: Duration = Duration::from_secs(15);

/// After so long without a frame, a pong among them, nobody is.
const SILENCE_LIMIT: Duration = Duration::from_secs(45);

/// How long one frame may take to be written.
const WRITE_LIMIT: Duration = Duration::from_secs(10);

/// How long the other end may take to answer a close.
const FAREWELL_LIMIT: Duration = Duration::from_secs(2);

/// Bytes read and thrown away after a close, so that the close is not lost to a reset.
const FAREWELL_BYTES: u64 = 1024 * 1024;

/// Bytes that may come without making a frame: the longest one, in crumbs that each have a header.
const CRUMBS_LIMIT: usize = 4 * FRAME_LIMIT;

/// Bytes of a short frame's header, masked (RFC 6455 §5.2).
const SHORT_HEADER: usize = 6;

pub(super) type Socket = WebSocketStream<Metered<TokioIo<Upgraded>>>;

/// How a WebSocket ends.
#[derive(Debug)]
enum End {
    /// The other end closed it, or is simply gone.
    Gone,
    /// It does not answer, or does not read.
    Silent,
    /// We close it.
    Close(u16, &'static str),
}

/// Serves one WebSocket to its end.
pub(super) async fn converse(mut socket: Socket, hub: &Hub, host: String, mut phase: watch::Receiver<Phase>) {
    let (conn, mut inbox) = hub.enter(host);
    let end = talk(&mut socket, hub, conn, &mut inbox, &mut phase).await;
    hub.leave(conn);
    debug!(connection = conn.0, ?end, "WebSocket over");
    match end {
        End::Gone => drop(timeout(FAREWELL_LIMIT, socket.close(None)).await),
        End::Silent => {}
        End::Close(code, reason) => drop(timeout(FAREWELL_LIMIT, bid_farewell(socket, code, reason)).await),
    }
}

async fn talk(
    socket: &mut Socket,
    hub: &Hub,
    conn: ConnectionId,
    inbox: &mut Inbox,
    phase: &mut watch::Receiver<Phase>,
) -> End {
    let mut ping = pings();
    let mut heard = Instant::now();
    loop {
        let step = tokio::select! {
            frame = socket.next() => {
                heard = Instant::now();
                socket.get_mut().made(&frame);
                hear(hub, conn, frame)
            }
            outgoing = inbox.next() => write(socket, outgoing).await,
            _ = ping.tick() => match heard.elapsed() {
                quiet if quiet >= SILENCE_LIMIT => Err(End::Silent),
                _ => send(socket, Message::Ping(Default::default())).await,
            },
            () = stopping(phase) => Err(End::Close(1001, "the server is stopping")),
        };
        if let Err(end) = step {
            return end;
        }
    }
}

fn pings() -> Interval {
    let mut ping = interval(PING_EVERY);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is at once.
    ping.reset();
    ping
}

fn hear(hub: &Hub, conn: ConnectionId, frame: Option<Result<Message, Error>>) -> Result<(), End> {
    match frame {
        Some(Ok(Message::Text(text))) => hub.hear(conn, &text).map_err(|error| {
            error!(%error, "no randomness for a seat");
            End::Close(1011, "internal error")
        }),
        Some(Ok(Message::Binary(_))) => {
            hub.hear_binary(conn);
            Ok(())
        }
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {
            hub.notice(conn);
            Ok(())
        }
        Some(Ok(Message::Close(_))) | None => Err(End::Gone),
        Some(Err(error)) => Err(broken(error)),
    }
}

/// The close code that says what was wrong (RFC 6455 §7.4.1).
fn broken(error: Error) -> End {
    debug!(%error, "WebSocket broken");
    if let Error::Io(io) = &error {
        let endless = io.kind() == io::ErrorKind::QuotaExceeded;
        return if endless { End::Close(1008, "too many fragments") } else { End::Gone };
    }
    match error {
        Error::Capacity(_) => End::Close(1009, "a frame has 64 KiB at most"),
        Error::Utf8(_) => End::Close(1007, "a text frame is UTF-8"),
        Error::Protocol(_) => End::Close(1002, "not a WebSocket frame"),
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Io(_)
        | Error::Tls(_)
        | Error::WriteBufferFull(_)
        | Error::AttackAttempt
        | Error::Url(_)
        | Error::Http(_)
        | Error::HttpFormat(_) => End::Gone,
    }
}

async fn write(socket: &mut Socket, outgoing: Option<Outgoing>) -> Result<(), End> {
    match outgoing {
        Some(Outgoing::Frame(text)) => send(socket, Message::Text(text.into())).await,
        Some(Outgoing::Close(code, reason)) => Err(End::Close(code, reason)),
        None => Err(End::Close(1008, "too slow")),
    }
}

async fn send(socket: &mut Socket, message: Message) -> Result<(), End> {
    match timeout(WRITE_LIMIT, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(End::Gone),
        Err(_) => Err(End::Silent),
    }
}

/// Closes and reads on until the other end has closed too: a socket closed with bytes unread is
/// reset, and a reset may overtake the close frame.
async fn bid_farewell(mut socket: Socket, code: u16, reason: &'static str) {
    let frame = CloseFrame { code: code.into(), reason: reason.into() };
    if socket.close(Some(frame)).await.is_err() {
        return;
    }
    let mut stream = socket.into_inner().stream;
    // Either end may be gone already; then this is over.
    let _ = stream.shutdown().await;
    let _ = tokio::io::copy(&mut stream.take(FAREWELL_BYTES), &mut tokio::io::sink()).await;
}

/// A stream that breaks when much comes and no frame is made of it: endless fragments.
pub(super) struct Metered<S> {
    stream: S,
    crumbs: usize,
}

impl<S> Metered<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, crumbs: 0 }
    }

    /// A frame was made. A ping or pong accounts for itself only: it may come between fragments.
    fn made(&mut self, frame: &Option<Result<Message, Error>>) {
        match frame {
            Some(Ok(Message::Ping(payload) | Message::Pong(payload))) => {
                self.crumbs = self.crumbs.saturating_sub(payload.len() + SHORT_HEADER);
            }
            Some(_) | None => self.crumbs = 0,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.crumbs > CRUMBS_LIMIT {
            return Poll::Ready(Err(io::ErrorKind::QuotaExceeded.into()));
        }
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.crumbs += buf.filled().len() - before;
        poll
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
