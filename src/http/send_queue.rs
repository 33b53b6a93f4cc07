//! The send queue of one WebSocket, limited in bytes: per WebSocket, per source and in total. A client that does not read
//! therefore costs little memory before it is disconnected.

use std::sync::Arc;

use tokio::sync::mpsc;

use webrtc_box_relay::queue_budget::{Charge, QueueShare, SourceBudget};

/// Bytes in one queue at most.
const MAX_BYTES: usize = 256 * 1024;

/// Bytes of it for relayed frames; the rest is for frames of the server itself.
const MAX_RELAYED_BYTES: usize = 192 * 1024;

/// Bytes of it that count towards no shared limit: a client that reads rarely has more in its queue.
const RESERVE: usize = 32 * 1024;

/// The overhead of each frame, so that small frames are limited too.
const FRAME_OVERHEAD: usize = 128;

/// The sending end.
#[derive(Debug)]
pub(super) struct SendQueue {
    queue: mpsc::UnboundedSender<(Outgoing, Charge)>,
    share: Arc<QueueShare>,
}

/// The receiving end, from which the connection writes.
#[derive(Debug)]
pub(super) struct SendReceiver {
    queue: mpsc::UnboundedReceiver<(Outgoing, Charge)>,
}

/// What a WebSocket sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outgoing {
    /// A text frame.
    Frame(String),
    /// A close frame with code and reason; the last item.
    Close(u16, &'static str),
}

/// Both ends of the queue of a connection from `source`.
pub(super) fn send_queue(source: &Arc<SourceBudget>) -> (SendQueue, SendReceiver) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (SendQueue { queue: sender, share: source.queue(MAX_BYTES, RESERVE) }, SendReceiver { queue: receiver })
}

impl SendQueue {
    /// Appends an item; `false` if the queue is full or its receiver is gone.
    pub(super) fn push(&self, outgoing: Outgoing) -> bool {
        self.push_within(MAX_BYTES, outgoing)
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
        self.queue.recv().await.map(|(outgoing, _)| outgoing)
    }

    /// The next item, if there is one.
    pub(super) fn try_next(&mut self) -> Option<Outgoing> {
        self.queue.try_recv().ok().map(|(outgoing, _)| outgoing)
    }
}

impl Outgoing {
    fn cost(&self) -> usize {
        match self {
            Self::Frame(text) => text.len() + FRAME_OVERHEAD,
            Self::Close(..) => FRAME_OVERHEAD,
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
        let (queue, mut receiver) = send_queue(&source);
        let frame = || Outgoing::Frame("x".repeat(64 * 1024));
        assert!((0..3).all(|_| queue.push(frame())));
        assert_eq!(receiver.next().await, Some(frame()));
        assert!(queue.push(frame()), "a written frame makes room");
        assert!(!queue.push(frame()));
    }

    #[tokio::test]
    async fn relayed_frames_leave_room_for_frames_of_the_server() {
        let source = QueueBudget::new(1 << 20).enter(None);
        let (queue, mut receiver) = send_queue(&source);
        let frame = |size| Outgoing::Frame("x".repeat(size));
        let accepted = (0..10).filter(|_| queue.push_relayed(frame(60 * 1024))).count();
        assert_eq!(accepted, 3);
        assert!(queue.push(frame(50 * 1024)), "a rejected frame uses no bytes");
        assert!(receiver.next().await.is_some() && receiver.next().await.is_some());
        assert!(queue.push_relayed(frame(60 * 1024)), "a written frame makes room");
    }
}
