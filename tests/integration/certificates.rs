//! Certificate files that change while the server runs: which certificate it serves and what it logs; no
//! handshake fails.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::harness::ports::free_port;
use crate::harness::program::Program;
use crate::harness::test_ca::{Authority, Live, Pair, client_config};
use crate::in_process::{self, NAME};
use rustls::pki_types::ServerName;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{interval, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use webrtc_box::Running;
use webrtc_box::config::RawSettings;
use x509_parser::prelude::{FromDer as _, X509Certificate};

const TEST_TIMEOUT: Duration = Duration::from_secs(20);

/// A server whose certificate files can be renewed.
struct Server {
    running: Running,
    live: Live,
    authority: Authority,
    connector: TlsConnector,
    _folder: TempDir,
}

async fn server() -> Server {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let live = Live::new(folder.path(), &authority.issue(NAME, 1));
    let path = |path: PathBuf| Some(path.to_str().unwrap().to_owned());
    let settings = RawSettings {
        cert: path(live.cert()),
        key: path(live.key()),
        source_connections: Some("100000".into()),
        ..in_process::settings(folder.path())
    };
    let running = in_process::start(settings).await;
    let connector = connector(&authority);
    Server { running, live, authority, connector, _folder: folder }
}

/// A client that trusts `authority` and does not resume TLS sessions, so that each handshake is complete.
fn connector(authority: &Authority) -> TlsConnector {
    let mut config = client_config(authority.root.clone());
    config.resumption = rustls::client::Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

impl Server {
    /// The serial number of the certificate that `listener` serves.
    async fn serial(&self, listener: SocketAddr) -> u64 {
        serial(&connect(&self.connector, listener).await.unwrap())
    }

    /// Waits until both listeners serve the certificate with this serial number.
    async fn wait_until_served(&self, serial: u64) {
        let listeners = [self.running.https[0], self.running.turns[0]];
        let served = async {
            for listener in listeners {
                while self.serial(listener).await != serial {
                    sleep(Duration::from_millis(50)).await;
                }
            }
        };
        timeout(TEST_TIMEOUT, served).await.unwrap_or_else(|_| panic!("{serial} is not served"));
    }
}

async fn connect(connector: &TlsConnector, to: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(to).await?;
    connector.connect(ServerName::try_from(NAME).unwrap(), stream).await
}

fn serial(stream: &TlsStream<TcpStream>) -> u64 {
    let chain = stream.get_ref().1.peer_certificates().unwrap();
    let (_, leaf) = X509Certificate::from_der(&chain[0]).unwrap();
    leaf.raw_serial().iter().fold(0, |serial, &byte| serial << 8 | u64::from(byte))
}

#[tokio::test]
async fn renewed_certificate_is_served_on_every_listener() {
    let mut server = server().await;
    server.wait_until_served(1).await;
    // Certbot replaces links; scripts overwrite files.
    server.live.renew(&server.authority.issue(NAME, 2));
    server.wait_until_served(2).await;
    let third = server.authority.issue(NAME, 3);
    server.live.overwrite(&third.cert, &third.key);
    server.wait_until_served(3).await;
    let summary = server.running.certificate.status();
    assert_eq!((summary.renewals, summary.renewal_error.clone()), (2, None));
    assert_eq!(summary.leaf.names, [NAME]);
}

#[tokio::test]
async fn check_now_reads_the_files_and_keeps_the_old_pair_if_bad() {
    let server = server().await;
    let (good, other) = (server.authority.issue(NAME, 2), server.authority.issue(NAME, 3));
    server.live.overwrite(&good.cert, &other.key);
    server.running.certificate.check_now();
    let fault_reported = async {
        while server.running.certificate.status().renewal_error.is_none() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(TEST_TIMEOUT, fault_reported).await.unwrap();
    let fault = server.running.certificate.status().renewal_error.clone().unwrap();
    assert!(fault.contains("does not belong to cert"), "{fault}");
    assert_eq!(server.serial(server.running.https[0]).await, 1);
    server.live.overwrite(&good.cert, &good.key);
    server.running.certificate.check_now();
    server.wait_until_served(2).await;
    assert_eq!(server.running.certificate.status().renewal_error, None);
}

/// Changes the contents of the files; whether the new pair is valid.
fn change_files(live: &mut Live, authority: &Authority, round: u64) -> bool {
    let pair = authority.issue(NAME, 100 + round);
    let half = |text: &str| text[..text.len() / 2].to_owned();
    match round % 5 {
        0 => live.overwrite("garbage", "garbage"),
        1 => live.overwrite(&pair.cert, &pair.key),
        2 => live.renew(&Pair { cert: half(&pair.cert), key: half(&pair.key) }),
        3 => live.renew(&Pair { cert: pair.cert, key: authority.issue(NAME, 0).key }),
        _ => live.renew(&pair),
    }
    matches!(round % 5, 1 | 4)
}

/// Handshakes per second.
const RATE: u64 = 200;
/// Changes of the files, one every two seconds.
const ROUNDS: u64 = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_handshake_fails_while_files_change_every_two_seconds() {
    let Server { running, mut live, authority, connector, _folder } = server().await;
    let listeners = [running.https[0], running.turns[0]];
    let (done, failed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut good = 0;
    let start = Instant::now();
    let mut ticks = interval(Duration::from_micros(1_000_000 / RATE));
    for tick in 0..ROUNDS * 2 * RATE {
        if tick % (2 * RATE) == 0 {
            good += u32::from(change_files(&mut live, &authority, tick / (2 * RATE)));
        }
        let (connector, listener) = (connector.clone(), listeners[tick as usize % 2]);
        let (done, failed) = (Arc::clone(&done), Arc::clone(&failed));
        tokio::spawn(async move {
            let handshake = timeout(TEST_TIMEOUT, connect(&connector, listener)).await;
            let count = if matches!(handshake, Ok(Ok(_))) { done } else { failed };
            count.fetch_add(1, Ordering::Relaxed);
        });
        ticks.tick().await;
    }
    let count = || (done.load(Ordering::Relaxed), failed.load(Ordering::Relaxed));
    let finished = async {
        let all = (ROUNDS * 2 * RATE) as usize;
        // The last pair is valid and is served in the end.
        while count().0 + count().1 < all || running.certificate.status().renewals == 0 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(TEST_TIMEOUT, finished).await.unwrap();
    let ((done, failed), renewals) = (count(), running.certificate.status().renewals);
    println!(
        "{done} handshakes in {:.1} s while the files changed {ROUNDS} times, {failed} failed; \
         {renewals} of {good} valid pairs served",
        start.elapsed().as_secs_f64()
    );
    assert_eq!(failed, 0);
}

/// Starts the real program with the certificate in `live`.
fn program(folder: &TempDir, live: &Live) -> Program {
    let mut command = Command::new(env!("CARGO_BIN_EXE_webrtc-box"));
    command.args(["--domain", NAME, "--listen", "127.0.0.1", "--http-port=0", "--turns-port=0"]);
    command.arg("--https-port").arg(free_port().to_string());
    command.args(["--metrics-listen", ""]);
    command.arg("--turn-port").arg(free_port().to_string());
    command.arg("--cert").arg(live.cert()).arg("--key").arg(live.key());
    Program::start(command.current_dir(folder.path()).env_clear())
}

#[test]
fn bad_pair_and_its_correction_log_one_line_each() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let first = authority.issue(NAME, 1);
    let mut live = Live::new(folder.path(), &first);
    let program = program(&folder, &live);
    program.wait_for_line("listening");

    live.renew(&Pair { cert: first.cert.clone(), key: "garbage".to_owned() });
    let lines = program.wait_for_line("holds no PEM private key; name the privkey.pem");
    assert!(lines.last().unwrap().contains("the previous certificate stays active until="), "{lines:?}");
    live.renew(&first);
    let lines = program.wait_for_line("cert and key contain the active certificate");
    assert_eq!(lines.len(), 1, "{lines:?}");
    live.renew(&authority.issue(NAME, 2));
    let lines = program.wait_for_line("new certificate active");
    assert_eq!(lines.len(), 1, "{lines:?}");
}

#[test]
fn certificate_for_another_name_is_served_with_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let live = Live::new(folder.path(), &Authority::new().issue("other.test", 1));
    let program = program(&folder, &live);
    program
        .wait_for_line("is for other.test, so browsers refuse it at box.test; have one issued for box.test");
}
