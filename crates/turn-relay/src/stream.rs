//! TURN over TCP and TLS: serves one client per task, and writes the frames that its worker sends.
//!
//! Streams run on the tokio runtime and never on a worker, so neither TLS nor a slow client takes time from media. A client
//! that does not read loses its oldest frames, delays no other client, and is disconnected in the end. `stream_reader.rs`
//! has the other direction.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Notify;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;

use super::inbox::{Inboxes, StreamMessages, WorkerMsg};
use super::stats::{LossCounters, PacketLoss};
use super::stream_reader::{ReadLimits, read};
use crate::queue_budget::{Charge, QueueBudget, QueueShare, RESERVE};
use crate::socket::{HasTcpStream, SharedStream, StreamSocket};
use webrtc_box_rate_limit::SourceRateLimiter;
use webrtc_box_turn::addr::{ClientAddr, Transport};

/// Serves TCP and TLS streams; cheap to clone.
#[derive(Clone, Debug)]
pub struct StreamServer {
    inboxes: Inboxes,
    losses: Arc<LossCounters>,
    limit: Arc<SourceRateLimiter>,
    queues: QueueBudget,
    kernel: QueueBudget,
}

/// A stream from the side of its worker.
#[derive(Clone, Debug)]
pub(super) struct StreamHandle {
    out: Sender<OutgoingFrame>,
    unsent: Arc<QueueShare>,
    /// Whether the client has an allocation, and so may be silent.
    allocated: Arc<AtomicBool>,
    losses: Arc<LossCounters>,
}

/// A frame that waits to be written.
#[derive(Debug)]
struct OutgoingFrame {
    bytes: Bytes,
    queued_at: Instant,
    charge: Charge,
}

/// Bytes that wait for all streams together, beyond the reserve of each.
const QUEUE_BUDGET_BYTES: usize = 64 << 20;
/// Kernel buffers of all streams with an allocation. Beyond it, or beyond the share of its source, a stream gets half.
const KERNEL_BUDGET_BYTES: usize = 128 << 20;
/// Bytes that wait for one stream, in the channel from its worker and in its queue.
const MAX_UNSENT_BYTES: usize = 1 << 20;
/// Frames in the channel from a worker to a stream's task, which empties it immediately.
const FRAME_CHANNEL_CAPACITY: usize = 512;
/// How long pending replies may take after the client has closed its side.
pub(super) const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes in the queue of one stream, as [`frame_cost`] counts them.
const MAX_QUEUE_BYTES: usize = 1 << 19;
/// Older media is useless.
const MAX_FRAME_AGE: Duration = Duration::from_millis(500);
/// How often a blocked queue is searched for frames that are too old.
const PRUNE_INTERVAL: Duration = Duration::from_millis(250);
/// How long a write may make no progress.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes per write.
const CHUNK: usize = 1 << 14;
/// Memory of a frame besides its bytes: entries in two queues, and the allocator's overhead.
const FRAME_OVERHEAD: usize = 192;
/// Entries for which an empty queue keeps memory.
const RETAINED_CAPACITY: usize = 64;

impl StreamServer {
    pub(super) fn new(inboxes: Inboxes, losses: Arc<LossCounters>, limit: Arc<SourceRateLimiter>) -> Self {
        let (queues, kernel) = (QueueBudget::new(QUEUE_BUDGET_BYTES), QueueBudget::new(KERNEL_BUDGET_BYTES));
        Self { inboxes, losses, limit, queues, kernel }
    }

