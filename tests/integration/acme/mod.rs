//! ACME with Pebble: the first certificate while the server runs, renewal in time, and the log if the authority
//! refuses. Skipped if Pebble is not installed.

mod client;
mod pebble;
mod profile_proxy;

use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use self::client::Client;
use self::pebble::{Pebble, Plan};
use self::profile_proxy::ProfileProxy;
use crate::harness::ports::free_port;
use crate::harness::program::Program;
use crate::harness::redis_server::RedisServer;
use tempfile::TempDir;

const NAME: &str = "box.test";
const LONG: Duration = Duration::from_secs(90 * 24 * 3600);
/// Renewal starts after half, which leaves enough time on a busy machine.
const SHORT: Duration = Duration::from_secs(27);
const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// The folder and ports of a server, and its ACME authority.
struct Fixture {
    plan: Plan,
    folder: TempDir,
    turn_port: u16,
}

impl Fixture {
    /// `None` if Pebble is not installed.
    fn new() -> Option<Self> {
        if !self::pebble::is_installed() {
            println!("skipped: pebble is not installed");
            return None;
        }
        Some(Self::without_pebble())
    }

    fn without_pebble() -> Self {
        Self { plan: Plan::new(), folder: tempfile::tempdir().unwrap(), turn_port: free_port() }
    }

    fn start(&self) -> Program {
        self.start_with_email("me@box.test")
    }

    fn start_with_email(&self, email: &str) -> Program {
        self.start_at(HERE, email, &[])
    }

    /// With further arguments, at another address.
    fn start_at(&self, address: Ipv4Addr, email: &str, arguments: &[&str]) -> Program {
        self.start_for(NAME, address.into(), &self.plan.directory(), email, arguments)
    }

    fn start_for(
        &self,
        domain: &str,
        address: IpAddr,
        directory: &str,
        email: &str,
        arguments: &[&str],
    ) -> Program {
        let mut command = Command::new(env!("CARGO_BIN_EXE_webrtc-box"));
        command.args(["--domain", domain, "--http-port=0", "--turns-port=0"]).args(arguments);
        command.arg("--listen").arg(address.to_string());
        command.args(["--metrics-listen", ""]);
        command.arg("--https-port").arg(self.plan.https_port.to_string());
        command.arg("--turn-port").arg(self.turn_port.to_string());
        command.args(["--acme-email", email, "--acme-directory", directory]);
        Program::start(
            command.current_dir(self.folder.path()).env_clear().env("SSL_CERT_FILE", self.plan.root()),
        )
    }

    /// The folder of account and certificate.
    fn acme_folder(&self) -> PathBuf {
        let name = self.plan.directory()[8..].replace([':', '/'], "-");
        self.folder.path().join("certs/acme").join(name)
    }

    fn start_authority(&self, validity: Duration) -> Pebble {
        self.plan.start(validity, HERE)
    }

    /// A client that accepts any certificate.
    fn any_client(&self) -> Client {
        Client::new(self.plan.https_port, None)
    }

