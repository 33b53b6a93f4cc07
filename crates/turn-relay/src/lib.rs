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

use epoll::{Bell, Poll};
use faults::{Faults, Warnings};
pub use relay_socket::can_bind;
use stats::{Board, Loss, Losses};
pub use stats::{Figures, Loss as PacketLoss};
pub use stream::StreamDoor;
use stream::{Brought, Stream};
use stream_writer::frame_cost;
use worker::Worker;

use crate::health::{BEAT, Heart, Hearts};
use crate::log_limit::LineLimit;
use webrtc_box_rate_limit::{Rate, SourceRateLimiter};
use webrtc_box_turn::addr::{ClientAddr, Families, Family};
use webrtc_box_turn::auth::{Gate, NonceKey};
use webrtc_box_turn::credential::Secrets;
use webrtc_box_turn::peer_policy::Scope;
use webrtc_box_turn::principal::PrincipalEvent;
use webrtc_box_turn::registry::Quota;
use webrtc_box_turn::reply_limit::ReplyLimit;
use webrtc_box_turn::routing_table::Exchange;
use webrtc_box_turn::server::{Rules, Server};

/// What a relay is started with.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Addresses and port to bind; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// How many threads.
    pub workers: usize,
    /// Who may be reached.
    pub scope: Scope,
    /// Addresses lent, as clients are told them.
    pub relayed: Families<IpAddr>,
    /// Local addresses that real relay sockets bind (`public`).
    pub bind: Families<IpAddr>,
    /// Relayed ports.
    pub ports: RangeInclusive<u16>,
    /// Ports of other listeners of the box, never lent.
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
    pub hearts: Hearts,
}

