//! One round: starts a server, warms it up, applies each kind of load, and stops it.

use std::time::Duration;

use tokio::time::sleep;

use crate::client::Endpoint;
use crate::clients::Clients;
use crate::results::{MEASURES, Sample};
use crate::servers::{Server, Target};

/// The amount of load in a round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Connections that are opened and joined, and whose memory is measured.
    pub(crate) connections: usize,
    /// Connections that send candidates, in pairs.
    pub(crate) senders: usize,
    /// Candidates that each of them sends one at a time.
    pub(crate) paced: usize,
    /// Candidates that each of them sends in groups.
    pub(crate) groups: usize,
    /// Candidates that each of them sends without a pause.
    pub(crate) unpaced: usize,
    /// TLS connections that are only opened and closed.
    pub(crate) handshakes: usize,
    /// How often [`WARM_UP`] clients connect, join, send and leave before the measurement.
    pub(crate) waves: usize,
}

/// Connections of one wave: so few that their heap growth does not affect the results.
const WARM_UP: usize = 50;

/// Candidates that each of them sends.
const WARM_UP_FRAMES: usize = 40;

/// Time between two joins, one at a time.
const JOIN_EVERY: Duration = Duration::from_millis(5);

/// Concurrent joins per [`TICK`].
const BURST: usize = 32;

/// The shortest interval.
const TICK: Duration = Duration::from_millis(1);

/// Interval of the candidates of one sender: webrtc-box accepts forty frames a second per connection.
const PACE: Duration = Duration::from_millis(40);

/// Candidates that a browser gathers together.
const GROUP: usize = 8;

/// Interval of the groups of one sender.
const GROUP_PACE: Duration = Duration::from_millis(250);

/// How long a server finishes its work after the last reply.
const SETTLE: Duration = Duration::from_millis(150);

impl Size {
    pub(crate) fn full() -> Self {
        Self {
            connections: 2000,
            senders: 200,
            paced: 75,
            groups: 80,
            unpaced: 300,
            handshakes: 500,
            waves: 20,
        }
    }

    pub(crate) fn short() -> Self {
        Self { connections: 200, senders: 40, paced: 25, groups: 32, unpaced: 200, handshakes: 50, waves: 4 }
    }
}

/// Runs one round: memory is measured on one server, CPU time on another one after its warm-up.
pub(crate) async fn run(target: Target, size: &Size) -> Sample {
    let [open, joined] = measure_memory(target, size.connections).await;
    let state = tempfile::tempdir().unwrap();
    let (server, endpoint) = target.start(state.path()).await;
    for wave in 0..size.waves {
        let clients = Clients::open(&endpoint, WARM_UP).await;
        clients.join(&format!("warm-{wave}"), 1, TICK).await;
        clients.send(WARM_UP_FRAMES, GROUP, TICK).await;
        clients.leave().await;
    }
    let [connection, burst] = connect_and_join(&server, &endpoint, size).await;
    let [pair, paced, groups, unpaced] = exchange(&server, &endpoint, size).await;
    let handshake = match &endpoint.tls {
        Some(_) => Some(handshakes(&server, &endpoint, size.handshakes).await),
        None => None,
    };
    let required = [pair, burst, paced, groups, unpaced, open, joined].map(Some);
    let mut results = [None; MEASURES.len()];
    results[..2].copy_from_slice(&[Some(connection), handshake]);
    results[2..].copy_from_slice(&required);
    Sample(results)
}

/// KiB per connection, open and joined. The server is not warmed up except for a few connections: a heap that has grown
/// before would hide the growth.
async fn measure_memory(target: Target, count: usize) -> [f64; 2] {
    let state = tempfile::tempdir().unwrap();
    let (server, endpoint) = target.start(state.path()).await;
    let first = Clients::open(&endpoint, WARM_UP).await;
    first.join("first", 1, TICK).await;
    sleep(SETTLE).await;
    let before = server.resident();
    let kibibytes = |resident: u64| resident.saturating_sub(before) as f64 / 1024.0 / count as f64;
    let clients = Clients::open(&endpoint, count).await;
    sleep(SETTLE).await;
    let open = kibibytes(server.resident());
    clients.join("call", BURST, TICK).await;
    sleep(SETTLE).await;
    let joined = kibibytes(server.resident());
    first.leave().await;
    clients.leave().await;
    [open, joined]
}

/// CPU time of opening and joining connections.
async fn connect_and_join(server: &Server, endpoint: &Endpoint, size: &Size) -> [f64; 2] {
    let count = size.connections;
    let (clients, opening) = cpu_time(server, Clients::open(endpoint, count)).await;
    let ((), joining) = cpu_time(server, clients.join("call", BURST, TICK)).await;
    clients.leave().await;
    [opening / count as f64, joining / (count / 2) as f64]
}

/// CPU time of single joins, and of candidates one at a time, in groups, and without a pause.
async fn exchange(server: &Server, endpoint: &Endpoint, size: &Size) -> [f64; 4] {
    let clients = Clients::open(endpoint, size.senders).await;
    let ((), joining) = cpu_time(server, clients.join("talk", 1, JOIN_EVERY)).await;
    let ((), paced) = cpu_time(server, clients.send(size.paced, 1, PACE)).await;
    let ((), groups) = cpu_time(server, clients.send(size.groups, GROUP, GROUP_PACE)).await;
    let ((), unpaced) = cpu_time(server, clients.send(size.unpaced, size.unpaced, TICK)).await;
    clients.leave().await;
    let each = |total: f64, frames: usize| total / (size.senders * frames) as f64;
    [
        joining / (size.senders / 2) as f64,
        each(paced, size.paced),
        each(groups, size.groups),
        each(unpaced, size.unpaced),
    ]
}

/// CPU time of TLS handshakes.
async fn handshakes(server: &Server, endpoint: &Endpoint, count: usize) -> f64 {
    let all = async {
        for _ in 0..count {
            drop(endpoint.dial().await);
        }
    };
    cpu_time(server, all).await.1 / count as f64
}

/// The output of `step`, and the CPU time of the server in µs.
async fn cpu_time<T>(server: &Server, step: impl Future<Output = T>) -> (T, f64) {
    sleep(SETTLE).await;
    let before = server.cpu();
    let outcome = step.await;
    sleep(SETTLE).await;
    (outcome, (server.cpu() - before).as_secs_f64() * 1e6)
}
