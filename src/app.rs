//! From settings to a box that runs: opens what must be open, introduces the two wings to each
//! other, and ends them in order.

mod addresses;
mod listeners;
mod reload;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::config::{RelayScope, Settings};
use crate::error::StartError;
use crate::http::{Health, HttpConfig, HttpServer, Keys, ListenerKind, TurnHandler, TurnStream};
use crate::metrics::{self, MetricsSources};
use crate::net::interfaces::{lan_addresses, sockets};
use crate::principals::principal_event;
use crate::signals::{SignalRequest, Signals};
use crate::store::State;
use crate::systemd::notify::{Notification, Notifier};
use crate::systemd::socket_activation::ActivatedSockets;
use crate::tls::{self, ActiveCertificate, PendingWrites};
use webrtc_box_relay::health::HealthMonitor;
use webrtc_box_relay::{BindError, Relay, RelayConfig};
use webrtc_box_signaling::SEATS_PER_ROOM;
use webrtc_box_turn::addr::Transport;
use webrtc_box_turn::credential::Secrets;
use webrtc_box_turn::peer_policy::{PeerFilter, PeerPolicy};
use webrtc_box_turn::registry::Quota;

use addresses::{AddressWatch, probing};
use listeners::{Listeners, bound};
use reload::RunningSettings;

/// A box that runs until it is dropped or told to stop.
#[derive(Debug)]
pub struct Running {
    /// Addresses of HTTPS really bound.
    pub https: Vec<SocketAddr>,
    /// Addresses of plain HTTP really bound.
    pub http: Vec<SocketAddr>,
    /// Addresses of STUN and TURN really bound, UDP and TCP.
    pub turn: Vec<SocketAddr>,
    /// Addresses of TURN over TLS really bound, besides those of HTTPS.
    pub turns: Vec<SocketAddr>,
    /// Where `/metrics` and the full `/healthz` are really served.
    pub metrics: Vec<SocketAddr>,
    /// The certificate in force, of all listeners.
    pub certificate: Arc<ActiveCertificate>,
    keeping: PendingWrites,
    /// Goes first: that the others end is no news then.
    service: Notifier,
    web: HttpServer,
    /// Kept for its end: dropped last, it stops the workers.
    relay: Option<Arc<Relay>>,
    tasks: Vec<JoinHandle<()>>,
    signals: Signals,
    current: RunningSettings,
}

/// How long requests and WebSockets get to close at the end.
const CLOSE_LIMIT: Duration = Duration::from_secs(6);
/// The same when somebody does not want to wait.
const QUICK_CLOSE_LIMIT: Duration = Duration::from_millis(300);
/// How often an idle drain looks whether the last call has ended.
const DRAIN_LOOK: Duration = Duration::from_millis(200);

/// Opens state, certificate and listeners, and starts both wings.
///
/// # Errors
/// The first thing that cannot be opened, as a sentence that names the setting and the cure.
pub async fn start(settings: Settings) -> Result<Running, StartError> {
    start_on(settings, ActivatedSockets::default()).await
}

/// The same on sockets that are open already; those that are missing are opened.
///
/// # Errors
/// As [`start()`], or a socket that is for nothing.
pub async fn start_on(settings: Settings, passed: ActivatedSockets) -> Result<Running, StartError> {
    let kept = State::open(&settings.state_dir)?.kept()?;
    let secrets = kept.secrets(&settings.static_auth_secret);
    let (certificate, upkeep) = tls::open(&settings, &lan_addresses())?;
    let current = RunningSettings::new(settings.clone(), secrets.clone());
    let open = Listeners::open(&settings, passed)?;
    let hearts = HealthMonitor::new(Instant::now());
    let relay = relay(&settings, &secrets, &open, &hearts).await?.map(Arc::new);
    let settings = with_bound_ports(settings, &open, relay.as_deref())?;
    let keys = Keys { secrets, tag_key: kept.tag_key, token_key: kept.token_key };
    let web = web(&settings, keys, relay.as_ref(), &hearts, &certificate)?;
    let signals = Signals::new()?;
    let mut running = Running {
        https: bound(&open.https)?,
        http: bound(&open.http)?,
        turn: relay.as_ref().map_or_else(Vec::new, |relay| relay.addresses().to_vec()),
        turns: bound(&open.turns)?,
        metrics: bound(&open.metrics)?,
        certificate,
        keeping: upkeep.keeping(),
        service: Notifier::start(hearts.clone(), status(web.clone(), relay.as_ref()))?,
        web,
        relay,
        tasks: Vec::new(),
        signals,
        current,
    };
    running.receive(open, hearts);
    running.tasks.push(tokio::spawn(upkeep.run()));
    if running.certificate.summary().stand_in {
        running.tasks.push(tell_of_tls(&running, &settings));
    }
    let watch = AddressWatch::new(&settings, running.relay.as_ref(), &running.web);
    running.tasks.push(tokio::spawn(watch.run()));
    info!(https = ?running.https, turn = ?running.turn, "listening");
    running.service.tell(Notification::Ready);
    Ok(running)
}

