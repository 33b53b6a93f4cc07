//! Reads a stream and passes its messages to a worker.
//!
//! From a client without an allocation, one message is read at a time: the next one after the reply to the last one has
//! been written, and no faster than the limit on replies to its source allows. The rest waits in the kernel, and then at
//! the client. With an allocation, many messages may be in flight.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::framing::{MessageBoundary, find_message};
use super::stream::FLUSH_TIMEOUT;
use crate::queue_budget::{Charge, QueueShare};
use crate::socket::StreamControl;
use webrtc_box_rate_limit::SourceRateLimiter;

/// Limits on how fast a stream is read.
#[derive(Debug)]
pub(super) struct ReadLimits {
    pub(super) allocated: Arc<AtomicBool>,
    unhandled: Arc<QueueShare>,
    pub(super) unsent: Arc<QueueShare>,
    /// Notified whenever nothing waits to be written.
    pub(super) drained: Notify,
    /// Limit on messages of the source without an allocation.
    limit: Option<(Arc<SourceRateLimiter>, IpAddr)>,
    /// Bytes in flight to the worker.
    in_flight: Arc<Semaphore>,
}

/// Bytes in flight to a worker, until dropped.
#[derive(Debug)]
pub(super) struct InFlightPermit {
    _of_stream: OwnedSemaphorePermit,
    _charge: Charge,
}

/// How long the first message may take, how long any message may take from its first to its last byte, and how long a
/// message may wait for the rate limit of its source.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a stream without an allocation may be silent between two messages.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of one stream in flight to its worker.
const MAX_IN_FLIGHT_BYTES: usize = 1 << 16;
/// Memory of one delivery besides its bytes.
const MESSAGE_OVERHEAD: usize = 256;
/// Bytes per read with an allocation, and without one.
const CHUNK: usize = 1 << 14;
const UNAUTHENTICATED_CHUNK: usize = 1 << 10;
/// The largest message with header and padding, with an allocation and without one.
const MAX_MESSAGE: usize = (1 << 16) + 20;
const MAX_UNAUTHENTICATED_MESSAGE: usize = 1 << 13;
/// Time until the next attempt when too many bytes wait for the workers.
const RETRY_DELAY: Duration = Duration::from_millis(5);
/// The longest time until the next attempt at the rate limit of a source. The client may have hung up in between.
const MAX_RETRY_DELAY: Duration = Duration::from_millis(100);

impl ReadLimits {
    pub(super) fn new(
        unhandled: Arc<QueueShare>,
        unsent: Arc<QueueShare>,
        limit: Option<(Arc<SourceRateLimiter>, IpAddr)>,
    ) -> Self {
        let in_flight = Arc::new(Semaphore::new(MAX_IN_FLIGHT_BYTES));
        Self { allocated: Arc::default(), unhandled, unsent, drained: Notify::new(), limit, in_flight }
    }

    fn allocated(&self) -> bool {
        self.allocated.load(Ordering::Relaxed)
    }

    /// Waits until `bytes` more may be in flight.
    async fn acquire_in_flight(&self, bytes: usize) -> io::Result<InFlightPermit> {
        let weight = bytes.min(MAX_IN_FLIGHT_BYTES) as u32;
        let of_stream = Arc::clone(&self.in_flight).acquire_many_owned(weight).await;
        let _of_stream = of_stream.map_err(io::Error::other)?;
        loop {
            match self.unhandled.charge(bytes + MESSAGE_OVERHEAD) {
                Some(_charge) => return Ok(InFlightPermit { _of_stream, _charge }),
                None => sleep(RETRY_DELAY).await,
            }
        }
    }

    /// Waits until the rate limit of the source admits a message, or until there is an allocation. Returns whether the
    /// message was charged.
    async fn await_rate_limit(&self, socket: &impl StreamControl) -> io::Result<bool> {
        let Some((limit, source)) = &self.limit else { return Ok(false) };
        let begun = Instant::now();
        while !self.allocated() {
            let now = Instant::now();
            let Err(wait) = limit.charge(*source, now.into_std()) else { return Ok(true) };
            let timeout = if socket.is_half_closed() { FLUSH_TIMEOUT } else { MESSAGE_TIMEOUT };
            if now - begun >= timeout {
                return Err(io::ErrorKind::TimedOut.into());
            }
            sleep(wait.min(MAX_RETRY_DELAY)).await;
        }
        Ok(false)
    }

    /// Refunds the messages that led to an allocation: many clients behind one address may start at the same time.
    fn refund(&self, charged: u32) {
        if let Some((limit, source)) = &self.limit {
            (0..charged).for_each(|_| limit.refund(*source));
        }
    }

    /// Waits until the worker has handled everything delivered.
    async fn handled(&self) {
        let _ = self.in_flight.acquire_many(MAX_IN_FLIGHT_BYTES as u32).await;
    }

