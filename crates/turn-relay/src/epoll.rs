//! What a worker waits for: its sockets, a periodic tick, and a wake-up from other threads.
//!
//! Sockets are edge-triggered: a socket is reported again only when more has arrived. A reader must empty it, or remember
//! to continue later.

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

/// A socket with data to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum PollSource {
    /// A socket of the TURN port, by its index.
    Turn(usize),
    /// A relay socket, by its slot.
    Port(usize),
}

/// The epoll instance of a worker.
#[derive(Debug)]
pub(super) struct Poller {
    epoll: OwnedFd,
    /// A separate timer costs nothing in a wait that it does not end; a timeout of the wait does.
    timer: OwnedFd,
    waker: Arc<Waker>,
}

/// Wakes one worker from any thread. Costs a system call only if the worker sleeps.
#[derive(Debug)]
pub(super) struct Waker {
    fd: OwnedFd,
    asleep: AtomicBool,
}

/// Events per wait.
const EVENTS: usize = 64;
/// Delay after a failed wait. A failed wait is no tick, so the worker counts as stalled.
const ERROR_DELAY: Duration = Duration::from_millis(50);
/// Tokens of the wake-up and the timer; no source has them.
const WAKE_UP: u64 = u64::MAX;
const TIMER: u64 = u64::MAX - 1;
/// The bit that distinguishes a relay socket from a socket of the TURN port.
const PORT: u64 = 1 << 63;

impl Waker {
    /// Fails if no file descriptor is left.
    pub(super) fn new() -> io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { fd, asleep: AtomicBool::new(false) })
    }

    /// Wakes the worker if it sleeps or is about to.
    pub(super) fn wake(&self) {
        // A worker that is awake here sees every message sent before.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed) {
            // Fails only after 2^64 wake-ups.
            let _ = rustix::io::write(&self.fd, &1_u64.to_ne_bytes());
        }
    }
}

impl Poller {
    /// Watches `waker`, and a timer with the period `tick`. Fails if no file descriptor is left.
    pub(super) fn new(waker: Arc<Waker>, tick: Duration) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        let tick = Timespec { tv_sec: tick.as_secs() as i64, tv_nsec: tick.subsec_nanos().into() };
        let every = Itimerspec { it_interval: tick, it_value: tick };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &every)?;
        epoll::add(&epoll, &waker.fd, EventData::new_u64(WAKE_UP), EventFlags::IN)?;
        epoll::add(&epoll, &timer, EventData::new_u64(TIMER), EventFlags::IN)?;
        Ok(Self { epoll, timer, waker })
    }

    /// Reports `socket` as `source` whenever data arrives, until the socket is closed. Fails if the kernel's limit on
    /// watches is reached.
    pub(super) fn watch(&self, socket: &impl AsFd, source: PollSource) -> io::Result<()> {
        let data = EventData::new_u64(source.token());
        Ok(epoll::add(&self.epoll, socket, data, EventFlags::IN | EventFlags::ET)?)
    }

    /// Waits and calls `ready` for each source with data; returns whether there was a tick. Does not block if `busy`
    /// returns true. `busy` is called after wake-ups are enabled, so no message is missed.
    pub(super) fn wait(&self, busy: impl FnOnce() -> bool, mut ready: impl FnMut(PollSource)) -> bool {
        self.waker.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let no_wait = Timespec { tv_sec: 0, tv_nsec: 0 };
        let timeout = busy().then_some(&no_wait);
        let mut events = [const { MaybeUninit::<Event>::uninit() }; EVENTS];
        // An interrupted wait counts as finished.
        let found = epoll::wait(&self.epoll, &mut events, timeout).map(|(found, _)| &*found);
        self.waker.asleep.store(false, Ordering::Relaxed);
        if let Some(error) = found.as_ref().err().filter(|error| **error != Errno::INTR) {
            debug!(%error, "epoll_wait failed");
            std::thread::sleep(ERROR_DELAY);
        }
        let mut ticked = false;
        for event in found.unwrap_or_default() {
            match event.data.u64() {
                WAKE_UP => drain_fd(&self.waker.fd),
                TIMER => {
                    drain_fd(&self.timer);
                    ticked = true;
                }
                token => ready(PollSource::from_token(token)),
            }
        }
        ticked
    }
}

/// Resets an eventfd or a timerfd.
fn drain_fd(fd: &OwnedFd) {
    // After an error the descriptor stays readable, so wait before the next attempt.
    if let Err(error) = rustix::io::read(fd, &mut [0; 8][..])
        && error != Errno::AGAIN
    {
        debug!(%error, "cannot read an eventfd or a timerfd");
        std::thread::sleep(ERROR_DELAY);
    }
}

impl PollSource {
    fn token(self) -> u64 {
        match self {
            Self::Turn(index) => index as u64,
            Self::Port(slot) => PORT | slot as u64,
        }
    }

    fn from_token(token: u64) -> Self {
        match token {
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

    /// The sources with data, and whether there was a tick.
    fn wait(poll: &Poller, busy: bool) -> (Vec<PollSource>, bool) {
        let mut ready = Vec::new();
        let ticked = poll.wait(|| busy, |source| ready.push(source));
        (ready, ticked)
    }

    #[test]
    fn a_socket_with_data_is_reported_once() {
        let (poll, _) = poll();
        let sockets = [0, 1].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
        poll.watch(&sockets[0], PollSource::Turn(0)).unwrap();
        poll.watch(&sockets[1], PollSource::Port(7)).unwrap();
        sockets[0].send_to(b"hello", sockets[1].local_addr().unwrap()).unwrap();
        assert_eq!(wait(&poll, false).0, [PollSource::Port(7)]);
        assert_eq!(wait(&poll, true).0, []);
        sockets[1].send_to(b"hello", sockets[0].local_addr().unwrap()).unwrap();
        assert_eq!(wait(&poll, false).0, [PollSource::Turn(0)]);
    }

    #[test]
    fn a_wake_up_ends_one_wait() {
        let (poll, waker) = poll();
        let waking = std::thread::spawn(move || {
            while !waker.asleep.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            waker.wake();
        });
        assert_eq!(wait(&poll, false), (vec![], false));
        waking.join().unwrap();
        assert_eq!(wait(&poll, false), (vec![], true), "only the timer ends this wait");
    }

    #[test]
    fn the_timer_ticks_periodically() {
        let (poll, _) = poll();
        let begun = Instant::now();
        assert!(wait(&poll, false).1 && wait(&poll, false).1);
        assert!(begun.elapsed() >= TICK * 3 / 2, "{:?}", begun.elapsed());
        assert_eq!(wait(&poll, true), (vec![], false), "a busy worker does not wait");
    }
}
