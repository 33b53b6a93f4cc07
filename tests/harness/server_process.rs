//! The real program as a process of its own, and what it costs.

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::environment::{Environment, program};
use super::turn_client::PATIENCE;

pub type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A box that runs; ends with this.
pub struct ServerProcess {
    pub turn: SocketAddr,
    pub https: SocketAddr,
    /// Whether it is built for speed.
    pub release: bool,
    pub config: Arc<ClientConfig>,
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    environment: Arc<Environment>,
    guard: Option<ExclusiveGuard>,
}

/// Whoever holds it is alone.
pub type ExclusiveGuard = MutexGuard<'static, ()>;

/// What a process holds.
#[derive(Clone, Copy, Debug)]
pub struct ProcessUsage {
    pub resident_kib: u64,
    pub descriptors: usize,
}

/// One box at a time: the figures of one must not be another's doing.
static EXCLUSIVE: Mutex<()> = Mutex::new(());

/// Which program it is, once is enough.
static PROGRAM_PRINTED: Once = Once::new();

/// Waits until no box of another test runs.
pub fn exclusive() -> ExclusiveGuard {
    EXCLUSIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the box that `command` would start says before it gives up, and how soon.
pub fn startup_error(mut command: Command) -> (String, Duration) {
    let begun = Instant::now();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    while child.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < PATIENCE, "it runs all the same");
        std::thread::sleep(Duration::from_millis(5));
    }
    let time = begun.elapsed();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(!child.wait().unwrap().success());
    (said, time)
}

impl ServerProcess {
    pub fn new() -> Self {
        Self::with(&[], None)
    }

    /// With further settings, and at most so many descriptors.
    pub fn with(settings: &[&str], descriptors: Option<usize>) -> Self {
        let environment = Arc::new(Environment::new());
        let command = match descriptors {
            None => environment.command(settings),
            Some(most) => environment.limited(most, false, settings),
        };
        Self::start(&environment, command)
    }

    /// The box that `command` starts in `environment`, when it is up.
    pub fn start(environment: &Arc<Environment>, command: Command) -> Self {
        Self::start_exclusive(environment, command, exclusive())
    }

    /// Kills it, as a power cut would, and has `command` start it again.
    pub fn kill_and_restart(mut self, command: Command) -> Self {
        let (environment, turn) = (Arc::clone(&self.environment), self.guard.take().unwrap());
        drop(self);
        Self::start_exclusive(&environment, command, turn)
    }

    /// The same for somebody who is alone already.
    pub fn start_exclusive(
        environment: &Arc<Environment>,
        mut command: Command,
        turn: ExclusiveGuard,
    ) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (lines, errors) = (Arc::default(), child.stderr.take().unwrap());
        let listens = listen(errors, &lines);
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert!(said.starts_with("webrtc-box "), "{said:?}: {:?}", lines.lock().unwrap());
        listens.recv_timeout(PATIENCE).unwrap();
        Self::of(environment, child, lines, turn)
    }

    /// The same where nobody hears what it says: that goes where `command` has it go.
    pub fn start_without_log(environment: &Arc<Environment>, mut command: Command) -> Self {
        let turn = exclusive();
        let child = command.spawn().unwrap();
        let begun = Instant::now();
        while TcpStream::connect(environment.https).is_err() {
            assert!(begun.elapsed() < PATIENCE, "it does not come up");
            std::thread::sleep(Duration::from_millis(5));
        }
        Self::of(environment, child, Arc::default(), turn)
    }

    fn of(
        environment: &Arc<Environment>,
        child: Child,
        lines: Arc<Mutex<Vec<String>>>,
        turn: ExclusiveGuard,
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
            config: trusting(&environment.certificate()),
            child,
            lines,
            environment: Arc::clone(environment),
            guard: Some(turn),
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Its end, which must be near, and how long it took.
    pub fn wait_for_exit(mut self) -> (ExitStatus, Duration) {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, begun.elapsed());
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end");
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

    /// Waits until it holds no more descriptors than that.
    pub fn wait_for_descriptors(&self, descriptors: usize) {
        let begun = Instant::now();
        while self.usage().descriptors > descriptors {
            assert!(begun.elapsed() < PATIENCE, "descriptors are left open");
        }
    }

    /// Processor time it has taken so far, of all its threads.
    pub fn cpu_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        // User and system, in hundredths of a second.
        let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap());
        Duration::from_millis(10 * ticks.sum::<u64>())
    }

    /// How many of its lines say all of this.
    pub fn count_lines(&self, what: &[&str]) -> usize {
        self.lines_with(what).len()
    }

    /// Its lines that say all of this.
    pub fn lines_with(&self, what: &[&str]) -> Vec<String> {
        let lines = self.lines.lock().unwrap();
        lines.iter().filter(|line| what.iter().all(|part| line.contains(part))).cloned().collect()
    }

    /// Whether a line has been logged that says this.
    pub fn has_logged(&self, what: &str) -> bool {
        self.lines.lock().unwrap().iter().any(|line| line.contains(what))
    }

    /// The first line that says this, as soon as there is one.
    pub fn wait_for_line(&self, what: &str) -> String {
        let begun = Instant::now();
        loop {
            let line = self.lines.lock().unwrap().iter().find(|line| line.contains(what)).cloned();
            match line {
                Some(line) => return line,
                None => assert!(
                    begun.elapsed() < PATIENCE,
                    "nobody says {what:?}: {:?}",
                    self.lines.lock().unwrap()
                ),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Lines logged so far.
    pub fn logged(&self) -> usize {
        self.lines.lock().unwrap().len()
    }

    /// Datagrams that the kernel dropped because the box did not take them in time.
    pub fn dropped(&self) -> u64 {
        let mark = format!(":{:04X} ", self.turn.port());
        let table = fs::read_to_string("/proc/net/udp").unwrap();
        let ours = table.lines().filter(|line| line.split_once(' ').is_some_and(|_| line.contains(&mark)));
        ours.filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok()).sum()
    }

    /// The box runs, and no thread of it has panicked.
    pub fn assert_healthy(&mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "the box has ended");
        let lines = self.lines.lock().unwrap();
        let bad: Vec<_> = lines.iter().filter(|line| line.contains("panicked")).collect();
        assert!(bad.is_empty(), "{bad:?}");
    }

    pub fn tcp(&self, to: SocketAddr) -> TcpStream {
        let stream = TcpStream::connect_timeout(&to, PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// TLS beside HTTPS, shaken hands.
    pub fn tls(&self) -> Tls {
        self.tls_over(self.tcp(self.https))
    }

    /// How a request over a connection of its own is answered: HTTP's version and code.
    pub fn get(&self, path: &str) -> String {
        let mut stream = self.tls();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        String::from_utf8_lossy(&head).into_owned()
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

/// Keeps the lines of a log, and tells when one says that it listens.
fn listen(errors: impl Read + Send + 'static, lines: &Arc<Mutex<Vec<String>>>) -> Receiver<()> {
    let noted = Arc::clone(lines);
    let (tell, listening) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(errors).lines().map_while(Result::ok) {
            let listens = line.contains("listening");
            noted.lock().unwrap().push(line);
            // Nobody waits for a second one.
            let _ = listens.then(|| tell.send(()));
        }
    });
    listening
}

fn trusting(certificate: &Path) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}
