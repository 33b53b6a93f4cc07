//! Sockets that are open before the box is, as systemd opens those of a socket unit.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::lifecycle::get;
use crate::harness::environment::{Environment, program};
use crate::harness::participant::Participant;
use crate::harness::server_process::ServerProcess;
use crate::harness::turn_client::{PATIENCE, binding, socket};

/// Starts the box as its own parent would: the sockets are its descriptors from 3 on.
fn on(environment: &Environment, sockets: [OwnedFd; 2], names: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    let given = "exec 3<&0 4<&1 </dev/null >&2; export LISTEN_PID=$$ LISTEN_FDS=2; exec \"$@\"";
    command.args(["-c", given, "sh"]).arg(program());
    let mut command = environment.configure::<&str>(command, &[]);
    let [first, second] = sockets;
    command.stdin(first).stdout(second).stderr(Stdio::piped());
    if !names.is_empty() {
        command.env("LISTEN_FDNAMES", names);
    }
    command
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// The one line that a box says which does not start.
fn startup_error(mut command: Command) -> String {
    let output = command.stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn activated_sockets_serve_clients_that_came_before_the_start() {
    let (https, https_at) = listener();
    let (more, more_at) = listener();
    let environment = Arc::new(Environment::named().on_https(https_at));
    // Waits in the kernel's queue until there is a box.
    let early = TcpStream::connect(https_at).unwrap();
    let mut command = on(&environment, [https.into(), more.into()], "https:https");
    command.env("WEBRTC_BOX_HTTPS_PORT", https_at.port().to_string());
    let server = ServerProcess::start_without_log(&environment, command);
    let _seat = Participant::join_room(&server, "kitchen");
    for mut stream in [server.tls_over(early), server.tls_over(server.tcp(more_at))] {
        assert!(get(&mut stream, "/healthz").starts_with("HTTP/1.1 200 "));
    }
    // Ports that are not passed are opened by the box.
    let udp = socket([0, 9, 1], server.turn);
    udp.send(&binding(1)).unwrap();
    udp.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(udp.recv(&mut [0; 100]).is_ok());
}

#[test]
fn activated_sockets_without_names_are_matched_by_port() {
    let (https, https_at) = listener();
    let (http, http_at) = listener();
    let environment = Arc::new(Environment::named().on_https(https_at));
    let mut command = on(&environment, [http.into(), https.into()], "");
    command.env("WEBRTC_BOX_HTTP_PORT", http_at.port().to_string());
    let server = ServerProcess::start_without_log(&environment, command);
    let _seat = Participant::join_room(&server, "kitchen");
    assert!(get(&mut server.tcp(http_at), "/").starts_with("HTTP/1.1 308 "));
}

#[test]
fn unexpected_activated_socket_is_one_line_with_a_hint() {
    let (https, https_at) = listener();
    let (stray, stray_at) = listener();
    let environment = Environment::named().on_https(https_at);
    let said = startup_error(on(&environment, [https.into(), stray.into()], ""));
    assert_eq!(said.matches('\n').count(), 1, "{said}");
    for part in ["https-port", &stray_at.to_string(), "ListenStream="] {
        assert!(said.contains(part), "{said} lacks {part}");
    }
}

#[test]
fn activated_descriptor_that_is_no_listener_is_one_line() {
    let (https, https_at) = listener();
    let connection = TcpStream::connect(https_at).unwrap();
    let environment = Environment::named().on_https(https_at);
    let said = startup_error(on(&environment, [https.into(), connection.into()], ""));
    assert!(said.contains("socket 2") && said.contains("Accept="), "{said}");
}
