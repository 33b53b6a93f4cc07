//! Connects the sessions of all transports with [`Rooms`]: passes frames in and carries out the actions.
//!
//! The lock is held while an input is processed and its actions are put into send queues, which never blocks. Frames
//! therefore arrive in the order of the decisions. No socket is written under the lock.
//!
//! In a cluster, a join or look waits for the owner of its room before that (`route`).

mod route;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use arc_swap::ArcSwap;
use futures_util::future::{BoxFuture, Either, Ready, ready};
use tokio::sync::Notify;
use tracing::debug;

use webrtc_box_relay::health::{HEARTBEAT_INTERVAL, Heartbeat};
use webrtc_box_relay::queue_budget::{Charge, QueueBudget};
use webrtc_box_signaling::{
    Action, ConnectionId, HostKeys, IceUrls, OtherOwner, OwnedRoom, Refusal, ResumeTokenKey, RoomOwner,
    RoomRequest, RoomTag, Rooms, SeatEvent,
};
use webrtc_box_turn::credential::Secrets;

use super::counters::CallLog;
use super::send_queue::{Outgoing, SendQueue, SendReceiver, send_queue};
use crate::clock;
use crate::cluster::{Cluster, RedirectCause};
use crate::principals::SeatCredentials;

pub(super) use self::route::Route;

/// Bytes of frames that may wait in all send queues, besides a reserve for each.
const MAX_QUEUED_BYTES: usize = 64 << 20;

/// The rooms and the send queues of their sessions.
pub(super) struct Hub {
    state: Mutex<HubState>,
    /// Notified if a timer moves before the one that the timer task waits for.
    timer_moved: Arc<Notify>,
    on_seat_event: Arc<dyn Fn(SeatEvent) + Send + Sync>,
    call_log: CallLog,
    /// Secrets of the relay credentials.
    secrets: ArcSwap<Secrets>,
    queues: QueueBudget,
    /// Knows who owns a room; `None`: there is no other server.
    cluster: Option<Arc<Cluster>>,
}

/// Handles a frame: usually done at once. The state of a request of the store is on the heap, so that sessions without one do not
/// pay for it.
pub(super) type HandleText<'a> =
    Either<Ready<Result<(), getrandom::Error>>, BoxFuture<'a, Result<(), getrandom::Error>>>;

/// How a session exchanges frames with its client; the label `transport` of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    WebSocket,
    /// HTTP long polling.
    Polling,
    SocketIo,
}

impl Transport {
    pub(super) const ALL: [Self; 3] = [Self::WebSocket, Self::Polling, Self::SocketIo];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::Polling => "polling",
            Self::SocketIo => "socket-io",
        }
    }
}

struct HubState {
    rooms: Rooms,
    /// A `BTreeMap` gives its memory back when many sessions have ended.
    send_queues: BTreeMap<ConnectionId, SendQueue>,
    last_id: u64,
    /// What the timer task waits for.
    awaited: Option<Instant>,
    /// Random bytes that no seat uses yet.
    unused_random: Option<[u8; 16]>,
}

impl Hub {
    /// Starts the timer task, which runs until the hub is dropped and sends `heartbeat`.
    pub(super) fn start(
        rooms: Rooms,
        secrets: Secrets,
        on_seat_event: Arc<dyn Fn(SeatEvent) + Send + Sync>,
        call_log: CallLog,
        heartbeat: Heartbeat,
        cluster: Option<Arc<Cluster>>,
    ) -> Arc<Self> {
        let state =
            HubState { rooms, send_queues: BTreeMap::new(), last_id: 0, awaited: None, unused_random: None };
        let hub = Arc::new(Self {
            state: Mutex::new(state),
            timer_moved: Arc::default(),
            on_seat_event,
            call_log,
            secrets: ArcSwap::from_pointee(secrets),
            queues: QueueBudget::new(MAX_QUEUED_BYTES),
            cluster,
        });
        tokio::spawn(run_timers(Arc::downgrade(&hub), Arc::clone(&hub.timer_moved), heartbeat));
        hub
    }

