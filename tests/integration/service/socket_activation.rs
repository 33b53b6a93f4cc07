//! Sockets that are open before the start, as with a socket unit of systemd.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::Arc;

use crate::harness::environment::{Environment, program};
use crate::harness::http_client;
use crate::harness::participant::Participant;
use crate::harness::server_process::ServerProcess;
use crate::harness::turn_client::{TEST_TIMEOUT, binding, socket};

/// Starts the server with `sockets` as descriptors 3 and 4, as systemd does.
fn command(environment: &Environment, sockets: [OwnedFd; 2], names: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    let script = "exec 3<&0 4<&1 </dev/null >&2; export LISTEN_PID=$$ LISTEN_FDS=2; exec \"$@\"";
    command.args(["-c", script, "sh"]).arg(program());
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

/// The stderr of a server that must fail to start.
fn startup_error(mut command: Command) -> String {
    let output = command.stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn activated_sockets_serve_clients_that_came_before_the_start() {
    let (https, https_at) = listener();
    let (more, more_at) = listener();
    let environment = Arc::new(Environment::with_domain().with_https(https_at));
    // Waits in the queue of the kernel until the server starts.
    let early = TcpStream::connect(https_at).unwrap();
    let mut command = command(&environment, [https.into(), more.into()], "https:https");
    command.env("WEBRTC_BOX_HTTPS_PORT", https_at.port().to_string());
    let server = ServerProcess::start_without_log(&environment, command);
    let _seat = Participant::join_room(&server, "kitchen");
    for stream in [server.tls_over(early), server.tls_over(server.tcp(more_at))] {
        assert_eq!(http_client::get(stream, "/healthz").status, 200);
    }
    // The server opens the other ports.
    let udp = socket([0, 9, 1], server.turn);
    udp.send(&binding(1)).unwrap();
    udp.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
    assert!(udp.recv(&mut [0; 100]).is_ok());
}

#[test]
fn activated_sockets_without_names_are_matched_by_port() {
    let (https, https_at) = listener();
    let (http, http_at) = listener();
    let environment = Arc::new(Environment::with_domain().with_https(https_at));
    let mut command = command(&environment, [http.into(), https.into()], "");
    command.env("WEBRTC_BOX_HTTP_PORT", http_at.port().to_string());
    let server = ServerProcess::start_without_log(&environment, command);
    let _seat = Participant::join_room(&server, "kitchen");
    assert_eq!(http_client::get(server.tcp(http_at), "/").status, 308);
}

#[test]
fn unexpected_activated_socket_is_one_line_with_a_hint() {
    let (https, https_at) = listener();
    let (unexpected, unexpected_at) = listener();
    let environment = Environment::with_domain().with_https(https_at);
    let error = startup_error(command(&environment, [https.into(), unexpected.into()], ""));
    assert_eq!(error.matches('\n').count(), 1, "{error}");
    for part in ["https-port", &unexpected_at.to_string(), "ListenStream="] {
        assert!(error.contains(part), "{error} lacks {part}");
    }
}

#[test]
fn activated_descriptor_that_is_no_listener_is_one_line() {
    let (https, https_at) = listener();
    let connection = TcpStream::connect(https_at).unwrap();
    let environment = Environment::with_domain().with_https(https_at);
    let error = startup_error(command(&environment, [https.into(), connection.into()], ""));
    assert!(error.contains("socket 2") && error.contains("Accept="), "{error}");
}
