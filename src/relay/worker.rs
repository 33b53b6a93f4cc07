//! One relay thread: its sockets, its [`Server`], and what passes between them.
//!
//! Everything runs on one thread, so the state is borrowed, never locked, and never across an
//! await. One packet in, then whatever the server wants done; sends wait for the end of a batch.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::{LocalSet, spawn_local};
use tracing::{debug, info};

use super::framing::{Next, next};
use super::outbox::{Outbox, Route, Run};
use super::port::Ports;
use super::stream::{Brought, Stream};
use super::udp::{Batch, BatchSocket, TurnSocket};
use super::{Inboxes, Note};
use crate::clock::Now;
use crate::ops::LineLimit;
use crate::turn::address::{ClientAddr, Families, PeerAddr, RelayedAddr, Transport};
use crate::turn::channel_data::Head;
use crate::turn::server::{Action, Delivery, End, Server};

/// What a worker begins with, on another thread.
pub(super) struct Seed {
    pub(super) index: usize,
    pub(super) server: Server,
    pub(super) sockets: Vec<TurnSocket>,
    pub(super) inbox: UnboundedReceiver<Note>,
    pub(super) others: Inboxes,
    pub(super) bind: Families<IpAddr>,
    pub(super) log_addresses: bool,
    pub(super) log_limit: Arc<LineLimit>,
}

struct Worker {
    index: usize,
    server: Server,
    sockets: Vec<Rc<BatchSocket>>,
    ports: Ports,
    streams: HashMap<ClientAddr, Stream>,
    /// Handled, and perhaps not yet answered: kept until the answers are on their way.
    handled: Vec<Brought>,
    outbox: Outbox,
    inbox: UnboundedReceiver<Note>,
    others: Inboxes,
    bind: Families<IpAddr>,
    log_addresses: bool,
    log_limit: Arc<LineLimit>,
    stopped: bool,
}

/// Shared by the tasks of one thread.
#[derive(Clone)]
struct Shared {
    worker: Rc<RefCell<Worker>>,
    batch: Rc<RefCell<Batch>>,
}

/// Batches taken from one socket before others get their turn.
const BATCHES_IN_A_ROW: usize = 16;
/// How often deadlines are looked at; lifetimes are in whole minutes.
const TICK: Duration = Duration::from_millis(500);

/// Runs until told to stop. `ready` hears whether the sockets are open.
pub(super) fn run(seed: Seed, ready: &Sender<io::Result<()>>) {
    let tell = |outcome| {
        // Nobody listens only where the start has failed elsewhere; then Stop is on its way.
        let _ = ready.send(outcome);
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return tell(Err(error)),
    };
    LocalSet::new().block_on(&runtime, async {
        match Shared::new(seed) {
            Err(error) => tell(Err(error)),
            Ok(shared) => {
                shared.read_turn_sockets();
                tell(Ok(()));
                shared.live().await;
            }
        }
    });
}

impl Shared {
    fn new(seed: Seed) -> io::Result<Self> {
        let sockets = seed.sockets.into_iter().map(|socket| socket.open().map(Rc::new));
        let worker = Worker {
            index: seed.index,
            server: seed.server,
            sockets: sockets.collect::<io::Result<_>>()?,
            ports: Ports::default(),
            streams: HashMap::new(),
            handled: Vec::new(),
            outbox: Outbox::default(),
            inbox: seed.inbox,
            others: seed.others,
            bind: seed.bind,
            log_addresses: seed.log_addresses,
            log_limit: seed.log_limit,
            stopped: false,
        };
        Ok(Self { worker: Rc::new(RefCell::new(worker)), batch: Rc::new(RefCell::new(Batch::new())) })
    }

    fn read_turn_sockets(&self) {
        let sockets = self.worker.borrow().sockets.clone();
        for socket in sockets {
            let shared = self.clone();
            spawn_local(async move { shared.read_turn_socket(&socket).await });
        }
    }