    /// Waits until everything delivered is answered and the replies are written.
    async fn answered(&self) {
        self.handled().await;
        while self.unsent.queued() > 0 && !self.allocated() {
            self.drained.notified().await;
        }
    }
}

/// Reads messages until the stream ends, contains invalid bytes or is silent for too long. Returns after the worker has
/// handled them.
pub(super) async fn read(
    reader: impl AsyncRead + Unpin,
    socket: impl StreamControl,
    limits: &ReadLimits,
    deliver: impl Fn(Bytes, InFlightPermit),
) -> io::Result<()> {
    let ended = read_all(reader, socket, limits, deliver).await;
    let _ = timeout(FLUSH_TIMEOUT, limits.handled()).await;
    ended
}

async fn read_all(
    mut reader: impl AsyncRead + Unpin,
    mut socket: impl StreamControl,
    limits: &ReadLimits,
    deliver: impl Fn(Bytes, InFlightPermit),
) -> io::Result<()> {
    let mut bytes = BytesMut::new();
    // For the first message; later for a message that has begun, or for the next one to begin.
    let mut deadline = Instant::now() + MESSAGE_TIMEOUT;
    let mut first = true;
    let mut charged = 0;
    loop {
        let begins = bytes.is_empty() && !first;
        make_room(&mut bytes, limits.allocated());
        read_some(&mut reader, &mut bytes, deadline, || begins && limits.allocated()).await?;
        let mut any = false;
        while let Some(messages) = split_messages(&mut bytes, limits.allocated())? {
            charged += u32::from(limits.await_rate_limit(&socket).await?);
            deliver_messages(messages, limits, &deliver).await?;
            if limits.allocated() {
                limits.refund(std::mem::take(&mut charged));
            }
            socket.set_buffers(limits.allocated());
            any = true;
        }
        first &= !any;
        if bytes.is_empty() {
            deadline = Instant::now() + IDLE_TIMEOUT;
        } else if any || begins {
            deadline = Instant::now() + MESSAGE_TIMEOUT;
        }
    }
}

async fn deliver_messages(
    messages: Bytes,
    limits: &ReadLimits,
    deliver: &impl Fn(Bytes, InFlightPermit),
) -> io::Result<()> {
    let permit = limits.acquire_in_flight(messages.len()).await?;
    deliver(messages, permit);
    if !limits.allocated() {
        limits.answered().await;
    }
    Ok(())
}

/// Reserves memory for the next read. Small messages share one chunk.
fn make_room(bytes: &mut BytesMut, allocated: bool) {
    let chunk = if allocated { CHUNK } else { UNAUTHENTICATED_CHUNK };
    if bytes.capacity() - bytes.len() < chunk / 8 {
        bytes.reserve(chunk);
    }
}

/// Reads once. At `deadline` it fails, unless `may_wait` extends it.
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
            Err(_) if may_wait() => deadline = Instant::now() + IDLE_TIMEOUT,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// Takes complete messages from the front of `bytes`: one, or with an allocation all of them.
