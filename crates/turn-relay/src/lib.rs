//! Linux IO for the TURN server of [`webrtc_box_turn`]: one worker thread per core, UDP with GRO and GSO, TCP and TLS
//! streams.
//!
//! ```text
//!  any thread                               worker threads relay-0, relay-1, … (one epoll each)
//! ┌───────────────────────────┐            ┌───────────────────────────────────────────────────┐
//! │ Relay                     │   inbox    │ Worker                                            │
//! │   set_secrets, drain, …   │ ─────────▶ │   UDP sockets of the TURN port (SO_REUSEPORT) ◀─────▶ clients
//! │ PrincipalFeed             │ ─────────▶ │     in:  recvmmsg, UDP_GRO                        │
//! └───────────────────────────┘            │     out: sendmsg, UDP_SEGMENT                     │
//!                                          │   webrtc_box_turn::Server                         │
//!  tokio runtime                           │   relay sockets, in public scope ◀──────────────────▶ peers
//! ┌───────────────────────────┐  messages  │                                                   │
//! │ StreamServer::serve       │ ─────────▶ │   the workers share a RoutingTable (who has which │
//! │   one task per stream     │ ◀───────── │   relayed port) and the limits in it              │
//! └─────────────▲─────────────┘   frames   └─────────────────────────┬─────────────────────────┘
//!               │                                                    │ every HEARTBEAT_INTERVAL
//!               ▼                                                    ▼
//!  clients by TCP and TLS                   Relay::stats, Relay::faults, HealthMonitor::reports
//! ```
//!
//! * [`Relay::start`] binds the UDP sockets and starts the workers; dropping the [`Relay`] stops them. The caller accepts
//!   TCP and TLS connections and passes them to [`StreamServer::serve`].
//! * A worker waits once, receives one batch and sends one batch. The packet path has no lock, no allocation and no copy.
//!   A datagram to a client of another worker is sent directly, because every worker has a socket of the TURN port; only
//!   a frame to a stream passes through the inbox of its worker.
//! * TLS, slow clients and everything else that may block stay on the tokio runtime. Bytes that wait are limited in both
//!   directions ([`queue_budget`]).
//! * A worker that stalls is visible in the [`HealthMonitor`], a socket that cannot be read or bound in [`Relay::faults`].
//!
//! Example: `cargo run -p webrtc-box-relay --example static_credential_relay`.

#[cfg(not(target_os = "linux"))]
compile_error!("webrtc-box-relay runs on Linux only: it uses epoll, timerfd, eventfd, UDP GRO and UDP GSO.");

mod epoll;
mod faults;
pub mod framing;
mod gso_batch;
pub mod health;
mod inbox;
pub mod queue_budget;
mod relay_socket;
pub mod socket;
mod stats;
mod stream;
mod stream_reader;
mod udp;
mod worker;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use epoll::{Poller, Waker};
use faults::{Faults, Warnings};
pub use inbox::PrincipalFeed;
use inbox::{Inboxes, WorkerMsg};
pub use relay_socket::can_bind;
use stats::StatsBoard;
pub use stats::{PacketLoss, RelayStats};
pub use stream::StreamServer;
use udp::BatchSocket;
use worker::{Worker, WorkerConfig};

use crate::health::{HEARTBEAT_INTERVAL, HealthMonitor, Heartbeat};
use webrtc_box_rate_limit::{LogLimit, Rate, SourceRateLimiter};
use webrtc_box_turn::addr::{Families, Family};
use webrtc_box_turn::allocation::Activity;
use webrtc_box_turn::auth::{Authenticator, NonceKey};
use webrtc_box_turn::credential::Secrets;
use webrtc_box_turn::peer_policy::PeerPolicy;
use webrtc_box_turn::registry::Quota;
use webrtc_box_turn::reply_limit::ReplyLimit;
use webrtc_box_turn::routing_table::RoutingTable;
use webrtc_box_turn::server::{Server, ServerConfig};

