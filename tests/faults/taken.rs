//! Ports that somebody else has when the box starts.

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::process::Stdio;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::client::PATIENCE;
use super::house::alone;
use super::place::Place;

/// What the box says before it gives up, and how soon.
pub fn complaint(place: &Place) -> (String, Duration) {
    let begun = Instant::now();
    let mut child = place.command::<&str>(&[]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    while child.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < PATIENCE, "it runs all the same");
        std::thread::sleep(Duration::from_millis(5));
    }
    let time = begun.elapsed();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(!child.wait().unwrap().success());
    (said, time)
}

/// A UDP socket that would share its port.
fn sharing(address: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket
}

#[test]
fn each_port_that_is_taken_is_one_line_that_names_its_setting_and_the_cure() {
    let (_turn, place) = (alone(), Place::named());
    let is_told = |setting: &str, address: SocketAddr, how: &str| {
        let (said, time) = complaint(&place);
        println!("{setting} taken ({how}): told after {time:?}: {}", said.trim_end());
        assert_eq!(said.lines().count(), 1, "{said}");
        for part in [setting, &address.port().to_string(), "in use", "stop the other program", "another"] {
            assert!(said.contains(part), "{said} lacks {part}");
        }
        assert!(time < Duration::from_secs(3));
    };
    for (setting, address) in [
        ("https-port", place.https),
        ("http-port", place.http),
        ("turn-port", place.turn),
        ("turns-port", place.turns),
        ("metrics-listen", place.metrics),
    ] {
        let _taken = TcpListener::bind(address).unwrap();
        is_told(setting, address, "TCP");
    }
    let taken = UdpSocket::bind(place.turn).unwrap();
    is_told("turn-port", place.turn, "UDP");
    drop(taken);
    let _shared = sharing(place.turn);
    is_told("turn-port", place.turn, "UDP with SO_REUSEPORT");
}
