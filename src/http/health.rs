//! Health and metrics over HTTP: the public `/healthz`, and the pages of the metrics listener (`/metrics` and `/healthz` in
//! detail).

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;

/// The health of the server, as any client may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Everything works.
    Up,
    /// A part does not work.
    Down {
        /// The reason, in a sentence that reveals no internals.
        why: String,
    },
}

/// The sources of the metrics listener's pages; called for each request, must not block.
pub struct AdminPages {
    /// The health of the server.
    pub health: Box<dyn Fn() -> HealthReport + Send + Sync>,
    /// `/metrics`: content type and text.
    pub metrics: Box<dyn Fn() -> (&'static str, String) + Send + Sync>,
}

/// The health of the server in detail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HealthReport {
    /// `up` or `down`.
    pub status: &'static str,
    /// Why it is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Persistent faults that impair the relay.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
    /// Rooms with at least one seat taken.
    pub rooms: usize,
    /// Seats taken.
    pub seats: usize,
    /// Allocations of the relay.
    pub allocations: u32,
    /// The listeners.
    pub listeners: Vec<ComponentHealth>,
    /// The relay workers and the timer of the rooms.
    pub workers: Vec<ComponentHealth>,
}

/// A component that sends heartbeats.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ComponentHealth {
    /// Such as `https [::]:443` or `relay-0`.
    pub name: String,
    /// Whether it responds.
    pub up: bool,
}

#[derive(Serialize)]
struct PublicReport<'a> {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
}

impl IntoResponse for Health {
    fn into_response(self) -> Response {
        match &self {
            Self::Up => json_response(true, &PublicReport { status: "up", why: None }),
            Self::Down { why } => json_response(false, &PublicReport { status: "down", why: Some(why) }),
        }
    }
}

/// The routes of the metrics listener.
pub fn admin_routes(pages: AdminPages) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(health))
        .route("/health", get(health))
        .with_state(Arc::new(pages))
}

async fn metrics(State(pages): State<Arc<AdminPages>>) -> Response {
    let (content_type, text) = (pages.metrics)();
    ([(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, "no-store")], text).into_response()
}

async fn health(State(pages): State<Arc<AdminPages>>) -> Response {
    let report = (pages.health)();
    json_response(report.why.is_none(), &report)
}

fn json_response(up: bool, report: &impl Serialize) -> Response {
    let status = if up { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, serde_json::to_string(report).unwrap_or_default()).into_response()
}
