//! A relay thread with its sockets and its [`Server`].
//!
//! A worker receives one batch, passes each packet through the server, and sends what has gathered. All of it is on one
//! thread, so nothing is locked.

use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::mpsc::error::TryRecvError;
use tracing::{debug, info};

use super::epoll::{PollSource, Poller};
use super::faults::{FailingSources, Warnings};
use super::framing::{MessageBoundary, encode_frame, find_message};
use super::gso_batch::{Destination, Egress, GsoQueue, OutgoingBatch};
use super::inbox::{Backlog, Inboxes, StreamMessages, WorkerMsg};
use super::relay_socket::{RelaySockets, port_error};
use super::stats::{ErrorCounters, StatsBoard};
use super::stream::StreamHandle;
use super::udp::{BatchSocket, RecvBatch};
use crate::health::Heartbeat;
use webrtc_box_rate_limit::LogLimit;
use webrtc_box_turn::addr::{ClientAddr, Families, PeerAddr, RelayedAddr, Transport};
use webrtc_box_turn::channel_data::Header;
use webrtc_box_turn::server::{CloseReason, Event, Now, Server, Transmit};

/// What a worker starts with.
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

/// A relay thread.
pub(super) struct Worker {
    index: usize,
    server: Server,
    sockets: Vec<BatchSocket>,
    poll: Poller,
    heartbeat: Heartbeat,
    /// Sources that may have more to read.
    readable: VecDeque<PollSource>,
    failing: FailingSources,
    ports: RelaySockets,
    streams: HashMap<ClientAddr, StreamHandle>,
    backlog: Backlog,
    /// Handled messages, kept until their replies are queued.
    handled: Vec<StreamMessages>,
    /// Memory for the next queue.
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

/// Batches received from one socket before the next socket has its turn.
const MAX_BATCHES_PER_TURN: usize = 16;
/// Stream messages handled before sockets have their turn, and of one stream before the next one.
const MAX_STREAM_MESSAGES_PER_TURN: usize = 64;
const MAX_MESSAGES_PER_STREAM: usize = 16;

impl Worker {
    /// Registers the sockets with epoll; fails if the kernel's limit on watches is reached.
    pub(super) fn new(config: WorkerConfig) -> io::Result<Self> {
        for (index, socket) in config.sockets.iter().enumerate() {
            config.poll.watch(socket, PollSource::Turn(index))?;
        }
        Ok(Self {
            index: config.index,
            server: config.server,
            sockets: config.sockets,
            poll: config.poll,
            heartbeat: config.heartbeat,
            readable: VecDeque::new(),
            failing: FailingSources::new(config.index, Arc::clone(&config.warnings)),
            ports: RelaySockets::default(),
            streams: HashMap::new(),
            backlog: Backlog::default(),
            handled: Vec::new(),
            spare_queue: GsoQueue::default(),
            inbox: config.inbox,
            others: config.others,
            stats_board: config.stats_board,
            errors: ErrorCounters::with_log(Arc::clone(&config.warnings.sending)),
            bind: config.bind,
            log_addresses: config.log_addresses,
            log_limit: config.log_limit,
            stopped: false,
        })
    }

