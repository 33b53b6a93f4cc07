//! One visit to the page: the page itself, how the box says it is, and what there is to test.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::body::{Body, to_bytes};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{DATE, HOST, HeaderMap};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use serde::Deserialize;

use super::dial::{self, Secured};
use super::roots::Roots;
use super::{ANSWER, within};
use crate::clock::UnixSeconds;
use crate::doctor::judge::Trouble;
use crate::doctor::judge::certificate::Facts;
use crate::doctor::judge::page::{Health, Visited};
use webrtc_box_turn::credential::Credential;

/// Bytes a reply may have; the page is a tenth of that.
const LARGEST: usize = 1 << 20;

/// For all that is asked in one visit.
const VISIT: Duration = Duration::from_secs(5);

/// What a visit brings home.
#[derive(Debug)]
pub(in crate::doctor) struct Found {
    pub(in crate::doctor) visited: Visited,
    pub(in crate::doctor) sheet: Option<Sheet>,
    /// What the box's clock said.
    pub(in crate::doctor) clock: Option<UnixSeconds>,
}

/// `/test.json`, as far as it matters here. Does not print.
#[derive(Deserialize)]
pub(in crate::doctor) struct Sheet {
    probes: Vec<Probe>,
    username: String,
    credential: String,
}

#[derive(Deserialize)]
struct Probe {
    name: String,
    port: u16,
}

/// `/healthz`.
#[derive(Deserialize)]
struct Status {
    status: String,
    #[serde(default)]
    why: String,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// `authority` is the host with its port, where that is not the usual one.
pub(in crate::doctor) async fn visit(
    address: SocketAddr,
    proxies: &[IpNet],
    name: &str,
    authority: &str,
    roots: &Roots,
) -> Result<Found, Trouble> {
    within(VISIT, look_around(address, proxies, name, authority, roots)).await
}

async fn look_around(
    address: SocketAddr,
    proxies: &[IpNet],
    name: &str,
    authority: &str,
    roots: &Roots,
) -> Result<Found, Trouble> {
    let began = Instant::now();
    let Secured { stream, chain } = dial::tls(address, proxies, name, &[b"http/1.1"]).await?;
    let opened = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = opened.map_err(|error| broken(&error))?;
    // Ends with its sender.
    tokio::spawn(connection);
    let page = ask(&mut sender, authority, "/").await?;
    let took = began.elapsed();
    let health = ask(&mut sender, authority, "/healthz").await.ok();
    let sheet = ask(&mut sender, authority, "/test.json").await.ok();
    let visited = Visited {
        status: page.status.as_u16(),
        health: health.and_then(|answer| read_health(&answer.body)),
        facts: chain.iter().filter_map(|one| Facts::read(one)).collect(),
        trust: roots.judge(&chain, name, SystemTime::now()),
        took,
    };
    let sheet = sheet.and_then(|answer| serde_json::from_slice(&answer.body).ok());
    Ok(Found { visited, sheet, clock: clock(&page.headers) })
}

async fn ask(sender: &mut SendRequest<Body>, authority: &str, path: &str) -> Result<Answer, Trouble> {
    let request = Request::get(path).header(HOST, authority).body(Body::empty());
    let request = request.map_err(|error| Trouble::Broken(error.to_string()))?;
    within(ANSWER, async {
        sender.ready().await.map_err(|error| broken(&error))?;
        let (head, body) = sender.send_request(request).await.map_err(|error| broken(&error))?.into_parts();
        let body = to_bytes(Body::new(body), LARGEST).await;
        let body = body.map_err(|error| Trouble::Broken(error.to_string()))?;
        Ok(Answer { status: head.status, headers: head.headers, body })
    })
    .await
}

fn broken(error: &hyper::Error) -> Trouble {
    Trouble::Broken(format!("not with HTTP: {error}"))
}

fn read_health(body: &[u8]) -> Option<Health> {
    let status: Status = serde_json::from_slice(body).ok()?;
    match status.status.as_str() {
        "up" => Some(Health::Up),
        "down" => Some(Health::Down(status.why)),
        _ => None,
    }
}

fn clock(headers: &HeaderMap) -> Option<UnixSeconds> {
    let date = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    date.duration_since(UNIX_EPOCH).ok().as_ref().map(Duration::as_secs)
}

impl Sheet {
    /// Ports of the probes named `name`.
    pub(in crate::doctor) fn ports(&self, name: &str) -> BTreeSet<u16> {
        self.probes.iter().filter(|probe| probe.name == name).map(|probe| probe.port).collect()
    }

    /// What it hands out, good for its own tag alone.
    pub(in crate::doctor) fn credential(&self) -> Credential {
        Credential { username: self.username.clone(), password: self.credential.clone() }
    }
}

impl fmt::Debug for Sheet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sheet(…)")
    }
}
