//! The real program as a process of its own, and what it costs.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;

use super::client::PATIENCE;
use super::ports::free_port;

pub const SECRET: &str = "north";

pub type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A box that runs; ends with this.
pub struct House {
    pub turn: SocketAddr,
    pub https: SocketAddr,
    /// Whether it is built for speed.
    pub release: bool,
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    config: Arc<ClientConfig>,
    _place: TempDir,
    _turn: MutexGuard<'static, ()>,
}

/// What a process holds.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    pub resident_kib: u64,
    pub descriptors: usize,
}

/// One box at a time: the figures of one must not be another's doing.
static TURN: Mutex<()> = Mutex::new(());

impl House {
    pub fn open() -> Self {
        Self::with(&[], None)
    }

    /// With further settings, and at most so many descriptors.
    pub fn with(settings: &[&str], descriptors: Option<usize>) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let place = tempfile::tempdir().unwrap();
        let (turn_at, https) = (free_address(), free_address());
        let program = program();
        let release = program.to_string_lossy().contains("release");
        let mut command = match descriptors {
            None => Command::new(&program),
            Some(most) => limited(&program, most),
        };
        let mut child = command
            .args(["--listen", "127.0.0.1", "--http-port", "0", "--static-auth-secret", SECRET])
            .args(["--turn-port", &turn_at.port().to_string(), "--https-port", &https.port().to_string()])
            .args(settings)
            .args(["--log", "info", "--state-dir"])
            .arg(place.path())
            .env_clear()
            .current_dir(place.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (noted, errors) = (Arc::clone(&lines), BufReader::new(child.stderr.take().unwrap()));
        let (tell, listening) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in errors.lines().map_while(Result::ok) {
                let listens = line.contains("listening");
                noted.lock().unwrap().push(line);
                // Nobody waits for a second one.
                let _ = listens.then(|| tell.send(()));
            }
        });
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert!(said.contains("is up"), "{said:?}: {:?}", lines.lock().unwrap());
        listening.recv_timeout(PATIENCE).unwrap();
        let config = trusting(&place.path().join("self-signed.pem"));
        Self { turn: turn_at, https, release, child, lines, config, _place: place, _turn: turn }
    }

    pub fn figures(&self) -> Figures {
        let proc = PathBuf::from(format!("/proc/{}", self.child.id()));
        let status = fs::read_to_string(proc.join("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let resident_kib = line.trim().trim_end_matches(" kB").parse().unwrap();
        Figures { resident_kib, descriptors: fs::read_dir(proc.join("fd")).unwrap().count() }
    }

    /// Waits until it holds no more descriptors than that.
    pub fn comes_down_to(&self, descriptors: usize) {
        let begun = Instant::now();
        while self.figures().descriptors > descriptors {
            assert!(begun.elapsed() < PATIENCE, "descriptors are left open");
        }
    }

    /// Processor time it has taken so far, of all its threads.
    pub fn worked(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        // User and system, in hundredths of a second.
        let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap());
        Duration::from_millis(10 * ticks.sum::<u64>())
    }

    /// Whether a line has been logged that says this.
    pub fn has_said(&self, what: &str) -> bool {
        self.lines.lock().unwrap().iter().any(|line| line.contains(what))
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
    pub fn is_well(&mut self) {
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
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = self.tcp(self.https);
        let mut connection = ClientConnection::new(Arc::clone(&self.config), name).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut stream).unwrap();
        }
        StreamOwned::new(connection, stream)
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The release build where there is one as new as the sources, else the one cargo made for us;
/// `BOX_BIN` names another.
fn program() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let release = root.join("target/release/webrtc-box");
    let built = fs::metadata(&release).and_then(|data| data.modified());
    let program = match (std::env::var_os("BOX_BIN"), built) {
        (Some(named), _) => named.into(),
        (None, Ok(built)) if newest(&root.join("src")) < built => release,
        _ => env!("CARGO_BIN_EXE_webrtc-box").into(),
    };
    println!("the program: {}", program.strip_prefix(root).unwrap_or(&program).display());
    program
}

fn limited(program: &Path, descriptors: usize) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "ulimit -n $0 && exec \"$@\"", &descriptors.to_string()]).arg(program);
    command
}

fn newest(place: &Path) -> SystemTime {
    let entries = fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path());
    let time = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    entries.map(|path| if path.is_dir() { newest(&path) } else { time(&path) }).max().unwrap()
}

fn free_address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()))
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
