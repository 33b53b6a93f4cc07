//! What streams have brought and a worker has not handled yet. Sources take turns, and the streams of
//! a source, so that one that brings much delays only itself.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::IpAddr;

use super::stream::StreamMessages;
use webrtc_box_rate_limit::source_key;
use webrtc_box_turn::addr::ClientAddr;

/// By source and stream.
#[derive(Debug, Default)]
pub(super) struct Backlog(RoundRobin<IpAddr, RoundRobin<ClientAddr, VecDeque<StreamMessages>>>);

/// Queues that take turns.
#[derive(Debug)]
struct RoundRobin<K, Q> {
    queues: HashMap<K, Q>,
    /// Whose turn it is, in order; each that has a queue, once.
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

    /// `take` has its turn at the next queue, and says whether that is empty now.
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
        self.of(&stream_messages.client).push_back(stream_messages);
    }

    /// What is left of something, to be handled when its turn comes again.
    pub(super) fn put_back(&mut self, stream_messages: StreamMessages) {
        self.of(&stream_messages.client).push_front(stream_messages);
    }

    /// The next in turn.
    pub(super) fn pop(&mut self) -> Option<StreamMessages> {
        let taken = self.0.next(|streams| {
            let taken =
                streams.next(|stream_messages| (stream_messages.pop_front(), stream_messages.is_empty()));
            (taken, streams.order.is_empty())
        });
        taken.flatten().flatten()
    }

    /// Forgets what a stream that has ended brought.
    pub(super) fn remove(&mut self, client: &ClientAddr) {
        let source = source_key(client.remote.ip());
        let Some(streams) = self.0.queues.get_mut(&source) else { return };
        streams.remove(client);
        if streams.order.is_empty() {
            self.0.remove(&source);
        }
    }

    fn of(&mut self, client: &ClientAddr) -> &mut VecDeque<StreamMessages> {
        self.0.queue(source_key(client.remote.ip())).queue(*client)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use bytes::Bytes;

    use super::super::stream_reader::tests::permit;
    use super::*;
    use webrtc_box_turn::addr::Transport;

    fn client(last: u8, port: u16) -> ClientAddr {
        let local = SocketAddr::from(([198, 51, 100, 1], 3478));
        ClientAddr::new(Transport::Tcp, SocketAddr::from(([192, 0, 2, last], port)), local)
    }

    fn stream_messages(client: ClientAddr, name: u8) -> StreamMessages {
        StreamMessages::new(client, Bytes::from(vec![name]), permit())
    }

    fn order(backlog: &mut Backlog) -> Vec<u8> {
        std::iter::from_fn(|| backlog.pop()).map(|stream_messages| stream_messages.messages[0]).collect()
    }

    #[tokio::test]
    async fn a_source_that_brings_much_delays_itself_and_each_stream_has_its_turn() {
        let mut backlog = Backlog::default();
        (0..4).for_each(|name| backlog.push(stream_messages(client(1, 1), name)));
        backlog.push(stream_messages(client(1, 2), 10));
        backlog.push(stream_messages(client(2, 1), 20));
        assert_eq!(order(&mut backlog), [0, 20, 10, 1, 2, 3]);
        assert!(backlog.is_empty());
    }

    #[tokio::test]
    async fn what_is_put_back_comes_first_in_its_stream_and_after_other_streams() {
        let mut backlog = Backlog::default();
        [1, 2].into_iter().for_each(|name| backlog.push(stream_messages(client(1, 1), name)));
        backlog.push(stream_messages(client(2, 1), 20));
        let first = backlog.pop().unwrap();
        backlog.put_back(first);
        assert_eq!(order(&mut backlog), [20, 1, 2]);
    }

    #[tokio::test]
    async fn what_an_ended_stream_brought_is_forgotten() {
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