/// The settings of a relay.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// Addresses of the TURN port. At least one; port 0 selects a free port.
    pub listen: Vec<SocketAddr>,
    /// Number of worker threads; at least 1.
    pub workers: usize,
    /// The peers that allocations may reach.
    pub peer_policy: PeerPolicy,
    /// Relayed addresses as clients see them.
    pub relayed: Families<IpAddr>,
    /// Local addresses that relay sockets bind to (`public` scope only).
    pub bind: Families<IpAddr>,
    /// Relayed ports.
    pub ports: RangeInclusive<u16>,
    /// Ports of other listeners on this host; they are never relayed ports.
    pub listeners: Vec<u16>,
    /// TURN REST secrets that verify credentials.
    pub secrets: Secrets,
    /// The realm in every 401.
    pub realm: String,
    /// How long a credential of a participant opens allocations.
    pub credential_ttl: Duration,
    /// Largest number of participants in an isolation group.
    pub group_size: usize,
    /// Limits on allocations.
    pub quota: Quota,
    /// Bytes per second of one allocation in each direction; 0: no limit.
    pub max_bps: u32,
    /// Bytes per second of the whole relay in each direction; 0: no limit.
    pub bps_capacity: u32,
    /// Replies per second to unauthenticated requests of one source; 0: no limit.
    pub unauth_reply_rate: u32,
    /// Whether client addresses may appear in the log.
    pub log_addresses: bool,
    /// Monitors the heartbeat of each worker.
    pub health: HealthMonitor,
}

/// A running relay; dropping it stops all workers.
#[derive(Debug)]
pub struct Relay {
    addresses: Vec<SocketAddr>,
    inboxes: Inboxes,
    routes: Arc<RoutingTable>,
    stats_board: StatsBoard,
    /// Limits requests on streams without an allocation, per source.
    stream_limit: Arc<SourceRateLimiter>,
    threads: Vec<JoinHandle<()>>,
    faults: Faults,
    /// The granted size of a socket buffer in bytes, if it is smaller than requested.
    pub granted_buffer: Option<usize>,
    /// Socket options that are unavailable here; the relay works without them.
    pub missing: Vec<&'static str>,
}

/// A relay that cannot start.
#[derive(Debug)]
pub struct BindError {
    /// The address to bind.
    pub address: SocketAddr,
    /// The failed action, as in "cannot create an eventfd"; `None` if binding `address` failed.
    pub what: Option<&'static str>,
    /// The error of the operating system.
    pub source: io::Error,
}

