//! The real program with valid and invalid settings: errors, secrets, and precedence of sources.

mod errors;
mod secrets;
mod sources;

use std::fs;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use webrtc_box::state_dir::StateDir;
use webrtc_box_turn::credential::Secret;

/// The goal for a start error is one second; a busy machine gets three.
const EXIT_LIMIT: Duration = Duration::from_secs(3);

/// An empty folder in which commands run.
struct Fixture {
    folder: TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn write_file(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// Creates the state directory `dir` as a first start does; returns its TURN secret.
    fn create_state(&self, dir: &str) -> Secret {
        StateDir::open(&self.folder.path().join(dir)).unwrap().load_or_create_keys().unwrap().secret
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_webrtc-box"));
        command.args(arguments).current_dir(self.folder.path()).env_clear().stdin(Stdio::null());
        command
    }

    /// The one line of a start that must fail.
    fn startup_error(&self, arguments: &[&str]) -> String {
        startup_error(self.command(arguments))
    }

    /// The output of `webrtc-box credentials`.
    fn credential(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Value {
        let mut command = self.command(&["credentials"]);
        let output = command.args(arguments).envs(variables.iter().copied()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// Runs a command that must fail with one line on stderr, and returns that line.
fn startup_error(mut command: Command) -> String {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let output = wait_for_exit(child);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{command:?} succeeded");
    assert!(output.stdout.is_empty(), "{command:?} wrote to stdout");
    assert_eq!(error.matches('\n').count(), 1, "{command:?} wrote {error:?}");
    error.trim_end().to_owned()
}

/// Waits for the exit of a process within the limit.
fn wait_for_exit(mut child: Child) -> Output {
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > EXIT_LIMIT {
            child.kill().unwrap();
            panic!("still running: {:?}", child.wait_with_output());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().unwrap()
}

fn assert_contains(line: &str, parts: &[&str]) {
    assert!(parts.iter().all(|part| line.contains(part)), "{line:?} lacks one of {parts:?}");
}
