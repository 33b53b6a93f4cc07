//! The Node example: installs its packages and starts it.

use std::path::PathBuf;
use std::process::Command;

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/signaling/example"))
}

/// Installs the packages of the lockfile if they are missing or older.
pub(crate) fn install() {
    let lock = folder().join("package-lock.json");
    let installed = folder().join("node_modules/.package-lock.json");
    let modified = |path: &PathBuf| std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
    if modified(&installed) >= modified(&lock) {
        return;
    }
    println!("installing the example's packages");
    let flags = ["ci", "--no-audit", "--no-fund", "--ignore-scripts"];
    let installed = Command::new("npm").args(flags).current_dir(folder()).status();
    assert!(installed.expect("npm is installed").success(), "npm ci in {}", folder().display());
}

/// The example on `port` of the loopback address.
pub(crate) fn command(port: u16) -> Command {
    let mut command = Command::new("node");
    command.arg("server.js").current_dir(folder()).env("PORT", port.to_string());
    command.env("NODE_ENV", "production");
    command
}
