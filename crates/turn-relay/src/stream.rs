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

use super::stats::{Loss, Losses};
use super::stream_reader::{Intake, Permit, Socket, read};
use super::stream_writer::{Outgoing, frame_cost, write};
use super::{Inboxes, Note};
use crate::queue_budget::{Charge, QueueBudget, QueueShare, RESERVE};
use crate::socket::{Buffers, OverTcp};
use webrtc_box_rate_limit::SourceRateLimiter;
use webrtc_box_turn::addr::{ClientAddr, Transport};

/// A stream as its worker knows it.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub(super) out: Sender<Outgoing>,
    pub(super) unsent: Arc<QueueShare>,
    /// Whether it has an allocation, and so may be silent.
    pub(super) allocated: Arc<AtomicBool>,
    pub(super) losses: Arc<Losses>,
}

/// Whole messages that a stream brought, one after the other.
#[derive(Debug)]
pub(super) struct Brought {
    pub(super) client: ClientAddr,
    pub(super) messages: Bytes,
    /// Given back when they have been answered: the stream is read no faster than that.
    _permit: Permit,
}

impl Brought {
    pub(super) fn new(client: ClientAddr, messages: Bytes, permit: Permit) -> Self {
        Self { client, messages, _permit: permit }
    }
}

/// Where streams are brought; cheap to clone.
#[derive(Clone, Debug)]
pub struct StreamDoor {
    inboxes: Inboxes,
    losses: Arc<Losses>,
    limit: Arc<SourceRateLimiter>,
    queues: QueueBudget,
    kernel: QueueBudget,
}

/// Read and written in one task, which never holds it over a wait.
struct Shared<S>(Mutex<S>);

/// A stream's socket, and the buffers it was granted.
struct Granted<'s, S> {
    stream: &'s Shared<S>,
    budget: Arc<QueueShare>,
    charge: Option<Charge>,
    /// Whether they are those of a stream with an allocation.
    for_media: bool,
}

/// Bytes that wait for streams in all, besides a reserve for each.
const QUEUES_BYTES: usize = 64 << 20;
/// Kernel buffers of streams with an allocation in all; beyond it, or its source's share, a stream has half.
const KERNEL_BYTES: usize = 128 << 20;
/// Bytes that wait for one stream: what a worker has handed over and what its queue has.
const UNSENT_BYTES: usize = 1 << 20;
/// Frames between a worker and the stream's task, which empties it at once.
const HANDOVER: usize = 512;
/// How long the answers to what was asked before a stream's end may take to leave.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(1);

impl StreamDoor {
    pub(super) fn new(inboxes: Inboxes, losses: Arc<Losses>, limit: Arc<SourceRateLimiter>) -> Self {
        let (queues, kernel) = (QueueBudget::new(QUEUES_BYTES), QueueBudget::new(KERNEL_BYTES));
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
        S: AsyncRead + AsyncWrite + OverTcp + Unpin + Send,
    {
        let client = ClientAddr::new(transport, remote, local);
        if remote.port() == 0 {
            return;
        }
        let worker = self.inboxes.worker_for(&client);
        let source = counted.then(|| remote.ip());
        let intake = self.intake(source);
        let (out, outgoing) = channel(HANDOVER);
        let opened = Stream {
            out,
            unsent: Arc::clone(&intake.unsent),
            allocated: Arc::clone(&intake.allocated),
            losses: Arc::clone(&self.losses),
        };
        self.inboxes.tell(worker, Note::StreamOpened(client, opened));
        let stream = Shared(Mutex::new(stream));
        let budget = self.kernel.enter(source).queue(usize::MAX, 0);
        let socket = Granted { stream: &stream, budget, charge: None, for_media: false };
        let bring = |messages, permit| {
            self.inboxes.tell(worker, Note::Stream(Brought::new(client, messages, permit)));
        };
        let close = || self.inboxes.tell(worker, Note::StreamClosed(client));
        let reading = read(&stream, socket, &intake, bring);
        let ended = carry(reading, write(&stream, outgoing, &self.losses, &intake.drained), close).await;
        debug!(reason = ended.err().map(tracing::field::display), "stream ended");
    }

    fn intake(&self, source: Option<IpAddr>) -> Intake {
        let budget = self.queues.enter(source);
        let limit = source.map(|source| (Arc::clone(&self.limit), source));
        Intake::new(budget.queue(usize::MAX, RESERVE), budget.queue(UNSENT_BYTES, RESERVE), limit)
    }
}

impl Stream {
    /// Queues a frame; lost where too much waits, or where the stream's task does not keep up.
    pub(super) fn send(&self, bytes: Bytes) {
        let Some(charge) = self.unsent.charge(frame_cost(&bytes)) else {
            return self.losses.count(Loss::StreamFull);
        };
        let outgoing = Outgoing { bytes, since: Instant::now(), charge };
        if let Err(TrySendError::Full(_)) = self.out.try_send(outgoing) {
            self.losses.count(Loss::HandoverFull);
        }
    }

