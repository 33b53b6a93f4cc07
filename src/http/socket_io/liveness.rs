//! When the client of a session is pinged, and when it counts as lost.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::http::websocket::End;

/// The interval of pings.
pub(super) const PING_INTERVAL: Duration = Duration::from_secs(5);

/// How long the answer to a ping may take.
pub(super) const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may take to connect to the namespace.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// When the client is pinged, and when it counts as lost.
#[derive(Debug)]
pub(super) struct Liveness {
    /// `Err`: when to ping. `Ok`: until when the answer must arrive.
    ping: Result<Instant, Instant>,
    /// Until when the client must have connected to the namespace.
    pub(super) connect_by: Option<Instant>,
}

impl Liveness {
    /// Of a session that begins at `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self { ping: Err(now + PING_INTERVAL), connect_by: Some(now + CONNECT_TIMEOUT) }
    }

    /// When something is due next.
    pub(super) fn next(&self) -> Instant {
        let (Ok(ping) | Err(ping)) = self.ping;
        self.connect_by.map_or(ping, |connect| connect.min(ping))
    }

    /// Moves the timer where a pong has changed what is due next.
    pub(super) fn set(&self, timer: Pin<&mut Sleep>) {
        if timer.deadline() != self.next() {
            timer.reset(self.next());
        }
    }

    /// The client has answered.
    pub(super) fn pong(&mut self, now: Instant) {
        if self.ping.is_ok() {
            self.ping = Err(now + PING_INTERVAL);
        }
    }

    /// Whether a ping is due.
    ///
    /// # Errors
    /// The client is lost.
    pub(super) fn check(&mut self, now: Instant) -> Result<bool, End> {
        if self.connect_by.is_some_and(|by| now >= by) {
            return Err(End::TimedOut);
        }
        match self.ping {
            Ok(until) if now >= until => Err(End::TimedOut),
            Err(due) if now >= due => {
                self.ping = Ok(now + PING_TIMEOUT);
                Ok(true)
            }
            Ok(_) | Err(_) => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_is_pinged_and_has_ten_seconds_to_answer() {
        let start = Instant::now();
        let mut liveness = Liveness::new(start);
        liveness.connect_by = None;
        assert_eq!(liveness.next(), start + PING_INTERVAL);
        assert!(matches!(liveness.check(start + seconds(5)), Ok(true)));
        assert!(matches!(liveness.check(start + seconds(14)), Ok(false)));
        liveness.pong(start + seconds(14));
        assert_eq!(liveness.next(), start + seconds(19));
        assert!(matches!(liveness.check(start + seconds(19)), Ok(true)));
        assert!(matches!(liveness.check(start + seconds(29)), Err(End::TimedOut)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_unrequested_pong_delays_no_ping() {
        let start = Instant::now();
        let mut liveness = Liveness::new(start);
        liveness.pong(start + seconds(4));
        assert_eq!(liveness.next(), start + PING_INTERVAL);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_connect_is_lost() {
        let start = Instant::now();
        let mut liveness = Liveness::new(start);
        assert!(matches!(liveness.check(start + seconds(5)), Ok(true)));
        liveness.pong(start + seconds(6));
        assert!(matches!(liveness.check(start + CONNECT_TIMEOUT), Err(End::TimedOut)));
    }
}
