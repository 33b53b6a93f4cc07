//! HTTP long polling, `POST /poll`: the frames of the WebSocket in numbered batches, for clients whose network or browser
//! opens no WebSocket.
//!
//! A session is bound to no connection. What was sent counts towards the limits of its queue until the client has
//! acknowledged it and every reply that contains it is written or dropped.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::StreamExt as _;
use futures_util::stream;
use hyper::body::Body as _;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, error};

use webrtc_box_relay::queue_budget::Charge;
use webrtc_box_signaling::{ConnectionId, MAX_FRAME_BYTES};

use super::hub::{Hub, Outgoing, SendReceiver, Transport};
use super::per_source::{SourceConnections, SourcePermit};
use super::request_context::RequestContext;
use super::{Phase, stopping};

/// Bytes of a request at most.
const MAX_BODY_BYTES: usize = 128 * 1024;

/// How long a request may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Frames of one request and of one reply at most.
const MAX_BATCH_FRAMES: usize = 256;

/// Bytes of frames from which on no further one is added to a reply.
const BATCH_BYTES: usize = 64 * 1024;

/// How long a request waits for frames. Proxies end requests after 30 to 60 seconds.
const HOLD: Duration = Duration::from_secs(20);

/// How long a session may have no waiting request before it counts as lost.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(15);

/// Sessions in all: no connection is needed to keep one for [`SILENCE_TIMEOUT`].
const MAX_SESSIONS: usize = 16 * 1024;

/// Random bits, so that nobody finds the session of another client.
type SessionId = [u8; 16];

/// The code and the reason of a close frame.
type Close = (u16, &'static str);

/// The polling sessions.
pub(super) struct PollingSessions {
    hub: Arc<Hub>,
    sources: SourceConnections,
    phase: watch::Sender<Phase>,
    sessions: Mutex<HashMap<SessionId, Arc<Session>>>,
}

struct Session {
    conn: ConnectionId,
    state: Mutex<SessionState>,
    _permit: SourcePermit,
}

struct SessionState {
    frames: NumberedFrames,
    queue: SendReceiver,
    /// Counts the requests for frames. Only the newest one waits.
    newest: u64,
    /// Wakes the request that waits.
    waker: Option<Waker>,
    /// Requests for frames that are not answered.
    waiting: u32,
    /// Since when there is none.
    silent_since: Instant,
    /// The client closed the session, violated the protocol, or was silent for too long.
    ended: bool,
}

/// The frames of a session in both directions. Each direction counts from 1.
#[derive(Debug, Default)]
struct NumberedFrames {
    /// The last frame from the client.
    received: u64,
    /// The last frame that the client acknowledged.
    acknowledged: u64,
    /// The frames for the client after that one.
    unacknowledged: VecDeque<Bytes>,
    /// The end of the session, after these frames.
    close: Option<Close>,
}

/// Frames for the client. The first one has the number `first`.
#[derive(Debug, PartialEq, Eq)]
struct Batch {
    first: u64,
    frames: Vec<Bytes>,
    close: Option<Close>,
}

/// A number does not follow the frames before it.
#[derive(Debug, PartialEq, Eq)]
struct Gap;

/// A frame that counts towards the limits of its queue as long as a reply contains it.
struct ChargedFrame {
    text: String,
    _charge: Charge,
}

#[derive(Deserialize)]
struct RawRequest<'b> {
    session: Option<&'b str>,
    seq: Option<u64>,
    #[serde(borrow)]
    frames: Option<Vec<&'b RawValue>>,
    after: Option<u64>,
    close: Option<u16>,
}

/// A request; `docs/protocol.md` describes each.
enum PollRequest<'b> {
    Open,
    Send { session: Option<SessionId>, first: u64, frames: Vec<&'b RawValue> },
    Receive { session: Option<SessionId>, after: u64 },
    Close { session: Option<SessionId>, code: u16 },
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug)]
enum PollRefusal {
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

impl PollingSessions {
    /// Starts the task that ends silent sessions, which runs until the sessions are dropped.
    pub(super) fn start(hub: Arc<Hub>, sources: SourceConnections, phase: watch::Sender<Phase>) -> Arc<Self> {
        let sessions = Arc::new(Self { hub, sources, phase, sessions: Mutex::default() });
        tokio::spawn(end_silent_sessions(Arc::downgrade(&sessions)));
        sessions
    }