    /// Runs until it gets [`WorkerMsg::Stop`].
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
                // Twice a second suffices: lifetimes are in minutes.
                self.server.handle_timeout(now);
                self.stats_board.publish(self.index, self.server.stats(), &self.errors);
                self.failing.retries().for_each(|source| self.readable.push_back(source));
            }
            self.handle_events();
        }
    }

    /// Waits until there is work; returns whether there was a tick.
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

    /// Reads a limited number of batches; returns whether there may be more. An error may concern a single datagram, such
    /// as an ICMP unreachable, so reading continues. A source with nothing but errors rests until the next tick: it costs
    /// a few system calls instead of a core.
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
                Err(failure) => {
                    self.errors.count_read_error();
                    error = Some((failure, socket.local()));
                }
            }
        }
        if let Some((error, address)) = error.filter(|_| !received) {
            self.failing.unreadable(source, address, &error);
            return false;
        }
        true
    }

    /// Opens a relay socket. After a failure the server tries another port or replies 508.
    fn open_port(&mut self, relayed: RelayedAddr) {
        let opened = self.ports.open(relayed, &self.bind, &self.poll).map_err(|error| {
            self.errors.count_bind_error();
            self.failing.bind_failed(relayed, &error);
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
                if let Some(transmit) = self.server.handle(client, datagram, now) {
                    self.transmit(&mut gso_queue, transmit);
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
                if let Some(transmit) = self.server.handle_peer(relayed, peer, datagram, now) {
                    self.transmit(&mut gso_queue, transmit);
                }
            }
        }
        self.flush(gso_queue);
    }

    /// Executes the events of the server.
    fn handle_events(&mut self) {
        while let Some(event) = self.server.poll_event() {
            match event {
                Event::Reply { to, bytes } => self.reply(to, bytes),
                Event::OpenPort(relayed) => self.open_port(relayed),
                Event::ClosePort(relayed) => self.ports.close(relayed),
                Event::Evict { worker: other, client } => self.others.send(other, WorkerMsg::Evict(client)),
                Event::AllocationOpened { client, relayed } => self.allocation_opened(client, &relayed),
                Event::AllocationClosed { client, end, sent } => self.allocation_closed(client, end, sent),
            }
        }
        self.handled.clear();
    }

    /// Queues a datagram for the end of the batch; passes a frame to its stream.
    fn transmit<'p>(&self, gso_queue: &mut GsoQueue<'p>, transmit: Transmit<'p>) {
        match transmit {
            Transmit::Client { to, header, payload, .. } if to.transport == Transport::Udp => {
                gso_queue.push(destination(to), header, payload);
            }
            Transmit::Client { to, worker, header, payload } => {
                self.send_frame(to, worker, &header, payload);
            }
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
            // Drops the spare capacity that the codec reserved.
            stream.send(bytes.into_boxed_slice().into());
        }
    }

    fn send_frame(&self, to: ClientAddr, worker: usize, header: &Header, payload: &[u8]) {
        let frame = encode_frame(header, payload);
        if worker != self.index {
            self.others.send_frame(worker, to, frame);
        } else if let Some(stream) = self.streams.get(&to) {
            stream.send(frame);
        }
    }

    /// Handles stream messages from the backlog, up to the limit of one turn.
    fn serve_streams(&mut self) {
        let mut remaining = MAX_STREAM_MESSAGES_PER_TURN;
        while let Some(mut stream_messages) = if remaining > 0 { self.backlog.pop() } else { None } {
            remaining = remaining.saturating_sub(self.handle_stream_messages(&mut stream_messages));
            if stream_messages.messages.is_empty() {
                self.handled.push(stream_messages);
            } else {
                self.backlog.put_back(stream_messages);
            }
        }
    }

    /// Handles some messages of a stream, each like a datagram; returns their number.
    fn handle_stream_messages(&mut self, stream_messages: &mut StreamMessages) -> usize {
        let messages = std::mem::take(&mut stream_messages.messages);
        let (now, mut gso_queue) = (now(), self.gso_queue());
        let (mut offset, mut count) = (0, 0);
        while let (MessageBoundary::Complete(length), true) =
            (find_message(&messages[offset..]), count < MAX_MESSAGES_PER_STREAM)
        {
            let message = &messages[offset..offset + length];
            if let Some(transmit) = self.server.handle(stream_messages.client, message, now) {
                self.transmit(&mut gso_queue, transmit);
            }
            (offset, count) = (offset + length, count + 1);
        }
        self.flush(gso_queue);
        stream_messages.messages = messages.slice(offset..);
        count
    }

    /// An empty queue in the memory of the last one.
    fn gso_queue<'p>(&mut self) -> GsoQueue<'p> {
        std::mem::take(&mut self.spare_queue).recycled()
    }

    /// Sends all queued packets.
    fn flush(&mut self, mut gso_queue: GsoQueue<'_>) {
        gso_queue.drain(|batch| self.send(batch));
        self.spare_queue = gso_queue.recycled();
    }

    fn send(&self, batch: &OutgoingBatch<'_>) {
        let socket = match batch.destination.egress {
            Egress::Turn(source) => self.sockets.iter().find(|socket| socket.serves(source)),
            Egress::Port(relayed, _) => self.ports.of(relayed),
        };
        match socket {
            Some(socket) => batch.send(socket, &self.errors),
            None => debug!("no socket has the source address of a packet"),
        }
    }

    /// Handles the messages in the inbox, so that a packet is handled after all messages sent before it. Messages that
    /// arrive in the meantime wait, so that they cannot keep the worker from its sockets.
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

    fn allocation_opened(&self, client: ClientAddr, relayed: &Families<RelayedAddr>) {
        self.set_allocated(&client, true);
        let Some(held) = self.log_limit.allows(Instant::now()) else { return };
        let ports: Vec<u16> = relayed.iter().map(|relayed| relayed.0.port()).collect();
        let client = self.log_addresses.then_some(client.remote);
        info!(client = client.map(tracing::field::display), ?ports, held, "allocation opened");
    }

    fn allocation_closed(&self, client: ClientAddr, end: CloseReason, sent: u64) {
        self.set_allocated(&client, false);
        let Some(held) = self.log_limit.allows(Instant::now()) else { return };
        let client = self.log_addresses.then_some(client.remote);
        info!(client = client.map(tracing::field::display), ?end, sent, held, "allocation closed");
    }

    fn set_allocated(&self, client: &ClientAddr, allocated: bool) {
        if let Some(stream) = self.streams.get(client) {
            stream.set_allocated(allocated);
        }
    }
}

/// A reply has the local address of the request as its source.
fn destination(to: ClientAddr) -> Destination {
    Destination { to: to.remote, egress: Egress::Turn(to.local.ip()) }
}

/// Whether the kernel allows a reply from the address `local` that a datagram was sent to: never from broadcast or
/// multicast, and from a link-local address only to another one, whose scope selects the interface.
fn can_answer_from(local: IpAddr, remote: SocketAddr) -> bool {
    match local.to_canonical() {
        IpAddr::V4(ip) => !ip.is_broadcast() && !ip.is_multicast(),
        IpAddr::V6(ip) if ip.is_unicast_link_local() => {
            matches!(remote, SocketAddr::V6(remote) if remote.ip().is_unicast_link_local())
        }
        IpAddr::V6(ip) => !ip.is_multicast(),
    }
}

/// Reads both clocks for the protocol code, which reads none.
fn now() -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Now { instant: Instant::now(), unix }
}
