//! One session of Engine.IO 4, which is one connection of the hub: over HTTP requests until a WebSocket carries it on, or over a
//! WebSocket from the beginning.
//!
//! A task of its own owns the session. The HTTP requests reach it as [`Command`]s.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tracing::debug;

use webrtc_box_relay::queue_budget::Charge;
use webrtc_box_signaling::ConnectionId;

use super::events;
use super::liveness::Liveness;
use super::packet::{self, EnginePacket, SocketPacket};
use crate::http::hub::Hub;
use crate::http::send_queue::{Outgoing, SendReceiver};
use crate::http::websocket::{self, BATCH_BYTES, End, Socket, WRITE_TIMEOUT};
use crate::http::{Phase, stopping};

/// How long a WebSocket may take to carry a session on.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);

/// Packets of the session itself that may wait: a client causes them faster only on purpose.
const MAX_CONTROL_PACKETS: usize = 32;

/// The close code of a server that stops (RFC 6455 §7.4.1).
const GOING_AWAY: u16 = 1001;

/// The WebSocket of a session.
pub(super) type SessionSocket = Socket<TokioIo<Upgraded>>;

/// A session and its client.
pub(super) struct Session {
    hub: Arc<Hub>,
    conn: ConnectionId,
    queue: SendReceiver,
    /// The ID of the Socket.IO socket; reveals nothing about the session.
    socket_id: String,
    connected: bool,
    /// Packets to send before anything of the queue.
    ready: Vec<String>,
    liveness: Liveness,
}

/// What an HTTP request or a new WebSocket asks of a session.
pub(super) enum Command {
    /// Answer with the next packets.
    Poll(oneshot::Sender<String>),
    /// Take the packets of a body, which counts until it is taken.
    Packets(String, Charge, oneshot::Sender<()>),
    /// Answer requests at once, because a WebSocket is about to carry the session on; or no longer.
    Probe(bool),
    /// Use this WebSocket from now on.
    Upgrade(Box<SessionSocket>),
}

/// The state of a session over HTTP.
#[derive(Default)]
struct Polling {
    /// The request that waits for packets.
    waiting: Option<oneshot::Sender<String>>,
    /// What the last answer cost: the next request shows that the client reads.
    unconfirmed: Vec<Charge>,
    probing: bool,
}

impl Session {
    pub(super) fn new(hub: Arc<Hub>, (conn, queue): (ConnectionId, SendReceiver), socket_id: String) -> Self {
        let liveness = Liveness::new(Instant::now());
        Self { hub, conn, queue, socket_id, connected: false, ready: Vec::new(), liveness }
    }

    /// Runs a session that begins over HTTP until it ends, or until a WebSocket carries it on.
    pub(super) async fn run_polling(
        &mut self,
        mut commands: mpsc::Receiver<Command>,
        phase: &mut watch::Receiver<Phase>,
    ) -> Option<Box<SessionSocket>> {
        let mut polling = Polling::default();
        let end = match self.exchange_polling(&mut commands, &mut polling, phase).await {
            Ok(socket) => {
                polling.answer(&mut self.ready, Some(packet::NOOP));
                return Some(socket);
            }
            Err(end) => end,
        };
        self.disconnect(&end);
        // Clients drop the packets before a close in the same answer. After a disconnect they close by themselves.
        if !self.say_why(&end) {
            self.ready.push(packet::CLOSE.to_owned());
        }
        polling.answer(&mut self.ready, None);
        None
    }

    /// Runs a session over `socket` to its end.
    pub(super) async fn run_socket(
        &mut self,
        mut socket: Box<SessionSocket>,
        phase: &mut watch::Receiver<Phase>,
    ) {
        let end = self.exchange_socket(&mut socket, phase).await;
        self.disconnect(&end);
        match end {
            End::Lost | End::TimedOut => {}
            End::Closed { .. } => websocket::close(*socket, None).await,
            End::Close(code, reason) => {
                self.say_why(&end);
                // The close frame follows in any case.
                let _ = self.write_ready(&mut socket).await;
                let frame = CloseFrame { code: code.into(), reason: reason.into() };
                websocket::close(*socket, Some(frame)).await;
            }
        }
    }

