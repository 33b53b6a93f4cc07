//! Where the WebSockets of a box meet: carries what they hear to [`Rooms`] and does what it decides.
//!
//! The lock is held for the decision and for putting its outcome into queues, which never waits, so
//! that what is decided first is also heard first. Nothing is written to a socket under it.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use tokio::sync::Notify;
use tracing::debug;

use super::call_log::Ledger;
use super::send_queue::{Inbox, Outbox, Outgoing, outbox};
use crate::clock;
use crate::principals::SeatCredentials;
use arc_swap::ArcSwap;
use webrtc_box_relay::health::{HEARTBEAT_INTERVAL, Heartbeat};
use webrtc_box_relay::queue_budget::QueueBudget;
use webrtc_box_signaling::SeatEvent;
use webrtc_box_signaling::{Action, ConnectionId, HostKeys, IceUrls, Refusal, Rooms};
use webrtc_box_turn::credential::Secrets;

/// The rooms, and the way to everybody in them.
pub(super) struct Hub {
    floor: Mutex<Floor>,
    /// Woken when a deadline comes earlier than the one that is waited for.
    alarm: Arc<Notify>,
    seat_news: Arc<dyn Fn(SeatEvent) + Send + Sync>,
    ledger: Ledger,
    /// Mint relay credentials.
    secrets: ArcSwap<Secrets>,
    /// What waits to be written, over all WebSockets.
    queues: QueueBudget,
}

/// Bytes of frames that may wait over all WebSockets, besides a reserve for each.
const QUEUES_BYTES: usize = 64 << 20;

struct Floor {
    rooms: Rooms,
    outboxes: HashMap<ConnectionId, Outbox>,
    last: u64,
    awaited: Option<Instant>,
    /// Randomness that has named nobody yet.
    spare: Option<[u8; 16]>,
}

impl Hub {
    /// Opens the rooms and keeps their time until the hub is gone; `heart` is that of who keeps it.
    pub(super) fn start(
        rooms: Rooms,
        secrets: Secrets,
        seat_news: Arc<dyn Fn(SeatEvent) + Send + Sync>,
        ledger: Ledger,
        heart: Heartbeat,
    ) -> Arc<Self> {
        let floor = Floor { rooms, outboxes: HashMap::new(), last: 0, awaited: None, spare: None };
        let queues = QueueBudget::new(QUEUES_BYTES);
        let (floor, secrets) = (Mutex::new(floor), ArcSwap::from_pointee(secrets));
        let hub = Arc::new(Self { floor, alarm: Arc::default(), seat_news, ledger, secrets, queues });
        tokio::spawn(keep_time(Arc::downgrade(&hub), Arc::clone(&hub.alarm), heart));
        hub
    }

    /// A WebSocket opened from `source`; `host` is the name it reached us by.
    pub(super) fn enter(&self, host: String, source: IpAddr) -> (ConnectionId, Inbox) {
        let (outbox, inbox) = outbox(&self.queues.enter(Some(source)));
        let conn = self.act(|floor| {
            floor.last += 1;
            let conn = ConnectionId(floor.last);
            floor.outboxes.insert(conn, outbox);
            floor.rooms.handle_connect(conn, host, source, clock::now());
            conn
        });
        (conn, inbox)
    }

    /// A text frame came.
    ///
    /// # Errors
    /// Where the operating system gives no randomness.
    pub(super) fn hear(&self, conn: ConnectionId, text: &str) -> Result<(), getrandom::Error> {
        self.act(|floor| {
            let chance = match floor.spare.take() {
                Some(spare) => spare,
                None => draw()?,
            };
            // Most frames name no seat: the same chance does for the next one.
            let named = floor.rooms.handle_text(conn, text, clock::now(), chance);
            floor.spare = (!named).then_some(chance);
            Ok(())
        })
    }

    /// A binary frame came.
    pub(super) fn hear_binary(&self, conn: ConnectionId) {
        self.act(|floor| floor.rooms.handle_binary(conn, clock::now()));
    }

    /// A ping or pong of the WebSocket itself came.
    pub(super) fn notice(&self, conn: ConnectionId) {
        self.act(|floor| floor.rooms.handle_control_frame(conn, clock::now()));
    }

    /// A WebSocket is gone; `closing`: since its page was closed or left.
    pub(super) fn leave(&self, conn: ConnectionId, closing: bool) {
        self.act(|floor| {
            floor.outboxes.remove(&conn);
            floor.rooms.handle_disconnect(conn, closing, clock::now());
        });
    }

