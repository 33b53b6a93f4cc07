//! TURN REST usernames, compared with coturn: each one that it accepts is accepted here, and no expired one.
//! The comparison is skipped if `turnserver` is not installed.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use stun::message as wire;
use webrtc_box_turn::credential::{Credential, Secret};

use crate::harness::environment::SECRET;
use crate::harness::ports::free_port;
use crate::harness::server_process::ServerProcess;
use crate::harness::turn_client::{TurnClient, UDP, Wire as _, error_code, request, socket};

/// A running coturn; killed when dropped.
struct Coturn {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Coturn {
    fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let child = Command::new("turnserver")
            .args(["-n", "--use-auth-secret", "--no-tls", "--no-dtls", "--no-cli", "--realm=coturn"])
            .args(["--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1"])
            .arg(format!("--static-auth-secret={SECRET}"))
            .arg(format!("--listening-port={}", address.port()))
            .arg(format!("--pidfile={}", path("pid")))
            .arg(format!("--userdb={}", path("db")))
            .arg(format!("--log-file={}", path("log")))
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let coturn = Self { child: child.ok()?, address, _folder: folder };
        coturn.wait_until_listening();
        Some(coturn)
    }

    fn wait_until_listening(&self) {
        let (start, mut socket) = (Instant::now(), socket([0, 31, 1], self.address));
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        loop {
            // Fails until coturn listens.
            let _ = UdpSocket::send(&socket, &request(wire::METHOD_BINDING, [1; 12], &[]).raw);
            if socket.receive().is_some() {
                return;
            }
            assert!(start.elapsed() < crate::harness::turn_client::TEST_TIMEOUT, "coturn does not start");
        }
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether an Allocate with this username and the correct password succeeds.
fn accepts(server: SocketAddr, username: &str) -> bool {
    let password = Secret::new(SECRET).password(username);
    let credential = Credential { username: username.to_owned(), password };
    let mut client = TurnClient::with_credential(credential, socket([0, 31, 2], server));
    let accepted = error_code(&client.try_request(wire::METHOD_ALLOCATE, &[UDP], &[])) == 0;
    if accepted {
        client.delete();
    }
    accepted
}

/// Forms of a username; `T` is a Unix time.
const FORMS: [&str; 36] = [
    "T:user", "user:T", "T", "T:", ":T", "+T", "Tuser", "T;user", "T-user", "00T:u", "u:00T", "u:+T", "u:Tx",
    "T:a:b", "a:T:b", "a:b:T", "::T", ":x:T", "+T:u", "-T:u", "u:-T", "-T", " T", "T ", " T:u", "T :u",
    "u: T", "u:\tT", "Tx:u", "é:T", "", ":", "user", "user:x", "x:user:y", "T:1",
];

#[test]
fn usernames_are_accepted_exactly_as_by_coturn() {
    let server = ServerProcess::with(&["--unauth-reply-rate", "0", "--user-quota", "0"], None);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let coturn = Coturn::start();
    if coturn.is_none() {
        println!("turnserver is not installed: only expiry is tested");
    }
    let (mut both, mut only_us) = (0, Vec::new());
    for form in FORMS {
        let (future, past) =
            (form.replace('T', &(now + 3600).to_string()), form.replace('T', &(now - 60).to_string()));
        assert!(!accepts(server.turn, &past), "{past:?} has expired");
        let by_coturn = coturn.as_ref().is_some_and(|coturn| accepts(coturn.address, &future));
        let by_us = accepts(server.turn, &future);
        assert!(by_us || !by_coturn, "coturn accepts {future:?}");
        both += usize::from(by_coturn);
        only_us.extend((by_us && !by_coturn).then_some(future));
    }
    println!("{both} of {} forms accepted by both; only here: {only_us:?}", FORMS.len());
    // coturn rejects spaces because of its databases.
    assert!(coturn.is_none() || (both >= 15 && only_us.iter().all(|username| username.contains(' '))));
    for never in ["0:u", "1:u", "u:1", "99999999999999999999999:u", "-1"] {
        assert!(!accepts(server.turn, never), "{never}");
    }
    for far in ["2147483648:u", "4294967295:u"] {
        assert!(accepts(server.turn, far), "{far} is in the future");
    }
}
