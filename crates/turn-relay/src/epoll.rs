//! What a worker waits for: its sockets, a clock's tick, and a bell that other threads ring.
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
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};
use tracing::debug;

/// Where something may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum PollSource {
    /// A socket on the turn port, by its index.
    Turn(usize),
    /// A relay socket, by its slot.
    Port(usize),
}

/// A worker's wait.
#[derive(Debug)]
pub(super) struct Poller {
    epoll: OwnedFd,
    /// A timer of its own costs nothing in a wait that it does not end; a limit on the wait does.
    clock: OwnedFd,
    waker: Arc<Waker>,
}

/// Wakes one worker; rung by any thread. Costs a system call only where the worker sleeps.
#[derive(Debug)]
pub(super) struct Waker {
    fd: OwnedFd,
    asleep: AtomicBool,
}

/// Events taken at a time.
const EVENTS: usize = 64;
/// A wait that fails is not tried again at once. No tick comes of it: the worker counts as stalled.
const PAUSE: Duration = Duration::from_millis(50);
/// Told apart from any source.
const BELL: u64 = u64::MAX;
const CLOCK: u64 = u64::MAX - 1;
const PORT: u64 = 1 << 63;

impl Waker {
    /// A bell nobody hears yet.
    ///
    /// # Errors
    /// Where the kernel has no descriptor left.
    pub(super) fn new() -> io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { fd, asleep: AtomicBool::new(false) })
    }

    /// Wakes the worker where it sleeps or is about to.
    pub(super) fn wake(&self) {
        // What was handed over before is seen by a worker that is found awake here.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed) {
            // Fails only where it has been rung 2^64 times.
            let _ = rustix::io::write(&self.fd, &1_u64.to_ne_bytes());
        }
    }
}

impl Poller {
    /// Waits for nothing yet but `bell`, and for a tick every `tick`.
    ///
    /// # Errors
    /// Where the kernel has no descriptor left.
    pub(super) fn new(waker: Arc<Waker>, tick: Duration) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let clock =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        let tick = Timespec { tv_sec: tick.as_secs() as i64, tv_nsec: tick.subsec_nanos().into() };
        let every = Itimerspec { it_interval: tick, it_value: tick };
        timerfd_settime(&clock, TimerfdTimerFlags::empty(), &every)?;
        epoll::add(&epoll, &waker.fd, EventData::new_u64(BELL), EventFlags::IN)?;
        epoll::add(&epoll, &clock, EventData::new_u64(CLOCK), EventFlags::IN)?;
        Ok(Self { epoll, clock, waker })
    }

    /// From now on says when `socket` may be read, under the name `source`. Ends when it is closed.
    ///
    /// # Errors
    /// Where the kernel's limit on watches is reached.
    pub(super) fn watch(&self, socket: &impl AsFd, source: PollSource) -> io::Result<()> {
        let data = EventData::new_u64(source.name());
        Ok(epoll::add(&self.epoll, socket, data, EventFlags::IN | EventFlags::ET)?)
    }

    /// Waits, but not where `busy` says that there is work, which is asked after others have been
    /// told to ring. Calls `ready` for each source. Whether there was a tick.
    pub(super) fn wait(&self, busy: impl FnOnce() -> bool, mut ready: impl FnMut(PollSource)) -> bool {
        self.waker.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let no_wait = Timespec { tv_sec: 0, tv_nsec: 0 };
        let timeout = busy().then_some(&no_wait);
        let mut events = [const { MaybeUninit::<Event>::uninit() }; EVENTS];
        // Interrupted is as good as over.
        let found = epoll::wait(&self.epoll, &mut events, timeout).map(|(found, _)| &*found);
        self.waker.asleep.store(false, Ordering::Relaxed);
        if let Some(error) = found.as_ref().err().filter(|error| **error != Errno::INTR) {
            debug!(%error, "wait failed");
            std::thread::sleep(PAUSE);
        }
        let mut ticked = false;
        for event in found.unwrap_or_default() {
            match event.data.u64() {
                BELL => drain_fd(&self.waker.fd),
                CLOCK => {
                    drain_fd(&self.clock);
                    ticked = true;
                }
                name => ready(PollSource::named(name)),
            }
        }
        ticked
    }
}

/// Takes back what a bell or a clock has said.
fn drain_fd(fd: &OwnedFd) {
    // It has said nothing, or goes on saying it: then at least not without a pause.
    if let Err(error) = rustix::io::read(fd, &mut [0; 8][..])
        && error != Errno::AGAIN
    {
        debug!(%error, "a bell or a clock cannot be read");
        std::thread::sleep(PAUSE);
    }
}

impl PollSource {
    fn name(self) -> u64 {
        match self {
            Self::Turn(index) => index as u64,
            Self::Port(slot) => PORT | slot as u64,
        }
    }

    fn named(name: u64) -> Self {
        match name {
            port if port & PORT != 0 => Self::Port((port & !PORT) as usize),
            index => Self::Turn(index as usize),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Instant;

    use super::*;

    const TICK: Duration = Duration::from_millis(300);

    fn poll() -> (Poller, Arc<Waker>) {
        let waker = Arc::new(Waker::new().unwrap());
        (Poller::new(Arc::clone(&waker), TICK).unwrap(), waker)
    }

    /// What is ready, and whether there was a tick.
    fn waited(poll: &Poller, busy: bool) -> (Vec<PollSource>, bool) {
        let mut found = Vec::new();
        let ticked = poll.wait(|| busy, |source| found.push(source));
        (found, ticked)
    }

    #[test]
    fn what_has_come_is_said_once_under_its_name() {
        let (poll, _) = poll();
        let sockets = [0, 1].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
        poll.watch(&sockets[0], PollSource::Turn(0)).unwrap();
        poll.watch(&sockets[1], PollSource::Port(7)).unwrap();
        sockets[0].send_to(b"hello", sockets[1].local_addr().unwrap()).unwrap();
        assert_eq!(waited(&poll, false).0, [PollSource::Port(7)]);
        assert_eq!(waited(&poll, true).0, []);
        sockets[1].send_to(b"hello", sockets[0].local_addr().unwrap()).unwrap();
        assert_eq!(waited(&poll, false).0, [PollSource::Turn(0)]);
    }

    #[test]
    fn a_bell_wakes_whoever_sleeps_and_is_not_heard_twice() {
        let (poll, waker) = poll();
        let ringing = std::thread::spawn(move || {
            while !waker.asleep.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            waker.wake();
        });
        assert_eq!(waited(&poll, false), (vec![], false));
        ringing.join().unwrap();
        assert_eq!(waited(&poll, false), (vec![], true), "only the clock ends this wait");
    }

    #[test]
    fn the_clock_ticks_on() {
        let (poll, _) = poll();
        let begun = Instant::now();
        assert!(waited(&poll, false).1 && waited(&poll, false).1);
        assert!(begun.elapsed() >= TICK * 3 / 2, "{:?}", begun.elapsed());
        assert_eq!(waited(&poll, true), (vec![], false), "who has work does not wait");
    }
}
