//! A kernel or a sandbox (gVisor, a container's seccomp rules) that has less than the box would like.
//!
//! The rules are set by a program of a few lines (`sandbox.c`), compiled here, which then becomes the box.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;

use crate::harness::environment::{Environment, program};
use crate::harness::server_process::{ServerProcess, exclusive, startup_error};
use crate::harness::turn_client::{PATIENCE, TurnClient, Wire as _, binding, code, read, socket};

/// A general relay whose peers are on loopback.
const PUBLIC: [&str; 6] =
    ["--relay-scope", "public", "--external-ip", "127.0.0.1", "--allowed-peer-ip", "127.0.0.0/8"];

/// What a relay asks its sockets for and can do without.
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

fn option(level: i32, option: i32) -> String {
    format!("{}:{level}:{option}", libc::SYS_setsockopt)
}

/// The box in `environment` with these settings, for which what `rules` name fails with `errno`.
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

/// STUN is answered, and a relay socket carries both ways.
fn relays(server: &ServerProcess) {
    let mut unauthenticated_client = socket([0, 21, 1], server.turn);
    unauthenticated_client.send(&binding(1)).unwrap();
    assert_eq!(code(&read(&unauthenticated_client.receive().expect("a reply"))), 0);
    let (mut client, relayed) = TurnClient::allocated(socket([0, 21, 2], server.turn));
    let peer = UdpSocket::bind("127.0.21.3:0").unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    client.bind(0x4000, peer.local_addr().unwrap());
    for number in 0..40_u8 {
        client.wire.send(&crate::harness::turn_client::channel_data(0x4000, &[number; 4])).unwrap();
    }
    let mut buffer = [0; 64];
    for number in 0..40_u8 {
        assert_eq!(peer.recv(&mut buffer).unwrap(), 4);
        assert_eq!(buffer[0], number, "nothing stays behind in a socket");
    }
    peer.send_to(b"back", relayed).unwrap();
    assert_eq!(client.wire.receive().unwrap()[4..], *b"back");
}

#[test]
fn missing_socket_options_do_not_end_the_start() {
    for errno in [Errno::ENOPROTOOPT, Errno::EPERM] {
        for (listen, first) in [("127.0.0.1", 0), ("::", 0), ("0.0.0.0", 3)] {
            let environment = Arc::new(Environment::new());
            let rules: Vec<_> = OPTIONS[first..].iter().map(|(level, name)| option(*level, *name)).collect();
            let settings = [&PUBLIC[..], &["--listen", listen]].concat();
            let mut server =
                ServerProcess::start(&environment, command(&environment, errno, &rules, &settings));
            relays(&server);
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
        let command = command(&environment, Errno::ENOPROTOOPT, &[option(level, name)], &settings);
        relays(&ServerProcess::start(&environment, command));
    }
}

#[test]
fn datagrams_are_read_singly_without_recvmmsg() {
    for errno in [Errno::ENOSYS, Errno::EPERM] {
        let environment = Arc::new(Environment::new());
        let rules = [libc::SYS_recvmmsg.to_string()];
        let mut server = ServerProcess::start(&environment, command(&environment, errno, &rules, &PUBLIC));
        relays(&server);
        assert_eq!(server.count_lines(&["cannot be received"]), 0);
        server.assert_healthy();
    }
}

/// The full health, and its code.
fn health(environment: &Environment) -> String {
    let mut stream = TcpStream::connect(environment.metrics).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    said
}

#[test]
fn failing_receive_is_logged_shown_and_does_not_spin() {
    let environment = Arc::new(Environment::new());
    let rules = [libc::SYS_recvmmsg, libc::SYS_recvmsg].map(|call| call.to_string());
    let metrics = environment.metrics.to_string();
    let command = command(&environment, Errno::ENOSYS, &rules, &["--metrics-listen", &metrics]);
    let mut server = ServerProcess::start(&environment, command);
    assert!(health(&environment).contains("200 OK"), "nothing was to be read yet");
    // Something for each worker, whose socket is picked by the source.
    for last in 1..=64 {
        socket([0, 22, last], server.turn).send(&binding(last)).unwrap();
    }
    server.wait_for_line("packets cannot be received");
    let (before, begun) = (server.cpu_time(), Instant::now());
    while !health(&environment).contains("503") {
        assert!(begun.elapsed() < 2 * PATIENCE, "{}", health(&environment));
        std::thread::sleep(Duration::from_millis(50));
    }
    let (worked, time) = (server.cpu_time() - before, begun.elapsed());
    let said = health(&environment);
    println!("receives fail: {worked:?} of {time:?} worked, {} lines; {said}", server.logged());
    assert!(said.contains("no packet can be received on UDP") && said.contains("\"status\":\"down\""));
    assert!(worked < time / 4, "a busy loop: {worked:?} of {time:?}");
    assert_eq!(server.count_lines(&["packets cannot be received"]), 1);
    assert_eq!(server.get("/healthz"), "HTTP/1.1 503");
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
    let (before, begun) = (server.cpu_time(), Instant::now());
    std::thread::sleep(Duration::from_secs(1));
    let (worked, time) = (server.cpu_time() - before, begun.elapsed());
    println!("accepts fail: {worked:?} of {time:?} worked");
    assert!(worked < time / 4, "a busy loop: {worked:?} of {time:?}");
    assert_eq!(server.count_lines(&["cannot accept connections"]), 1);
}

#[test]
fn required_socket_failure_is_named_without_port_advice() {
    let (_turn, environment) = (exclusive(), Environment::new());
    for (rule, named) in [
        (libc::SYS_eventfd2.to_string(), None),
        (libc::SYS_timerfd_create.to_string(), Some("cannot create an epoll instance")),
        (option(libc::SOL_SOCKET, libc::SO_REUSEPORT), Some("turn-port")),
    ] {
        let (said, _) = startup_error(command(&environment, Errno::EPERM, &[rule], &[]));
        println!("{}", said.trim_end());
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains("sandbox") && !said.contains("another turn-port"), "{said}");
        assert!(named.is_none_or(|named| said.contains(named)), "{said}");
    }
    fs::remove_file(environment.folder().join("sandbox")).unwrap();
}
