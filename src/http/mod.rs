//! The web server: the page, the WebSocket of signaling, and nothing that knows about media.
//!
//! Each connection is served from a stream that has been accepted already, so whoever accepts may
//! first look what is spoken on it.

mod accept;
mod admin;
mod admission;
mod call_log;
mod connection_test;
mod forwarded;
mod graceful_io;
mod health;
mod hub;
mod metrics;
mod origin;
mod per_source;
mod protocol_sniff;
mod proxy_protocol;
mod request_context;
mod routes;
mod send_queue;
mod stale_worker;
mod static_files;
mod upgrade;
mod websocket;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::Router;
use ipnet::IpNet;
use tokio::sync::watch;

use crate::config::{ExternalIp, Identity, Settings};
use crate::net::addresses::Known;
use crate::net::interfaces::interfaces;
use crate::principals::SeatCredentials;
use webrtc_box_rate_limit::{Rate, SourceRateLimiter};
use webrtc_box_relay::health::HealthMonitor;
use webrtc_box_relay::random;
use webrtc_box_signaling::{HostKeys, IceUrls, ResumeTokenKey, Rooms, RoomsConfig};
use webrtc_box_signaling::{SeatEvent, TagKey};
use webrtc_box_turn::credential::Secrets;

use call_log::Ledger;
use hub::Hub;
use metrics::Tally;
use origin::ServedHosts;
use request_context::Origins;
use static_files::Page;

pub use accept::{Caller, Duplex, Entrance, Guest, Neighbour};
pub use admin::{Overview, Turner, Watched, inside};
pub use connection_test::Probing;
pub use health::Health;
pub use metrics::{Figures, Handshake, SETUP_BOUNDS, Setups};
pub use per_source::{SourcePermit, Sources};
pub use request_context::Door;
pub use static_files::PageError;

/// Everything the web server is made from; see [`Setup::new`] for what follows from the settings.
pub struct Setup {
    /// Mint relay credentials.
    pub secrets: Secrets,
    /// The public name; `None` in try-out mode.
    pub domain: Option<String>,
    /// The port HTTPS really listens on; redirects lead there.
    pub https_port: Option<u16>,
    /// WebSocket origins besides our own, as `https://HOST[:PORT]`.
    pub allowed_origin: Vec<String>,
    /// Proxies that are believed.
    pub trusted_proxy: Vec<IpNet>,
    /// Proxies whose connections begin with a PROXY header.
    pub proxy_protocol: Vec<IpNet>,
    /// The addresses of this host, as they are now; must not wait.
    pub own_addresses: Arc<dyn Fn() -> Vec<IpAddr> + Send + Sync>,
    /// The page's folder; `None` is the built-in page.
    pub public: Option<PathBuf>,
    /// Connections of one source; 0: no limit.
    pub source_connections: u32,
    /// What the connection test tries.
    pub probing: Probing,
    /// What rooms are set to, with the keys that are kept.
    pub rules: RoomsConfig,
    /// Names of rooms may stand in the log.
    pub log_rooms: bool,
    /// Told of every seat, in order, before its holder is. It is called with the rooms locked: it
    /// must neither wait nor call back.
    pub seat_news: Arc<dyn Fn(SeatEvent) + Send + Sync>,
    /// Asked by `/healthz`; must not wait.
    pub health: Arc<dyn Fn() -> Health + Send + Sync>,
    /// Where the heart of each accept loop is looked after.
    pub hearts: HealthMonitor,
}

/// The keys and secrets a box keeps between starts, as far as the web server needs them.
pub struct Keys {
    /// Mint relay credentials.
    pub secrets: Secrets,
    /// Turns names of rooms into tags.
    pub tag_key: TagKey,
    /// Signs resume tokens.
    pub token_key: [u8; 32],
}

/// The web server of a box. Cheap to clone: all clones are one.
#[derive(Clone)]
pub struct Web {
    house: Arc<House>,
}

/// What all connections share.
struct House {
    router: Router,
    hub: Arc<Hub>,
    sources: Sources,
    watchers: Sources,
    handshakes: SourceRateLimiter,
    tally: Arc<Tally>,
    probing: Arc<ArcSwap<Probing>>,
    trusted_proxy: Vec<IpNet>,
    proxy_protocol: Vec<IpNet>,
    phase: watch::Sender<Phase>,
    hearts: HealthMonitor,
}

/// How far the server is on its way to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    Stopping,
}

impl Setup {
    /// What follows from `settings`; `ice_urls` from the listeners that really run. `seat_news` goes
    /// nowhere and `health` is up until they are set.
    pub fn new(settings: &Settings, keys: Keys, ice_urls: IceUrls) -> Self {
        let rules = RoomsConfig {
            tag_key: keys.tag_key,
            resume_key: ResumeTokenKey::new(keys.token_key),
            credential_issuer: Arc::new(SeatCredentials(keys.secrets.clone())),
            ice_urls,
            credential_ttl: settings.credential_ttl,
            room_grace: settings.room_grace,
            host_keys: HostKeys::new(&settings.host_key),
            seeds: random::seeds(),
        };
        let domain = match &settings.identity {
            Identity::TryOut => None,
            Identity::Domain { name, .. } => Some(name.clone()),
        };
        Self {
            secrets: keys.secrets,
            domain,
            https_port: settings.https_port,
            allowed_origin: settings.allowed_origin.clone(),
            trusted_proxy: settings.trusted_proxy.clone(),
            proxy_protocol: settings.proxy_protocol.clone(),
            own_addresses: own_addresses(settings.external_ip.clone()),
            public: settings.public.clone(),
            source_connections: settings.source_connections,
            probing: Probing::of(settings),
            rules,
            log_rooms: settings.log_addresses,
            seat_news: Arc::new(|_| {}),
            health: Arc::new(|| Health::Up),
            hearts: HealthMonitor::new(Instant::now()),
        }
    }
}