    /// Answers a request, whose origin is allowed.
    pub(super) async fn respond(&self, context: &RequestContext, body: Body) -> Response {
        self.try_respond(context, body).await.unwrap_or_else(IntoResponse::into_response)
    }

    async fn try_respond(&self, context: &RequestContext, body: Body) -> Result<Response, PollRefusal> {
        let (session, after) = {
            let read = timeout(BODY_TIMEOUT, self.read(context.source, body)).await;
            let (body, _charge) = read.unwrap_or(Err(PollRefusal::Timeout))?;
            match PollRequest::parse(&body)? {
                PollRequest::Open => return self.open(context),
                PollRequest::Send { session, first, frames } => {
                    return self.handle_frames(session, first, &frames);
                }
                PollRequest::Close { session, code } => return self.close(session, code),
                PollRequest::Receive { session, after } => (session, after),
            }
        };
        self.next_batch(session, after).await.map(IntoResponse::into_response)
    }

    /// The body of a request, which counts towards the limits of its source before it arrives.
    async fn read(&self, source: IpAddr, body: Body) -> Result<(Vec<u8>, Charge), PollRefusal> {
        let length = body.size_hint().upper().map_or(MAX_BODY_BYTES, |length| length as usize);
        if length > MAX_BODY_BYTES {
            return Err(PollRefusal::TooLarge);
        }
        let charge = self.hub.charge_request(source, length).ok_or(PollRefusal::TooMany)?;
        let (mut bytes, mut chunks) = (Vec::new(), body.into_data_stream());
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| PollRefusal::BadRequest)?;
            if bytes.len() + chunk.len() > MAX_BODY_BYTES {
                return Err(PollRefusal::TooLarge);
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok((bytes, charge))
    }

    fn open(&self, context: &RequestContext) -> Result<Response, PollRefusal> {
        if *self.phase.borrow() == Phase::Stopping {
            return Err(PollRefusal::Unavailable);
        }
        let permit = self.sources.enter(context.source).ok_or(PollRefusal::TooMany)?;
        let mut id = SessionId::default();
        getrandom::fill(&mut id).map_err(|error| {
            error!(%error, "cannot draw random bytes for a session");
            PollRefusal::Unavailable
        })?;
        let host = context.authority.as_ref().map_or("localhost", |authority| &authority.host);
        let mut sessions = self.lock();
        if sessions.len() >= MAX_SESSIONS {
            return Err(PollRefusal::Unavailable);
        }
        let (conn, queue) = self.hub.connect(Transport::Polling, host.to_owned(), context.source);
        let state = Mutex::new(SessionState::new(queue, Instant::now()));
        sessions.insert(id, Arc::new(Session { conn, state, _permit: permit }));
        Ok(json_reply(json!({ "session": URL_SAFE_NO_PAD.encode(id) }).to_string()))
    }

    /// Frames arrived, the first of them with the number `first`.
    fn handle_frames(
        &self,
        id: Option<SessionId>,
        first: u64,
        frames: &[&RawValue],
    ) -> Result<Response, PollRefusal> {
        let (id, session) = self.find(id)?;
        let mut state = session.lock()?;
        let Ok(repeated) = state.frames.receive(first, frames.len()) else {
            drop(state);
            self.end(id, &session, false);
            return Err(PollRefusal::Gap);
        };
        if repeated == frames.len() {
            // It costs a request all the same.
            self.hub.handle_control_frame(session.conn);
        }
        for frame in &frames[repeated..] {
            if state.frames.close.is_some() {
                break;
            }
            if frame.get().len() > MAX_FRAME_BYTES {
                self.close_by_server(&session, &mut state, (1009, "a frame has 64 KiB at most"));
            } else if let Err(error) = self.hub.handle_text(session.conn, frame.get()) {
                error!(%error, "cannot draw random bytes for a seat");
                self.close_by_server(&session, &mut state, (1011, "internal error"));
            }
        }
        Ok(no_content())
    }

