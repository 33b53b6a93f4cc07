//! One round: a server is started, warmed up, loaded in one way after the other, and ended.

use std::time::Duration;

use tokio::time::sleep;

use crate::client::Place;
use crate::contestant::Contestant;
use crate::crowd::Crowd;
use crate::figures::{MEASURES, Sample};
use crate::server::Server;

/// How much is done in a round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Connections that are opened, joined and weighed.
    pub(crate) connections: usize,
    /// Connections that send candidates, two by two.
    pub(crate) talkers: usize,
    /// Candidates that each of them sends one at a time.
    pub(crate) paced: usize,
    /// Candidates that each of them sends in groups.
    pub(crate) groups: usize,
    /// Candidates that each of them sends flat out.
    pub(crate) flat_out: usize,
    /// TLS connections that are opened and closed for nothing else.
    pub(crate) handshakes: usize,
    /// How often [`WARM_UP`] connections come, join, talk and leave before anything is measured.
    pub(crate) waves: usize,
}

/// Connections of one wave: few enough that what they leave in the heap is no part of the figures.
const WARM_UP: usize = 50;

/// Candidates each of them sends.
const WARM_UP_FRAMES: usize = 40;

/// Time between two joins, one at a time.
const JOIN_EVERY: Duration = Duration::from_millis(5);

/// In a rush: so many joins in every [`TICK`].
const RUSH: usize = 32;

/// The shortest pace there is.
const TICK: Duration = Duration::from_millis(1);

/// Time between two candidates of one talker: ours takes forty frames a second from each.
const PACE: Duration = Duration::from_millis(40);

/// Candidates that come together while a browser gathers them.
const GROUP: usize = 8;

/// Time between two groups of one talker.
const GROUP_PACE: Duration = Duration::from_millis(250);

/// Until a server has done what is left to do after the last reply.
const SETTLE: Duration = Duration::from_millis(150);

impl Size {
    pub(crate) fn full() -> Self {
        Self {
            connections: 2000,
            talkers: 200,
            paced: 75,
            groups: 80,
            flat_out: 300,
            handshakes: 500,
            waves: 20,
        }
    }

    pub(crate) fn short() -> Self {
        Self { connections: 200, talkers: 40, paced: 25, groups: 32, flat_out: 200, handshakes: 50, waves: 4 }
    }
}

/// Plays one round: one server is weighed, another one is warmed up and timed.
pub(crate) async fn play(contestant: Contestant, size: &Size) -> Sample {
    let [open, joined] = weigh(contestant, size.connections).await;
    let state = tempfile::tempdir().unwrap();
    let (server, place) = contestant.start(state.path()).await;
    for wave in 0..size.waves {
        let crowd = Crowd::open(&place, WARM_UP).await;
        crowd.join(&format!("warm-{wave}"), 1, TICK).await;
        crowd.send(WARM_UP_FRAMES, GROUP, TICK).await;
        crowd.leave().await;
    }
    let [connection, rush] = company(&server, &place, size).await;
    let [pair, paced, groups, flat_out] = talk(&server, &place, size).await;
    let handshake = match &place.tls {
        Some(_) => Some(handshakes(&server, &place, size.handshakes).await),
        None => None,
    };
    let always = [pair, rush, paced, groups, flat_out, open, joined].map(Some);
    let mut figures = [None; MEASURES.len()];
    figures[..2].copy_from_slice(&[Some(connection), handshake]);
    figures[2..].copy_from_slice(&always);
    Sample(figures)
}

/// Kibibytes for a connection, open and joined. The server is not warmed up, but for its first few
/// connections: what a heap has already grown by would not be seen.
async fn weigh(contestant: Contestant, count: usize) -> [f64; 2] {
    let state = tempfile::tempdir().unwrap();
    let (server, place) = contestant.start(state.path()).await;
    let first = Crowd::open(&place, WARM_UP).await;
    first.join("first", 1, TICK).await;
    sleep(SETTLE).await;
    let before = server.resident();
    let kibibytes = |resident: u64| resident.saturating_sub(before) as f64 / 1024.0 / count as f64;
    let crowd = Crowd::open(&place, count).await;
    sleep(SETTLE).await;
    let open = kibibytes(server.resident());
    crowd.join("call", RUSH, TICK).await;
    sleep(SETTLE).await;
    let joined = kibibytes(server.resident());
    first.leave().await;
    crowd.leave().await;
    [open, joined]
}

/// Connections opened and joined.
async fn company(server: &Server, place: &Place, size: &Size) -> [f64; 2] {
    let count = size.connections;
    let (crowd, opening) = spent(server, Crowd::open(place, count)).await;
    let ((), joining) = spent(server, crowd.join("call", RUSH, TICK)).await;
    crowd.leave().await;
    [opening / count as f64, joining / (count / 2) as f64]
}

/// Joins one at a time, and candidates one at a time, in groups, and all that a talker has at once.
async fn talk(server: &Server, place: &Place, size: &Size) -> [f64; 4] {
    let crowd = Crowd::open(place, size.talkers).await;
    let ((), joining) = spent(server, crowd.join("talk", 1, JOIN_EVERY)).await;
    let ((), paced) = spent(server, crowd.send(size.paced, 1, PACE)).await;
    let ((), groups) = spent(server, crowd.send(size.groups, GROUP, GROUP_PACE)).await;
    let ((), flat_out) = spent(server, crowd.send(size.flat_out, size.flat_out, TICK)).await;
    crowd.leave().await;
    let each = |total: f64, frames: usize| total / (size.talkers * frames) as f64;
    [
        joining / (size.talkers / 2) as f64,
        each(paced, size.paced),
        each(groups, size.groups),
        each(flat_out, size.flat_out),
    ]
}

/// Streams brought through TLS and closed.
async fn handshakes(server: &Server, place: &Place, count: usize) -> f64 {
    let all = async {
        for _ in 0..count {
            drop(place.dial().await);
        }
    };
    spent(server, all).await.1 / count as f64
}

/// What `deed` gives, and the microseconds of CPU the server spent on it.
async fn spent<T>(server: &Server, deed: impl Future<Output = T>) -> (T, f64) {
    sleep(SETTLE).await;
    let before = server.cpu();
    let outcome = deed.await;
    sleep(SETTLE).await;
    (outcome, (server.cpu() - before).as_secs_f64() * 1e6)
}
