//! One WebSocket: its frames to the hub, the hub's frames to it, and an end for each way to break
//! the rules.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tracing::{debug, error};

use super::hub::Hub;
use super::send_queue::{Inbox, Outgoing};
use super::{Phase, stopping};
use webrtc_box_signaling::{ConnectionId, MAX_FRAME_BYTES};

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
const CRUMBS_LIMIT: usize = 4 * MAX_FRAME_BYTES;

/// Bytes gathered from the queue until they are written, in one go.
const GATHERED: usize = 16 * 1024;

/// Bytes of a short frame's header, masked (RFC 6455 §5.2).
const SHORT_HEADER: usize = 6;

pub(super) type Socket<S> = WebSocketStream<Metered<S>>;

/// How a WebSocket ends.
#[derive(Debug)]
enum End {
    /// The other end is simply gone.
    Gone,
    /// The other end closes it; `away`: since its page was closed or left (RFC 6455 §7.4.1).
    Closed { away: bool },
    /// It does not answer, or does not read.
    Silent,
    /// We close it.
    Close(u16, &'static str),
}

/// Serves one WebSocket to its end.
pub(super) async fn converse<S>(
    mut socket: Socket<S>,
    hub: &Hub,
    (host, source): (String, IpAddr),
    mut phase: watch::Receiver<Phase>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (conn, mut inbox) = hub.enter(host, source);
    let end = talk(&mut socket, hub, conn, &mut inbox, &mut phase).await;
    hub.leave(conn, matches!(end, End::Closed { away: true }));
    debug!(connection = conn.0, ?end, "WebSocket over");
    match end {
        End::Gone | End::Silent => {}
        End::Closed { .. } => finish(socket, None).await,
        End::Close(code, reason) => {
            finish(socket, Some(CloseFrame { code: code.into(), reason: reason.into() })).await;
        }
    }
}

async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut Socket<S>,
    hub: &Hub,
    conn: ConnectionId,
    inbox: &mut Inbox,
    phase: &mut watch::Receiver<Phase>,
) -> End {
    // Both are made once: a frame must not cost a new timer and a new place in a queue of waiters.
    let mut vigil = Vigil::new();
    let mut alarm = std::pin::pin!(sleep_until(vigil.next()));
    let mut stop = std::pin::pin!(stopping(phase));
    loop {
        let step = tokio::select! {
            biased;
            outgoing = inbox.next() => write(socket, inbox, outgoing).await,
            frame = socket.next() => {
                vigil.heard = Instant::now();
                socket.get_mut().made(&frame);
                hear(hub, conn, frame)
            }
            () = alarm.as_mut() => {
                let step = look_after(socket, &mut vigil).await;
                alarm.as_mut().reset(vigil.next());
                step
            }
            () = stop.as_mut() => Err(End::Close(1001, "the server is stopping")),
        };
        if let Err(end) = step {
            return end;
        }
    }
}

/// When a connection is asked whether anybody is there, and when nobody is.
struct Vigil {
    heard: Instant,
    ask: Instant,
}

impl Vigil {
    fn new() -> Self {
        let now = Instant::now();
        Self { heard: now, ask: now + PING_EVERY }
    }

    /// When to look after it. What is heard meanwhile only makes that too early.
    fn next(&self) -> Instant {
        self.ask.min(self.heard + SILENCE_LIMIT)
    }
}

async fn look_after<S>(socket: &mut Socket<S>, vigil: &mut Vigil) -> Result<(), End>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let now = Instant::now();
    if now >= vigil.heard + SILENCE_LIMIT {
        return Err(End::Silent);
    }
    if now < vigil.ask {
        return Ok(());
    }
    vigil.ask = now + PING_EVERY;
    let ping = socket.send(Message::Ping(Default::default()));
    timeout(WRITE_LIMIT, ping).await.map_or(Err(End::Silent), |sent| sent.map_err(|_| End::Gone))
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
        Some(Ok(Message::Close(frame))) => {
            Err(End::Closed { away: frame.is_some_and(|frame| frame.code == CloseCode::Away) })
        }
        None => Err(End::Gone),
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

