//! Pages for who looks after the box, on a listener of their own: `/metrics`, and `/healthz` in full.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;

/// Asked for each page; must not wait.
pub struct Watched {
    /// How the box is.
    pub health: Box<dyn Fn() -> Overview + Send + Sync>,
    /// `/metrics`: its content type and its text.
    pub metrics: Box<dyn Fn() -> (&'static str, String) + Send + Sync>,
}

/// How the box is, in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Overview {
    /// `up` or `down`.
    pub status: &'static str,
    /// Why it is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What lasts and keeps the relay from part of its work.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
    /// Rooms somebody sits in.
    pub rooms: usize,
    /// Seats taken.
    pub seats: usize,
    /// Allocations of the relay.
    pub allocations: u32,
    /// Those who accept connections.
    pub listeners: Vec<Turner>,
    /// Those who relay.
    pub workers: Vec<Turner>,
}

/// Somebody who must turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Turner {
    /// Such as `https [::]:443` or `relay-0`.
    pub name: String,
    /// Whether it does.
    pub up: bool,
}

/// The pages.
pub fn inside(watched: Watched) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(health))
        .route("/health", get(health))
        .with_state(Arc::new(watched))
}

async fn metrics(State(watched): State<Arc<Watched>>) -> Response {
    let (kind, text) = (watched.metrics)();
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store")], text).into_response()
}

async fn health(State(watched): State<Arc<Watched>>) -> Response {
    let overview = (watched.health)();
    let code = if overview.why.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = serde_json::to_string(&overview).unwrap_or_default();
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (code, headers, body).into_response()
}
