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
use super::epoll::{Poll, Source};
use super::faults::{Failing, Warnings};
use super::framing::{Next, next};
use super::gso_batch::{Leave, Outbox, Outgoing, Route};
use super::relay_socket::{Ports, refused};
use super::send::send;
use super::stats::{Board, Unsent};
use super::stream::{Brought, Stream};
use super::udp::{Batch, BatchSocket};
use super::{Inboxes, Note};
use crate::health::Heart;
use crate::log_limit::LineLimit;
use webrtc_box_turn::addr::{ClientAddr, Families, PeerAddr, RelayedAddr, Transport};
use webrtc_box_turn::channel_data::Head;
use webrtc_box_turn::server::{Action, Delivery, End, Server};
use webrtc_box_turn::time::Now;

/// What a worker begins with.
pub(super) struct Seed {
    pub(super) index: usize,
    pub(super) server: Server,
    pub(super) sockets: Vec<BatchSocket>,
    pub(super) poll: Poll,
    pub(super) heart: Heart,
    pub(super) inbox: UnboundedReceiver<Note>,
    pub(super) others: Inboxes,
    pub(super) board: Board,
    pub(super) bind: Families<IpAddr>,
    pub(super) log_addresses: bool,
    pub(super) log_limit: Arc<LineLimit>,
    pub(super) warnings: Arc<Warnings>,
}

/// One relay thread.
pub(super) struct Worker {
    index: usize,
    server: Server,
    sockets: Vec<BatchSocket>,
    poll: Poll,
    heart: Heart,
    /// Sources that may have more.
    unread: VecDeque<Source>,
    failing: Failing,
    ports: Ports,
    streams: HashMap<ClientAddr, Stream>,
    backlog: Backlog,
    /// Handled, and perhaps not yet answered: kept until the answers are on their way.
    handled: Vec<Brought>,
    /// An outbox between two batches.
    spare: Outbox<'static>,
    inbox: UnboundedReceiver<Note>,
    others: Inboxes,
    board: Board,
    unsent: Unsent,
    bind: Families<IpAddr>,
    log_addresses: bool,
    log_limit: Arc<LineLimit>,
    stopped: bool,
}

/// Batches taken from one socket before others get their turn.
const BATCHES_IN_A_ROW: usize = 16;
/// Messages of streams handled before sockets get their turn, and of one stream before others do.
const STREAM_MESSAGES: usize = 64;
const MESSAGES_IN_A_ROW: usize = 16;

impl Worker {
    /// Watches its sockets.
    ///
    /// # Errors
    /// Where the kernel's limit on watches is reached.
    pub(super) fn new(seed: Seed) -> io::Result<Self> {
        for (index, socket) in seed.sockets.iter().enumerate() {
            seed.poll.watch(socket, Source::Turn(index))?;
        }
        Ok(Self {
            index: seed.index,
            server: seed.server,
            sockets: seed.sockets,
            poll: seed.poll,
            heart: seed.heart,
            unread: VecDeque::new(),
            failing: Failing::new(seed.index, Arc::clone(&seed.warnings)),
            ports: Ports::default(),
            streams: HashMap::new(),
            backlog: Backlog::default(),
            handled: Vec::new(),
            spare: Outbox::default(),
            inbox: seed.inbox,
            others: seed.others,
            board: seed.board,
            unsent: Unsent::told(Arc::clone(&seed.warnings.sending)),
            bind: seed.bind,
            log_addresses: seed.log_addresses,
            log_limit: seed.log_limit,
            stopped: false,
        })
    }

    /// Until told to stop.
    pub(super) fn live(mut self) {
        let mut batch = Batch::new();
        while !self.stopped {
            let ticked = self.wait();
            for _ in 0..self.unread.len() {
                if let Some(source) = self.unread.pop_front().filter(|source| self.read(*source, &mut batch))
                {
                    self.unread.push_back(source);
                }
            }
            self.take_notes();
            self.serve_streams();
            if ticked {
                let now = Instant::now();
                self.heart.beat(now);
                // Often enough: lifetimes are in whole minutes.
                self.server.advance(now);
                self.board.show(self.index, self.server.tally(), &self.unsent);
                self.failing.again().for_each(|source| self.unread.push_back(source));
            }
            self.act();
        }
    }

    /// Until there is something to do; whether deadlines are to be looked at.
    fn wait(&mut self) -> bool {
        let Self { poll, unread, inbox, backlog, .. } = self;
        let busy = !unread.is_empty() || !backlog.is_empty();
        let ready = |source| {
            if !unread.contains(&source) {
                unread.push_back(source);
            }
        };
        poll.wait(|| busy || !inbox.is_empty(), ready)
    }