    fn close(&self, id: Option<SessionId>, code: u16) -> Result<Response, PollRefusal> {
        let (id, session) = self.find(id)?;
        self.end(id, &session, code == 1001);
        Ok(no_content())
    }

    /// The frames after the number `after`, as soon as there are any.
    async fn next_batch(&self, id: Option<SessionId>, after: u64) -> Result<Batch, PollRefusal> {
        let (id, session) = self.find(id)?;
        self.hub.handle_control_frame(session.conn);
        let acknowledged = session.lock()?.frames.acknowledge(after);
        match acknowledged {
            Ok(true) => {}
            // A repeated request that was overtaken: nobody waits for its reply.
            Ok(false) => return Ok(Batch::empty(after)),
            Err(Gap) => {
                self.end(id, &session, false);
                return Err(PollRefusal::Gap);
            }
        }
        let waiting = WaitingRequest::new(&session);
        let mut phase = self.phase.subscribe();
        tokio::select! {
            biased;
            () = std::future::poll_fn(|cx| waiting.poll_ready(cx)) => {}
            () = stopping(&mut phase) => {
                let mut state = session.lock()?;
                self.close_by_server(&session, &mut state, (1001, "the server is stopping"));
            }
            () = tokio::time::sleep(HOLD) => {}
        }
        let state = session.lock()?;
        Ok(if waiting.is_newest(&state) { state.frames.batch() } else { Batch::empty(after) })
    }

    /// The client learns the end from its next request for frames.
    fn close_by_server(&self, session: &Session, state: &mut SessionState, close: Close) {
        debug!(connection = session.conn.0, code = close.0, "polling session closed");
        self.hub.disconnect(session.conn, false);
        state.frames.close.get_or_insert(close);
        state.wake();
    }

    /// Ends a session; `closing`: its page was closed or left.
    fn end(&self, id: SessionId, session: &Session, closing: bool) {
        self.lock().remove(&id);
        session.end();
        self.hub.disconnect(session.conn, closing);
        debug!(connection = session.conn.0, closing, "polling session ended");
    }

    fn find(&self, id: Option<SessionId>) -> Result<(SessionId, Arc<Session>), PollRefusal> {
        let found = id.and_then(|id| Some((id, Arc::clone(self.lock().get(&id)?))));
        found.ok_or(PollRefusal::NoSession)
    }

    /// Ends the sessions that have been silent for too long, and returns when the next one may be.
    fn end_silent(&self, now: Instant) -> Instant {
        let (mut next, mut silent) = (now + SILENCE_TIMEOUT, Vec::new());
        let mut sessions = self.lock();
        for (id, session) in &*sessions {
            match session.expiry() {
                Some(expiry) if expiry <= now => silent.push((*id, Arc::clone(session))),
                Some(expiry) => next = next.min(expiry),
                None => {}
            }
        }
        if sessions.len() < sessions.capacity() / 4 {
            sessions.shrink_to_fit();
        }
        drop(sessions);
        silent.iter().for_each(|(id, session)| self.end(*id, session, false));
        next
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sessions whose silence ends at almost the same time are handled together.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

async fn end_silent_sessions(sessions: Weak<PollingSessions>) {
    loop {
        let now = Instant::now();
        // A session that becomes silent meanwhile expires later than all that were checked.
        let Some(next) = sessions.upgrade().map(|sessions| sessions.end_silent(now)) else { return };
        sleep_until(next.max(now + SWEEP_INTERVAL)).await;
    }
}

impl Session {
    /// The state, unless the session has ended.
    fn lock(&self) -> Result<MutexGuard<'_, SessionState>, PollRefusal> {
        let state = self.state();
        if state.ended { Err(PollRefusal::NoSession) } else { Ok(state) }
    }

    fn state(&self) -> MutexGuard<'_, SessionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        let mut state = self.state();
        state.ended = true;
        state.wake();
    }

