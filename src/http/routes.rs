//! The routes: page, WebSocket, HTTP long polling, health, connection test; the security headers, and redirects from HTTP to HTTPS.

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
use axum::routing::{any, get, post};
use ipnet::IpNet;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::timeout;

use webrtc_box_rate_limit::{Rate, SourceRateLimiter};
use webrtc_box_signaling::Refusal;

use super::connection_test::ConnectionTest;
use super::counters::HttpMetrics;
use super::hub::Hub;
use super::node_names::{NodeNames, is_preflight, permit_origin, preflight_reply};
use super::per_source::SourceConnections;
use super::polling::PollingSessions;
use super::request_context::{
    AllowedOrigins, Arrival, Authority, RequestContext, Scheme, ServedHosts, default_port,
};
use super::socket_io::{self, SocketIo};
use super::static_files::{self, StaticFiles};
use super::{Phase, websocket};

/// One year.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Only files of this server run, and no site may frame them. `'self'` includes the WebSocket (CSP3 §6.7.2.8).
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; connect-src 'self'; img-src 'self' data: blob:; \
    media-src 'self' blob:; object-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

const PERMISSIONS_POLICY: &str = "camera=(self), microphone=(self), display-capture=(self), \
    screen-wake-lock=(self), fullscreen=(self), autoplay=(self), picture-in-picture=(self), \
    geolocation=(), payment=(), usb=()";

/// The headers of every reply.
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

/// Bytes of the body of `POST /leave` at most: a resume token.
const MAX_LEAVE_BYTES: usize = 256;

/// How long the body may take to arrive.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often one source may request `/test.json`.
pub(super) const TEST_RATE: Rate = Rate { interval: Duration::from_secs(30), burst: 10 };

/// The health of the server, as any client may see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum Health {
    /// Everything works.
    Up,
    /// A part does not work.
    Down {
        /// The reason, in a sentence that reveals no internals.
        why: String,
    },
}

/// The state of the request handlers.
pub(super) struct RouteState {
    pub(super) files: StaticFiles,
    pub(super) hub: Arc<Hub>,
    pub(super) polling: Arc<PollingSessions>,
    /// `None` if Socket.IO clients are not served.
    pub(super) socket_io: Option<Arc<SocketIo>>,
    pub(super) sources: SourceConnections,
    pub(super) origins: AllowedOrigins,
    pub(super) domain: Option<String>,
    /// Whether browsers must use HTTPS from now on. They ignore it for an address (RFC 6797 §8.1.1).
    pub(super) has_hsts: bool,
    pub(super) hosts: ServedHosts,
    /// The names of one of several servers; `None` for a single one.
    pub(super) names: Option<NodeNames>,
    pub(super) own_addresses: Arc<dyn Fn() -> Vec<IpAddr> + Send + Sync>,
    pub(super) https_port: Option<u16>,
    pub(super) trusted_proxy: Vec<IpNet>,
    pub(super) health: Arc<dyn Fn() -> Health + Send + Sync>,
    pub(super) connection_test: Arc<ArcSwap<ConnectionTest>>,
    pub(super) test_limiter: SourceRateLimiter,
    pub(super) metrics: HttpMetrics,
    pub(super) phase: watch::Sender<Phase>,
}

/// The names of one of several servers, with the policy of its page.
pub(super) fn node_names(domain: &str, node: &str, https_port: Option<u16>) -> Option<NodeNames> {
    NodeNames::new(domain, node, https_port, CONTENT_SECURITY_POLICY)
}

type Shared = Arc<RouteState>;

/// The router of the public listeners.
pub(super) fn routes(state: RouteState) -> Router {
    let state = Arc::new(state);
    Router::new()
        .route("/", get(index))
        .route("/r/{room}", get(index))
        .route("/r/{room}/", get(index))
        .route("/test", get(test))
        .route("/test.json", get(connection_test))
        .route("/ws", get(open_websocket))
        .route("/poll", post(poll))
        .route("/leave", post(leave))
        .route("/socket.io/", any(socket_io::serve))
        .route("/socket.io/socket.io.js", get(socket_io::client_script))
        .route("/healthz", get(health))
        .route("/health", get(health))
        .fallback(get(file))
        .layer(from_fn_with_state(Arc::clone(&state), check_request))
        .with_state(state)
}

async fn index(State(state): State<Shared>, headers: HeaderMap) -> Response {
    state.files.page_reply("/index", &headers).unwrap_or_else(not_found)
}

async fn test(State(state): State<Shared>, headers: HeaderMap) -> Response {
    state.files.page_reply("/test", &headers).unwrap_or_else(not_found)
}