    /// Serves a stream until it ends. `remote` and `local` are the ends of its 5-tuple. `counted`: limits per source apply
    /// to `remote`; `false` for a proxy in front of many clients.
    pub async fn serve<S>(
        &self,
        stream: S,
        transport: Transport,
        (remote, local): (SocketAddr, SocketAddr),
        counted: bool,
    ) where
        S: AsyncRead + AsyncWrite + HasTcpStream + Unpin + Send,
    {
        let client = ClientAddr::new(transport, remote, local);
        if remote.port() == 0 {
            return;
        }
        let worker = self.inboxes.worker_for(&client);
        let source = counted.then(|| remote.ip());
        let limits = self.limits(source);
        let (handle, outgoing) = StreamHandle::new(&limits, Arc::clone(&self.losses));
        self.inboxes.send(worker, WorkerMsg::StreamOpened(client, handle));
        let stream = SharedStream::new(stream);
        let socket = StreamSocket::new(&stream, self.kernel.enter(source).queue(usize::MAX, 0));
        let deliver = |messages, permit| {
            let messages = StreamMessages::new(client, messages, permit);
            self.inboxes.send(worker, WorkerMsg::StreamMessages(messages));
        };
        let close = || self.inboxes.send(worker, WorkerMsg::StreamClosed(client));
        let reading = read(&stream, socket, &limits, deliver);
        let ended = run_stream(reading, write(&stream, outgoing, &self.losses, &limits.drained), close).await;
        debug!(reason = ended.err().map(tracing::field::display), "stream ended");
    }

    fn limits(&self, source: Option<IpAddr>) -> ReadLimits {
        let budget = self.queues.enter(source);
        let limit = source.map(|source| (Arc::clone(&self.limit), source));
        ReadLimits::new(budget.queue(usize::MAX, RESERVE), budget.queue(MAX_UNSENT_BYTES, RESERVE), limit)
    }
}

impl StreamHandle {
    fn new(limits: &ReadLimits, losses: Arc<LossCounters>) -> (Self, Receiver<OutgoingFrame>) {
        let (out, outgoing) = channel(FRAME_CHANNEL_CAPACITY);
        let (unsent, allocated) = (Arc::clone(&limits.unsent), Arc::clone(&limits.allocated));
        (Self { out, unsent, allocated, losses }, outgoing)
    }

    /// Queues a frame. It is dropped if too many bytes wait, or if the stream's task does not keep up.
    pub(super) fn send(&self, bytes: Bytes) {
        let Some(charge) = self.unsent.charge(frame_cost(&bytes)) else {
            return self.losses.count(PacketLoss::StreamFull);
        };
        let outgoing = OutgoingFrame { bytes, queued_at: Instant::now(), charge };
        if let Err(TrySendError::Full(_)) = self.out.try_send(outgoing) {
            self.losses.count(PacketLoss::HandoverFull);
        }
    }

    /// Records whether the client has an allocation.
    pub(super) fn set_allocated(&self, allocated: bool) {
        self.allocated.store(allocated, Ordering::Relaxed);
    }
}

/// Memory of a frame while it waits, in bytes.
pub(super) fn frame_cost(bytes: &[u8]) -> usize {
    bytes.len() + FRAME_OVERHEAD
}

/// Runs both directions until one ends. If reading ends first, what was read is still answered: `close` makes the worker
/// drop the handle, and `writing` ends once everything queued before is written.
async fn run_stream(
    reading: impl Future<Output = io::Result<()>>,
    writing: impl Future<Output = io::Result<()>>,
    close: impl Fn(),
) -> io::Result<()> {
    let mut writing = std::pin::pin!(writing);
    tokio::select! {
        ended = reading => {
            close();
            let _ = timeout(FLUSH_TIMEOUT, writing).await;
            ended
        }
        ended = writing.as_mut() => {
            close();
            ended
        }
    }
}

