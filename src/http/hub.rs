//! Connects the sessions of all transports with [`Rooms`]: passes frames in and carries out the actions.
//!
//! The lock is held while an input is processed and its actions are put into send queues, which never blocks. Frames
//! therefore arrive in the order of the decisions. No socket is written under the lock.
//!
//! The send queue of a session is limited in bytes: per session, per source and in total. A client that does not read
//! therefore costs little memory before it is disconnected.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, mpsc};
use tracing::debug;

use webrtc_box_relay::health::{HEARTBEAT_INTERVAL, Heartbeat};
use webrtc_box_relay::queue_budget::{Charge, QueueBudget, QueueShare, SourceBudget};
use webrtc_box_signaling::{
    Action, ConnectionId, HostKeys, IceUrls, Refusal, ResumeTokenKey, Rooms, SeatEvent,
};
use webrtc_box_turn::credential::Secrets;

use super::counters::CallLog;
use crate::clock;
use crate::principals::SeatCredentials;

/// Bytes of frames that may wait in all send queues, besides a reserve for each.
const MAX_QUEUED_BYTES: usize = 64 << 20;

/// Bytes in one send queue at most.
const MAX_QUEUE_BYTES: usize = 256 * 1024;

/// Bytes in one send queue from which on relayed frames are refused; the rest is for frames of the server itself.
const MAX_RELAYED_BYTES: usize = 192 * 1024;

/// Bytes of one send queue that count towards no shared limit: a client that reads rarely has more in its queue.
const QUEUE_RESERVE_BYTES: usize = 32 * 1024;

/// The overhead of each frame, so that small frames are limited too.
const FRAME_OVERHEAD_BYTES: usize = 128;

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
}

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

    /// A text frame arrived.
    ///
    /// # Errors
    /// If the operating system provides no randomness.
    pub(super) fn handle_text(&self, conn: ConnectionId, text: &str) -> Result<(), getrandom::Error> {
        self.update(|state| {
            let random = match state.unused_random.take() {
                Some(random) => random,
                None => draw_random()?,
            };
            // Most frames join no seat: the same bytes serve the next one.
            let used = state.rooms.handle_text(conn, text, clock::now(), random);
            state.unused_random = (!used).then_some(random);
            Ok(())
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

    pub(super) fn drain(&self) {
        self.update(|state| state.rooms.drain());
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

    /// Applies `input`, carries out the resulting actions and adjusts the timer.
    fn update<T>(&self, input: impl FnOnce(&mut HubState) -> T) -> T {
        let mut state = self.lock();
        let outcome = input(&mut state);
        state.run_actions(&*self.on_seat_event, &self.call_log);
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
    fn run_actions(&mut self, on_seat_event: &(dyn Fn(SeatEvent) + Send + Sync), call_log: &CallLog) {
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
                Action::Occupancy { .. } => {}
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

/// The sending end of a send queue.
#[derive(Debug)]
struct SendQueue {
    transport: Transport,
    queue: mpsc::UnboundedSender<(Outgoing, Charge)>,
    share: Arc<QueueShare>,
}

/// The receiving end of a send queue, from which the connection writes.
#[derive(Debug)]
pub(super) struct SendReceiver {
    queue: mpsc::UnboundedReceiver<(Outgoing, Charge)>,
}

/// What a session sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outgoing {
    /// A text frame.
    Frame(String),
    /// The end of the session, with the code and reason of a close frame; the last item.
    Close(u16, &'static str),
}

/// Both ends of the send queue of a session from `source`.
fn send_queue(transport: Transport, source: &Arc<SourceBudget>) -> (SendQueue, SendReceiver) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let share = source.queue(MAX_QUEUE_BYTES, QUEUE_RESERVE_BYTES);
    (SendQueue { transport, queue: sender, share }, SendReceiver { queue: receiver })
}

impl SendQueue {
    /// Appends an item; `false` if the queue is full or its receiver is gone.
    fn push(&self, outgoing: Outgoing) -> bool {
        self.push_within(MAX_QUEUE_BYTES, outgoing)
    }

    /// Appends a frame of the other participant.
    fn push_relayed(&self, outgoing: Outgoing) -> bool {
        self.push_within(MAX_RELAYED_BYTES, outgoing)
    }

    fn push_within(&self, limit: usize, outgoing: Outgoing) -> bool {
        let cost = outgoing.cost();
        let charge = if self.share.queued() + cost <= limit { self.share.charge(cost) } else { None };
        charge.is_some_and(|charge| self.queue.send((outgoing, charge)).is_ok())
    }
}

impl SendReceiver {
    /// The next item; `None` once the sending end is gone and the queue is empty.
    pub(super) async fn next(&mut self) -> Option<Outgoing> {
        self.next_charged().await.map(|(outgoing, _)| outgoing)
    }

    /// Like [`SendReceiver::next`]; the item counts towards the limits of the queue until its charge is dropped.
    pub(super) async fn next_charged(&mut self) -> Option<(Outgoing, Charge)> {
        std::future::poll_fn(|cx| self.poll_charged(cx)).await
    }

    /// Like [`SendReceiver::next_charged`], for a caller that polls.
    pub(super) fn poll_charged(&mut self, cx: &mut Context<'_>) -> Poll<Option<(Outgoing, Charge)>> {
        self.queue.poll_recv(cx)
    }

    /// Whether no further item will come.
    pub(super) fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// The next item with its charge, if there is one.
    pub(super) fn try_next_charged(&mut self) -> Option<(Outgoing, Charge)> {
        self.queue.try_recv().ok()
    }

    /// The next item, if there is one.
    pub(super) fn try_next(&mut self) -> Option<Outgoing> {
        self.try_next_charged().map(|(outgoing, _)| outgoing)
    }
}

impl Outgoing {
    fn cost(&self) -> usize {
        match self {
            Self::Frame(text) => text.len() + FRAME_OVERHEAD_BYTES,
            Self::Close(..) => FRAME_OVERHEAD_BYTES,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_queue_is_limited_in_bytes() {
        let source = QueueBudget::new(1 << 20).enter(None);
        let (queue, mut receiver) = send_queue(Transport::WebSocket, &source);
        let frame = || Outgoing::Frame("x".repeat(64 * 1024));
        assert!((0..3).all(|_| queue.push(frame())));
        assert_eq!(receiver.next().await, Some(frame()));
        assert!(queue.push(frame()), "a written frame makes room");
        assert!(!queue.push(frame()));
    }

    #[tokio::test]
    async fn relayed_frames_leave_room_for_frames_of_the_server() {
        let source = QueueBudget::new(1 << 20).enter(None);
        let (queue, mut receiver) = send_queue(Transport::WebSocket, &source);
        let frame = |size| Outgoing::Frame("x".repeat(size));
        let accepted = (0..10).filter(|_| queue.push_relayed(frame(60 * 1024))).count();
        assert_eq!(accepted, 3);
        assert!(queue.push(frame(50 * 1024)), "a rejected frame uses no bytes");
        assert!(receiver.next().await.is_some() && receiver.next().await.is_some());
        assert!(queue.push_relayed(frame(60 * 1024)), "a written frame makes room");
    }
}