impl Relay {
    /// Binds the UDP sockets of the TURN port and starts the workers.
    ///
    /// # Errors
    /// An address cannot be bound, also because another process uses it with SO_REUSEPORT; or the operating system
    /// provides no thread, no file descriptor or no watch.
    pub fn start(mut config: RelayConfig) -> Result<Self, BindError> {
        let bound = bind_all(&config.listen, config.workers)?;
        let address = bound.addresses[0];
        config.listeners.extend(bound.addresses.iter().map(SocketAddr::port));
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..config.workers).map(|_| unbounded_channel()).unzip();
        let wakers = (0..config.workers).map(|_| Waker::new().map(Arc::new)).collect::<io::Result<Vec<_>>>();
        let wakers = wakers.map_err(BindError::at(address, "create an eventfd"))?;
        let shared = SharedState::new(&config);
        // After an error below, the drop of `relay` stops the workers that already run.
        let mut relay = Self {
            addresses: bound.addresses,
            inboxes: Inboxes::new(senders, &wakers, &shared.stats_board),
            routes: Arc::clone(&shared.routes),
            stats_board: shared.stats_board.clone(),
            stream_limit: Arc::clone(&shared.stream_limit),
            threads: Vec::new(),
            faults: shared.warnings.faults.clone(),
            granted_buffer: bound.granted_buffer,
            missing: bound.missing,
        };
        for (index, (inbox, sockets)) in receivers.into_iter().zip(bound.sockets).enumerate() {
            let poll = Poller::new(Arc::clone(&wakers[index]), HEARTBEAT_INTERVAL)
                .map_err(BindError::at(address, "create an epoll instance"))?;
            let name = format!("relay-{index}");
            let heartbeat = config.health.register(name.clone(), Instant::now());
            let io = (sockets, poll, heartbeat);
            let worker_config = shared.worker_config(&config, index, io, inbox, relay.inboxes.clone());
            let worker =
                Worker::new(worker_config).map_err(BindError::at(address, "watch sockets by epoll"))?;
            let thread = std::thread::Builder::new().name(name).spawn(move || worker.run());
            relay.threads.push(thread.map_err(BindError::at(address, "start threads"))?);
        }
        Ok(relay)
    }

    /// The bound addresses of the TURN port.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// A sender of principal events. A worker reads its inbox before its packets, so an event that is sent before a client
    /// gets its credential takes effect before the client can use it.
    pub fn principal_feed(&self) -> PrincipalFeed {
        PrincipalFeed(self.inboxes.clone())
    }

    /// A server for TCP and TLS streams.
    pub fn stream_server(&self) -> StreamServer {
        StreamServer::new(self.inboxes.clone(), self.stats_board.losses(), Arc::clone(&self.stream_limit))
    }

    /// Replaces the addresses of the host (`own`), the relayed addresses, and the local addresses of relay sockets.
    pub fn set_addresses(&self, own: &[IpAddr], relayed: Families<IpAddr>, bind: Families<IpAddr>) {
        self.inboxes.broadcast(|| WorkerMsg::Addresses { own: own.to_vec(), relayed, bind });
    }

    /// Replaces the secrets for new allocations; existing allocations continue.
    pub fn set_secrets(&self, secrets: &Secrets) {
        self.inboxes.broadcast(|| WorkerMsg::Secrets(secrets.clone()));
    }

    /// Accepts new allocations only from participants of running calls from now on.
    pub fn drain(&self) {
        self.inboxes.broadcast(|| WorkerMsg::Drain);
    }

    /// The counters as of the last tick of each worker.
    pub fn stats(&self) -> RelayStats {
        self.stats_board.sum()
    }

    /// The reasons of lasting faults; empty if there are none.
    pub fn faults(&self) -> Vec<String> {
        self.faults.reasons()
    }

    /// Whether the relay is out of order: a socket of the TURN port cannot be read, or relay sockets cannot be bound in any
    /// family.
    pub fn is_down(&self) -> bool {
        self.faults.is_down()
    }

    /// Records whether relay sockets of `family` can be bound now, with the reason if not; `None` if there are none of that
    /// family. Returns whether that is a change.
    pub fn report_bind_result(&self, family: Family, bound: Option<Result<(), String>>) -> bool {
        self.faults.report_bind_result(family, bound)
    }

    /// Ends the first worker as if it had failed.
    #[cfg(feature = "fault-injection")]
    pub fn stop_first_worker(&self) {
        self.inboxes.send(0, WorkerMsg::Stop);
    }

    /// The number of allocations.
    pub fn allocations(&self) -> u32 {
        self.routes.registry().total()
    }

    /// The activity of every allocation.
    pub fn activities(&self) -> Vec<Arc<Activity>> {
        self.routes.registry().activities()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.inboxes.broadcast(|| WorkerMsg::Stop);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a relay worker panicked");
            }
        }
    }
}

