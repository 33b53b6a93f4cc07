//! `/socket.io/`: clients of Socket.IO 3 and 4 (Engine.IO protocol 4), over HTTP long polling, a WebSocket, or the first and then the
//! second. docs/protocol.md lists the events.
//!
//! `packet.rs` reads and writes packets, `events.rs` translates events from and to frames, `session.rs` runs a session. This file
//! answers the requests.

mod events;
mod liveness;
mod packet;
mod session;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::body::Body as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use webrtc_box_signaling::MAX_FRAME_BYTES;

use self::liveness::{PING_INTERVAL, PING_TIMEOUT};
use self::session::{Command, Session};
use super::hub::{Hub, Transport};
use super::per_source::SourcePermit;
use super::request_context::RequestContext;
use super::routes::{RouteState, not_found};
use super::{Phase, websocket};

/// Bytes of the body of one request at most. Clients of Socket.IO 3 put all that waits into one body.
const MAX_BODY_BYTES: usize = 2 * MAX_FRAME_BYTES;

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Sessions over HTTP in all.
const MAX_SESSIONS: usize = 16 * 1024;

/// Sessions that the table keeps room for.
const MIN_CAPACITY: usize = 64;

/// How long a browser may remember the reply to a preflight request.
const PREFLIGHT_SECONDS: &str = "600";

/// The sessions over HTTP.
#[derive(Debug, Default)]
pub(super) struct SocketIo {
    sessions: Mutex<HashMap<String, Commands>>,
}

/// How requests reach a session.
type Commands = mpsc::Sender<Command>;

/// Removes a session from the table when it is dropped.
struct Registration {
    socket_io: Arc<SocketIo>,
    sid: String,
}

/// Why a request is refused: the codes of Engine.IO.
#[derive(Clone, Copy, Debug)]
enum Refused {
    UnknownTransport,
    UnknownSession,
    BadMethod,
    BadRequest,
    ForbiddenOrigin,
    UnsupportedVersion,
}

/// The parameters of a request.
#[derive(Debug, Default, PartialEq, Eq)]
struct Query<'a> {
    version: &'a str,
    transport: &'a str,
    sid: Option<&'a str>,
}

/// Answers any request for `/socket.io/`.
pub(super) async fn serve(
    State(state): State<Arc<RouteState>>,
    Extension(context): Extension<RequestContext>,
    request: Request<Body>,
) -> Response {
    let Some(socket_io) = &state.socket_io else { return not_found() };
    if !state.origins.allow(&context, request.headers()) {
        return Refused::ForbiddenOrigin.into_response();
    }
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut reply = if request.method() == Method::OPTIONS {
        preflight(request.headers())
    } else {
        answer(&state, socket_io, &context, request).await.unwrap_or_else(Refused::into_response)
    };
    let headers = reply.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    }
    reply
}

/// The client script for pages.
pub(super) async fn client_script(State(state): State<Arc<RouteState>>, headers: HeaderMap) -> Response {
    if state.socket_io.is_none() {
        return not_found();
    }
    state.files.socket_io_client(&headers).unwrap_or_else(|| {
        let why = "This build of webrtc-box contains no Socket.IO client; get socket.io.min.js from npm or a CDN.\n";
        (StatusCode::NOT_FOUND, why).into_response()
    })
}

/// The reply to the request by which a browser asks whether a page of another origin may send one.
fn preflight(headers: &HeaderMap) -> Response {
    let mut reply = StatusCode::NO_CONTENT.into_response();
    let allowed = reply.headers_mut();
    allowed.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
    allowed.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_SECONDS));
    if let Some(requested) = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        allowed.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, requested.clone());
    }
    reply
}

async fn answer(
    state: &RouteState,
    socket_io: &Arc<SocketIo>,
    context: &RequestContext,
    request: Request<Body>,
) -> Result<Response, Refused> {
    let uri = request.uri().clone();
    let query = Query::parse(uri.query().unwrap_or_default());
    let polls = match query.transport {
        "polling" => true,
        "websocket" => false,
        _ => return Err(Refused::UnknownTransport),
    };
    if query.version != "4" {
        return Err(Refused::UnsupportedVersion);
    }
    let session = query.sid.map(|sid| socket_io.session(sid).ok_or(Refused::UnknownSession)).transpose()?;
    match (session, request.method()) {
        (None, &Method::GET) if polls => Ok(open_polling(state, socket_io, context)),
        (None, &Method::GET) => Ok(open_websocket(state, context, request)),
        (None, _) => Err(Refused::BadMethod),
        (Some(commands), &Method::GET) if polls => poll(&commands).await,
        (Some(commands), &Method::POST) if polls => {
            take_packets(&state.hub, &commands, context.source, request.into_body()).await
        }
        (Some(commands), &Method::GET) => {
            let carry_on = move |socket| session::upgrade(socket, commands);
            Ok(websocket::accept(&state.sources, context, request, carry_on))
        }
        (Some(_), _) => Err(Refused::BadRequest),
    }
}

