//! The requests and replies of HTTP long polling as JSON; `docs/protocol.md` describes each.

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::stream;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::numbered_frames::{Batch, MAX_BATCH_FRAMES};

/// Random bytes, so that nobody finds the session of another client.
pub(super) type SessionId = [u8; 16];

#[derive(Deserialize)]
struct RawRequest<'b> {
    session: Option<&'b str>,
    seq: Option<u64>,
    #[serde(borrow)]
    frames: Option<Vec<&'b RawValue>>,
    after: Option<u64>,
    close: Option<u16>,
}

/// A request. A session id of another form is none.
pub(super) enum PollRequest<'b> {
    Open,
    Send { session: Option<SessionId>, first: u64, frames: Vec<&'b RawValue> },
    Receive { session: Option<SessionId>, after: u64 },
    Close { session: Option<SessionId>, code: u16 },
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug)]
pub(super) enum PollRefusal {
    BadRequest,
    NoSession,
    Timeout,
    Gap,
    TooLarge,
    /// The source has too many sessions, or too many bytes of requests and replies under way.
    TooMany,
    /// The server stops, or has too many sessions.
    Unavailable,
}

impl<'b> PollRequest<'b> {
    pub(super) fn parse(body: &'b [u8]) -> Result<Self, PollRefusal> {
        let raw: RawRequest<'b> = serde_json::from_slice(body).map_err(|_| PollRefusal::BadRequest)?;
        let session = raw.session.and_then(session_id);
        match (raw.session.is_some(), raw.seq, raw.frames, raw.after, raw.close) {
            (false, None, None, None, None) => Ok(Self::Open),
            (true, Some(first), Some(frames), None, None) if frames.len() <= MAX_BATCH_FRAMES => {
                Ok(Self::Send { session, first, frames })
            }
            (true, None, None, Some(after), None) => Ok(Self::Receive { session, after }),
            (true, None, None, None, Some(code)) => Ok(Self::Close { session, code }),
            _ => Err(PollRefusal::BadRequest),
        }
    }
}

fn session_id(text: &str) -> Option<SessionId> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

impl IntoResponse for Batch {
    fn into_response(self) -> Response {
        let parts = self.into_parts();
        let length = HeaderValue::from(parts.iter().map(Bytes::len).sum::<usize>());
        let body = Body::from_stream(stream::iter(parts.into_iter().map(Ok::<_, std::convert::Infallible>)));
        let mut reply = json_reply(body);
        reply.headers_mut().insert(header::CONTENT_LENGTH, length);
        reply
    }
}

impl IntoResponse for PollRefusal {
    fn into_response(self) -> Response {
        let (status, code, retry_after) = match self {
            Self::BadRequest => (StatusCode::BAD_REQUEST, "bad-request", None),
            Self::NoSession => (StatusCode::NOT_FOUND, "no-session", None),
            Self::Timeout => (StatusCode::REQUEST_TIMEOUT, "timeout", None),
            Self::Gap => (StatusCode::CONFLICT, "gap", None),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", None),
            Self::TooMany => (StatusCode::TOO_MANY_REQUESTS, "too-many", Some(5)),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", Some(5)),
        };
        let mut reply = json_reply(json!({ "error": code }).to_string());
        *reply.status_mut() = status;
        if let Some(seconds) = retry_after {
            reply.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        reply
    }
}

pub(super) fn json_reply(body: impl Into<Body>) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (headers, body.into()).into_response()
}

pub(super) fn no_content() -> Response {
    (StatusCode::NO_CONTENT, [(header::CACHE_CONTROL, "no-store")]).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_fields_of_exactly_one_kind() {
        let parse = |body: &'static str| PollRequest::parse(body.as_bytes());
        assert!(matches!(parse("{}"), Ok(PollRequest::Open)));
        let id = URL_SAFE_NO_PAD.encode([7; 16]);
        let send = format!(r#"{{"session":"{id}","seq":3,"frames":[{{"a" : "\u00e9"}},1]}}"#);
        let Ok(PollRequest::Send { session: Some([7, ..]), first: 3, frames }) =
            PollRequest::parse(send.as_bytes())
        else {
            panic!("frames")
        };
        assert_eq!(frames[0].get(), r#"{"a" : "\u00e9"}"#, "byte for byte");
        assert!(matches!(
            parse(r#"{"session":"x","after":0}"#),
            Ok(PollRequest::Receive { session: None, after: 0 })
        ));
        assert!(matches!(
            parse(r#"{"session":"x","close":1001}"#),
            Ok(PollRequest::Close { code: 1001, .. })
        ));
        for body in [
            "",
            "{",
            "null",
            r#"{"session":"x"}"#,
            r#"{"after":1}"#,
            r#"{"session":"x","after":-1}"#,
            r#"{"session":"x","after":0,"close":1000}"#,
            r#"{"session":"x","seq":1}"#,
        ] {
            assert!(matches!(parse(body), Err(PollRefusal::BadRequest)), "{body}");
        }
    }
}
