//! One connection after its admission: TLS handshake, protocol sniffing, then HTTP/1.1, HTTP/2 (`http2.rs`) or the TURN
//! handler.
//!
//! hyper limits how long a request may take to arrive, but not how long a reply may take to send: [`GracefulIo`] does.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_rustls::server::TlsStream;
use tower::ServiceExt as _;
use tracing::debug;

use webrtc_box_relay::socket::{HasTcpStream, SocketBuffers};

use super::counters::Handshake;
use super::per_source::SourcePermit;
use super::protocol_sniff::{self, Protocol};
use super::request_context::{Arrival, Scheme};
use super::{HttpServer, stopping};
use crate::net::rewound::Rewound;
use crate::tls::ActiveCertificate;

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a source beyond its handshake rate may wait for the next handshake.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(5);

/// Bytes that TLS buffers for a client that does not read: one record.
const TLS_BUFFER_BYTES: usize = 16 * 1024;

/// How long the first byte of a stream may take.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the headers of a request may take, and how long a connection may be idle between requests.
pub(super) const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// The same for connections of proxies, which keep them for 60 to 75 seconds and assume that they stay open.
pub(super) const PROXY_IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// Bytes of the headers of a request at most; beyond it the reply is 431.
pub(super) const MAX_HEADER_BYTES: usize = 16 * 1024;

/// How long a handshake or a first request may take while the server stops.
const STOPPING_GRACE: Duration = Duration::from_secs(1);

/// How long requests in progress may take while the server stops.
pub(super) const STOPPING_REQUESTS: Duration = Duration::from_secs(5);

/// How long a write to an HTTP client may block.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// What a listener serves.
#[derive(Clone)]
pub enum ListenerKind {
    /// HTTPS. A stream that is not HTTP goes to the TURN handler, if there is one.
    Https(Arc<ActiveCertificate>, Option<TurnHandler>),
    /// Plain HTTP: redirects, or the page for a trusted proxy.
    Http,
    /// Plain HTTP for the operator, with these routes.
    Metrics(Router),
    /// TURN only, over TLS if a certificate is given.
    Turn(Option<Arc<ActiveCertificate>>, TurnHandler),
}

/// An admitted connection.
pub(super) struct Admitted {
    pub(super) stream: TcpStream,
    /// The client's address, from the PROXY header if there is one.
    pub(super) client: SocketAddr,
    pub(super) local: SocketAddr,
    /// The connection in the count of its source; `None` for the operator's own proxies.
    pub(super) permit: Option<SourcePermit>,
    /// A proxy made the connection for itself and may keep it for requests of other clients.
    pub(super) pooled: bool,
}

/// Receives the streams that are not HTTP and serves each in a task of its own.
pub type TurnHandler = Arc<dyn Fn(TurnStream) + Send + Sync>;

/// A stream that carries STUN or TURN.
pub struct TurnStream {
    /// The stream after TLS, from its first byte on.
    pub stream: Box<dyn Duplex>,
    /// Whether it arrived over TLS.
    pub tls: bool,
    /// The address of the client.
    pub client: SocketAddr,
    /// The address that the client connected to.
    pub local: SocketAddr,
    /// The connection in the count of its source; kept as long as the stream.
    pub permit: Option<SourcePermit>,
}

/// A byte stream in both directions over TCP.
pub trait Duplex: AsyncRead + AsyncWrite + HasTcpStream + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + HasTcpStream + Unpin + Send> Duplex for S {}

/// The connection of an HTTP stream.
#[derive(Debug)]
pub(super) struct ConnInfo {
    client: SocketAddr,
    /// The address that the client connected to.
    local: SocketAddr,
    scheme: Scheme,
    /// The connection in the count of its source; kept as long as the stream.
    pub(super) permit: Option<SourcePermit>,
    /// A proxy may keep it idle for later requests.
    pub(super) pooled: bool,
}

impl ConnInfo {
    pub(super) fn arrival(&self) -> Arrival {
        Arrival { client: self.client, local: self.local.ip(), scheme: self.scheme }
    }
}

impl ListenerKind {
    /// Whether a proxy may pass streams on to this listener. Plain HTTP is passed on with headers instead.
    pub(super) fn accepts_proxy_header(&self) -> bool {
        matches!(self, Self::Https(..) | Self::Turn(..))
    }

    /// The name of the heartbeat of `listener`.
    pub(super) fn name(&self, listener: &TcpListener) -> String {
        let kind = match self {
            Self::Https(..) => "https",
            Self::Http => "http",
            Self::Metrics(_) => "metrics",
            Self::Turn(None, _) => "turn",
            Self::Turn(Some(_), _) => "turns",
        };
        listener.local_addr().map_or_else(|_| kind.to_owned(), |address| format!("{kind} {address}"))
    }
}

