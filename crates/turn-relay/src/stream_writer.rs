//! What a worker sends to a stream becomes bytes, whole frames at a time. A client that does not read
//! loses the oldest, delays nobody, and is given up in the end.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Notify;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, sleep};

use super::stats::{LossCounters, PacketLoss};
use crate::queue_budget::Charge;

/// A frame on its way out.
#[derive(Debug)]
pub(super) struct OutgoingFrame {
    pub(super) bytes: Bytes,
    pub(super) since: Instant,
    pub(super) charge: Charge,
}

/// ErrorCounters bytes of one stream, as their memory is counted.
const MAX_QUEUE_BYTES: usize = 1 << 19;
/// ErrorCounters media older than this is worth nothing.
const MAX_FRAME_AGE: Duration = Duration::from_millis(500);
/// How often a queue that waits is looked through for what is older.
const PRUNE_INTERVAL: Duration = Duration::from_millis(250);
/// How long a write may be without progress.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Written at a time.
const CHUNK: usize = 1 << 14;
/// What a frame costs besides its bytes: its places in two queues, and the allocator's share.
const FRAME_OVERHEAD: usize = 192;
/// Places that an empty queue keeps.
const RETAINED_CAPACITY: usize = 64;

/// Memory that a frame takes while it waits.
pub(super) fn frame_cost(bytes: &[u8]) -> usize {
    bytes.len() + FRAME_OVERHEAD
}

/// Writes what the worker sends, to the last of it once the worker has let go, and tells `drained`
/// whenever nothing waits.
pub(super) async fn write(
    mut writer: impl AsyncWrite + Unpin,
    mut outgoing: Receiver<OutgoingFrame>,
    losses: &LossCounters,
    drained: &Notify,
) -> io::Result<()> {
    let mut queue = Queue::new(losses);
    let mut prune_timer = std::pin::pin!(sleep(PRUNE_INTERVAL));
    let (mut worker_attached, mut was_pending, mut progress) = (true, false, Instant::now());
    loop {
        if queue.writing.is_empty() {
            queue.next();
        }
        if !queue.is_pending() {
            drained.notify_one();
            if !worker_attached {
                return writer.shutdown().await;
            }
        }
        if queue.is_pending() && !was_pending {
            progress = Instant::now();
            prune_timer.as_mut().reset(progress + PRUNE_INTERVAL);
        }
        was_pending = queue.is_pending();
        tokio::select! {
            more = outgoing.recv(), if worker_attached => match more {
                Some(more) => queue.push(more),
                None => worker_attached = false,
            },
            written = write_some(&mut writer, &queue.writing), if was_pending => {
                queue.written(written?);
                progress = Instant::now();
            }
            () = prune_timer.as_mut(), if was_pending => {
                let now = Instant::now();
                if now - progress >= WRITE_TIMEOUT {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                queue.prune(now);
                prune_timer.as_mut().reset(now + PRUNE_INTERVAL);
            }
        }
    }
}

/// Writes some of `bytes`; where there are none, brings out what TLS still holds back. How many
/// were written.
async fn write_some(writer: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<usize> {
    if bytes.is_empty() {
        writer.flush().await?;
        return Ok(0);
    }
    match writer.write(bytes).await? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        written => Ok(written),
    }
}

/// Frames that wait for room, bounded in bytes and in age, and those being written.
#[derive(Debug)]
struct Queue<'l> {
    losses: &'l LossCounters,
    frames: VecDeque<OutgoingFrame>,
    bytes: usize,
    writing: BytesMut,
    /// For what is being written, or may still be held back by TLS.
    charge: Option<Charge>,
}

impl<'l> Queue<'l> {
    fn new(losses: &'l LossCounters) -> Self {
        Self { losses, frames: VecDeque::new(), bytes: 0, writing: BytesMut::new(), charge: None }
    }

    /// Whether there is something to write, or to flush.
    fn is_pending(&self) -> bool {
        !self.writing.is_empty() || self.charge.is_some()
    }

    fn push(&mut self, frame: OutgoingFrame) {
        self.bytes += frame_cost(&frame.bytes);
        let now = frame.since;
        self.frames.push_back(frame);
        self.prune(now);
    }

    /// Takes as many frames as fit one write.
    fn next(&mut self) {
        self.prune(Instant::now());
        if self.frames.is_empty() {
            return;
        }
        self.charge = None;
        while let Some(frame) = self.frames.front() {
            if !self.writing.is_empty() && self.writing.len() + frame.bytes.len() > CHUNK {
                break;
            }
            let Some(frame) = self.pop() else { break };
            self.writing.extend_from_slice(&frame.bytes);
            self.charge = match self.charge.take() {
                Some(charge) => Some(charge.and(frame.charge)),
                None => Some(frame.charge),
            };
        }
    }