/// Writes what the worker sends until the worker drops the handle and everything is written. Notifies `drained` whenever
/// nothing waits.
async fn write(
    mut writer: impl AsyncWrite + Unpin,
    mut outgoing: Receiver<OutgoingFrame>,
    losses: &LossCounters,
    drained: &Notify,
) -> io::Result<()> {
    let mut queue = WriteQueue::new(losses);
    let mut prune_timer = std::pin::pin!(sleep(PRUNE_INTERVAL));
    let (mut worker_attached, mut was_pending, mut progress) = (true, false, Instant::now());
    loop {
        if queue.writing.is_empty() {
            queue.fill();
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
            frame = outgoing.recv(), if worker_attached => match frame {
                Some(frame) => queue.push(frame),
                None => worker_attached = false,
            },
            written = write_some(&mut writer, &queue.writing), if was_pending => {
                queue.advance(written?);
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

/// Writes some of `bytes` and returns how many; flushes what TLS buffers if `bytes` is empty.
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

/// Frames that wait, bounded in bytes and age, and those being written.
#[derive(Debug)]
struct WriteQueue<'l> {
    losses: &'l LossCounters,
    frames: VecDeque<OutgoingFrame>,
    bytes: usize,
    writing: BytesMut,
    /// The charge of what is being written, or of what TLS may still buffer.
    charge: Option<Charge>,
}

impl<'l> WriteQueue<'l> {
    fn new(losses: &'l LossCounters) -> Self {
        Self { losses, frames: VecDeque::new(), bytes: 0, writing: BytesMut::new(), charge: None }
    }

    /// Whether there is something to write or to flush.
    fn is_pending(&self) -> bool {
        !self.writing.is_empty() || self.charge.is_some()
    }

    fn push(&mut self, frame: OutgoingFrame) {
        self.bytes += frame_cost(&frame.bytes);
        let now = frame.queued_at;
        self.frames.push_back(frame);
        self.prune(now);
    }

    /// Moves as many frames as fit one write to `writing`.
    fn fill(&mut self) {
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

    /// Removes `written` bytes of `writing`; if that is empty, a flush has completed.
    fn advance(&mut self, written: usize) {
        if self.writing.is_empty() {
            // Idle streams hold no memory.
            (self.writing, self.charge) = (BytesMut::new(), None);
        } else {
            self.writing.advance(written);
        }
    }

    /// Drops the oldest frames until the rest is within the limits on age and bytes.
    fn prune(&mut self, now: Instant) {
        let stale = |frame: &OutgoingFrame| now.saturating_duration_since(frame.queued_at) > MAX_FRAME_AGE;
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
    use tokio::io::AsyncReadExt as _;

    use super::super::stream_reader::InFlightPermit;
    use super::super::stream_reader::tests::{BINDING, NoSocket, limits};
    use super::*;

    fn share() -> Arc<QueueShare> {
        QueueBudget::new(1 << 26).enter(None).queue(1 << 26, 0)
    }

    fn frame(share: &Arc<QueueShare>, byte: u8, length: usize, queued_at: Instant) -> OutgoingFrame {
        let bytes = Bytes::from(vec![byte; length]);
        let charge = share.charge(frame_cost(&bytes)).unwrap();
        OutgoingFrame { bytes, queued_at, charge }
    }

    #[test]
    fn a_full_queue_keeps_the_newest_frames_within_its_memory() {
        let (now, losses, share) = (Instant::now(), LossCounters::default(), share());
        let mut queue = WriteQueue::new(&losses);
        for _ in 0..20_000 {
            queue.push(frame(&share, 7, 72, now));
        }
        let kept = MAX_QUEUE_BYTES / (72 + FRAME_OVERHEAD);
        assert_eq!((queue.frames.len(), queue.bytes), (kept, share.queued()));
        assert_eq!(losses.of(PacketLoss::StreamFull), 20_000 - kept as u64);
    }

    #[test]
    fn a_frame_older_than_half_a_second_is_dropped() {
        let (now, losses, share) = (Instant::now(), LossCounters::default(), share());
        let mut queue = WriteQueue::new(&losses);
        queue.push(frame(&share, 7, 10, now - MAX_FRAME_AGE * 2));
        queue.push(frame(&share, 7, 20, now));
        queue.fill();
        assert_eq!((queue.writing.len(), queue.bytes), (20, 0));
        assert_eq!((losses.of(PacketLoss::StreamLate), losses.of(PacketLoss::StreamFull)), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_gets_whole_recent_frames() {
        let (mut client, server) = tokio::io::duplex(1000);
        let (out, outgoing) = channel(512);
        let losses = Arc::new(LossCounters::default());
        let counting = Arc::clone(&losses);
        let writer = tokio::spawn(async move { write(server, outgoing, &counting, &Notify::new()).await });
        let share = share();
        for number in 0..40_u8 {
            out.send(frame(&share, number, 100, Instant::now())).await.unwrap();
            sleep(Duration::from_millis(100)).await;
        }
        drop(out);
        let mut received = Vec::new();
        let _ = timeout(Duration::from_secs(5), client.read_to_end(&mut received)).await;
        let frames: Vec<u8> = received.chunks(100).map(|frame| frame[0]).collect();
        let is_whole = |frame: &[u8]| frame.len() == 100 && frame.iter().all(|byte| *byte == frame[0]);
        assert!(received.chunks(100).all(is_whole));
        assert!(frames.windows(2).all(|pair| pair[0] < pair[1]), "{frames:?}");
        assert!(frames.len() < 40, "old frames are dropped");
        assert_eq!(frames.len() as u64 + losses.of(PacketLoss::StreamLate), 40, "and counted");
        let _ = writer.await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_blocked_queue_is_pruned_and_ends_after_ten_seconds() {
        let (_client, server) = tokio::io::duplex(100);
        let (out, outgoing) = channel(512);
        let (losses, share, begun) = (LossCounters::default(), share(), Instant::now());
        for _ in 0..100 {
            out.send(frame(&share, 7, 10_000, begun)).await.unwrap();
        }
        let drained = Notify::new();
        let mut writing = std::pin::pin!(write(server, outgoing, &losses, &drained));
        let early = timeout(Duration::from_secs(1), writing.as_mut()).await;
        assert!(early.is_err() && share.queued() <= CHUNK, "{}", share.queued());
        assert_eq!(writing.await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() >= WRITE_TIMEOUT && begun.elapsed() < WRITE_TIMEOUT + PRUNE_INTERVAL * 2);
        assert_eq!(share.queued(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_before_a_half_close_are_answered() {
        let (mut client, server) = tokio::io::duplex(1000);
        let (reader, writer) = tokio::io::split(server);
        let (limits, losses) = (limits(false, 20), LossCounters::default());
        let (handle, outgoing) = StreamHandle::new(&limits, Arc::default());
        let (inbox, mut stream_messages) = tokio::sync::mpsc::unbounded_channel();
        let close = Arc::new(Notify::new());
        let closed = Arc::clone(&close);
        let worker = tokio::spawn(async move {
            for _ in 0..10 {
                let (messages, permit): (Bytes, InFlightPermit) = stream_messages.recv().await.unwrap();
                sleep(Duration::from_millis(100)).await;
                handle.send(messages);
                drop(permit);
            }
            closed.notified().await;
        });
        let served = async {
            let deliver = |messages, permit| inbox.send((messages, permit)).unwrap();
            let reading = read(reader, NoSocket, &limits, deliver);
            let writing = write(writer, outgoing, &losses, &limits.drained);
            run_stream(reading, writing, || close.notify_one()).await
        };
        let requests = async {
            client.write_all(&BINDING.repeat(10)).await.unwrap();
            client.shutdown().await.unwrap();
            let mut replies = Vec::new();
            client.read_to_end(&mut replies).await.unwrap();
            replies
        };
        let (ended, replies) = tokio::join!(served, requests);
        worker.await.unwrap();
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(replies, BINDING.repeat(10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_client_that_does_not_read_has_one_second() {
        let (client, server) = tokio::io::duplex(10);
        let (handle, outgoing) = StreamHandle::new(&limits(false, 20), Arc::default());
        handle.send(Bytes::from_static(&[7; 100]));
        let begun = Instant::now();
        let ended = async { Err(io::ErrorKind::UnexpectedEof.into()) };
        let (losses, drained) = (LossCounters::default(), Notify::new());
        assert!(run_stream(ended, write(server, outgoing, &losses, &drained), || ()).await.is_err());
        assert_eq!(begun.elapsed(), FLUSH_TIMEOUT);
        drop(client);
    }
}
