//! This server as one of several: connects the decisions of `webrtc_box_cluster` with the rooms, the log, the metrics and
//! the drain. Without the setting `cluster` nothing here runs.
//!
//! A join or look asks `Cluster::decide` before the rooms handle it. Everything else runs in tasks of its own.

mod drain;
mod events;
mod health_checks;
mod load;
mod metrics;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use prometheus_client::registry::Registry;
use rustls::RootCertStore;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use webrtc_box_cluster::{
    ClusterConfig, ClusterHandle, Decision, Event, Fence, JoinRequest, NodeInfo, NodeName, Observer, RoomTag,
};
use webrtc_box_relay::{Relay, random};
use webrtc_box_signaling as signaling;

use crate::config::Settings;
use crate::http::HttpServer;
use crate::keys::cluster_id;
use crate::net::https_client::system_roots;
use crate::task::run_blocking;

use self::load::Capacity;
use self::metrics::ClusterMetrics;

pub(crate) use self::drain::move_rooms;
pub(crate) use self::metrics::RedirectCause;

/// Servers that a client learns at most.
const MAX_NODES: usize = 8;

/// This server among several: asks who owns a room. All users share one.
pub struct Cluster {
    handle: ClusterHandle,
    /// The port of HTTPS, the same on all servers; `None`: that of a proxy, 443.
    https_port: Option<u16>,
    metrics: ClusterMetrics,
    losses: Arc<AtomicU64>,
}

/// What keeps a [`Cluster`] working.
pub(crate) struct ClusterTasks {
    driver: Pin<Box<dyn Future<Output = ()> + Send>>,
    events: mpsc::UnboundedReceiver<Event>,
    /// The common name, and that of this server.
    names: (String, NodeName),
    roots: RootCertStore,
    capacity: Capacity,
}

