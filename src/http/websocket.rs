//! The WebSocket `/ws`: the opening handshake (RFC 6455 §4.2), then frames between the client and the hub until one side
//! closes, the client is silent, or it violates the protocol.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tracing::{debug, error};

use webrtc_box_signaling::{ConnectionId, MAX_FRAME_BYTES};

use super::hub::{Hub, Transport};
use super::per_source::SourceConnections;
use super::request_context::RequestContext;
use super::send_queue::{Outgoing, SendReceiver};
use super::{Phase, stopping};

/// The read buffer of each connection: half a dozen candidates. The default of 128 KiB would be most of the memory of a
/// connection.
const READ_BUFFER_BYTES: usize = 2 * 1024;

/// The write buffer; each frame is flushed at once anyhow.
const WRITE_BUFFER_BYTES: usize = 4 * 1024;

/// Bytes inside the WebSocket at most: two frames, because one is written before the next.
const MAX_WRITE_BUFFER_BYTES: usize = 2 * MAX_FRAME_BYTES;

/// The interval of pings.
const PING_INTERVAL: Duration = Duration::from_secs(15);

/// How long a client may be silent; a pong counts as activity.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(45);

/// How long the write of one frame may take.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the closing handshake may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes that are read and discarded after a close, so that no TCP reset overtakes it.
const MAX_DISCARDED_BYTES: u64 = 1024 * 1024;

/// Bytes that may arrive without completing a message: the longest one, in fragments with a header each.
const MAX_FRAGMENT_BYTES: usize = 4 * MAX_FRAME_BYTES;

/// Bytes that are taken from the send queue before a flush.
pub(super) const BATCH_BYTES: usize = 16 * 1024;

/// Bytes of the header of a short masked frame (RFC 6455 §5.2).
const SHORT_HEADER_BYTES: usize = 6;

pub(super) type Socket<S> = WebSocketStream<FragmentLimit<S>>;

/// Why a session ends.
#[derive(Debug)]
pub(super) enum End {
    /// The connection is lost.
    Lost,
    /// The client closes it; `away`: its page was closed or left (RFC 6455 §7.4.1).
    Closed { away: bool },
    /// The client does not answer or does not read.
    TimedOut,
    /// The server closes it.
    Close(u16, &'static str),
}

/// Upgrades `request`, whose origin is allowed, to a WebSocket of the protocol of docs/protocol.md, or refuses it.
pub(super) fn upgrade(
    hub: &Arc<Hub>,
    sources: &SourceConnections,
    phase: watch::Receiver<Phase>,
    context: &RequestContext,
    request: Request<Body>,
) -> Response {
    let host = context.authority.as_ref().map_or("localhost", |authority| &authority.host);
    let client = (host.to_owned(), context.source);
    let hub = Arc::clone(hub);
    accept(sources, context, request, |socket| async move { run(socket, &hub, client, phase).await })
}

/// Upgrades `request` to a WebSocket, which `serve` then uses, or refuses it. `sources` counts the WebSockets behind a proxy,
/// where all clients share one connection address.
pub(super) fn accept<F>(
    sources: &SourceConnections,
    context: &RequestContext,
    mut request: Request<Body>,
    serve: impl FnOnce(Socket<TokioIo<Upgraded>>) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = ()> + Send,
{
    let Some(key) = handshake_key(&request) else { return upgrade_required() };
    let Some(on_upgrade) = request.extensions_mut().remove::<OnUpgrade>() else { return upgrade_required() };
    let permit = match context.proxied.then(|| sources.enter(context.source)) {
        Some(None) => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Some(Some(permit)) => Some(permit),
        None => None,
    };
    tokio::spawn(async move {
        match on_upgrade.await {
            Ok(upgraded) => serve(open(upgraded).await).await,
            Err(error) => debug!(%error, "the connection ended before it became a WebSocket"),
        }
        drop(permit);
    });
    let accept = [
        (header::CONNECTION, "upgrade".to_owned()),
        (header::UPGRADE, "websocket".to_owned()),
        (header::SEC_WEBSOCKET_ACCEPT, derive_accept_key(key.as_bytes())),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, accept).into_response()
}

async fn open(upgraded: Upgraded) -> Socket<TokioIo<Upgraded>> {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(MAX_WRITE_BUFFER_BYTES)
        .max_message_size(Some(MAX_FRAME_BYTES))
        .max_frame_size(Some(MAX_FRAME_BYTES));
    let stream = FragmentLimit::new(TokioIo::new(upgraded));
    WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await
}

/// The key of a valid handshake.
fn handshake_key(request: &Request<Body>) -> Option<HeaderValue> {
    let headers = request.headers();
    let is_valid = request.method() == Method::GET
        && has_token(headers, &header::CONNECTION, "upgrade")
        && has_token(headers, &header::UPGRADE, "websocket")
        && has_token(headers, &header::SEC_WEBSOCKET_VERSION, "13");
    // 16 bytes of base64, whose values do not matter.
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|key| key.len() == 24);
    key.filter(|_| is_valid).cloned()
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|given| given.trim().eq_ignore_ascii_case(token))
}