impl HttpServer {
    /// Serves an admitted connection to its end.
    pub(super) async fn serve(&self, admitted: Admitted, kind: ListenerKind) {
        let source = admitted.permit.is_some().then(|| admitted.client.ip());
        let Admitted { stream, client, local, permit, pooled } = admitted;
        let info = |scheme, permit| ConnInfo { client, local, scheme, permit, pooled };
        match kind {
            ListenerKind::Http => self.serve_connection(stream, info(Scheme::Http, permit)).await,
            ListenerKind::Metrics(routes) => {
                self.serve_http(stream, info(Scheme::Http, permit), routes).await;
            }
            ListenerKind::Turn(None, handler) => {
                handler(TurnStream { stream: Box::new(stream), tls: false, client, local, permit });
            }
            ListenerKind::Turn(Some(tls), handler) => {
                let Some(stream) = self.tls_handshake(&tls, stream, source).await else { return };
                handler(TurnStream { stream: Box::new(stream), tls: true, client, local, permit });
            }
            ListenerKind::Https(tls, handler) => {
                match self.with_timeout(FIRST_BYTE_TIMEOUT, protocol_sniff::is_plain_http(&stream)).await {
                    Some(true) => {
                        return self.serve_connection(stream, info(Scheme::HttpOnHttpsPort, permit)).await;
                    }
                    Some(false) => {}
                    None => return self.state.metrics.count_handshake(Handshake::TimedOut),
                }
                let Some(stream) = self.tls_handshake(&tls, stream, source).await else { return };
                if protocol_sniff::is_http2(&stream) {
                    return self.serve_http2(stream, info(Scheme::Https, permit)).await;
                }
                let Some(handler) = handler else {
                    return self.serve_connection(stream, info(Scheme::Https, permit)).await;
                };
                match self.with_timeout(FIRST_BYTE_TIMEOUT, protocol_sniff::sniff(stream)).await {
                    Some(Ok(Protocol::Http(stream))) => {
                        self.serve_connection(stream, info(Scheme::Https, permit)).await;
                    }
                    Some(Ok(Protocol::Stun(stream))) => {
                        handler(TurnStream { stream: Box::new(stream), tls: true, client, local, permit });
                    }
                    Some(Err(error)) => debug!(%error, "a stream ended before its first byte"),
                    None => debug!("timeout of a stream without a first byte"),
                }
            }
        }
    }

    /// The output of `future`; `None` after `limit`, or soon once the server stops.
    pub(super) async fn with_timeout<T>(
        &self,
        limit: Duration,
        future: impl Future<Output = T>,
    ) -> Option<T> {
        let mut phase = self.state.phase.subscribe();
        tokio::select! {
            done = timeout(limit, future) => done.ok(),
            () = async {
                stopping(&mut phase).await;
                sleep(STOPPING_GRACE).await;
            } => None,
        }
    }

