//! A state directory on a full disk: at the first start, while the server runs, and at a restart. Needs
//! root to mount a small file system.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use super::call::Call;
use crate::harness::environment::Environment;
use crate::harness::participant::Participant;
use crate::harness::server_process::{ServerProcess, exclusive, startup_error};

/// A tmpfs in the mount namespace of a child process; unmounted when dropped.
struct Disk(Child);

const SCRIPT: &str = "mount -t tmpfs -o mode=0755 none /mnt && echo ready && exec cat";

impl Disk {
    /// `None` if this process may not mount.
    fn new() -> Option<Self> {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--", "/bin/sh", "-c", SCRIPT]);
        let holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut disk = Self(holder.ok()?);
        let mut line = String::new();
        BufReader::new(disk.0.stdout.take()?).read_line(&mut line).ok()?;
        (line == "ready\n").then_some(disk)
    }

    /// Its path outside the namespace.
    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root/mnt", self.0.id()))
    }

    fn resize(&self, kib: usize) {
        let pid = self.0.id().to_string();
        let remount = format!("remount,size={kib}k");
        let mut command = Command::new("nsenter");
        command.args(["--target", &pid, "--mount", "mount", "-o", &remount, "/mnt"]);
        assert!(command.status().unwrap().success());
    }

    /// Uses up all free space.
    fn fill(&self) {
        let mut filler = fs::File::create(self.path().join("filler")).unwrap();
        let error = (0..).find_map(|_| filler.write_all(&[0; 4096]).err()).unwrap();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn first_start_on_a_full_disk_leaves_no_partial_file() {
    let guard = exclusive();
    let Some(disk) = Disk::new() else { return println!("skipped: mounting needs root") };
    let environment = Arc::new(Environment::with_state(&disk.path().join("state")));
    // Each of the five files takes one page of 4 KiB.
    for kib in [4, 8, 12, 16] {
        disk.resize(kib);
        let (error, time) = startup_error(environment.command::<&str>(&[]));
        let files = names(&environment.state);
        println!("a disk of {kib} KiB: exit after {time:?}: {}; files {files:?}", error.trim_end());
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.contains("state-dir") && error.contains("make room"), "{error}");
        assert!(files.iter().all(|name| !name.starts_with('.')), "a partial file is left");
    }
    disk.resize(1024);
    let server = ServerProcess::start_exclusive(&environment, environment.command::<&str>(&[]), guard);
    Participant::join_room(&server, "room-again").ping();
}

#[test]
fn full_disk_stops_neither_the_server_nor_the_next_start() {
    let guard = exclusive();
    let Some(disk) = Disk::new() else { return println!("skipped: mounting needs root") };
    let environment = Arc::new(Environment::with_state(&disk.path().join("state")));
    disk.resize(64);
    let server = ServerProcess::start_exclusive(&environment, environment.command::<&str>(&[]), guard);
    let mut call = Call::start(&server, "full");
    disk.fill();
    call.assert_works();
    let token = call.seats[0].token.clone();
    let mut server = server.kill_and_restart(environment.command::<&str>(&[]));
    let resumed = Participant::resume(&server, "full", &token);
    assert_eq!(resumed.id, call.seats[0].id);
    Call::start(&server, "another").assert_works();
    println!("a full disk: the call continues; the seats resume after a kill and restart");
    server.assert_healthy();
}
