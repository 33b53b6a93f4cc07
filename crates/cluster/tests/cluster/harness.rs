//! A real `redis-server` on loopback, and boxes that use it.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use webrtc_box_cluster::*;

/// For everything that happens by itself: far longer than it takes.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// A running server; killed when dropped.
pub(crate) struct RedisServer {
    child: Child,
    program: String,
    pub(crate) port: u16,
    arguments: Vec<String>,
    folder: TempDir,
}

/// A box, and what its observer saw.
pub(crate) struct TestBox {
    pub(crate) handle: ClusterHandle,
    events: UnboundedReceiver<Event>,
    driver: JoinHandle<()>,
}

struct Sender(UnboundedSender<Event>);

impl Observer for Sender {
    fn handle(&self, event: Event) {
        // The test may have ended.
        let _ignored = self.0.send(event);
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// Waits until `ready`, with a deadline.
pub(crate) async fn until(what: &str, mut ready: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !ready().await {
        assert!(start.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

impl RedisServer {
    /// Starts one; `None` if it is not installed. `REDIS_SERVER` names another program than that of the path.
    pub(crate) async fn start(arguments: &[&str]) -> Option<Self> {
        let program = std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned());
        Self::start_as(&program, free_port(), arguments).await
    }

    pub(crate) async fn start_as(program: &str, port: u16, arguments: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let child = spawn(program, port, &arguments, folder.path())?;
        let server = Self { child, program: program.to_owned(), port, arguments, folder };
        until("the port of redis-server opens", async || {
            tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok()
        })
        .await;
        Some(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// What a command returns, through a connection of its own.
    pub(crate) async fn run(&self, words: &[&str]) -> redis::RedisResult<redis::Value> {
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let mut command = redis::cmd(words[0]);
        words[1..].iter().for_each(|word| {
            command.arg(*word);
        });
        command.query_async(&mut connection).await
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again, empty.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.program, self.port, &self.arguments, self.folder.path()).unwrap();
    }

    /// Stops or continues the process.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ignored = self.child.kill();
        let _ignored = self.child.wait();
    }
}

fn spawn(program: &str, port: u16, arguments: &[String], folder: &Path) -> Option<Child> {
    let mut command = Command::new(program);
    if program != "redis-sentinel" {
        command.args([
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--port",
            &port.to_string(),
        ]);
    }
    command.args(arguments).current_dir(folder);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    if child.is_err() {
        println!("skipped: {program} is not installed");
    }
    child.ok()
}

pub(crate) fn config(name: &str, url: &str) -> ClusterConfig {
    static BOOT: AtomicU64 = AtomicU64::new(1);
    ClusterConfig {
        name: NodeName::parse(name).unwrap(),
        domain: NodeName::parse("x").unwrap(),
        boot: BOOT.fetch_add(1, Ordering::Relaxed),
        version: "1.0".to_owned(),
        fallback: Fallback::Open,
        key_id: [7; 8],
        store: StoreUrl::parse(url).unwrap(),
        roots: rustls::RootCertStore::empty(),
    }
}

impl TestBox {
    pub(crate) fn start(config: ClusterConfig) -> Self {
        let (sender, events) = unbounded_channel();
        let (handle, driver) = start(config, Arc::new(Sender(sender)));
        Self { handle, events, driver: tokio::spawn(driver) }
    }

    /// One that holds a lease.
    pub(crate) async fn ready(name: &str, url: &str) -> Self {
        let mut started = Self::start(config(name, url));
        started.event(|event| (event == Event::LeaseRenewed).then_some(())).await;
        started
    }

    /// The next event that `select` accepts.
    pub(crate) async fn event<T>(&mut self, mut select: impl FnMut(Event) -> Option<T>) -> T {
        let search = async {
            loop {
                if let Some(found) = select(self.events.recv().await.unwrap()) {
                    return found;
                }
            }
        };
        tokio::time::timeout(LIMIT, search).await.expect("an event comes")
    }

    /// The events so far, without those of single calls.
    pub(crate) fn events(&mut self) -> Vec<Event> {
        let events = std::iter::from_fn(|| self.events.try_recv().ok());
        events.filter(|event| !matches!(event, Event::StoreCall { .. })).collect()
    }

    /// Ends it as a kill would: nothing is released.
    pub(crate) async fn kill(&mut self) {
        self.driver.abort();
        let _cancelled = (&mut self.driver).await;
    }

    pub(crate) async fn join(&self, number: u8) -> Decision {
        self.handle.join(JoinRequest::new(room(number))).await
    }

    /// Joins and takes a seat.
    pub(crate) async fn serve(&self, number: u8) -> Fence {
        let decision = self.join(number).await;
        self.handle.set_seats(room(number), 1);
        match decision {
            Decision::Serve { fence, .. } => fence,
            other => panic!("not served: {other:?}"),
        }
    }
}

impl Drop for TestBox {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

pub(crate) fn room(number: u8) -> RoomTag {
    RoomTag::new([number; 16])
}

pub(crate) fn redirect(name: &str, fence: Fence) -> Decision {
    Decision::Redirect { node: NodeName::parse(name).unwrap(), fence }
}