/// Opens a session over HTTP. It is bound to no connection, so it counts by itself.
fn open_polling(state: &RouteState, socket_io: &Arc<SocketIo>, context: &RequestContext) -> Response {
    if *state.phase.borrow() == Phase::Stopping {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let Some(permit) = state.sources.enter(context.source) else {
        return too_many();
    };
    let Some((sid, session)) = new_session(&state.hub, context) else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let (commands, receiver) = mpsc::channel(1);
    let Some(registration) = socket_io.register(&sid, commands) else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    tokio::spawn(run(session, receiver, state.phase.subscribe(), (permit, registration)));
    text(packet::open(&sid, true, (PING_INTERVAL, PING_TIMEOUT), MAX_FRAME_BYTES))
}

async fn run(
    mut session: Session,
    commands: mpsc::Receiver<Command>,
    mut phase: tokio::sync::watch::Receiver<Phase>,
    (permit, registration): (SourcePermit, Registration),
) {
    let socket = session.run_polling(commands, &mut phase).await;
    drop(registration);
    if let Some(socket) = socket {
        session.run_socket(socket, &mut phase).await;
    }
    drop(permit);
}

/// Opens a session over a WebSocket.
fn open_websocket(state: &RouteState, context: &RequestContext, request: Request<Body>) -> Response {
    let (hub, client, mut phase) = (Arc::clone(&state.hub), context.clone(), state.phase.subscribe());
    websocket::accept(&state.sources, context, request, |socket| async move {
        let Some((sid, mut session)) = new_session(&hub, &client) else { return };
        session.open(packet::open(&sid, false, (PING_INTERVAL, PING_TIMEOUT), MAX_FRAME_BYTES));
        session.run_socket(Box::new(socket), &mut phase).await;
    })
}

/// A session with its secret ID; `None` if the operating system provides no randomness.
fn new_session(hub: &Arc<Hub>, context: &RequestContext) -> Option<(String, Session)> {
    let (sid, socket_id) = (random_id()?, random_id()?);
    let host = context.authority.as_ref().map_or("localhost", |authority| &authority.host);
    let connection = hub.connect(Transport::SocketIo, host.to_owned(), context.source);
    Some((sid, Session::new(Arc::clone(hub), connection, socket_id)))
}

fn random_id() -> Option<String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).ok()?;
    Some(URL_SAFE_NO_PAD.encode(random))
}

/// Waits for packets: until the next ping at the latest.
async fn poll(commands: &Commands) -> Result<Response, Refused> {
    let (reply, packets) = oneshot::channel();
    commands.send(Command::Poll(reply)).await.map_err(|_| Refused::UnknownSession)?;
    packets.await.map(text).map_err(|_| Refused::UnknownSession)
}

async fn take_packets(
    hub: &Hub,
    commands: &Commands,
    source: IpAddr,
    body: Body,
) -> Result<Response, Refused> {
    let length = body.size_hint().upper().map_or(MAX_BODY_BYTES, |length| length as usize);
    if length > MAX_BODY_BYTES {
        return Ok(StatusCode::PAYLOAD_TOO_LARGE.into_response());
    }
    let Some(charge) = hub.charge_request(source, length) else { return Ok(too_many()) };
    let body = match timeout(BODY_TIMEOUT, to_bytes(body, MAX_BODY_BYTES)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return Ok(StatusCode::PAYLOAD_TOO_LARGE.into_response()),
        Err(_) => return Ok(StatusCode::REQUEST_TIMEOUT.into_response()),
    };
    let body = String::from_utf8(body.into()).map_err(|_| Refused::BadRequest)?;
    let (taken, done) = oneshot::channel();
    let command = Command::Packets(body, charge, taken);
    commands.send(command).await.map_err(|_| Refused::UnknownSession)?;
    done.await.map_err(|_| Refused::UnknownSession)?;
    Ok(text("ok".to_owned()))
}

/// The source has too many sessions, or too many bytes under way.
fn too_many() -> Response {
    (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "10")]).into_response()
}

fn text(body: String) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=UTF-8")], body).into_response()
}

impl SocketIo {
    fn session(&self, sid: &str) -> Option<Commands> {
        self.lock().get(sid).cloned()
    }

    /// Adds a session; `None` if there are too many.
    fn register(self: &Arc<Self>, sid: &str, commands: Commands) -> Option<Registration> {
        let mut sessions = self.lock();
        if sessions.len() >= MAX_SESSIONS {
            return None;
        }
        sessions.insert(sid.to_owned(), commands);
        Some(Registration { socket_io: Arc::clone(self), sid: sid.to_owned() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Commands>> {
        // Each change is a single insertion or removal.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut sessions = self.socket_io.lock();
        sessions.remove(&self.sid);
        // After many sessions the table gives its memory back.
        if sessions.capacity() > 4 * sessions.len().max(MIN_CAPACITY) {
            let kept = 2 * sessions.len();
            sessions.shrink_to(kept);
        }
    }
}

impl<'a> Query<'a> {
    fn parse(text: &'a str) -> Self {
        let mut query = Self::default();
        for (name, value) in text.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "EIO" => query.version = value,
                "transport" => query.transport = value,
                "sid" => query.sid = Some(value),
                _ => {}
            }
        }
        query
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (code, message) = match self {
            Self::UnknownTransport => (0, "Transport unknown"),
            Self::UnknownSession => (1, "Session ID unknown"),
            Self::BadMethod => (2, "Bad handshake method"),
            Self::BadRequest => (3, "Bad request"),
            Self::ForbiddenOrigin => (4, "This origin is not allowed here."),
            Self::UnsupportedVersion => (5, "Unsupported protocol version"),
        };
        let is_forbidden = matches!(self, Self::ForbiddenOrigin);
        let status = if is_forbidden { StatusCode::FORBIDDEN } else { StatusCode::BAD_REQUEST };
        let content_type = [(header::CONTENT_TYPE, "application/json")];
        (status, content_type, format!(r#"{{"code":{code},"message":"{message}"}}"#)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_a_version_a_transport_and_perhaps_a_session() {
        let query = Query::parse("EIO=4&transport=polling&t=abc&sid=xyz");
        assert_eq!(query, Query { version: "4", transport: "polling", sid: Some("xyz") });
        assert_eq!(Query::parse(""), Query::default());
        assert_eq!(Query::parse("EIO&&=").version, "");
    }
}