/// Port 0 has become a port; from here on the settings name it.
fn with_bound_ports(
    mut settings: Settings,
    open: &Listeners,
    relay: Option<&Relay>,
) -> Result<Settings, StartError> {
    let first = |addresses: &[SocketAddr]| addresses.first().map(SocketAddr::port);
    settings.https_port = first(&bound(&open.https)?);
    settings.turns_port = first(&bound(&open.turns)?);
    settings.turn_port = relay.and_then(|relay| first(relay.addresses()));
    Ok(settings)
}

impl Running {
    /// Begins to accept.
    fn receive(&mut self, open: Listeners, hearts: HealthMonitor) {
        let sources = MetricsSources::new(&self.web, self.relay.as_ref(), hearts, &self.certificate);
        self.accept_all(open.metrics, &ListenerKind::Metrics(metrics::routes(sources)));
        let tls = Arc::clone(&self.certificate);
        let handler = self.relay.as_deref().map(turn_handler);
        let https = ListenerKind::Https(tls.clone(), handler.clone());
        self.accept_all(open.https, &https);
        self.accept_all(open.http, &ListenerKind::Http);
        if let Some(handler) = handler {
            self.accept_all(open.turn, &ListenerKind::Turn(None, handler.clone()));
            self.accept_all(open.turns, &ListenerKind::Turn(Some(tls), handler));
        }
    }

    fn accept_all(&mut self, listeners: Vec<TcpListener>, kind: &ListenerKind) {
        let accepting = listeners.into_iter().map(|listener| accept(&self.web, listener, kind.clone()));
        self.tasks.extend(accepting);
    }

    /// SIGHUP ends it, for it runs from a terminal and has nothing to read anew.
    pub fn end_on_hangup(&mut self) {
        self.signals.end_on_hangup();
    }

