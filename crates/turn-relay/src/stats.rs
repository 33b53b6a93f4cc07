//! What a relay shows of itself: its workers put their counts up twice a second, and whoever wants
//! them adds them up. Nobody waits for anybody.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use tracing::{debug, warn};

use crate::log_limit::LogLimit;
use webrtc_box_turn::stats::ServerStats;

/// The counts of a relay since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelayStats {
    /// What its servers did.
    pub server_stats: ServerStats,
    /// Packets lost on the way out, by [`PacketLoss::ALL`].
    pub lost: [u64; 6],
    /// Reads of a socket that failed.
    pub receive_errors: u64,
    /// Relay sockets that could not be bound.
    pub bind_errors: u64,
}

/// Why a packet on its way out is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketLoss {
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

impl PacketLoss {
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
pub(super) struct StatsBoard {
    places: Arc<[ArcSwap<RelayStats>]>,
    losses: Arc<LossCounters>,
}

/// LossCounters outside the workers' own sending; rare, so that all may write to one place.
#[derive(Debug, Default)]
pub(super) struct LossCounters([AtomicU64; 6]);

/// What one worker could not send, read or bind.
#[derive(Debug, Default)]
pub(super) struct ErrorCounters {
    full: Cell<u64>,
    port_error: Cell<u64>,
    read_errors: Cell<u64>,
    bind_errors: Cell<u64>,
    /// How often it is said that the kernel refuses packets; the same for all workers.
    log_limit: Option<Arc<LogLimit>>,
}

impl StatsBoard {
    pub(super) fn new(workers: usize) -> Self {
        Self { places: (0..workers).map(|_| ArcSwap::default()).collect(), losses: Arc::default() }
    }

    /// Puts up what worker `index` has counted.
    pub(super) fn publish(&self, index: usize, server_stats: &ServerStats, errors: &ErrorCounters) {
        let (receive_errors, bind_errors) = (errors.read_errors.get(), errors.bind_errors.get());
        let mut stats =
            RelayStats { server_stats: server_stats.clone(), lost: [0; 6], receive_errors, bind_errors };
        stats.lost[PacketLoss::SocketFull as usize] = errors.full.get();
        stats.lost[PacketLoss::SocketError as usize] = errors.port_error.get();
        self.places[index].store(Arc::new(stats));
    }

    /// Where losses outside the workers are counted.
    pub(super) fn losses(&self) -> Arc<LossCounters> {
        Arc::clone(&self.losses)
    }

    /// All together; what a worker did since its last beat is not in there yet.
    pub(super) fn sum(&self) -> RelayStats {
        let mut sum = RelayStats::default();
        for shown in self.places.iter().map(|place| place.load()) {
            sum.server_stats.add(&shown.server_stats);
            sum.lost.iter_mut().zip(&shown.lost).for_each(|(sum, lost)| *sum += lost);
            sum.receive_errors += shown.receive_errors;
            sum.bind_errors += shown.bind_errors;
        }
        sum.lost.iter_mut().zip(&self.losses.0).for_each(|(sum, lost)| *sum += lost.load(Ordering::Relaxed));
        sum
    }
}

impl LossCounters {
    pub(super) fn count(&self, loss: PacketLoss) {
        self.0[loss as usize].fetch_add(1, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn of(&self, loss: PacketLoss) -> u64 {
        self.0[loss as usize].load(Ordering::Relaxed)
    }
}

impl ErrorCounters {
    /// One that is told of in the log, too.
    pub(super) fn with_log(log_limit: Arc<LogLimit>) -> Self {
        Self { log_limit: Some(log_limit), ..Self::default() }
    }

    /// A socket could not be read.
    pub(super) fn count_read_error(&self) {
        self.read_errors.set(self.read_errors.get() + 1);
    }

    /// A relay socket could not be bound.
    pub(super) fn count_bind_error(&self) {
        self.bind_errors.set(self.bind_errors.get() + 1);
    }

    /// Notes how the sending of so many packets at once went.
    pub(super) fn record(&self, sent: io::Result<()>, packets: usize) {
        let Err(error) = sent else { return };
        let full = error.kind() == io::ErrorKind::WouldBlock;
        let count = if full { &self.full } else { &self.port_error };
        count.set(count.get() + packets as u64);
        let limit = self.log_limit.as_ref().filter(|_| !full);
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
        let stats_board = StatsBoard::new(2);
        let errors = ErrorCounters::default();
        let server_stats = ServerStats { unanswered: 3, ..ServerStats::default() };
        stats_board.publish(0, &server_stats, &errors);
        errors.record(Err(io::ErrorKind::WouldBlock.into()), 7);
        errors.record(Err(io::ErrorKind::NetworkUnreachable.into()), 1);
        errors.record(Ok(()), 1);
        stats_board.publish(1, &server_stats, &errors);
        stats_board.publish(1, &server_stats, &errors);
        stats_board.losses().count(PacketLoss::StreamLate);
        errors.count_read_error();
        errors.count_bind_error();
        stats_board.publish(0, &server_stats, &errors);
        let sum = stats_board.sum();
        assert_eq!((sum.receive_errors, sum.bind_errors), (1, 1));
        assert_eq!(sum.server_stats.unanswered, 6);
        assert_eq!(sum.lost, [14, 2, 0, 0, 0, 1]);
    }

    #[test]
    fn every_loss_stands_at_its_place() {
        assert!(PacketLoss::ALL.iter().enumerate().all(|(at, loss)| *loss as usize == at));
    }
}
