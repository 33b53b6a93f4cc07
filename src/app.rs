//! Starts all parts of the server from its settings, connects the subsystems, and stops them in order.

mod addresses;
mod drain;
mod listeners;
mod reload;
mod start_error;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::cluster::Cluster;
use crate::config::{RelayScope, Settings};
use crate::http::{Health, HttpConfig, HttpServer, ListenerKind, TurnHandler, TurnStream};
use crate::keys::Keys;
use crate::memory;
use crate::metrics::{self, MetricsSources};
use crate::net::interfaces::{lan_addresses, sockets};
use crate::principals::principal_event;
use crate::signals::{SignalRequest, Signals};
use crate::state_dir::StateDir;
use crate::systemd::notify::{Notification, Notifier};
use crate::systemd::socket_activation::ActivatedSockets;
use crate::tls::{self, ActiveCertificate, PendingWrites};
use webrtc_box_relay::health::HealthMonitor;
use webrtc_box_relay::{BindError, Relay, RelayConfig};
use webrtc_box_signaling::SEATS_PER_ROOM;
use webrtc_box_turn::addr::Transport;
use webrtc_box_turn::credential::Secrets;
use webrtc_box_turn::peer_policy::{PeerFilter, PeerPolicy};
use webrtc_box_turn::registry::Quota;

use addresses::{AddressMonitor, connection_test};
use listeners::{Listeners, local_addresses};
use reload::RunningSettings;
pub use start_error::StartError;

/// A server that runs until it is dropped or receives a signal to stop.
#[derive(Debug)]
pub struct Running {
    /// Bound addresses of HTTPS.
    pub https: Vec<SocketAddr>,
    /// Bound addresses of plain HTTP.
    pub http: Vec<SocketAddr>,
    /// Bound addresses of STUN and TURN over UDP and TCP.
    pub turn: Vec<SocketAddr>,
    /// Bound addresses of TURN over TLS, besides those of HTTPS.
    pub turns: Vec<SocketAddr>,
    /// Bound addresses of `/metrics` and the detailed `/healthz`.
    pub metrics: Vec<SocketAddr>,
    /// The certificate of all listeners.
    pub certificate: Arc<ActiveCertificate>,
    pending_writes: PendingWrites,
    /// Dropped before the components it monitors, which would otherwise be reported as dead.
    notifier: Notifier,
    http_server: HttpServer,
    /// Dropping the last reference stops the workers.
    relay: Option<Arc<Relay>>,
    tasks: Vec<JoinHandle<()>>,
    /// `None` if this is the only server.
    cluster: Option<Arc<Cluster>>,
    signals: Signals,
    settings: RunningSettings,
}

/// How long requests and WebSockets may take to close at the end.
const CLOSE_LIMIT: Duration = Duration::from_secs(6);

/// The same after a second signal.
const QUICK_CLOSE_LIMIT: Duration = Duration::from_millis(300);

/// How long the store may take to note that this server is gone.
const RELEASE_LIMIT: Duration = Duration::from_secs(1);

/// Opens the state directory, the certificate and the listeners, and starts both subsystems.
///
/// # Errors
/// The first thing that cannot be opened, with the setting and a hint.
pub async fn start(settings: Settings) -> Result<Running, StartError> {
    start_on(settings, ActivatedSockets::default()).await
}

