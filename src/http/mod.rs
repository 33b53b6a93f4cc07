//! The HTTP server: the page, the signaling WebSocket and the public health check.
//!
//! `accept.rs` admits connections, `serve.rs` serves one, `routes.rs` answers requests, `websocket.rs` and `hub.rs` connect
//! clients with the rooms of `webrtc_box_signaling`. Streams that are not HTTP go to a [`TurnHandler`].

mod accept;
mod connection_test;
mod counters;
mod forwarded;
mod http2;
mod hub;
mod node_names;
mod numbered_frames;
mod page_language;
mod per_source;
mod poll_request;
mod polling;
mod protocol_sniff;
mod proxy_protocol;
mod request_context;
mod routes;
mod send_queue;
mod serve;
mod socket_io;
mod static_files;
mod websocket;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::Router;
use ipnet::IpNet;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use webrtc_box_rate_limit::{Rate, SourceRateLimiter};
use webrtc_box_relay::health::HealthMonitor;
use webrtc_box_relay::random;
use webrtc_box_signaling::{
    HostKeys, IceUrls, OtherOwner, OwnedRoom, ResumeTokenKey, RoomTag, Rooms, RoomsConfig, SeatEvent,
};
use webrtc_box_turn::credential::Secrets;

use self::counters::{CallLog, HttpMetrics};
use self::hub::Hub;
use self::node_names::NodeNames;
use self::per_source::SourceConnections;
use self::polling::PollingSessions;
use self::request_context::{AllowedOrigins, ServedHosts};
use self::socket_io::SocketIo;
use self::static_files::StaticFiles;
use crate::cluster::Cluster;
use crate::config::{ExternalIp, Identity, Settings};
use crate::keys::Keys;
use crate::net::addresses::{HostAddresses, url_host};
use crate::net::interfaces::interfaces;
use crate::principals::SeatCredentials;

pub use self::connection_test::ConnectionTest;
pub use self::per_source::SourcePermit;
pub use self::routes::Health;
pub(crate) use self::routes::health_response;
pub use self::serve::{Duplex, ListenerKind, TurnHandler, TurnStream};
pub use self::static_files::PageError;

/// The configuration of [`HttpServer`]; [`HttpConfig::new`] derives it from the settings.
pub struct HttpConfig {
    /// Secrets of the relay credentials.
    pub secrets: Secrets,
    /// The public host name; `None` in try-out mode.
    pub domain: Option<String>,
    /// The name of this server alone, if it is one of several of the domain.
    pub node_name: Option<String>,
    /// The bound port of HTTPS, the target of redirects.
    pub https_port: Option<u16>,
    /// Further WebSocket origins, as `https://HOST[:PORT]`.
    pub allowed_origin: Vec<String>,
    /// Proxies whose forwarding headers are trusted.
    pub trusted_proxy: Vec<IpNet>,
    /// Proxies whose connections begin with a PROXY header.
    pub proxy_protocol: Vec<IpNet>,
    /// The current addresses of this host; must not block.
    pub own_addresses: Arc<dyn Fn() -> Vec<IpAddr> + Send + Sync>,
    /// The folder of the page; `None` is the built-in page.
    pub public: Option<PathBuf>,
    /// Whether Socket.IO clients are served.
    pub socket_io: bool,
    /// Connections of one source; 0: no limit.
    pub source_connections: u32,
    /// What `/test.json` offers.
    pub connection_test: ConnectionTest,
    /// The configuration of the rooms.
    pub rooms: RoomsConfig,
    /// Whether the log contains room names.
    pub log_rooms: bool,
    /// Receives every seat event before the participant's reply. Called with the rooms locked: it must neither
    /// block nor call back.
    pub on_seat_event: Arc<dyn Fn(SeatEvent) + Send + Sync>,
    /// The health for the public `/healthz`; must not block.
    pub health: Arc<dyn Fn() -> Health + Send + Sync>,
    /// Monitors the heartbeats of the listeners and of the rooms' timer.
    pub health_monitor: HealthMonitor,
    /// Knows which of several servers owns a room; `None`: there is only this one.
    pub cluster: Option<Arc<Cluster>>,
}

/// The HTTP server. Cheap to clone: all clones share their state.
#[derive(Clone)]
pub struct HttpServer {
    state: Arc<AppState>,
}

