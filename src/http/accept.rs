//! Listeners: accepts connections, reads PROXY headers, and limits connections by source.
//!
//! Each connection is admitted and served in a task of its own (`serve.rs`), so none delays another.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tracing::{debug, warn};

use webrtc_box_relay::health::{HEARTBEAT_INTERVAL, Heartbeat};
use webrtc_box_relay::socket::{SocketBuffers, limit_initial_window};

use super::forwarded::is_trusted;
use super::per_source::{SourceConnections, SourcePermit};
use super::serve::{Admitted, HEADER_TIMEOUT, ListenerKind};
use super::{AppState, HttpServer, proxy_protocol, stopping};

/// The pause before the next accept if the host is out of resources.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

/// The pause before the next accept if one connection failed.
const FAILED_PAUSE: Duration = Duration::from_millis(1);

/// The time between two warnings of a shortage.
const WARNING_INTERVAL: Duration = Duration::from_secs(30);

/// The source has reached its limit of connections.
struct LimitReached;

impl HttpServer {
    /// Accepts connections from `listener` and serves them until [`HttpServer::stop`]. Its heartbeat is monitored
    /// from this call on, not from the first poll of the future.
    pub fn accept(
        &self,
        listener: TcpListener,
        kind: ListenerKind,
    ) -> impl Future<Output = ()> + Send + use<> {
        limit_initial_window(&listener);
        let heartbeat = self.state.health_monitor.register(kind.name(&listener), Instant::now().into());
        let server = self.clone();
        async move { server.accept_all(listener, kind, heartbeat).await }
    }

    async fn accept_all(&self, listener: TcpListener, kind: ListenerKind, heartbeat: Heartbeat) {
        let mut phase = self.state.phase.subscribe();
        let mut warned = None;
        let mut beats = interval(HEARTBEAT_INTERVAL);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                now = beats.tick() => {
                    heartbeat.beat(now.into());
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
