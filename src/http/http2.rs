//! HTTP/2 (RFC 9113) for clients that choose it by ALPN. A WebSocket needs HTTP/1.1: browsers open it on a connection of
//! its own, because the server does not offer Extended CONNECT (RFC 8441).
//!
//! hyper bounds what a client may open, reset and send. It does not end a connection that is idle or whose client reads
//! no reply: [`Progress`] does.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::Response;
use hyper::body::{Frame, SizeHint};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::debug;

use webrtc_box_relay::socket::{HasTcpStream, SocketBuffers};

use super::counters::Http2End;
use super::serve::{
    ConnInfo, GracefulIo, HEADER_TIMEOUT, MAX_HEADER_BYTES, PROXY_IDLE_TIMEOUT, STOPPING_REQUESTS,
    WRITE_TIMEOUT, respond,
};
use super::{HttpServer, stopping};

/// How long a connection may be idle: the page loads further modules while a person is in the lobby.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Streams that a client may have open at once; RFC 9113 §6.5.2 recommends no fewer.
const MAX_STREAMS: u32 = 100;

/// Streams that a client has reset before hyper took them from the connection (rapid reset, CVE-2023-44487).
const MAX_PENDING_RESETS: usize = 20;

/// Streams that the server has reset for an error of the client.
const MAX_LOCAL_RESETS: usize = 100;

/// Bytes of request bodies that may be on their way, of one stream and in all. Most frames of long polling fit.
const STREAM_WINDOW: u32 = 16 * 1024;
const CONNECTION_WINDOW: u32 = 64 * 1024;

/// Bytes of the reply of one stream that wait for the socket.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// Bytes of a reply that are handed over at once, so that a slow client shows progress.
const CHUNK_BYTES: usize = 16 * 1024;

impl HttpServer {
    /// Serves HTTP/2 on a stream after TLS to its end.
    pub(super) async fn serve_http2<S>(&self, stream: S, info: ConnInfo)
    where
        S: AsyncRead + AsyncWrite + HasTcpStream + Unpin + Send + 'static,
    {
        let arrival = info.arrival();
        let idle_timeout = if info.pooled { PROXY_IDLE_TIMEOUT } else { IDLE_TIMEOUT };
        SocketBuffers::HTTP.set(stream.tcp());
        let stream = GracefulIo::new(stream, info.permit);
        let (router, progress) = (self.state.router.clone(), Progress::new());
        let requests = progress.clone();
        let service = service_fn(move |request| {
            let (router, requests) = (router.clone(), requests.clone());
            requests.request();
            async move {
                let reply = respond(router, arrival, request).await?;
                Ok::<Response<ReplyBody>, Infallible>(
                    reply.map(|body| ReplyBody::new(body, requests.reply())),
                )
            }
        });
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
            .max_local_error_reset_streams(MAX_LOCAL_RESETS)
            .max_header_list_size(MAX_HEADER_BYTES as u32)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let mut phase = self.state.phase.subscribe();
        let end = tokio::select! {
            outcome = connection.as_mut() => ended(outcome),
            end = progress.timed_out(idle_timeout) => {
                connection.as_mut().graceful_shutdown();
                let _ = timeout(STOPPING_REQUESTS, connection).await;
                end
            }
            () = stopping(&mut phase) => {
                // Requests that are on their way are answered before the client gets the last GOAWAY.
                connection.as_mut().graceful_shutdown();
                timeout(STOPPING_REQUESTS, connection).await.map_or(Http2End::Closed, ended)
            }
        };
        self.state.metrics.count_http2_end(end);
    }
}

fn ended(outcome: hyper::Result<()>) -> Http2End {
    match outcome {
        Ok(()) => Http2End::Closed,
        Err(error) => {
            debug!(%error, "HTTP/2 connection failed");
            Http2End::Failed
        }
    }
}

/// The unread replies of a connection, and when a request last made progress. Pings and window updates are none.
#[derive(Clone, Debug)]
struct Progress(Arc<Mutex<Requests>>);

#[derive(Debug)]
struct Requests {
    /// Replies that are not handed over. A request without a reply yet may wait, for example for frames.
    replies: usize,
    /// When a request last began, handed over a part of its reply, or ended.
    last: Instant,
    /// Whether there was a request yet.
    any: bool,
}

/// Counts one reply as unread.
#[derive(Debug)]
struct UnreadReply(Progress);

