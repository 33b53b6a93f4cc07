//! What a relay shows of itself: its workers put their counts up twice a second, and whoever wants
//! them adds them up. Nobody waits for anybody.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use tracing::{debug, warn};

use crate::log_limit::LineLimit;
use webrtc_box_turn::stats::Tally;

/// The counts of a relay since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// What its servers did.
    pub tally: Tally,
    /// Packets lost on the way out, by [`Loss::ALL`].
    pub lost: [u64; 6],
    /// Reads of a socket that failed.
    pub receive_errors: u64,
    /// Relay sockets that could not be bound.
    pub unbound: u64,
}

/// Why a packet on its way out is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The socket's buffer was full.
    SocketFull,
    /// The kernel refused it.
    SocketError,
    /// Another worker has the stream, and too much waits for that worker already.
    InboxFull,
    /// The task of the stream did not keep up.
    HandoverFull,
    /// Too many bytes wait for a client that does not read.
    StreamFull,
    /// It had waited for too long for such a client.
    StreamLate,
}

impl Loss {
    /// All of them, in the order of the counts.
    pub const ALL: [Self; 6] = [
        Self::SocketFull,
        Self::SocketError,
        Self::InboxFull,
        Self::HandoverFull,
        Self::StreamFull,
        Self::StreamLate,
    ];
}

/// Where the workers put up what they have counted, each at its place.
#[derive(Clone, Debug)]
pub(super) struct Board {
    places: Arc<[ArcSwap<Figures>]>,
    losses: Arc<Losses>,
}

/// Losses outside the workers' own sending; rare, so that all may write to one place.
#[derive(Debug, Default)]
pub(super) struct Losses([AtomicU64; 6]);

/// What one worker could not send, read or bind.
#[derive(Debug, Default)]
pub(super) struct Unsent {
    full: Cell<u64>,
    refused: Cell<u64>,
    unread: Cell<u64>,
    unbound: Cell<u64>,
    /// How often it is said that the kernel refuses packets; the same for all workers.
    said: Option<Arc<LineLimit>>,
}

impl Board {
    pub(super) fn new(workers: usize) -> Self {
        Self { places: (0..workers).map(|_| ArcSwap::default()).collect(), losses: Arc::default() }
    }

    /// Puts up what worker `index` has counted.
    pub(super) fn show(&self, index: usize, tally: &Tally, unsent: &Unsent) {
        let (receive_errors, unbound) = (unsent.unread.get(), unsent.unbound.get());
        let mut figures = Figures { tally: tally.clone(), lost: [0; 6], receive_errors, unbound };
        figures.lost[Loss::SocketFull as usize] = unsent.full.get();
        figures.lost[Loss::SocketError as usize] = unsent.refused.get();
        self.places[index].store(Arc::new(figures));
    }

    /// Where losses outside the workers are counted.
    pub(super) fn losses(&self) -> Arc<Losses> {
        Arc::clone(&self.losses)
    }

    /// All together; what a worker did since its last beat is not in there yet.
    pub(super) fn sum(&self) -> Figures {
        let mut sum = Figures::default();
        for shown in self.places.iter().map(|place| place.load()) {
            sum.tally.add(&shown.tally);
            sum.lost.iter_mut().zip(&shown.lost).for_each(|(sum, lost)| *sum += lost);
            sum.receive_errors += shown.receive_errors;
            sum.unbound += shown.unbound;
        }
        sum.lost.iter_mut().zip(&self.losses.0).for_each(|(sum, lost)| *sum += lost.load(Ordering::Relaxed));
        sum
    }
}

impl Losses {
    pub(super) fn count(&self, loss: Loss) {
        self.0[loss as usize].fetch_add(1, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn of(&self, loss: Loss) -> u64 {
        self.0[loss as usize].load(Ordering::Relaxed)
    }
}

impl Unsent {
    /// One that is told of in the log, too.
    pub(super) fn told(said: Arc<LineLimit>) -> Self {
        Self { said: Some(said), ..Self::default() }
    }

    /// A socket could not be read.
    pub(super) fn unread(&self) {
        self.unread.set(self.unread.get() + 1);
    }

    /// A relay socket could not be bound.
    pub(super) fn unbound(&self) {
        self.unbound.set(self.unbound.get() + 1);
    }

    /// Notes how the sending of so many packets at once went.
    pub(super) fn note(&self, sent: io::Result<()>, packets: usize) {
        let Err(error) = sent else { return };
        let full = error.kind() == io::ErrorKind::WouldBlock;
        let count = if full { &self.full } else { &self.refused };
        count.set(count.get() + packets as u64);
        let limit = self.said.as_ref().filter(|_| !full);
        match limit.and_then(|limit| limit.allows(Instant::now())) {
            Some(held) => warn!(%error, held, "packets are lost: the kernel refuses to send them"),
            None => debug!(%error, "send failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_workers_put_up_is_added_and_put_up_anew_replaces_the_old() {
        let board = Board::new(2);
        let unsent = Unsent::default();
        let tally = Tally { unanswered: 3, ..Tally::default() };
        board.show(0, &tally, &unsent);
        unsent.note(Err(io::ErrorKind::WouldBlock.into()), 7);
        unsent.note(Err(io::ErrorKind::NetworkUnreachable.into()), 1);
        unsent.note(Ok(()), 1);
        board.show(1, &tally, &unsent);
        board.show(1, &tally, &unsent);
        board.losses().count(Loss::StreamLate);
        unsent.unread();
        unsent.unbound();
        board.show(0, &tally, &unsent);
        let sum = board.sum();
        assert_eq!((sum.receive_errors, sum.unbound), (1, 1));
        assert_eq!(sum.tally.unanswered, 6);
        assert_eq!(sum.lost, [14, 2, 0, 0, 0, 1]);
    }

    #[test]
    fn every_loss_stands_at_its_place() {
        assert!(Loss::ALL.iter().enumerate().all(|(at, loss)| *loss as usize == at));
    }
}