    /// A session opened from `source`; `host` is the host name by which the client reached the server.
    pub(super) fn connect(
        &self,
        transport: Transport,
        host: String,
        source: IpAddr,
    ) -> (ConnectionId, SendReceiver) {
        self.call_log.metrics.count_session(transport);
        let (sender, receiver) = send_queue(transport, &self.queues.enter(Some(source)));
        let conn = self.update(|state| {
            state.last_id += 1;
            let conn = ConnectionId(state.last_id);
            state.send_queues.insert(conn, sender);
            state.rooms.handle_connect(conn, host, source, clock::now());
            if transport == Transport::SocketIo {
                state.rooms.expect_no_token(conn);
            }
            conn
        });
        (conn, receiver)
    }

    /// A text frame arrived. In a cluster this may take as long as [`Hub::route`]; the next frame of `conn` must wait.
    ///
    /// # Errors
    /// If the operating system provides no randomness.
    pub(super) fn handle_text<'a>(&'a self, conn: ConnectionId, text: &'a str) -> HandleText<'a> {
        let Some((cluster, request)) = self.room_request(conn, text) else {
            return Either::Left(ready(self.handle_routed(conn, text, Route::default())));
        };
        Either::Right(Box::pin(async move {
            let route = Route::look_up(cluster, request).await;
            self.handle_routed(conn, text, route)
        }))
    }

    /// Looks up who owns the room of `text`, if its answer depends on that: up to 300 ms in a cluster. Changes nothing, so the
    /// caller may stop waiting and ask again.
    pub(super) async fn route(&self, conn: ConnectionId, text: &str) -> Route {
        let Some((cluster, request)) = self.room_request(conn, text) else { return Route::default() };
        // On the heap, so that sessions of a single server do not pay for the state of a request.
        Box::pin(Route::look_up(cluster, request)).await
    }

    /// What `text` asks the owner of a room, and who knows that owner.
    fn room_request(&self, conn: ConnectionId, text: &str) -> Option<(&Cluster, RoomRequest)> {
        let cluster = self.cluster.as_deref()?;
        Some((cluster, self.lock().rooms.room_request(conn, text, clock::now())?))
    }

    /// A text frame arrived whose `route` was looked up.
    ///
    /// # Errors
    /// As [`Hub::handle_text`].
    pub(super) fn handle_routed(
        &self,
        conn: ConnectionId,
        text: &str,
        route: Route,
    ) -> Result<(), getrandom::Error> {
        self.update(|state| match &self.cluster {
            None => state.handle_text(conn, text, None),
            Some(cluster) => route.handle(state, (conn, text), cluster),
        })
    }

    /// A binary frame arrived.
    pub(super) fn handle_binary(&self, conn: ConnectionId) {
        self.update(|state| state.rooms.handle_binary(conn, clock::now()));
    }

    /// Something of the transport itself arrived, such as a ping or pong.
    pub(super) fn handle_control_frame(&self, conn: ConnectionId) {
        self.update(|state| state.rooms.handle_control_frame(conn, clock::now()));
    }

    /// A session ended; `closing`: its page was closed or left.
    pub(super) fn disconnect(&self, conn: ConnectionId, closing: bool) {
        self.update(|state| {
            state.send_queues.remove(&conn);
            state.rooms.handle_disconnect(conn, closing, clock::now());
        });
    }

    /// The page with the resume token `token` reported that it was closed or left.
    pub(super) fn handle_page_closed(&self, token: &str, source: IpAddr) -> Result<(), Refusal> {
        self.update(|state| state.rooms.handle_page_closed(token, source, clock::now()))
    }

    /// The server stops soon. Clients are told, unless other servers take the rooms over.
    pub(super) fn drain(&self) {
        let is_replaced = self.cluster.as_ref().is_some_and(|cluster| cluster.has_others());
        self.update(|state| if is_replaced { state.rooms.refuse_new_seats() } else { state.rooms.drain() });
    }

    /// `owner` owns `room`: sends everybody there, and returns their number.
    pub(super) fn redirect_room(&self, room: RoomTag, owner: OtherOwner) -> usize {
        self.update(|state| state.rooms.redirect_room(room, owner, clock::now()))
    }