impl Progress {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Requests { replies: 0, last: Instant::now(), any: false })))
    }

    fn lock(&self) -> MutexGuard<'_, Requests> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn request(&self) {
        let mut requests = self.lock();
        requests.any = true;
        requests.last = Instant::now();
    }

    fn reply(&self) -> UnreadReply {
        let mut requests = self.lock();
        requests.replies += 1;
        requests.last = Instant::now();
        UnreadReply(self.clone())
    }

    /// Resolves when the client has sent no request for `idle`, or has read nothing of a reply for too long.
    async fn timed_out(&self, idle: Duration) -> Http2End {
        loop {
            let (limit, last, end) = {
                let requests = self.lock();
                match *requests {
                    Requests { replies: 1.., last, .. } => (WRITE_TIMEOUT, last, Http2End::Stalled),
                    Requests { any: false, last, .. } => (HEADER_TIMEOUT, last, Http2End::Idle),
                    Requests { last, .. } => (idle, last, Http2End::Idle),
                }
            };
            let now = Instant::now();
            if now >= last + limit {
                return end;
            }
            // An idle connection may become a stalled one meanwhile, whose limit is shorter.
            sleep_until((last + limit).min(now + WRITE_TIMEOUT)).await;
        }
    }
}

impl UnreadReply {
    fn advance(&self) {
        self.0.lock().last = Instant::now();
    }
}

impl Drop for UnreadReply {
    fn drop(&mut self) {
        let mut requests = self.0.lock();
        requests.replies -= 1;
        requests.last = Instant::now();
    }
}

/// The body of a reply in parts of [`CHUNK_BYTES`]. It counts as unread until hyper has taken the last part.
#[derive(Debug)]
struct ReplyBody {
    body: Body,
    /// The rest of the frame that `body` returned last.
    rest: Bytes,
    unread: UnreadReply,
}

impl ReplyBody {
    fn new(body: Body, unread: UnreadReply) -> Self {
        Self { body, rest: Bytes::new(), unread }
    }
}

impl hyper::body::Body for ReplyBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        self.unread.advance();
        let length = self.rest.len().min(CHUNK_BYTES);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        self.body.size_hint().exact().map_or_else(SizeHint::new, |exact| SizeHint::with_exact(exact + rest))
    }
}

#[cfg(test)]
mod tests {
    use hyper::body::Body as _;

    use super::*;

    async fn ends_after(progress: &Progress, limit: Duration) -> (Http2End, u64) {
        let start = Instant::now();
        let end = progress.timed_out(limit).await;
        (end, start.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn connection_without_a_request_ends_sooner_than_an_idle_one() {
        let progress = Progress::new();
        assert_eq!(ends_after(&progress, IDLE_TIMEOUT).await, (Http2End::Idle, HEADER_TIMEOUT.as_secs()));
        progress.request();
        assert_eq!(ends_after(&progress, IDLE_TIMEOUT).await, (Http2End::Idle, IDLE_TIMEOUT.as_secs()));
    }

    #[tokio::test(start_paused = true)]
    async fn reply_that_nobody_reads_ends_the_connection() {
        let progress = Progress::new();
        progress.request();
        let waiting = tokio::spawn({
            let progress = progress.clone();
            async move { ends_after(&progress, IDLE_TIMEOUT).await }
        });
        tokio::time::sleep(Duration::from_secs(5)).await;
        let body = ReplyBody::new(Body::from("a reply"), progress.reply());
        let (end, seconds) = waiting.await.unwrap();
        assert_eq!(end, Http2End::Stalled);
        assert!((15..=25).contains(&seconds), "{seconds}");
        drop(body);
    }

    #[tokio::test]
    async fn reply_keeps_its_length_and_its_bytes_in_parts() {
        let bytes: Vec<u8> = (0..40_000_u32).map(|n| n as u8).collect();
        let progress = Progress::new();
        let mut body = ReplyBody::new(Body::from(bytes.clone()), progress.reply());
        assert_eq!(body.size_hint().exact(), Some(40_000));
        let mut parts = Vec::new();
        while !body.is_end_stream() {
            let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
            parts.push(frame.unwrap().unwrap().into_data().unwrap());
        }
        assert_eq!(parts.iter().map(Bytes::len).collect::<Vec<_>>(), [16384, 16384, 7232]);
        assert_eq!(parts.concat(), bytes);
        assert_eq!(progress.lock().replies, 1);
        drop(body);
        assert_eq!(progress.lock().replies, 0);
    }
}
