//! The real program as a child process: its log, its resource usage, and connections to it.

use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::environment::{Environment, program};
use super::http_client::{self, Reply};
use super::test_ca::client_config;
use super::turn_client::TEST_TIMEOUT;

pub type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A running server; killed when dropped.
pub struct ServerProcess {
    pub turn: SocketAddr,
    pub https: SocketAddr,
    /// Whether it is a release build.
    pub release: bool,
    pub config: Arc<ClientConfig>,
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    environment: Arc<Environment>,
    guard: Option<ExclusiveGuard>,
}

/// While it is held, no server of another test runs.
pub type ExclusiveGuard = MutexGuard<'static, ()>;

/// Resources of a process.
#[derive(Clone, Copy, Debug)]
pub struct ProcessUsage {
    pub resident_kib: u64,
    pub descriptors: usize,
}

/// Servers run one at a time, because they would disturb each other's measurements.
static EXCLUSIVE: Mutex<()> = Mutex::new(());

/// The path of the program is printed once per test run.
static PROGRAM_PRINTED: Once = Once::new();

/// Waits until no server of another test runs.
pub fn exclusive() -> ExclusiveGuard {
    EXCLUSIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The stderr of a server that must fail to start, and the time until its exit.
pub fn startup_error(mut command: Command) -> (String, Duration) {
    let start = Instant::now();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    while child.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < TEST_TIMEOUT, "the server starts although it should not");
        std::thread::sleep(Duration::from_millis(5));
    }
    let time = start.elapsed();
    let mut output = String::new();
    child.stderr.take().unwrap().read_to_string(&mut output).unwrap();
    assert!(!child.wait().unwrap().success());
    (output, time)
}

impl ServerProcess {
    pub fn new() -> Self {
        Self::with(&[], None)
    }

    /// With further settings as flags, and a limit of open files.
    pub fn with(settings: &[&str], descriptors: Option<usize>) -> Self {
        let environment = Arc::new(Environment::new());
        let command = match descriptors {
            None => environment.command(settings),
            Some(limit) => environment.with_descriptor_limit(limit, false, settings),
        };
        Self::start(&environment, command)
    }

    /// Runs `command` in `environment` and waits until the server listens.
    pub fn start(environment: &Arc<Environment>, command: Command) -> Self {
        Self::start_exclusive(environment, command, exclusive())
    }

    /// Like [`Self::start`] beside the servers of a test that holds the guard.
    pub fn start_beside(environment: &Arc<Environment>, command: Command) -> Self {
        Self::start_process(environment, command, None)
    }

    /// Kills the server, as a power cut would, and starts it again with `command`.
    pub fn kill_and_restart(mut self, command: Command) -> Self {
        let (environment, guard) = (Arc::clone(&self.environment), self.guard.take().unwrap());
        drop(self);
        Self::start_exclusive(&environment, command, guard)
    }

    /// Like [`Self::start`] for a test that holds the guard already.
    pub fn start_exclusive(environment: &Arc<Environment>, command: Command, guard: ExclusiveGuard) -> Self {
        Self::start_process(environment, command, Some(guard))
    }

