//! Connections: accepted, counted, brought through TLS and served, none of them able to hold up the
//! others.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::io::Errno;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_rustls::server::TlsStream;
use tower::ServiceExt as _;
use tracing::{debug, warn};

use super::admission::Admitted;
use super::graceful_io::Patient;
use super::metrics::Handshake;
use super::per_source::{SourcePermit, Sources};
use super::protocol_sniff::{self, Spoken};
use super::request_context::{Arrival, Door};
use super::{Web, stopping};
use crate::tls::{HelloStream, InForce};
use webrtc_box_relay::health::{HEARTBEAT_INTERVAL, Heartbeat};
use webrtc_box_relay::socket::{HasTcpStream, SocketBuffers, limit_initial_window};

/// How long a TLS handshake may take.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// Bytes that TLS may hold back for who does not read: one record.
const TLS_BUFFER: usize = 16 * 1024;

/// How long a stream may keep to itself what it speaks.
const FIRST_BYTE_LIMIT: Duration = Duration::from_secs(10);

/// How long a request's headers may take to come, and how long a connection may be idle between two.
pub(super) const HEADER_LIMIT: Duration = Duration::from_secs(10);

/// The same for the connections of proxies, which keep them for 60 to 75 seconds and send a request on
/// one that they believe to be open.
const PROXY_IDLE_LIMIT: Duration = Duration::from_secs(120);

/// Bytes of one request's headers; beyond it 431 and the end.
const HEADER_BYTES: usize = 16 * 1024;

/// How long a handshake may still take once the server is stopping.
const LAST_WELCOME: Duration = Duration::from_secs(1);

/// How long requests under way may take once the server is stopping.
const LAST_REQUESTS: Duration = Duration::from_secs(5);

/// How long to wait before the next accept when the host has nothing left to accept with.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

/// How long to wait before the next accept when one failed by itself.
const SHORT_PAUSE: Duration = Duration::from_millis(1);

/// Time between two warnings of a shortage.
const SHORTAGE_QUIET: Duration = Duration::from_secs(30);

/// What stands behind a listener.
#[derive(Clone)]
pub enum Entrance {
    /// HTTPS, with our own TLS. A stream that turns out to speak something else is the
    /// neighbour's, where there is one.
    Tls(Arc<InForce>, Option<Neighbour>),
    /// Plain HTTP: redirects, or the page for a trusted proxy.
    Plain,
    /// Plain HTTP for who looks after the box, with pages of its own.
    Watch(Router),
    /// Nothing of ours: the neighbour's, through our TLS where it is given.
    Neighbour(Option<Arc<InForce>>, Neighbour),
}

impl Entrance {
    /// Whether a proxy may pass streams on to it as they are. Plain HTTP is passed on with headers.
    pub(super) fn takes_proxy_header(&self) -> bool {
        matches!(self, Self::Tls(..) | Self::Neighbour(..))
    }

    /// What its listener is called where somebody asks how it is.
    fn name(&self, listener: &TcpListener) -> String {
        let kind = match self {
            Self::Tls(..) => "https",
            Self::Plain => "http",
            Self::Watch(_) => "metrics",
            Self::Neighbour(None, _) => "turn",
            Self::Neighbour(Some(_), _) => "turns",
        };
        listener.local_addr().map_or_else(|_| kind.to_owned(), |address| format!("{kind} {address}"))
    }
}

/// Takes streams that do not speak HTTP, and serves them to their end in a task of its own.
pub type Neighbour = Arc<dyn Fn(Guest) + Send + Sync>;

/// A stream that is not for us.
pub struct Guest {
    /// Through with TLS, and from its first byte on.
    pub stream: Box<dyn Duplex>,
    /// Whether it came through TLS.
    pub tls: bool,
    /// The address the connection comes from.
    pub client: SocketAddr,
    /// The address it came to.
    pub local: SocketAddr,
    /// Its place in the count of its source; to be kept as long as the stream lives.
    pub permit: Option<SourcePermit>,
}

/// A stream of bytes in both directions, over TCP.
pub trait Duplex: AsyncRead + AsyncWrite + HasTcpStream + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + HasTcpStream + Unpin + Send> Duplex for S {}