/// [`start()`] on sockets that are already open; the missing ones are opened.
///
/// # Errors
/// As [`start()`], or a socket matches no setting.
pub async fn start_on(settings: Settings, activated: ActivatedSockets) -> Result<Running, StartError> {
    let stored = StateDir::open(&settings.state_dir)?.load_or_create_keys()?;
    let keys = Keys::new(&settings, &stored);
    let (certificate, mut renewal) = tls::open(&settings, &lan_addresses())?;
    let running_settings = RunningSettings::new(settings.clone(), keys.clone());
    let open = Listeners::open(&settings, activated)?;
    let health_monitor = HealthMonitor::new(Instant::now());
    let relay = start_relay(&settings, &keys.secrets, &open, &health_monitor).await?.map(Arc::new);
    let settings = with_bound_ports(settings, &open, relay.as_deref())?;
    let (cluster, cluster_tasks) = Cluster::new(&settings).await.unzip();
    if let Some(cluster) = &cluster {
        renewal.join_cluster(cluster.handle());
    }
    let shared = cluster.clone();
    let http_server = start_http(&settings, keys, relay.as_ref(), &health_monitor, &certificate, shared)?;
    let signals = Signals::new().map_err(|source| StartError::System { action: "catch signals", source })?;
    let notifier = Notifier::start(health_monitor.clone(), status(http_server.clone(), relay.as_ref()))
        .map_err(|source| StartError::System { action: "start threads", source })?;
    let mut running = Running {
        https: local_addresses(&open.https)?,
        http: local_addresses(&open.http)?,
        turn: relay.as_ref().map_or_else(Vec::new, |relay| relay.addresses().to_vec()),
        turns: local_addresses(&open.turns)?,
        metrics: local_addresses(&open.metrics)?,
        certificate,
        pending_writes: renewal.pending_writes(),
        notifier,
        http_server,
        relay,
        tasks: Vec::new(),
        cluster,
        signals,
        settings: running_settings,
    };
    running.accept_connections(open, health_monitor);
    running.tasks.push(tokio::spawn(renewal.run()));
    if running.certificate.status().is_temporary {
        running.tasks.push(announce_tls_once_trusted(&running, &settings));
    }
    let addresses = AddressMonitor::new(&settings, running.relay.as_ref(), &running.http_server);
    running.tasks.push(tokio::spawn(addresses.run()));
    if let (Some(cluster), Some(tasks)) = (&running.cluster, cluster_tasks) {
        running.tasks.extend(tasks.spawn(cluster, &running.http_server, running.relay.as_ref()));
    }
    let count = object_count(running.http_server.clone(), running.relay.as_ref());
    running.tasks.push(tokio::spawn(memory::release_when_unused(count)));
    info!(https = ?running.https, turn = ?running.turn, "listening");
    running.notifier.notify(Notification::Ready);
    Ok(running)
}

/// The settings with the bound ports instead of port 0.
fn with_bound_ports(
    mut settings: Settings,
    open: &Listeners,
    relay: Option<&Relay>,
) -> Result<Settings, StartError> {
    let first = |addresses: &[SocketAddr]| addresses.first().map(SocketAddr::port);
    settings.https_port = first(&local_addresses(&open.https)?);
    settings.turns_port = first(&local_addresses(&open.turns)?);
    settings.turn_port = relay.and_then(|relay| first(relay.addresses()));
    Ok(settings)
}

impl Running {
    fn accept_connections(&mut self, open: Listeners, health_monitor: HealthMonitor) {
        let relay = self.relay.as_ref();
        let cluster = self.cluster.clone();
        let sources =
            MetricsSources::new(&self.http_server, relay, health_monitor, &self.certificate, cluster);
        self.accept_all(open.metrics, &ListenerKind::Metrics(metrics::routes(sources)));
        let tls = Arc::clone(&self.certificate);
        let handler = self.relay.as_deref().map(turn_handler);
        let https = ListenerKind::Https(tls.clone(), handler.clone());
        self.accept_all(open.https, &https);
        self.accept_all(open.http, &ListenerKind::Http);
        if let Some(handler) = handler {
            self.accept_all(open.turn, &ListenerKind::Turn(None, handler.clone()));
            self.accept_all(open.turns, &ListenerKind::Turn(Some(tls), handler));
        }
    }

    fn accept_all(&mut self, listeners: Vec<TcpListener>, kind: &ListenerKind) {
        let accept = |listener| tokio::spawn(self.http_server.accept(listener, kind.clone()));
        self.tasks.extend(listeners.into_iter().map(accept));
    }

    /// From now on SIGHUP stops the server: it runs in a terminal, and nothing could be reloaded.
    pub fn stop_on_hangup(&mut self) {
        self.signals.end_on_hangup();
    }

