//! One relay thread: its sockets, its [`Server`], and what passes between them.
//!
//! Everything runs on one thread, so nothing is locked. One batch in, packet by packet through the
//! server, then what has gathered goes out.

use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::mpsc::error::TryRecvError;
use tracing::{debug, info};

use super::backlog::Backlog;
use super::epoll::{PollSource, Poller};
use super::faults::{FailingSources, Warnings};
use super::framing::{MessageBoundary, find_message};
use super::gso_batch::{Destination, Egress, GsoQueue, OutgoingBatch};
use super::relay_socket::{RelaySockets, port_error};
use super::send::send;
use super::stats::{ErrorCounters, StatsBoard};
use super::stream::{StreamHandle, StreamMessages};
use super::udp::{BatchSocket, RecvBatch};
use super::{Inboxes, WorkerMsg};
use crate::health::Heartbeat;
use crate::log_limit::LogLimit;
use webrtc_box_turn::addr::{ClientAddr, Families, PeerAddr, RelayedAddr, Transport};
use webrtc_box_turn::channel_data::Header;
use webrtc_box_turn::server::{CloseReason, Event, Server, Transmit};
use webrtc_box_turn::time::Now;

/// What a worker begins with.
pub(super) struct WorkerConfig {
    pub(super) index: usize,
    pub(super) server: Server,
    pub(super) sockets: Vec<BatchSocket>,
    pub(super) poll: Poller,
    pub(super) heartbeat: Heartbeat,
    pub(super) inbox: UnboundedReceiver<WorkerMsg>,
    pub(super) others: Inboxes,
    pub(super) stats_board: StatsBoard,
    pub(super) bind: Families<IpAddr>,
    pub(super) log_addresses: bool,
    pub(super) log_limit: Arc<LogLimit>,
    pub(super) warnings: Arc<Warnings>,
}

/// One relay thread.
pub(super) struct Worker {
    index: usize,
    server: Server,
    sockets: Vec<BatchSocket>,
    poll: Poller,
    heartbeat: Heartbeat,
    /// Sources that may have more.
    readable: VecDeque<PollSource>,
    failing: FailingSources,
    ports: RelaySockets,
    streams: HashMap<ClientAddr, StreamHandle>,
    backlog: Backlog,
    /// Handled, and perhaps not yet answered: kept until the answers are on their way.
    handled: Vec<StreamMessages>,
    /// An outbox between two batches.
    spare_queue: GsoQueue<'static>,
    inbox: UnboundedReceiver<WorkerMsg>,
    others: Inboxes,
    stats_board: StatsBoard,
    errors: ErrorCounters,
    bind: Families<IpAddr>,
    log_addresses: bool,
    log_limit: Arc<LogLimit>,
    stopped: bool,
}

/// Batches taken from one socket before others get their turn.
const MAX_BATCHES_PER_TURN: usize = 16;
/// Messages of streams handled before sockets get their turn, and of one stream before others do.
const MAX_STREAM_MESSAGES_PER_TURN: usize = 64;
const MAX_MESSAGES_PER_STREAM: usize = 16;

impl Worker {
    /// Watches its sockets.
    ///
    /// # Errors
    /// Where the kernel's limit on watches is reached.
    pub(super) fn new(seed: WorkerConfig) -> io::Result<Self> {
        for (index, socket) in seed.sockets.iter().enumerate() {
            seed.poll.watch(socket, PollSource::Turn(index))?;
        }
        Ok(Self {
            index: seed.index,
            server: seed.server,
            sockets: seed.sockets,
            poll: seed.poll,
            heartbeat: seed.heartbeat,
            readable: VecDeque::new(),
            failing: FailingSources::new(seed.index, Arc::clone(&seed.warnings)),
            ports: RelaySockets::default(),
            streams: HashMap::new(),
            backlog: Backlog::default(),
            handled: Vec::new(),
            spare_queue: GsoQueue::default(),
            inbox: seed.inbox,
            others: seed.others,
            stats_board: seed.stats_board,
            errors: ErrorCounters::with_log(Arc::clone(&seed.warnings.sending)),
            bind: seed.bind,
            log_addresses: seed.log_addresses,
            log_limit: seed.log_limit,
            stopped: false,
        })
    }