    /// The first packet of a session that begins over a WebSocket.
    pub(super) fn open(&mut self, packet: String) {
        self.ready.push(packet);
    }

    fn disconnect(&self, end: &End) {
        self.hub.disconnect(self.conn, matches!(end, End::Closed { away: true }));
        debug!(connection = self.conn.0, ?end, "Socket.IO session ended");
    }

    /// Disconnects the client with the reason of the server. After a stop of the server it is to reconnect by itself: returns
    /// whether it was disconnected.
    fn say_why(&mut self, end: &End) -> bool {
        let End::Close(code, reason) = end else { return false };
        let disconnects = self.connected && *code != GOING_AWAY;
        if disconnects {
            self.ready.extend([events::closed(*code, reason), packet::DISCONNECT.to_owned()]);
        }
        disconnects
    }

    async fn exchange_polling(
        &mut self,
        commands: &mut mpsc::Receiver<Command>,
        polling: &mut Polling,
        phase: &mut watch::Receiver<Phase>,
    ) -> Result<Box<SessionSocket>, End> {
        let mut timer = std::pin::pin!(sleep_until(self.liveness.next()));
        let mut stop = std::pin::pin!(stopping(phase));
        loop {
            tokio::select! {
                biased;
                () = stop.as_mut() => return Err(End::Close(GOING_AWAY, "the server is stopping")),
                () = timer.as_mut() => self.check_liveness()?,
                next = self.queue.next_charged(), if polling.waiting.is_some() => {
                    self.take_queued(next, &mut polling.unconfirmed)?;
                }
                command = commands.recv() => {
                    if let Some(socket) = self.handle_command(command.ok_or(End::Lost)?, polling).await? {
                        return Ok(socket);
                    }
                }
            }
            self.liveness.set(timer.as_mut());
            polling.answer(&mut self.ready, polling.probing.then_some(packet::NOOP));
        }
    }

    async fn handle_command(
        &mut self,
        command: Command,
        polling: &mut Polling,
    ) -> Result<Option<Box<SessionSocket>>, End> {
        match command {
            Command::Poll(reply) => {
                if polling.waiting.as_ref().is_some_and(|waiting| !waiting.is_closed()) {
                    return Err(End::Close(1008, "two requests wait for packets"));
                }
                polling.waiting = Some(reply);
                polling.unconfirmed.clear();
                // A ping that is ready must not hide the end of the session.
                while let Some(next) = self.queue.next_charged().now_or_never() {
                    self.take_queued(next, &mut polling.unconfirmed)?;
                }
            }
            Command::Packets(body, charge, taken) => {
                let received = self.receive_all(&body).await;
                drop(charge);
                // The client may have given the request up.
                let _ = taken.send(());
                received?;
            }
            Command::Probe(probing) => polling.probing = probing,
            Command::Upgrade(socket) => return Ok(Some(socket)),
        }
        Ok(None)
    }

    async fn exchange_socket(
        &mut self,
        socket: &mut SessionSocket,
        phase: &mut watch::Receiver<Phase>,
    ) -> End {
        let mut timer = std::pin::pin!(sleep_until(self.liveness.next()));
        let mut stop = std::pin::pin!(stopping(phase));
        let mut charges = Vec::new();
        loop {
            if let Err(end) = self.write_ready(socket).await {
                return end;
            }
            charges.clear();
            let step = tokio::select! {
                biased;
                next = self.queue.next_charged() => self.take_queued(next, &mut charges),
                frame = socket.next() => {
                    socket.get_mut().count(&frame);
                    self.receive_frame(frame).await
                }
                () = timer.as_mut() => self.check_liveness(),
                () = stop.as_mut() => Err(End::Close(GOING_AWAY, "the server is stopping")),
            };
            if let Err(end) = step {
                return end;
            }
            self.liveness.set(timer.as_mut());
        }
    }