/// RFC 9110 §15.5.22, with the supported version (RFC 6455 §4.4).
fn upgrade_required() -> Response {
    let headers = [(header::UPGRADE, "websocket"), (header::SEC_WEBSOCKET_VERSION, "13")];
    (StatusCode::UPGRADE_REQUIRED, headers, "This is a WebSocket endpoint.\n").into_response()
}

/// Runs one WebSocket to its end.
async fn run<S>(
    mut socket: Socket<S>,
    hub: &Hub,
    (host, source): (String, IpAddr),
    mut phase: watch::Receiver<Phase>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (conn, mut queue) = hub.connect(Transport::WebSocket, host, source);
    let end = exchange(&mut socket, hub, conn, &mut queue, &mut phase).await;
    hub.disconnect(conn, matches!(end, End::Closed { away: true }));
    debug!(connection = conn.0, ?end, "WebSocket ended");
    match end {
        End::Lost | End::TimedOut => {}
        End::Closed { .. } => close(socket, None).await,
        End::Close(code, reason) => {
            close(socket, Some(CloseFrame { code: code.into(), reason: reason.into() })).await;
        }
    }
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut Socket<S>,
    hub: &Hub,
    conn: ConnectionId,
    queue: &mut SendReceiver,
    phase: &mut watch::Receiver<Phase>,
) -> End {
    // Both are created once: a new timer and a new waiter per frame would be expensive.
    let mut liveness = Liveness::new();
    let mut timer = std::pin::pin!(sleep_until(liveness.next()));
    let mut stop = std::pin::pin!(stopping(phase));
    loop {
        let step = tokio::select! {
            biased;
            outgoing = queue.next() => write(socket, queue, outgoing).await,
            frame = socket.next() => {
                liveness.last_frame = Instant::now();
                socket.get_mut().count(&frame);
                match receive(hub, conn, frame) {
                    Ok(Some(text)) => hub.handle_text(conn, &text).await.map_err(no_randomness),
                    Ok(None) => Ok(()),
                    Err(end) => Err(end),
                }
            }
            () = timer.as_mut() => {
                let step = check_liveness(socket, &mut liveness).await;
                timer.as_mut().reset(liveness.next());
                step
            }
            () = stop.as_mut() => Err(End::Close(1001, "the server is stopping")),
        };
        if let Err(end) = step {
            return end;
        }
    }
}

/// When the client is pinged, and when it counts as lost.
struct Liveness {
    last_frame: Instant,
    next_ping: Instant,
}

impl Liveness {
    fn new() -> Self {
        let now = Instant::now();
        Self { last_frame: now, next_ping: now + PING_INTERVAL }
    }

    /// When to check next. A frame in the meantime only makes the check early.
    fn next(&self) -> Instant {
        self.next_ping.min(self.last_frame + SILENCE_TIMEOUT)
    }
}

async fn check_liveness<S>(socket: &mut Socket<S>, liveness: &mut Liveness) -> Result<(), End>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let now = Instant::now();
    if now >= liveness.last_frame + SILENCE_TIMEOUT {
        return Err(End::TimedOut);
    }
    if now < liveness.next_ping {
        return Ok(());
    }
    liveness.next_ping = now + PING_INTERVAL;
    let ping = socket.send(Message::Ping(Default::default()));
    timeout(WRITE_TIMEOUT, ping).await.map_or(Err(End::TimedOut), |sent| sent.map_err(|_| End::Lost))
}

/// Returns the text of a text frame; handles others.
fn receive(
    hub: &Hub,
    conn: ConnectionId,
    frame: Option<Result<Message, Error>>,
) -> Result<Option<Utf8Bytes>, End> {
    match frame {
        Some(Ok(Message::Text(text))) => Ok(Some(text)),
        Some(Ok(Message::Binary(_))) => {
            hub.handle_binary(conn);
            Ok(None)
        }
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {
            hub.handle_control_frame(conn);
            Ok(None)
        }
        Some(Ok(Message::Close(frame))) => {
            Err(End::Closed { away: frame.is_some_and(|frame| frame.code == CloseCode::Away) })
        }
        None => Err(End::Lost),
        Some(Err(error)) => Err(end_of_error(error)),
    }
}