    /// Until told to stop.
    pub(super) fn run(mut self) {
        let mut batch = RecvBatch::new();
        while !self.stopped {
            let ticked = self.wait();
            for _ in 0..self.readable.len() {
                if let Some(source) =
                    self.readable.pop_front().filter(|source| self.read(*source, &mut batch))
                {
                    self.readable.push_back(source);
                }
            }
            self.drain_inbox();
            self.serve_streams();
            if ticked {
                let now = Instant::now();
                self.heartbeat.beat(now);
                // Often enough: lifetimes are in whole minutes.
                self.server.handle_timeout(now);
                self.stats_board.publish(self.index, self.server.stats(), &self.errors);
                self.failing.retries().for_each(|source| self.readable.push_back(source));
            }
            self.handle_events();
        }
    }

    /// Until there is something to do; whether deadlines are to be looked at.
    fn wait(&mut self) -> bool {
        let Self { poll, readable, inbox, backlog, .. } = self;
        let busy = !readable.is_empty() || !backlog.is_empty();
        let ready = |source| {
            if !readable.contains(&source) {
                readable.push_back(source);
            }
        };
        poll.wait(|| busy || !inbox.is_empty(), ready)
    }

    /// Reads for a while; whether there may be more. An error of one datagram (an ICMP unreachable,
    /// say) is that datagram's; the socket lives on. One that gives nothing but errors rests until the next
    /// tick, so that it costs a few system calls and not a core.
    fn read(&mut self, source: PollSource, batch: &mut RecvBatch) -> bool {
        let (mut received, mut error) = (false, None);
        for _ in 0..MAX_BATCHES_PER_TURN {
            let socket = match source {
                PollSource::Turn(index) => self.sockets.get(index),
                PollSource::Port(slot) => self.ports.at(slot).map(|port| &port.socket),
            };
            let Some(socket) = socket else {
                self.failing.closed(source);
                return false;
            };
            match socket.receive(batch) {
                Ok(filled) => {
                    self.failing.readable(source, socket.local());
                    received = true;
                    self.drain_inbox();
                    self.handle_batch(source, batch, filled);
                    self.serve_streams();
                    self.handle_events();
                    if filled < RecvBatch::SIZE {
                        return false;
                    }
                }
                Err(failed) => {
                    self.errors.count_read_error();
                    error = Some((failed, socket.local()));
                }
            }
        }
        if let Some((error, address)) = error.filter(|_| !received) {
            self.failing.unreadable(source, address, &error);
            return false;
        }
        true
    }

    /// What becomes of a relay socket; the client is answered with another port, or 508.
    fn open_port(&mut self, relayed: RelayedAddr) {
        let opened = self.ports.open(relayed, &self.bind, &self.poll).map_err(|error| {
            self.errors.count_bind_error();
            self.failing.unbound(relayed, &error);
            port_error(&error)
        });
        self.server.handle_port_opened(relayed, opened, Instant::now());
    }

    fn handle_batch(&mut self, source: PollSource, batch: &RecvBatch, filled: usize) {
        match source {
            PollSource::Turn(index) => self.handle_client_batch(self.sockets[index].local(), batch, filled),
            PollSource::Port(slot) => {
                if let Some(relayed) = self.ports.at(slot).map(|port| port.relayed) {
                    self.handle_peer_batch(relayed, batch, filled);
                }
            }
        }
    }

    fn handle_client_batch(&mut self, bound: SocketAddr, batch: &RecvBatch, filled: usize) {
        let (now, mut gso_queue) = (now(), self.gso_queue());
        for gro_batch in batch.gro_batches(filled) {
            let local = gro_batch.local.unwrap_or(bound.ip());
            if !can_answer_from(local, gro_batch.remote) {
                continue;
            }
            let local = SocketAddr::new(local, bound.port());
            let client = ClientAddr::new(Transport::Udp, gro_batch.remote, local);
            for datagram in gro_batch.datagrams() {
                if let Some(delivery) = self.server.handle(client, datagram, now) {
                    self.deliver(&mut gso_queue, delivery);
                }
            }
        }
        self.flush(gso_queue);
    }

