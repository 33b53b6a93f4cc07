//! A kernel or sandbox (gVisor, seccomp rules of a container) that lacks system calls or socket options.
//!
//! A small program (`sandbox.c`), compiled here, sets the rules and then executes the server.

use std::fs;
use std::net::{TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;

use crate::harness::environment::{Environment, program};
use crate::harness::http_client::{self, Reply};
use crate::harness::server_process::{ServerProcess, exclusive, startup_error};
use crate::harness::turn_client::{TEST_TIMEOUT, TurnClient, Wire as _, binding, error_code, parse, socket};

/// Flags of a relay in `public` scope whose peers are on loopback.
const PUBLIC: [&str; 6] =
    ["--relay-scope", "public", "--external-ip", "127.0.0.1", "--allowed-peer-ip", "127.0.0.0/8"];

/// Socket options that the relay sets but does not require.
const OPTIONS: [(i32, i32); 10] = [
    (libc::SOL_SOCKET, libc::SO_RCVBUF),
    (libc::SOL_SOCKET, libc::SO_SNDBUF),
    (libc::SOL_UDP, libc::UDP_GRO),
    (libc::IPPROTO_IP, libc::IP_RECVTOS),
    (libc::IPPROTO_IP, libc::IP_PKTINFO),
    (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER),
    (libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS),
    (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
    (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER),
    (libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG),
];

/// A rule for `sandbox.c` that makes `setsockopt` of one option fail.
fn option_rule(level: i32, option: i32) -> String {
    format!("{}:{level}:{option}", libc::SYS_setsockopt)
}

/// Starts the server in `environment`; the calls that `rules` name fail with `errno`.
fn command(environment: &Environment, errno: Errno, rules: &[String], settings: &[&str]) -> Command {
    let sandbox = environment.folder().join("sandbox");
    if !sandbox.exists() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/robustness/faults/sandbox.c");
        let compiled = Command::new("cc").args(["-O1", "-o"]).arg(&sandbox).arg(source).status();
        assert!(compiled.unwrap().success());
    }
    let mut command = Command::new(sandbox);
    command.arg((errno as i32).to_string()).args(rules).arg("--").arg(program());
    environment.configure(command, settings)
}

/// Asserts that STUN is answered and that a relay socket works in both directions.
fn assert_relays(server: &ServerProcess) {
    let mut stun = socket([0, 21, 1], server.turn);
    stun.send(&binding(1)).unwrap();
    assert_eq!(error_code(&parse(&stun.receive().expect("a reply"))), 0);
    let (mut client, relayed) = TurnClient::with_allocation(socket([0, 21, 2], server.turn));
    let peer = UdpSocket::bind("127.0.21.3:0").unwrap();
    peer.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
    client.bind(0x4000, peer.local_addr().unwrap());
    for number in 0..40_u8 {
        client.wire.send(&crate::harness::turn_client::channel_data(0x4000, &[number; 4])).unwrap();
    }
    let mut buffer = [0; 64];
    for number in 0..40_u8 {
        assert_eq!(peer.recv(&mut buffer).unwrap(), 4);
        assert_eq!(buffer[0], number, "no packet stays in a socket");
    }
    peer.send_to(b"back", relayed).unwrap();
    assert_eq!(client.wire.receive().unwrap()[4..], *b"back");
}

#[test]
fn missing_socket_options_do_not_end_the_start() {
    for errno in [Errno::ENOPROTOOPT, Errno::EPERM] {
        for (listen, first) in [("127.0.0.1", 0), ("::", 0), ("0.0.0.0", 3)] {
            let environment = Arc::new(Environment::new());
            let rules: Vec<_> =
                OPTIONS[first..].iter().map(|(level, name)| option_rule(*level, *name)).collect();
            let settings = [&PUBLIC[..], &["--listen", listen]].concat();
            let mut server =
                ServerProcess::start(&environment, command(&environment, errno, &rules, &settings));
            assert_relays(&server);
            assert!(server.has_logged("lacks socket options"), "{errno} {listen}");
            server.assert_healthy();
        }
    }
}

#[test]
fn any_single_socket_option_may_be_missing() {
    for (level, name) in OPTIONS {
        let environment = Arc::new(Environment::new());
        let settings = [&PUBLIC[..], &["--listen", "::"]].concat();
        let command = command(&environment, Errno::ENOPROTOOPT, &[option_rule(level, name)], &settings);
        assert_relays(&ServerProcess::start(&environment, command));
    }
}

#[test]
fn datagrams_are_read_singly_without_recvmmsg() {
    for errno in [Errno::ENOSYS, Errno::EPERM] {
        let environment = Arc::new(Environment::new());
        let rules = [libc::SYS_recvmmsg.to_string()];
        let mut server = ServerProcess::start(&environment, command(&environment, errno, &rules, &PUBLIC));
        assert_relays(&server);
        assert_eq!(server.count_lines(&["cannot be received"]), 0);
        server.assert_healthy();
    }
}

/// The detailed health on the metrics listener.
fn health(environment: &Environment) -> Reply {
    http_client::get(TcpStream::connect(environment.metrics).unwrap(), "/healthz")
}

#[test]
fn failing_receive_is_logged_shown_and_does_not_spin() {
    let environment = Arc::new(Environment::new());
    let rules = [libc::SYS_recvmmsg, libc::SYS_recvmsg].map(|call| call.to_string());
    let metrics = environment.metrics.to_string();
    let command = command(&environment, Errno::ENOSYS, &rules, &["--metrics-listen", &metrics]);
    let mut server = ServerProcess::start(&environment, command);
    assert_eq!(health(&environment).status, 200, "nothing to receive yet");
    // Datagrams for each worker: the kernel chooses its socket by the source.
    for last in 1..=64 {
        socket([0, 22, last], server.turn).send(&binding(last)).unwrap();
    }
    server.wait_for_line("packets cannot be received");
    let (before, start) = (server.cpu_time(), Instant::now());
    while health(&environment).status != 503 {
        assert!(start.elapsed() < 2 * TEST_TIMEOUT, "{:?}", health(&environment));
        std::thread::sleep(Duration::from_millis(50));
    }
    let (cpu, time) = (server.cpu_time() - before, start.elapsed());
    let health = health(&environment);
    let health = health.text();
    println!("receives fail: {cpu:?} of CPU time in {time:?}, {} lines; {health}", server.line_count());
    assert!(health.contains("no packet can be received on UDP") && health.contains("\"status\":\"down\""));
    assert!(cpu < time / 4, "a busy loop: {cpu:?} of {time:?}");
    assert_eq!(server.count_lines(&["packets cannot be received"]), 1);
    assert_eq!(server.get("/healthz").status, 503);
    server.assert_healthy();
}

#[test]
fn failing_accept_is_logged_and_does_not_spin() {
    let environment = Arc::new(Environment::new());
    let rules = [libc::SYS_accept4.to_string()];
    let server = ServerProcess::start(&environment, command(&environment, Errno::EPERM, &rules, &[]));
    let _waiting = TcpStream::connect(environment.https).unwrap();
    let line = server.wait_for_line("cannot accept connections");
    assert!(line.contains("a sandbox may forbid it"), "{line}");
    let (before, start) = (server.cpu_time(), Instant::now());
    std::thread::sleep(Duration::from_secs(1));
    let (cpu, time) = (server.cpu_time() - before, start.elapsed());
    println!("accepts fail: {cpu:?} of CPU time in {time:?}");
    assert!(cpu < time / 4, "a busy loop: {cpu:?} of {time:?}");
    assert_eq!(server.count_lines(&["cannot accept connections"]), 1);
}

#[test]
fn required_socket_failure_is_named_without_port_advice() {
    let (_guard, environment) = (exclusive(), Environment::new());
    for (rule, part) in [
        (libc::SYS_eventfd2.to_string(), None),
        (libc::SYS_timerfd_create.to_string(), Some("cannot create an epoll instance")),
        (option_rule(libc::SOL_SOCKET, libc::SO_REUSEPORT), Some("turn-port")),
    ] {
        let (error, _) = startup_error(command(&environment, Errno::EPERM, &[rule], &[]));
        println!("{}", error.trim_end());
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.contains("sandbox") && !error.contains("another turn-port"), "{error}");
        assert!(part.is_none_or(|part| error.contains(part)), "{error}");
    }
    fs::remove_file(environment.folder().join("sandbox")).unwrap();
}
