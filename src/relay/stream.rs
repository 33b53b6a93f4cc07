//! A TCP or TLS client: bytes become messages for a worker, and what the worker sends becomes
//! bytes, with bounds on both ways.
//!
//! It runs on the ordinary runtime, never on a worker, so that neither TLS nor a slow client takes
//! time from media.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::debug;

use super::figures::{Loss, Losses};
use super::framing::{Next, next};
use super::{Inboxes, Note};
use crate::turn::address::{ClientAddr, Transport};

/// A stream as its worker knows it.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    out: Sender<Outgoing>,
    /// Whether it has an allocation, and so may be silent.
    allocated: Arc<AtomicBool>,
    losses: Arc<Losses>,
}

/// Whole messages that a stream brought, one after the other.
#[derive(Debug)]
pub(super) struct Brought {
    pub(super) client: ClientAddr,
    pub(super) messages: Bytes,
    /// Given back when they have been answered: the stream is read no faster than that.
    _permit: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Outgoing {
    bytes: Bytes,
    since: Instant,
}

/// Where streams are brought; cheap to clone.
#[derive(Clone, Debug)]
pub struct StreamDoor {
    inboxes: Inboxes,
    losses: Arc<Losses>,
}

/// How long the first whole message may take, and how long one may take to be completed.
const MESSAGE_LIMIT: Duration = Duration::from_secs(10);
/// How long a stream without an allocation may be silent between two messages.
const IDLE_LIMIT: Duration = Duration::from_secs(30);
/// Unsent bytes of one stream.
const QUEUE_BYTES: usize = 1 << 20;
/// Unsent media older than this is worth nothing.
const QUEUE_AGE: Duration = Duration::from_millis(500);
/// Frames between a worker and the stream's task, which empties it at once.
const HANDOVER: usize = 512;
/// Bytes a stream may have under way to its worker.
const BROUGHT_BYTES: usize = 1 << 18;
/// Read and written at a time.
const CHUNK: usize = 1 << 14;
/// How long the answers to what was asked before a stream's end may take to leave.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The largest message, header and padding included.
const LARGEST: usize = (1 << 16) + 20;

impl StreamDoor {
    pub(super) fn new(inboxes: Inboxes, losses: Arc<Losses>) -> Self {
        Self { inboxes, losses }
    }

    /// Serves a stream to its end. `remote` and `local` are its 5-tuple's ends.
    pub async fn serve<S>(&self, stream: S, transport: Transport, remote: SocketAddr, local: SocketAddr)
    where
        S: AsyncRead + AsyncWrite + Send,
    {
        let client = ClientAddr::new(transport, remote, local);
        if remote.port() == 0 {
            return;
        }
        let worker = self.inboxes.worker_for(&client);
        let (out, outgoing) = channel(HANDOVER);
        let allocated = Arc::new(AtomicBool::new(false));
        let opened = Stream { out, allocated: Arc::clone(&allocated), losses: Arc::clone(&self.losses) };
        self.inboxes.tell(worker, Note::StreamOpened(client, opened));
        let (reader, writer) = tokio::io::split(stream);
        let bring = |messages, permit| {
            self.inboxes.tell(worker, Note::Stream(Brought { client, messages, _permit: permit }));
        };
        let close = || self.inboxes.tell(worker, Note::StreamClosed(client));
        let ended =
            carry(read(reader, &allocated, bring), write(writer, outgoing, &self.losses), close).await;
        debug!(reason = ended.err().map(tracing::field::display), "stream ended");
    }
}

impl Stream {
    /// Queues a frame; lost where the stream's task does not keep up.
    pub(super) fn send(&self, bytes: Bytes) {
        if let Err(TrySendError::Full(_)) = self.out.try_send(Outgoing { bytes, since: Instant::now() }) {
            self.losses.count(Loss::HandoverFull);
        }
    }

