//! What a worker waits for: its sockets, and a bell that other threads ring.
//!
//! Sockets are watched edge-triggered: one that has been reported is reported again only when more
//! has come, so whoever reads must read until nothing is left, or remember to come back.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};

/// Where something may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A socket on the turn port, by its index.
    Turn(usize),
    /// A relay socket, by its slot.
    Port(usize),
}

/// A worker's wait.
#[derive(Debug)]
pub(super) struct Poll {
    epoll: OwnedFd,
    bell: Arc<Bell>,
}

/// Wakes one worker; rung by any thread. Costs a system call only where the worker sleeps.
#[derive(Debug)]
pub(super) struct Bell {
    fd: OwnedFd,
    asleep: AtomicBool,
}

/// Events taken at a time.
const EVENTS: usize = 64;
/// Told apart from any source.
const BELL: u64 = u64::MAX;
const PORT: u64 = 1 << 63;

impl Bell {
    /// A bell nobody hears yet.
    ///
    /// # Errors
    /// Where the kernel has no descriptor left.
    pub(super) fn new() -> io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { fd, asleep: AtomicBool::new(false) })
    }

    /// Wakes the worker where it sleeps or is about to.
    pub(super) fn ring(&self) {
        // What was handed over before is seen by a worker that is found awake here.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed) {
            // Fails only where it has been rung 2^64 times.
            let _ = rustix::io::write(&self.fd, &1_u64.to_ne_bytes());
        }
    }

    fn hush(&self) {
        let _ = rustix::io::read(&self.fd, &mut [0; 8][..]);
    }
}

impl Poll {
    /// Waits for nothing yet but for `bell`.
    ///
    /// # Errors
    /// Where the kernel has no descriptor left.
    pub(super) fn new(bell: Arc<Bell>) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &bell.fd, EventData::new_u64(BELL), EventFlags::IN)?;
        Ok(Self { epoll, bell })
    }

    /// From now on says when `socket` may be read, under the name `source`. Ends when it is closed.
    ///
    /// # Errors
    /// Where the kernel's limit on watches is reached.
    pub(super) fn watch(&self, socket: &impl AsFd, source: Source) -> io::Result<()> {
        let data = EventData::new_u64(source.name());
        Ok(epoll::add(&self.epoll, socket, data, EventFlags::IN | EventFlags::ET)?)
    }

    /// Waits for at most `patience`, and not at all where `busy` says that there is work, which is
    /// asked after others have been told to ring. Calls `ready` for each source.
    pub(super) fn wait(
        &self,
        patience: Duration,
        busy: impl FnOnce() -> bool,
        mut ready: impl FnMut(Source),
    ) {
        self.bell.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let patience = if busy() { Duration::ZERO } else { patience };
        let patience = Timespec { tv_sec: 0, tv_nsec: patience.subsec_nanos().into() };
        let mut events = [const { MaybeUninit::<Event>::uninit() }; EVENTS];
        // Interrupted is as good as over.
        let found = epoll::wait(&self.epoll, &mut events, Some(&patience)).map(|(found, _)| &*found);
        self.bell.asleep.store(false, Ordering::Relaxed);
        for event in found.unwrap_or_default() {
            match Source::named(event.data.u64()) {
                Some(source) => ready(source),
                None => self.bell.hush(),
            }
        }
    }
}

impl Source {
    fn name(self) -> u64 {
        match self {
            Self::Turn(index) => index as u64,
            Self::Port(slot) => PORT | slot as u64,
        }
    }

    fn named(name: u64) -> Option<Self> {
        match name {
            BELL => None,
            port if port & PORT != 0 => Some(Self::Port((port & !PORT) as usize)),
            index => Some(Self::Turn(index as usize)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Instant;

    use super::*;

    fn waited(poll: &Poll, patience: Duration, busy: bool) -> (Vec<Source>, Duration) {
        let (begun, mut found) = (Instant::now(), Vec::new());
        poll.wait(patience, || busy, |source| found.push(source));
        (found, begun.elapsed())
    }

    #[test]
    fn what_has_come_is_said_once_under_its_name() {
        let poll = Poll::new(Arc::new(Bell::new().unwrap())).unwrap();
        let sockets = [0, 1].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
        poll.watch(&sockets[0], Source::Turn(0)).unwrap();
        poll.watch(&sockets[1], Source::Port(7)).unwrap();
        sockets[0].send_to(b"hello", sockets[1].local_addr().unwrap()).unwrap();
        let second = Duration::from_millis(900);
        assert_eq!(waited(&poll, second, false).0, [Source::Port(7)]);
        assert_eq!(waited(&poll, Duration::ZERO, false).0, []);
        sockets[1].send_to(b"hello", sockets[0].local_addr().unwrap()).unwrap();
        assert_eq!(waited(&poll, second, false).0, [Source::Turn(0)]);
    }

    #[test]
    fn a_bell_wakes_whoever_sleeps_and_is_not_heard_twice() {
        let bell = Arc::new(Bell::new().unwrap());
        let poll = Poll::new(Arc::clone(&bell)).unwrap();
        let ringing = std::thread::spawn(move || {
            while !bell.asleep.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            bell.ring();
        });
        let (found, time) = waited(&poll, Duration::from_millis(900), false);
        ringing.join().unwrap();
        assert!(found.is_empty() && time < Duration::from_millis(900), "{time:?}");
        let short = Duration::from_millis(20);
        assert!(waited(&poll, short, false).1 >= short);
    }

    #[test]
    fn who_has_work_does_not_wait() {
        let poll = Poll::new(Arc::new(Bell::new().unwrap())).unwrap();
        assert!(waited(&poll, Duration::from_millis(900), true).1 < Duration::from_millis(900));
    }
}
