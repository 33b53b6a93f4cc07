//! What the web half counts. Every count is under one of a closed set of headings, whatever strangers
//! say.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use webrtc_box_signaling::{MediaPath, Refusal};

/// The counts, written from anywhere: none of them is for something that happens often.
#[derive(Debug, Default)]
pub(super) struct Tally {
    joins: Counts<2>,
    turned_away: Counts<10>,
    handshakes: Counts<4>,
    setups: [Times; 4],
    calls: Counts<6>,
    crowded_out: Counts<1>,
    given_up: Counts<1>,
}

/// The counts as they were when somebody asked, and what there is at that moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Rooms somebody sits in.
    pub rooms: usize,
    /// Seats taken, by people who are here or away.
    pub seats: usize,
    /// Open WebSockets.
    pub sockets: usize,
    /// Seats taken anew, and taken back.
    pub joins: [u64; 2],
    /// Joins refused, by [`Refusal::CODES`].
    pub turned_away: [u64; 10],
    /// TLS handshakes, by [`Handshake::ALL`].
    pub handshakes: [u64; 4],
    /// How long calls took to connect, as pages say, by [`MediaPath::ALL`].
    pub setups: [Setups; 4],
    /// Calls that have ended, by [`MediaPath::ALL`]; then those of which a page reported, but no connection;
    /// last those of which no page reported.
    pub calls: [u64; 6],
    /// Connections of sources that had all they may have.
    pub crowded_out: u64,
    /// WebSockets closed because who is there did not read.
    pub given_up: u64,
}

/// How a TLS handshake ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// Well.
    Done,
    /// The other side went away or wanted what we do not have.
    Failed,
    /// It took too long.
    TooSlow,
    /// It was not begun: its source had more than it may have.
    Refused,
}

impl Handshake {
    /// In the order of the counts.
    pub const ALL: [Self; 4] = [Self::Done, Self::Failed, Self::TooSlow, Self::Refused];
}

/// Lengths of time, counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Setups {
    /// All together, in seconds.
    pub sum: f64,
    /// How many of them were no longer than each of [`SETUP_BOUNDS`], each in the first it fits;
    /// last those that were longer than all.
    pub counts: [u64; SETUP_BOUNDS.len() + 1],
}

/// Seconds.
pub const SETUP_BOUNDS: [f64; 9] = [0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0];

#[derive(Debug)]
struct Counts<const N: usize>([AtomicU64; N]);

#[derive(Debug, Default)]
struct Times {
    microseconds: AtomicU64,
    counts: Counts<{ SETUP_BOUNDS.len() + 1 }>,
}

impl Tally {
    pub(super) fn joined(&self, resumed: bool) {
        self.joins.count(usize::from(resumed));
    }

    pub(super) fn turned_away(&self, refusal: Refusal) {
        let at = Refusal::CODES.iter().position(|code| *code == refusal.code());
        at.into_iter().for_each(|at| self.turned_away.count(at));
    }

    pub(super) fn shook_hands(&self, how: Handshake) {
        self.handshakes.count(how as usize);
    }

    pub(super) fn connected(&self, path: MediaPath, setup: Duration) {
        self.setups[path as usize].count(setup);
    }

    /// `path` is `None` where no page said that it was connected, which tells something only of a call
    /// that was `reported`.
    pub(super) fn call_ended(&self, path: Option<MediaPath>, reported: bool) {
        let unconnected = MediaPath::ALL.len() + usize::from(!reported);
        self.calls.count(path.map_or(unconnected, |path| path as usize));
    }

    pub(super) fn crowded_out(&self) {
        self.crowded_out.count(0);
    }

    pub(super) fn gave_up(&self) {
        self.given_up.count(0);
    }

    /// Without what there is at this moment, which is not counted here.
    pub(super) fn figures(&self) -> Figures {
        Figures {
            joins: self.joins.read(),
            turned_away: self.turned_away.read(),
            handshakes: self.handshakes.read(),
            setups: std::array::from_fn(|at| self.setups[at].read()),
            calls: self.calls.read(),
            crowded_out: self.crowded_out.read()[0],
            given_up: self.given_up.read()[0],
            ..Figures::default()
        }
    }
}

impl<const N: usize> Counts<N> {
    fn count(&self, at: usize) {
        self.0[at].fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self) -> [u64; N] {
        std::array::from_fn(|at| self.0[at].load(Ordering::Relaxed))
    }
}

impl<const N: usize> Default for Counts<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Times {
    fn count(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        let fits = SETUP_BOUNDS.iter().position(|bound| seconds <= *bound);
        self.counts.count(fits.unwrap_or(SETUP_BOUNDS.len()));
        self.microseconds.fetch_add(time.as_micros() as u64, Ordering::Relaxed);
    }

    fn read(&self) -> Setups {
        let sum = Duration::from_micros(self.microseconds.load(Ordering::Relaxed)).as_secs_f64();
        Setups { sum, counts: self.counts.read() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counted_where_they_first_fit() {
        let tally = Tally::default();
        for milliseconds in [0, 250, 251, 30_000, 30_001, 3_600_000] {
            tally.connected(MediaPath::RelayTls, Duration::from_millis(milliseconds));
        }
        let setups = &tally.figures().setups[MediaPath::RelayTls as usize];
        assert_eq!(setups.counts, [2, 1, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert!((setups.sum - 3660.502).abs() < 1e-9, "{}", setups.sum);
        assert_eq!(tally.figures().setups[MediaPath::Direct as usize], Setups::default());
    }

    #[test]
    fn every_heading_stands_at_its_place() {
        assert!(Handshake::ALL.iter().enumerate().all(|(at, how)| *how as usize == at));
        let tally = Tally::default();
        tally.turned_away(Refusal::ShuttingDown);
        tally.call_ended(None, true);
        tally.call_ended(None, false);
        tally.joined(true);
        let figures = tally.figures();
        assert_eq!(figures.turned_away[9], 1);
        assert_eq!(figures.calls, [0, 0, 0, 0, 1, 1]);
        assert_eq!(figures.joins, [0, 1]);
    }
}
