//! The log of the real program: its format for the journal and for a terminal, level changes at run time, and
//! that a blocked reader delays no client.

use std::io::{BufRead as _, BufReader, PipeReader, Read as _, pipe};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::harness::ports::free_port;
use crate::harness::{TEST_TIMEOUT, http_client};

/// A full pipe holds at least this many bytes, because its pages are not filled to the last byte.
const FULL_PIPE: u64 = 32 * 1024;
/// The longest time for a reply on a busy machine.
const REPLY_LIMIT: Duration = Duration::from_secs(2);

/// A running server whose stderr is a pipe.
struct LoggingServer {
    child: Child,
    http: SocketAddr,
    turn: SocketAddr,
    metrics: SocketAddr,
    stderr: PipeReader,
    _folder: TempDir,
}

impl LoggingServer {
    /// Starts the server; with `journal`, `JOURNAL_STREAM` names the pipe as systemd does.
    fn start(flags: &[&str], journal: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (stderr, writer) = pipe().unwrap();
        let address = || SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let (http, turn, metrics) = (address(), address(), address());
        let mut command = Command::new(env!("CARGO_BIN_EXE_webrtc-box"));
        command
            .args(["--listen", "127.0.0.1", "--https-port", "0", "--trusted-proxy", "127.0.0.1"])
            .args(["--metrics-listen", &metrics.to_string()])
            .args(["--http-port", &http.port().to_string(), "--turn-port", &turn.port().to_string()])
            .args(flags)
            .env_clear()
            .current_dir(folder.path());
        if journal {
            let (device, inode) = device_and_inode(&writer);
            command.env("JOURNAL_STREAM", format!("{device}:{inode}"));
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(writer).spawn().unwrap();
        let mut banner = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut banner).unwrap();
        assert!(banner.starts_with("webrtc-box runs"), "{banner:?}");
        Self { child, http, turn, metrics, stderr, _folder: folder }
    }

    /// The time of a health request.
    fn health_time(&self) -> Duration {
        let start = Instant::now();
        assert_eq!(get(self.http, "/healthz"), r#"{"status":"up"}"#);
        start.elapsed()
    }

    /// The number of lost lines in the metrics.
    fn lost_lines(&self) -> u64 {
        let metrics = get(self.metrics, "/metrics");
        let line = metrics.lines().find_map(|line| line.strip_prefix("webrtc_box_log_lines_lost_total "));
        line.unwrap().parse().unwrap()
    }

    /// The time of a Binding request.
    fn binding_time(&self) -> Duration {
        let (start, socket) = (Instant::now(), UdpSocket::bind("127.0.0.1:0").unwrap());
        socket.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
        socket.send_to(b"\0\x01\0\0\x21\x12\xa4\x42............", self.turn).unwrap();
        assert!(socket.recv(&mut [0; 100]).unwrap() > 20);
        start.elapsed()
    }

    /// Opens and closes streams; each causes a log line.
    fn cause_lines(&self, lines: usize) {
        (0..lines).for_each(|_| drop(TcpStream::connect(self.turn).unwrap()));
    }

    /// Bytes in the pipe.
    fn unread(&self) -> u64 {
        rustix::io::ioctl_fionread(&self.stderr).unwrap()
    }

    /// Stops the server with SIGTERM; the time until the exit, and the unread log.
    fn stop(mut self) -> (Duration, String) {
        let start = Instant::now();
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        while self.child.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < TEST_TIMEOUT, "the server does not exit");
            std::thread::sleep(Duration::from_millis(10));
        }
        let took = start.elapsed();
        let mut log = String::new();
        self.stderr.read_to_string(&mut log).unwrap();
        (took, log)
    }
}

fn get(server: SocketAddr, path: &str) -> String {
    let stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
    http_client::get(stream, path).text().to_owned()
}

impl Drop for LoggingServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn device_and_inode(pipe: &std::io::PipeWriter) -> (u64, u64) {
    let stat = rustix::fs::fstat(pipe).unwrap();
    (stat.st_dev, stat.st_ino)
}

#[test]
fn journal_lines_have_priorities_and_no_time() {
    let (_, log) = LoggingServer::start(&[], true).stop();
    let lines: Vec<&str> = log.lines().collect();
    assert!(lines.iter().any(|line| line.starts_with("<6>webrtc_box::app: listening ")), "{log}");
    assert!(lines.iter().all(|line| line.starts_with('<') && !line.contains('\u{1b}')), "{log}");
}

#[test]
fn terminal_lines_have_times_and_levels() {
    let (_, log) = LoggingServer::start(&[], false).stop();
    let line = log.lines().find(|line| line.contains("listening ")).unwrap();
    assert!(line.starts_with("20") && line.contains(" INFO webrtc_box::app: "), "{line}");
    let (_, log) = LoggingServer::start(&["--log-format", "json"], true).stop();
    let line: serde_json::Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    assert!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
}

/// A full pipe stands for a stalled journal.
#[test]
fn blocked_log_reader_delays_no_client() {
    let server = LoggingServer::start(&["--log", "debug", "--unauth-reply-rate", "0"], true);
    let (start, mut unread) = (Instant::now(), 0);
    // Until the pipe is full,
    while server.unread() != unread || unread < FULL_PIPE {
        unread = server.unread();
        server.cause_lines(200);
        assert!(start.elapsed() < 4 * TEST_TIMEOUT, "{unread} bytes are unread");
    }
    // and then until the queue of the server is full.
    while server.lost_lines() == 0 {
        server.cause_lines(1000);
        assert!(start.elapsed() < 8 * TEST_TIMEOUT, "no line is lost");
    }
    let slowest = (0..20).map(|_| server.health_time().max(server.binding_time())).max().unwrap();
    let lost = server.lost_lines();
    println!("{unread} bytes of log unread, {lost} lines lost; the slowest reply after that: {slowest:?}");
    assert!(slowest < REPLY_LIMIT, "{slowest:?}");
    let (took, log) = server.stop();
    println!("exit after {took:?}, {} bytes of log", log.len());
}

/// Sets the logger of the test process; no other test here does.
#[test]
fn log_level_changes_at_run_time() {
    use webrtc_box::config::{RawSettings, StateDirDefaults};
    let settings = RawSettings::default().validate(&StateDirDefaults::default()).unwrap();
    let _guard = webrtc_box::start_logging(&settings).unwrap();
    assert!(!tracing::enabled!(tracing::Level::DEBUG));
    webrtc_box::set_level("debug").unwrap();
    assert!(tracing::enabled!(tracing::Level::DEBUG));
    let error = webrtc_box::set_level("in[fo").unwrap_err().to_string();
    assert!(error.starts_with("log \"in[fo\" is no log filter"), "{error}");
    assert!(tracing::enabled!(tracing::Level::DEBUG), "an invalid filter changes nothing");
    webrtc_box::set_level("warn").unwrap();
    assert!(!tracing::enabled!(tracing::Level::INFO));
}
