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

use super::framing::{Next, next};
use super::stream::LAST_WORDS;
use crate::queue_budget::{Charge, QueueShare};
use webrtc_box_rate_limit::SourceRateLimiter;

/// What bounds how fast a stream is read.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) allocated: Arc<AtomicBool>,
    unhandled: Arc<QueueShare>,
    pub(super) unsent: Arc<QueueShare>,
    /// Told when nothing waits to be written any more.
    pub(super) drained: Notify,
    /// How often its source may ask without an allocation.
    limit: Option<(Arc<SourceRateLimiter>, IpAddr)>,
    /// Bytes under way to the worker.
    under_way: Arc<Semaphore>,
}

/// The kernel's side of a stream.
pub(super) trait Socket {
    /// Gives it the buffers of an allocation, or takes them back.
    fn fit(&mut self, allocated: bool);
    /// Whether the other end is gone, or will say no more.
    fn hung_up(&self) -> bool;
}

/// A place among the bytes that wait for a worker.
#[derive(Debug)]
pub(super) struct Permit {
    _of_stream: OwnedSemaphorePermit,
    _charge: Charge,
}

/// How long the first whole message may take, how long one may take to be completed, and how long one
/// waits for its turn where its source asks for too much.
const MESSAGE_LIMIT: Duration = Duration::from_secs(10);
/// How long a stream without an allocation may be silent between two messages.
const IDLE_LIMIT: Duration = Duration::from_secs(30);
/// Bytes a stream may have under way to its worker.
const BROUGHT_BYTES: usize = 1 << 16;
/// What a piece of them costs besides.
const BROUGHT_COST: usize = 256;
/// Read at a time with an allocation, and without one.
const CHUNK: usize = 1 << 14;
const SMALL_CHUNK: usize = 1 << 10;
/// The largest message, header and padding included, with an allocation and without one.
const LARGEST: usize = (1 << 16) + 20;
const LARGEST_UNAUTHENTICATED: usize = 1 << 13;
/// Until the next try where too much waits for the workers.
const RETRY: Duration = Duration::from_millis(5);
/// The most until the next try where a source asks for too much: it may have hung up meanwhile.
const LONGEST_RETRY: Duration = Duration::from_millis(100);

impl Intake {
    pub(super) fn new(
        unhandled: Arc<QueueShare>,
        unsent: Arc<QueueShare>,
        limit: Option<(Arc<SourceRateLimiter>, IpAddr)>,
    ) -> Self {
        let under_way = Arc::new(Semaphore::new(BROUGHT_BYTES));
        Self { allocated: Arc::default(), unhandled, unsent, drained: Notify::new(), limit, under_way }
    }

    fn allocated(&self) -> bool {
        self.allocated.load(Ordering::Relaxed)
    }

    /// Waits until so many bytes may be on their way to the worker.
    async fn room_for(&self, bytes: usize) -> io::Result<Permit> {
        let weight = bytes.min(BROUGHT_BYTES) as u32;
        let of_stream = Arc::clone(&self.under_way).acquire_many_owned(weight).await;
        let _of_stream = of_stream.map_err(io::Error::other)?;
        loop {
            match self.unhandled.charge(bytes + BROUGHT_COST) {
                Some(_charge) => return Ok(Permit { _of_stream, _charge }),
                None => sleep(RETRY).await,
            }
        }
    }

    /// Waits until the source may ask once more, unless there is an allocation meanwhile; whether that was
    /// counted.
    async fn turn(&self, socket: &impl Socket) -> io::Result<bool> {
        let Some((limit, source)) = &self.limit else { return Ok(false) };
        let begun = Instant::now();
        while !self.allocated() {
            let now = Instant::now();
            let Err(wait) = limit.charge(*source, now.into_std()) else { return Ok(true) };
            let patience = if socket.hung_up() { LAST_WORDS } else { MESSAGE_LIMIT };
            if now - begun >= patience {
                return Err(io::ErrorKind::TimedOut.into());
            }
            sleep(wait.min(LONGEST_RETRY)).await;
        }
        Ok(false)
    }