/// Who is at the other end of a stream.
#[derive(Debug)]
pub struct Caller {
    /// The address the connection comes from.
    pub client: SocketAddr,
    /// The address it came to.
    pub local: SocketAddr,
    /// What it came in through.
    pub door: Door,
    /// Its place in the count of its source; kept as long as the stream lives.
    pub permit: Option<SourcePermit>,
    /// A proxy may keep it, idle, for requests to come.
    pub pooled: bool,
}

impl Web {
    /// Accepts connections from `listener` and serves them until [`Web::stop`]. Whether it does is
    /// looked after from this call on, not from the first time that it runs.
    pub fn accept(
        &self,
        listener: TcpListener,
        entrance: Entrance,
    ) -> impl Future<Output = ()> + Send + use<> {
        limit_initial_window(&listener);
        let heart = self.house.hearts.register(entrance.name(&listener), Instant::now().into());
        let web = self.clone();
        async move { web.accept_all(listener, entrance, heart).await }
    }

    async fn accept_all(&self, listener: TcpListener, entrance: Entrance, heart: Heartbeat) {
        let mut phase = self.house.phase.subscribe();
        let mut warned = None;
        let mut beats = interval(HEARTBEAT_INTERVAL);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                now = beats.tick() => {
                    heart.beat(now.into());
                    continue;
                }
                () = stopping(&mut phase) => return,
            };
            match accepted {
                Ok((stream, client)) => self.admit(stream, client, &entrance),
                Err(error) => {
                    complain(&mut warned, &error);
                    // Without a pause the same error might come again at once, for ever.
                    sleep(if is_gone(&error) { SHORT_PAUSE } else { SHORTAGE_PAUSE }).await;
                }
            }
        }
    }

    pub(super) async fn greet(&self, admitted: Admitted, entrance: Entrance) {
        let counted = admitted.counted();
        let Admitted { stream, client, local, permit, pooled } = admitted;
        let caller = |door, permit| Caller { client, local, door, permit, pooled };
        match entrance {
            Entrance::Plain => self.serve_connection(stream, caller(Door::Http, permit)).await,
            Entrance::Watch(pages) => self.serve_pages(stream, caller(Door::Http, permit), pages).await,
            Entrance::Neighbour(None, neighbour) => {
                neighbour(Guest { stream: Box::new(stream), tls: false, client, local, permit });
            }
            Entrance::Neighbour(Some(tls), neighbour) => {
                let Some(stream) = self.shake_hands(&tls, stream, counted).await else { return };
                neighbour(Guest { stream: Box::new(stream), tls: true, client, local, permit });
            }
            Entrance::Tls(tls, neighbour) => {
                match self.in_time(FIRST_BYTE_LIMIT, protocol_sniff::is_plain_http(&stream)).await {
                    Some(true) => {
                        return self.serve_connection(stream, caller(Door::HttpOnHttps, permit)).await;
                    }
                    Some(false) => {}
                    None => return self.house.tally.shook_hands(Handshake::TooSlow),
                }
                let Some(stream) = self.shake_hands(&tls, stream, counted).await else { return };
                let Some(neighbour) = neighbour else {
                    return self.serve_connection(stream, caller(Door::Https, permit)).await;
                };
                match self.in_time(FIRST_BYTE_LIMIT, protocol_sniff::tell(stream)).await {
                    Some(Ok(Spoken::Http(stream))) => {
                        self.serve_connection(stream, caller(Door::Https, permit)).await;
                    }
                    Some(Ok(Spoken::Stun(stream))) => {
                        neighbour(Guest { stream: Box::new(stream), tls: true, client, local, permit });
                    }
                    Some(Err(error)) => debug!(%error, "a stream ended before it said anything"),
                    None => debug!("a stream said nothing"),
                }
            }
        }
    }

    /// What is done within `limit`, and soon once the server is stopping.
    pub(super) async fn in_time<T>(&self, limit: Duration, deed: impl Future<Output = T>) -> Option<T> {
        let mut phase = self.house.phase.subscribe();
        tokio::select! {
            done = timeout(limit, deed) => done.ok(),
            () = async {
                stopping(&mut phase).await;
                sleep(LAST_WELCOME).await;
            } => None,
        }
    }

    /// Through TLS, or not at all.
    async fn shake_hands(
        &self,
        tls: &InForce,
        stream: TcpStream,
        source: Option<IpAddr>,
    ) -> Option<TlsStream<HelloStream<TcpStream>>> {
        if !self.may_shake_hands(source).await {
            return None;
        }
        let (how, stream) = match self.in_time(HANDSHAKE_LIMIT, tls.accept(stream)).await {
            Some(Ok(mut stream)) => {
                let sessions = stream.iter_mut().map(|stream| stream.get_mut().1);
                sessions.for_each(|session| session.set_buffer_limit(Some(TLS_BUFFER)));
                (Handshake::Done, stream)
            }
            Some(Err(error)) => {
                debug!(%error, "TLS handshake failed");
                (Handshake::Failed, None)
            }
            None => {
                debug!("TLS handshake took too long");
                (Handshake::TooSlow, None)
            }
        };
        self.house.tally.shook_hands(how);
        stream
    }

    /// The count of connections by source, for whoever accepts in place of [`Web::accept`].
    pub fn sources(&self) -> &Sources {
        &self.house.sources
    }

    /// Serves HTTP/1.1 on a stream that is through with TLS, to its end. A WebSocket goes on by
    /// itself after this has returned.
    pub async fn serve_connection<S>(&self, stream: S, caller: Caller)
    where
        S: AsyncRead + AsyncWrite + HasTcpStream + Unpin + Send + 'static,
    {
        self.serve_pages(stream, caller, self.house.router.clone()).await;
    }

    async fn serve_pages<S>(&self, stream: S, caller: Caller, router: Router)
    where
        S: AsyncRead + AsyncWrite + HasTcpStream + Unpin + Send + 'static,
    {
        let Caller { client, local, door, permit, pooled } = caller;
        let arrival = Arrival { client, local: local.ip(), door };
        let idle_limit = if pooled { PROXY_IDLE_LIMIT } else { HEADER_LIMIT };
        SocketBuffers::HTTP.set(stream.tcp());
        let stream = Patient::new(stream, permit);
        let (asked, gate) = (AtomicBool::new(false), stream.gate());
        let service = service_fn(|request| {
            asked.store(true, Ordering::Relaxed);
            let (router, gate) = (router.clone(), &gate);
            async move {
                // Who sends requests ahead and does not read gets no more answers.
                gate.open().await;
                answer(router, arrival, request).await
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(idle_limit)
            .max_buf_size(HEADER_BYTES)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let mut phase = self.house.phase.subscribe();
        let outcome = tokio::select! {
            outcome = connection.as_mut() => outcome,
            () = stopping(&mut phase) => {
                // A graceful shutdown hangs up on whoever has not asked yet.
                let welcome = if asked.load(Ordering::Relaxed) { Duration::ZERO } else { LAST_WELCOME };
                match timeout(welcome, connection.as_mut()).await {
                    Ok(outcome) => outcome,
                    Err(_) => {
                        connection.as_mut().graceful_shutdown();
                        timeout(LAST_REQUESTS, connection).await.unwrap_or(Ok(()))
                    }
                }
            }
        };
        if let Err(error) = outcome {
            debug!(%error, "HTTP connection ended early");
        }
    }
}

fn complain(warned: &mut Option<Instant>, error: &io::Error) {
    if is_gone(error) {
        return debug!(%error, "a connection was gone before it was accepted");
    }
    // Strangers can bring it about and keep it up, so it is not said each time.
    if warned.is_none_or(|warned| warned.elapsed() >= SHORTAGE_QUIET) {
        *warned = Some(Instant::now());
        let remedy =
            if is_shortage(error) { "raise the limit of open files" } else { "a sandbox may forbid it" };
        warn!(%error, "no connection can be accepted; {remedy}");
    }
}

async fn answer(
    router: Router,
    arrival: Arrival,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(arrival);
    router.oneshot(request).await
}

/// Whether it was that one connection which failed (accept(2)).
fn is_gone(error: &io::Error) -> bool {
    let gone = [
        Errno::CONNABORTED,
        Errno::PROTO,
        Errno::NETDOWN,
        Errno::HOSTDOWN,
        Errno::NONET,
        Errno::HOSTUNREACH,
        Errno::NETUNREACH,
        Errno::INTR,
    ];
    Errno::from_io_error(error).is_some_and(|errno| gone.contains(&errno))
}

/// Whether it is the host that has run out of something, not the connection that was bad.
fn is_shortage(error: &io::Error) -> bool {
    let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|errno| shortages.contains(&errno))
}