    pub(super) fn owned_rooms(&self) -> Vec<OwnedRoom> {
        self.lock().rooms.owned_rooms()
    }

    /// Ends and logs every call, because the server stops.
    pub(super) fn end_calls(&self) {
        self.update(|state| state.rooms.end_calls(clock::now()));
        self.call_log.close();
    }

    /// Counts the `bytes` of a request of `source` towards the limits of the send queues.
    pub(super) fn charge_request(&self, source: IpAddr, bytes: usize) -> Option<Charge> {
        self.queues.enter(Some(source)).queue(bytes, 0).charge(bytes)
    }

    pub(super) fn secrets(&self) -> Secrets {
        Secrets::clone(&self.secrets.load())
    }

    pub(super) fn set_secrets(&self, secrets: Secrets) {
        self.secrets.store(Arc::new(secrets.clone()));
        let issuer = Arc::new(SeatCredentials(secrets));
        self.update(|state| state.rooms.set_credential_issuer(issuer, clock::now()));
    }

    pub(super) fn set_ice_urls(&self, ice_urls: IceUrls) {
        self.update(|state| state.rooms.set_ice_urls(ice_urls, clock::now()));
    }

    pub(super) fn set_nodes(&self, nodes: Vec<String>) {
        self.update(|state| state.rooms.set_nodes(nodes));
    }

    pub(super) fn set_resume_key(&self, key: ResumeTokenKey) {
        self.update(|state| state.rooms.set_resume_key(key));
    }

    pub(super) fn set_host_keys(&self, host_keys: HostKeys) {
        self.update(|state| state.rooms.set_host_keys(host_keys, clock::now()));
    }

    /// Open sessions of each transport.
    pub(super) fn sessions(&self) -> [(Transport, usize); 3] {
        let state = self.lock();
        Transport::ALL.map(|transport| {
            let is_of_transport = |queue: &&SendQueue| queue.transport == transport;
            (transport, state.send_queues.values().filter(is_of_transport).count())
        })
    }

    /// Rooms with at least one seat taken, and seats taken.
    pub(super) fn count(&self) -> (usize, usize) {
        self.lock().rooms.count()
    }

    /// Seats whose participants are connected.
    pub(super) fn connected_seats(&self) -> usize {
        self.lock().rooms.connected_seats()
    }

    /// Applies `input`, carries out the resulting actions and adjusts the timer.
    fn update<T>(&self, input: impl FnOnce(&mut HubState) -> T) -> T {
        let mut state = self.lock();
        let outcome = input(&mut state);
        state.run_actions(&*self.on_seat_event, &self.call_log, self.cluster.as_deref());
        let next = state.rooms.poll_timeout();
        if next.is_some_and(|next| state.awaited.is_none_or(|awaited| next < awaited)) {
            state.awaited = next;
            self.timer_moved.notify_one();
        }
        outcome
    }

    /// Handles due timers and returns the time of the next.
    fn handle_timeout(&self) -> Option<Instant> {
        self.update(|state| state.rooms.handle_timeout(clock::now()));
        let mut state = self.lock();
        state.awaited = state.rooms.poll_timeout();
        state.awaited
    }

    fn lock(&self) -> MutexGuard<'_, HubState> {
        // After a panic elsewhere the rooms are between two steps: at worst one room is inconsistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HubState {
    /// `owner`: of the room of the frame, in a cluster.
    fn handle_text(
        &mut self,
        conn: ConnectionId,
        text: &str,
        owner: Option<RoomOwner>,
    ) -> Result<(), getrandom::Error> {
        let random = match self.unused_random.take() {
            Some(random) => random,
            None => draw_random()?,
        };
        let used = match owner {
            None => self.rooms.handle_text(conn, text, clock::now(), random),
            Some(owner) => self.rooms.handle_text_of(conn, text, owner, clock::now(), random),
        };
        // Most frames join no seat: the same bytes serve the next one.
        self.unused_random = (!used).then_some(random);
        Ok(())
    }

