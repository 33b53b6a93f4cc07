//! Many connections to one server, and the deeds they do together. A deed is over when all that was
//! to be heard has been heard.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep};

use crate::client::{Flow, Order, Place, Tally};

/// Connections that are being opened at a time.
const OPENING: usize = 8;

/// No deed takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Open connections, two by two.
pub(crate) struct Crowd {
    lines: Vec<mpsc::UnboundedSender<Order>>,
    tally: Arc<Tally>,
}

impl Crowd {
    /// Opens `count` connections, a few at a time.
    pub(crate) async fn open(place: &Place, count: usize) -> Self {
        let tally = Arc::new(Tally::default());
        let mut opening = JoinSet::new();
        for first in 0..OPENING {
            let (place, tally) = (place.clone(), Arc::clone(&tally));
            opening.spawn(async move {
                let mut lines = Vec::new();
                for _ in (first..count).step_by(OPENING) {
                    lines.push(place.open(Arc::clone(&tally)).await);
                }
                lines
            });
        }
        let lines = opening.join_all().await.concat();
        Self { lines, tally }
    }

    /// Everybody takes a seat, `at_once` of them `every` so often: first those who find an empty room,
    /// then those who find somebody.
    pub(crate) async fn join(&self, name: &str, at_once: usize, every: Duration) {
        let rooms = self.lines.len() / 2;
        let mut pace = interval(every);
        for (index, line) in self.lines.iter().enumerate() {
            if index == rooms {
                heard(&self.tally.joined, rooms).await;
            }
            if index % at_once == 0 {
                pace.tick().await;
            }
            order(line, Order::Join(format!("{name}-{}", index % rooms)));
        }
        heard(&self.tally.joined, 2 * rooms).await;
        heard(&self.tally.new_peers, rooms).await;
    }

    /// Everybody sends to the other: `frames` each, in groups of `at_once`, `every` so often; the
    /// first groups are spread over that time.
    pub(crate) async fn send(&self, frames: usize, at_once: usize, every: Duration) {
        let before = self.tally.candidates.load(Ordering::Relaxed);
        for (index, line) in self.lines.iter().enumerate() {
            let after = every * u32::try_from(index).unwrap() / u32::try_from(self.lines.len()).unwrap();
            order(line, Order::Send(Flow { frames, at_once, every, after }));
        }
        heard(&self.tally.candidates, before + frames * self.lines.len()).await;
    }

    /// Everybody leaves and closes.
    pub(crate) async fn leave(self) {
        self.lines.iter().for_each(|line| order(line, Order::Leave));
        heard(&self.tally.closed, self.lines.len()).await;
    }
}

fn order(line: &mpsc::UnboundedSender<Order>, order: Order) {
    assert!(line.send(order).is_ok(), "a connection was lost");
}

async fn heard(counter: &AtomicUsize, expected: usize) {
    let deadline = Instant::now() + PATIENCE;
    while counter.load(Ordering::Relaxed) < expected {
        let so_far = counter.load(Ordering::Relaxed);
        assert!(Instant::now() < deadline, "heard {so_far} of {expected}");
        sleep(Duration::from_millis(2)).await;
    }
}