    /// Writes what is ready. An answer to an HTTP request that was lost may consist of several packets.
    async fn write_ready(&mut self, socket: &mut SessionSocket) -> Result<(), End> {
        if self.ready.is_empty() {
            return Ok(());
        }
        let ready = std::mem::take(&mut self.ready);
        let all = async {
            for packet in ready.iter().flat_map(|packets| packets.split(packet::SEPARATOR)) {
                socket.feed(Message::text(packet)).await.map_err(|_| End::Lost)?;
            }
            socket.flush().await.map_err(|_| End::Lost)
        };
        timeout(WRITE_TIMEOUT, all).await.unwrap_or(Err(End::TimedOut))
    }

    /// Makes the next item of the queue and those behind it ready, up to the size of a batch.
    fn take_queued(
        &mut self,
        mut next: Option<(Outgoing, Charge)>,
        charges: &mut Vec<Charge>,
    ) -> Result<(), End> {
        let mut bytes = 0;
        loop {
            match next {
                Some((Outgoing::Frame(text), charge)) => {
                    bytes += text.len();
                    charges.push(charge);
                    self.ready.extend(self.connected.then(|| events::server_event(&text)).flatten());
                }
                Some((Outgoing::Close(code, reason), _)) => return Err(End::Close(code, reason)),
                None => return Err(End::Close(1008, "too slow")),
            }
            match if bytes < BATCH_BYTES { self.queue.try_next_charged() } else { None } {
                Some(item) => next = Some(item),
                None => return Ok(()),
            }
        }
    }

    fn check_liveness(&mut self) -> Result<(), End> {
        if self.liveness.check(Instant::now())? {
            self.ready.push(packet::PING.to_owned());
        }
        Ok(())
    }