    /// Says whether it has an allocation.
    pub(super) fn allocated(&self, has: bool) {
        self.allocated.store(has, Ordering::Relaxed);
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

/// Reads messages until the end of the stream, garbage, or too long a silence, and returns when the
/// worker has answered them.
async fn read(
    reader: impl AsyncRead + Unpin,
    allocated: &AtomicBool,
    bring: impl Fn(Bytes, OwnedSemaphorePermit),
) -> io::Result<()> {
    let under_way = Arc::new(Semaphore::new(BROUGHT_BYTES));
    let ended = read_all(reader, allocated, &under_way, bring).await;
    let handled = under_way.acquire_many(BROUGHT_BYTES as u32);
    let _ = timeout(LAST_WORDS, handled).await;
    ended
}

async fn read_all(
    mut reader: impl AsyncRead + Unpin,
    allocated: &AtomicBool,
    under_way: &Arc<Semaphore>,
    bring: impl Fn(Bytes, OwnedSemaphorePermit),
) -> io::Result<()> {
    let mut bytes = BytesMut::new();
    // To the first whole message; after that to the end of one that has begun, or of a silence.
    let mut deadline = Instant::now() + MESSAGE_LIMIT;
    let mut first = true;
    loop {
        let begins = bytes.is_empty() && !first;
        bytes.reserve(CHUNK);
        read_some(&mut reader, &mut bytes, deadline, || begins && allocated.load(Ordering::Relaxed)).await?;
        let whole = whole_messages(&bytes)?;
        if whole > 0 {
            let messages = bytes.split_to(whole).freeze();
            let weight = whole.min(BROUGHT_BYTES) as u32;
            let permit = Arc::clone(under_way).acquire_many_owned(weight).await.map_err(io::Error::other)?;
            bring(messages, permit);
            first = false;
            whole_messages(&bytes)?;
        }
        if bytes.is_empty() {
            deadline = Instant::now() + IDLE_LIMIT;
        } else if whole > 0 || begins {
            deadline = Instant::now() + MESSAGE_LIMIT;
        }
    }
}

/// Reads once, until `deadline` and on while `may_wait`.
async fn read_some(
    reader: &mut (impl AsyncRead + Unpin),
    bytes: &mut BytesMut,
    mut deadline: Instant,
    may_wait: impl Fn() -> bool,
) -> io::Result<()> {
    loop {
        match timeout_at(deadline, reader.read_buf(bytes)).await {
            Ok(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => return read.map(|_| ()),
            Err(_) if may_wait() => deadline = Instant::now() + IDLE_LIMIT,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// How many bytes of `bytes` are whole messages.
fn whole_messages(bytes: &[u8]) -> io::Result<usize> {
    let mut whole = 0;
    loop {
        match next(&bytes[whole..]) {
            Next::Message(length) => whole += length,
            Next::Partial if bytes.len() - whole < LARGEST => return Ok(whole),
            // What came before it is still answered.
            Next::Partial | Next::Garbage if whole > 0 => return Ok(whole),
            Next::Partial | Next::Garbage => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// Writes what the worker sends, to the last of it once the worker has let go. A client that does
/// not read loses the oldest, whole frames at a time, and delays nobody.
async fn write(
    mut writer: impl AsyncWrite + Unpin,
    mut outgoing: Receiver<Outgoing>,
    losses: &Losses,
) -> io::Result<()> {
    let mut queue = Queue::new(losses);
    let mut writing = BytesMut::with_capacity(CHUNK);
    let mut held = true;
    loop {
        if writing.is_empty() {
            queue.next_into(&mut writing);
        }
        if !held && writing.is_empty() && !queue.unflushed {
            return writer.shutdown().await;
        }
        tokio::select! {
            more = outgoing.recv(), if held => match more {
                Some(more) => queue.push(more),
                None => held = false,
            },
            written = push_on(&mut writer, &writing), if !writing.is_empty() || queue.unflushed => {
                match written? {
                    0 => queue.unflushed = false,
                    written => writing.advance(written),
                }
            }
        }
    }
}

/// Writes some of `bytes`; where there are none, brings out what TLS still holds back. How many
/// were written.
async fn push_on(writer: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<usize> {
    if bytes.is_empty() {
        writer.flush().await?;
        return Ok(0);
    }
    match writer.write(bytes).await? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        written => Ok(written),
    }
}

/// Frames that wait for room, bounded in bytes and in age.
#[derive(Debug)]
struct Queue<'l> {
    losses: &'l Losses,
    frames: VecDeque<Outgoing>,
    bytes: usize,
    /// Something was written that TLS may still hold back.
    unflushed: bool,
}

impl<'l> Queue<'l> {
    fn new(losses: &'l Losses) -> Self {
        Self { losses, frames: VecDeque::new(), bytes: 0, unflushed: false }
    }

    fn push(&mut self, frame: Outgoing) {
        self.bytes += frame.bytes.len();
        let now = frame.since;
        self.frames.push_back(frame);
        self.forget(now);
    }

    /// Takes as many frames as fit one write.
    fn next_into(&mut self, writing: &mut BytesMut) {
        self.forget(Instant::now());
        writing.clear();
        while let Some(frame) = self.frames.front() {
            if !writing.is_empty() && writing.len() + frame.bytes.len() > CHUNK {
                break;
            }
            writing.extend_from_slice(&frame.bytes);
            self.pop();
            self.unflushed = true;
        }
    }

    /// Drops the oldest until what is left is young and small enough.
    fn forget(&mut self, now: Instant) {
        let stale = |frame: &Outgoing| now.saturating_duration_since(frame.since) > QUEUE_AGE;
        loop {
            let loss = match self.frames.front() {
                Some(frame) if stale(frame) => Loss::StreamLate,
                Some(_) if self.bytes > QUEUE_BYTES => Loss::StreamFull,
                Some(_) | None => return,
            };
            self.losses.count(loss);
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some(frame) = self.frames.pop_front() {
            self.bytes -= frame.bytes.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: usize, since: Instant) -> Outgoing {
        Outgoing { bytes: Bytes::from(vec![7; length]), since }
    }

    #[test]
    fn the_queue_keeps_the_youngest_within_its_bytes() {
        let (now, losses) = (Instant::now(), Losses::default());
        let mut queue = Queue::new(&losses);
        for _ in 0..2000 {
            queue.push(frame(1000, now));
        }
        assert!(queue.bytes <= QUEUE_BYTES);
        assert_eq!(queue.frames.len(), QUEUE_BYTES / 1000);
        assert_eq!(losses.of(Loss::StreamFull), 2000 - QUEUE_BYTES as u64 / 1000);
    }

    #[test]
    fn what_is_half_a_second_old_is_not_sent() {
        let (now, losses) = (Instant::now(), Losses::default());
        let mut queue = Queue::new(&losses);
        queue.push(frame(10, now - QUEUE_AGE * 2));
        queue.push(frame(20, now));
        let mut writing = BytesMut::new();
        queue.next_into(&mut writing);
        assert_eq!((writing.len(), queue.bytes), (20, 0));
        assert_eq!((losses.of(Loss::StreamLate), losses.of(Loss::StreamFull)), (1, 0));
    }

    /// How long a stream lives that sends a byte a second of a message cut short, then nothing.
    async fn life(dribble: &[u8], allocated: bool) -> Option<Duration> {
        let (mut client, server) = tokio::io::duplex(64);
        let begun = Instant::now();
        let flag = AtomicBool::new(allocated);
        let writing = async {
            for byte in dribble {
                client.write_all(&[*byte]).await.unwrap();
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            tokio::time::sleep(Duration::from_secs(3600)).await;
        };
        tokio::select! {
            ended = read(server, &flag, |_, _| ()) => {
                assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
                Some(begun.elapsed())
            }
            () = writing => None,
        }
    }

    const BINDING: &[u8] = b"\0\x01\0\0\x21\x12\xa4\x42............";

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_says_nothing_or_dribbles_is_given_up_after_ten_seconds() {
        assert_eq!(life(b"", false).await, Some(MESSAGE_LIMIT));
        assert_eq!(life(&BINDING[..15], true).await, Some(MESSAGE_LIMIT));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_for_those_who_have_an_allocation() {
        // Twenty bytes a second apart are too slow; channel data of four is not.
        let message = b"\x40\0\0\0";
        let after = Duration::from_secs(3) + IDLE_LIMIT;
        assert_eq!(life(message, false).await, Some(after));
        assert_eq!(life(message, true).await, None);
        let begun_late = [&message[..], b"\x40"].concat();
        let after = Duration::from_secs(4) + MESSAGE_LIMIT;
        assert_eq!(life(&begun_late, true).await, Some(after));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_gets_whole_frames_and_only_young_ones() {
        let (client, server) = tokio::io::duplex(1000);
        let (out, outgoing) = channel(HANDOVER);
        let losses = Arc::new(Losses::default());
        let counting = Arc::clone(&losses);
        let writer = tokio::spawn(async move { write(server, outgoing, &counting).await });
        let stream = Stream { out, allocated: Arc::default(), losses: Arc::default() };
        for number in 0..40_u8 {
            stream.send(Bytes::from(vec![number; 100]));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        drop(stream);
        let mut client = client;
        let mut got = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(5), client.read_to_end(&mut got)).await;
        let frames: Vec<u8> = got.chunks(100).map(|frame| frame[0]).collect();
        assert!(
            got.chunks(100).all(|frame| frame.len() == 100 && frame.iter().all(|byte| *byte == frame[0]))
        );
        assert!(frames.windows(2).all(|pair| pair[0] < pair[1]), "{frames:?}");
        assert!(frames.len() < 40, "old ones are dropped");
        assert_eq!(frames.len() as u64 + losses.of(Loss::StreamLate), 40, "and counted");
        let _ = writer.await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_asked_before_a_half_close_is_answered() {
        let (mut client, server) = tokio::io::duplex(1000);
        let (reader, writer) = tokio::io::split(server);
        let (out, outgoing) = channel(HANDOVER);
        let (inbox, mut brought) = tokio::sync::mpsc::unbounded_channel();
        let close = Arc::new(tokio::sync::Notify::new());
        let left = Arc::clone(&close);
        let worker = tokio::spawn(async move {
            let (messages, permit): (Bytes, OwnedSemaphorePermit) = brought.recv().await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
            let stream = Stream { out, allocated: Arc::default(), losses: Arc::default() };
            stream.send(messages);
            drop(permit);
            left.notified().await;
        });
        let served = async {
            let bring = |messages, permit| inbox.send((messages, permit)).unwrap();
            let (flag, losses) = (AtomicBool::new(false), Losses::default());
            carry(read(reader, &flag, bring), write(writer, outgoing, &losses), || close.notify_one()).await
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
        let (out, outgoing) = channel(HANDOVER);
        Stream { out, allocated: Arc::default(), losses: Arc::default() }.send(Bytes::from_static(&[7; 100]));
        let begun = Instant::now();
        let ended = async { Err(io::ErrorKind::UnexpectedEof.into()) };
        assert!(carry(ended, write(server, outgoing, &Losses::default()), || ()).await.is_err());
        assert_eq!(begun.elapsed(), LAST_WORDS);
        drop(client);
    }
}