/// The probes of the connection test, with a credential that reaches no other client.
async fn connection_test(
    State(state): State<Shared>,
    Extension(context): Extension<RequestContext>,
) -> Response {
    let now = crate::clock::now();
    let uncached = (header::CACHE_CONTROL, "no-store".to_owned());
    if let Err(wait) = state.test_limiter.charge(context.source, now.instant) {
        let retry_after = (header::RETRY_AFTER, (wait.as_secs() + 1).to_string());
        return (StatusCode::TOO_MANY_REQUESTS, [uncached, retry_after]).into_response();
    }
    let mut random = ([0; 16], [0; 16]);
    if getrandom::fill(&mut random.0).and_then(|()| getrandom::fill(&mut random.1)).is_err() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let host = context.authority.as_ref().map_or("localhost", |authority| &authority.host);
    let response = state.connection_test.load().response(&state.hub.secrets(), host, now.unix, random);
    let content_type = (header::CONTENT_TYPE, "application/json".to_owned());
    ([content_type, uncached], serde_json::to_string(&response).unwrap_or_default()).into_response()
}

async fn file(State(state): State<Shared>, request: Request) -> Response {
    state.files.reply(request.uri().path(), request.headers()).unwrap_or_else(not_found)
}

async fn health(State(state): State<Shared>) -> Health {
    (state.health)()
}

impl IntoResponse for Health {
    fn into_response(self) -> Response {
        health_response(self == Self::Up, &self)
    }
}

/// The reply to a health check: 200, or 503 where the server is not `up`.
pub(crate) fn health_response(up: bool, report: &impl Serialize) -> Response {
    let status = if up { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, serde_json::to_string(report).unwrap_or_default()).into_response()
}

async fn open_websocket(
    State(state): State<Shared>,
    Extension(context): Extension<RequestContext>,
    request: Request,
) -> Response {
    if !state.origins.allow(&context, request.headers()) {
        return forbidden_origin();
    }
    websocket::upgrade(&state.hub, &state.sources, state.phase.subscribe(), &context, request)
}

async fn poll(
    State(state): State<Shared>,
    Extension(context): Extension<RequestContext>,
    request: Request,
) -> Response {
    if !state.origins.allow(&context, request.headers()) {
        return forbidden_origin();
    }
    let (parts, body) = request.into_parts();
    let reply = state.polling.respond(&context, body).await;
    state.permit_origin(reply, &parts.headers)
}

/// A page without an open WebSocket reports that it was closed; the body is its resume token.
async fn leave(
    State(state): State<Shared>,
    Extension(context): Extension<RequestContext>,
    request: Request,
) -> Response {
    if !state.origins.allow(&context, request.headers()) {
        return forbidden_origin();
    }
    let (parts, body) = request.into_parts();
    let reply = handle_leave(&state, &context, body).await;
    state.permit_origin(reply, &parts.headers)
}

async fn handle_leave(state: &RouteState, context: &RequestContext, body: Body) -> Response {
    let body = match timeout(LEAVE_TIMEOUT, to_bytes(body, MAX_LEAVE_BYTES)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return (StatusCode::BAD_REQUEST, "The body must be a resume token.\n").into_response(),
        Err(_) => return StatusCode::REQUEST_TIMEOUT.into_response(),
    };
    // A body that is no text is no token.
    let token = std::str::from_utf8(&body).unwrap_or_default();
    match state.hub.handle_page_closed(token, context.source) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(Refusal::TooManyAttempts) => StatusCode::TOO_MANY_REQUESTS.into_response(),
        Err(_) => (StatusCode::BAD_REQUEST, "This is not a resume token of this server.\n").into_response(),
    }
}

/// The reply to a request of a foreign origin.
fn forbidden_origin() -> Response {
    (StatusCode::FORBIDDEN, "This origin is not allowed here.\n").into_response()
}

pub(super) fn not_found() -> Response {
    let content_type = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
    (StatusCode::NOT_FOUND, content_type, NOT_FOUND).into_response()
}

/// Middleware: determines the request context, redirects plain HTTP to HTTPS, rejects foreign hosts, and adds the headers.
async fn check_request(
    State(state): State<Shared>,
    Extension(arrival): Extension<Arrival>,
    mut request: Request,
    next: Next,
) -> Response {
    state.metrics.count_request(request.version());
    let has_one_host = set_host(&mut request);
    let context = RequestContext::new(arrival, request.headers(), &state.trusted_proxy);
    let secure = context.secure;
    let mut reply = if !has_one_host {
        (StatusCode::BAD_REQUEST, "Exactly one Host header is required.\n").into_response()
    } else if arrival.scheme == Scheme::HttpOnHttpsPort
        || (arrival.scheme == Scheme::Http && !context.proxied)
    {
        redirect_to_https(&state, arrival, &context, &request)
    } else if !state.serves(arrival, &context, &request) {
        misdirected(&state)
    } else if static_files::is_service_worker_request(&request)
        && !state.files.has_custom(request.uri().path())
    {
        static_files::stale_worker_removal()
    } else if let Some(reply) = state.node_reply(&context, &request) {
        reply
    } else {
        request.extensions_mut().insert(context);
        next.run(request).await
    };
    if let Some(names) = &state.names {
        reply
            .headers_mut()
            .entry(header::CONTENT_SECURITY_POLICY)
            .or_insert_with(|| names.content_security_policy());
    }
    for (name, value) in HEADERS {
        reply.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    if secure && state.has_hsts {
        reply.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, HSTS);
    }
    reply
}

