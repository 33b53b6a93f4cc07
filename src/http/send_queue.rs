//! What waits to be written to one WebSocket: bounded in bytes, for it alone, for its source and in
//! all, so that who does not read costs little and then leaves.

use std::sync::Arc;

use tokio::sync::mpsc;

use webrtc_box_relay::queue_budget::{Charge, QueueShare, SourceBudget};

/// Bytes that may wait for one WebSocket.
const LIMIT: usize = 256 * 1024;

/// Bytes of it that the other seat may fill; the rest is for what the box itself has to say.
const LIMIT_RELAYED: usize = 192 * 1024;

/// How many of them no sum counts: who reads has hardly more waiting.
const RESERVE: usize = 32 * 1024;

/// What each frame counts for besides its text, so that small ones are bounded too.
const FRAME_COST: usize = 128;

/// The end that frames are put in.
#[derive(Debug)]
pub(super) struct Outbox {
    queue: mpsc::UnboundedSender<(Outgoing, Charge)>,
    share: Arc<QueueShare>,
}

/// The end that the connection writes from.
#[derive(Debug)]
pub(super) struct Inbox {
    queue: mpsc::UnboundedReceiver<(Outgoing, Charge)>,
}

/// Something for a WebSocket.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outgoing {
    /// A text frame.
    Frame(String),
    /// The end, with its code and reason.
    Close(u16, &'static str),
}

/// Two ends of one queue, of a connection of `source`.
pub(super) fn outbox(source: &Arc<SourceBudget>) -> (Outbox, Inbox) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Outbox { queue: sender, share: source.queue(LIMIT, RESERVE) }, Inbox { queue: receiver })
}

impl Outbox {
    /// Puts something in; `false` where too much waits already or nobody is there.
    pub(super) fn push(&self, outgoing: Outgoing) -> bool {
        self.push_within(LIMIT, outgoing)
    }

    /// The same for what the other seat has written.
    pub(super) fn push_relayed(&self, outgoing: Outgoing) -> bool {
        self.push_within(LIMIT_RELAYED, outgoing)
    }

    fn push_within(&self, limit: usize, outgoing: Outgoing) -> bool {
        let cost = outgoing.cost();
        let charge = if self.share.queued() + cost <= limit { self.share.charge(cost) } else { None };
        charge.is_some_and(|charge| self.queue.send((outgoing, charge)).is_ok())
    }
}

impl Inbox {
    /// The next thing to write; `None` once the other end is gone and all is written.
    pub(super) async fn next(&mut self) -> Option<Outgoing> {
        self.queue.recv().await.map(|(outgoing, _)| outgoing)
    }

    /// The next thing to write, if it waits already.
    pub(super) fn at_once(&mut self) -> Option<Outgoing> {
        self.queue.try_recv().ok().map(|(outgoing, _)| outgoing)
    }
}

impl Outgoing {
    fn cost(&self) -> usize {
        match self {
            Self::Frame(text) => text.len() + FRAME_COST,
            Self::Close(..) => FRAME_COST,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use webrtc_box_relay::queue_budget::QueueBudget;

    #[tokio::test]
    async fn what_waits_is_bounded_in_bytes() {
        let source = QueueBudget::new(1 << 20).enter(None);
        let (outbox, mut inbox) = outbox(&source);
        let frame = || Outgoing::Frame("x".repeat(64 * 1024));
        assert!((0..3).all(|_| outbox.push(frame())));
        assert_eq!(inbox.next().await, Some(frame()));
        assert!(outbox.push(frame()), "what was written makes room");
        assert!(!outbox.push(frame()));
    }

    #[tokio::test]
    async fn what_the_other_seat_writes_leaves_room_for_the_box_itself() {
        let source = QueueBudget::new(1 << 20).enter(None);
        let (outbox, mut inbox) = outbox(&source);
        let frame = |size| Outgoing::Frame("x".repeat(size));
        let taken = (0..10).filter(|_| outbox.push_relayed(frame(60 * 1024))).count();
        assert_eq!(taken, 3);
        assert!(outbox.push(frame(50 * 1024)), "a refusal costs nothing");
        assert!(inbox.next().await.is_some() && inbox.next().await.is_some());
        assert!(outbox.push_relayed(frame(60 * 1024)), "what was written makes room");
    }
}
