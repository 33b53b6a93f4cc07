//! `/healthz`: whether the box does its work, for whoever watches it.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// How the box is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// All is well.
    Up,
    /// It does not do its work.
    Down {
        /// Why, in a sentence that tells a stranger nothing he should not know.
        why: String,
    },
}

#[derive(Serialize)]
struct Report<'a> {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
}

impl IntoResponse for Health {
    fn into_response(self) -> Response {
        let (code, report) = match &self {
            Self::Up => (StatusCode::OK, Report { status: "up", why: None }),
            Self::Down { why } => {
                (StatusCode::SERVICE_UNAVAILABLE, Report { status: "down", why: Some(why) })
            }
        };
        let body = serde_json::to_string(&report).unwrap_or_default();
        let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
        (code, headers, body).into_response()
    }
}
