//! One client of the load generator: a task that executes commands, answers requests and counts received frames. Only the
//! [`Dialect`] differs between servers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpSocket;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, interval_at};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::dialect::{Dialect, Incoming};

/// The address and framing of a server.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    pub(crate) dialect: Dialect,
    pub(crate) tls: Option<TlsConnector>,
}

/// A command for a client.
pub(crate) enum ClientCommand {
    /// Join this room.
    Join(String),
    /// Send candidates to the peer.
    Send(Flow),
    /// Leave and close.
    Leave,
}

/// Candidates to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    pub(crate) frames: usize,
    /// Frames per group.
    pub(crate) group: usize,
    /// Interval of the groups.
    pub(crate) interval: Duration,
    /// Delay of the first group.
    pub(crate) delay: Duration,
}

/// What all clients together received.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) joined: AtomicUsize,
    pub(crate) new_peers: AtomicUsize,
    pub(crate) candidates: AtomicUsize,
    pub(crate) closed: AtomicUsize,
}

pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

type Socket = WebSocketStream<Box<dyn Stream>>;

impl Endpoint {
    /// Connects, with TLS if the server uses it.
    pub(crate) async fn dial(&self) -> Box<dyn Stream> {
        // One source may open only two hundred rooms at once, so the clients use many addresses.
        static DIALED: AtomicU32 = AtomicU32::new(0);
        let [_, high, middle, low] = (DIALED.fetch_add(1, Ordering::Relaxed) / 16).to_be_bytes();
        let tcp = TcpSocket::new_v4().unwrap();
        tcp.bind(([127, 1 + high, middle, low], 0).into()).unwrap();
        let tcp = tcp.connect(self.address).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        match &self.tls {
            None => Box::new(tcp),
            Some(tls) => {
                Box::new(tls.connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap())
            }
        }
    }

    /// A connection that is ready to join.
    pub(crate) async fn open(&self, counters: Arc<Counters>) -> mpsc::UnboundedSender<ClientCommand> {
        let url = format!("ws://localhost:{}{}", self.address.port(), self.dialect.path());
        let config = WebSocketConfig::default().read_buffer_size(4096);
        let stream = self.dial().await;
        let (mut socket, _) = client_async_with_config(url, stream, Some(config)).await.unwrap();
        let dialect = self.dialect;
        let mut ready = dialect == Dialect::WebrtcBox;
        while !ready {
            let Message::Text(text) = socket.next().await.unwrap().unwrap() else { continue };
            let frame = dialect.parse(&text);
            if let Incoming::ReplyWith(answer) = frame {
                socket.send(Message::text(answer)).await.unwrap();
            }
            ready = frame == Incoming::Ready;
        }
        let (sender, commands) = mpsc::unbounded_channel();
        let client = Client { socket, dialect, counters, peer: String::new(), flow: None };
        tokio::spawn(client.run(commands));
        sender
    }
}

struct Client {
    socket: Socket,
    dialect: Dialect,
    counters: Arc<Counters>,
    peer: String,
    flow: Option<(Flow, Interval)>,
}

impl Client {
    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<ClientCommand>) {
        loop {
            tokio::select! {
                biased;
                message = self.socket.next() => match message {
                    Some(Ok(Message::Text(text))) => self.receive(&text).await,
                    Some(Ok(Message::Close(frame))) => panic!("the server closed the connection: {frame:?}"),
                    Some(Ok(_)) => {}
                    other => panic!("the connection is lost: {other:?}"),
                },
                command = commands.recv() => match command {
                    Some(ClientCommand::Join(room)) => self.send(self.dialect.join(&room)).await,
                    Some(ClientCommand::Send(flow)) => {
                        let pace = interval_at(Instant::now() + flow.delay, flow.interval);
                        self.flow = Some((flow, pace));
                    }
                    Some(ClientCommand::Leave) | None => break,
                },
                () = next_tick(&mut self.flow) => self.send_group().await,
            }
        }
        self.send(self.dialect.leave()).await;
        self.socket.close(None).await.unwrap();
        // Until the server has closed too.
        while let Some(Ok(_)) = self.socket.next().await {}
        self.counters.closed.fetch_add(1, Ordering::Relaxed);
    }

    async fn receive(&mut self, text: &str) {
        let count = |counter: &AtomicUsize| counter.fetch_add(1, Ordering::Relaxed);
        match self.dialect.parse(text) {
            Incoming::Candidate => drop(count(&self.counters.candidates)),
            Incoming::Joined(peer) => {
                self.peer = peer.unwrap_or_default();
                count(&self.counters.joined);
            }
            Incoming::NewPeer(peer) => {
                self.peer = peer;
                count(&self.counters.new_peers);
            }
            Incoming::ReplyWith(answer) => self.send(answer.to_owned()).await,
            Incoming::Ready | Incoming::Other => {}
        }
    }

    async fn send(&mut self, text: String) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// Sends the next group in one write.
    async fn send_group(&mut self) {
        let Some((flow, _)) = &mut self.flow else { return };
        let group = flow.group.min(flow.frames);
        flow.frames -= group;
        if flow.frames == 0 {
            self.flow = None;
        }
        let text = self.dialect.candidate(&self.peer);
        for _ in 0..group {
            self.socket.feed(Message::text(text.clone())).await.unwrap();
        }
        self.socket.flush().await.unwrap();
    }
}

async fn next_tick(flow: &mut Option<(Flow, Interval)>) {
    match flow {
        Some((_, pace)) => drop(pace.tick().await),
        None => std::future::pending().await,
    }
}
