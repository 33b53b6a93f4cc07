//! The memory of thousands of idle WebSockets over TLS.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use rustix::process::{Resource, getrlimit, setrlimit};
use rustls::ClientConfig;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::harness::environment::Environment;
use crate::harness::participant::Participant;
use crate::harness::server_process::ServerProcess;
use crate::harness::turn_client::TEST_TIMEOUT;

/// The default of `IDLE_WEBSOCKETS`; 10,000 need as many descriptors.
const CLIENTS: usize = 2000;
/// Concurrent handshakes.
const HANDSHAKES: usize = 8;
const GOAL_KIB: f64 = 16.0;

/// Raises the limit of open files of this process, and of servers it starts, to the hard limit.
pub fn raise_descriptor_limit() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    limit.current.unwrap_or(u64::MAX)
}

/// State that all clients share.
struct Clients {
    config: Arc<ClientConfig>,
    port: u16,
    handshakes: Semaphore,
    open: AtomicUsize,
    joined: AtomicUsize,
    /// A permit per client that may join.
    joins: Semaphore,
}

impl Clients {
    /// One client: connects, joins when it gets a permit, and answers pings until the end.
    async fn run(self: Arc<Self>, number: usize) {
        let mut socket = self.open(number).await;
        self.open.fetch_add(1, Ordering::Relaxed);
        let join = Message::text(format!(r#"{{"type":"join","room":"idle-{}"}}"#, number / 2));
        let mut join = Some(join);
        loop {
            tokio::select! {
                permit = self.joins.acquire(), if join.is_some() => {
                    permit.unwrap().forget();
                    socket.send(join.take().unwrap()).await.unwrap();
                }
                message = socket.next() => match message {
                    Some(Ok(Message::Text(text))) if text.contains("resp-join") => {
                        self.joined.fetch_add(1, Ordering::Relaxed);
                    }
                    Some(Ok(_)) => {}
                    None | Some(Err(_)) => return,
                },
            }
        }
    }

    async fn open(&self, number: usize) -> WebSocketStream<TlsStream<TcpStream>> {
        let _permit = self.handshakes.acquire().await.unwrap();
        // The number of rooms per address is limited.
        let [.., high, low] = (number / 32).to_be_bytes();
        let tcp = TcpSocket::new_v4().unwrap();
        tcp.bind(([127, 1, high, low], 0).into()).unwrap();
        let tcp = tcp.connect(([127, 0, 0, 1], self.port).into()).await.unwrap();
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let stream = connector.connect("localhost".try_into().unwrap(), tcp).await.unwrap();
        let url = format!("ws://localhost:{}/ws", self.port);
        // The default would take 128 KiB per client in this process.
        let config = WebSocketConfig::default().read_buffer_size(1024);
        client_async_with_config(url, stream, Some(config)).await.unwrap().0
    }
}

async fn wait_for_count(count: &AtomicUsize, clients: usize) -> Duration {
    let start = Instant::now();
    while count.load(Ordering::Relaxed) < clients {
        assert!(start.elapsed() < 10 * TEST_TIMEOUT, "{} of {clients}", count.load(Ordering::Relaxed));
        sleep(Duration::from_millis(10)).await;
    }
    start.elapsed()
}

#[test]
fn idle_websocket_costs_at_most_16_kib() {
    let descriptors = raise_descriptor_limit() as usize;
    let wanted = std::env::var("IDLE_WEBSOCKETS").map_or(CLIENTS, |number| number.parse().unwrap());
    let count = wanted.min(descriptors.saturating_sub(200));
    let environment = Arc::new(Environment::new());
    let mut server =
        ServerProcess::start(&environment, environment.command(&["--source-connections", "1000000"]));
    // Memory that the server allocates once is allocated now.
    Participant::join_room(&server, "first").ping();
    let before = server.usage();
    let kib = |server: &ServerProcess| {
        let grown = server.usage().resident_kib.saturating_sub(before.resident_kib);
        grown as f64 / count as f64
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let clients = Arc::new(Clients {
        config: Arc::clone(&server.config),
        port: server.https.port(),
        handshakes: Semaphore::new(HANDSHAKES),
        open: AtomicUsize::new(0),
        joined: AtomicUsize::new(0),
        joins: Semaphore::new(0),
    });
    for number in 0..count {
        runtime.spawn(Arc::clone(&clients).run(number));
    }
    let open_time = runtime.block_on(wait_for_count(&clients.open, count));
    let open = kib(&server);
    clients.joins.add_permits(count);
    let join_time = runtime.block_on(wait_for_count(&clients.joined, count));
    let joined = kib(&server);
    println!(
        "{count} idle WebSockets over TLS, of {wanted}: {open:.1} KiB each when open ({open_time:.1?}), {joined:.1} KiB \
         each after the join ({join_time:.1?}); the server uses {} MiB and {} descriptors",
        server.usage().resident_kib / 1024,
        server.usage().descriptors,
    );
    Participant::join_room(&server, "last").ping();
    assert!(open.max(joined) < 3.0 * GOAL_KIB);
    drop(runtime);
    server.wait_for_descriptors(before.descriptors);
    server.assert_healthy();
}