    /// Runs until the first signal to stop, lets calls end for `drain-timeout` at most or until a second signal, then
    /// closes everything. `read_settings` reads the settings again at each reload.
    pub async fn run_until_stopped<E, R>(mut self, read_settings: R)
    where
        E: fmt::Display,
        R: Fn() -> Result<Settings, E> + Clone + Send + 'static,
    {
        let request = loop {
            match self.signals.next().await {
                SignalRequest::Reload => self.reload(read_settings.clone()).await,
                request @ (SignalRequest::Drain | SignalRequest::End) => break request,
            }
        };
        let (rooms, seats) = self.http_server.count();
        info!(rooms, seats, "stopping; calls may end");
        self.notifier.notify(Notification::Stopping);
        self.http_server.drain();
        self.relay.iter().for_each(|relay| relay.drain());
        let drain_timeout = self.settings.drain_timeout();
        let drained =
            drain::finished(&self.http_server, self.relay.as_deref(), self.cluster.as_deref(), drain_timeout);
        let limit = tokio::select! {
            biased;
            () = std::future::ready(()), if request == SignalRequest::End => QUICK_CLOSE_LIMIT,
            // Calls that last longer are cut off.
            _ = timeout(drain_timeout, drained) => CLOSE_LIMIT,
            () = end_requested(&mut self.signals) => QUICK_CLOSE_LIMIT,
        };
        self.notifier.notify(Notification::Ending);
        if let Some(cluster) = &self.cluster {
            // Before clients are disconnected, who then return to another server. A store that does not answer delays little: the
            // lease ends by itself.
            let _ = timeout(RELEASE_LIMIT, cluster.shutdown()).await;
        }
        self.http_server.stop(limit).await;
        self.pending_writes.save().await;
    }

