//! The relay's edge: one thread for each core, each with its own sockets on the turn port and its
//! own [`turn::Server`](webrtc_box_turn::server::Server). The threads share nothing but the exchange.

mod backlog;
mod epoll;
mod faults;
pub mod framing;
mod gso_batch;
pub mod health;
pub mod log_limit;
pub mod queue_budget;
pub mod random;
mod relay_socket;
mod send;
mod single;
pub mod socket;
mod stats;
mod stream;
mod stream_reader;
mod stream_writer;
mod udp;
mod worker;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use epoll::{Poller, Waker};
use faults::{Faults, Warnings};
pub use relay_socket::can_bind;
use stats::{LossCounters, StatsBoard};
pub use stats::{PacketLoss, RelayStats};
pub use stream::StreamServer;
use stream::{StreamHandle, StreamMessages};
use stream_writer::frame_cost;
use worker::Worker;

use crate::health::{HEARTBEAT_INTERVAL, HealthMonitor, Heartbeat};
use crate::log_limit::LogLimit;
use webrtc_box_rate_limit::{Rate, SourceRateLimiter};
use webrtc_box_turn::addr::{ClientAddr, Families, Family};
use webrtc_box_turn::auth::{Authenticator, NonceKey};
use webrtc_box_turn::credential::Secrets;
use webrtc_box_turn::peer_policy::PeerPolicy;
use webrtc_box_turn::principal::PrincipalEvent;
use webrtc_box_turn::registry::Quota;
use webrtc_box_turn::reply_limit::ReplyLimit;
use webrtc_box_turn::routing_table::RoutingTable;
use webrtc_box_turn::server::{Server, ServerConfig};

/// What a relay is started with.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// Addresses and port to bind; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// How many threads.
    pub workers: usize,
    /// Who may be reached.
    pub peer_policy: PeerPolicy,
    /// Addresses lent, as clients are told them.
    pub relayed: Families<IpAddr>,
    /// Local addresses that real relay sockets bind (`public`).
    pub bind: Families<IpAddr>,
    /// Relayed ports.
    pub ports: RangeInclusive<u16>,
    /// RelaySockets of other listeners of the box, never lent.
    pub listeners: Vec<u16>,
    /// Mint and verify.
    pub secrets: Secrets,
    /// Stands in every challenge.
    pub realm: String,
    /// How long the credentials of seats open allocations.
    pub credential_ttl: Duration,
    /// Participants of an isolation group at most.
    pub group_size: usize,
    /// How many allocations there may be.
    pub quota: Quota,
    /// Bytes per second of one allocation, each way; 0: no limit.
    pub max_bps: u32,
    /// Bytes per second of the whole relay, each way; 0: no limit.
    pub bps_capacity: u32,
    /// Unauthenticated replies per second to one source; 0: no limit.
    pub unauth_reply_rate: u32,
    /// Client addresses may stand in the log.
    pub log_addresses: bool,
    /// Where each worker's heart is looked after.
    pub health: HealthMonitor,
}

/// A relay that runs until it is dropped.
#[derive(Debug)]
pub struct Relay {
    addresses: Vec<SocketAddr>,
    inboxes: Inboxes,
    routes: Arc<RoutingTable>,
    stats_board: StatsBoard,
    /// Requests of streams without an allocation, per source.
    stream_limit: Arc<SourceRateLimiter>,
    threads: Vec<JoinHandle<()>>,
    faults: Faults,
    /// What the kernel grants of the socket buffer asked for, where it is less: bytes.
    pub granted_buffer: Option<usize>,
    /// Socket options that are not to be had here, and that it goes without.
    pub missing: Vec<&'static str>,
}

/// Why a relay does not start.
#[derive(Debug)]
pub struct BindError {
    /// What was to be bound.
    pub address: SocketAddr,
    /// What else could not be had of the operating system, to complete "cannot …"; `None`: it was the address.
    pub what: Option<&'static str>,
    /// Why not.
    pub source: io::Error,
}

/// What reaches a worker besides packets.
#[derive(Debug)]
enum WorkerMsg {
    Principal(PrincipalEvent),
    StreamOpened(ClientAddr, StreamHandle),
    StreamMessages(StreamMessages),
    StreamClosed(ClientAddr),
    /// A frame for a stream of this worker, from another.
    StreamFrame(ClientAddr, Bytes, OwnedSemaphorePermit),
    Evict(ClientAddr),
    Addresses {
        own: Vec<IpAddr>,
        relayed: Families<IpAddr>,
        bind: Families<IpAddr>,
    },
    Secrets(Secrets),
    Drain,
    Stop,
}

/// One for each worker.
#[derive(Clone, Debug)]
struct Inboxes(Arc<[Inbox]>);

