//! The log of the program itself: what the journal gets, what may be changed while it runs, and that
//! nobody waits for whoever reads it.

use std::io::{BufRead as _, BufReader, PipeReader, Read as _, Write as _, pipe};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::harness::ports::free_port;

/// No wait for an event is longer.
const PATIENCE: Duration = Duration::from_secs(15);
/// Bytes of a pipe that takes no more: pages that are not all filled to the last byte.
const FULL: u64 = 32 * 1024;
/// What one answer may take on a busy machine.
const SOON: Duration = Duration::from_secs(2);

/// A box whose stderr is a pipe.
struct Box {
    child: Child,
    http: SocketAddr,
    turn: SocketAddr,
    metrics: SocketAddr,
    stderr: PipeReader,
    _place: TempDir,
}

impl Box {
    /// `journal`: whether systemd would say that the pipe is the journal's.
    fn open(flags: &[&str], journal: bool) -> Self {
        let place = tempfile::tempdir().unwrap();
        let (stderr, theirs) = pipe().unwrap();
        let address = || SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let (http, turn, metrics) = (address(), address(), address());
        let mut command = Command::new(env!("CARGO_BIN_EXE_webrtc-box"));
        command
            .args(["--listen", "127.0.0.1", "--https-port", "0", "--trusted-proxy", "127.0.0.1"])
            .args(["--metrics-listen", &metrics.to_string()])
            .args(["--http-port", &http.port().to_string(), "--turn-port", &turn.port().to_string()])
            .args(flags)
            .env_clear()
            .current_dir(place.path());
        if journal {
            let stat = rustix_stat(&theirs);
            command.env("JOURNAL_STREAM", format!("{}:{}", stat.0, stat.1));
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(theirs).spawn().unwrap();
        let mut greeting = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut greeting).unwrap();
        assert!(greeting.contains("is up"), "{greeting:?}");
        Self { child, http, turn, metrics, stderr, _place: place }
    }

    /// Asks whether it is well; how long that took.
    fn asked(&self) -> Duration {
        let begun = Instant::now();
        let said = get(self.http, "/healthz");
        assert!(said.contains(r#"{"status":"up"}"#), "{said}");
        begun.elapsed()
    }

    /// Lines that it says were lost.
    fn lost(&self) -> u64 {
        let said = get(self.metrics, "/metrics");
        let line = said.lines().find_map(|line| line.strip_prefix("webrtc_box_log_lines_lost_total "));
        line.unwrap().parse().unwrap()
    }

    /// Sends a Binding; how long the answer took.
    fn bound(&self) -> Duration {
        let (begun, socket) = (Instant::now(), UdpSocket::bind("127.0.0.1:0").unwrap());
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.send_to(b"\0\x01\0\0\x21\x12\xa4\x42............", self.turn).unwrap();
        assert!(socket.recv(&mut [0; 100]).unwrap() > 20);
        begun.elapsed()
    }

    /// Brings it so many streams that end at once.
    fn say_lines(&self, lines: usize) {
        (0..lines).for_each(|_| drop(TcpStream::connect(self.turn).unwrap()));
    }

    /// Bytes of its log that nobody has read.
    fn unread(&self) -> u64 {
        rustix::io::ioctl_fionread(&self.stderr).unwrap()
    }

    /// Ends it, as systemd does; how long that took, and the log.
    fn ended(mut self) -> (Duration, String) {
        let begun = Instant::now();
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        while self.child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
        let took = begun.elapsed();
        let mut log = String::new();
        self.stderr.read_to_string(&mut log).unwrap();
        (took, log)
    }
}

fn get(at: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    said
}

impl Drop for Box {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn rustix_stat(pipe: &std::io::PipeWriter) -> (u64, u64) {
    let stat = rustix::fs::fstat(pipe).unwrap();
    (stat.st_dev, stat.st_ino)
}

#[test]
fn journal_lines_have_priorities_and_no_time() {
    let (_, log) = Box::open(&[], true).ended();
    let lines: Vec<&str> = log.lines().collect();
    assert!(lines.iter().any(|line| line.starts_with("<6>webrtc_box::app: listening ")), "{log}");
    assert!(lines.iter().all(|line| line.starts_with('<') && !line.contains('\u{1b}')), "{log}");
}

#[test]
fn terminal_lines_have_times_and_levels() {
    let (_, log) = Box::open(&[], false).ended();
    let line = log.lines().find(|line| line.contains("listening ")).unwrap();
    assert!(line.starts_with("20") && line.contains(" INFO webrtc_box::app: "), "{line}");
    let (_, log) = Box::open(&["--log-format", "json"], true).ended();
    let line: serde_json::Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    assert!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
}

/// A journal that has stalled is a full pipe.
#[test]
fn blocked_log_reader_delays_no_client() {
    let server = Box::open(&["--log", "debug", "--unauth-reply-rate", "0"], true);
    let (begun, mut said) = (Instant::now(), 0);
    // Each stream that says nothing is a line. First until no more goes into the pipe,
    while server.unread() != said || said < FULL {
        said = server.unread();
        server.say_lines(200);
        assert!(begun.elapsed() < 4 * PATIENCE, "{said} bytes are unread");
    }
    // and then until no more may wait.
    while server.lost() == 0 {
        server.say_lines(1000);
        assert!(begun.elapsed() < 8 * PATIENCE, "nothing is lost");
    }
    let slowest = (0..20).map(|_| server.asked().max(server.bound())).max().unwrap();
    let lost = server.lost();
    println!("{said} bytes of log unread, {lost} lines lost; the slowest answer after that: {slowest:?}");
    assert!(slowest < SOON, "{slowest:?}");
    let (took, log) = server.ended();
    println!("ended after {took:?}, {} bytes of log", log.len());
}

/// In a test crate of its own the log is this process's.
#[test]
fn log_level_changes_at_run_time() {
    use webrtc_box::config::{RawSettings, StateDirDefaults};
    let settings = RawSettings::default().validate(&StateDirDefaults::default()).unwrap();
    let _guard = webrtc_box::start_logging(&settings).unwrap();
    assert!(!tracing::enabled!(tracing::Level::DEBUG));
    webrtc_box::set_level("debug").unwrap();
    assert!(tracing::enabled!(tracing::Level::DEBUG));
    let complaint = webrtc_box::set_level("in[fo").unwrap_err().to_string();
    assert!(complaint.starts_with("log \"in[fo\" is no log filter"), "{complaint}");
    assert!(tracing::enabled!(tracing::Level::DEBUG), "a bad one changes nothing");
    webrtc_box::set_level("warn").unwrap();
    assert!(!tracing::enabled!(tracing::Level::INFO));
}
