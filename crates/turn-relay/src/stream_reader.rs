//! A stream's bytes become messages for a worker.
//!
//! A client without an allocation is read one message at a time: the next one when the answer to the
//! last one has left, and no more often than the limit on replies to its source allows. The rest waits
//! in the kernel, and in the end at the client. With an allocation many may be under way at once.

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
use webrtc_box_rate_limit::SourceRateLimiter;

/// What bounds how fast a stream is read.
#[derive(Debug)]
pub(super) struct ReadLimits {
    pub(super) allocated: Arc<AtomicBool>,
    unhandled: Arc<QueueShare>,
    pub(super) unsent: Arc<QueueShare>,
    /// Told when nothing waits to be written any more.
    pub(super) drained: Notify,
    /// How often its source may ask without an allocation.
    limit: Option<(Arc<SourceRateLimiter>, IpAddr)>,
    /// Bytes under way to the worker.
    in_flight: Arc<Semaphore>,
}

/// The kernel's side of a stream.
pub(super) trait StreamControl {
    /// Gives it the buffers of an allocation, or takes them back.
    fn set_buffers(&mut self, allocated: bool);
    /// Whether the other end is gone, or will say no more.
    fn is_half_closed(&self) -> bool;
}

/// A place among the bytes that wait for a worker.
#[derive(Debug)]
pub(super) struct InFlightPermit {
    _of_stream: OwnedSemaphorePermit,
    _charge: Charge,
}

/// How long the first whole message may take, how long one may take to be completed, and how long one
/// waits for its turn where its source asks for too much.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a stream without an allocation may be silent between two messages.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes a stream may have under way to its worker.
const MAX_IN_FLIGHT_BYTES: usize = 1 << 16;
/// What a piece of them costs besides.
const MESSAGE_OVERHEAD: usize = 256;
/// Read at a time with an allocation, and without one.
const CHUNK: usize = 1 << 14;
const UNAUTHENTICATED_CHUNK: usize = 1 << 10;
/// The largest message, header and padding included, with an allocation and without one.
const MAX_MESSAGE: usize = (1 << 16) + 20;
const MAX_UNAUTHENTICATED_MESSAGE: usize = 1 << 13;
/// Until the next try where too much waits for the workers.
const RETRY_DELAY: Duration = Duration::from_millis(5);
/// The most until the next try where a source asks for too much: it may have hung up meanwhile.
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

    /// Waits until so many bytes may be on their way to the worker.
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

    /// Waits until the source may ask once more, unless there is an allocation meanwhile; whether that was
    /// counted.
    async fn acquire_turn(&self, socket: &impl StreamControl) -> io::Result<bool> {
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

    /// What led to an allocation was no flood: many people behind one address come in at once.
    fn refund(&self, charged: u32) {
        if let Some((limit, source)) = &self.limit {
            (0..charged).for_each(|_| limit.refund(*source));
        }
    }

    /// Waits until the worker has handled all that was brought.
    async fn handled(&self) {
        let _ = self.in_flight.acquire_many(MAX_IN_FLIGHT_BYTES as u32).await;
    }

    /// Waits until what was brought has been answered, and the answers have left.
    async fn answered(&self) {
        self.handled().await;
        while self.unsent.queued() > 0 && !self.allocated() {
            self.drained.notified().await;
        }
    }
}