    /// Notes and deadlines, until told to stop.
    async fn live(&self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = std::future::poll_fn(|context| self.worker.borrow_mut().poll_notes(context)) => {}
                _ = tick.tick() => self.worker.borrow_mut().server.advance(Instant::now()),
            }
            self.act();
            if self.worker.borrow().stopped {
                return;
            }
        }
    }

    async fn read_turn_socket(&self, socket: &BatchSocket) {
        self.read(socket, |worker, batch, filled| {
            worker.take_notes();
            let now = Now::read();
            for datagram in batch.datagrams(filled) {
                let local = datagram.local.unwrap_or(socket.local().ip());
                if !can_answer_from(local) {
                    continue;
                }
                let local = SocketAddr::new(local, socket.local().port());
                let client = ClientAddr::new(Transport::Udp, datagram.remote, local);
                let delivery = worker.server.handle(client, datagram.bytes, now);
                delivery.into_iter().for_each(|delivery| worker.deliver(delivery));
            }
        })
        .await;
    }

    async fn read_port(&self, relayed: RelayedAddr, socket: &BatchSocket) {
        self.read(socket, |worker, batch, filled| {
            let now = Instant::now();
            for datagram in batch.datagrams(filled) {
                let peer = PeerAddr::new(datagram.remote);
                let delivery = worker.server.handle_peer(relayed, peer, datagram.bytes, now);
                delivery.into_iter().for_each(|delivery| worker.deliver(delivery));
            }
        })
        .await;
    }

    /// Reads batches for ever. An error of one datagram (an ICMP unreachable, say) is that
    /// datagram's; the socket lives on.
    async fn read(&self, socket: &BatchSocket, mut take: impl FnMut(&mut Worker, &Batch, usize)) {
        loop {
            if let Err(error) = socket.readable().await {
                debug!(%error, "socket not readable");
                tokio::time::sleep(TICK).await;
                continue;
            }
            for _ in 0..BATCHES_IN_A_ROW {
                let filled = match socket.receive(&mut self.batch.borrow_mut()) {
                    Ok(0) => break,
                    Ok(filled) => filled,
                    Err(error) => {
                        debug!(%error, "receive failed");
                        continue;
                    }
                };
                take(&mut self.worker.borrow_mut(), &self.batch.borrow(), filled);
                self.act();
            }
            tokio::task::yield_now().await;
        }
    }

    /// Does what the server wants done, then sends what has gathered.
    fn act(&self) {
        let mut worker = self.worker.borrow_mut();
        while let Some(action) = worker.server.poll_action() {
            match action {
                Action::Reply { to, bytes } => worker.reply(to, bytes),
                Action::OpenPort(relayed) => self.open_port(&mut worker, relayed),
                Action::ClosePort(relayed) => worker.ports.close(relayed),
                Action::Evict { worker: other, client } => worker.others.tell(other, Note::Evict(client)),
                Action::Opened { client, relayed } => worker.opened(client, &relayed),
                Action::Closed { client, end } => worker.closed(client, end),
            }
        }
        worker.handled.clear();
        worker.flush();
    }

    fn open_port(&self, worker: &mut Worker, relayed: RelayedAddr) {
        let Worker { ports, bind, server, .. } = worker;
        let opened = ports.open(relayed, bind);
        server.port_opened(relayed, opened.as_ref().map(|_| ()).map_err(|error| *error), Instant::now());
        if let Ok(socket) = opened {
            let shared = self.clone();
            let reader = spawn_local(async move { shared.read_port(relayed, &socket).await });
            ports.read_by(relayed, reader);
        }
    }
}

impl Worker {
    fn deliver(&mut self, delivery: Delivery<'_>) {
        match delivery {
            Delivery::Client { to, head, payload, .. } if to.transport == Transport::Udp => {
                self.outbox.push(route(to), &head, payload);
            }
            Delivery::Client { to, worker, head, payload } => self.stream_to(to, worker, &head, payload),
            Delivery::Peer { from, to, payload, dont_fragment } => {
                self.send_to_peer(from, to, payload, dont_fragment)
            }
        }
    }

    fn reply(&mut self, to: ClientAddr, bytes: Vec<u8>) {
        if to.transport == Transport::Udp {
            self.outbox.push_whole(route(to), &bytes);
        } else if let Some(stream) = self.streams.get(&to) {
            stream.send(bytes.into());
        }
    }

    fn stream_to(&self, to: ClientAddr, worker: usize, head: &Head, payload: &[u8]) {
        let frame = frame(head, payload);
        if worker == self.index {
            self.streams.get(&to).into_iter().for_each(|stream| stream.send(frame.clone()));
        } else {
            self.others.deliver(worker, to, frame);
        }
    }

