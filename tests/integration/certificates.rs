//! A box whose certificate is renewed under it: what is served, what is refused, what is said, and
//! that no handshake notices.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::harness::ports::free_port;
use crate::harness::program::Program;
use crate::harness::test_ca::{Authority, Live, Pair};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{interval, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use webrtc_box::Running;
use webrtc_box::config::{RawSettings, StateDirDefaults};
use x509_parser::prelude::{FromDer as _, X509Certificate};

const PATIENCE: Duration = Duration::from_secs(20);
const NAME: &str = "box.test";

/// A box with a domain whose certificate lies in files.
struct Server {
    running: Running,
    live: Live,
    authority: Authority,
    connector: TlsConnector,
    _place: TempDir,
}

async fn server() -> Server {
    let place = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let live = Live::new(place.path(), &authority.issue(NAME, 1));
    let path = |path: PathBuf| Some(path.to_str().unwrap().to_owned());
    let typed = RawSettings {
        domain: Some(NAME.into()),
        cert: path(live.cert()),
        key: path(live.key()),
        state_dir: path(place.path().join("state")),
        listen: Some(vec!["127.0.0.1".into()]),
        https_port: Some(free_port().to_string()),
        http_port: Some("0".into()),
        turn_port: Some(free_port().to_string()),
        turns_port: Some(free_port().to_string()),
        metrics_listen: Some(String::new()),
        source_connections: Some("100000".into()),
        ..RawSettings::default()
    };
    let settings = typed.validate(&StateDirDefaults::default()).unwrap();
    let running = webrtc_box::start(settings).await.unwrap();
    let connector = connector(&authority);
    Server { running, live, authority, connector, _place: place }
}

/// A client that trusts `authority` and nobody else, and resumes nothing: each handshake is whole.
fn connector(authority: &Authority) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(authority.root.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

impl Server {
    /// The serial number of what is served at `listener`.
    async fn serial(&self, listener: SocketAddr) -> u64 {
        serial(&shake_hands(&self.connector, listener).await.unwrap())
    }

    async fn comes_to_serve(&self, serial: u64) {
        let listeners = [self.running.https[0], self.running.turns[0]];
        let served = async {
            for listener in listeners {
                while self.serial(listener).await != serial {
                    sleep(Duration::from_millis(50)).await;
                }
            }
        };
        timeout(PATIENCE, served).await.unwrap_or_else(|_| panic!("{serial} is not served"));
    }
}

async fn shake_hands(connector: &TlsConnector, to: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
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
    server.comes_to_serve(1).await;
    // As certbot does it, and as a script that copies does it.
    server.live.renew(&server.authority.issue(NAME, 2));
    server.comes_to_serve(2).await;
    let third = server.authority.issue(NAME, 3);
    server.live.overwrite(&third.cert, &third.key);
    server.comes_to_serve(3).await;
    let summary = server.running.certificate.summary();
    assert_eq!((summary.renewals, summary.fault.clone()), (2, None));
    assert_eq!(summary.leaf.names, [NAME]);
}

#[tokio::test]
async fn check_now_reads_the_files_and_keeps_the_old_pair_if_bad() {
    let server = server().await;
    let (good, other) = (server.authority.issue(NAME, 2), server.authority.issue(NAME, 3));
    server.live.overwrite(&good.cert, &other.key);
    server.running.certificate.look_now();
    let told = async {
        while server.running.certificate.summary().fault.is_none() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, told).await.unwrap();
    let fault = server.running.certificate.summary().fault.clone().unwrap();
    assert!(fault.contains("does not belong to cert"), "{fault}");
    assert_eq!(server.serial(server.running.https[0]).await, 1);
    server.live.overwrite(&good.cert, &good.key);
    server.running.certificate.look_now();
    server.comes_to_serve(2).await;
    assert_eq!(server.running.certificate.summary().fault, None);
}

/// Changes what the files hold; whether it can be served.
fn swap(live: &mut Live, authority: &Authority, round: u64) -> bool {
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

/// Handshakes a second, and changes of the files, one every two seconds.
const RATE: u64 = 200;
const ROUNDS: u64 = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_handshake_fails_while_files_change_every_two_seconds() {
    let Server { running, mut live, authority, connector, _place } = server().await;
    let listeners = [running.https[0], running.turns[0]];
    let (done, failed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut good = 0;
    let began = Instant::now();
    let mut pace = interval(Duration::from_micros(1_000_000 / RATE));
    for beat in 0..ROUNDS * 2 * RATE {
        if beat % (2 * RATE) == 0 {
            good += u32::from(swap(&mut live, &authority, beat / (2 * RATE)));
        }
        let (connector, listener) = (connector.clone(), listeners[beat as usize % 2]);
        let (done, failed) = (Arc::clone(&done), Arc::clone(&failed));
        tokio::spawn(async move {
            let shaken = timeout(PATIENCE, shake_hands(&connector, listener)).await;
            let count = if matches!(shaken, Ok(Ok(_))) { done } else { failed };
            count.fetch_add(1, Ordering::Relaxed);
        });
        pace.tick().await;
    }
    let count = || (done.load(Ordering::Relaxed), failed.load(Ordering::Relaxed));
    let over = async {
        let all = (ROUNDS * 2 * RATE) as usize;
        // The last change is good, and lasts.
        while count().0 + count().1 < all || running.certificate.summary().renewals == 0 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, over).await.unwrap();
    let ((done, failed), renewals) = (count(), running.certificate.summary().renewals);
    println!(
        "{done} handshakes in {:.1} s while the files changed {ROUNDS} times, {failed} failed; \
         {renewals} of {good} good pairs taken",
        began.elapsed().as_secs_f64()
    );
    assert_eq!(failed, 0);
}

/// The program itself with the certificate in `live`.
fn program(place: &TempDir, live: &Live) -> Program {
    let mut command = Command::new(env!("CARGO_BIN_EXE_webrtc-box"));
    command.args(["--domain", NAME, "--listen", "127.0.0.1", "--http-port=0", "--turns-port=0"]);
    command.arg("--https-port").arg(free_port().to_string());
    command.args(["--metrics-listen", ""]);
    command.arg("--turn-port").arg(free_port().to_string());
    command.arg("--cert").arg(live.cert()).arg("--key").arg(live.key());
    Program::start(command.current_dir(place.path()).env_clear())
}

#[test]
fn bad_pair_and_its_correction_log_one_line_each() {
    let place = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let first = authority.issue(NAME, 1);
    let mut live = Live::new(place.path(), &first);
    let program = program(&place, &live);
    program.says("listening");

    live.renew(&Pair { cert: first.cert.clone(), key: "garbage".to_owned() });
    let told = program.says("holds no PEM private key; name the privkey.pem");
    assert!(told.last().unwrap().contains("the certificate before stays in force, until "), "{told:?}");
    live.renew(&first);
    let meanwhile = program.says("cert and key hold the certificate that is in force");
    assert_eq!(meanwhile.len(), 1, "{meanwhile:?}");
    live.renew(&authority.issue(NAME, 2));
    let taken = program.says("a new certificate is in force");
    assert_eq!(taken.len(), 1, "{taken:?}");
}

#[test]
fn certificate_for_another_name_is_served_with_a_warning() {
    let place = tempfile::tempdir().unwrap();
    let live = Live::new(place.path(), &Authority::new().issue("other.test", 1));
    let program = program(&place, &live);
    program.says("is for other.test, so browsers refuse it at box.test; have one issued for box.test");
}