    /// So many bytes of what is being written have left; with none of it left, all has.
    fn written(&mut self, written: usize) {
        if self.writing.is_empty() {
            // It waits for nothing: idle streams hold no memory.
            (self.writing, self.charge) = (BytesMut::new(), None);
        } else {
            self.writing.advance(written);
        }
    }

    /// Drops the oldest until what is left is young and small enough.
    fn prune(&mut self, now: Instant) {
        let stale = |frame: &OutgoingFrame| now.saturating_duration_since(frame.since) > MAX_FRAME_AGE;
        loop {
            let loss = match self.frames.front() {
                Some(frame) if stale(frame) => PacketLoss::StreamLate,
                Some(_) if self.bytes > MAX_QUEUE_BYTES => PacketLoss::StreamFull,
                Some(_) | None => break,
            };
            self.losses.count(loss);
            self.pop();
        }
        if self.frames.is_empty() && self.frames.capacity() > RETAINED_CAPACITY {
            self.frames = VecDeque::new();
        }
    }

    fn pop(&mut self) -> Option<OutgoingFrame> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame_cost(&frame.bytes);
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::AsyncReadExt as _;
    use tokio::sync::mpsc::channel;

    use super::*;
    use crate::queue_budget::{QueueBudget, QueueShare};

    fn share() -> Arc<QueueShare> {
        QueueBudget::new(1 << 26).enter(None).queue(1 << 26, 0)
    }

    fn frame(share: &Arc<QueueShare>, length: usize, since: Instant) -> OutgoingFrame {
        let bytes = Bytes::from(vec![7; length]);
        let charge = share.charge(frame_cost(&bytes)).unwrap();
        OutgoingFrame { bytes, since, charge }
    }

    #[test]
    fn the_queue_keeps_the_youngest_within_its_bytes_as_memory_counts_them() {
        let (now, losses, share) = (Instant::now(), LossCounters::default(), share());
        let mut queue = Queue::new(&losses);
        for _ in 0..20_000 {
            queue.push(frame(&share, 72, now));
        }
        let kept = MAX_QUEUE_BYTES / (72 + FRAME_OVERHEAD);
        assert_eq!((queue.frames.len(), queue.bytes), (kept, share.queued()));
        assert_eq!(losses.of(PacketLoss::StreamFull), 20_000 - kept as u64);
    }

    #[test]
    fn what_is_half_a_second_old_is_not_sent() {
        let (now, losses, share) = (Instant::now(), LossCounters::default(), share());
        let mut queue = Queue::new(&losses);
        queue.push(frame(&share, 10, now - MAX_FRAME_AGE * 2));
        queue.push(frame(&share, 20, now));
        queue.next();
        assert_eq!((queue.writing.len(), queue.bytes), (20, 0));
        assert_eq!((losses.of(PacketLoss::StreamLate), losses.of(PacketLoss::StreamFull)), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_gets_whole_frames_and_only_young_ones() {
        let (mut client, server) = tokio::io::duplex(1000);
        let (out, outgoing) = channel(512);
        let losses = Arc::new(LossCounters::default());
        let counting = Arc::clone(&losses);
        let writer = tokio::spawn(async move { write(server, outgoing, &counting, &Notify::new()).await });
        let share = share();
        for number in 0..40_u8 {
            let bytes = Bytes::from(vec![number; 100]);
            let charge = share.charge(frame_cost(&bytes)).unwrap();
            out.send(OutgoingFrame { bytes, since: Instant::now(), charge }).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        drop(out);
        let mut got = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(5), client.read_to_end(&mut got)).await;
        let frames: Vec<u8> = got.chunks(100).map(|frame| frame[0]).collect();
        assert!(
            got.chunks(100).all(|frame| frame.len() == 100 && frame.iter().all(|byte| *byte == frame[0]))
        );
        assert!(frames.windows(2).all(|pair| pair[0] < pair[1]), "{frames:?}");
        assert!(frames.len() < 40, "old ones are dropped");
        assert_eq!(frames.len() as u64 + losses.of(PacketLoss::StreamLate), 40, "and counted");
        let _ = writer.await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_is_forgotten_though_nothing_more_comes_and_a_write_has_ten_seconds() {
        let (_client, server) = tokio::io::duplex(100);
        let (out, outgoing) = channel(512);
        let (losses, share, begun) = (LossCounters::default(), share(), Instant::now());
        for _ in 0..100 {
            out.send(frame(&share, 10_000, begun)).await.unwrap();
        }
        let drained = Notify::new();
        let writing = write(server, outgoing, &losses, &drained);
        let mut writing = std::pin::pin!(writing);
        let early = tokio::time::timeout(Duration::from_secs(1), writing.as_mut()).await;
        assert!(early.is_err() && share.queued() <= CHUNK, "{}", share.queued());
        assert_eq!(writing.await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() >= WRITE_TIMEOUT && begun.elapsed() < WRITE_TIMEOUT + PRUNE_INTERVAL * 2);
        assert_eq!(share.queued(), 0);
    }
}