    fn handle_peer_batch(&mut self, relayed: RelayedAddr, batch: &RecvBatch, filled: usize) {
        let (now, mut gso_queue) = (Instant::now(), self.gso_queue());
        for gro_batch in batch.gro_batches(filled) {
            let peer = PeerAddr::new(gro_batch.remote);
            for datagram in gro_batch.datagrams() {
                if let Some(delivery) = self.server.handle_peer(relayed, peer, datagram, now) {
                    self.deliver(&mut gso_queue, delivery);
                }
            }
        }
        self.flush(gso_queue);
    }

    /// Does what the server wants done.
    fn handle_events(&mut self) {
        while let Some(action) = self.server.poll_event() {
            match action {
                Event::Reply { to, bytes } => self.reply(to, bytes),
                Event::OpenPort(relayed) => self.open_port(relayed),
                Event::ClosePort(relayed) => self.ports.close(relayed),
                Event::Evict { worker: other, client } => self.others.send(other, WorkerMsg::Evict(client)),
                Event::AllocationOpened { client, relayed } => self.opened(client, &relayed),
                Event::AllocationClosed { client, end, sent } => self.closed(client, end, sent),
            }
        }
        self.handled.clear();
    }

    fn deliver<'p>(&self, gso_queue: &mut GsoQueue<'p>, delivery: Transmit<'p>) {
        match delivery {
            Transmit::Client { to, header, payload, .. } if to.transport == Transport::Udp => {
                gso_queue.push(destination(to), header, payload);
            }
            Transmit::Client { to, worker, header, payload } => self.stream_to(to, worker, &header, payload),
            Transmit::Peer { from, to, payload, dont_fragment } => {
                let egress = Egress::Port(from, dont_fragment);
                gso_queue.push(Destination { to: to.0, egress }, Header::default(), payload);
            }
        }
    }

    fn reply(&self, to: ClientAddr, bytes: Vec<u8>) {
        if to.transport == Transport::Udp {
            let parts = [IoSlice::new(&bytes)];
            self.send(&OutgoingBatch::single(destination(to), &parts));
        } else if let Some(stream) = self.streams.get(&to) {
            // Without what the codec reserved and did not use.
            stream.send(bytes.into_boxed_slice().into());
        }
    }

    fn stream_to(&self, to: ClientAddr, worker: usize, header: &Header, payload: &[u8]) {
        let frame = frame(header, payload);
        if worker != self.index {
            self.others.deliver(worker, to, frame);
        } else if let Some(stream) = self.streams.get(&to) {
            stream.send(frame);
        }
    }

    /// A turn of what streams have brought.
    fn serve_streams(&mut self) {
        let mut left = MAX_STREAM_MESSAGES_PER_TURN;
        while let Some(mut stream_messages) = if left > 0 { self.backlog.pop() } else { None } {
            left = left.saturating_sub(self.stream_messages(&mut stream_messages));
            if stream_messages.messages.is_empty() {
                self.handled.push(stream_messages);
            } else {
                self.backlog.put_back(stream_messages);
            }
        }
    }

    /// Some messages of a stream, as if each were a datagram; how many.
    fn stream_messages(&mut self, stream_messages: &mut StreamMessages) -> usize {
        let messages = std::mem::take(&mut stream_messages.messages);
        let (now, mut gso_queue) = (now(), self.gso_queue());
        let (mut at, mut count) = (0, 0);
        while let (MessageBoundary::Complete(length), true) =
            (find_message(&messages[at..]), count < MAX_MESSAGES_PER_STREAM)
        {
            let delivery = self.server.handle(stream_messages.client, &messages[at..at + length], now);
            delivery.into_iter().for_each(|delivery| self.deliver(&mut gso_queue, delivery));
            (at, count) = (at + length, count + 1);
        }
        self.flush(gso_queue);
        stream_messages.messages = messages.slice(at..);
        count
    }

    /// An empty one, in memory that was used before.
    fn gso_queue<'p>(&mut self) -> GsoQueue<'p> {
        std::mem::take(&mut self.spare_queue).recycled()
    }

    /// Sends what has gathered.
    fn flush(&mut self, mut gso_queue: GsoQueue<'_>) {
        gso_queue.drain(|batch| self.send(batch));
        self.spare_queue = gso_queue.recycled();
    }

    /// What cannot be sent costs its packets, nothing else.
    fn send(&self, batch: &OutgoingBatch<'_>) {
        let socket = match batch.destination.egress {
            Egress::Turn(source) => self.sockets.iter().find(|socket| socket.serves(source)),
            Egress::Port(relayed, _) => self.ports.of(relayed),
        };
        match socket {
            Some(socket) => send(socket, batch, &self.errors),
            None => debug!("no socket for a packet's source address"),
        }
    }

    /// Takes in what has come, so that a packet is judged by all news sent before it; what comes
    /// meanwhile does not keep it from its sockets.
    fn drain_inbox(&mut self) {
        for _ in 0..self.inbox.len() {
            match self.inbox.try_recv() {
                Ok(message) => self.handle_message(message),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => return self.stopped = true,
            }
        }
    }

    fn handle_message(&mut self, message: WorkerMsg) {
        match message {
            WorkerMsg::Principal(event) => self.server.handle_principal_event(event, Instant::now()),
            WorkerMsg::Drain => self.server.drain(),
            WorkerMsg::StreamOpened(client, stream) => {
                self.streams.insert(client, stream);
            }
            WorkerMsg::StreamMessages(stream_messages) => self.backlog.push(stream_messages),
            WorkerMsg::StreamClosed(client) => {
                self.streams.remove(&client);
                self.backlog.remove(&client);
                self.server.disconnected(&client);
            }
            WorkerMsg::StreamFrame(client, frame, _permit) => {
                if let Some(stream) = self.streams.get(&client) {
                    stream.send(frame);
                }
            }
            WorkerMsg::Evict(client) => self.server.evict(&client),
            WorkerMsg::Addresses { own, relayed, bind } => {
                self.bind = bind;
                self.server.set_addresses(relayed, own);
            }
            WorkerMsg::Secrets(secrets) => self.server.set_secrets(secrets),
            WorkerMsg::Stop => self.stopped = true,
        }
    }

    fn opened(&self, client: ClientAddr, relayed: &Families<RelayedAddr>) {
        self.streams.get(&client).into_iter().for_each(|stream| stream.allocated(true));
        let Some(held) = self.log_limit.allows(Instant::now()) else { return };
        let ports: Vec<u16> = relayed.iter().map(|relayed| relayed.0.port()).collect();
        let client = self.log_addresses.then_some(client.remote);
        info!(client = client.map(tracing::field::display), ?ports, held, "allocation opened");
    }

    fn closed(&self, client: ClientAddr, end: CloseReason, sent: u64) {
        self.streams.get(&client).into_iter().for_each(|stream| stream.allocated(false));
        let Some(held) = self.log_limit.allows(Instant::now()) else { return };
        let client = self.log_addresses.then_some(client.remote);
        info!(client = client.map(tracing::field::display), ?end, sent, held, "allocation closed");
    }
}

