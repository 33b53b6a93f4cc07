//! Thousands of people at their WebSockets who say nothing, each through TLS, and what they cost.

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
use crate::harness::turn_client::PATIENCE;

/// Where `IDLE_WEBSOCKETS` does not ask for another number; 10,000 need as many descriptors.
const PEOPLE: usize = 2000;
/// Handshakes under way.
const AT_ONCE: usize = 8;
const GOAL_KIB: f64 = 16.0;

/// This process, and the boxes it starts, may hold as many sockets as the host allows.
pub fn take_all_descriptors() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    limit.current.unwrap_or(u64::MAX)
}

/// What all of them know.
struct Crowd {
    config: Arc<ClientConfig>,
    port: u16,
    door: Semaphore,
    open: AtomicUsize,
    seated: AtomicUsize,
    /// As many as may sit down.
    seats: Semaphore,
}

impl Crowd {
    /// One of them: comes in, takes a seat when told to, and answers pings to the end.
    async fn somebody(self: Arc<Self>, number: usize) {
        let mut socket = self.open(number).await;
        self.open.fetch_add(1, Ordering::Relaxed);
        let join = Message::text(format!(r#"{{"type":"join","room":"idle-{}"}}"#, number / 2));
        let mut join = Some(join);
        loop {
            tokio::select! {
                permit = self.seats.acquire(), if join.is_some() => {
                    permit.unwrap().forget();
                    socket.send(join.take().unwrap()).await.unwrap();
                }
                message = socket.next() => match message {
                    Some(Ok(Message::Text(text))) if text.contains("resp-join") => {
                        self.seated.fetch_add(1, Ordering::Relaxed);
                    }
                    Some(Ok(_)) => {}
                    None | Some(Err(_)) => return,
                },
            }
        }
    }

    async fn open(&self, number: usize) -> WebSocketStream<TlsStream<TcpStream>> {
        let _permit = self.door.acquire().await.unwrap();
        // One address may not open so many rooms.
        let [.., high, low] = (number / 32).to_be_bytes();
        let tcp = TcpSocket::new_v4().unwrap();
        tcp.bind(([127, 1, high, low], 0).into()).unwrap();
        let tcp = tcp.connect(([127, 0, 0, 1], self.port).into()).await.unwrap();
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let stream = connector.connect("localhost".try_into().unwrap(), tcp).await.unwrap();
        let url = format!("ws://localhost:{}/ws", self.port);
        // By default each would take 128 KiB of this process.
        let config = WebSocketConfig::default().read_buffer_size(1024);
        client_async_with_config(url, stream, Some(config)).await.unwrap().0
    }
}

async fn until_all(count: &AtomicUsize, people: usize) -> Duration {
    let begun = Instant::now();
    while count.load(Ordering::Relaxed) < people {
        assert!(begun.elapsed() < 10 * PATIENCE, "{} of {people}", count.load(Ordering::Relaxed));
        sleep(Duration::from_millis(10)).await;
    }
    begun.elapsed()
}

#[test]
fn idle_websocket_costs_at_most_16_kib() {
    let descriptors = take_all_descriptors() as usize;
    let asked = std::env::var("IDLE_WEBSOCKETS").map_or(PEOPLE, |number| number.parse().unwrap());
    let people = asked.min(descriptors.saturating_sub(200));
    let environment = Arc::new(Environment::new());
    let mut server =
        ServerProcess::start(&environment, environment.command(&["--source-connections", "1000000"]));
    // What the box takes once and for all has been taken.
    Participant::join_room(&server, "first").ping();
    let before = server.usage();
    let kib = |server: &ServerProcess| {
        let grown = server.usage().resident_kib.saturating_sub(before.resident_kib);
        grown as f64 / people as f64
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let crowd = Arc::new(Crowd {
        config: Arc::clone(&server.config),
        port: server.https.port(),
        door: Semaphore::new(AT_ONCE),
        open: AtomicUsize::new(0),
        seated: AtomicUsize::new(0),
        seats: Semaphore::new(0),
    });
    for number in 0..people {
        runtime.spawn(Arc::clone(&crowd).somebody(number));
    }
    let opened = runtime.block_on(until_all(&crowd.open, people));
    let open = kib(&server);
    crowd.seats.add_permits(people);
    let joined = runtime.block_on(until_all(&crowd.seated, people));
    let seated = kib(&server);
    println!(
        "{people} idle WebSockets over TLS, of {asked}: {open:.1} KiB each when open ({opened:.1?}), {seated:.1} KiB \
         each when seated ({joined:.1?}); the box holds {} MiB and {} descriptors",
        server.usage().resident_kib / 1024,
        server.usage().descriptors,
    );
    Participant::join_room(&server, "last").ping();
    assert!(open.max(seated) < 3.0 * GOAL_KIB);
    drop(runtime);
    server.wait_for_descriptors(before.descriptors);
    server.assert_healthy();
}