    /// The page that holds `token` says that it was closed or left.
    pub(super) fn page_closed(&self, token: &str, source: IpAddr) -> Result<(), Refusal> {
        self.act(|floor| floor.rooms.handle_page_closed(token, source, clock::now()))
    }

    pub(super) fn drain(&self) {
        self.act(|floor| floor.rooms.drain());
    }

    /// The box ends: every call that is left is told of.
    pub(super) fn end_calls(&self) {
        self.act(|floor| floor.rooms.end_calls(clock::now()));
        self.ledger.close();
    }

    pub(super) fn secrets(&self) -> Secrets {
        Secrets::clone(&self.secrets.load())
    }

    pub(super) fn take_secrets(&self, secrets: Secrets) {
        self.secrets.store(Arc::new(secrets.clone()));
        let issuer = Arc::new(SeatCredentials(secrets));
        self.act(|floor| floor.rooms.set_credential_issuer(issuer, clock::now()));
    }

    pub(super) fn take_ice_urls(&self, ice_urls: IceUrls) {
        self.act(|floor| floor.rooms.set_ice_urls(ice_urls, clock::now()));
    }

    pub(super) fn take_host_keys(&self, host_keys: HostKeys) {
        self.act(|floor| floor.rooms.set_host_keys(host_keys));
    }

    /// How many WebSockets are open.
    pub(super) fn sockets(&self) -> usize {
        self.floor().outboxes.len()
    }

    pub(super) fn count(&self) -> (usize, usize) {
        self.floor().rooms.count()
    }

    fn act<T>(&self, deed: impl FnOnce(&mut Floor) -> T) -> T {
        let mut floor = self.floor();
        let outcome = deed(&mut floor);
        floor.carry_out(&*self.seat_news, &self.ledger);
        let next = floor.rooms.poll_timeout();
        if next.is_some_and(|next| floor.awaited.is_none_or(|awaited| next < awaited)) {
            floor.awaited = next;
            self.alarm.notify_one();
        }
        outcome
    }

    /// Does what is due and gives the time of what is next.
    fn tick(&self) -> Option<Instant> {
        self.act(|floor| floor.rooms.handle_timeout(clock::now()));
        let mut floor = self.floor();
        floor.awaited = floor.rooms.poll_timeout();
        floor.awaited
    }

    fn floor(&self) -> MutexGuard<'_, Floor> {
        // A panic elsewhere left the rooms as they were between two steps; two people more or less.
        self.floor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Floor {
    fn carry_out(&mut self, seat_news: &(dyn Fn(SeatEvent) + Send + Sync), ledger: &Ledger) {
        while let Some(action) = self.rooms.poll_action() {
            match action {
                Action::Send { to, from, message } => self.send(to, from, message.to_json(), ledger),
                Action::Close { conn, reason } => {
                    debug!(connection = conn.0, ?reason, "WebSocket closed by the server");
                    if let Some(outbox) = self.outboxes.remove(&conn) {
                        outbox.push(Outgoing::Close(reason.code(), reason.text()));
                    }
                }
                Action::Seat(news) => seat_news(news),
                Action::Event(event) => ledger.enter(&event, Instant::now()),
            }
        }
    }

    fn send(&mut self, to: ConnectionId, from: Option<ConnectionId>, text: String, ledger: &Ledger) {
        let Some(outbox) = self.outboxes.get(&to) else { return };
        if let Some(from) = from {
            // The other seat fills this queue as it likes: that must not end the connection here.
            if !outbox.push_relayed(Outgoing::Frame(text)) {
                self.rooms.relay_failed(from);
            }
        } else if !outbox.push(Outgoing::Frame(text)) {
            debug!(connection = to.0, "WebSocket given up: it does not read");
            ledger.tally.gave_up();
            self.outboxes.remove(&to);
            self.rooms.handle_disconnect(to, false, clock::now());
        }
    }
}

fn draw() -> Result<[u8; 16], getrandom::Error> {
    let mut chance = [0; 16];
    getrandom::fill(&mut chance)?;
    Ok(chance)
}

/// Holds the hub only while something is due, so that it can go.
async fn keep_time(hub: Weak<Hub>, alarm: Arc<Notify>, heart: Heartbeat) {
    while let Some(due) = hub.upgrade().map(|hub| hub.tick()) {
        let now = Instant::now();
        heart.beat(now);
        let pause =
            due.map_or(HEARTBEAT_INTERVAL, |due| due.saturating_duration_since(now).min(HEARTBEAT_INTERVAL));
        drop(tokio::time::timeout(pause, alarm.notified()).await);
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.alarm.notify_one();
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("rooms", &self.floor().rooms).finish_non_exhaustive()
    }
}