fn split_messages(bytes: &mut BytesMut, allocated: bool) -> io::Result<Option<Bytes>> {
    let largest = if allocated { MAX_MESSAGE } else { MAX_UNAUTHENTICATED_MESSAGE };
    let mut complete = 0;
    loop {
        match find_message(&bytes[complete..]) {
            MessageBoundary::Complete(length) => complete += length,
            MessageBoundary::Incomplete if bytes.len() - complete < largest => break,
            // The messages before it are still answered.
            MessageBoundary::Incomplete | MessageBoundary::Invalid if complete > 0 => break,
            MessageBoundary::Incomplete | MessageBoundary::Invalid => {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        if !allocated {
            break;
        }
    }
    Ok(if complete == 0 { None } else { Some(bytes.split_to(complete).freeze()) })
}

#[cfg(test)]
pub(super) mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;
    use crate::queue_budget::{QueueBudget, RESERVE};
    use webrtc_box_rate_limit::Rate;

    /// A connection that stays open.
    pub(crate) struct NoSocket;

    impl StreamControl for NoSocket {
        fn set_buffers(&mut self, _: bool) {}

        fn is_half_closed(&self) -> bool {
            false
        }
    }

    pub(crate) const BINDING: &[u8] = b"\0\x01\0\0\x21\x12\xa4\x42............";

    /// The limits of a client that may send `rate` messages a second.
    pub(crate) fn limits(allocated: bool, rate: u32) -> ReadLimits {
        let source = IpAddr::from([192, 0, 2, 1]);
        let budget = QueueBudget::new(1 << 26).enter(Some(source));
        let limit = SourceRateLimiter::new(Rate::per_second(rate), [1, 2], Instant::now().into_std());
        let [unhandled, unsent] = [(); 2].map(|()| budget.queue(1 << 20, RESERVE));
        let limits = ReadLimits::new(unhandled, unsent, Some((Arc::new(limit), source)));
        limits.allocated.store(allocated, Ordering::Relaxed);
        limits
    }

    /// A permit for one byte.
    pub(crate) fn permit() -> InFlightPermit {
        let limits = limits(true, 0);
        let in_flight = Arc::clone(&limits.in_flight);
        InFlightPermit {
            _of_stream: in_flight.try_acquire_many_owned(1).unwrap(),
            _charge: limits.unhandled.charge(1).unwrap(),
        }
    }

    /// How long a stream lives that sends `bytes` at one byte a second and then nothing; `None`: an hour at least.
    async fn lifetime(bytes: &[u8], allocated: bool) -> Option<Duration> {
        let (mut client, server) = tokio::io::duplex(64);
        let begun = Instant::now();
        let limits = limits(allocated, 20);
        let writing = async {
            for byte in bytes {
                client.write_all(&[*byte]).await.unwrap();
                sleep(Duration::from_secs(1)).await;
            }
            sleep(Duration::from_secs(3600)).await;
        };
        tokio::select! {
            ended = read(server, NoSocket, &limits, |_, _| ()) => {
                assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
                Some(begun.elapsed())
            }
            () = writing => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_or_slow_client_is_disconnected_after_ten_seconds() {
        assert_eq!(lifetime(b"", false).await, Some(MESSAGE_TIMEOUT));
        assert_eq!(lifetime(&BINDING[..15], true).await, Some(MESSAGE_TIMEOUT));
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_client_with_an_allocation_may_be_silent() {
        // At one byte a second 20 bytes take too long; 4 bytes of ChannelData do not.
        let message = b"\x40\0\0\0";
        let after = Duration::from_secs(3) + IDLE_TIMEOUT;
        assert_eq!(lifetime(message, false).await, Some(after));
        assert_eq!(lifetime(message, true).await, None);
        let and_a_byte = [&message[..], b"\x40"].concat();
        let after = Duration::from_secs(4) + MESSAGE_TIMEOUT;
        assert_eq!(lifetime(&and_a_byte, true).await, Some(after));
    }

    /// How many Bindings of a client are delivered within `time`, where each is answered immediately or never.
    async fn delivered(limits: &ReadLimits, time: Duration, answers: bool) -> usize {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        client.write_all(&BINDING.repeat(1000)).await.unwrap();
        let (count, unanswered) = (std::cell::Cell::new(0), std::cell::RefCell::new(Vec::new()));
        let deliver = |messages: Bytes, permit| {
            count.set(count.get() + messages.len() / BINDING.len());
            if !answers {
                unanswered.borrow_mut().push((limits.unsent.charge(100), permit));
            }
        };
        let _ = timeout(time, read(server, NoSocket, limits, deliver)).await;
        count.get()
    }

    #[tokio::test(start_paused = true)]
    async fn without_an_allocation_a_source_is_read_at_its_reply_rate() {
        let second = Duration::from_secs(1);
        let unauthenticated = limits(false, 20);
        let first = delivered(&unauthenticated, second, true).await;
        assert!((218..=221).contains(&first), "a burst of ten seconds and the rate: {first}");
        let next = delivered(&unauthenticated, second, true).await;
        assert!((18..=21).contains(&next), "another stream of the source has no burst: {next}");
        assert_eq!(delivered(&limits(false, 0), second, true).await, 1000, "without a limit");
        assert_eq!(delivered(&limits(true, 20), second, true).await, 1000, "with an allocation");
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_message_is_read_after_the_reply_is_written() {
        let limits = limits(false, 0);
        assert_eq!(delivered(&limits, Duration::from_secs(1), false).await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_the_rate_limit_ends_after_ten_seconds() {
        let mut limits = limits(false, 0);
        let (rate, now) = (Rate { interval: IDLE_TIMEOUT, burst: 1 }, Instant::now());
        let limit = SourceRateLimiter::new(rate, [1, 2], now.into_std());
        limits.limit = limits.limit.map(|(_, source)| (Arc::new(limit), source));
        limits.await_rate_limit(&NoSocket).await.unwrap();
        assert!(limits.await_rate_limit(&NoSocket).await.is_err());
        assert!(now.elapsed() >= MESSAGE_TIMEOUT && now.elapsed() < MESSAGE_TIMEOUT + MAX_RETRY_DELAY * 2);
    }

    #[test]
    fn a_message_without_an_allocation_is_limited_to_8_kib() {
        let mut long = BytesMut::from(&[0, 1, 0x30, 0, 0x21, 0x12, 0xa4, 0x42][..]);
        long.resize(MAX_UNAUTHENTICATED_MESSAGE, 0);
        assert!(split_messages(&mut long, false).is_err());
        assert_eq!(split_messages(&mut long, true).unwrap(), None);
    }
}
