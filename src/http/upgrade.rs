//! The opening handshake of a WebSocket (RFC 6455 §4.2): a request becomes a socket, or is refused.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::sync::watch;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tracing::debug;

use super::Phase;
use super::hub::Hub;
use super::per_source::SourcePermit;
use super::request_context::Visit;
use super::routes::Desk;
use super::websocket::{Metered, converse};
use webrtc_box_signaling::MAX_FRAME_BYTES;

/// Bytes read at once, and kept for it by every connection: half a dozen candidates. The crate's
/// 128 KiB would be most of what a connection costs.
const READ_BUFFER: usize = 2 * 1024;

/// Bytes gathered before they are written; a frame is flushed at once anyhow.
const WRITE_BUFFER: usize = 4 * 1024;

/// Bytes that may wait inside the WebSocket: two frames, as one is written before the next.
const LONGEST_WRITE: usize = 2 * MAX_FRAME_BYTES;

/// Opens a WebSocket, if `request` asks for one and may.
pub(super) fn open(desk: &Desk, visit: &Visit, mut request: Request<Body>) -> Response {
    if !desk.origins.allow(visit, request.headers()) {
        return foreign_origin();
    }
    let Some(key) = handshake_key(&request) else { return not_a_handshake() };
    let Some(upgrade) = request.extensions_mut().remove::<OnUpgrade>() else { return not_a_handshake() };
    // Behind a proxy all have one address; there the people are counted, not the connections.
    let permit = match visit.proxied.then(|| desk.sources.enter(visit.source)) {
        Some(None) => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Some(Some(permit)) => Some(permit),
        None => None,
    };
    let host = visit.authority.as_ref().map_or("localhost", |authority| &authority.host);
    let phase = desk.phase.subscribe();
    let client = (host.to_owned(), visit.source);
    tokio::spawn(begin(Arc::clone(&desk.hub), upgrade, client, phase, permit));
    let accept = [
        (header::CONNECTION, "upgrade".to_owned()),
        (header::UPGRADE, "websocket".to_owned()),
        (header::SEC_WEBSOCKET_ACCEPT, derive_accept_key(key.as_bytes())),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, accept).into_response()
}

async fn begin(
    hub: Arc<Hub>,
    upgrade: OnUpgrade,
    client: (String, IpAddr),
    phase: watch::Receiver<Phase>,
    permit: Option<SourcePermit>,
) {
    let upgraded = match upgrade.await {
        Ok(upgraded) => upgraded,
        Err(error) => return debug!(%error, "the connection ended before it became a WebSocket"),
    };
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(LONGEST_WRITE)
        .max_message_size(Some(MAX_FRAME_BYTES))
        .max_frame_size(Some(MAX_FRAME_BYTES));
    let stream = Metered::new(TokioIo::new(upgraded));
    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    converse(socket, &hub, client, phase).await;
    drop(permit);
}

/// What a page of another origin is answered.
pub(super) fn foreign_origin() -> Response {
    (StatusCode::FORBIDDEN, "This origin is not allowed here.\n").into_response()
}

/// The key of a proper handshake.
fn handshake_key(request: &Request<Body>) -> Option<HeaderValue> {
    let headers = request.headers();
    let proper = request.method() == Method::GET
        && has_token(headers, &header::CONNECTION, "upgrade")
        && has_token(headers, &header::UPGRADE, "websocket")
        && has_token(headers, &header::SEC_WEBSOCKET_VERSION, "13");
    // Sixteen bytes of base64; what they are is the client's own affair.
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|key| key.len() == 24);
    key.filter(|_| proper).cloned()
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|given| given.trim().eq_ignore_ascii_case(token))
}

/// RFC 9110 §15.5.22, with the version we speak (RFC 6455 §4.4).
fn not_a_handshake() -> Response {
    let headers = [(header::UPGRADE, "websocket"), (header::SEC_WEBSOCKET_VERSION, "13")];
    (StatusCode::UPGRADE_REQUIRED, headers, "A WebSocket is spoken here.\n").into_response()
}
