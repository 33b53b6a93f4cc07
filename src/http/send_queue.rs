//! The frames that wait to be written to one client, limited in bytes: per session, per source and in total. A client that does
//! not read therefore costs little memory before it is disconnected.

use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::mpsc;

use webrtc_box_relay::queue_budget::{Charge, QueueShare, SourceBudget};

use super::hub::Transport;

/// Bytes in one send queue at most.
const MAX_QUEUE_BYTES: usize = 256 * 1024;

/// Bytes in one send queue from which on relayed frames are refused; the rest is for frames of the server itself.
const MAX_RELAYED_BYTES: usize = 192 * 1024;

/// Bytes of one send queue that count towards no shared limit: a client that reads rarely has more in its queue.
const QUEUE_RESERVE_BYTES: usize = 32 * 1024;

/// The overhead of each frame, so that small frames are limited too.
const FRAME_OVERHEAD_BYTES: usize = 128;

/// The sending end of a send queue.
#[derive(Debug)]
pub(super) struct SendQueue {
    pub(super) transport: Transport,
    queue: mpsc::UnboundedSender<(Outgoing, Charge)>,
    share: Arc<QueueShare>,
}

/// The receiving end of a send queue, from which the connection writes.
#[derive(Debug)]
pub(super) struct SendReceiver {
    queue: mpsc::UnboundedReceiver<(Outgoing, Charge)>,
}

/// What a session sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outgoing {
    /// A text frame.
    Frame(String),
    /// The end of the session, with the code and reason of a close frame; the last item.
    Close(u16, &'static str),
}

/// Both ends of the send queue of a session from `source`.
pub(super) fn send_queue(transport: Transport, source: &Arc<SourceBudget>) -> (SendQueue, SendReceiver) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let share = source.queue(MAX_QUEUE_BYTES, QUEUE_RESERVE_BYTES);
    (SendQueue { transport, queue: sender, share }, SendReceiver { queue: receiver })
}

impl SendQueue {
    /// Appends an item; `false` if the queue is full or its receiver is gone.
    pub(super) fn push(&self, outgoing: Outgoing) -> bool {
        self.push_within(MAX_QUEUE_BYTES, outgoing)
    }

    /// Appends a frame of the other participant.
    pub(super) fn push_relayed(&self, outgoing: Outgoing) -> bool {
        self.push_within(MAX_RELAYED_BYTES, outgoing)
    }

    fn push_within(&self, limit: usize, outgoing: Outgoing) -> bool {
        let cost = outgoing.cost();
        let charge = if self.share.queued() + cost <= limit { self.share.charge(cost) } else { None };
        charge.is_some_and(|charge| self.queue.send((outgoing, charge)).is_ok())
    }
}

impl SendReceiver {
    /// The next item; `None` once the sending end is gone and the queue is empty.
    pub(super) async fn next(&mut self) -> Option<Outgoing> {
        self.next_charged().await.map(|(outgoing, _)| outgoing)
    }

    /// Like [`SendReceiver::next`]; the item counts towards the limits of the queue until its charge is dropped.
    pub(super) async fn next_charged(&mut self) -> Option<(Outgoing, Charge)> {
        std::future::poll_fn(|cx| self.poll_charged(cx)).await
    }

    /// Like [`SendReceiver::next_charged`], for a caller that polls.
    pub(super) fn poll_charged(&mut self, cx: &mut Context<'_>) -> Poll<Option<(Outgoing, Charge)>> {
        self.queue.poll_recv(cx)
    }

    /// Whether no further item will come.
    pub(super) fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// The next item with its charge, if there is one.
    pub(super) fn try_next_charged(&mut self) -> Option<(Outgoing, Charge)> {
        self.queue.try_recv().ok()
    }

    /// The next item, if there is one.
    pub(super) fn try_next(&mut self) -> Option<Outgoing> {
        self.try_next_charged().map(|(outgoing, _)| outgoing)
    }
}

impl Outgoing {
    fn cost(&self) -> usize {
        match self {
            Self::Frame(text) => text.len() + FRAME_OVERHEAD_BYTES,
            Self::Close(..) => FRAME_OVERHEAD_BYTES,
        }
    }
}

#[cfg(test)]
mod tests {
    use webrtc_box_relay::queue_budget::QueueBudget;

    use super::*;

    #[tokio::test]
    async fn the_queue_is_limited_in_bytes() {
        let source = QueueBudget::new(1 << 20).enter(None);
        let (queue, mut receiver) = send_queue(Transport::WebSocket, &source);
        let frame = || Outgoing::Frame("x".repeat(64 * 1024));
        assert!((0..3).all(|_| queue.push(frame())));
        assert_eq!(receiver.next().await, Some(frame()));
        assert!(queue.push(frame()), "a written frame makes room");
        assert!(!queue.push(frame()));
    }

    #[tokio::test]
    async fn relayed_frames_leave_room_for_frames_of_the_server() {
        let source = QueueBudget::new(1 << 20).enter(None);
        let (queue, mut receiver) = send_queue(Transport::WebSocket, &source);
        let frame = |size| Outgoing::Frame("x".repeat(size));
        let accepted = (0..10).filter(|_| queue.push_relayed(frame(60 * 1024))).count();
        assert_eq!(accepted, 3);
        assert!(queue.push(frame(50 * 1024)), "a rejected frame uses no bytes");
        assert!(receiver.next().await.is_some() && receiver.next().await.is_some());
        assert!(queue.push_relayed(frame(60 * 1024)), "a written frame makes room");
    }
}
