//! HTTP long polling, `POST /poll`: the frames of the WebSocket in numbered batches, for clients whose network or browser
//! opens no WebSocket.
//!
//! A session is bound to no connection. A request whose reply was lost is repeated (`numbered_frames.rs`).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::StreamExt as _;
use hyper::body::Body as _;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, error};

use webrtc_box_relay::queue_budget::Charge;
use webrtc_box_signaling::{ConnectionId, MAX_FRAME_BYTES};

use super::hub::{Hub, Route, Transport};
use super::numbered_frames::{Batch, Close, Gap, NumberedFrames};
use super::per_source::{SourceConnections, SourcePermit};
use super::poll_request::{PollRefusal, PollRequest, SessionId, json_reply, no_content};
use super::request_context::RequestContext;
use super::send_queue::SendReceiver;
use super::{Phase, stopping};

/// Bytes of a request at most.
const MAX_BODY_BYTES: usize = 128 * 1024;

/// How long a request may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a request waits for frames. Proxies end requests after 30 to 60 seconds.
const HOLD: Duration = Duration::from_secs(20);

/// How long a session may have no waiting request before it counts as lost.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(15);

/// Sessions in all: no connection is needed to keep one for [`SILENCE_TIMEOUT`].
const MAX_SESSIONS: usize = 16 * 1024;

/// The polling sessions.
pub(super) struct PollingSessions {
    hub: Arc<Hub>,
    sources: SourceConnections,
    phase: watch::Sender<Phase>,
    /// The host and port that lead to this server alone, if it is one of several: the session is here only.
    node: Option<String>,
    sessions: Mutex<HashMap<SessionId, Arc<Session>>>,
}

struct Session {
    conn: ConnectionId,
    /// Held while frames are handled, so that they are handled in order.
    receiving: tokio::sync::Mutex<()>,
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

impl PollingSessions {
    /// Starts the task that ends silent sessions, which runs until the sessions are dropped.
    pub(super) fn start(
        hub: Arc<Hub>,
        sources: SourceConnections,
        phase: watch::Sender<Phase>,
        node: Option<String>,
    ) -> Arc<Self> {
        let sessions = Arc::new(Self { hub, sources, phase, node, sessions: Mutex::default() });
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
                    return self.handle_frames(session, first, &frames).await;
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
        let receiving = tokio::sync::Mutex::default();
        sessions.insert(id, Arc::new(Session { conn, receiving, state, _permit: permit }));
        let session = URL_SAFE_NO_PAD.encode(id);
        let reply = match &self.node {
            Some(node) => json!({ "session": session, "node": node }),
            None => json!({ "session": session }),
        };
        Ok(json_reply(reply.to_string()))
    }

    /// Frames arrived, the first of them with the number `first`. The client may give the request up at any time and repeat it: a
    /// frame counts as received once it is handled.
    async fn handle_frames(
        &self,
        id: Option<SessionId>,
        first: u64,
        frames: &[&RawValue],
    ) -> Result<Response, PollRefusal> {
        let (id, session) = self.find(id)?;
        let _receiving = session.receiving.lock().await;
        let received = session.lock()?.frames.repeated(first, frames.len());
        let Ok(repeated) = received else {
            self.end(id, &session, false);
            return Err(PollRefusal::Gap);
        };
        if repeated == frames.len() {
            // It costs a request all the same.
            self.hub.handle_control_frame(session.conn);
        }
        for frame in &frames[repeated..] {
            let route = match frame.get().len() {
                ..=MAX_FRAME_BYTES => self.hub.route(session.conn, frame.get()).await,
                _ => Route::default(),
            };
            let mut state = session.lock()?;
            state.frames.receive();
            if state.frames.close.is_some() {
                break;
            }
            if frame.get().len() > MAX_FRAME_BYTES {
                self.close_by_server(&session, &mut state, (1009, "a frame has 64 KiB at most"));
            } else if let Err(error) = self.hub.handle_routed(session.conn, frame.get(), route) {
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
            () = stopping(&mut phase) => {}
            () = tokio::time::sleep(HOLD) => {}
        }
        let mut state = session.lock()?;
        if *phase.borrow() == Phase::Stopping {
            // There may be no further request.
            self.close_by_server(&session, &mut state, (1001, "the server is stopping"));
        }
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