    async fn receive_frame(&mut self, frame: Option<Result<Message, Error>>) -> Result<(), End> {
        match frame {
            Some(Ok(Message::Text(text))) => self.receive(&text).await,
            Some(Ok(Message::Binary(_))) => {
                self.hub.handle_binary(self.conn);
                Ok(())
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {
                self.hub.handle_control_frame(self.conn);
                Ok(())
            }
            Some(Ok(Message::Close(frame))) => {
                let code = frame.map(|frame| frame.code);
                // python-socketio closes before it has sent the packet that disconnects.
                if code == Some(CloseCode::Normal) {
                    self.leave().await?;
                }
                Err(End::Closed { away: code == Some(CloseCode::Away) })
            }
            None => Err(End::Lost),
            Some(Err(error)) => Err(websocket::end_of_error(error)),
        }
    }

    async fn receive_all(&mut self, packets: &str) -> Result<(), End> {
        for packet in packets.split(packet::SEPARATOR) {
            self.receive(packet).await?;
        }
        Ok(())
    }

    /// Handles one packet of Engine.IO. Each counts towards the rate limit.
    async fn receive(&mut self, text: &str) -> Result<(), End> {
        if self.ready.len() > MAX_CONTROL_PACKETS {
            return Err(End::Close(1008, "too many bad messages"));
        }
        match EnginePacket::parse(text) {
            Some(EnginePacket::Message(message)) => return self.receive_message(message).await,
            Some(EnginePacket::Close) => return Err(End::Closed { away: false }),
            Some(EnginePacket::Pong) => {
                // Answers keep no session that the server has closed.
                if !self.queue.is_closed() {
                    self.liveness.pong(Instant::now());
                }
                self.hub.handle_control_frame(self.conn);
            }
            Some(EnginePacket::Other) => self.hub.handle_control_frame(self.conn),
            None => self.hub.handle_binary(self.conn),
        }
        Ok(())
    }

    async fn receive_message(&mut self, text: &str) -> Result<(), End> {
        match SocketPacket::parse(text) {
            Some(SocketPacket::Connect) if !self.connected => {
                self.connected = true;
                self.liveness.connect_by = None;
                self.ready.push(packet::connected(&self.socket_id));
                self.hub.handle_control_frame(self.conn);
            }
            Some(SocketPacket::ConnectOther(namespace)) => {
                self.ready.push(packet::no_such_namespace(namespace));
                self.hub.handle_binary(self.conn);
            }
            Some(SocketPacket::Disconnect) if self.connected => {
                self.leave().await?;
                return Err(End::Closed { away: false });
            }
            Some(SocketPacket::Event(event)) if self.connected => match events::client_frame(&event) {
                Some(frame) => self.handle_frame(&frame).await?,
                None => self.hub.handle_control_frame(self.conn),
            },
            Some(SocketPacket::Connect | SocketPacket::Disconnect | SocketPacket::Event(_)) | None => {
                self.hub.handle_binary(self.conn);
            }
        }
        Ok(())
    }

    /// The client will not return: the other participant learns it at once.
    async fn leave(&self) -> Result<(), End> {
        self.handle_frame(r#"{"type":"leave"}"#).await
    }

    async fn handle_frame(&self, frame: &str) -> Result<(), End> {
        self.hub.handle_text(self.conn, frame).await.map_err(websocket::no_randomness)
    }
}

impl Polling {
    /// Answers the request that waits with all that is `ready`, or with `otherwise`. If the request is gone, the packets wait for the
    /// next one.
    fn answer(&mut self, ready: &mut Vec<String>, otherwise: Option<&str>) {
        let Some(waiting) = self.waiting.take() else { return };
        let body = match otherwise {
            _ if !ready.is_empty() => std::mem::take(ready).join(&packet::SEPARATOR.to_string()),
            Some(packet) => packet.to_owned(),
            None => return self.waiting = Some(waiting),
        };
        if let Err(unsent) = waiting.send(body)
            && unsent != packet::NOOP
        {
            ready.push(unsent);
        }
    }
}

/// Lets `socket` carry on the session that `commands` reach, after the exchange that shows that it works in both directions.
pub(super) async fn upgrade(mut socket: SessionSocket, commands: mpsc::Sender<Command>) {
    let probe = async {
        expect(&mut socket, packet::PROBE).await?;
        socket.send(Message::text(packet::PROBE_ANSWER)).await.ok()?;
        commands.send(Command::Probe(true)).await.ok()?;
        expect(&mut socket, packet::UPGRADE).await
    };
    let command = match timeout(UPGRADE_TIMEOUT, probe).await {
        Ok(Some(())) => Command::Upgrade(Box::new(socket)),
        Ok(None) | Err(_) => Command::Probe(false),
    };
    // The session may have ended.
    let _ = commands.send(command).await;
}

/// Waits for the text `expected`; `None` if something else arrives.
async fn expect(socket: &mut SessionSocket, expected: &str) -> Option<()> {
    loop {
        match socket.next().await?.ok()? {
            Message::Text(text) => return (text.as_str() == expected).then_some(()),
            Message::Ping(_) | Message::Pong(_) => {}
            Message::Binary(_) | Message::Close(_) | Message::Frame(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_for_a_request_that_is_gone_wait_for_the_next() {
        let mut polling = Polling::default();
        let mut ready = vec!["a".to_owned(), "b".to_owned()];
        let (reply, request) = oneshot::channel();
        polling.waiting = Some(reply);
        drop(request);
        polling.answer(&mut ready, None);
        let (reply, mut request) = oneshot::channel();
        polling.waiting = Some(reply);
        polling.answer(&mut ready, None);
        assert_eq!(request.try_recv().as_deref(), Ok("a\x1eb"));
        assert!(ready.is_empty());
    }
}