/// A frame as a stream carries it, ChannelData padded.
fn frame(header: &Header, payload: &[u8]) -> Bytes {
    let padding = header.padding(payload.len(), true);
    let mut frame = Vec::with_capacity(header.bytes().len() + payload.len() + padding);
    frame.extend_from_slice(header.bytes());
    frame.extend_from_slice(payload);
    frame.resize(frame.len() + padding, 0);
    frame.into()
}

/// Replies leave from the address that was asked.
fn destination(to: ClientAddr) -> Destination {
    Destination { to: to.remote, egress: Egress::Turn(to.local.ip()) }
}

/// Whether the kernel lets a reply leave from where a datagram came to. Not from broadcast or multicast;
/// from a link-local address only to another, whose scope says by which interface.
fn can_answer_from(local: IpAddr, remote: SocketAddr) -> bool {
    match local.to_canonical() {
        IpAddr::V4(ip) => !ip.is_broadcast() && !ip.is_multicast(),
        IpAddr::V6(ip) if ip.is_unicast_link_local() => {
            matches!(remote, SocketAddr::V6(remote) if remote.ip().is_unicast_link_local())
        }
        IpAddr::V6(ip) => !ip.is_multicast(),
    }
}

/// Reads both clocks: protocol code is handed its moment.
fn now() -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Now { instant: Instant::now(), unix }
}