    /// Waits for the first signal to stop, lets calls end for as long as `drain-timeout`, or until a
    /// second one, and closes everything. `reread` gives the settings anew each time somebody asks
    /// for that.
    pub async fn stopped<E, R>(mut self, reread: R)
    where
        E: fmt::Display,
        R: Fn() -> Result<Settings, E> + Clone + Send + 'static,
    {
        let asked = loop {
            match self.signals.next().await {
                SignalRequest::Reload => self.reload(reread.clone()).await,
                asked @ (SignalRequest::Drain | SignalRequest::End) => break asked,
            }
        };
        let (rooms, seats) = self.web.count();
        info!(rooms, seats, "stopping; calls may end");
        self.service.tell(Notification::Stopping);
        self.web.drain();
        self.relay.iter().for_each(|relay| relay.drain());
        let patience = tokio::select! {
            biased;
            () = std::future::ready(()), if asked == SignalRequest::End => QUICK_CLOSE_LIMIT,
            // Whoever still talks at the end of it is cut off, as announced.
            _ = timeout(self.current.drain_timeout(), all_calls_ended(&self.web, self.relay.as_deref())) => CLOSE_LIMIT,
            () = end_requested(&mut self.signals) => QUICK_CLOSE_LIMIT,
        };
        self.service.tell(Notification::Ending);
        self.web.stop(patience).await;
        self.keeping.save().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// A reload is nothing to a box that ends.
async fn end_requested(signals: &mut Signals) {
    while signals.next().await != SignalRequest::End {}
}

/// No seat is taken and nothing is relayed any more: a call outlives its WebSocket.
async fn all_calls_ended(web: &HttpServer, relay: Option<&Relay>) {
    while web.count().1 > 0 || relay.is_some_and(|relay| relay.allocations() > 0) {
        tokio::time::sleep(DRAIN_LOOK).await;
    }
}

/// The relay with its turn port, unless that is switched off.
async fn relay(
    settings: &Settings,
    secrets: &Secrets,
    open: &Listeners,
    hearts: &HealthMonitor,
) -> Result<Option<Relay>, StartError> {
    let Some(port) = settings.turn_port else { return Ok(None) };
    let known = addresses::known(settings).await;
    let lent = known.relay_addresses(settings.relay_scope)?;
    addresses::must_bind(settings, &known, &lent)?;
    let scope = match settings.relay_scope {
        RelayScope::Room => PeerPolicy::SameGroup,
        RelayScope::Public => PeerPolicy::Public(PeerFilter {
            allowed: settings.allowed_peer_ip.clone(),
            denied: settings.denied_peer_ip.clone(),
            own: known.own(),
            listeners: Vec::new(),
        }),
    };
    let plan = RelayConfig {
        listen: sockets(&settings.listen, port),
        workers: std::thread::available_parallelism().map_or(1, usize::from),
        peer_policy: scope,
        relayed: lent.relayed,
        bind: lent.bind,
        ports: settings.min_port..=settings.max_port,
        listeners: open.ports(),
        secrets: secrets.clone(),
        realm: settings.realm.clone(),
        credential_ttl: settings.credential_ttl,
        group_size: SEATS_PER_ROOM,
        quota: Quota { user: settings.user_quota, total: settings.total_quota },
        max_bps: settings.max_bps,
        bps_capacity: settings.bps_capacity,
        unauth_reply_rate: settings.unauth_reply_rate,
        log_addresses: settings.log_addresses,
        health: hearts.clone(),
    };
    let relay = Relay::start(plan).map_err(|BindError { address, what, source }| match what {
        None => StartError::Bind { setting: "turn-port", address, source },
        Some(action) => StartError::System { action, source },
    })?;
    if !relay.missing.is_empty() {
        info!(
            options = relay.missing.join(", "),
            "the kernel or a sandbox lacks socket options; the relay goes without"
        );
    }
    if let Some(granted) = relay.granted_buffer {
        warn!(
            granted,
            "the kernel grants small socket buffers; raise net.core.rmem_max and wmem_max to 4194304"
        );
    }
    Ok(Some(relay))
}

fn web(
    settings: &Settings,
    keys: Keys,
    relay: Option<&Arc<Relay>>,
    hearts: &HealthMonitor,
    certificate: &ActiveCertificate,
) -> Result<HttpServer, StartError> {
    let mut config = HttpConfig::new(settings, keys, settings.ice_urls());
    config.connection_test = probing(settings);
    if certificate.summary().stand_in {
        config.rooms.ice_urls = config.rooms.ice_urls.without_tls();
        config.connection_test = config.connection_test.without_tls();
    }
    config.hearts = hearts.clone();
    let hearts = hearts.clone();
    let watched = relay.map(Arc::downgrade);
    config.health = Arc::new(move || {
        let relay = watched.as_ref().and_then(Weak::upgrade);
        let why = if hearts.unresponsive().is_some() {
            "a relay worker, a listener or the timekeeper of the rooms has stopped"
        } else if relay.is_some_and(|relay| relay.is_down()) {
            "the relay receives no packets, or can bind no relay sockets"
        } else {
            return Health::Up;
        };
        Health::Down { why: why.to_owned() }
    });
    if let Some(relay) = relay {
        let feed = relay.principal_feed();
        config.on_seat_event = Arc::new(move |event| feed.send(principal_event(event)));
    }
    Ok(HttpServer::new(config)?)
}

/// TURN over TLS is told of once there is a certificate that browsers trust.
fn tell_of_tls(running: &Running, settings: &Settings) -> JoinHandle<()> {
    let (web, certificate) = (running.web.clone(), Arc::clone(&running.certificate));
    let settings = settings.clone();
    tokio::spawn(async move {
        certificate.settled().await;
        web.set_ice_urls(settings.ice_urls(), probing(&settings));
    })
}

/// What `systemctl status` says of a box.
fn status(web: HttpServer, relay: Option<&Arc<Relay>>) -> impl Fn() -> String + Send + 'static {
    let relay = relay.map(Arc::downgrade);
    move || {
        let (rooms, seats) = web.count();
        let relay = relay.as_ref().and_then(Weak::upgrade);
        let allocations = relay.map_or(0, |relay| relay.allocations());
        format!("rooms: {rooms}, seats: {seats}, allocations: {allocations}")
    }
}

/// Where the two wings meet: a stream that does not speak HTTP goes to the relay.
fn turn_handler(relay: &Relay) -> TurnHandler {
    let door = relay.stream_server();
    Arc::new(move |stream: TurnStream| {
        let door = door.clone();
        tokio::spawn(async move {
            let transport = if stream.tls { Transport::Tls } else { Transport::Tcp };
            let ends = (stream.client, stream.local);
            door.serve(stream.stream, transport, ends, stream.permit.is_some()).await;
            drop(stream.permit);
        });
    })
}

fn accept(web: &HttpServer, listener: TcpListener, kind: ListenerKind) -> JoinHandle<()> {
    tokio::spawn(web.accept(listener, kind))
}

#[cfg(test)]
mod tests;