impl Web {
    /// Makes the server ready; it serves what [`Web::accept`] or [`Web::serve_connection`] bring.
    /// Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`PageError`] where the folder of the `public` setting cannot be served.
    pub fn new(setup: Setup) -> Result<Self, PageError> {
        let page = match &setup.public {
            Some(folder) => Page::folder(folder)?,
            None => Page::built_in(),
        };
        let tally = Arc::new(Tally::default());
        let ledger = Ledger::new(Arc::clone(&tally), setup.log_rooms, Instant::now());
        let heart = setup.hearts.register("rooms", Instant::now());
        let hub = Hub::start(
            Rooms::new(setup.rules, Instant::now()),
            setup.secrets,
            setup.seat_news,
            ledger,
            heart,
        );
        let handshakes =
            SourceRateLimiter::new(handshake_rate(setup.source_connections), random::seeds(), Instant::now())
                .with_wide_prefixes();
        let [sources, watchers] = [(); 2].map(|()| Sources::new(setup.source_connections));
        let (phase, _) = watch::channel(Phase::Running);
        let domain = setup.domain.clone().map(|name| (name, setup.https_port));
        let probing = Arc::new(ArcSwap::from_pointee(setup.probing));
        let router = routes::routes(routes::Desk {
            page,
            hub: Arc::clone(&hub),
            sources: sources.clone(),
            hosts: ServedHosts::new(setup.domain.as_deref(), &setup.allowed_origin),
            own_addresses: setup.own_addresses,
            origins: Origins::new(domain, setup.allowed_origin),
            domain: setup.domain,
            https_port: setup.https_port,
            trusted_proxy: setup.trusted_proxy.clone(),
            health: setup.health,
            probing: Arc::clone(&probing),
            test_limit: SourceRateLimiter::new(routes::TEST_RATE, random::seeds(), Instant::now())
                .with_wide_prefixes(),
            phase: phase.clone(),
        });
        let house = House {
            router,
            hub,
            sources,
            watchers,
            handshakes,
            tally,
            probing,
            trusted_proxy: setup.trusted_proxy,
            proxy_protocol: setup.proxy_protocol,
            phase,
            hearts: setup.hearts,
        };
        Ok(Self { house: Arc::new(house) })
    }

    /// Tells everybody that the box is about to stop. Calls go on; nobody new is seated.
    pub fn drain(&self) {
        self.house.hub.drain();
    }

    /// Ends: calls that are left are told of, accept loops stop, requests under way are answered,
    /// WebSockets are closed with 1001.
    /// Returns when all is closed, or when `patience` is over.
    pub async fn stop(&self, patience: Duration) {
        self.house.hub.end_calls();
        self.house.phase.send_replace(Phase::Stopping);
        // All who serve hold a receiver. Whoever is left then is cut off with the process.
        let _ = tokio::time::timeout(patience, self.house.phase.closed()).await;
    }

    /// Other secrets mint relay credentials from now on, and whoever is seated gets new ones.
    pub fn take_secrets(&self, secrets: Secrets) {
        self.house.hub.take_secrets(secrets);
    }

    /// Other listeners are told of from now on: to whoever is seated, who joins, and who tests.
    pub fn take_urls(&self, ice_urls: IceUrls, probing: Probing) {
        self.house.hub.take_ice_urls(ice_urls);
        self.house.probing.store(Arc::new(probing));
    }

    /// The box is reached by other addresses from now on.
    pub fn take_probed_addresses(&self, addresses: Vec<IpAddr>) {
        self.house.probing.rcu(|probing| Probing { addresses: addresses.clone(), ..Probing::clone(probing) });
    }

    /// Other keys open an empty room from now on.
    pub fn take_host_keys(&self, host_keys: HostKeys) {
        self.house.hub.take_host_keys(host_keys);
    }

    /// What it has done so far, and who is here now.
    pub fn figures(&self) -> Figures {
        let (rooms, seats) = self.count();
        Figures { rooms, seats, sockets: self.house.hub.sockets(), ..self.house.tally.figures() }
    }

    /// Rooms somebody sits in, and seats taken.
    pub fn count(&self) -> (usize, usize) {
        self.house.hub.count()
    }
}

/// Those of the interfaces may come and go while the box runs.
fn own_addresses(external: Vec<ExternalIp>) -> Arc<dyn Fn() -> Vec<IpAddr> + Send + Sync> {
    Arc::new(move || Known { external: external.clone(), interfaces: interfaces(), domain: Vec::new() }.own())
}

/// TLS handshakes of one source that may have `connections`: 51 at once and ten a second by default, and
/// more where an operator lets one address have more connections.
fn handshake_rate(connections: u32) -> Rate {
    match connections {
        0 => Rate::UNLIMITED,
        connections => Rate {
            interval: Duration::from_secs(25) / connections.max(250),
            burst: (connections / 5).max(50),
        },
    }
}

/// Resolves once the server is stopping.
async fn stopping(phase: &mut watch::Receiver<Phase>) {
    // An error means that the server itself is gone.
    let _ = phase.wait_for(|phase| *phase == Phase::Stopping).await;
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Web").field("hub", &self.house.hub).finish_non_exhaustive()
    }
}
