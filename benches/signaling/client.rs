//! One connection of the load: a task that does what it is ordered, answers what it is asked, and
//! counts what it hears. The same for all servers but for the [`Dialect`].

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

use crate::dialect::{Dialect, Heard};

/// Where a server is and how it is spoken to.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) address: SocketAddr,
    pub(crate) dialect: Dialect,
    pub(crate) tls: Option<TlsConnector>,
}

/// What a connection is to do.
pub(crate) enum Order {
    /// Take a seat in this room.
    Join(String),
    /// Send candidates to whoever sits in the other seat.
    Send(Flow),
    /// Give the seat up, and close.
    Leave,
}

/// Candidates to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    pub(crate) frames: usize,
    /// Frames that go out together.
    pub(crate) at_once: usize,
    /// Time between two such groups.
    pub(crate) every: Duration,
    /// Time until the first.
    pub(crate) after: Duration,
}

/// What all connections of a crowd heard.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) joined: AtomicUsize,
    pub(crate) new_peers: AtomicUsize,
    pub(crate) candidates: AtomicUsize,
    pub(crate) closed: AtomicUsize,
}

pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

type Socket = WebSocketStream<Box<dyn Stream>>;

impl Place {
    /// A stream, through TLS where the server has it.
    pub(crate) async fn dial(&self) -> Box<dyn Stream> {
        // One address may open two hundred rooms at once; a crowd has many.
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
    pub(crate) async fn open(&self, tally: Arc<Tally>) -> mpsc::UnboundedSender<Order> {
        let url = format!("ws://localhost:{}{}", self.address.port(), self.dialect.path());
        let config = WebSocketConfig::default().read_buffer_size(4096);
        let stream = self.dial().await;
        let (mut socket, _) = client_async_with_config(url, stream, Some(config)).await.unwrap();
        let dialect = self.dialect;
        let mut ready = dialect == Dialect::Ours;
        while !ready {
            let Message::Text(text) = socket.next().await.unwrap().unwrap() else { continue };
            let heard = dialect.hear(&text);
            if let Heard::Asked(answer) = heard {
                socket.send(Message::text(answer)).await.unwrap();
            }
            ready = heard == Heard::Ready;
        }
        let (orders, given) = mpsc::unbounded_channel();
        let line = Line { socket, dialect, tally, peer: String::new(), flow: None };
        tokio::spawn(line.run(given));
        orders
    }
}

struct Line {
    socket: Socket,
    dialect: Dialect,
    tally: Arc<Tally>,
    peer: String,
    flow: Option<(Flow, Interval)>,
}

impl Line {
    async fn run(mut self, mut given: mpsc::UnboundedReceiver<Order>) {
        loop {
            tokio::select! {
                biased;
                message = self.socket.next() => match message {
                    Some(Ok(Message::Text(text))) => self.hear(&text).await,
                    Some(Ok(Message::Close(frame))) => panic!("the server closes: {frame:?}"),
                    Some(Ok(_)) => {}
                    other => panic!("the connection is lost: {other:?}"),
                },
                order = given.recv() => match order {
                    Some(Order::Join(room)) => self.say(self.dialect.join(&room)).await,
                    Some(Order::Send(flow)) => {
                        let pace = interval_at(Instant::now() + flow.after, flow.every);
                        self.flow = Some((flow, pace));
                    }
                    Some(Order::Leave) | None => break,
                },
                () = turn(&mut self.flow) => self.send_some().await,
            }
        }
        self.say(self.dialect.leave()).await;
        self.socket.close(None).await.unwrap();
        // Until the server has closed too; how it does is its own affair.
        while let Some(Ok(_)) = self.socket.next().await {}
        self.tally.closed.fetch_add(1, Ordering::Relaxed);
    }

    async fn hear(&mut self, text: &str) {
        let count = |counter: &AtomicUsize| counter.fetch_add(1, Ordering::Relaxed);
        match self.dialect.hear(text) {
            Heard::Candidate => drop(count(&self.tally.candidates)),
            Heard::Joined(peer) => {
                self.peer = peer.unwrap_or_default();
                count(&self.tally.joined);
            }
            Heard::NewPeer(peer) => {
                self.peer = peer;
                count(&self.tally.new_peers);
            }
            Heard::Asked(answer) => self.say(answer.to_owned()).await,
            Heard::Ready | Heard::Other => {}
        }
    }

    async fn say(&mut self, text: String) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// The next group of the flow, in one write.
    async fn send_some(&mut self) {
        let Some((flow, _)) = &mut self.flow else { return };
        let group = flow.at_once.min(flow.frames);
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

async fn turn(flow: &mut Option<(Flow, Interval)>) {
    match flow {
        Some((_, pace)) => drop(pace.tick().await),
        None => std::future::pending().await,
    }
}
