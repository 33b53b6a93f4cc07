//! Runs the decisions on Tokio: sends requests to the store, wakes who waits for a decision, hands out events.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use crate::registry::{Registry, Reply, Request};
use crate::{
    BoxId, CallId, Cluster, ClusterConfig, Decision, Event, Fence, JoinRequest, Load, NodeInfo, NodeName,
    Observer, Outcome, RedisRegistry, RoomTag, StoreError, Ticket,
};

/// Longer than the requests that a decision may need. Only a driver that does not run takes so long.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// Asks and tells the cluster. Clones are the same box.
#[derive(Clone)]
pub struct ClusterHandle {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Wakes the driver.
    changed: Notify,
}

struct State {
    cluster: Cluster,
    waiting: HashMap<Ticket, oneshot::Sender<Outcome>>,
}

impl ClusterHandle {
    /// The answer from memory, at once; `None` if the store must be asked by [`join`](Self::join) or
    /// [`look`](Self::look). For joins and looks.
    pub fn owned(&self, request: &JoinRequest, now: Instant) -> Option<Decision> {
        self.shared.lock().cluster.owned(request, now)
    }

    /// Decides a join, usually by one request of the store: within 300 ms.
    pub async fn join(&self, request: JoinRequest) -> Decision {
        self.decide(|cluster, now| cluster.join(request, now)).await
    }

    /// Decides a look, usually by one request of the store: within 300 ms.
    pub async fn look(&self, room: RoomTag) -> Decision {
        self.decide(|cluster, now| cluster.look(room, now)).await
    }

    /// The number of seats of a room that this box serves. Five seconds after it is zero the ownership ends.
    pub fn set_seats(&self, room: RoomTag, seats: usize) {
        if self.shared.lock().cluster.set_seats(room, seats, Instant::now()) {
            self.shared.changed.notify_one();
        }
    }

    /// The load of this box, which other boxes see.
    pub fn set_load(&self, load: Load) {
        self.shared.lock().cluster.set_load(load);
    }

    /// Whether this box reaches another one by its name.
    pub fn set_reachable(&self, node: &BoxId, reachable: bool) {
        self.shared.lock().cluster.set_reachable(node, reachable);
    }

    /// Gives new rooms to other boxes, or no longer.
    pub fn drain(&self, on: bool) {
        self.shared.lock().cluster.drain(on);
    }

    /// Hands a room of this box to the less loaded of two random others. `None`: the room stays, since there is no other
    /// box or the store is away. Otherwise this box no longer owns it, and no [`Event::RoomLost`] follows.
    pub async fn move_room(&self, room: RoomTag) -> Option<(NodeName, Fence)> {
        match self.ask(|cluster, now| cluster.move_room(room, now)).await? {
            Outcome::Moved(owner) => owner,
            Outcome::Decision(_) | Outcome::Reply(_) | Outcome::ShutDown => None,
        }
    }

    /// The boxes last known, this one first.
    pub fn nodes(&self) -> Vec<NodeInfo> {
        self.shared.lock().cluster.nodes(Instant::now())
    }

    /// The number of rooms that this box owns.
    pub fn room_count(&self) -> usize {
        self.shared.lock().cluster.room_count()
    }

    /// Releases rooms without seats, and the lease.
    pub async fn shutdown(&self) {
        self.ask(Cluster::shut_down).await;
    }

    /// Whether this box may order a certificate now; others may not until [`unlock_order`](Self::unlock_order), at most for
    /// ten minutes.
    pub async fn lock_order(&self) -> bool {
        matches!(self.request(Request::LockOrder).await, Ok(Reply::Done(true)))
    }

    /// Ends [`lock_order`](Self::lock_order).
    pub async fn unlock_order(&self) {
        // If the store is away, the lock ends by itself.
        let _ignored = self.request(Request::UnlockOrder).await;
    }

    /// Shares the key authorization of `domain` with all boxes for `ttl`; `false`: the store is away.
    pub async fn put_challenge(&self, domain: &str, key_authorization: &str, ttl: Duration) -> bool {
        let (domain, value) = (domain.to_owned(), key_authorization.to_owned());
        self.request(Request::PutChallenge { domain, value, ttl }).await.is_ok()
    }

