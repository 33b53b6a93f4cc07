//! A TCP or TLS client: bytes become messages for a worker (`stream_reader.rs`), and what the worker
//! sends becomes bytes (`stream_writer.rs`), with bounds on both ways.
//!
//! It runs on the ordinary runtime, never on a worker, so that neither TLS nor a slow client takes
//! time from media.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Sender, channel};
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::stats::{LossCounters, PacketLoss};
use super::stream_reader::{InFlightPermit, ReadLimits, StreamControl, read};
use super::stream_writer::{OutgoingFrame, frame_cost, write};
use super::{Inboxes, WorkerMsg};
use crate::queue_budget::{Charge, QueueBudget, QueueShare, RESERVE};
use crate::socket::{HasTcpStream, SocketBuffers};
use webrtc_box_rate_limit::SourceRateLimiter;
use webrtc_box_turn::addr::{ClientAddr, Transport};

/// A stream as its worker knows it.
#[derive(Clone, Debug)]
pub(super) struct StreamHandle {
    pub(super) out: Sender<OutgoingFrame>,
    pub(super) unsent: Arc<QueueShare>,
    /// Whether it has an allocation, and so may be silent.
    pub(super) allocated: Arc<AtomicBool>,
    pub(super) losses: Arc<LossCounters>,
}

/// Whole messages that a stream brought, one after the other.
#[derive(Debug)]
pub(super) struct StreamMessages {
    pub(super) client: ClientAddr,
    pub(super) messages: Bytes,
    /// Given back when they have been answered: the stream is read no faster than that.
    _permit: InFlightPermit,
}

impl StreamMessages {
    pub(super) fn new(client: ClientAddr, messages: Bytes, permit: InFlightPermit) -> Self {
        Self { client, messages, _permit: permit }
    }
}

/// Where streams are brought; cheap to clone.
#[derive(Clone, Debug)]
pub struct StreamServer {
    inboxes: Inboxes,
    losses: Arc<LossCounters>,
    limit: Arc<SourceRateLimiter>,
    queues: QueueBudget,
    kernel: QueueBudget,
}

/// Read and written in one task, which never holds it over a wait.
struct SharedStream<S>(Mutex<S>);

/// A stream's socket, and the buffers it was granted.
struct StreamSocket<'s, S> {
    stream: &'s SharedStream<S>,
    budget: Arc<QueueShare>,
    charge: Option<Charge>,
    /// Whether they are those of a stream with an allocation.
    for_media: bool,
}

/// Bytes that wait for streams in all, besides a reserve for each.
const QUEUE_BUDGET_BYTES: usize = 64 << 20;
/// Kernel buffers of streams with an allocation in all; beyond it, or its source's share, a stream has half.
const KERNEL_BUDGET_BYTES: usize = 128 << 20;
/// Bytes that wait for one stream: what a worker has handed over and what its queue has.
const MAX_UNSENT_BYTES: usize = 1 << 20;
/// Frames between a worker and the stream's task, which empties it at once.
const FRAME_CHANNEL_CAPACITY: usize = 512;
/// How long the answers to what was asked before a stream's end may take to leave.
pub(super) const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

impl StreamServer {
    pub(super) fn new(inboxes: Inboxes, losses: Arc<LossCounters>, limit: Arc<SourceRateLimiter>) -> Self {
        let (queues, kernel) = (QueueBudget::new(QUEUE_BUDGET_BYTES), QueueBudget::new(KERNEL_BUDGET_BYTES));
        Self { inboxes, losses, limit, queues, kernel }
    }