    fn start_process(
        environment: &Arc<Environment>,
        mut command: Command,
        guard: Option<ExclusiveGuard>,
    ) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (lines, errors) = (Arc::default(), child.stderr.take().unwrap());
        let listening = collect_lines(errors, &lines);
        let mut banner = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut banner).unwrap();
        assert!(banner.starts_with("webrtc-box "), "{banner:?}: {:?}", lines.lock().unwrap());
        listening.recv_timeout(TEST_TIMEOUT).unwrap();
        Self::new_running(environment, child, lines, guard)
    }

    /// Like [`Self::start`], with stdout and stderr where `command` sends them.
    pub fn start_without_log(environment: &Arc<Environment>, mut command: Command) -> Self {
        let guard = exclusive();
        let child = command.spawn().unwrap();
        let start = Instant::now();
        while TcpStream::connect(environment.https).is_err() {
            assert!(start.elapsed() < TEST_TIMEOUT, "the server does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        Self::new_running(environment, child, Arc::default(), Some(guard))
    }

    fn new_running(
        environment: &Arc<Environment>,
        child: Child,
        lines: Arc<Mutex<Vec<String>>>,
        guard: Option<ExclusiveGuard>,
    ) -> Self {
        let program = program();
        PROGRAM_PRINTED.call_once(|| {
            let root = Path::new(env!("CARGO_MANIFEST_DIR"));
            println!("the program: {}", program.strip_prefix(root).unwrap_or(&program).display());
        });
        Self {
            turn: environment.turn,
            https: environment.https,
            release: program.to_string_lossy().contains("release"),
            config: trusted_config(&environment.certificate()),
            child,
            lines,
            environment: Arc::clone(environment),
            guard,
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the exit; returns its status and the time until then.
    pub fn wait_for_exit(mut self) -> (ExitStatus, Duration) {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, start.elapsed());
            }
            assert!(start.elapsed() < TEST_TIMEOUT, "the server does not exit");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn usage(&self) -> ProcessUsage {
        let proc = PathBuf::from(format!("/proc/{}", self.child.id()));
        let status = fs::read_to_string(proc.join("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let resident_kib = line.trim().trim_end_matches(" kB").parse().unwrap();
        ProcessUsage { resident_kib, descriptors: fs::read_dir(proc.join("fd")).unwrap().count() }
    }

    /// Waits until the server has at most `descriptors` open files.
    pub fn wait_for_descriptors(&self, descriptors: usize) {
        let start = Instant::now();
        while self.usage().descriptors > descriptors {
            assert!(start.elapsed() < TEST_TIMEOUT, "descriptors are left open");
        }
    }

    /// CPU time of all threads so far.
    pub fn cpu_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        // User and system time in hundredths of a second.
        let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap());
        Duration::from_millis(10 * ticks.sum::<u64>())
    }

    /// The number of log lines that contain all of `parts`.
    pub fn count_lines(&self, parts: &[&str]) -> usize {
        self.lines_with(parts).len()
    }

    /// The log lines that contain all of `parts`.
    pub fn lines_with(&self, parts: &[&str]) -> Vec<String> {
        let lines = self.lines.lock().unwrap();
        lines.iter().filter(|line| parts.iter().all(|part| line.contains(part))).cloned().collect()
    }

    /// Whether a log line contains `text`.
    pub fn has_logged(&self, text: &str) -> bool {
        self.lines.lock().unwrap().iter().any(|line| line.contains(text))
    }

    /// Waits for a log line that contains `text`, and returns the first one.
    pub fn wait_for_line(&self, text: &str) -> String {
        let start = Instant::now();
        loop {
            let line = self.lines.lock().unwrap().iter().find(|line| line.contains(text)).cloned();
            match line {
                Some(line) => return line,
                None => assert!(
                    start.elapsed() < TEST_TIMEOUT,
                    "no line with {text:?}: {:?}",
                    self.lines.lock().unwrap()
                ),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The address of `/metrics`, if the server has a domain.
    pub fn metrics(&self) -> SocketAddr {
        self.environment.metrics
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The number of log lines so far.
    pub fn line_count(&self) -> usize {
        self.lines.lock().unwrap().len()
    }

    /// Datagrams that the kernel dropped because the server did not read them in time.
    pub fn dropped_datagrams(&self) -> u64 {
        let port = format!(":{:04X} ", self.turn.port());
        let table = fs::read_to_string("/proc/net/udp").unwrap();
        let ours = table.lines().filter(|line| line.split_once(' ').is_some_and(|_| line.contains(&port)));
        ours.filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok()).sum()
    }

    /// Asserts that the server runs and that none of its threads has panicked.
    pub fn assert_healthy(&mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "the server has exited");
        let lines = self.lines.lock().unwrap();
        let panics: Vec<_> = lines.iter().filter(|line| line.contains("panicked")).collect();
        assert!(panics.is_empty(), "{panics:?}");
    }

    pub fn tcp(&self, to: SocketAddr) -> TcpStream {
        let stream = TcpStream::connect_timeout(&to, TEST_TIMEOUT).unwrap();
        stream.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
        stream.set_write_timeout(Some(TEST_TIMEOUT)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// A TLS connection to the HTTPS port, after the handshake.
    pub fn tls(&self) -> Tls {
        self.tls_over(self.tcp(self.https))
    }

    /// `GET path` over a new HTTPS connection.
    pub fn get(&self, path: &str) -> Reply {
        http_client::get(self.tls(), path)
    }

    pub fn tls_over(&self, mut stream: TcpStream) -> Tls {
        let name = ServerName::try_from("localhost").unwrap();
        let mut connection = ClientConnection::new(Arc::clone(&self.config), name).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut stream).unwrap();
        }
        StreamOwned::new(connection, stream)
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Collects log lines; the receiver gets a message for each line about listening.
fn collect_lines(errors: impl Read + Send + 'static, lines: &Arc<Mutex<Vec<String>>>) -> Receiver<()> {
    let collected = Arc::clone(lines);
    let (sender, listening) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(errors).lines().map_while(Result::ok) {
            let listens = line.contains("listening");
            collected.lock().unwrap().push(line);
            // Fails once the receiver is gone: the start waits for the first line only.
            let _ = listens.then(|| sender.send(()));
        }
    });
    listening
}

fn trusted_config(certificate: &Path) -> Arc<ClientConfig> {
    Arc::new(client_config(CertificateDer::from_pem_file(certificate).unwrap()))
}