impl BindError {
    fn at(address: SocketAddr, what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { address, what: Some(what), source }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.what {
            Some(what) => write!(f, "cannot {what}: {}", self.source),
            None => write!(f, "cannot bind UDP {}: {}", self.address, self.source),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

struct BoundSockets {
    addresses: Vec<SocketAddr>,
    /// One socket per address, for each worker.
    sockets: Vec<Vec<BatchSocket>>,
    granted_buffer: Option<usize>,
    missing: Vec<&'static str>,
}

fn bind_all(listen: &[SocketAddr], workers: usize) -> Result<BoundSockets, BindError> {
    let mut bound = BoundSockets {
        addresses: Vec::new(),
        sockets: (0..workers).map(|_| Vec::new()).collect(),
        granted_buffer: None,
        missing: Vec::new(),
    };
    for &wanted in listen {
        let failed = |source| BindError { address: wanted, what: None, source };
        let address = udp::free_address(wanted).map_err(failed)?;
        for sockets in &mut bound.sockets {
            let (socket, granted) = BatchSocket::bind(address).map_err(failed)?;
            bound.missing.extend(socket.missing());
            sockets.push(socket);
            bound.granted_buffer = bound.granted_buffer.into_iter().chain(Some(granted)).min();
        }
        bound.addresses.push(address);
    }
    bound.missing.sort_unstable();
    bound.missing.dedup();
    bound.granted_buffer = bound.granted_buffer.filter(|&granted| granted < udp::SOCKET_BUFFER_BYTES);
    Ok(bound)
}

/// What all workers share.
struct SharedState {
    authenticator: Authenticator,
    routes: Arc<RoutingTable>,
    stats_board: StatsBoard,
    limit: Arc<ReplyLimit>,
    /// Separate from the limit for datagrams, which anyone can exhaust for an address by forging it.
    stream_limit: Arc<SourceRateLimiter>,
    /// Shared, so that more cores do not cause more log lines.
    log_limit: Arc<LogLimit>,
    warnings: Arc<Warnings>,
}

impl SharedState {
    fn new(config: &RelayConfig) -> Self {
        let epoch = Instant::now();
        let rate = Rate::per_second(config.unauth_reply_rate);
        let limiter = SourceRateLimiter::new(rate, random::seeds(), epoch);
        let (mut key, seed) = ([0; 32], random::number());
        random::fill(&mut key);
        let nonces = NonceKey::new(key, epoch);
        let routes = RoutingTable::new(&config.ports, &config.listeners, config.bps_capacity, seed, epoch);
        Self {
            authenticator: Authenticator::new(config.secrets.clone(), config.realm.clone(), nonces),
            routes: Arc::new(routes),
            stats_board: StatsBoard::new(config.workers),
            log_limit: Arc::new(LogLimit::new(epoch)),
            warnings: Arc::new(Warnings::new(epoch)),
            limit: Arc::new(ReplyLimit::new(rate, [random::seeds(), random::seeds()], epoch)),
            stream_limit: Arc::new(limiter.with_wide_prefixes()),
        }
    }

    fn worker_config(
        &self,
        config: &RelayConfig,
        index: usize,
        (sockets, poll, heartbeat): (Vec<BatchSocket>, Poller, Heartbeat),
        inbox: UnboundedReceiver<WorkerMsg>,
        others: Inboxes,
    ) -> WorkerConfig {
        let mut peer_policy = config.peer_policy.clone();
        if let PeerPolicy::Public(filter) = &mut peer_policy {
            filter.listeners.clone_from(&config.listeners);
        }
        let server_config = ServerConfig {
            worker: index,
            relayed: config.relayed,
            peer_policy,
            quota: config.quota,
            max_bps: config.max_bps,
            credential_ttl: config.credential_ttl,
            group_size: config.group_size,
        };
        let server = Server::new(
            server_config,
            self.authenticator.clone(),
            Arc::clone(&self.routes),
            Arc::clone(&self.limit),
            Box::new(random::number),
        );
        WorkerConfig {
            index,
            server,
            sockets,
            poll,
            heartbeat,
            inbox,
            others,
            stats_board: self.stats_board.clone(),
            bind: config.bind,
            log_addresses: config.log_addresses,
            log_limit: Arc::clone(&self.log_limit),
            warnings: Arc::clone(&self.warnings),
        }
    }
}

/// Unpredictable numbers from the operating system.
pub mod random {
    /// Fills `bytes`.
    ///
    /// # Panics
    /// If the operating system fails, which Linux does not after boot. Predictable numbers would be worse.
    pub fn fill(bytes: &mut [u8]) {
        if let Err(error) = getrandom::fill(bytes) {
            panic!("cannot read random bytes: {error}");
        }
    }

    /// A number.
    pub fn number() -> u64 {
        let mut bytes = [0; 8];
        fill(&mut bytes);
        u64::from_ne_bytes(bytes)
    }

    /// Seeds for a [`SourceRateLimiter`](webrtc_box_rate_limit::SourceRateLimiter).
    pub fn seeds() -> [u64; 2] {
        [number(), number()]
    }
}
