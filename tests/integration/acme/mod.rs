//! A box that gets its certificate by itself, from Pebble: the first one while it serves already, the
//! next in time, and what it says when there is none to be had. Skipped where there is no Pebble.

mod client;
mod pebble;

use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use self::client::Client;
use self::pebble::{Pebble, Plan};
use crate::harness::ports::free_port;
use crate::harness::program::Program;
use tempfile::TempDir;

const NAME: &str = "box.test";
const LONG: Duration = Duration::from_secs(90 * 24 * 3600);
/// A third of it is what a busy machine has for a renewal.
const SHORT: Duration = Duration::from_secs(27);
const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// A box to be started, and the authority it will ask.
struct Stage {
    plan: Plan,
    place: TempDir,
    turn_port: u16,
}

impl Stage {
    /// Nothing where there is no Pebble.
    fn new() -> Option<Self> {
        if !self::pebble::is_here() {
            println!("skipped: no pebble");
            return None;
        }
        Some(Self::bare())
    }

    fn bare() -> Self {
        Self { plan: Plan::new(), place: tempfile::tempdir().unwrap(), turn_port: free_port() }
    }

    fn start(&self) -> Program {
        self.start_for("me@box.test")
    }

    fn start_for(&self, email: &str) -> Program {
        let mut command = Command::new(env!("CARGO_BIN_EXE_webrtc-box"));
        command.args(["--domain", NAME, "--listen", "127.0.0.1", "--http-port=0", "--turns-port=0"]);
        command.args(["--metrics-listen", ""]);
        command.arg("--https-port").arg(self.plan.https_port.to_string());
        command.arg("--turn-port").arg(self.turn_port.to_string());
        command.args(["--acme-email", email, "--acme-directory", &self.plan.directory()]);
        Program::start(
            command.current_dir(self.place.path()).env_clear().env("SSL_CERT_FILE", self.plan.root()),
        )
    }

    /// Where account and certificate are kept.
    fn folder(&self) -> PathBuf {
        let name = self.plan.directory()[8..].replace([':', '/'], "-");
        self.place.path().join("certs/acme").join(name)
    }

    fn authority(&self, validity: Duration) -> Pebble {
        self.plan.start(validity, HERE)
    }

    /// Who believes whatever is served.
    fn anybody(&self) -> Client {
        Client::new(self.plan.https_port, None)
    }