    /// The key authorization of `domain` that a box shared.
    pub async fn get_challenge(&self, domain: &str) -> Option<String> {
        match self.request(Request::Challenge { domain: domain.to_owned() }).await {
            Ok(Reply::Challenge(value)) => value,
            Ok(_) | Err(_) => None,
        }
    }

    async fn request(&self, request: Request) -> Result<Reply, StoreError> {
        match self.ask(|cluster, now| cluster.request(request, now)).await {
            Some(Outcome::Reply(reply)) => reply,
            Some(Outcome::Decision(_) | Outcome::Moved(_) | Outcome::ShutDown) | None => {
                Err(StoreError::Timeout)
            }
        }
    }

    async fn decide(&self, question: impl FnOnce(&mut Cluster, Instant) -> Ticket) -> Decision {
        match self.ask(question).await {
            Some(Outcome::Decision(decision)) => decision,
            Some(Outcome::Moved(_) | Outcome::Reply(_) | Outcome::ShutDown) | None => Decision::TryLater,
        }
    }

    /// `None`: the driver does not run any more.
    async fn ask(&self, question: impl FnOnce(&mut Cluster, Instant) -> Ticket) -> Option<Outcome> {
        let (answer, answered) = oneshot::channel();
        {
            let mut state = self.shared.lock();
            let ticket = question(&mut state.cluster, Instant::now());
            state.waiting.insert(ticket, answer);
        }
        self.shared.changed.notify_one();
        tokio::time::timeout(ANSWER_TIMEOUT, answered).await.ok()?.ok()
    }
}

impl fmt::Debug for ClusterHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterHandle").finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Hands out answers, and takes what the driver must do.
    fn drain(&mut self) -> (Vec<(CallId, Request)>, Vec<Event>) {
        while let Some((ticket, outcome)) = self.cluster.poll_outcome() {
            if let Some(answer) = self.waiting.remove(&ticket) {
                // Who asked may have gone.
                let _ignored = answer.send(outcome);
            }
        }
        let requests = std::iter::from_fn(|| self.cluster.poll_request()).collect();
        (requests, std::iter::from_fn(|| self.cluster.poll_event()).collect())
    }
}

/// A box of the cluster. The returned future does the work and never ends; spawn it on Tokio.
pub fn start(
    config: ClusterConfig,
    observer: Arc<dyn Observer>,
) -> (ClusterHandle, impl Future<Output = ()> + Send + 'static) {
    let registry = RedisRegistry::new(&config);
    start_with(config, registry, observer)
}

/// A box of the cluster with another store.
pub fn start_with(
    config: ClusterConfig,
    registry: impl Registry,
    observer: Arc<dyn Observer>,
) -> (ClusterHandle, impl Future<Output = ()> + Send + 'static) {
    let cluster = Cluster::new(&config, Instant::now());
    let state = Mutex::new(State { cluster, waiting: HashMap::new() });
    let shared = Arc::new(Shared { state, changed: Notify::new() });
    let handle = ClusterHandle { shared: Arc::clone(&shared) };
    (handle, run(shared, Arc::new(registry), observer))
}

async fn run(shared: Arc<Shared>, registry: Arc<impl Registry>, observer: Arc<dyn Observer>) {
    let mut tasks = JoinSet::new();
    let mut timeout = Instant::now();
    {
        let registry = Arc::clone(&registry);
        tasks.spawn(async move {
            registry.run().await;
        });
    }
    loop {
        tokio::select! {
            () = shared.changed.notified() => {}
            () = sleep_until(timeout.into()) => {}
            // Ended calls are taken out; their replies are in already.
            Some(_) = tasks.join_next() => continue,
        }
        let now = Instant::now();
        let (requests, events) = {
            let mut state = shared.lock();
            if now >= timeout {
                state.cluster.handle_timeout(now);
            }
            timeout = state.cluster.poll_timeout(now);
            state.drain()
        };
        for (id, request) in requests {
            let (shared, registry, observer) =
                (Arc::clone(&shared), Arc::clone(&registry), Arc::clone(&observer));
            tasks.spawn(async move {
                let start = Instant::now();
                let reply = registry.call(request).await;
                observer.handle(Event::StoreCall { latency: start.elapsed(), ok: reply.is_ok() });
                shared.lock().cluster.handle_reply(id, reply, Instant::now());
                shared.changed.notify_one();
            });
        }
        events.into_iter().for_each(|event| observer.handle(event));
    }
}
