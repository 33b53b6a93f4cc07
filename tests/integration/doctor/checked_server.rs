//! A box to be checked, and the check of it, both as the program that people run.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::ports::free_port;
use crate::harness::test_ca::{Authority, Pair};

/// A domain that leads to this host wherever the tests run.
pub const NAME: &str = "localhost";

/// A place with settings for a box, which may run or not.
pub struct CheckedServer {
    place: TempDir,
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

/// What a check came to.
pub struct Checked {
    pub code: i32,
    pub report: Value,
    pub took: Duration,
}

impl CheckedServer {
    /// With a certificate for [`NAME`] that nothing is wrong with.
    pub fn new() -> Self {
        let authority = Authority::new();
        let pair = authority.issue(NAME, 1);
        Self::with(authority, &pair)
    }

    pub fn with(authority: Authority, pair: &Pair) -> Self {
        let place = tempfile::tempdir().unwrap();
        let server = Self { place, authority, ports: Ports::free(), running: None };
        fs::write(server.file("cert.pem"), &pair.cert).unwrap();
        fs::write(server.file("key.pem"), &pair.key).unwrap();
        fs::write(server.file("root.pem"), server.authority.root_pem()).unwrap();
        server
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// The box runs, with further flags.
    #[must_use]
    pub fn open(mut self, flags: &[&str]) -> Self {
        let log = self.file("log");
        let mut command = self.command(&self.settings());
        command.args(flags).stdout(Stdio::piped()).stderr(File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        let mut greeting = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut greeting).unwrap();
        self.running = Some(child);
        assert!(!greeting.is_empty(), "the box did not start: {}", fs::read_to_string(log).unwrap());
        self
    }

    /// The check of a box set up here.
    pub fn check(&self, flags: &[&str]) -> Checked {
        let settings = self.settings();
        let settings = settings.iter().map(String::as_str);
        self.checked(&settings.chain(flags.iter().copied()).collect::<Vec<_>>())
    }

    /// The same with another certificate than the one the box began with.
    pub fn check_with_files(&self, cert: &str, key: &str) -> Checked {
        let swap = |word: &String| match word.as_str() {
            "cert.pem" => cert.to_owned(),
            "key.pem" => key.to_owned(),
            word => word.to_owned(),
        };
        let settings: Vec<_> = self.settings().iter().map(swap).collect();
        self.checked(&settings.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The check of a box of which only the name is known, and where its page is.
    pub fn check_by_name(&self, flags: &[&str]) -> Checked {
        let (https, http) = (self.ports.https.to_string(), self.ports.http.to_string());
        let named = ["--domain", NAME, "--https-port", &https, "--http-port", &http];
        self.checked(&[&named, flags].concat())
    }

    /// A check with no settings but these.
    pub fn checked(&self, flags: &[&str]) -> Checked {
        let began = Instant::now();
        let mut command = self.command(&["check".to_owned(), "--json".to_owned()]);
        let output = command.args(flags).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let report = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{output:?}"));
        Checked { code: output.status.code().unwrap(), report, took: began.elapsed() }
    }

    /// What it says to people.
    pub fn said(&self) -> String {
        let settings = self.settings();
        let output = self.command(&["check".to_owned()]).args(settings).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    fn settings(&self) -> Vec<String> {
        let Ports { https, http, turn, turns } = self.ports;
        let flags = format!(
            "--domain {NAME} --metrics-listen= --cert cert.pem --key key.pem --state-dir state --static-auth-secret north \
             --https-port {https} --http-port {http} --turn-port {turn} --turns-port {turns}"
        );
        flags.split(' ').map(str::to_owned).collect()
    }

    fn command(&self, arguments: &[String]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_webrtc-box"));
        command.args(arguments).current_dir(self.place.path()).env_clear();
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
    pub fn of(&self, group: &str) -> Vec<String> {
        let findings = self.report["findings"].as_array().unwrap();
        let words = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        let line = |finding: &Value| {
            let (mark, text, cure) = (words(finding, "mark"), words(finding, "text"), words(finding, "cure"));
            if cure.is_empty() { format!("{mark} {text}") } else { format!("{mark} {text}; {cure}") }
        };
        findings.iter().filter(|finding| finding["group"] == group).map(line).collect()
    }

    /// All of `group` are well.
    pub fn is_well(&self, group: &str) {
        let lines = self.of(group);
        assert!(!lines.is_empty() && lines.iter().all(|line| line.starts_with("ok ")), "{group}: {lines:#?}");
    }

    /// One of `group` is marked `mark` and says all of `words`.
    pub fn says(&self, group: &str, mark: &str, words: &[&str]) {
        let lines = self.of(group);
        let fits = |line: &String| {
            line.starts_with(&format!("{mark} ")) && words.iter().all(|word| line.contains(word))
        };
        assert!(lines.iter().any(fits), "{group} has no {mark} with {words:?}: {lines:#?}");
    }
}

impl Drop for CheckedServer {
    fn drop(&mut self) {
        if let Some(child) = &mut self.running {
            // It may have ended by itself; a test that cares has noticed.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Whether `text` has any of the secrets in it that a check comes to know.
pub fn leaked_secret(place: &Path, text: &str) -> bool {
    let kept = fs::read_dir(place.join("state")).into_iter().flatten().flatten();
    let kept = kept.filter_map(|entry| fs::read_to_string(entry.path()).ok());
    kept.map(|secret| secret.trim().to_owned())
        .chain(["north".to_owned()])
        .any(|secret| text.contains(&secret))
}