    /// The stream after TLS; `None` if the handshake failed or `source` exceeds its rate.
    async fn tls_handshake(
        &self,
        tls: &ActiveCertificate,
        stream: TcpStream,
        source: Option<IpAddr>,
    ) -> Option<TlsStream<Rewound<TcpStream>>> {
        if !self.wait_for_handshake_rate(source).await {
            return None;
        }
        let (outcome, stream) = match self.with_timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
            Some(Ok(mut stream)) => {
                let sessions = stream.iter_mut().map(|stream| stream.get_mut().1);
                sessions.for_each(|session| session.set_buffer_limit(Some(TLS_BUFFER_BYTES)));
                (Handshake::Completed, stream)
            }
            Some(Err(error)) => {
                debug!(%error, "TLS handshake failed");
                (Handshake::Failed, None)
            }
            None => {
                debug!("TLS handshake timed out");
                (Handshake::TimedOut, None)
            }
        };
        self.state.metrics.count_handshake(outcome);
        stream
    }

    /// Whether a handshake of `source` may start now or within [`HANDSHAKE_WAIT`]. A handshake costs a signature and
    /// a wait only a timer, so clients behind one address are served one after the other. The operator's own
    /// proxies (`None`) are not limited.
    async fn wait_for_handshake_rate(&self, source: Option<IpAddr>) -> bool {
        let Some(source) = source else { return true };
        let charge = async {
            while let Err(wait) = self.state.handshakes.charge(source, Instant::now().into()) {
                sleep(wait).await;
            }
        };
        let allowed = self.with_timeout(HANDSHAKE_WAIT, charge).await.is_some();
        if !allowed {
            self.state.metrics.count_handshake(Handshake::Refused);
            debug!("TLS handshake refused: its source exceeds the handshake rate");
        }
        allowed
    }

    /// Serves HTTP/1.1 on a stream after TLS to its end. A WebSocket continues in its own task.
    async fn serve_connection<S>(&self, stream: S, info: ConnInfo)
    where
        S: AsyncRead + AsyncWrite + HasTcpStream + Unpin + Send + 'static,
    {
        self.serve_http(stream, info, self.state.router.clone()).await;
    }

    async fn serve_http<S>(&self, stream: S, info: ConnInfo, router: Router)
    where
        S: AsyncRead + AsyncWrite + HasTcpStream + Unpin + Send + 'static,
    {
        let arrival = info.arrival();
        let idle_timeout = if info.pooled { PROXY_IDLE_TIMEOUT } else { HEADER_TIMEOUT };
        SocketBuffers::HTTP.set(stream.tcp());
        let stream = GracefulIo::new(stream, info.permit);
        let (requested, gate) = (AtomicBool::new(false), stream.gate());
        let service = service_fn(|request| {
            requested.store(true, Ordering::Relaxed);
            let (router, gate) = (router.clone(), &gate);
            async move {
                // A client that pipelines requests and does not read gets no further replies.
                gate.wait().await;
                respond(router, arrival, request).await
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(idle_timeout)
            .max_buf_size(MAX_HEADER_BYTES)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let mut phase = self.state.phase.subscribe();
        let outcome = tokio::select! {
            outcome = connection.as_mut() => outcome,
            () = stopping(&mut phase) => {
                // A graceful shutdown closes a connection that has sent no request yet.
                let grace = if requested.load(Ordering::Relaxed) { Duration::ZERO } else { STOPPING_GRACE };
                match timeout(grace, connection.as_mut()).await {
                    Ok(outcome) => outcome,
                    Err(_) => {
                        connection.as_mut().graceful_shutdown();
                        timeout(STOPPING_REQUESTS, connection).await.unwrap_or(Ok(()))
                    }
                }
            }
        };
        if let Err(error) = outcome {
            debug!(%error, "HTTP connection failed");
        }
    }
}

pub(super) async fn respond(
    router: Router,
    arrival: Arrival,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(arrival);
    router.oneshot(request).await
}

/// A stream with a write timeout, and its count in the connections of its source. Both end together, also after the
/// stream became a WebSocket.
pub(super) struct GracefulIo<S> {
    stream: S,
    timeout: Option<Pin<Box<Sleep>>>,
    gate: Arc<WriteGate>,
    _permit: Option<SourcePermit>,
}

/// Closed while a write blocks, so that no further replies are prepared.
#[derive(Debug, Default)]
struct WriteGate {
    closed: AtomicBool,
    opened: Notify,
}

impl WriteGate {
    /// Waits until no write blocks.
    async fn wait(&self) {
        while self.closed.load(Ordering::Relaxed) {
            self.opened.notified().await;
        }
    }

    fn set(&self, closed: bool) {
        if self.closed.swap(closed, Ordering::Relaxed) && !closed {
            self.opened.notify_one();
        }
    }
}

impl<S> GracefulIo<S> {
    pub(super) fn new(stream: S, permit: Option<SourcePermit>) -> Self {
        Self { stream, timeout: None, gate: Arc::default(), _permit: permit }
    }

    fn gate(&self) -> Arc<WriteGate> {
        Arc::clone(&self.gate)
    }

    fn check<T>(&mut self, cx: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.gate.set(poll.is_pending());
        if poll.is_ready() {
            self.timeout = None;
            return poll;
        }
        let timeout = self.timeout.get_or_insert_with(|| Box::pin(tokio::time::sleep(WRITE_TIMEOUT)));
        timeout.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for GracefulIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for GracefulIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.check(cx, poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.check(cx, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_flush(cx);
        self.check(cx, poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.check(cx, poll)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_write_to_a_client_that_never_reads_times_out() {
        let (ours, _theirs) = tokio::io::duplex(16);
        let mut stream = GracefulIo::new(ours, None);
        tokio::time::pause();
        let outcome = stream.write_all(&[0; 64]).await;
        assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn the_gate_waits_until_the_client_has_read() {
        let (ours, mut theirs) = tokio::io::duplex(16);
        let mut stream = GracefulIo::new(ours, None);
        let gate = stream.gate();
        tokio::time::pause();
        gate.wait().await;
        let writing = tokio::spawn(async move { stream.write_all(&[0; 64]).await });
        tokio::task::yield_now().await;
        let early = tokio::time::timeout(WRITE_TIMEOUT / 2, gate.wait()).await;
        assert!(early.is_err(), "the client has read nothing");
        theirs.read_exact(&mut [0; 64]).await.unwrap();
        tokio::time::timeout(WRITE_TIMEOUT, gate.wait()).await.unwrap();
        writing.await.unwrap().unwrap();
    }
}