    /// Closes a session whose client is to return at once.
    fn close(&mut self, conn: ConnectionId, code: u16, reason: &'static str) {
        if let Some(queue) = self.send_queues.remove(&conn) {
            queue.push(Outgoing::Close(code, reason));
            self.rooms.handle_disconnect(conn, false, clock::now());
        }
    }

    fn run_actions(
        &mut self,
        on_seat_event: &(dyn Fn(SeatEvent) + Send + Sync),
        call_log: &CallLog,
        cluster: Option<&Cluster>,
    ) {
        while let Some(action) = self.rooms.poll_action() {
            match action {
                Action::Send { to, from, message } => self.send(to, from, message.to_json(), call_log),
                Action::Close { conn, reason } => {
                    debug!(connection = conn.0, ?reason, "session closed by the server");
                    if let Some(queue) = self.send_queues.remove(&conn) {
                        queue.push(Outgoing::Close(reason.code(), reason.text()));
                    }
                }
                Action::Seat(event) => on_seat_event(event),
                Action::Event(event) => call_log.record(&event, Instant::now()),
                Action::Redirected { clients } => {
                    if let Some(cluster) = cluster {
                        cluster.count_redirects(RedirectCause::Lost, clients);
                    }
                }
                Action::Occupancy { room, seats } => {
                    if let Some(cluster) = cluster {
                        cluster.set_seats(room, seats);
                    }
                }
            }
        }
    }

    fn send(&mut self, to: ConnectionId, from: Option<ConnectionId>, text: String, call_log: &CallLog) {
        let Some(queue) = self.send_queues.get(&to) else { return };
        if let Some(from) = from {
            // The other participant controls how fast this queue fills: that must not close the connection.
            if !queue.push_relayed(Outgoing::Frame(text)) {
                self.rooms.relay_failed(from);
            }
        } else if !queue.push(Outgoing::Frame(text)) {
            debug!(connection = to.0, "session closed: the client does not read");
            call_log.metrics.sessions_given_up.inc();
            self.send_queues.remove(&to);
            self.rooms.handle_disconnect(to, false, clock::now());
        }
    }
}

fn draw_random() -> Result<[u8; 16], getrandom::Error> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)?;
    Ok(random)
}

/// Holds the hub only while it handles timers, so that it can be dropped.
async fn run_timers(hub: Weak<Hub>, timer_moved: Arc<Notify>, heartbeat: Heartbeat) {
    while let Some(due) = hub.upgrade().map(|hub| hub.handle_timeout()) {
        let now = Instant::now();
        heartbeat.beat(now);
        let pause =
            due.map_or(HEARTBEAT_INTERVAL, |due| due.saturating_duration_since(now).min(HEARTBEAT_INTERVAL));
        drop(tokio::time::timeout(pause, timer_moved.notified()).await);
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.timer_moved.notify_one();
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("rooms", &self.lock().rooms).finish_non_exhaustive()
    }
}

#[cfg(test)]
impl Hub {
    /// A hub without rooms, for unit tests.
    pub(super) fn for_tests(cluster: Option<Arc<Cluster>>) -> Arc<Self> {
        use std::time::Duration;
        use webrtc_box_relay::health::HealthMonitor;
        use webrtc_box_signaling::{RoomsConfig, TagKey};
        use webrtc_box_turn::credential::Secret;

        let secrets = Secrets::new(Secret::new("secret"), vec![]);
        let config = RoomsConfig {
            tag_key: TagKey::new([1; 32]),
            resume_key: ResumeTokenKey::new([2; 32]),
            credential_issuer: Arc::new(SeatCredentials(secrets.clone())),
            ice_urls: IceUrls::default(),
            credential_ttl: Duration::from_secs(3600),
            room_grace: Duration::from_secs(30),
            host_keys: HostKeys::new::<Secret>(&[]),
            seeds: [1, 2],
        };
        let now = Instant::now();
        let call_log = CallLog::new(super::counters::HttpMetrics::default(), false, now);
        let heartbeat = HealthMonitor::new(now).register("rooms", now);
        Self::start(Rooms::new(config, now), secrets, Arc::new(|_| {}), call_log, heartbeat, cluster)
    }
}
