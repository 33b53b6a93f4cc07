//! A state directory on a disk that is full, as a box finds it at its first start, while it runs and
//! when it starts again. Needs root, for a small disk of its own.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use super::call::Call;
use crate::harness::environment::Environment;
use crate::harness::participant::Participant;
use crate::harness::server_process::{ServerProcess, exclusive, startup_error};

/// A file system in memory that only one process has mounted; it ends with this.
struct Disk(Child);

const SCRIPT: &str = "mount -t tmpfs -o mode=0755 none /mnt && echo there && exec cat";

impl Disk {
    /// `None` where nothing may be mounted here.
    fn new() -> Option<Self> {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--", "/bin/sh", "-c", SCRIPT]);
        let keeper = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut disk = Self(keeper.ok()?);
        let mut said = String::new();
        BufReader::new(disk.0.stdout.take()?).read_line(&mut said).ok()?;
        (said == "there\n").then_some(disk)
    }

    /// Where anybody finds it who may look into the keeper.
    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root/mnt", self.0.id()))
    }

    fn has(&self, kib: usize) {
        let pid = self.0.id().to_string();
        let remount = format!("remount,size={kib}k");
        let mut command = Command::new("nsenter");
        command.args(["--target", &pid, "--mount", "mount", "-o", &remount, "/mnt"]);
        assert!(command.status().unwrap().success());
    }

    /// Takes all that is left.
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
    let turn = exclusive();
    let Some(disk) = Disk::new() else { return println!("skipped: a disk of its own needs root") };
    let environment = Arc::new(Environment::with_state(&disk.path().join("state")));
    // One file takes one page; five are made.
    for kib in [4, 8, 12, 16] {
        disk.has(kib);
        let (said, time) = startup_error(environment.command::<&str>(&[]));
        let kept = names(&environment.state);
        println!("a disk of {kib} KiB: told after {time:?}: {}; kept {kept:?}", said.trim_end());
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains("state-dir") && said.contains("make room"), "{said}");
        assert!(kept.iter().all(|name| !name.starts_with('.')), "a draft is left");
    }
    disk.has(1024);
    let server = ServerProcess::start_exclusive(&environment, environment.command::<&str>(&[]), turn);
    Participant::join_room(&server, "room-again").ping();
}

#[test]
fn full_disk_stops_neither_the_server_nor_the_next_start() {
    let turn = exclusive();
    let Some(disk) = Disk::new() else { return println!("skipped: a disk of its own needs root") };
    let environment = Arc::new(Environment::with_state(&disk.path().join("state")));
    disk.has(64);
    let server = ServerProcess::start_exclusive(&environment, environment.command::<&str>(&[]), turn);
    let mut call = Call::begin(&server, "full");
    disk.fill();
    call.goes_on();
    let token = call.seats[0].token.clone();
    let mut server = server.kill_and_restart(environment.command::<&str>(&[]));
    let back = Participant::resume(&server, "full", &token);
    assert_eq!(back.id, call.seats[0].id);
    Call::begin(&server, "another").goes_on();
    println!("a full disk: the call went on; killed and started again, the box knows its seats");
    server.assert_healthy();
}