    /// What led to an allocation was no flood: many people behind one address come in at once.
    fn give_back(&self, paid: u32) {
        if let Some((limit, source)) = &self.limit {
            (0..paid).for_each(|_| limit.give_back(*source));
        }
    }

    /// Waits until the worker has handled all that was brought.
    async fn handled(&self) {
        let _ = self.under_way.acquire_many(BROUGHT_BYTES as u32).await;
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
    socket: impl Socket,
    intake: &Intake,
    bring: impl Fn(Bytes, Permit),
) -> io::Result<()> {
    let ended = read_all(reader, socket, intake, bring).await;
    let _ = timeout(LAST_WORDS, intake.handled()).await;
    ended
}

async fn read_all(
    mut reader: impl AsyncRead + Unpin,
    mut socket: impl Socket,
    intake: &Intake,
    bring: impl Fn(Bytes, Permit),
) -> io::Result<()> {
    let mut bytes = BytesMut::new();
    // To the first whole message; after that to the end of one that has begun, or of a silence.
    let mut deadline = Instant::now() + MESSAGE_LIMIT;
    let mut first = true;
    let mut paid = 0;
    loop {
        let begins = bytes.is_empty() && !first;
        make_room(&mut bytes, intake.allocated());
        read_some(&mut reader, &mut bytes, deadline, || begins && intake.allocated()).await?;
        let mut any = false;
        while let Some(messages) = whole_messages(&mut bytes, intake.allocated())? {
            paid += u32::from(intake.turn(&socket).await?);
            bring_one(messages, intake, &bring).await?;
            if intake.allocated() {
                intake.give_back(std::mem::take(&mut paid));
            }
            socket.fit(intake.allocated());
            any = true;
        }
        first &= !any;
        if bytes.is_empty() {
            deadline = Instant::now() + IDLE_LIMIT;
        } else if any || begins {
            deadline = Instant::now() + MESSAGE_LIMIT;
        }
    }
}

async fn bring_one(messages: Bytes, intake: &Intake, bring: &impl Fn(Bytes, Permit)) -> io::Result<()> {
    let permit = intake.room_for(messages.len()).await?;
    bring(messages, permit);
    if !intake.allocated() {
        intake.answered().await;
    }
    Ok(())
}

/// Room for the next read. Messages that come one by one fill one piece of memory together.
fn make_room(bytes: &mut BytesMut, allocated: bool) {
    let chunk = if allocated { CHUNK } else { SMALL_CHUNK };
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
            Err(_) if may_wait() => deadline = Instant::now() + IDLE_LIMIT,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// Takes whole messages from the front of `bytes`: one, or with an allocation all of them.
fn whole_messages(bytes: &mut BytesMut, allocated: bool) -> io::Result<Option<Bytes>> {
    let largest = if allocated { LARGEST } else { LARGEST_UNAUTHENTICATED };
    let mut whole = 0;
    loop {
        match next(&bytes[whole..]) {
            Next::Message(length) => whole += length,
            Next::Partial if bytes.len() - whole < largest => break,
            // What came before it is still answered.
            Next::Partial | Next::Garbage if whole > 0 => break,
            Next::Partial | Next::Garbage => return Err(io::ErrorKind::InvalidData.into()),
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

    impl Socket for NoSocket {
        fn fit(&mut self, _: bool) {}

        fn hung_up(&self) -> bool {
            false
        }
    }

    pub(crate) const BINDING: &[u8] = b"\0\x01\0\0\x21\x12\xa4\x42............";

    /// Of a client that may ask `rate` times a second.
    pub(crate) fn intake(allocated: bool, rate: u32) -> Intake {
        let source = IpAddr::from([192, 0, 2, 1]);
        let budget = QueueBudget::new(1 << 26).enter(Some(source));
        let limit = SourceRateLimiter::new(Rate::per_second(rate), [1, 2], Instant::now().into_std());
        let [unhandled, unsent] = [(); 2].map(|()| budget.queue(1 << 20, RESERVE));
        let intake = Intake::new(unhandled, unsent, Some((Arc::new(limit), source)));
        intake.allocated.store(allocated, Ordering::Relaxed);
        intake
    }

    /// For one byte of some stream.
    pub(crate) fn permit() -> Permit {
        let intake = intake(true, 0);
        let under_way = Arc::clone(&intake.under_way);
        Permit {
            _of_stream: under_way.try_acquire_many_owned(1).unwrap(),
            _charge: intake.unhandled.charge(1).unwrap(),
        }
    }

    /// How long a stream lives that sends a byte a second of a message cut short, then nothing.
    async fn life(dribble: &[u8], allocated: bool) -> Option<Duration> {
        let (mut client, server) = tokio::io::duplex(64);
        let begun = Instant::now();
        let intake = intake(allocated, 20);
        let writing = async {
            for byte in dribble {
                client.write_all(&[*byte]).await.unwrap();
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            tokio::time::sleep(Duration::from_secs(3600)).await;
        };
        tokio::select! {
            ended = read(server, NoSocket, &intake, |_, _| ()) => {
                assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
                Some(begun.elapsed())
            }
            () = writing => None,
        }
    }

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

    /// How many of a client's Bindings have been brought after `time`, where each is answered at once
    /// or never.
    async fn brought(intake: &Intake, time: Duration, answers: bool) -> usize {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        client.write_all(&BINDING.repeat(1000)).await.unwrap();
        let (count, kept) = (std::cell::Cell::new(0), std::cell::RefCell::new(Vec::new()));
        let bring = |messages: Bytes, permit| {
            count.set(count.get() + messages.len() / BINDING.len());
            if !answers {
                kept.borrow_mut().push((intake.unsent.charge(100), permit));
            }
        };
        let _ = timeout(time, read(server, NoSocket, intake, bring)).await;
        count.get()
    }

    #[tokio::test(start_paused = true)]
    async fn without_an_allocation_a_source_asks_as_often_as_it_is_answered() {
        let second = Duration::from_secs(1);
        let unauthenticated = intake(false, 20);
        let first = brought(&unauthenticated, second, true).await;
        assert!((218..=221).contains(&first), "ten seconds' worth and the rate: {first}");
        let then = brought(&unauthenticated, second, true).await;
        assert!((18..=21).contains(&then), "another stream of the source has no burst: {then}");
        assert_eq!(brought(&intake(false, 0), second, true).await, 1000, "where there is no limit");
        assert_eq!(brought(&intake(true, 20), second, true).await, 1000, "with an allocation");
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_message_is_read_when_the_answer_has_left() {
        let intake = intake(false, 0);
        assert_eq!(brought(&intake, Duration::from_secs(1), false).await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_for_its_turn_is_given_up() {
        let mut intake = intake(false, 0);
        let (rate, now) = (Rate { interval: IDLE_LIMIT, burst: 1 }, Instant::now());
        let limit = SourceRateLimiter::new(rate, [1, 2], now.into_std());
        intake.limit = intake.limit.map(|(_, source)| (Arc::new(limit), source));
        intake.turn(&NoSocket).await.unwrap();
        assert!(intake.turn(&NoSocket).await.is_err());
        assert!(now.elapsed() >= MESSAGE_LIMIT && now.elapsed() < MESSAGE_LIMIT + LONGEST_RETRY * 2);
    }

    #[test]
    fn a_message_without_an_allocation_has_8_kib() {
        let mut long = BytesMut::from(&[0, 1, 0x30, 0, 0x21, 0x12, 0xa4, 0x42][..]);
        long.resize(LARGEST_UNAUTHENTICATED, 0);
        assert!(whole_messages(&mut long, false).is_err());
        assert_eq!(whole_messages(&mut long, true).unwrap(), None);
    }
}