    /// Says whether it has an allocation.
    pub(super) fn allocated(&self, has: bool) {
        self.allocated.store(has, Ordering::Relaxed);
    }
}

impl<S: OverTcp> Socket for Granted<'_, S> {
    fn fit(&mut self, allocated: bool) {
        if allocated == self.for_media {
            return;
        }
        self.for_media = allocated;
        self.charge = if allocated { self.budget.charge(Buffers::MEDIA.cost()) } else { None };
        let buffers = match (allocated, &self.charge) {
            (true, Some(_)) => Buffers::MEDIA,
            (true, None) => Buffers::CROWDED,
            (false, _) => Buffers::SMALL,
        };
        buffers.set(self.stream.lock().tcp());
    }

    fn hung_up(&self) -> bool {
        let stream = self.stream.lock();
        let mut asked = [PollFd::new(stream.tcp(), PollFlags::RDHUP)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut asked, Some(&at_once)).is_ok_and(|found| found > 0)
    }
}

impl<S> Shared<S> {
    fn lock(&self) -> MutexGuard<'_, S> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for &Shared<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for &Shared<S> {
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
async fn carry(
    reading: impl Future<Output = io::Result<()>>,
    writing: impl Future<Output = io::Result<()>>,
    close: impl Fn(),
) -> io::Result<()> {
    let mut writing = std::pin::pin!(writing);
    tokio::select! {
        ended = reading => {
            close();
            let _ = timeout(LAST_WORDS, writing).await;
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

    use super::super::stream_reader::tests::{BINDING, NoSocket, intake};
    use super::*;

    fn stream(intake: &Intake) -> (Stream, tokio::sync::mpsc::Receiver<Outgoing>) {
        let (out, outgoing) = channel(HANDOVER);
        let (unsent, allocated) = (Arc::clone(&intake.unsent), Arc::clone(&intake.allocated));
        (Stream { out, unsent, allocated, losses: Arc::default() }, outgoing)
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_asked_before_a_half_close_is_answered() {
        let (mut client, server) = tokio::io::duplex(1000);
        let (reader, writer) = tokio::io::split(server);
        let (intake, losses) = (intake(false, 20), Losses::default());
        let (stream, outgoing) = stream(&intake);
        let (inbox, mut brought) = tokio::sync::mpsc::unbounded_channel();
        let close = Arc::new(Notify::new());
        let left = Arc::clone(&close);
        let worker = tokio::spawn(async move {
            for _ in 0..10 {
                let (messages, permit): (Bytes, Permit) = brought.recv().await.unwrap();
                tokio::time::sleep(Duration::from_millis(100)).await;
                stream.send(messages);
                drop(permit);
            }
            left.notified().await;
        });
        let served = async {
            let bring = |messages, permit| inbox.send((messages, permit)).unwrap();
            let reading = read(reader, NoSocket, &intake, bring);
            carry(reading, write(writer, outgoing, &losses, &intake.drained), || close.notify_one()).await
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
        let (stream, outgoing) = stream(&intake(false, 20));
        stream.send(Bytes::from_static(&[7; 100]));
        let begun = Instant::now();
        let ended = async { Err(io::ErrorKind::UnexpectedEof.into()) };
        assert!(
            carry(ended, write(server, outgoing, &Losses::default(), &Notify::new()), || ()).await.is_err()
        );
        assert_eq!(begun.elapsed(), LAST_WORDS);
        drop(client);
    }
}