/// A relay that runs until it is dropped.
#[derive(Debug)]
pub struct Relay {
    addresses: Vec<SocketAddr>,
    inboxes: Inboxes,
    exchange: Arc<Exchange>,
    board: Board,
    /// Requests of streams without an allocation, per source.
    stream_limit: Arc<SourceRateLimiter>,
    threads: Vec<JoinHandle<()>>,
    faults: Faults,
    /// What the kernel grants of the socket buffer asked for, where it is less: bytes.
    pub small_buffer: Option<usize>,
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
enum Note {
    Seat(PrincipalEvent),
    StreamOpened(ClientAddr, Stream),
    Stream(Brought),
    StreamClosed(ClientAddr),
    /// A frame for a stream of this worker, from another.
    Deliver(ClientAddr, Bytes, OwnedSemaphorePermit),
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
    notes: UnboundedSender<Note>,
    bell: Arc<Bell>,
    /// Bytes of frames from other workers that may wait in it, in parts that streams share.
    room: [Arc<Semaphore>; ROOM_PARTS],
    losses: Arc<Losses>,
}

/// Frames from other workers wait in so many parts, by the stream they are for, so that one stream's
/// flood costs few others anything.
const ROOM_PARTS: usize = 8;
/// Bytes of frames from other workers that may wait in one part; more are lost, as in a full socket.
const ROOM_BYTES: usize = 1 << 19;

/// Tells every worker of seats; cheap to clone.
#[derive(Clone, Debug)]
pub struct SeatFeed(Inboxes);

impl Relay {
    /// Binds the turn port and starts the workers.
    ///
    /// # Errors
    /// The address that cannot be bound, and why. A port that another process shares by
    /// SO_REUSEPORT counts as taken.
    pub fn start(mut plan: Plan) -> Result<Self, BindError> {
        let bound = bind_all(&plan.listen, plan.workers)?;
        let address = bound.addresses[0];
        plan.listeners.extend(bound.addresses.iter().map(SocketAddr::port));
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..plan.workers).map(|_| unbounded_channel()).unzip();
        let bells = (0..plan.workers).map(|_| Bell::new().map(Arc::new)).collect::<io::Result<Vec<_>>>();
        let bells = bells.map_err(BindError::at(address, "make an eventfd"))?;
        let shared = Shared::new(&plan);
        // From here on dropping it stops what has been started.
        let mut relay = Self {
            addresses: bound.addresses,
            inboxes: Inboxes::new(senders, &bells, &shared.board),
            exchange: Arc::clone(&shared.exchange),
            board: shared.board.clone(),
            stream_limit: Arc::clone(&shared.stream_limit),
            threads: Vec::new(),
            faults: shared.warnings.faults.clone(),
            small_buffer: bound.small_buffer,
            missing: bound.missing,
        };
        for (index, (inbox, sockets)) in receivers.into_iter().zip(bound.sockets).enumerate() {
            let poll = Poll::new(Arc::clone(&bells[index]), BEAT)
                .map_err(BindError::at(address, "make an epoll"))?;
            let heart = plan.hearts.join(format!("relay-{index}"), Instant::now());
            let seed = shared.seed(&plan, index, (sockets, poll, heart), inbox, relay.inboxes.clone());
            let worker = Worker::new(seed).map_err(BindError::at(address, "watch sockets by epoll"))?;
            let thread = std::thread::Builder::new().name(format!("relay-{index}"));
            let thread =
                thread.spawn(move || worker.live()).map_err(BindError::at(address, "start threads"))?;
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
    pub fn feed(&self) -> SeatFeed {
        SeatFeed(self.inboxes.clone())
    }

    /// Where TCP and TLS streams are brought.
    pub fn door(&self) -> StreamDoor {
        StreamDoor::new(self.inboxes.clone(), self.board.losses(), Arc::clone(&self.stream_limit))
    }

    /// The box's addresses have changed: those that are its own, those lent from now on, and what their
    /// sockets bind.
    pub fn take_addresses(&self, own: &[IpAddr], relayed: Families<IpAddr>, bind: Families<IpAddr>) {
        self.inboxes.tell_all(|| Note::Addresses { own: own.to_vec(), relayed, bind });
    }

    /// New allocations take a credential under these secrets; those that are there go on.
    pub fn take_secrets(&self, secrets: &Secrets) {
        self.inboxes.tell_all(|| Note::Secrets(secrets.clone()));
    }

    /// The box is about to stop: nobody but participants of running calls is lent anything any more.
    pub fn drain(&self) {
        self.inboxes.tell_all(|| Note::Drain);
    }

    /// What it has done so far, up to each worker's last beat.
    pub fn figures(&self) -> Figures {
        self.board.sum()
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
    pub fn binding(&self, family: Family, bound: Option<Result<(), String>>) -> bool {
        self.faults.binding(family, bound)
    }

    /// Ends the first worker as if it had failed.
    #[cfg(feature = "fault-injection")]
    pub fn stop_first_worker(&self) {
        self.inboxes.tell(0, Note::Stop);
    }

    /// How many allocations there are.
    pub fn allocations(&self) -> u32 {
        self.exchange.register().total()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.inboxes.tell_all(|| Note::Stop);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a relay worker had panicked");
            }
        }
    }
}

impl SeatFeed {
    /// Tells every worker. That a seat has been opened wakes nobody: a worker reads its news before
    /// its packets.
    pub fn tell(&self, news: PrincipalEvent) {
        match news {
            PrincipalEvent::Admitted(..) => self.0.leave_with_all(|| Note::Seat(news)),
            PrincipalEvent::Left(..) | PrincipalEvent::Expired(..) => self.0.tell_all(|| Note::Seat(news)),
        }
    }
}

impl Inboxes {
    fn new(notes: Vec<UnboundedSender<Note>>, bells: &[Arc<Bell>], board: &Board) -> Self {
        let inbox = |(notes, bell): (_, &Arc<Bell>)| Inbox {
            notes,
            bell: Arc::clone(bell),
            losses: board.losses(),
            room: [(); ROOM_PARTS].map(|()| Arc::new(Semaphore::new(ROOM_BYTES))),
        };
        Self(notes.into_iter().zip(bells).map(inbox).collect())
    }

    fn tell_all(&self, note: impl Fn() -> Note) {
        (0..self.0.len()).for_each(|worker| self.tell(worker, note()));
    }

    fn tell(&self, worker: usize, note: Note) {
        self.leave_with(worker, note);
        self.0[worker].bell.ring();
    }

    /// To be found with the next packet, or tick.
    fn leave_with_all(&self, note: impl Fn() -> Note) {
        (0..self.0.len()).for_each(|worker| self.leave_with(worker, note()));
    }

    fn leave_with(&self, worker: usize, note: Note) {
        // Refused only by a worker that has stopped, which needs no news.
        let _ = self.0[worker].notes.send(note);
    }