    /// When the session counts as lost; `None` while a request waits.
    fn expiry(&self) -> Option<Instant> {
        let state = self.state();
        (state.waiting == 0).then(|| state.silent_since + SILENCE_TIMEOUT)
    }
}

impl SessionState {
    fn new(queue: SendReceiver, now: Instant) -> Self {
        let frames = NumberedFrames::default();
        Self { frames, queue, newest: 0, waker: None, waiting: 0, silent_since: now, ended: false }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// A request for frames that is not answered, perhaps because the connection of its client broke.
struct WaitingRequest<'s> {
    session: &'s Session,
    number: u64,
}

impl<'s> WaitingRequest<'s> {
    /// The request that waits until now is answered.
    fn new(session: &'s Session) -> Self {
        let mut state = session.state();
        state.waiting += 1;
        state.newest += 1;
        state.wake();
        Self { session, number: state.newest }
    }

    fn is_newest(&self, state: &SessionState) -> bool {
        state.newest == self.number
    }

    /// Ready once there is something to answer.
    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let state = &mut *self.session.state();
        if state.ended || !self.is_newest(state) {
            return Poll::Ready(());
        }
        while state.frames.close.is_none()
            && let Poll::Ready(item) = state.queue.poll_charged(cx)
        {
            state.frames.push(item);
        }
        if !state.frames.batch_is_empty() {
            return Poll::Ready(());
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for WaitingRequest<'_> {
    fn drop(&mut self) {
        let mut state = self.session.state();
        state.waiting -= 1;
        // A closed session lasts only until its client has learned of it.
        if state.frames.close.is_none() {
            state.silent_since = Instant::now();
        }
    }
}

impl NumberedFrames {
    /// `count` frames arrived, the first of them with the number `first`; returns how many of them had arrived before.
    fn receive(&mut self, first: u64, count: usize) -> Result<usize, Gap> {
        let repeated = (self.received + 1).checked_sub(first).filter(|_| first > 0).ok_or(Gap)?;
        let repeated = usize::try_from(repeated).map_or(count, |repeated| repeated.min(count));
        self.received += (count - repeated) as u64;
        Ok(repeated)
    }

    /// The client has all frames up to `number`; `false` if it acknowledged more before.
    fn acknowledge(&mut self, number: u64) -> Result<bool, Gap> {
        let Some(count) = number.checked_sub(self.acknowledged) else { return Ok(false) };
        let count = usize::try_from(count).map_err(|_| Gap)?;
        if count > self.unacknowledged.len() {
            return Err(Gap);
        }
        self.unacknowledged.drain(..count);
        self.acknowledged = number;
        Ok(true)
    }

    /// The next item of the send queue; `None`: the client did not read.
    fn push(&mut self, item: Option<(Outgoing, Charge)>) {
        match item {
            Some((Outgoing::Frame(text), charge)) => {
                self.unacknowledged.push_back(Bytes::from_owner(ChargedFrame { text, _charge: charge }));
            }
            Some((Outgoing::Close(code, reason), _)) => self.close = Some((code, reason)),
            None => self.close = Some((1008, "too slow")),
        }
    }

    fn batch_is_empty(&self) -> bool {
        self.unacknowledged.is_empty() && self.close.is_none()
    }

    /// The first unacknowledged frames, as many as one reply contains.
    fn batch(&self) -> Batch {
        let mut bytes = 0;
        let fits = |frame: &&Bytes| {
            let is_first_or_fits = bytes < BATCH_BYTES;
            bytes += frame.len();
            is_first_or_fits
        };
        let frames: Vec<Bytes> =
            self.unacknowledged.iter().take(MAX_BATCH_FRAMES).take_while(fits).cloned().collect();
        let close = self.close.filter(|_| frames.len() == self.unacknowledged.len());
        Batch { first: self.acknowledged + 1, frames, close }
    }
}

impl AsRef<[u8]> for ChargedFrame {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl Batch {
    fn empty(after: u64) -> Self {
        Self { first: after.saturating_add(1), frames: Vec::new(), close: None }
    }

