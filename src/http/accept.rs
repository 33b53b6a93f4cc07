//! Listeners: accepts connections, reads PROXY headers, and limits connections by source.
//!
//! Each connection is admitted and served in a task of its own (`serve.rs`), so none delays another.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tracing::{debug, warn};

use webrtc_box_relay::health::{HEARTBEAT_INTERVAL, Heartbeat};
use webrtc_box_relay::socket::{SocketBuffers, limit_initial_window};

use super::per_source::{SourceConnections, SourcePermit};
use super::request_context::is_trusted;
use super::serve::{HEADER_TIMEOUT, TurnHandler};
use super::{AppState, HttpServer, proxy_protocol, stopping};
use crate::tls::ActiveCertificate;

/// The pause before the next accept if the host is out of resources.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

/// The pause before the next accept if one connection failed.
const FAILED_PAUSE: Duration = Duration::from_millis(1);

/// The time between two warnings of a shortage.
const WARNING_INTERVAL: Duration = Duration::from_secs(30);

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

/// The source has reached its limit of connections.
struct LimitReached;

impl ListenerKind {
    /// Whether a proxy may pass streams on to this listener. Plain HTTP is passed on with headers instead.
    fn accepts_proxy_header(&self) -> bool {
        matches!(self, Self::Https(..) | Self::Turn(..))
    }

    /// The name of its heartbeat.
    fn name(&self, listener: &TcpListener) -> String {
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
    /// Accepts connections from `listener` and serves them until [`HttpServer::stop`]. Its heartbeat is monitored
    /// from this call on, not from the first poll of the future.
    pub fn accept(
        &self,
        listener: TcpListener,
        kind: ListenerKind,
    ) -> impl Future<Output = ()> + Send + use<> {
        limit_initial_window(&listener);
        let heart = self.state.hearts.register(kind.name(&listener), Instant::now().into());
        let server = self.clone();
        async move { server.accept_all(listener, kind, heart).await }
    }

    async fn accept_all(&self, listener: TcpListener, kind: ListenerKind, heart: Heartbeat) {
        let mut phase = self.state.phase.subscribe();
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
                Ok((stream, client)) => self.admit(stream, client, &kind),
                Err(error) => {
                    log_accept_error(&mut warned, &error);
                    // Without a pause a persistent error would make this a busy loop.
                    sleep(if is_connection_error(&error) { FAILED_PAUSE } else { SHORTAGE_PAUSE }).await;
                }
            }
        }
    }

    /// Checks the limit of the source and starts the task of the connection.
    fn admit(&self, stream: TcpStream, peer: SocketAddr, kind: &ListenerKind) {
        let proxied = kind.accepts_proxy_header() && is_trusted(peer.ip(), &self.state.proxy_protocol);
        // A client behind such a proxy is counted once the header has named it.
        let permit = if proxied { Ok(None) } else { self.state.permit(peer, kind) };
        let Ok(permit) = permit else { return };
        let (server, kind) = (self.clone(), kind.clone());
        // The server's stop waits for this receiver, so a handshake can finish.
        let phase = self.state.phase.subscribe();
        tokio::spawn(async move {
            if let Some(admitted) = server.identify(stream, peer, &kind, permit, proxied).await {
                server.serve(admitted, kind).await;
            }
            drop(phase);
        });
    }

    /// Determines the client of a connection; reads the PROXY header, which is required if `proxied`.
    async fn identify(
        &self,
        mut stream: TcpStream,
        peer: SocketAddr,
        kind: &ListenerKind,
        permit: Option<SourcePermit>,
        proxied: bool,
    ) -> Option<Admitted> {
        // Without this option frames are only later.
        let _ = stream.set_nodelay(true);
        SocketBuffers::SMALL.set(&stream);
        let local = stream.local_addr().ok()?;
        let is_proxy = |address: SocketAddr| is_trusted(address.ip(), &self.state.trusted_proxy);
        let pooled = is_proxy(peer);
        if !proxied {
            return Some(Admitted { stream, client: peer, local, permit, pooled });
        }
        let addresses = match self.with_timeout(HEADER_TIMEOUT, proxy_protocol::read(&mut stream)).await {
            Some(Ok(addresses)) => addresses,
            Some(Err(error)) => {
                debug!(%error, "invalid PROXY header");
                return None;
            }
            None => return None,
        };
        let Some(addresses) = addresses else {
            return Some(Admitted { stream, client: peer, local, permit: None, pooled: true });
        };
        let permit = self.state.permit(addresses.client, kind).ok()?;
        // A stream passed through belongs to one client, which has no reason to keep it idle.
        let pooled = pooled || is_proxy(addresses.client);
        Some(Admitted { stream, client: addresses.client, local: addresses.local, permit, pooled })
    }
}

impl AppState {
    /// Counts a connection of `client`; trusted proxies are not counted.
    fn permit(&self, client: SocketAddr, kind: &ListenerKind) -> Result<Option<SourcePermit>, LimitReached> {
        if is_trusted(client.ip(), &self.trusted_proxy) {
            return Ok(None);
        }
        let permit = self.connections_of(kind).enter(client.ip());
        if permit.is_none() {
            self.metrics.connections_refused.inc();
            debug!("connection refused: its source has reached the limit");
        }
        permit.map(Some).ok_or(LimitReached)
    }

    /// The operator is counted apart: metrics must be reachable while clients use up the limit.
    fn connections_of(&self, kind: &ListenerKind) -> &SourceConnections {
        if matches!(kind, ListenerKind::Metrics(_)) { &self.admin_sources } else { &self.sources }
    }
}

fn log_accept_error(warned: &mut Option<Instant>, error: &io::Error) {
    if is_connection_error(error) {
        return debug!(%error, "a connection ended before it was accepted");
    }
    // Clients can cause a shortage for long, so the warning is rate-limited.
    if warned.is_none_or(|warned| warned.elapsed() >= WARNING_INTERVAL) {
        *warned = Some(Instant::now());
        let hint =
            if is_shortage(error) { "raise the limit of open files" } else { "a sandbox may forbid it" };
        warn!(%error, hint, "cannot accept connections");
    }
}

/// Whether only this connection failed (accept(2)).
fn is_connection_error(error: &io::Error) -> bool {
    let errors = [
        Errno::CONNABORTED,
        Errno::PROTO,
        Errno::NETDOWN,
        Errno::HOSTDOWN,
        Errno::NONET,
        Errno::HOSTUNREACH,
        Errno::NETUNREACH,
        Errno::INTR,
    ];
    Errno::from_io_error(error).is_some_and(|errno| errors.contains(&errno))
}

/// Whether the host is out of resources.
fn is_shortage(error: &io::Error) -> bool {
    let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|errno| shortages.contains(&errno))
}
