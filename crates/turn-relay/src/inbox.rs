//! What waits for a worker: messages from other threads, and messages that streams brought.
//!
//! An inbox is unbounded, because what goes into it is bounded elsewhere: stream messages by permits, frames from other
//! workers by a budget in bytes. In the backlog sources take turns, and within a source its streams, so a client that
//! sends much delays only itself.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::epoll::Waker;
use super::stats::{LossCounters, PacketLoss, StatsBoard};
use super::stream::{StreamHandle, frame_cost};
use super::stream_reader::InFlightPermit;
use webrtc_box_rate_limit::source_key;
use webrtc_box_turn::addr::{ClientAddr, Families};
use webrtc_box_turn::credential::Secrets;
use webrtc_box_turn::principal::PrincipalEvent;

/// A message to a worker.
#[derive(Debug)]
pub(super) enum WorkerMsg {
    Principal(PrincipalEvent),
    StreamOpened(ClientAddr, StreamHandle),
    StreamMessages(StreamMessages),
    StreamClosed(ClientAddr),
    /// A frame from another worker for a stream of this worker.
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

/// Consecutive complete messages from one stream.
#[derive(Debug)]
pub(super) struct StreamMessages {
    pub(super) client: ClientAddr,
    pub(super) messages: Bytes,
    /// Released once the replies are queued: a stream is read no faster than it is answered.
    _permit: InFlightPermit,
}

impl StreamMessages {
    pub(super) fn new(client: ClientAddr, messages: Bytes, permit: InFlightPermit) -> Self {
        Self { client, messages, _permit: permit }
    }
}

/// The inboxes of all workers.
#[derive(Clone, Debug)]
pub(super) struct Inboxes(Arc<[Inbox]>);

#[derive(Debug)]
struct Inbox {
    messages: UnboundedSender<WorkerMsg>,
    waker: Arc<Waker>,
    /// Bytes of frames from other workers that may wait here, in shards that several streams share.
    frame_budget: [Arc<Semaphore>; FRAME_BUDGET_SHARDS],
    losses: Arc<LossCounters>,
}

/// Shards of the frame budget, chosen by the destination stream: a flood to one stream affects only its shard.
const FRAME_BUDGET_SHARDS: usize = 8;
/// Bytes of frames from other workers in one shard; further frames are dropped, as by a full socket buffer.
const FRAME_BUDGET_BYTES: usize = 1 << 19;

impl Inboxes {
    pub(super) fn new(
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

    /// Sends a message to every worker.
    pub(super) fn broadcast(&self, message: impl Fn() -> WorkerMsg) {
        (0..self.0.len()).for_each(|worker| self.send(worker, message()));
    }

    pub(super) fn send(&self, worker: usize, message: WorkerMsg) {
        self.enqueue(worker, message);
        self.0[worker].waker.wake();
    }

    /// Sends a message to every worker without a wake-up: it is read with the next packet or tick.
    pub(super) fn enqueue_all(&self, message: impl Fn() -> WorkerMsg) {
        (0..self.0.len()).for_each(|worker| self.enqueue(worker, message()));
    }

    fn enqueue(&self, worker: usize, message: WorkerMsg) {
        // Fails only if the worker has stopped.
        let _ = self.0[worker].messages.send(message);
    }

    /// Passes a frame to the worker that has the stream.
    pub(super) fn send_frame(&self, worker: usize, client: ClientAddr, frame: Bytes) {
        // The low bits of the port select the worker; the others select the shard.
        let shard = usize::from(client.remote.port()) / self.0.len() % FRAME_BUDGET_SHARDS;
        let budget = Arc::clone(&self.0[worker].frame_budget[shard]);
        match budget.try_acquire_many_owned(frame_cost(&frame) as u32) {
            Ok(permit) => self.send(worker, WorkerMsg::StreamFrame(client, frame, permit)),
            Err(_) => self.0[worker].losses.count(PacketLoss::InboxFull),
        }
    }

    /// The worker of a stream. It depends only on the 5-tuple, so the end of a stream is handled before the next stream
    /// with the same 5-tuple.
    pub(super) fn worker_for(&self, client: &ClientAddr) -> usize {
        usize::from(client.remote.port()) % self.0.len()
    }
}

/// Sends principal events to every worker. Clones share the inboxes.
#[derive(Clone, Debug)]
pub struct PrincipalFeed(pub(super) Inboxes);

impl PrincipalFeed {
    /// Sends `event` to every worker. An admission wakes no worker, because a worker reads its inbox before its packets.
    pub fn send(&self, event: PrincipalEvent) {
        match event {
            PrincipalEvent::Admitted(..) => self.0.enqueue_all(|| WorkerMsg::Principal(event)),
            PrincipalEvent::Left(..) | PrincipalEvent::Expired(..) => {
                self.0.broadcast(|| WorkerMsg::Principal(event))
            }
        }
    }
}

/// Stream messages that a worker has not handled yet, by source and stream.
#[derive(Debug, Default)]
pub(super) struct Backlog(RoundRobin<IpAddr, RoundRobin<ClientAddr, VecDeque<StreamMessages>>>);

/// Queues that take turns.
#[derive(Debug)]
struct RoundRobin<K, Q> {
    queues: HashMap<K, Q>,
    /// The keys of all queues in the order of their turns.
    order: VecDeque<K>,
}

impl<K, Q> Default for RoundRobin<K, Q> {
    fn default() -> Self {
        Self { queues: HashMap::new(), order: VecDeque::new() }
    }
}

impl<K: Copy + Eq + Hash, Q: Default> RoundRobin<K, Q> {
    fn queue(&mut self, key: K) -> &mut Q {
        self.queues.entry(key).or_insert_with(|| {
            self.order.push_back(key);
            Q::default()
        })
    }

