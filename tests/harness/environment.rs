//! The folder and ports of a server over several starts, and the command that starts it there.

use std::ffi::OsStr;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use tempfile::TempDir;

use super::ports::free_port;

pub const SECRET: &str = "north";

/// A folder and ports that stay the same when the server restarts.
pub struct Environment {
    folder: TempDir,
    /// The state directory.
    pub state: PathBuf,
    pub turn: SocketAddr,
    pub https: SocketAddr,
    /// Bound only if the server has a domain, like `turns` and `metrics`.
    pub http: SocketAddr,
    pub turns: SocketAddr,
    pub metrics: SocketAddr,
    has_domain: bool,
}

impl Environment {
    /// For a server in try-out mode.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().to_owned();
        let [turn, https, http, turns, metrics] = [(); 5].map(|()| free_address());
        Self { folder, state, turn, https, http, turns, metrics, has_domain: false }
    }

    /// For a server in try-out mode with the state directory `state`.
    pub fn with_state(state: &Path) -> Self {
        Self { state: state.to_owned(), ..Self::new() }
    }

    /// For a server with the domain `localhost`, which opens every port.
    pub fn with_domain() -> Self {
        Self::new().with_certificate(&["localhost"])
    }

    /// Like [`Self::with_domain`] on another address of loopback, with a fixed port of HTTPS and a certificate for `names`.
    pub fn with_domain_at(address: IpAddr, https: u16, names: &[&str]) -> Self {
        let at = |other: SocketAddr| SocketAddr::new(address, other.port());
        let environment = Self::new();
        let (turn, http) = (at(environment.turn), at(environment.http));
        let (turns, metrics) = (at(environment.turns), at(environment.metrics));
        let https = SocketAddr::new(address, https);
        Self { turn, https, http, turns, metrics, ..environment }.with_certificate(names)
    }

    fn with_certificate(self, names: &[&str]) -> Self {
        let environment = self;
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let pair = rcgen::generate_simple_self_signed(names).unwrap();
        fs::write(environment.certificate(), pair.cert.pem()).unwrap();
        fs::write(environment.folder.path().join("key.pem"), pair.signing_key.serialize_pem()).unwrap();
        Self { has_domain: true, ..environment }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The socket path for `NOTIFY_SOCKET`.
    pub fn notify_socket(&self) -> PathBuf {
        self.folder().join("notify")
    }

    /// The certificate that clients trust.
    pub fn certificate(&self) -> PathBuf {
        self.state.join("self-signed.pem")
    }

    /// Starts the server here, with `settings` as flags.
    pub fn command<S: AsRef<OsStr>>(&self, settings: &[S]) -> Command {
        self.configure(Command::new(program()), settings)
    }

    /// Like [`Self::command`] under a limit of open files, only a soft one if `soft`.
    pub fn with_descriptor_limit<S: AsRef<OsStr>>(
        &self,
        descriptors: usize,
        soft: bool,
        settings: &[S],
    ) -> Command {
        let mut command = Command::new("/bin/sh");
        let script = if soft { "ulimit -S -n $0" } else { "ulimit -n $0" };
        command.args(["-c", &format!("{script} && exec \"$@\""), &descriptors.to_string()]).arg(program());
        self.configure(command, settings)
    }

    /// The same environment with the address of an HTTPS socket that is open already.
    pub fn with_https(self, https: SocketAddr) -> Self {
        Self { https, ..self }
    }

    /// Adds the environment as variables, which flags in `settings` override.
    pub fn configure<S: AsRef<OsStr>>(&self, mut command: Command, settings: &[S]) -> Command {
        command
            .args(settings)
            .env_clear()
            .env("WEBRTC_BOX_LISTEN", "127.0.0.1")
            .env("WEBRTC_BOX_STATIC_AUTH_SECRET", SECRET)
            .env("WEBRTC_BOX_TURN_PORT", self.turn.port().to_string())
            .env("WEBRTC_BOX_HTTPS_PORT", self.https.port().to_string())
            .env("WEBRTC_BOX_HTTP_PORT", "0")
            .env("WEBRTC_BOX_METRICS_LISTEN", "off")
            .env("WEBRTC_BOX_LOG", "info")
            .env("WEBRTC_BOX_STATE_DIR", &self.state)
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        if self.has_domain {
            command
                .env("WEBRTC_BOX_DOMAIN", "localhost")
                .env("WEBRTC_BOX_CERT", self.certificate())
                .env("WEBRTC_BOX_KEY", self.folder.path().join("key.pem"))
                .env("WEBRTC_BOX_HTTP_PORT", self.http.port().to_string())
                .env("WEBRTC_BOX_METRICS_LISTEN", self.metrics.to_string())
                .env("WEBRTC_BOX_TURNS_PORT", self.turns.port().to_string());
        }
        command
    }
}

/// The program that `BOX_BIN` names, else a release build newer than the sources, else cargo's test build.
pub fn program() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let release = root.join("target/release/webrtc-box");
    let built = fs::metadata(&release).and_then(|data| data.modified());
    match (std::env::var_os("BOX_BIN"), built) {
        (Some(path), _) => path.into(),
        (None, Ok(built)) if newest(&root.join("src")) < built => release,
        _ => env!("CARGO_BIN_EXE_webrtc-box").into(),
    }
}

fn newest(folder: &Path) -> SystemTime {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let time = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    entries.map(|path| if path.is_dir() { newest(&path) } else { time(&path) }).max().unwrap()
}

fn free_address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()))
}