    /// Serves a stream to its end. `remote` and `local` are its 5-tuple's ends. `counted`: the former
    /// is a source of its own, not a proxy with everybody behind it.
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
        let (out, outgoing) = channel(FRAME_CHANNEL_CAPACITY);
        let opened = StreamHandle {
            out,
            unsent: Arc::clone(&limits.unsent),
            allocated: Arc::clone(&limits.allocated),
            losses: Arc::clone(&self.losses),
        };
        self.inboxes.send(worker, WorkerMsg::StreamOpened(client, opened));
        let stream = SharedStream(Mutex::new(stream));
        let budget = self.kernel.enter(source).queue(usize::MAX, 0);
        let socket = StreamSocket { stream: &stream, budget, charge: None, for_media: false };
        let deliver = |messages, permit| {
            self.inboxes
                .send(worker, WorkerMsg::StreamMessages(StreamMessages::new(client, messages, permit)));
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
    /// Queues a frame; lost where too much waits, or where the stream's task does not keep up.
    pub(super) fn send(&self, bytes: Bytes) {
        let Some(charge) = self.unsent.charge(frame_cost(&bytes)) else {
            return self.losses.count(PacketLoss::StreamFull);
        };
        let outgoing = OutgoingFrame { bytes, since: Instant::now(), charge };
        if let Err(TrySendError::Full(_)) = self.out.try_send(outgoing) {
            self.losses.count(PacketLoss::HandoverFull);
        }
    }

    /// Says whether it has an allocation.
    pub(super) fn allocated(&self, has: bool) {
        self.allocated.store(has, Ordering::Relaxed);
    }
}

impl<S: HasTcpStream> StreamControl for StreamSocket<'_, S> {
    fn set_buffers(&mut self, allocated: bool) {
        if allocated == self.for_media {
            return;
        }
        self.for_media = allocated;
        self.charge = if allocated { self.budget.charge(SocketBuffers::MEDIA.cost()) } else { None };
        let buffers = match (allocated, &self.charge) {
            (true, Some(_)) => SocketBuffers::MEDIA,
            (true, None) => SocketBuffers::CROWDED,
            (false, _) => SocketBuffers::SMALL,
        };
        buffers.set(self.stream.lock().tcp());
    }

    fn is_half_closed(&self) -> bool {
        let stream = self.stream.lock();
        let mut asked = [PollFd::new(stream.tcp(), PollFlags::RDHUP)];
        let no_wait = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut asked, Some(&no_wait)).is_ok_and(|found| found > 0)
    }
}

impl<S> SharedStream<S> {
    fn lock(&self) -> MutexGuard<'_, S> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for &SharedStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for &SharedStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.lock()).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_shutdown(cx)
    }
}

/// Both ways until one ends. After the last that is read, what it asked is still answered: `close`
/// makes the worker let go of the stream, and `writing` ends when it has written what was queued
/// until then.
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::Notify;

    use super::super::stream_reader::tests::{BINDING, NoSocket, limits};
    use super::*;

    fn stream(limits: &ReadLimits) -> (StreamHandle, tokio::sync::mpsc::Receiver<OutgoingFrame>) {
        let (out, outgoing) = channel(FRAME_CHANNEL_CAPACITY);
        let (unsent, allocated) = (Arc::clone(&limits.unsent), Arc::clone(&limits.allocated));
        (StreamHandle { out, unsent, allocated, losses: Arc::default() }, outgoing)
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_asked_before_a_half_close_is_answered() {
        let (mut client, server) = tokio::io::duplex(1000);
        let (reader, writer) = tokio::io::split(server);
        let (limits, losses) = (limits(false, 20), LossCounters::default());
        let (stream, outgoing) = stream(&limits);
        let (inbox, mut stream_messages) = tokio::sync::mpsc::unbounded_channel();
        let close = Arc::new(Notify::new());
        let left = Arc::clone(&close);
        let worker = tokio::spawn(async move {
            for _ in 0..10 {
                let (messages, permit): (Bytes, InFlightPermit) = stream_messages.recv().await.unwrap();
                tokio::time::sleep(Duration::from_millis(100)).await;
                stream.send(messages);
                drop(permit);
            }
            left.notified().await;
        });
        let served = async {
            let deliver = |messages, permit| inbox.send((messages, permit)).unwrap();
            let reading = read(reader, NoSocket, &limits, deliver);
            run_stream(reading, write(writer, outgoing, &losses, &limits.drained), || close.notify_one())
                .await
        };
        let asking = async {
            client.write_all(&BINDING.repeat(10)).await.unwrap();
            client.shutdown().await.unwrap();
            let mut answers = Vec::new();
            client.read_to_end(&mut answers).await.unwrap();
            answers
        };
        let (ended, answers) = tokio::join!(served, asking);
        worker.await.unwrap();
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(answers, BINDING.repeat(10));
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_the_last_words_is_not_waited_for() {
        let (client, server) = tokio::io::duplex(10);
        let (stream, outgoing) = stream(&limits(false, 20));
        stream.send(Bytes::from_static(&[7; 100]));
        let begun = Instant::now();
        let ended = async { Err(io::ErrorKind::UnexpectedEof.into()) };
        assert!(
            run_stream(ended, write(server, outgoing, &LossCounters::default(), &Notify::new()), || ())
                .await
                .is_err()
        );
        assert_eq!(begun.elapsed(), FLUSH_TIMEOUT);
        drop(client);
    }
}