    /// Calls `take` with the next queue. It returns an item, and whether the queue is empty now.
    fn next<T>(&mut self, take: impl FnOnce(&mut Q) -> (T, bool)) -> Option<T> {
        let key = self.order.pop_front()?;
        let (taken, empty) = take(self.queues.get_mut(&key)?);
        if empty {
            self.queues.remove(&key);
        } else {
            self.order.push_back(key);
        }
        Some(taken)
    }

    fn remove(&mut self, key: &K) {
        if self.queues.remove(key).is_some() {
            self.order.retain(|other| other != key);
        }
    }
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.0.order.is_empty()
    }

    pub(super) fn push(&mut self, stream_messages: StreamMessages) {
        self.queue_of(&stream_messages.client).push_back(stream_messages);
    }

    /// Puts the unhandled rest of an item back to the front of its stream.
    pub(super) fn put_back(&mut self, stream_messages: StreamMessages) {
        self.queue_of(&stream_messages.client).push_front(stream_messages);
    }

    /// The next item in turn.
    pub(super) fn pop(&mut self) -> Option<StreamMessages> {
        let taken = self.0.next(|streams| {
            (streams.next(|queue| (queue.pop_front(), queue.is_empty())), streams.order.is_empty())
        });
        taken.flatten().flatten()
    }

    /// Drops the messages of a closed stream.
    pub(super) fn remove(&mut self, client: &ClientAddr) {
        let source = source_key(client.remote.ip());
        let Some(streams) = self.0.queues.get_mut(&source) else { return };
        streams.remove(client);
        if streams.order.is_empty() {
            self.0.remove(&source);
        }
    }

    fn queue_of(&mut self, client: &ClientAddr) -> &mut VecDeque<StreamMessages> {
        self.0.queue(source_key(client.remote.ip())).queue(*client)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::super::stream_reader::tests::permit;
    use super::*;
    use webrtc_box_turn::addr::Transport;

    fn client(host: u8, port: u16) -> ClientAddr {
        let local = SocketAddr::from(([198, 51, 100, 1], 3478));
        ClientAddr::new(Transport::Tcp, SocketAddr::from(([192, 0, 2, host], port)), local)
    }

    fn stream_messages(client: ClientAddr, label: u8) -> StreamMessages {
        StreamMessages::new(client, Bytes::from(vec![label]), permit())
    }

    /// The labels in the order in which they are handled.
    fn order(backlog: &mut Backlog) -> Vec<u8> {
        std::iter::from_fn(|| backlog.pop()).map(|stream_messages| stream_messages.messages[0]).collect()
    }

    #[tokio::test]
    async fn sources_take_turns_and_so_do_the_streams_of_a_source() {
        let mut backlog = Backlog::default();
        (0..4).for_each(|label| backlog.push(stream_messages(client(1, 1), label)));
        backlog.push(stream_messages(client(1, 2), 10));
        backlog.push(stream_messages(client(2, 1), 20));
        assert_eq!(order(&mut backlog), [0, 20, 10, 1, 2, 3]);
        assert!(backlog.is_empty());
    }

    #[tokio::test]
    async fn an_item_put_back_is_first_in_its_stream_but_after_other_streams() {
        let mut backlog = Backlog::default();
        [1, 2].into_iter().for_each(|label| backlog.push(stream_messages(client(1, 1), label)));
        backlog.push(stream_messages(client(2, 1), 20));
        let first = backlog.pop().unwrap();
        backlog.put_back(first);
        assert_eq!(order(&mut backlog), [20, 1, 2]);
    }

    #[tokio::test]
    async fn messages_of_a_closed_stream_are_dropped() {
        let mut backlog = Backlog::default();
        backlog.push(stream_messages(client(1, 1), 1));
        backlog.push(stream_messages(client(1, 2), 2));
        backlog.push(stream_messages(client(2, 1), 3));
        backlog.remove(&client(1, 1));
        backlog.remove(&client(2, 1));
        assert_eq!(order(&mut backlog), [2]);
        assert!(backlog.0.queues.is_empty());
    }
}