#[derive(Debug)]
struct Inbox {
    messages: UnboundedSender<WorkerMsg>,
    waker: Arc<Waker>,
    /// Bytes of frames from other workers that may wait in it, in parts that streams share.
    frame_budget: [Arc<Semaphore>; FRAME_BUDGET_SHARDS],
    losses: Arc<LossCounters>,
}

/// Frames from other workers wait in so many parts, by the stream they are for, so that one stream's
/// flood costs few others anything.
const FRAME_BUDGET_SHARDS: usize = 8;
/// Bytes of frames from other workers that may wait in one part; more are lost, as in a full socket.
const FRAME_BUDGET_BYTES: usize = 1 << 19;

/// Tells every worker of seats; cheap to clone.
#[derive(Clone, Debug)]
pub struct PrincipalFeed(Inboxes);

impl Relay {
    /// Binds the turn port and starts the workers.
    ///
    /// # Errors
    /// The address that cannot be bound, and why. A port that another process shares by
    /// SO_REUSEPORT counts as taken.
    pub fn start(mut config: RelayConfig) -> Result<Self, BindError> {
        let bound = bind_all(&config.listen, config.workers)?;
        let address = bound.addresses[0];
        config.listeners.extend(bound.addresses.iter().map(SocketAddr::port));
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..config.workers).map(|_| unbounded_channel()).unzip();
        let wakers = (0..config.workers).map(|_| Waker::new().map(Arc::new)).collect::<io::Result<Vec<_>>>();
        let wakers = wakers.map_err(BindError::at(address, "make an eventfd"))?;
        let shared = SharedState::new(&config);
        // From here on dropping it stops what has been started.
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
                .map_err(BindError::at(address, "make an epoll"))?;
            let heartbeat = config.health.register(format!("relay-{index}"), Instant::now());
            let seed = shared.seed(&config, index, (sockets, poll, heartbeat), inbox, relay.inboxes.clone());
            let worker = Worker::new(seed).map_err(BindError::at(address, "watch sockets by epoll"))?;
            let thread = std::thread::Builder::new().name(format!("relay-{index}"));
            let thread =
                thread.spawn(move || worker.run()).map_err(BindError::at(address, "start threads"))?;
            relay.threads.push(thread);
        }
        Ok(relay)
    }

    /// The addresses really bound.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where seats' news goes. A seat told here before its client is told can be relied on: a
    /// worker reads its news before its packets.
    pub fn principal_feed(&self) -> PrincipalFeed {
        PrincipalFeed(self.inboxes.clone())
    }

    /// Where TCP and TLS streams are brought.
    pub fn stream_server(&self) -> StreamServer {
        StreamServer::new(self.inboxes.clone(), self.stats_board.losses(), Arc::clone(&self.stream_limit))
    }

    /// The box's addresses have changed: those that are its own, those lent from now on, and what their
    /// sockets bind.
    pub fn set_addresses(&self, own: &[IpAddr], relayed: Families<IpAddr>, bind: Families<IpAddr>) {
        self.inboxes.broadcast(|| WorkerMsg::Addresses { own: own.to_vec(), relayed, bind });
    }

    /// New allocations take a credential under these secrets; those that are there go on.
    pub fn set_secrets(&self, secrets: &Secrets) {
        self.inboxes.broadcast(|| WorkerMsg::Secrets(secrets.clone()));
    }

    /// The box is about to stop: nobody but participants of running calls is lent anything any more.
    pub fn drain(&self) {
        self.inboxes.broadcast(|| WorkerMsg::Drain);
    }

    /// What it has done so far, up to each worker's last beat.
    pub fn stats(&self) -> RelayStats {
        self.stats_board.sum()
    }

    /// What keeps it from its work and lasts; empty where nothing does.
    pub fn faults(&self) -> Vec<String> {
        self.faults.reasons()
    }

    /// Whether it does no work: part of the turn port is not read, or of no family can relay sockets be bound.
    pub fn is_down(&self) -> bool {
        self.faults.is_down()
    }

    /// Whether relay sockets of `family` can be bound now: `None` where there are none of that family, else
    /// why not. Whether that is news.
    pub fn report_bind_result(&self, family: Family, bound: Option<Result<(), String>>) -> bool {
        self.faults.report_bind_result(family, bound)
    }

    /// Ends the first worker as if it had failed.
    #[cfg(feature = "fault-injection")]
    pub fn stop_first_worker(&self) {
        self.inboxes.send(0, WorkerMsg::Stop);
    }

    /// How many allocations there are.
    pub fn allocations(&self) -> u32 {
        self.routes.registry().total()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.inboxes.broadcast(|| WorkerMsg::Stop);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a relay worker had panicked");
            }
        }
    }
}