/// The end of a session for whose seat the operating system has no randomness.
pub(super) fn no_randomness(error: getrandom::Error) -> End {
    error!(%error, "cannot draw random bytes for a seat");
    End::Close(1011, "internal error")
}

/// The close code for an error (RFC 6455 §7.4.1).
pub(super) fn end_of_error(error: Error) -> End {
    debug!(%error, "WebSocket failed");
    if let Error::Io(io) = &error {
        let too_many_fragments = io.kind() == io::ErrorKind::QuotaExceeded;
        return if too_many_fragments { End::Close(1008, "too many fragments") } else { End::Lost };
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
        | Error::HttpFormat(_) => End::Lost,
    }
}

/// Writes `outgoing` and the further items of the queue, then flushes once.
async fn write<S>(
    socket: &mut Socket<S>,
    queue: &mut SendReceiver,
    outgoing: Option<Outgoing>,
) -> Result<(), End>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let all = async {
        let (mut next, mut batch) = (outgoing, 0);
        loop {
            match next {
                Some(Outgoing::Frame(text)) => {
                    batch += text.len();
                    socket.feed(Message::Text(text.into())).await.map_err(|_| End::Lost)?;
                }
                Some(Outgoing::Close(code, reason)) => return Err(End::Close(code, reason)),
                None => return Err(End::Close(1008, "too slow")),
            }
            match if batch < BATCH_BYTES { queue.try_next() } else { None } {
                Some(outgoing) => next = Some(outgoing),
                None => return socket.flush().await.map_err(|_| End::Lost),
            }
        }
    };
    timeout(WRITE_TIMEOUT, all).await.unwrap_or(Err(End::TimedOut))
}

/// The closing handshake (RFC 6455 §7.1), limited in time: sends a close frame or, if the client closed first, flushes the
/// queued answer.
pub(super) async fn close<S>(mut socket: Socket<S>, close: Option<CloseFrame>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let handshake = async {
        let sent = match close {
            Some(frame) => socket.close(Some(frame)).await,
            None => socket.flush().await,
        };
        match sent {
            // tungstenite's result for a written answer.
            Ok(()) | Err(Error::ConnectionClosed) => shut_down(socket.into_inner().stream).await,
            Err(error) => Err(io::Error::other(error)),
        }
    };
    match timeout(CLOSE_TIMEOUT, handshake).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "closing handshake failed"),
        Err(_) => debug!("closing handshake timed out"),
    }
}

/// Shuts down the sending half and reads until the client has closed too: closing a socket with unread bytes causes a
/// reset, which may overtake the close frame.
async fn shut_down(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(MAX_DISCARDED_BYTES), &mut tokio::io::sink()).await.map(drop)
}

/// A stream that fails when many bytes arrive without completing a message: endless fragments.
pub(super) struct FragmentLimit<S> {
    stream: S,
    bytes: usize,
}

impl<S> FragmentLimit<S> {
    fn new(stream: S) -> Self {
        Self { stream, bytes: 0 }
    }

    /// Counts a complete message. A ping or pong accounts only for itself, because it may arrive between fragments.
    pub(super) fn count(&mut self, frame: &Option<Result<Message, Error>>) {
        match frame {
            Some(Ok(Message::Ping(payload) | Message::Pong(payload))) => {
                self.bytes = self.bytes.saturating_sub(payload.len() + SHORT_HEADER_BYTES);
            }
            Some(_) | None => self.bytes = 0,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FragmentLimit<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.bytes > MAX_FRAGMENT_BYTES {
            return Poll::Ready(Err(io::ErrorKind::QuotaExceeded.into()));
        }
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.bytes += buf.filled().len() - before;
        poll
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FragmentLimit<S> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_pinged_twice_then_disconnected() {
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let socket = WebSocketStream::from_raw_socket(FragmentLimit::new(ours), Role::Server, None).await;
        let phase = watch::Sender::new(Phase::Running);
        let receiver = phase.subscribe();
        let started = Instant::now();
        tokio::spawn(async move {
            run(socket, &Hub::for_tests(None), ("h".into(), [127, 0, 0, 1].into()), receiver).await
        });
        let mut ping = [0; 2];
        for pinged_at in [15, 30] {
            theirs.read_exact(&mut ping).await.unwrap();
            assert_eq!((ping, started.elapsed().as_secs()), ([0x89, 0], pinged_at));
        }
        theirs.read_to_end(&mut Vec::new()).await.unwrap();
        assert_eq!(started.elapsed().as_secs(), 45);
    }
}
