//! Ports that somebody else has when the box starts.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::harness::environment::Environment;
use crate::harness::server_process::{exclusive, startup_error};

/// A UDP socket that would share its port.
fn sharing(address: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket
}

#[test]
fn port_in_use_is_one_line_with_setting_and_hint() {
    let (_turn, environment) = (exclusive(), Environment::named());
    let is_told = |setting: &str, address: SocketAddr, how: &str| {
        let (said, time) = startup_error(environment.command::<&str>(&[]));
        println!("{setting} taken ({how}): told after {time:?}: {}", said.trim_end());
        assert_eq!(said.lines().count(), 1, "{said}");
        for part in [setting, &address.port().to_string(), "in use", "stop the other program", "another"] {
            assert!(said.contains(part), "{said} lacks {part}");
        }
        assert!(time < Duration::from_secs(3));
    };
    for (setting, address) in [
        ("https-port", environment.https),
        ("http-port", environment.http),
        ("turn-port", environment.turn),
        ("turns-port", environment.turns),
        ("metrics-listen", environment.metrics),
    ] {
        let _taken = TcpListener::bind(address).unwrap();
        is_told(setting, address, "TCP");
    }
    let taken = UdpSocket::bind(environment.turn).unwrap();
    is_told("turn-port", environment.turn, "UDP");
    drop(taken);
    let _shared = sharing(environment.turn);
    is_told("turn-port", environment.turn, "UDP with SO_REUSEPORT");
}