/// Puts the host of an HTTP/2 request into `Host`, where HTTP/1.1 has it; whether there is exactly one host. With two, a
/// proxy and this server might use different ones (RFC 9112 §3.2, RFC 9113 §8.3.1). HTTP/1.0 may omit it.
fn set_host(request: &mut Request<Body>) -> bool {
    let target = request.uri().authority().filter(|_| request.version() == Version::HTTP_2);
    let target = target.and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    let mut given = request.headers().get_all(header::HOST).iter();
    match (target, given.next(), given.next()) {
        (_, Some(_), Some(_)) => false,
        (Some(target), Some(host), None) => host.as_bytes().eq_ignore_ascii_case(target.as_bytes()),
        (None, Some(_), _) => true,
        (None, None, _) => request.version() < Version::HTTP_11,
        (Some(target), None, _) => {
            request.headers_mut().insert(header::HOST, target);
            true
        }
    }
}

impl RouteState {
    /// Whether the server answers for the requested host. Health checks may use any host.
    fn serves(&self, arrival: Arrival, context: &RequestContext, request: &Request<Body>) -> bool {
        if self.hosts.serve_all() || matches!(request.uri().path(), "/healthz" | "/health") {
            return true;
        }
        let is_own = |ip| ip == arrival.local.to_canonical() || (self.own_addresses)().contains(&ip);
        let is_served = |authority: &Authority| self.hosts.serve(authority, is_own);
        let host_matches = match &context.authority {
            Some(authority) => is_served(authority) || context.is_proxy_alias(),
            // HTTP/1.0 may omit the header; an invalid one matches no host.
            None => !request.headers().contains_key(header::HOST),
        };
        // The request target may contain a host too (RFC 9112 §3.2.2).
        let target = request.uri().authority().map(|target| Authority::parse(target.as_str()));
        host_matches && target.is_none_or(|target| target.as_ref().is_some_and(is_served))
    }

    /// What one of several servers answers without a route: the page is under the common name, and browsers ask whether a
    /// page of that name may send requests to this one.
    fn node_reply(&self, context: &RequestContext, request: &Request<Body>) -> Option<Response> {
        let names = self.names.as_ref()?;
        if is_preflight(request) && self.origins.allow(context, request.headers()) {
            return Some(preflight_reply(request.headers()));
        }
        names.redirect_page(context, request)
    }

    /// The reply to a request of an allowed origin, which may be a page of the common name.
    fn permit_origin(&self, reply: Response, request_headers: &HeaderMap) -> Response {
        if self.names.is_some() { permit_origin(reply, request_headers) } else { reply }
    }
}

/// RFC 9110 §15.5.20. The domain is no secret: the certificate contains it.
fn misdirected(state: &RouteState) -> Response {
    let name = state.domain.as_deref().unwrap_or_default();
    (StatusCode::MISDIRECTED_REQUEST, format!("This server is https://{name}/\n")).into_response()
}

/// Redirects to the domain or, without one, to the requested host, which was validated.
fn redirect_to_https(
    state: &RouteState,
    arrival: Arrival,
    context: &RequestContext,
    request: &Request<Body>,
) -> Response {
    let requested = context.authority.as_ref().map(|authority| authority.host.as_str());
    let Some(host) = state.domain.as_deref().or(requested) else {
        return (StatusCode::BAD_REQUEST, "A Host header is required.\n").into_response();
    };
    // A client that uses plain HTTP on an HTTPS port sends the port as it is seen from outside.
    let requested = context.authority.as_ref().and_then(|authority| authority.port);
    let Some(port) = requested.filter(|_| arrival.scheme == Scheme::HttpOnHttpsPort).or(state.https_port)
    else {
        return (StatusCode::FORBIDDEN, "Plain HTTP is for the proxy in front of this server.\n")
            .into_response();
    };
    let port = if port == default_port(true) { String::new() } else { format!(":{port}") };
    let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
    // `OPTIONS *` has no path.
    let path = if path.starts_with('/') { path } else { "/" };
    let location = [(header::LOCATION, format!("https://{host}{port}{path}"))];
    (StatusCode::PERMANENT_REDIRECT, location).into_response()
}