    /// Reads for a while; whether there may be more. An error of one datagram (an ICMP unreachable,
    /// say) is that datagram's; the socket lives on. One that gives nothing but errors rests until the next
    /// tick, so that it costs a few system calls and not a core.
    fn read(&mut self, source: Source, batch: &mut Batch) -> bool {
        let (mut received, mut error) = (false, None);
        for _ in 0..BATCHES_IN_A_ROW {
            let socket = match source {
                Source::Turn(index) => self.sockets.get(index),
                Source::Port(slot) => self.ports.at(slot).map(|port| &port.socket),
            };
            let Some(socket) = socket else {
                self.failing.closed(source);
                return false;
            };
            match socket.receive(batch) {
                Ok(filled) => {
                    self.failing.readable(source, socket.local());
                    received = true;
                    self.take_notes();
                    self.take_batch(source, batch, filled);
                    self.serve_streams();
                    self.act();
                    if filled < Batch::SIZE {
                        return false;
                    }
                }
                Err(failed) => {
                    self.unsent.unread();
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
            self.unsent.unbound();
            self.failing.unbound(relayed, &error);
            refused(&error)
        });
        self.server.port_opened(relayed, opened, Instant::now());
    }

    fn take_batch(&mut self, source: Source, batch: &Batch, filled: usize) {
        match source {
            Source::Turn(index) => self.take_from_clients(self.sockets[index].local(), batch, filled),
            Source::Port(slot) => {
                if let Some(relayed) = self.ports.at(slot).map(|port| port.relayed) {
                    self.take_from_peers(relayed, batch, filled);
                }
            }
        }
    }

    fn take_from_clients(&mut self, bound: SocketAddr, batch: &Batch, filled: usize) {
        let (now, mut outbox) = (now(), self.outbox());
        for train in batch.trains(filled) {
            let local = train.local.unwrap_or(bound.ip());
            if !can_answer_from(local, train.remote) {
                continue;
            }
            let local = SocketAddr::new(local, bound.port());
            let client = ClientAddr::new(Transport::Udp, train.remote, local);
            for datagram in train.datagrams() {
                if let Some(delivery) = self.server.handle(client, datagram, now) {
                    self.deliver(&mut outbox, delivery);
                }
            }
        }
        self.flush(outbox);
    }

    fn take_from_peers(&mut self, relayed: RelayedAddr, batch: &Batch, filled: usize) {
        let (now, mut outbox) = (Instant::now(), self.outbox());
        for train in batch.trains(filled) {
            let peer = PeerAddr::new(train.remote);
            for datagram in train.datagrams() {
                if let Some(delivery) = self.server.handle_peer(relayed, peer, datagram, now) {
                    self.deliver(&mut outbox, delivery);
                }
            }
        }
        self.flush(outbox);
    }

    /// Does what the server wants done.
    fn act(&mut self) {
        while let Some(action) = self.server.poll_action() {
            match action {
                Action::Reply { to, bytes } => self.reply(to, bytes),
                Action::OpenPort(relayed) => self.open_port(relayed),
                Action::ClosePort(relayed) => self.ports.close(relayed),
                Action::Evict { worker: other, client } => self.others.tell(other, Note::Evict(client)),
                Action::Opened { client, relayed } => self.opened(client, &relayed),
                Action::Closed { client, end, sent } => self.closed(client, end, sent),
            }
        }
        self.handled.clear();
    }

    fn deliver<'p>(&self, outbox: &mut Outbox<'p>, delivery: Delivery<'p>) {
        match delivery {
            Delivery::Client { to, head, payload, .. } if to.transport == Transport::Udp => {
                outbox.push(route(to), head, payload);
            }
            Delivery::Client { to, worker, head, payload } => self.stream_to(to, worker, &head, payload),
            Delivery::Peer { from, to, payload, dont_fragment } => {
                let leave = Leave::Port(from, dont_fragment);
                outbox.push(Route { to: to.0, leave }, Head::default(), payload);
            }
        }
    }

    fn reply(&self, to: ClientAddr, bytes: Vec<u8>) {
        if to.transport == Transport::Udp {
            let parts = [IoSlice::new(&bytes)];
            self.send(&Outgoing::single(route(to), &parts));
        } else if let Some(stream) = self.streams.get(&to) {
            // Without what the codec reserved and did not use.
            stream.send(bytes.into_boxed_slice().into());
        }
    }

    fn stream_to(&self, to: ClientAddr, worker: usize, head: &Head, payload: &[u8]) {
        let frame = frame(head, payload);
        if worker != self.index {
            self.others.deliver(worker, to, frame);
        } else if let Some(stream) = self.streams.get(&to) {
            stream.send(frame);
        }
    }

