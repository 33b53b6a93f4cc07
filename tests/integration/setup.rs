//! `webrtc-box setup` on a terminal and in scripts: the program reads what it wrote.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_webrtc-box");

struct Fixture {
    folder: TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("box.toml")
    }

    fn run(&self, mut command: Command, input: &str) -> Output {
        command.current_dir(self.folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        // The program may have ended already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    fn setup(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = Command::new(PROGRAM);
        command.env_clear().args(["setup", "--config"]).arg(self.file()).args(arguments);
        self.run(command, input)
    }

    /// The TURN URLs of the server with the written settings.
    fn urls(&self) -> String {
        let mut command = Command::new(PROGRAM);
        command.env_clear().args(["credentials", "--state-dir", "state", "--config"]).arg(self.file());
        let output = self.run(command, "");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn five_answers_on_a_terminal_make_a_file_that_the_program_reads() {
    let fixture = Fixture::new();
    let mut command = Command::new("script");
    let setup = format!("{PROGRAM} setup --config {}", fixture.file().display());
    command.args(["--quiet", "--return", "--command", &setup, "/dev/null"]);
    if Command::new("script").arg("--version").output().is_err() {
        println!("skipped: script (bsdutils) is not installed");
        return;
    }
    let answers = "https://127.0.0.1/\n127.0.0.1\n28443\nme@a.example\n203.0.113.7\ny\n";
    let output = fixture.run(command, answers);
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{shown}");
    let expected = [
        "a URL; give the name alone",
        "domain is 127.0.0.1",
        "28443/tcp (https-port)",
        "Next:",
        "webrtc-box check",
    ];
    for part in expected {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let key = shown.split("The key that opens rooms: ").nth(1).unwrap().lines().next().unwrap().trim();
    assert!(fs::read_to_string(fixture.file()).unwrap().contains(&format!("host-key = [\"{key}\"]")));
    assert!(fixture.urls().contains("turns:127.0.0.1:28443"));
}

#[test]
fn a_script_gives_the_settings_as_flags_and_is_asked_nothing() {
    let fixture = Fixture::new();
    let flags = ["--yes", "--domain", "::1", "--acme-email", "me@a.example", "--turn-port", "5000"];
    let output = fixture.setup(&flags, "");
    assert!(output.status.success() && !text(&output.stdout).contains("1. "), "{output:?}");
    assert!(fixture.urls().contains("turn:[::1]:5000"));
    let again = fixture.setup(&flags, "");
    assert_eq!(again.status.code(), Some(1));
    assert!(
        text(&again.stderr)
            .ends_with("exists; add --force to replace it, or name another file as --config\n")
    );
    assert!(fixture.setup(&[&flags[..], &["--force"]].concat(), "").status.success());
}

#[test]
fn without_a_terminal_and_answers_nothing_is_written() {
    let fixture = Fixture::new();
    let output = fixture.setup(&[], "a.example\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("add --yes"), "{output:?}");
    assert!(!fixture.file().exists());
}