    /// Messages of a stream, as if each were a datagram.
    fn brought(&mut self, brought: &Brought) {
        let now = Now::read();
        let mut rest = &brought.messages[..];
        while let Next::Message(length) = next(rest) {
            let (message, others) = rest.split_at(length);
            let delivery = self.server.handle(brought.client, message, now);
            delivery.into_iter().for_each(|delivery| self.deliver(delivery));
            rest = others;
        }
    }

    /// A peer that cannot be reached costs its packet, nothing else.
    fn send_to_peer(&self, from: RelayedAddr, to: PeerAddr, payload: &[u8], dont_fragment: bool) {
        let Some(port) = self.ports.of(from) else { return };
        if let Err(error) = port.send_whole(to.0, payload, dont_fragment) {
            debug!(%error, "packet to a peer lost");
        }
    }

    /// Sends what has gathered.
    fn flush(&mut self) {
        let Self { outbox, sockets, .. } = self;
        outbox.drain(|run| match sockets.iter().find(|socket| socket.serves(run.route.source)) {
            Some(socket) => send(socket, run),
            None => debug!("no socket for a reply's source address"),
        });
    }

    /// Takes in what has come, so that a packet is judged by all news sent before it.
    fn take_notes(&mut self) {
        while let Ok(note) = self.inbox.try_recv() {
            self.take(note);
        }
    }

    fn poll_notes(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut taken = false;
        loop {
            match self.inbox.poll_recv(context) {
                Poll::Ready(Some(note)) => self.take(note),
                Poll::Ready(None) => self.stopped = true,
                Poll::Pending if !taken => return Poll::Pending,
                Poll::Pending => return Poll::Ready(()),
            }
            if self.stopped {
                return Poll::Ready(());
            }
            taken = true;
        }
    }

    fn take(&mut self, note: Note) {
        match note {
            Note::Seat(news) => self.server.seat(news),
            Note::StreamOpened(client, stream) => {
                self.streams.insert(client, stream);
            }
            Note::Stream(brought) => {
                self.brought(&brought);
                self.handled.push(brought);
            }
            Note::StreamClosed(client) => {
                self.streams.remove(&client);
                self.server.disconnected(&client);
            }
            Note::Deliver(client, frame, _permit) => {
                self.streams.get(&client).into_iter().for_each(|stream| stream.send(frame.clone()));
            }
            Note::Evict(client) => self.server.evict(&client),
            Note::OwnAddresses(own) => self.server.own_addresses(own),
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

    fn closed(&self, client: ClientAddr, end: End) {
        self.streams.get(&client).into_iter().for_each(|stream| stream.allocated(false));
        let Some(held) = self.log_limit.allows(Instant::now()) else { return };
        let client = self.log_addresses.then_some(client.remote);
        info!(client = client.map(tracing::field::display), ?end, held, "allocation closed");
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
    Route { to: to.remote, source: to.local.ip() }
}

/// Whether the kernel lets a reply leave from where a datagram came to. Not from broadcast,
/// multicast, or an address that needs to be told its interface.
fn can_answer_from(local: IpAddr) -> bool {
    match local.to_canonical() {
        IpAddr::V4(ip) => !ip.is_broadcast() && !ip.is_multicast(),
        IpAddr::V6(ip) => !ip.is_multicast() && !ip.is_unicast_link_local(),
    }
}

/// A full socket buffer loses the packets, as any router would. Where segmentation offload fails,
/// the run goes out packet by packet.
fn send(socket: &BatchSocket, run: &Run) {
    let source = Some(run.route.source);
    let Some(segment) = run.segments() else {
        return report(socket.send(run.route.to, source, &run.bytes, None));
    };
    if socket.segments() > 1 {
        match socket.send(run.route.to, source, &run.bytes, Some(segment)) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => report(Err(error)),
            _ => return,
        }
    }
    let packets = run.bytes.chunks(segment);
    let sent: Vec<_> = packets.map(|packet| socket.send(run.route.to, source, packet, None)).collect();
    if sent.iter().all(Result::is_err) && socket.segments() == 1 {
        // It was not segmentation that the kernel refused.
        report(socket.restore_segments());
    }
}

fn report(sent: io::Result<()>) {
    if let Err(error) = sent {
        debug!(%error, "send failed");
    }
}