/// Writes `outgoing` and what else waits already: frames that come together leave together.
async fn write<S>(socket: &mut Socket<S>, inbox: &mut Inbox, outgoing: Option<Outgoing>) -> Result<(), End>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let all = async {
        let (mut next, mut gathered) = (outgoing, 0);
        loop {
            match next {
                Some(Outgoing::Frame(text)) => {
                    gathered += text.len();
                    socket.feed(Message::Text(text.into())).await.map_err(|_| End::Gone)?;
                }
                Some(Outgoing::Close(code, reason)) => return Err(End::Close(code, reason)),
                None => return Err(End::Close(1008, "too slow")),
            }
            match if gathered < GATHERED { inbox.at_once() } else { None } {
                Some(outgoing) => next = Some(outgoing),
                None => return socket.flush().await.map_err(|_| End::Gone),
            }
        }
    };
    timeout(WRITE_LIMIT, all).await.unwrap_or(Err(End::Silent))
}

/// The closing handshake (RFC 6455 §7.1), bounded in time: our Close or, where theirs came first, its answer, which is
/// queued already and must only be flushed.
async fn finish<S>(mut socket: Socket<S>, close: Option<CloseFrame>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let handshake = async {
        let sent = match close {
            Some(frame) => socket.close(Some(frame)).await,
            None => socket.flush().await,
        };
        match sent {
            // What the crate calls an answer that has been written.
            Ok(()) | Err(Error::ConnectionClosed) => hang_up(socket.into_inner().stream).await,
            Err(error) => Err(io::Error::other(error)),
        }
    };
    match timeout(FAREWELL_LIMIT, handshake).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "the closing handshake failed"),
        Err(_) => debug!("the closing handshake was not finished in time"),
    }
}

/// Ends our half and reads on until the other end has closed too: a socket closed with bytes unread is
/// reset, and a reset may overtake the Close.
async fn hang_up(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(FAREWELL_BYTES), &mut tokio::io::sink()).await.map(drop)
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;
    use crate::http::call_log::Ledger;
    use crate::principals::SeatCredentials;
    use webrtc_box_relay::health::HealthMonitor;
    use webrtc_box_signaling::TagKey;
    use webrtc_box_signaling::{HostKeys, IceUrls, ResumeTokenKey, Rooms, RoomsConfig};
    use webrtc_box_turn::credential::{Secret, Secrets};

    fn hub() -> Arc<Hub> {
        let secrets = Secrets::new(Secret::new("secret"), vec![]);
        let rules = RoomsConfig {
            tag_key: TagKey::new([1; 32]),
            resume_key: ResumeTokenKey::new([2; 32]),
            credential_issuer: Arc::new(SeatCredentials(secrets.clone())),
            ice_urls: IceUrls::default(),
            credential_ttl: Duration::from_secs(3600),
            room_grace: Duration::from_secs(30),
            host_keys: HostKeys::new::<Secret>(&[]),
            seeds: [1, 2],
        };
        let ledger = Ledger::new(Arc::default(), false, Instant::now().into());
        let now = std::time::Instant::now();
        let heart = HealthMonitor::new(now).register("rooms", now);
        Hub::start(Rooms::new(rules, now), secrets, Arc::new(|_| {}), ledger, heart)
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_silent_is_asked_twice_and_dropped_the_third_time() {
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let socket = WebSocketStream::from_raw_socket(Metered::new(ours), Role::Server, None).await;
        let phase = watch::Sender::new(Phase::Running);
        let receiver = phase.subscribe();
        let started = Instant::now();
        tokio::spawn(
            async move { converse(socket, &hub(), ("h".into(), [127, 0, 0, 1].into()), receiver).await },
        );
        let mut ping = [0; 2];
        for asked in [15, 30] {
            theirs.read_exact(&mut ping).await.unwrap();
            assert_eq!((ping, started.elapsed().as_secs()), ([0x89, 0], asked));
        }
        theirs.read_to_end(&mut Vec::new()).await.unwrap();
        assert_eq!(started.elapsed().as_secs(), 45);
    }
}
