//! Ports that another program has bound when the server starts.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::harness::environment::Environment;
use crate::harness::server_process::{exclusive, startup_error};

/// A UDP socket that allows others to share its port.
fn shared_socket(address: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket
}

#[test]
fn port_in_use_is_one_line_with_setting_and_hint() {
    let (_guard, environment) = (exclusive(), Environment::with_domain());
    let assert_error = |setting: &str, address: SocketAddr, how: &str| {
        let (error, time) = startup_error(environment.command::<&str>(&[]));
        println!("{setting} in use ({how}): exit after {time:?}: {}", error.trim_end());
        assert_eq!(error.lines().count(), 1, "{error}");
        for part in [setting, &address.port().to_string(), "in use", "stop the other program", "another"] {
            assert!(error.contains(part), "{error} lacks {part}");
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
        assert_error(setting, address, "TCP");
    }
    let taken = UdpSocket::bind(environment.turn).unwrap();
    assert_error("turn-port", environment.turn, "UDP");
    drop(taken);
    let _shared = shared_socket(environment.turn);
    assert_error("turn-port", environment.turn, "UDP with SO_REUSEPORT");
}