/// The state that all connections share.
struct AppState {
    router: Router,
    hub: Arc<Hub>,
    sources: SourceConnections,
    /// Connections to the metrics listeners.
    admin_sources: SourceConnections,
    handshakes: SourceRateLimiter,
    metrics: HttpMetrics,
    connection_test: Arc<ArcSwap<ConnectionTest>>,
    trusted_proxy: Vec<IpNet>,
    proxy_protocol: Vec<IpNet>,
    phase: watch::Sender<Phase>,
    health_monitor: HealthMonitor,
}

/// The phase of the server's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    Stopping,
}

impl HttpConfig {
    /// The configuration for `settings`, with the `ice_urls` of the bound listeners. Until they are set, seat events are
    /// dropped and the health is up.
    pub fn new(settings: &Settings, keys: Keys, ice_urls: IceUrls) -> Self {
        let rooms = RoomsConfig {
            tag_key: keys.tag_key,
            resume_key: keys.resume_key,
            credential_issuer: Arc::new(SeatCredentials(keys.secrets.clone())),
            ice_urls,
            credential_ttl: settings.credential_ttl,
            room_grace: settings.room_grace,
            host_keys: HostKeys::new(&settings.host_key),
            seeds: random::seeds(),
        };
        let domain = match &settings.identity {
            Identity::TryOut => None,
            Identity::Domain { name, .. } => Some(url_host(name)),
        };
        Self {
            secrets: keys.secrets,
            domain,
            node_name: settings.cluster.as_ref().and(settings.node_name.as_ref()).map(ToString::to_string),
            https_port: settings.https_port,
            allowed_origin: settings.allowed_origin.clone(),
            trusted_proxy: settings.trusted_proxy.clone(),
            proxy_protocol: settings.proxy_protocol.clone(),
            own_addresses: own_addresses(settings.external_ip.clone()),
            public: settings.public.clone(),
            socket_io: settings.socket_io,
            source_connections: settings.source_connections,
            connection_test: ConnectionTest::of(settings),
            rooms,
            log_rooms: settings.log_addresses,
            on_seat_event: Arc::new(|_| {}),
            health: Arc::new(|| Health::Up),
            health_monitor: HealthMonitor::new(Instant::now()),
            cluster: None,
        }
    }

    fn served_hosts(&self) -> ServedHosts {
        ServedHosts::new(self.domain.as_deref(), self.node_name.as_deref(), &self.allowed_origin)
    }
}

impl HttpServer {
    /// Creates the server, which serves the listeners that [`HttpServer::accept`] receives. Must be called inside a
    /// tokio runtime.
    ///
    /// # Errors
    /// [`PageError`] if the folder of the `public` setting cannot be served.
    pub fn new(config: HttpConfig) -> Result<Self, PageError> {
        let files = match &config.public {
            Some(folder) => StaticFiles::from_folder(folder)?,
            None => StaticFiles::built_in(),
        };
        let (now, hosts) = (Instant::now(), config.served_hosts());
        let metrics = HttpMetrics::default();
        let hub = Hub::start(
            Rooms::new(config.rooms, now),
            config.secrets,
            config.on_seat_event,
            CallLog::new(metrics.clone(), config.log_rooms, now),
            config.health_monitor.register("rooms", now),
            config.cluster,
        );
        let limiter = |rate| SourceRateLimiter::new(rate, random::seeds(), now).with_wide_prefixes();
        let [sources, admin_sources] = [(); 2].map(|()| SourceConnections::new(config.source_connections));
        let (phase, _) = watch::channel(Phase::Running);
        let domain = config.domain.clone().map(|name| (name, config.https_port));
        let connection_test = Arc::new(ArcSwap::from_pointee(config.connection_test));
        let names = config.domain.as_deref().zip(config.node_name.as_deref());
        let names = names.and_then(|(domain, node)| routes::node_names(domain, node, config.https_port));
        let router = routes::routes(routes::RouteState {
            files,
            hub: Arc::clone(&hub),
            polling: PollingSessions::start(
                Arc::clone(&hub),
                sources.clone(),
                phase.clone(),
                names.as_ref().map(NodeNames::node_authority),
            ),
            socket_io: config.socket_io.then(|| Arc::new(SocketIo::default())),
            sources: sources.clone(),
            hosts,
            names,
            own_addresses: config.own_addresses,
            origins: AllowedOrigins::new(domain, config.allowed_origin),
            has_hsts: config.domain.as_deref().is_some_and(|domain| !request_context::is_address(domain)),
            domain: config.domain,
            https_port: config.https_port,
            trusted_proxy: config.trusted_proxy.clone(),
            health: config.health,
            connection_test: Arc::clone(&connection_test),
            test_limiter: limiter(routes::TEST_RATE),
            metrics: metrics.clone(),
            phase: phase.clone(),
        });
        let state = AppState {
            router,
            hub,
            sources,
            admin_sources,
            handshakes: limiter(handshake_rate(config.source_connections)),
            metrics,
            connection_test,
            trusted_proxy: config.trusted_proxy,
            proxy_protocol: config.proxy_protocol,
            phase,
            health_monitor: config.health_monitor,
        };
        Ok(Self { state: Arc::new(state) })
    }