impl Cluster {
    /// This server as the settings describe it, and its tasks; `None` if it is the only one.
    pub(crate) async fn new(settings: &Settings) -> Option<(Arc<Self>, ClusterTasks)> {
        let cluster = settings.cluster_settings()?;
        let domain = settings.names().first().map(ToString::to_string)?;
        let roots = run_blocking(system_roots).await;
        let config = ClusterConfig {
            name: cluster.node_name.clone(),
            domain: cluster.domain,
            boot: random::number(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            fallback: cluster.fallback,
            key_id: cluster_id(settings)?,
            store: cluster.store,
            roots: roots.clone(),
        };
        let (sender, events) = mpsc::unbounded_channel();
        let (metrics, losses) = (ClusterMetrics::default(), Arc::new(AtomicU64::new(0)));
        let observer = EventSender { metrics: metrics.clone(), losses: Arc::clone(&losses), sender };
        let (handle, driver) = webrtc_box_cluster::start(config, Arc::new(observer));
        let tasks = ClusterTasks {
            driver: Box::pin(driver),
            events,
            names: (domain, cluster.node_name),
            roots,
            capacity: Capacity { allocations: settings.total_quota, bytes_per_second: settings.bps_capacity },
        };
        Some((Arc::new(Self { handle, https_port: settings.https_port, metrics, losses }), tasks))
    }

    /// For tests: nothing drives it, so it knows nothing.
    #[cfg(test)]
    pub(crate) fn without_store() -> Arc<Self> {
        let (metrics, losses) = (ClusterMetrics::default(), Arc::new(AtomicU64::new(0)));
        let (sender, _) = mpsc::unbounded_channel();
        let observer = EventSender { metrics: metrics.clone(), losses: Arc::clone(&losses), sender };
        let config = ClusterConfig {
            name: NodeName::parse("b1.call.example").unwrap(),
            domain: NodeName::parse("call.example").unwrap(),
            boot: 1,
            version: String::new(),
            fallback: webrtc_box_cluster::Fallback::Open,
            key_id: [0; 8],
            store: webrtc_box_cluster::StoreUrl::parse("redis://127.0.0.1:1").unwrap(),
            roots: RootCertStore::empty(),
        };
        let (handle, _) = webrtc_box_cluster::start(config, Arc::new(observer));
        Arc::new(Self { handle, https_port: None, metrics, losses })
    }

    /// For what needs the other servers but no rooms, such as orders of certificates.
    pub(crate) fn handle(&self) -> ClusterHandle {
        self.handle.clone()
    }

    /// What to do with `request`, from memory or by asking the store; within 300 ms.
    pub(crate) async fn decide(&self, request: &signaling::RoomRequest) -> Decision {
        let asked = join_request(request);
        if let Some(decision) = self.handle.owned(&asked, Instant::now()) {
            return decision;
        }
        match request.kind {
            signaling::RoomRequestKind::Join => self.handle.join(asked).await,
            signaling::RoomRequestKind::Look => self.handle.look(asked.room).await,
        }
    }

    /// Whether this server owns the room of `request`, as far as it knows now.
    pub(crate) fn owns(&self, request: &signaling::RoomRequest) -> bool {
        let decision = self.handle.owned(&join_request(request), Instant::now());
        matches!(decision, Some(Decision::Serve { .. }))
    }

    /// How many rooms other servers got from this one. A decision holds if this has not changed since.
    pub(crate) fn losses(&self) -> u64 {
        self.losses.load(Ordering::Acquire)
    }

    /// Another server got a room of this one.
    pub(crate) fn count_loss(&self) {
        self.losses.fetch_add(1, Ordering::Release);
    }

    /// Reports the seats of a room that this server serves.
    pub(crate) fn set_seats(&self, room: signaling::RoomTag, seats: usize) {
        self.handle.set_seats(room_tag(room), seats);
    }

    /// The WebSocket of another server.
    pub(crate) fn url(&self, node: &NodeName) -> String {
        format!("wss://{}/ws", self.authority(node))
    }

    /// Another server that owns a room, as the rooms need to know it.
    fn other_owner(&self, node: &NodeName, fence: Fence, seats: usize) -> signaling::OtherOwner {
        signaling::OtherOwner { url: self.url(node), fence: signaling::Fence(fence.0), seats }
    }

    /// The servers that take rooms by host and port, this one first, for clients that lose their connection.
    fn node_hosts(&self, domain: &str) -> Vec<String> {
        let nodes: Vec<NodeInfo> = self.handle.nodes();
        let others = nodes.iter().skip(1).filter(|node| takes_rooms(node)).map(|node| &node.id.name);
        let others = others.filter(|name| is_below(name, domain)).cloned().collect();
        let own = nodes.first().map(|own| own.id.name.clone());
        own.map_or_else(Vec::new, |own| {
            in_turn(own, others).iter().map(|node| self.authority(node)).collect()
        })
    }

    fn health_url(&self, node: &NodeName) -> String {
        format!("https://{}/healthz", self.authority(node))
    }

    fn authority(&self, node: &NodeName) -> String {
        match self.https_port {
            None | Some(443) => node.to_string(),
            Some(port) => format!("{node}:{port}"),
        }
    }

    /// Counts clients that are redirected.
    pub(crate) fn count_redirects(&self, cause: RedirectCause, clients: usize) {
        self.metrics.count_redirects(cause, clients);
    }

    /// Names and describes the metrics.
    pub(crate) fn register_metrics(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    /// The number of rooms that this server owns.
    pub(crate) fn owned_rooms(&self) -> u64 {
        self.handle.room_count() as u64
    }

    /// The servers that take rooms, as far as this one knows, itself included.
    pub(crate) fn live_boxes(&self) -> usize {
        self.handle.nodes().iter().filter(|node| takes_rooms(node)).count()
    }

    /// Whether another server can take rooms over.
    pub(crate) fn has_others(&self) -> bool {
        self.handle.nodes().iter().skip(1).any(takes_rooms)
    }

    /// Gives back the rooms without seats and the lease, so that others need not wait for its end.
    pub(crate) async fn shutdown(&self) {
        self.handle.shutdown().await;
    }
}

impl ClusterTasks {
    /// Starts the tasks, which run until they are aborted.
    pub(crate) fn spawn(
        self,
        cluster: &Arc<Cluster>,
        http_server: &HttpServer,
        relay: Option<&Arc<Relay>>,
    ) -> Vec<JoinHandle<()>> {
        let Self { driver, events, names, roots, capacity } = self;
        let shared = || Arc::clone(cluster);
        vec![
            tokio::spawn(driver),
            tokio::spawn(events::run(shared(), http_server.clone(), events)),
            tokio::spawn(load::run(shared(), relay.map(Arc::downgrade), capacity)),
            tokio::spawn(health_checks::run(shared(), http_server.clone(), names, roots)),
        ]
    }
}

fn takes_rooms(node: &NodeInfo) -> bool {
    !(node.draining || node.unreachable || node.foreign)
}

fn is_below(name: &NodeName, domain: &str) -> bool {
    name.as_str().strip_suffix(domain).is_some_and(|label| label.ends_with('.'))
}

/// `own`, then the names after it, then those before it: the clients of a lost server spread over the others.
fn in_turn(own: NodeName, mut others: Vec<NodeName>) -> Vec<NodeName> {
    others.sort();
    let first = others.partition_point(|name| *name < own);
    others.rotate_left(first);
    std::iter::once(own).chain(others).take(MAX_NODES).collect()
}

fn join_request(request: &signaling::RoomRequest) -> JoinRequest {
    JoinRequest {
        room: room_tag(request.room),
        token_fence: request.token_fence.map(|fence| Fence(fence.0)),
        redirect_fence: request.redirect_fence.map(|fence| Fence(fence.0)),
    }
}

fn room_tag(room: signaling::RoomTag) -> RoomTag {
    RoomTag::new(*room.as_bytes())
}

/// Passes events on to a task, so that the driver never waits for the rooms.
struct EventSender {
    metrics: ClusterMetrics,
    losses: Arc<AtomicU64>,
    sender: mpsc::UnboundedSender<Event>,
}

impl Observer for EventSender {
    fn handle(&self, event: Event) {
        if let Event::StoreCall { latency, ok } = event {
            return self.metrics.count_store_call(latency, ok);
        }
        if let Event::RoomLost { .. } = event {
            // At once: a join that was decided before must notice.
            self.losses.fetch_add(1, Ordering::Release);
        }
        // The task ends with the process.
        let _ = self.sender.send(event);
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("nodes", &self.handle.nodes()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<NodeName> {
        names.iter().map(|name| NodeName::parse(name).unwrap()).collect()
    }

    #[test]
    fn clients_learn_this_server_first_and_eight_in_all() {
        let [own] = names(&["b2.x"]).try_into().unwrap();
        let in_turn = |others| in_turn(own.clone(), names(others));
        assert_eq!(in_turn(&[]), names(&["b2.x"]));
        assert_eq!(in_turn(&["b3.x", "b1.x", "b4.x"]), names(&["b2.x", "b3.x", "b4.x", "b1.x"]));
        let many = ["b1.x", "b3.x", "b4.x", "b5.x", "b6.x", "b7.x", "b8.x", "b9.x"];
        assert_eq!(in_turn(&many).len(), MAX_NODES);
        assert_eq!(in_turn(&many)[7], names(&["b9.x"])[0]);
    }

    #[test]
    fn clients_learn_no_name_outside_the_domain() {
        let [inside, outside, same] = names(&["b1.call.x", "b1.xcall.x", "call.x"]).try_into().unwrap();
        assert!(is_below(&inside, "call.x"));
        assert!(!is_below(&outside, "call.x") && !is_below(&same, "call.x"));
    }
}
