//! The unit files, checked by systemd-analyze; nothing is started.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// A folder with installed unit files.
struct Installed(TempDir);

impl Installed {
    fn new(files: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let to = folder.path().join(file);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(config(file), to).unwrap();
        }
        Self(folder)
    }

    /// `None` if systemd-analyze is not installed.
    fn analyze(&self, arguments: &[&str]) -> Option<Output> {
        let mut command = Command::new("systemd-analyze");
        // Searched before the unit folders of this host.
        command.args(arguments).env("SYSTEMD_UNIT_PATH", format!("{}:", self.0.path().display()));
        match command.output() {
            Ok(output) => Some(output),
            Err(error) => {
                println!("skipped: systemd-analyze cannot be run here ({error})");
                None
            }
        }
    }

    /// Asserts that `systemd-analyze security` rates the exposure at most `tenths`.
    fn assert_exposure_at_most(&self, tenths: u32) {
        let threshold = format!("--threshold={tenths}");
        let unit = self.0.path().join("webrtc-box.service");
        let arguments = ["security", "--offline=true", "--no-pager", &threshold, unit.to_str().unwrap()];
        let Some(output) = self.analyze(&arguments) else { return };
        let report = String::from_utf8(output.stdout).unwrap();
        println!("{}", report.lines().last().unwrap_or_default());
        assert!(output.status.success(), "{report}");
    }
}

fn config(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(file)
}

#[test]
fn unit_exposure_is_low_and_lower_with_the_socket_unit() {
    Installed::new(&["webrtc-box.service"]).assert_exposure_at_most(15);
    let with_socket = ["webrtc-box.service", "webrtc-box.socket", "webrtc-box.service.d/socket.conf"];
    Installed::new(&with_socket).assert_exposure_at_most(12);
}

#[test]
fn systemd_analyze_verifies_the_units() {
    let installed =
        Installed::new(&["webrtc-box.service", "webrtc-box.socket", "webrtc-box.service.d/socket.conf"]);
    let unit = installed.0.path().join("webrtc-box.service");
    // The program may be missing here; any other passes the check.
    let text = fs::read_to_string(&unit).unwrap().replace("/usr/local/bin/webrtc-box", "/bin/true");
    fs::write(&unit, text).unwrap();
    let Some(output) = installed.analyze(&["verify", "webrtc-box.service", "webrtc-box.socket"]) else {
        return;
    };
    let report = String::from_utf8(output.stderr).unwrap();
    let ours: Vec<_> = report.lines().filter(|line| line.contains("webrtc-box")).collect();
    assert!(output.status.success() && ours.is_empty(), "{report}");
}