    /// The parts of the reply. The frames are not copied.
    fn into_parts(self) -> Vec<Bytes> {
        let mut parts = vec![Bytes::from(format!("{{\"seq\":{},\"frames\":[", self.first))];
        for (index, frame) in self.frames.into_iter().enumerate() {
            if index > 0 {
                parts.push(Bytes::from_static(b","));
            }
            parts.push(frame);
        }
        parts.push(match self.close {
            Some((code, reason)) => {
                Bytes::from(format!("],\"close\":{}}}", json!({ "code": code, "reason": reason })))
            }
            None => Bytes::from_static(b"]}"),
        });
        parts
    }
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

impl<'b> PollRequest<'b> {
    fn parse(body: &'b [u8]) -> Result<Self, PollRefusal> {
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

fn json_reply(body: impl Into<Body>) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (headers, body.into()).into_response()
}

fn no_content() -> Response {
    (StatusCode::NO_CONTENT, [(header::CACHE_CONTROL, "no-store")]).into_response()
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

#[cfg(test)]
mod tests {
    use webrtc_box_relay::queue_budget::QueueBudget;

    use super::*;

    /// The frames "1", "2" and so on, up to `count`.
    fn with_frames(count: usize, length: usize) -> NumberedFrames {
        let share = QueueBudget::new(1 << 30).enter(None).queue(1 << 30, 0);
        let mut frames = NumberedFrames::default();
        for number in 1..=count {
            let text = format!("{number:>length$}");
            frames.push(Some((Outgoing::Frame(text), share.charge(length).unwrap())));
        }
        frames
    }

    fn texts(batch: &Batch) -> Vec<&str> {
        batch.frames.iter().map(|frame| std::str::from_utf8(frame).unwrap().trim()).collect()
    }

    #[test]
    fn repeated_frames_are_skipped_and_a_gap_is_an_error() {
        let mut frames = NumberedFrames::default();
        assert_eq!(frames.receive(1, 3), Ok(0));
        assert_eq!(frames.receive(1, 3), Ok(3), "a repeated request");
        assert_eq!(frames.receive(2, 4), Ok(2), "with two new frames");
        assert_eq!(frames.received, 5);
        assert_eq!(
            (frames.receive(7, 1), frames.receive(0, 1), frames.receive(u64::MAX, 1)),
            (Err(Gap), Err(Gap), Err(Gap))
        );
        assert_eq!(frames.receive(6, 0), Ok(0));
        assert_eq!(frames.receive(6, 1), Ok(0));
    }

    #[test]
    fn frames_are_sent_again_until_they_are_acknowledged() {
        let mut frames = with_frames(3, 1);
        for _ in 0..2 {
            assert_eq!(texts(&frames.batch()), ["1", "2", "3"]);
        }
        assert_eq!(frames.acknowledge(2), Ok(true));
        let batch = frames.batch();
        assert_eq!((batch.first, texts(&batch)), (3, vec!["3"]));
        assert_eq!(frames.acknowledge(1), Ok(false), "an overtaken request");
        assert_eq!((frames.acknowledge(4), frames.acknowledge(u64::MAX)), (Err(Gap), Err(Gap)));
        assert_eq!(frames.acknowledge(3), Ok(true));
        assert!(frames.batch_is_empty());
    }

    #[test]
    fn a_batch_is_limited_and_the_close_follows_the_last_frame() {
        let mut frames = with_frames(4, BATCH_BYTES - 1);
        frames.push(None);
        assert_eq!((frames.batch().frames.len(), frames.batch().close), (2, None));
        frames.acknowledge(2).unwrap();
        assert_eq!((frames.batch().frames.len(), frames.batch().close), (2, Some((1008, "too slow"))));
        frames.acknowledge(4).unwrap();
        let reply = frames.batch().into_parts().concat();
        assert_eq!(reply, br#"{"seq":5,"frames":[],"close":{"code":1008,"reason":"too slow"}}"#);
        assert_eq!(with_frames(MAX_BATCH_FRAMES + 1, 3).batch().frames.len(), MAX_BATCH_FRAMES);
    }

    #[test]
    fn acknowledged_frames_count_until_their_reply_is_written() {
        let share = QueueBudget::new(1 << 20).enter(None).queue(1 << 20, 0);
        let mut frames = NumberedFrames::default();
        frames.push(Some((Outgoing::Frame("frame".into()), share.charge(5).unwrap())));
        let reply = frames.batch().into_parts();
        frames.acknowledge(1).unwrap();
        assert_eq!((reply.concat().as_slice(), share.queued()), (&br#"{"seq":1,"frames":[frame]}"#[..], 5));
        drop(reply);
        assert_eq!(share.queued(), 0);
    }

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