    /// Reads the certificate and the settings again.
    async fn reload<E, R>(&mut self, read_settings: R)
    where
        E: fmt::Display,
        R: Fn() -> Result<Settings, E> + Send + 'static,
    {
        self.notifier.notify(Notification::Reloading);
        // Independent of the settings: it logs its result itself.
        self.certificate.check_now();
        self.settings.reload(read_settings, &self.http_server, self.relay.as_deref()).await;
        self.notifier.notify(Notification::Ready);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Resolves with a second signal to stop; a stopping server ignores reloads.
async fn end_requested(signals: &mut Signals) {
    while signals.next().await != SignalRequest::End {}
}

/// Starts the relay, unless turn-port is off.
async fn start_relay(
    settings: &Settings,
    secrets: &Secrets,
    open: &Listeners,
    health_monitor: &HealthMonitor,
) -> Result<Option<Relay>, StartError> {
    let Some(port) = settings.turn_port else { return Ok(None) };
    let host = addresses::at_start(settings).await;
    let addresses = host.relay_addresses(settings.relay_scope)?;
    addresses::check_bind(settings, &host, &addresses)?;
    let peer_policy = match settings.relay_scope {
        RelayScope::Room => PeerPolicy::SameGroup,
        RelayScope::Public => PeerPolicy::Public(PeerFilter {
            allowed: settings.allowed_peer_ip.clone(),
            denied: settings.denied_peer_ip.clone(),
            own: host.own(),
            listeners: Vec::new(),
        }),
    };
    let config = RelayConfig {
        listen: sockets(&settings.listen, port),
        workers: std::thread::available_parallelism().map_or(1, usize::from),
        peer_policy,
        relayed: addresses.relayed,
        bind: addresses.bind,
        ports: settings.min_port..=settings.max_port,
        listeners: open.ports(),
        secrets: secrets.clone(),
        realm: settings.realm.clone(),
        credential_ttl: settings.credential_ttl,
        group_size: SEATS_PER_ROOM,
        quota: Quota { user: settings.user_quota, total: settings.total_quota },
        max_bps: settings.max_bps,
        bps_capacity: settings.bps_capacity,
        unauth_reply_rate: settings.unauth_reply_rate,
        log_addresses: settings.log_addresses,
        health: health_monitor.clone(),
    };
    let relay = Relay::start(config).map_err(|BindError { address, what, source }| match what {
        None => StartError::Bind { setting: "turn-port", address, source },
        Some(action) => StartError::System { action, source },
    })?;
    if !relay.missing.is_empty() {
        let options = relay.missing.join(", ");
        info!(options, "the kernel or a sandbox lacks socket options; the relay works without them");
    }
    if let Some(granted) = relay.granted_buffer {
        warn!(
            granted,
            "the kernel grants small socket buffers; raise net.core.rmem_max and wmem_max to 4194304"
        );
    }
    Ok(Some(relay))
}

fn start_http(
    settings: &Settings,
    keys: Keys,
    relay: Option<&Arc<Relay>>,
    health_monitor: &HealthMonitor,
    certificate: &ActiveCertificate,
    cluster: Option<Arc<Cluster>>,
) -> Result<HttpServer, StartError> {
    let mut config = HttpConfig::new(settings, keys, settings.ice_urls());
    config.connection_test = connection_test(settings);
    if certificate.status().is_temporary {
        config.rooms.ice_urls = config.rooms.ice_urls.without_tls();
        config.connection_test = config.connection_test.without_tls();
    }
    config.health_monitor = health_monitor.clone();
    config.cluster = cluster;
    config.health = health(health_monitor.clone(), relay);
    if let Some(relay) = relay {
        let feed = relay.principal_feed();
        config.on_seat_event = Arc::new(move |event| feed.send(principal_event(event)));
    }
    Ok(HttpServer::new(config)?)
}

/// The health that any client may see.
fn health(
    health_monitor: HealthMonitor,
    relay: Option<&Arc<Relay>>,
) -> Arc<dyn Fn() -> Health + Send + Sync> {
    let relay = relay.map(Arc::downgrade);
    Arc::new(move || {
        let relay = relay.as_ref().and_then(Weak::upgrade);
        let why = if health_monitor.unresponsive().is_some() {
            "a relay worker, a listener or the timer of the rooms does not respond"
        } else if relay.is_some_and(|relay| relay.is_down()) {
            "the relay receives no packets, or can bind no relay sockets"
        } else {
            return Health::Up;
        };
        Health::Down { why: why.to_owned() }
    })
}

/// Adds TURN over TLS to the ICE servers once browsers trust the certificate.
fn announce_tls_once_trusted(running: &Running, settings: &Settings) -> JoinHandle<()> {
    let (http_server, certificate) = (running.http_server.clone(), Arc::clone(&running.certificate));
    let settings = settings.clone();
    tokio::spawn(async move {
        certificate.until_issued().await;
        http_server.set_ice_urls(settings.ice_urls(), connection_test(&settings));
    })
}

/// The status line of `systemctl status`.
fn status(http_server: HttpServer, relay: Option<&Arc<Relay>>) -> impl Fn() -> String + Send + 'static {
    let relay = relay.map(Arc::downgrade);
    move || {
        let (rooms, seats) = http_server.count();
        let relay = relay.as_ref().and_then(Weak::upgrade);
        let allocations = relay.map_or(0, |relay| relay.allocations());
        format!("rooms: {rooms}, seats: {seats}, allocations: {allocations}")
    }
}

/// Sessions and allocations, which come in thousands.
fn object_count(http_server: HttpServer, relay: Option<&Arc<Relay>>) -> impl Fn() -> usize + Send + 'static {
    let relay = relay.map(Arc::downgrade);
    move || {
        let sessions: usize = http_server.sessions().iter().map(|(_, count)| count).sum();
        let allocations = relay.as_ref().and_then(Weak::upgrade).map_or(0, |relay| relay.allocations());
        sessions + allocations as usize
    }
}

/// Passes the streams that are not HTTP on to the relay.
fn turn_handler(relay: &Relay) -> TurnHandler {
    let stream_server = relay.stream_server();
    Arc::new(move |stream: TurnStream| {
        let stream_server = stream_server.clone();
        tokio::spawn(async move {
            let transport = if stream.tls { Transport::Tls } else { Transport::Tcp };
            let addresses = (stream.client, stream.local);
            stream_server.serve(stream.stream, transport, addresses, stream.permit.is_some()).await;
            drop(stream.permit);
        });
    })
}

#[cfg(test)]
mod tests;
