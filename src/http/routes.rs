//! What is where: the page, the WebSocket, the health; and the headers that all replies carry.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Extension, Request, State};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use ipnet::IpNet;
use tokio::sync::watch;
use tokio::time::timeout;

use super::Phase;
use super::connection_test::Probing;
use super::health::Health;
use super::hub::Hub;
use super::origin::{Authority, ServedHosts, default_port};
use super::per_source::Sources;
use super::request_context::{Arrival, Door, Origins, Visit};
use super::stale_worker;
use super::static_files::Page;
use super::upgrade;
use webrtc_box_rate_limit::{Rate, SourceRateLimiter};
use webrtc_box_signaling::Refusal;

/// A year.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Nothing but our own files runs, and nobody frames us. `'self'` names our WebSocket too (CSP3 §6.7.2.8).
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; connect-src 'self'; img-src 'self' data: blob:; \
    media-src 'self' blob:; object-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

const PERMISSIONS_POLICY: &str = "camera=(self), microphone=(self), display-capture=(self), \
    screen-wake-lock=(self), fullscreen=(self), autoplay=(self), picture-in-picture=(self), \
    geolocation=(), payment=(), usb=()";

/// On every reply.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("permissions-policy"), PERMISSIONS_POLICY),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

const NOT_FOUND: &str = "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
    <title>Not found</title>\n<p>There is nothing here. <a href=\"/\">To the call page</a></p>\n";

/// Bytes of what a page says that was closed: its resume token.
const LEAVE_BYTES: usize = 256;

/// How long it may take to come.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);

/// How often one source is handed what a connection test needs.
pub(super) const TEST_RATE: Rate = Rate { interval: Duration::from_secs(30), burst: 10 };

/// What requests are answered from.
pub(super) struct Desk {
    pub(super) page: Page,
    pub(super) hub: Arc<Hub>,
    pub(super) sources: Sources,
    pub(super) origins: Origins,
    pub(super) domain: Option<String>,
    pub(super) hosts: ServedHosts,
    pub(super) own_addresses: Arc<dyn Fn() -> Vec<IpAddr> + Send + Sync>,
    pub(super) https_port: Option<u16>,
    pub(super) trusted_proxy: Vec<IpNet>,
    pub(super) health: Arc<dyn Fn() -> Health + Send + Sync>,
    pub(super) probing: Arc<ArcSwap<Probing>>,
    pub(super) test_limit: SourceRateLimiter,
    pub(super) phase: watch::Sender<Phase>,
}

pub(super) type Shared = Arc<Desk>;

/// The whole site.
pub(super) fn routes(desk: Desk) -> Router {
    let desk = Arc::new(desk);
    Router::new()
        .route("/", get(index))
        .route("/r/{room}", get(index))
        .route("/r/{room}/", get(index))
        .route("/test", get(test))
        .route("/test.json", get(probes))
        .route("/ws", get(web_socket))
        .route("/leave", post(leave))
        .route("/healthz", get(health))
        .route("/health", get(health))
        .fallback(get(file))
        .layer(from_fn_with_state(Arc::clone(&desk), at_the_door))
        .with_state(desk)
}

async fn index(State(desk): State<Shared>, headers: HeaderMap) -> Response {
    reply_with(&desk, "/index.html", &headers)
}

async fn test(State(desk): State<Shared>, headers: HeaderMap) -> Response {
    reply_with(&desk, "/test.html", &headers)
}

/// What the test page tries, with a credential that reaches nobody else.
async fn probes(State(desk): State<Shared>, Extension(visit): Extension<Visit>) -> Response {
    let now = crate::clock::now();
    let uncached = (header::CACHE_CONTROL, "no-store".to_owned());
    if let Err(wait) = desk.test_limit.charge(visit.source, now.instant) {
        let later = (header::RETRY_AFTER, (wait.as_secs() + 1).to_string());
        return (StatusCode::TOO_MANY_REQUESTS, [uncached, later]).into_response();
    }
    let mut chance = ([0; 16], [0; 16]);
    if getrandom::fill(&mut chance.0).and_then(|()| getrandom::fill(&mut chance.1)).is_err() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let host = visit.authority.as_ref().map_or("localhost", |authority| &authority.host);
    let sheet = desk.probing.load().sheet(&desk.hub.secrets(), host, now.unix, chance);
    let kind = (header::CONTENT_TYPE, "application/json".to_owned());
    ([kind, uncached], serde_json::to_string(&sheet).unwrap_or_default()).into_response()
}

async fn file(State(desk): State<Shared>, request: Request) -> Response {
    reply_with(&desk, request.uri().path(), request.headers())
}

async fn health(State(desk): State<Shared>) -> Health {
    (desk.health)()
}

async fn web_socket(
    State(desk): State<Shared>,
    Extension(visit): Extension<Visit>,
    request: Request,
) -> Response {
    upgrade::open(&desk, &visit, request)
}