impl PrincipalFeed {
    /// Tells every worker. That a seat has been opened wakes nobody: a worker reads its news before
    /// its packets.
    pub fn send(&self, event: PrincipalEvent) {
        match event {
            PrincipalEvent::Admitted(..) => self.0.enqueue_all(|| WorkerMsg::Principal(event)),
            PrincipalEvent::Left(..) | PrincipalEvent::Expired(..) => {
                self.0.broadcast(|| WorkerMsg::Principal(event))
            }
        }
    }
}

impl Inboxes {
    fn new(
        messages: Vec<UnboundedSender<WorkerMsg>>,
        wakers: &[Arc<Waker>],
        stats_board: &StatsBoard,
    ) -> Self {
        let inbox = |(messages, waker): (_, &Arc<Waker>)| Inbox {
            messages,
            waker: Arc::clone(waker),
            losses: stats_board.losses(),
            frame_budget: [(); FRAME_BUDGET_SHARDS].map(|()| Arc::new(Semaphore::new(FRAME_BUDGET_BYTES))),
        };
        Self(messages.into_iter().zip(wakers).map(inbox).collect())
    }

    fn broadcast(&self, message: impl Fn() -> WorkerMsg) {
        (0..self.0.len()).for_each(|worker| self.send(worker, message()));
    }

    fn send(&self, worker: usize, message: WorkerMsg) {
        self.enqueue(worker, message);
        self.0[worker].waker.wake();
    }

    /// To be found with the next packet, or tick.
    fn enqueue_all(&self, message: impl Fn() -> WorkerMsg) {
        (0..self.0.len()).for_each(|worker| self.enqueue(worker, message()));
    }

    fn enqueue(&self, worker: usize, message: WorkerMsg) {
        // Refused only by a worker that has stopped, which needs no news.
        let _ = self.0[worker].messages.send(message);
    }

    /// Hands a frame to the worker that has the stream.
    fn deliver(&self, worker: usize, client: ClientAddr, frame: Bytes) {
        // Workers are told apart by the low bits.
        let part = usize::from(client.remote.port()) / self.0.len() % FRAME_BUDGET_SHARDS;
        let frame_budget = Arc::clone(&self.0[worker].frame_budget[part]);
        match frame_budget.try_acquire_many_owned(frame_cost(&frame) as u32) {
            Ok(permit) => self.send(worker, WorkerMsg::StreamFrame(client, frame, permit)),
            Err(_) => self.0[worker].losses.count(PacketLoss::InboxFull),
        }
    }

    /// The worker of a stream; the same for the same 5-tuple, so that its end comes before its
    /// next beginning.
    fn worker_for(&self, client: &ClientAddr) -> usize {
        usize::from(client.remote.port()) % self.0.len()
    }
}

impl BindError {
    fn at(address: SocketAddr, what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { address, what: Some(what), source }
    }
}

struct BoundSockets {
    addresses: Vec<SocketAddr>,
    /// For each worker, one for each address.
    sockets: Vec<Vec<udp::BatchSocket>>,
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
            let (socket, granted) = udp::BatchSocket::bind(address).map_err(failed)?;
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

/// What all workers are made from.
struct SharedState {
    authenticator: Authenticator,
    routes: Arc<RoutingTable>,
    stats_board: StatsBoard,
    limit: Arc<ReplyLimit>,
    /// Apart from the one for datagrams, which anybody can use up for an address by forging it.
    stream_limit: Arc<SourceRateLimiter>,
    /// One for all, so that more cores do not mean more lines.
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
        Self {
            authenticator: Authenticator::new(
                config.secrets.clone(),
                config.realm.clone(),
                NonceKey::new(key, epoch),
            ),
            routes: Arc::new(RoutingTable::new(
                &config.ports,
                &config.listeners,
                config.bps_capacity,
                seed,
                epoch,
            )),
            stats_board: StatsBoard::new(config.workers),
            log_limit: Arc::new(LogLimit::new(epoch)),
            warnings: Arc::new(Warnings::new(epoch)),
            limit: Arc::new(ReplyLimit::new(rate, [random::seeds(), random::seeds()], epoch)),
            stream_limit: Arc::new(limiter.with_wide_prefixes()),
        }
    }

    fn seed(
        &self,
        config: &RelayConfig,
        index: usize,
        (sockets, poll, heartbeat): (Vec<udp::BatchSocket>, Poller, Heartbeat),
        inbox: UnboundedReceiver<WorkerMsg>,
        others: Inboxes,
    ) -> worker::WorkerConfig {
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
        worker::WorkerConfig {
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