    /// A client that accepts only certificates of the authority.
    async fn strict_client(&self) -> Client {
        let root = self::client::issuing_root(self.plan.management()).await;
        Client::new(self.plan.https_port, Some(root))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn serves_without_turns_until_it_has_a_certificate_and_keeps_it() {
    let Some(fixture) = Fixture::new() else { return };
    let program = fixture.start();
    // Without an authority the server logs the time of the next attempt, and serves.
    let lines = program.wait_for_line("no certificate for box.test yet: acme-directory cannot be reached");
    assert!(lines.last().unwrap().contains("next_attempt="), "{lines:?}");
    let mut participant = fixture.any_client().join("kitchen").await;
    let urls = participant.ice_servers().await;
    assert!(urls.contains("turn:box.test") && !urls.contains("turns:"), "{urls}");
    assert!(!fixture.any_client().get("/test.json").await.contains("turns:"));

    let authority = fixture.start_authority(LONG);
    let start = Instant::now();
    program.reload();
    program.wait_for_line("new certificate for box.test active");
    println!("first certificate {:.1} s after the request", start.elapsed().as_secs_f64());
    // Participants get the new list of ICE servers, and so do new ones.
    let urls = participant.ice_servers().await;
    assert!(urls.contains(&format!("turns:box.test:{}", fixture.plan.https_port)), "{urls}");
    let strict = fixture.strict_client().await;
    assert!(strict.get("/test.json").await.contains("turns:"));
    assert!(strict.join("hall").await.ice_servers().await.contains("turns:"));
    for name in ["account.json", "certificate.pem"] {
        let file = fixture.acme_folder().join(name);
        // The certificate is active before it is written.
        while !file.is_file() {
            assert!(start.elapsed() < SHORT, "{name} is not written");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }

    drop((program, authority));
    let program = fixture.start();
    program.wait_for_line("listening");
    assert!(strict.join("hall").await.ice_servers().await.contains("turns:"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_gets_a_certificate_as_well() {
    for (address, turns) in [("127.0.0.1", "turns:127.0.0.1:"), ("::1", "turns:[::1]:")] {
        let Some(fixture) = Fixture::new() else { return };
        let _authority = fixture.start_authority(LONG);
        let ip = address.parse().unwrap();
        let program = fixture.start_for(address, ip, &fixture.plan.directory(), "me@box.test", &[]);
        program.wait_for_line(&format!("new certificate for {address} active"));
        let root = self::client::issuing_root(fixture.plan.management()).await;
        let strict = Client::by_address(address, fixture.plan.https_port, root);
        let page = strict.response("/").await;
        assert_eq!((page.status, page.header("strict-transport-security")), (200, ""));
        let urls = strict.join("hall").await.ice_servers().await;
        assert!(urls.contains(turns), "{urls}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_ordered_with_the_short_profile_where_there_is_one() {
    let Some(fixture) = Fixture::new() else { return };
    let _authority = fixture.start_authority(LONG);
    let proxy = ProfileProxy::start(&fixture.plan).await;
    for (domain, profile) in [("127.0.0.1", Some("shortlived")), (NAME, None)] {
        // A state directory of its own: the next order of a server waits for a minute.
        let arguments = ["--state-dir", domain];
        let program = fixture.start_for(domain, HERE.into(), &proxy.directory(), "me@box.test", &arguments);
        program.wait_for_line(&format!("new certificate for {domain} active"));
        assert_eq!(proxy.last_profile().as_deref(), profile, "{domain}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn renews_in_time_without_a_failed_handshake() {
    let Some(fixture) = Fixture::new() else { return };
    let authority = fixture.start_authority(SHORT);
    let program = fixture.start();
    program.wait_for_line("new certificate for box.test active");
    let strict = fixture.strict_client().await;
    let first = strict.serial().await;
    let start = Instant::now();
    let (mut handshakes, mut serial) = (1, first);
    while serial == first {
        serial = strict.serial().await;
        handshakes += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(start.elapsed() < SHORT, "the certificate has expired");
    }
    program.wait_for_line("new certificate for box.test active");
    println!(
        "renewed after {:.1} of {} s, {handshakes} handshakes meanwhile",
        start.elapsed().as_secs_f64(),
        SHORT.as_secs()
    );
    assert!(start.elapsed() > SHORT / 2, "renewed too early");
    drop(authority);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_dns_is_logged_with_a_hint_and_retries_are_limited() {
    let Some(fixture) = Fixture::new() else { return };
    // Nothing listens at this address.
    let _authority = fixture.plan.start(LONG, Ipv4Addr::new(127, 0, 0, 9));
    let program = fixture.start();
    let lines = program.wait_for_line(
        "no certificate for box.test yet: the authority does not find this server on port 443",
    );
    let line = lines.last().unwrap();
    assert!(line.contains("let every A and AAAA record of it lead to this host"), "{line}");
    assert!(line.contains("unauthorized: "), "the error of the authority is logged: {line}");
    program.reload();
    let lines = program.wait_for_line("no earlier attempt, because the authority counts them");
    assert!(!lines.iter().any(|line| line.contains("requesting a certificate")), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_account_is_replaced_and_unwritten_certificate_is_served() {
    let Some(fixture) = Fixture::new() else { return };
    let authority = fixture.start_authority(SHORT);
    let folder = fixture.acme_folder();
    // A folder in the place of the file makes writing fail, also for root.
    let file = folder.join("certificate.pem");
    std::fs::create_dir_all(&file).unwrap();
    let program = fixture.start();
    program.wait_for_line("new ACME account created");
    program.wait_for_line("new certificate for box.test active");
    let lines = program.wait_for_line("until then account and certificate are in memory alone");
    assert!(lines.last().unwrap().contains("certificate.pem cannot be written"), "{lines:?}");
    fixture.strict_client().await.serial().await;
    std::fs::remove_dir(&file).unwrap();
    program.reload();
    let lines = program.wait_for_line("account and certificate are written now");
    assert!(!lines.iter().any(|line| line.contains("requesting a certificate")), "{lines:?}");
    assert!(file.is_file());
    // A restarted Pebble does not know the account that the server uses for the renewal.
    drop(authority);
    let _authority = fixture.start_authority(SHORT);
    // If an attempt failed between the two authorities, the reload starts another one.
    program.reload();
    program.wait_for_line("new ACME account created");
    program.wait_for_line("new certificate for box.test active");
    drop(program);

    // The same with a changed account, before the first order.
    drop(_authority);
    let _authority = fixture.start_authority(LONG);
    std::fs::remove_file(&file).unwrap();
    std::fs::remove_file(folder.join("next-attempt")).unwrap();
    let program = fixture.start_with_email("other@box.test");
    program.wait_for_line("new ACME account created");
    program.wait_for_line("new certificate for box.test active");
}

#[tokio::test(flavor = "multi_thread")]
async fn unwritten_certificate_is_written_at_shutdown() {
    let Some(fixture) = Fixture::new() else { return };
    let _authority = fixture.start_authority(LONG);
    let file = fixture.acme_folder().join("certificate.pem");
    std::fs::create_dir_all(&file).unwrap();
    let program = fixture.start();
    program.wait_for_line("until then account and certificate are in memory alone");
    std::fs::remove_dir(&file).unwrap();
    program.stop();
    assert!(file.is_file());
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_is_respected_over_a_restart() {
    let fixture = Fixture::without_pebble();
    let requests = fixture.plan.start_refusing(Duration::from_secs(3600)).await;
    let program = fixture.start();
    program
        .wait_for_line("no certificate for box.test yet: acme-directory cannot be reached (it answers 429");
    program.reload();
    program.wait_for_line("no earlier attempt, because the authority counts them");
    drop(program);
    let program = fixture.start();
    program.wait_for_line("no certificate for box.test yet next_attempt=");
    program.reload();
    program.wait_for_line("no certificate for box.test yet next_attempt=");
    assert_eq!(requests.load(Ordering::Relaxed), 1);
}

/// Two servers of one name in a cluster, each at an address of its own.
struct Pair {
    fixture: Fixture,
    redis: RedisServer,
}

const NODES: [(&str, Ipv4Addr); 2] =
    [("b1.box.test", Ipv4Addr::LOCALHOST), ("b2.box.test", Ipv4Addr::new(127, 0, 0, 2))];

impl Pair {
    /// `None` if Pebble or Redis is not installed.
    fn new() -> Option<Self> {
        Some(Self { fixture: Fixture::new()?, redis: RedisServer::start(&[])? })
    }

    fn start(&self, index: usize) -> Program {
        let (name, address) = NODES[index];
        let (url, state) = (self.redis.url(), format!("state-{name}"));
        let cluster = ["--cluster", &url, "--node-name", name, "--cluster-key", "sixteen letters!"];
        self.fixture.start_at(address, "me@box.test", &[&cluster[..], &["--state-dir", &state]].concat())
    }

    /// An authority for which the common name leads to the server `index`.
    fn start_authority(&self, index: usize) -> Pebble {
        let names = [NODES[0], NODES[1], (NAME, NODES[index].1)];
        self.fixture.plan.start_with_names(LONG, HERE, &names)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_of_a_cluster_get_certificates_for_both_names_one_after_the_other() {
    let Some(pair) = Pair::new() else { return };
    // The authority asks the second server about the common name, also while the first one orders.
    let _authority = pair.start_authority(1);
    let start = Instant::now();
    let programs = [pair.start(0), pair.start(1)];
    for program in &programs {
        program.wait_for_line("new certificate for box.test active");
    }
    println!("two certificates {:.1} s after the start", start.elapsed().as_secs_f64());
    let root = self::client::issuing_root(pair.fixture.plan.management()).await;
    let mut serials = Vec::new();
    for (name, address) in NODES {
        let client = Client::at(address, pair.fixture.plan.https_port, Some(root.clone()));
        client.trusts(NAME).await;
        client.trusts(name).await;
        serials.push(client.serial().await);
    }
    assert_ne!(serials[0], serials[1], "each server has its own key and certificate");
}

#[tokio::test(flavor = "multi_thread")]
async fn server_of_a_cluster_orders_once_the_store_is_there() {
    let Some(pair) = Pair::new() else { return };
    let _authority = pair.start_authority(0);
    pair.redis.pause();
    let program = pair.start(0);
    program.wait_for_line("another box orders a certificate, or the store is unreachable");
    pair.redis.resume();
    program.wait_for_line("new certificate for box.test active");
}