    /// Who believes what the authority has issued.
    async fn strict(&self) -> Client {
        let root = self::client::root_of(self.plan.management()).await;
        Client::new(self.plan.https_port, Some(root))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn serves_without_turns_until_it_has_a_certificate_and_keeps_it() {
    let Some(stage) = Stage::new() else { return };
    let program = stage.start();
    // Nobody is there yet: it says so, says when it tries again, and serves.
    let said = program.says("no certificate for box.test yet: acme-directory cannot be reached");
    assert!(said.last().unwrap().contains("the next attempt is at "), "{said:?}");
    let mut guest = stage.anybody().join("kitchen").await;
    let urls = guest.urls().await;
    assert!(urls.contains("turn:box.test") && !urls.contains("turns:"), "{urls}");
    assert!(!stage.anybody().get("/test.json").await.contains("turns:"));

    let authority = stage.authority(LONG);
    let began = Instant::now();
    program.hang_up();
    program.says("a new certificate for box.test is in force");
    println!("a first certificate {:.1} s after it was asked for", began.elapsed().as_secs_f64());
    // Who sits there already is told, and so is who comes.
    let urls = guest.urls().await;
    assert!(urls.contains(&format!("turns:box.test:{}", stage.plan.https_port)), "{urls}");
    let strict = stage.strict().await;
    assert!(strict.get("/test.json").await.contains("turns:"));
    assert!(strict.join("hall").await.urls().await.contains("turns:"));
    for name in ["account.json", "certificate.pem"] {
        let kept = stage.folder().join(name);
        assert_eq!(std::fs::metadata(kept).unwrap().permissions().mode() & 0o777, 0o600);
    }

    drop((program, authority));
    let program = stage.start();
    program.says("listening");
    assert!(strict.join("hall").await.urls().await.contains("turns:"));
}

#[tokio::test(flavor = "multi_thread")]
async fn renews_in_the_last_third_without_a_failed_handshake() {
    let Some(stage) = Stage::new() else { return };
    let authority = stage.authority(SHORT);
    let program = stage.start();
    program.says("a new certificate for box.test is in force");
    let strict = stage.strict().await;
    let first = strict.serial().await;
    let began = Instant::now();
    let (mut handshakes, mut serial) = (1, first);
    while serial == first {
        serial = strict.serial().await;
        handshakes += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(began.elapsed() < SHORT, "it has run out");
    }
    program.says("a new certificate for box.test is in force");
    println!(
        "renewed after {:.1} of {} s, {handshakes} handshakes in the meantime",
        began.elapsed().as_secs_f64(),
        SHORT.as_secs()
    );
    assert!(began.elapsed() > SHORT / 2, "renewed too early");
    drop(authority);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_dns_is_logged_with_a_hint_and_retries_are_limited() {
    let Some(stage) = Stage::new() else { return };
    // Nobody answers there.
    let _authority = stage.plan.start(LONG, Ipv4Addr::new(127, 0, 0, 9));
    let program = stage.start();
    let said =
        program.says("no certificate for box.test yet: the authority does not find this box on port 443");
    let line = said.last().unwrap();
    assert!(line.contains("let every A and AAAA record of it lead to this host"), "{line}");
    assert!(line.contains("unauthorized: "), "what the authority says is told: {line}");
    program.hang_up();
    let said = program.says("no sooner, for the authority counts");
    assert!(!said.iter().any(|line| line.contains("asking for a certificate")), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_account_is_replaced_and_unwritten_certificate_is_served() {
    let Some(stage) = Stage::new() else { return };
    let authority = stage.authority(SHORT);
    let folder = stage.folder();
    // A folder in the place of a file is a disk that refuses, for root as well.
    let file = folder.join("certificate.pem");
    std::fs::create_dir_all(&file).unwrap();
    let program = stage.start();
    program.says("a new account with the authority");
    program.says("a new certificate for box.test is in force");
    let said = program.says("until then account and certificate are in memory alone");
    assert!(said.last().unwrap().contains("certificate.pem cannot be written"), "{said:?}");
    stage.strict().await.serial().await;
    std::fs::remove_dir(&file).unwrap();
    program.hang_up();
    let said = program.says("what the authority has given us is written now");
    assert!(!said.iter().any(|line| line.contains("asking for a certificate")), "{said:?}");
    assert!(file.is_file());
    // Pebble forgets accounts when it ends; the box holds one, and comes with it when renewal is due.
    drop(authority);
    let _authority = stage.authority(SHORT);
    // Where it came in between and met nobody, it comes again at once.
    program.hang_up();
    program.says("a new account with the authority");
    program.says("a new certificate for box.test is in force");
    drop(program);

    // The same where the account is what has changed, and before an order is thought of.
    drop(_authority);
    let _authority = stage.authority(LONG);
    std::fs::remove_file(&file).unwrap();
    std::fs::remove_file(folder.join("next-attempt")).unwrap();
    let program = stage.start_for("other@box.test");
    program.says("a new account with the authority");
    program.says("a new certificate for box.test is in force");
}

#[tokio::test(flavor = "multi_thread")]
async fn unwritten_certificate_is_written_at_shutdown() {
    let Some(stage) = Stage::new() else { return };
    let _authority = stage.authority(LONG);
    let file = stage.folder().join("certificate.pem");
    std::fs::create_dir_all(&file).unwrap();
    let program = stage.start();
    program.says("until then account and certificate are in memory alone");
    std::fs::remove_dir(&file).unwrap();
    program.end();
    assert!(file.is_file());
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_is_respected_over_a_restart() {
    let stage = Stage::bare();
    let asked = stage.plan.refuse(Duration::from_secs(3600)).await;
    let program = stage.start();
    program.says("no certificate for box.test yet: acme-directory cannot be reached (it answers 429");
    program.hang_up();
    program.says("no sooner, for the authority counts");
    drop(program);
    let program = stage.start();
    program.says("no certificate for box.test yet; the next attempt is at ");
    program.hang_up();
    program.says("no certificate for box.test yet; the next attempt is at ");
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}