    /// Hands a frame to the worker that has the stream.
    fn deliver(&self, worker: usize, client: ClientAddr, frame: Bytes) {
        // Workers are told apart by the low bits.
        let part = usize::from(client.remote.port()) / self.0.len() % ROOM_PARTS;
        let room = Arc::clone(&self.0[worker].room[part]);
        match room.try_acquire_many_owned(frame_cost(&frame) as u32) {
            Ok(permit) => self.tell(worker, Note::Deliver(client, frame, permit)),
            Err(_) => self.0[worker].losses.count(Loss::InboxFull),
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

struct Bound {
    addresses: Vec<SocketAddr>,
    /// For each worker, one for each address.
    sockets: Vec<Vec<udp::BatchSocket>>,
    small_buffer: Option<usize>,
    missing: Vec<&'static str>,
}

fn bind_all(listen: &[SocketAddr], workers: usize) -> Result<Bound, BindError> {
    let mut bound = Bound {
        addresses: Vec::new(),
        sockets: (0..workers).map(|_| Vec::new()).collect(),
        small_buffer: None,
        missing: Vec::new(),
    };
    for &wanted in listen {
        let failed = |source| BindError { address: wanted, what: None, source };
        let address = udp::free_address(wanted).map_err(failed)?;
        for sockets in &mut bound.sockets {
            let (socket, granted) = udp::BatchSocket::bind(address).map_err(failed)?;
            bound.missing.extend(socket.missing());
            sockets.push(socket);
            bound.small_buffer = bound.small_buffer.into_iter().chain(Some(granted)).min();
        }
        bound.addresses.push(address);
    }
    bound.missing.sort_unstable();
    bound.missing.dedup();
    bound.small_buffer = bound.small_buffer.filter(|&granted| granted < udp::BUFFER);
    Ok(bound)
}

/// What all workers are made from.
struct Shared {
    gate: Gate,
    exchange: Arc<Exchange>,
    board: Board,
    limit: Arc<ReplyLimit>,
    /// Apart from the one for datagrams, which anybody can use up for an address by forging it.
    stream_limit: Arc<SourceRateLimiter>,
    /// One for all, so that more cores do not mean more lines.
    log_limit: Arc<LineLimit>,
    warnings: Arc<Warnings>,
}

impl Shared {
    fn new(plan: &Plan) -> Self {
        let epoch = Instant::now();
        let rate = Rate::per_second(plan.unauth_reply_rate);
        let limiter = SourceRateLimiter::new(rate, random::seeds(), epoch);
        let (mut key, seed) = ([0; 32], random::number());
        random::fill(&mut key);
        Self {
            gate: Gate::new(plan.secrets.clone(), plan.realm.clone(), NonceKey::new(key, epoch)),
            exchange: Arc::new(Exchange::new(&plan.ports, &plan.listeners, plan.bps_capacity, seed, epoch)),
            board: Board::new(plan.workers),
            log_limit: Arc::new(LineLimit::new(epoch)),
            warnings: Arc::new(Warnings::new(epoch)),
            limit: Arc::new(ReplyLimit::new(rate, [random::seeds(), random::seeds()], epoch)),
            stream_limit: Arc::new(limiter.with_wide_prefixes()),
        }
    }

    fn seed(
        &self,
        plan: &Plan,
        index: usize,
        (sockets, poll, heart): (Vec<udp::BatchSocket>, Poll, Heart),
        inbox: UnboundedReceiver<Note>,
        others: Inboxes,
    ) -> worker::Seed {
        let mut scope = plan.scope.clone();
        if let Scope::Public(filter) = &mut scope {
            filter.listeners.clone_from(&plan.listeners);
        }
        let rules = Rules {
            worker: index,
            relayed: plan.relayed,
            scope,
            quota: plan.quota,
            max_bps: plan.max_bps,
            credential_ttl: plan.credential_ttl,
            group_size: plan.group_size,
        };
        let server = Server::new(
            rules,
            self.gate.clone(),
            Arc::clone(&self.exchange),
            Arc::clone(&self.limit),
            Box::new(random::number),
        );
        worker::Seed {
            index,
            server,
            sockets,
            poll,
            heart,
            inbox,
            others,
            board: self.board.clone(),
            bind: plan.bind,
            log_addresses: plan.log_addresses,
            log_limit: Arc::clone(&self.log_limit),
            warnings: Arc::clone(&self.warnings),
        }
    }
}
