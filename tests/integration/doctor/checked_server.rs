//! A server, and `webrtc-box check` with its settings, both with the real program.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::ports::free_port;
use crate::harness::test_ca::{Authority, Pair};

/// A domain that resolves to this host everywhere.
pub const NAME: &str = "localhost";

/// A folder with the settings of a server, which may run or not.
pub struct CheckedServer {
    folder: TempDir,
    pub authority: Authority,
    pub ports: Ports,
    running: Option<Child>,
}

#[derive(Clone, Copy)]
pub struct Ports {
    pub https: u16,
    pub http: u16,
    pub turn: u16,
    pub turns: u16,
}

/// The result of a check.
pub struct Checked {
    pub code: i32,
    pub report: Value,
    pub took: Duration,
}

impl CheckedServer {
    /// With a valid certificate for [`NAME`].
    pub fn new() -> Self {
        let authority = Authority::new();
        let pair = authority.issue(NAME, 1);
        Self::with_certificate(authority, &pair)
    }

    pub fn with_certificate(authority: Authority, pair: &Pair) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Self { folder, authority, ports: Ports::free(), running: None };
        fs::write(server.file("cert.pem"), &pair.cert).unwrap();
        fs::write(server.file("key.pem"), &pair.key).unwrap();
        fs::write(server.file("root.pem"), server.authority.root_pem()).unwrap();
        server
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts the server with further flags.
    #[must_use]
    pub fn start(mut self, flags: &[&str]) -> Self {
        let log = self.file("log");
        let mut command = self.command(&self.settings());
        command.args(flags).stdout(Stdio::piped()).stderr(File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        let mut banner = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut banner).unwrap();
        self.running = Some(child);
        assert!(!banner.is_empty(), "the server did not start: {}", fs::read_to_string(log).unwrap());
        self
    }

    /// Checks with the settings of this server.
    pub fn check(&self, flags: &[&str]) -> Checked {
        let settings = self.settings();
        let settings = settings.iter().map(String::as_str);
        self.check_with_settings(&settings.chain(flags.iter().copied()).collect::<Vec<_>>())
    }

    /// Checks with other certificate files than those that the server uses.
    pub fn check_with_files(&self, cert: &str, key: &str) -> Checked {
        let swap = |word: &String| match word.as_str() {
            "cert.pem" => cert.to_owned(),
            "key.pem" => key.to_owned(),
            word => word.to_owned(),
        };
        let settings: Vec<_> = self.settings().iter().map(swap).collect();
        self.check_with_settings(&settings.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Checks with the domain and the ports of the page only.
    pub fn check_by_name(&self, flags: &[&str]) -> Checked {
        let (https, http) = (self.ports.https.to_string(), self.ports.http.to_string());
        let named = ["--domain", NAME, "--https-port", &https, "--http-port", &http];
        self.check_with_settings(&[&named, flags].concat())
    }

    /// Checks with these settings only.
    pub fn check_with_settings(&self, flags: &[&str]) -> Checked {
        let start = Instant::now();
        let mut command = self.command(&["check".to_owned(), "--json".to_owned()]);
        let output = command.args(flags).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let report = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{output:?}"));
        Checked { code: output.status.code().unwrap(), report, took: start.elapsed() }
    }

    /// What `webrtc-box nodes` prints with the settings of this server.
    pub fn nodes(&self, flags: &[&str]) -> String {
        let output = self.run_nodes(flags);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The one line of a failing `webrtc-box nodes`.
    pub fn nodes_error(&self, flags: &[&str]) -> String {
        let output = self.run_nodes(flags);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.lines().count() == 1, "{error}");
        error
    }

    /// `webrtc-box healthcheck` with these settings only succeeds.
    pub fn assert_healthy(&self, flags: &[&str]) {
        let output = self.run_healthcheck(flags);
        assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    }

    /// The one line of a failing `webrtc-box healthcheck`.
    pub fn healthcheck_error(&self, flags: &[&str]) -> String {
        let output = self.run_healthcheck(flags);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && error.lines().count() == 1, "{error}");
        error
    }

    fn run_healthcheck(&self, flags: &[&str]) -> Output {
        self.command(&["healthcheck".to_owned()]).args(flags).output().unwrap()
    }

    fn run_nodes(&self, flags: &[&str]) -> Output {
        self.command(&["nodes".to_owned()]).args(self.settings()).args(flags).output().unwrap()
    }

    /// The text report.
    pub fn text_report(&self) -> String {
        let settings = self.settings();
        let output = self.command(&["check".to_owned()]).args(settings).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    fn settings(&self) -> Vec<String> {
        let Ports { https, http, turn, turns } = self.ports;
        let flags = format!(
            "--domain {NAME} --cert cert.pem --key key.pem --state-dir state --static-auth-secret north \
             --https-port {https} --http-port {http} --turn-port {turn} --turns-port {turns}"
        );
        flags.split(' ').map(str::to_owned).collect()
    }

    fn command(&self, arguments: &[String]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_webrtc-box"));
        command.args(arguments).current_dir(self.folder.path()).env_clear();
        command.env("WEBRTC_BOX_METRICS_LISTEN", "off");
        command.env("SSL_CERT_FILE", self.file("root.pem")).stdin(Stdio::null());
        command
    }
}

impl Ports {
    fn free() -> Self {
        Self { https: free_port(), http: free_port(), turn: free_port(), turns: free_port() }
    }
}

impl Checked {
    /// The findings of `group`, each as `mark text; cure`.
    pub fn findings(&self, group: &str) -> Vec<String> {
        let findings = self.report["findings"].as_array().unwrap();
        let field = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        let line = |finding: &Value| {
            let (mark, text, cure) = (field(finding, "mark"), field(finding, "text"), field(finding, "cure"));
            if cure.is_empty() { format!("{mark} {text}") } else { format!("{mark} {text}; {cure}") }
        };
        findings.iter().filter(|finding| finding["group"] == group).map(line).collect()
    }

    /// Asserts that `group` has findings and that all are `ok`.
    pub fn assert_ok(&self, group: &str) {
        let lines = self.findings(group);
        assert!(!lines.is_empty() && lines.iter().all(|line| line.starts_with("ok ")), "{group}: {lines:#?}");
    }

    /// Asserts that a finding of `group` has this mark and contains all of `parts`.
    pub fn assert_finding(&self, group: &str, mark: &str, parts: &[&str]) {
        let lines = self.findings(group);
        let fits = |line: &String| {
            line.starts_with(&format!("{mark} ")) && parts.iter().all(|part| line.contains(part))
        };
        assert!(lines.iter().any(fits), "{group} has no {mark} with {parts:?}: {lines:#?}");
    }
}

impl Drop for CheckedServer {
    fn drop(&mut self) {
        if let Some(child) = &mut self.running {
            // It may have exited already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Whether `text` contains a secret that the check reads.
pub fn contains_secret(folder: &Path, text: &str) -> bool {
    let files = fs::read_dir(folder.join("state")).into_iter().flatten().flatten();
    let secrets = files.filter_map(|entry| fs::read_to_string(entry.path()).ok());
    secrets
        .map(|secret| secret.trim().to_owned())
        .chain(["north".to_owned()])
        .any(|secret| text.contains(&secret))
}
