//! TURN REST usernames beside coturn: what it lets in comes in here, and nothing that has expired. Skipped
//! where `turnserver` is not installed.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use stun::message as wire;
use webrtc_box_turn::credential::{Credential, Secret};

use crate::harness::environment::SECRET;
use crate::harness::ports::free_port;
use crate::harness::server_process::ServerProcess;
use crate::harness::turn_client::{TurnClient, UDP, Wire as _, code, request, socket};

/// Ends with this.
struct Coturn {
    child: Child,
    at: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Coturn {
    fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let child = Command::new("turnserver")
            .args(["-n", "--use-auth-secret", "--no-tls", "--no-dtls", "--no-cli", "--realm=coturn"])
            .args(["--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1"])
            .arg(format!("--static-auth-secret={SECRET}"))
            .arg(format!("--listening-port={}", at.port()))
            .arg(format!("--pidfile={}", path("pid")))
            .arg(format!("--userdb={}", path("db")))
            .arg(format!("--log-file={}", path("log")))
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let coturn = Self { child: child.ok()?, at, _folder: folder };
        coturn.comes_up();
        Some(coturn)
    }

    fn comes_up(&self) {
        let (begun, mut asking) = (Instant::now(), socket([0, 31, 1], self.at));
        asking.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        loop {
            // Refused until it listens.
            let _ = UdpSocket::send(&asking, &request(wire::METHOD_BINDING, [1; 12], &[]).raw);
            if asking.receive().is_some() {
                return;
            }
            assert!(begun.elapsed() < crate::harness::turn_client::PATIENCE, "coturn does not come up");
        }
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether an Allocate with this username and the right password is let in.
fn lets_in(at: SocketAddr, username: &str) -> bool {
    let password = Secret::new(SECRET).password(username);
    let credential = Credential { username: username.to_owned(), password };
    let mut client = TurnClient::holding(credential, socket([0, 31, 2], at));
    let entered = code(&client.attempt(wire::METHOD_ALLOCATE, &[UDP], &[])) == 0;
    if entered {
        client.delete();
    }
    entered
}

/// Forms of a username; `T` is a moment.
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
        println!("no turnserver is installed: expiry alone is looked at");
    }
    let (mut both, mut ours_alone) = (0, Vec::new());
    for form in FORMS {
        let (future, past) =
            (form.replace('T', &(now + 3600).to_string()), form.replace('T', &(now - 60).to_string()));
        assert!(!lets_in(server.turn, &past), "{past:?} has expired");
        let theirs = coturn.as_ref().is_some_and(|coturn| lets_in(coturn.at, &future));
        let ours = lets_in(server.turn, &future);
        assert!(ours || !theirs, "coturn lets {future:?} in");
        both += usize::from(theirs);
        ours_alone.extend((ours && !theirs).then_some(future));
    }
    println!("{both} of {} forms let in by both; by us alone: {ours_alone:?}", FORMS.len());
    // A blank, which coturn refuses for its data bases' sake.
    assert!(coturn.is_none() || (both >= 15 && ours_alone.iter().all(|username| username.contains(' '))));
    for never in ["0:u", "1:u", "u:1", "99999999999999999999999:u", "-1"] {
        assert!(!lets_in(server.turn, never), "{never}");
    }
    for far in ["2147483648:u", "4294967295:u"] {
        assert!(lets_in(server.turn, far), "{far} is a moment to come");
    }
}
