//! Many clients of one server, and the steps they perform together. A step ends when all expected frames have arrived.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep};

use crate::client::{ClientCommand, Counters, Endpoint, Flow};

/// Connections that open concurrently.
const OPENING: usize = 8;

/// The limit of one step.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Connected clients, in pairs.
pub(crate) struct Clients {
    senders: Vec<mpsc::UnboundedSender<ClientCommand>>,
    counters: Arc<Counters>,
}

impl Clients {
    /// Opens `count` connections, a few at a time.
    pub(crate) async fn open(endpoint: &Endpoint, count: usize) -> Self {
        let counters = Arc::new(Counters::default());
        let mut opening = JoinSet::new();
        for first in 0..OPENING {
            let (endpoint, counters) = (endpoint.clone(), Arc::clone(&counters));
            opening.spawn(async move {
                let mut senders = Vec::new();
                for _ in (first..count).step_by(OPENING) {
                    senders.push(endpoint.open(Arc::clone(&counters)).await);
                }
                senders
            });
        }
        let senders = opening.join_all().await.concat();
        Self { senders, counters }
    }

    /// All clients join, `at_once` of them per interval `every`: first one per room, then the second.
    pub(crate) async fn join(&self, name: &str, at_once: usize, every: Duration) {
        let rooms = self.senders.len() / 2;
        let mut pace = interval(every);
        for (index, sender) in self.senders.iter().enumerate() {
            if index == rooms {
                wait_for(&self.counters.joined, rooms).await;
            }
            if index % at_once == 0 {
                pace.tick().await;
            }
            command(sender, ClientCommand::Join(format!("{name}-{}", index % rooms)));
        }
        wait_for(&self.counters.joined, 2 * rooms).await;
        wait_for(&self.counters.new_peers, rooms).await;
    }

    /// All clients send `frames` candidates to their peers, in groups of `at_once` per interval `every`; the first groups are
    /// spread over that interval.
    pub(crate) async fn send(&self, frames: usize, at_once: usize, every: Duration) {
        let before = self.counters.candidates.load(Ordering::Relaxed);
        for (index, sender) in self.senders.iter().enumerate() {
            let delay = every * u32::try_from(index).unwrap() / u32::try_from(self.senders.len()).unwrap();
            command(sender, ClientCommand::Send(Flow { frames, group: at_once, interval: every, delay }));
        }
        wait_for(&self.counters.candidates, before + frames * self.senders.len()).await;
    }

    /// All clients leave and close.
    pub(crate) async fn leave(self) {
        self.senders.iter().for_each(|sender| command(sender, ClientCommand::Leave));
        wait_for(&self.counters.closed, self.senders.len()).await;
    }
}

fn command(sender: &mpsc::UnboundedSender<ClientCommand>, command: ClientCommand) {
    assert!(sender.send(command).is_ok(), "a connection was lost");
}

async fn wait_for(counter: &AtomicUsize, expected: usize) {
    let deadline = Instant::now() + TIMEOUT;
    while counter.load(Ordering::Relaxed) < expected {
        let so_far = counter.load(Ordering::Relaxed);
        assert!(Instant::now() < deadline, "received {so_far} of {expected}");
        sleep(Duration::from_millis(2)).await;
    }
}
