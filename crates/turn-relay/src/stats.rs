//! Counters of the relay. Each worker publishes its counters twice a second; a reader adds them up. Neither waits for the
//! other.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use tracing::{debug, warn};

use webrtc_box_rate_limit::LogLimit;
use webrtc_box_turn::stats::ServerStats;

/// Counters of a relay since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelayStats {
    /// Counters of the protocol code, summed over all workers.
    pub server_stats: ServerStats,
    /// Outgoing packets lost, in the order of [`PacketLoss::ALL`].
    pub lost: [u64; 6],
    /// Failed reads of sockets.
    pub receive_errors: u64,
    /// Relay sockets that could not be bound.
    pub bind_errors: u64,
}

/// Why an outgoing packet was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketLoss {
    /// The socket buffer was full.
    SocketFull,
    /// The kernel refused to send it.
    SocketError,
    /// Another worker has the stream, and too many bytes wait for that worker.
    InboxFull,
    /// The task of the stream did not keep up with its worker.
    HandoverFull,
    /// Too many bytes waited for a client that does not read.
    StreamFull,
    /// It waited too long for a client that does not read.
    StreamLate,
}

impl PacketLoss {
    /// All reasons, in the order of [`RelayStats::lost`].
    pub const ALL: [Self; 6] = [
        Self::SocketFull,
        Self::SocketError,
        Self::InboxFull,
        Self::HandoverFull,
        Self::StreamFull,
        Self::StreamLate,
    ];
}

/// The published counters of all workers.
#[derive(Clone, Debug)]
pub(super) struct StatsBoard {
    workers: Arc<[ArcSwap<RelayStats>]>,
    losses: Arc<LossCounters>,
}

/// Losses outside the sends of workers. They are rare, so all threads share these counters.
#[derive(Debug, Default)]
pub(super) struct LossCounters([AtomicU64; 6]);

/// Failed sends, reads and binds of one worker.
#[derive(Debug, Default)]
pub(super) struct ErrorCounters {
    full: Cell<u64>,
    refused: Cell<u64>,
    read_errors: Cell<u64>,
    bind_errors: Cell<u64>,
    /// Limits log lines about refused packets; shared by all workers.
    log_limit: Option<Arc<LogLimit>>,
}

impl StatsBoard {
    pub(super) fn new(workers: usize) -> Self {
        Self { workers: (0..workers).map(|_| ArcSwap::default()).collect(), losses: Arc::default() }
    }

    /// Publishes the counters of worker `index`.
    pub(super) fn publish(&self, index: usize, server_stats: &ServerStats, errors: &ErrorCounters) {
        let (receive_errors, bind_errors) = (errors.read_errors.get(), errors.bind_errors.get());
        let mut stats =
            RelayStats { server_stats: server_stats.clone(), lost: [0; 6], receive_errors, bind_errors };
        stats.lost[PacketLoss::SocketFull as usize] = errors.full.get();
        stats.lost[PacketLoss::SocketError as usize] = errors.refused.get();
        self.workers[index].store(Arc::new(stats));
    }

    /// Counters for losses outside the sends of workers.
    pub(super) fn losses(&self) -> Arc<LossCounters> {
        Arc::clone(&self.losses)
    }

    /// The sum over all workers, as of the last tick of each.
    pub(super) fn sum(&self) -> RelayStats {
        let mut sum = RelayStats::default();
        for worker in self.workers.iter().map(|worker| worker.load()) {
            sum.server_stats.add(&worker.server_stats);
            sum.lost.iter_mut().zip(&worker.lost).for_each(|(sum, lost)| *sum += lost);
            sum.receive_errors += worker.receive_errors;
            sum.bind_errors += worker.bind_errors;
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
    /// Counters that also log refused packets.
    pub(super) fn with_log(log_limit: Arc<LogLimit>) -> Self {
        Self { log_limit: Some(log_limit), ..Self::default() }
    }

    /// Counts a failed read of a socket.
    pub(super) fn count_read_error(&self) {
        self.read_errors.set(self.read_errors.get() + 1);
    }

    /// Counts a relay socket that could not be bound.
    pub(super) fn count_bind_error(&self) {
        self.bind_errors.set(self.bind_errors.get() + 1);
    }

    /// Counts and logs the outcome of a send of `packets` packets.
    pub(super) fn record(&self, sent: io::Result<()>, packets: usize) {
        let Err(error) = sent else { return };
        let full = error.kind() == io::ErrorKind::WouldBlock;
        let counter = if full { &self.full } else { &self.refused };
        counter.set(counter.get() + packets as u64);
        let limit = self.log_limit.as_ref().filter(|_| !full);
        match limit.and_then(|limit| limit.allows(Instant::now())) {
            Some(held) => warn!(%error, held, "packets lost: the kernel refuses to send them"),
            None => debug!(%error, "send failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_has_the_last_published_counters_of_each_worker() {
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
    fn every_loss_is_at_its_index() {
        assert!(PacketLoss::ALL.iter().enumerate().all(|(index, loss)| *loss as usize == index));
    }
}