/// A page says that it was closed, where it could not say so by its WebSocket: its resume token is the body.
async fn leave(State(desk): State<Shared>, Extension(visit): Extension<Visit>, request: Request) -> Response {
    if !desk.origins.allow(&visit, request.headers()) {
        return upgrade::foreign_origin();
    }
    let body = match timeout(LEAVE_LIMIT, to_bytes(request.into_body(), LEAVE_BYTES)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return (StatusCode::BAD_REQUEST, "A resume token is expected.\n").into_response(),
        Err(_) => return StatusCode::REQUEST_TIMEOUT.into_response(),
    };
    // What is no text is no token either.
    let token = std::str::from_utf8(&body).unwrap_or_default();
    match desk.hub.page_closed(token, visit.source) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(Refusal::TooManyAttempts) => StatusCode::TOO_MANY_REQUESTS.into_response(),
        Err(_) => (StatusCode::BAD_REQUEST, "This is no resume token of ours.\n").into_response(),
    }
}

fn reply_with(desk: &Desk, path: &str, headers: &HeaderMap) -> Response {
    match desk.page.file(path) {
        Some(file) => file.reply(headers),
        None => {
            let kind = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
            (StatusCode::NOT_FOUND, kind, NOT_FOUND).into_response()
        }
    }
}

/// Sees who comes, sends plain HTTP to HTTPS, and puts the headers on what goes out.
async fn at_the_door(
    State(desk): State<Shared>,
    Extension(arrival): Extension<Arrival>,
    mut request: Request,
    next: Next,
) -> Response {
    let visit = Visit::new(arrival, request.headers(), &desk.trusted_proxy);
    let secure = visit.secure;
    let mut reply = if !names_one_host(&request) {
        (StatusCode::BAD_REQUEST, "One Host is needed.\n").into_response()
    } else if arrival.door == Door::HttpOnHttps || (arrival.door == Door::Http && !visit.proxied) {
        to_https(&desk, arrival, &visit, &request)
    } else if !desk.serves(arrival, &visit, &request) {
        misdirected(&desk)
    } else if stale_worker::asks(&request) && !desk.page.has_own(request.uri().path()) {
        stale_worker::removal()
    } else {
        request.extensions_mut().insert(visit);
        next.run(request).await
    };
    for (name, value) in HEADERS {
        reply.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    if secure && desk.domain.is_some() {
        reply.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, HSTS);
    }
    reply
}

/// What RFC 9112 §3.2 asks for; HTTP/1.0 may name none. A proxy and we might take a different one of two.
fn names_one_host(request: &Request<Body>) -> bool {
    match request.headers().get_all(header::HOST).iter().count() {
        0 => request.version() < Version::HTTP_11,
        count => count == 1,
    }
}

impl Desk {
    /// Whether the host that is asked is ours. Who watches whether the box is well may call it anything.
    fn serves(&self, arrival: Arrival, visit: &Visit, request: &Request<Body>) -> bool {
        if self.hosts.serve_all() || matches!(request.uri().path(), "/healthz" | "/health") {
            return true;
        }
        let is_own = |ip| ip == arrival.local.to_canonical() || (self.own_addresses)().contains(&ip);
        let is_ours = |authority: &Authority| self.hosts.serve(authority, is_own);
        let named = match &visit.authority {
            Some(authority) => is_ours(authority) || visit.is_proxys_name(),
            // HTTP/1.0 may name none; nonsense is nobody's name.
            None => !request.headers().contains_key(header::HOST),
        };
        // The target may name a host as well (RFC 9112 §3.2.2).
        let target = request.uri().authority().map(|target| Authority::parse(target.as_str()));
        named && target.is_none_or(|target| target.as_ref().is_some_and(is_ours))
    }
}

/// RFC 9110 §15.5.20. The name is no secret: the certificate has it.
fn misdirected(desk: &Desk) -> Response {
    let name = desk.domain.as_deref().unwrap_or_default();
    (StatusCode::MISDIRECTED_REQUEST, format!("This server is https://{name}/\n")).into_response()
}

/// Leads to our domain, or without one to the host that was asked, which was checked to be one.
fn to_https(desk: &Desk, arrival: Arrival, visit: &Visit, request: &Request<Body>) -> Response {
    let asked = visit.authority.as_ref().map(|authority| authority.host.as_str());
    let Some(host) = desk.domain.as_deref().or(asked) else {
        return (StatusCode::BAD_REQUEST, "Which host?\n").into_response();
    };
    // Who speaks plain HTTP to a port of HTTPS has named it, as it is seen from outside.
    let named = visit.authority.as_ref().and_then(|authority| authority.port);
    let Some(port) = named.filter(|_| arrival.door == Door::HttpOnHttps).or(desk.https_port) else {
        return (StatusCode::FORBIDDEN, "Plain HTTP is for the proxy in front of this server.\n")
            .into_response();
    };
    let port = if port == default_port(true) { String::new() } else { format!(":{port}") };
    let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
    // `OPTIONS *` has no path; what begins with anything else is not one.
    let path = if path.starts_with('/') { path } else { "/" };
    let location = [(header::LOCATION, format!("https://{host}{port}{path}"))];
    (StatusCode::PERMANENT_REDIRECT, location).into_response()
}