/// Reads messages until the end of the stream, garbage, or too long a silence, and returns when the
/// worker has answered them.
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
    // To the first whole message; after that to the end of one that has begun, or of a silence.
    let mut deadline = Instant::now() + MESSAGE_TIMEOUT;
    let mut first = true;
    let mut charged = 0;
    loop {
        let begins = bytes.is_empty() && !first;
        make_room(&mut bytes, limits.allocated());
        read_some(&mut reader, &mut bytes, deadline, || begins && limits.allocated()).await?;
        let mut any = false;
        while let Some(messages) = split_messages(&mut bytes, limits.allocated())? {
            charged += u32::from(limits.acquire_turn(&socket).await?);
            deliver_one(messages, limits, &deliver).await?;
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

async fn deliver_one(
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

/// Room for the next read. Messages that come one by one fill one piece of memory together.
fn make_room(bytes: &mut BytesMut, allocated: bool) {
    let chunk = if allocated { CHUNK } else { UNAUTHENTICATED_CHUNK };
    if bytes.capacity() - bytes.len() < chunk / 8 {
        bytes.reserve(chunk);
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
            Err(_) if may_wait() => deadline = Instant::now() + IDLE_TIMEOUT,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// Takes whole messages from the front of `bytes`: one, or with an allocation all of them.
fn split_messages(bytes: &mut BytesMut, allocated: bool) -> io::Result<Option<Bytes>> {
    let largest = if allocated { MAX_MESSAGE } else { MAX_UNAUTHENTICATED_MESSAGE };
    let mut whole = 0;
    loop {
        match find_message(&bytes[whole..]) {
            MessageBoundary::Complete(length) => whole += length,
            MessageBoundary::Incomplete if bytes.len() - whole < largest => break,
            // What came before it is still answered.
            MessageBoundary::Incomplete | MessageBoundary::Invalid if whole > 0 => break,
            MessageBoundary::Incomplete | MessageBoundary::Invalid => {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        if !allocated {
            break;
        }
    }
    Ok(if whole == 0 { None } else { Some(bytes.split_to(whole).freeze()) })
}

#[cfg(test)]
pub(super) mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;
    use crate::queue_budget::{QueueBudget, RESERVE};
    use webrtc_box_rate_limit::Rate;

    /// A socket that is there to its end.
    pub(crate) struct NoSocket;

    impl StreamControl for NoSocket {
        fn set_buffers(&mut self, _: bool) {}

        fn is_half_closed(&self) -> bool {
            false
        }
    }

    pub(crate) const BINDING: &[u8] = b"\0\x01\0\0\x21\x12\xa4\x42............";

    /// Of a client that may ask `rate` times a second.
    pub(crate) fn limits(allocated: bool, rate: u32) -> ReadLimits {
        let source = IpAddr::from([192, 0, 2, 1]);
        let budget = QueueBudget::new(1 << 26).enter(Some(source));
        let limit = SourceRateLimiter::new(Rate::per_second(rate), [1, 2], Instant::now().into_std());
        let [unhandled, unsent] = [(); 2].map(|()| budget.queue(1 << 20, RESERVE));
        let limits = ReadLimits::new(unhandled, unsent, Some((Arc::new(limit), source)));
        limits.allocated.store(allocated, Ordering::Relaxed);
        limits
    }

    /// For one byte of some stream.
    pub(crate) fn permit() -> InFlightPermit {
        let limits = limits(true, 0);
        let in_flight = Arc::clone(&limits.in_flight);
        InFlightPermit {
            _of_stream: in_flight.try_acquire_many_owned(1).unwrap(),
            _charge: limits.unhandled.charge(1).unwrap(),
        }
    }

    /// How long a stream lives that sends a byte a second of a message cut short, then nothing.
    async fn life(dribble: &[u8], allocated: bool) -> Option<Duration> {
        let (mut client, server) = tokio::io::duplex(64);
        let begun = Instant::now();
        let limits = limits(allocated, 20);
        let writing = async {
            for byte in dribble {
                client.write_all(&[*byte]).await.unwrap();
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            tokio::time::sleep(Duration::from_secs(3600)).await;
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
    async fn a_stream_that_says_nothing_or_dribbles_is_given_up_after_ten_seconds() {
        assert_eq!(life(b"", false).await, Some(MESSAGE_TIMEOUT));
        assert_eq!(life(&BINDING[..15], true).await, Some(MESSAGE_TIMEOUT));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_for_those_who_have_an_allocation() {
        // Twenty bytes a second apart are too slow; channel data of four is not.
        let message = b"\x40\0\0\0";
        let after = Duration::from_secs(3) + IDLE_TIMEOUT;
        assert_eq!(life(message, false).await, Some(after));
        assert_eq!(life(message, true).await, None);
        let begun_late = [&message[..], b"\x40"].concat();
        let after = Duration::from_secs(4) + MESSAGE_TIMEOUT;
        assert_eq!(life(&begun_late, true).await, Some(after));
    }

    /// How many of a client's Bindings have been brought after `time`, where each is answered at once
    /// or never.
    async fn stream_messages(limits: &ReadLimits, time: Duration, answers: bool) -> usize {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        client.write_all(&BINDING.repeat(1000)).await.unwrap();
        let (count, kept) = (std::cell::Cell::new(0), std::cell::RefCell::new(Vec::new()));
        let deliver = |messages: Bytes, permit| {
            count.set(count.get() + messages.len() / BINDING.len());
            if !answers {
                kept.borrow_mut().push((limits.unsent.charge(100), permit));
            }
        };
        let _ = timeout(time, read(server, NoSocket, limits, deliver)).await;
        count.get()
    }

    #[tokio::test(start_paused = true)]
    async fn without_an_allocation_a_source_asks_as_often_as_it_is_answered() {
        let second = Duration::from_secs(1);
        let unauthenticated = limits(false, 20);
        let first = stream_messages(&unauthenticated, second, true).await;
        assert!((218..=221).contains(&first), "ten seconds' worth and the rate: {first}");
        let then = stream_messages(&unauthenticated, second, true).await;
        assert!((18..=21).contains(&then), "another stream of the source has no burst: {then}");
        assert_eq!(stream_messages(&limits(false, 0), second, true).await, 1000, "where there is no limit");
        assert_eq!(stream_messages(&limits(true, 20), second, true).await, 1000, "with an allocation");
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_message_is_read_when_the_answer_has_left() {
        let limits = limits(false, 0);
        assert_eq!(stream_messages(&limits, Duration::from_secs(1), false).await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_for_its_turn_is_given_up() {
        let mut limits = limits(false, 0);
        let (rate, now) = (Rate { interval: IDLE_TIMEOUT, burst: 1 }, Instant::now());
        let limit = SourceRateLimiter::new(rate, [1, 2], now.into_std());
        limits.limit = limits.limit.map(|(_, source)| (Arc::new(limit), source));
        limits.acquire_turn(&NoSocket).await.unwrap();
        assert!(limits.acquire_turn(&NoSocket).await.is_err());
        assert!(now.elapsed() >= MESSAGE_TIMEOUT && now.elapsed() < MESSAGE_TIMEOUT + MAX_RETRY_DELAY * 2);
    }

    #[test]
    fn a_message_without_an_allocation_has_8_kib() {
        let mut long = BytesMut::from(&[0, 1, 0x30, 0, 0x21, 0x12, 0xa4, 0x42][..]);
        long.resize(MAX_UNAUTHENTICATED_MESSAGE, 0);
        assert!(split_messages(&mut long, false).is_err());
        assert_eq!(split_messages(&mut long, true).unwrap(), None);
    }
}