    /// New participants are refused. Notifies all clients that the server will stop, unless others take its rooms over. Calls
    /// continue.
    pub fn drain(&self) {
        self.state.hub.drain();
    }

    /// Stops: logs the remaining calls, stops the listeners, finishes requests in progress and closes WebSockets with
    /// 1001. Returns when all connections are closed, or after `limit`.
    pub async fn stop(&self, limit: Duration) {
        self.state.hub.end_calls();
        self.state.phase.send_replace(Phase::Stopping);
        // Every connection holds a receiver. The end of the process closes the remaining ones.
        let _ = tokio::time::timeout(limit, self.state.phase.closed()).await;
    }

    /// Replaces the secrets of relay credentials; participants get new credentials at once.
    pub fn set_secrets(&self, secrets: Secrets) {
        self.state.hub.set_secrets(secrets);
    }

    /// Replaces the STUN and TURN listeners that participants and the connection test receive.
    pub fn set_ice_urls(&self, ice_urls: IceUrls, connection_test: ConnectionTest) {
        self.state.hub.set_ice_urls(ice_urls);
        self.state.connection_test.store(Arc::new(connection_test));
    }

    /// Replaces the addresses that the connection test tries.
    pub fn set_test_addresses(&self, addresses: Vec<IpAddr>) {
        let with_addresses = |test: &Arc<ConnectionTest>| ConnectionTest {
            addresses: addresses.clone(),
            ..ConnectionTest::clone(test)
        };
        self.state.connection_test.rcu(with_addresses);
    }

    /// Replaces the keys that open an empty room.
    pub fn set_host_keys(&self, host_keys: HostKeys) {
        self.state.hub.set_host_keys(host_keys);
    }

    /// Replaces the key of resume tokens; clients keep the tokens that they have.
    pub fn set_resume_key(&self, key: ResumeTokenKey) {
        self.state.hub.set_resume_key(key);
    }

    /// Registers the counters of rooms, calls and connections.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.state.metrics.register(registry);
    }

    /// Rooms with at least one seat taken, and seats taken.
    pub fn count(&self) -> (usize, usize) {
        self.state.hub.count()
    }

    /// Seats whose participants are connected.
    pub fn connected_seats(&self) -> usize {
        self.state.hub.connected_seats()
    }

    /// Replaces the servers of the cluster that participants learn, by host and port, this one first.
    pub(crate) fn set_nodes(&self, nodes: Vec<String>) {
        self.state.hub.set_nodes(nodes);
    }

    /// The rooms that this server owns, if it is one of several.
    pub(crate) fn owned_rooms(&self) -> Vec<OwnedRoom> {
        self.state.hub.owned_rooms()
    }

    /// `owner` owns `room`: sends everybody there, and returns their number.
    pub(crate) fn redirect_room(&self, room: RoomTag, owner: OtherOwner) -> usize {
        self.state.hub.redirect_room(room, owner)
    }

    /// Open sessions, by the label of their transport.
    pub fn sessions(&self) -> [(&'static str, usize); 3] {
        self.state.hub.sessions().map(|(transport, count)| (transport.label(), count))
    }
}

/// Reads the interfaces on each call, because their addresses may change.
fn own_addresses(external: Vec<ExternalIp>) -> Arc<dyn Fn() -> Vec<IpAddr> + Send + Sync> {
    Arc::new(move || {
        HostAddresses { external: external.clone(), interfaces: interfaces(), domain: Vec::new() }.own()
    })
}

/// The TLS handshakes of a source that may have `connections`: 51 at once and ten a second by default, in
/// proportion to a higher limit.
fn handshake_rate(connections: u32) -> Rate {
    match connections {
        0 => Rate::UNLIMITED,
        connections => Rate {
            interval: Duration::from_secs(25) / connections.max(250),
            burst: (connections / 5).max(50),
        },
    }
}

/// Resolves once the server stops.
async fn stopping(phase: &mut watch::Receiver<Phase>) {
    // An error means that the server was dropped.
    let _ = phase.wait_for(|phase| *phase == Phase::Stopping).await;
}

impl fmt::Debug for HttpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpServer").field("hub", &self.state.hub).finish_non_exhaustive()
    }
}