    /// A turn of what streams have brought.
    fn serve_streams(&mut self) {
        let mut left = STREAM_MESSAGES;
        while let Some(mut brought) = if left > 0 { self.backlog.pop() } else { None } {
            left = left.saturating_sub(self.brought(&mut brought));
            if brought.messages.is_empty() {
                self.handled.push(brought);
            } else {
                self.backlog.put_back(brought);
            }
        }
    }

    /// Some messages of a stream, as if each were a datagram; how many.
    fn brought(&mut self, brought: &mut Brought) -> usize {
        let messages = std::mem::take(&mut brought.messages);
        let (now, mut outbox) = (now(), self.outbox());
        let (mut at, mut count) = (0, 0);
        while let (Next::Message(length), true) = (next(&messages[at..]), count < MESSAGES_IN_A_ROW) {
            let delivery = self.server.handle(brought.client, &messages[at..at + length], now);
            delivery.into_iter().for_each(|delivery| self.deliver(&mut outbox, delivery));
            (at, count) = (at + length, count + 1);
        }
        self.flush(outbox);
        brought.messages = messages.slice(at..);
        count
    }

    /// An empty one, in memory that was used before.
    fn outbox<'p>(&mut self) -> Outbox<'p> {
        std::mem::take(&mut self.spare).renewed()
    }

    /// Sends what has gathered.
    fn flush(&mut self, mut outbox: Outbox<'_>) {
        outbox.drain(|run| self.send(run));
        self.spare = outbox.renewed();
    }

    /// What cannot be sent costs its packets, nothing else.
    fn send(&self, run: &Outgoing<'_>) {
        let socket = match run.route.leave {
            Leave::Turn(source) => self.sockets.iter().find(|socket| socket.serves(source)),
            Leave::Port(relayed, _) => self.ports.of(relayed),
        };
        match socket {
            Some(socket) => send(socket, run, &self.unsent),
            None => debug!("no socket for a packet's source address"),
        }
    }

    /// Takes in what has come, so that a packet is judged by all news sent before it; what comes
    /// meanwhile does not keep it from its sockets.
    fn take_notes(&mut self) {
        for _ in 0..self.inbox.len() {
            match self.inbox.try_recv() {
                Ok(note) => self.take(note),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => return self.stopped = true,
            }
        }
    }

    fn take(&mut self, note: Note) {
        match note {
            Note::Seat(news) => self.server.seat(news, Instant::now()),
            Note::Drain => self.server.drain(),
            Note::StreamOpened(client, stream) => {
                self.streams.insert(client, stream);
            }
            Note::Stream(brought) => self.backlog.push(brought),
            Note::StreamClosed(client) => {
                self.streams.remove(&client);
                self.backlog.remove(&client);
                self.server.disconnected(&client);
            }
            Note::Deliver(client, frame, _permit) => {
                if let Some(stream) = self.streams.get(&client) {
                    stream.send(frame);
                }
            }
            Note::Evict(client) => self.server.evict(&client),
            Note::Addresses { own, relayed, bind } => {
                self.bind = bind;
                self.server.take_addresses(relayed, own);
            }
            Note::Secrets(secrets) => self.server.take_secrets(secrets),
            Note::Stop => self.stopped = true,
        }
    }

    fn opened(&self, client: ClientAddr, relayed: &Families<RelayedAddr>) {
        self.streams.get(&client).into_iter().for_each(|stream| stream.allocated(true));
        let Some(held) = self.log_limit.allows(Instant::now()) else { return };
        let ports: Vec<u16> = relayed.iter().map(|relayed| relayed.0.port()).collect();
        let client = self.log_addresses.then_some(client.remote);
        info!(client = client.map(tracing::field::display), ?ports, held, "allocation opened");
    }

    fn closed(&self, client: ClientAddr, end: End, sent: u64) {
        self.streams.get(&client).into_iter().for_each(|stream| stream.allocated(false));
        let Some(held) = self.log_limit.allows(Instant::now()) else { return };
        let client = self.log_addresses.then_some(client.remote);
        info!(client = client.map(tracing::field::display), ?end, sent, held, "allocation closed");
    }
}

/// A frame as a stream carries it, ChannelData padded.
fn frame(head: &Head, payload: &[u8]) -> Bytes {
    let padding = head.padding(payload.len(), true);
    let mut frame = Vec::with_capacity(head.bytes().len() + payload.len() + padding);
    frame.extend_from_slice(head.bytes());
    frame.extend_from_slice(payload);
    frame.resize(frame.len() + padding, 0);
    frame.into()
}

/// Replies leave from the address that was asked.
fn route(to: ClientAddr) -> Route {
    Route { to: to.remote, leave: Leave::Turn(to.local.ip()) }
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
