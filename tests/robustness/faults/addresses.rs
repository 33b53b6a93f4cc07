//! Addresses that come, age and go while the box runs. Each test is in a network namespace of its own, which
//! ends with its thread; without the right to make one it is skipped.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use serde_json::Value;
use stun::attributes as attr;
use stun::attributes::AttrType;
use stun::message as wire;
use stun::xoraddr::XorMappedAddress;

use crate::harness::environment::Environment;
use crate::harness::server_process::ServerProcess;
use crate::harness::turn_client::{PATIENCE, TurnClient, UDP, Wire as _, binding, code, read};

const OF_IPV6: (AttrType, &[u8]) = (attr::ATTR_REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
/// Two looks at the interfaces, and some.
const SOON: Duration = Duration::from_secs(15);

/// A thread in a network of its own, with `lo` and an interface `near`.
fn alone_in_a_network(scene: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || {
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
            return println!("no network namespace ({error}): skipped");
        }
        ip("link set lo up");
        ip("link add near type veth peer name far");
        fs::write("/proc/sys/net/ipv6/conf/near/use_tempaddr", "2").unwrap();
        fs::write("/proc/sys/net/ipv6/conf/near/dad_transmits", "0").unwrap();
        ip("link set near up");
        ip("link set far up");
        scene();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn ip(line: &str) {
    let output = Command::new("ip").args(line.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {line}: {output:?}");
}

/// Until `fits` does; what it last said.
fn soon<T: std::fmt::Debug>(what: &str, mut ask: impl FnMut() -> T, fits: impl Fn(&T) -> bool) -> T {
    let begun = Instant::now();
    loop {
        let said = ask();
        if fits(&said) {
            return said;
        }
        assert!(begun.elapsed() < SOON, "{what}: {said:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn client(to: &str) -> UdpSocket {
    let to: SocketAddr = to.parse().unwrap();
    let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// What an Allocate for IPv6 is lent, or the code it is refused with.
fn lent(server: &ServerProcess) -> Result<String, u16> {
    let mut client = TurnClient::new(client(&format!("[::1]:{}", server.turn.port())));
    let reply = client.attempt(wire::METHOD_ALLOCATE, &[UDP, OF_IPV6], &[]);
    if code(&reply) != 0 {
        return Err(code(&reply));
    }
    let mut relayed = XorMappedAddress::default();
    relayed.get_from_as(&reply, attr::ATTR_XOR_RELAYED_ADDRESS).unwrap();
    client.delete();
    Ok(relayed.ip.to_string())
}

/// The IPv6 addresses that `/test.json` names.
fn tested(server: &ServerProcess) -> Vec<String> {
    let mut stream = server.tls();
    stream.write_all(b"GET /test.json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    let body: Value = serde_json::from_str(said.split_once("\r\n\r\n").unwrap().1).unwrap();
    let probes = body["probes"].as_array().unwrap().iter();
    let udp = probes.filter(|probe| probe["name"] == "turn-udp" && probe["family"] == "ipv6");
    let host = |url: &str| url.split_once('[').unwrap().1.split_once(']').unwrap().0.to_owned();
    udp.map(|probe| host(probe["urls"][0].as_str().unwrap())).collect()
}

fn health(environment: &Environment) -> String {
    let mut stream = TcpStream::connect(environment.metrics).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    said
}

#[test]
fn stable_ipv6_address_is_relayed_and_followed() {
    alone_in_a_network(|| {
        // In this order and the other, since the kernel lists them as it likes.
        ip("addr add 2a00::d/64 dev near preferred_lft 0 nodad");
        ip("addr add 2a00::1/64 dev near mngtmpaddr nodad");
        ip("addr add 2a00::dd/64 dev near preferred_lft 0 nodad");
        let listed = fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap();
        assert!(
            listed.lines().filter(|line| line.ends_with("near")).count() >= 4,
            "a temporary one: {listed}"
        );
        for scope in ["public", "room"] {
            let environment = Arc::new(Environment::named());
            let settings = ["--listen", "::", "--relay-scope", scope];
            let mut server = ServerProcess::start(&environment, environment.command(&settings));
            assert_eq!(
                (lent(&server), tested(&server)),
                (Ok("2a00::1".into()), vec!["2a00::1".into()]),
                "{scope}"
            );
            ip("addr add 2a00::2/64 dev near nodad");
            ip("addr change 2a00::1/64 dev near preferred_lft 0");
            soon("deprecated", || lent(&server).ok(), |lent| lent.as_deref() == Some("2a00::2"));
            soon("deprecated", || tested(&server), |named| *named == ["2a00::2"]);
            ip("addr change 2a00::1/64 dev near mngtmpaddr preferred_lft forever valid_lft forever");
            ip("addr del 2a00::2/64 dev near");
            soon("gone", || lent(&server).ok(), |lent| lent.as_deref() == Some("2a00::1"));
            soon("gone", || tested(&server), |named| *named == ["2a00::1"]);
            server.assert_healthy();
        }
    });
}

#[test]
fn missing_local_address_is_refused_or_logged() {
    alone_in_a_network(|| {
        ip("addr add 10.9.0.1/24 dev near");
        let environment = Arc::new(Environment::new());
        let settings = |scope| ["--relay-scope", scope, "--external-ip", "45.0.0.10/10.9.0.99"];
        let turn = crate::harness::server_process::exclusive();
        let (said, _) =
            crate::harness::server_process::startup_error(environment.command(&settings("public")));
        assert_eq!(said.lines().count(), 1, "{said}");
        for part in
            ["external-ip 45.0.0.10/10.9.0.99", "10.9.0.99 is not an address of this host", "`ip address`"]
        {
            assert!(said.contains(part), "{said}");
        }
        let server =
            ServerProcess::start_exclusive(&environment, environment.command(&settings("room")), turn);
        assert_eq!(server.count_lines(&["external-ip maps to an address", "10.9.0.99"]), 1);
    });
}

#[test]
fn unbindable_relay_sockets_are_logged_and_in_healthz() {
    alone_in_a_network(|| {
        ip("addr add 10.9.0.1/24 dev near");
        let environment = Arc::new(Environment::new());
        let metrics = environment.metrics.to_string();
        let command = environment.command(&[
            "--relay-scope",
            "public",
            "--external-ip",
            "45.0.0.10/10.9.0.1",
            "--metrics-listen",
            &metrics,
        ]);
        let mut server = ServerProcess::start(&environment, command);
        let allocate = || {
            let mut client = TurnClient::new(client(&server.turn.to_string()));
            code(&client.attempt(wire::METHOD_ALLOCATE, &[UDP], &[]))
        };
        assert_eq!(allocate(), 0);
        assert!(health(&environment).contains("200 OK"));
        ip("addr del 10.9.0.1/24 dev near");
        for _ in 0..5 {
            assert_eq!(allocate(), 508);
        }
        server.wait_for_line("a relay socket cannot be bound");
        let said = soon("health", || health(&environment), |said| said.contains("503"));
        assert!(said.contains("no relay socket can be bound at 10.9.0.1"), "{said}");
        assert_eq!(server.get("/healthz"), "HTTP/1.1 503");
        ip("addr add 10.9.0.1/24 dev near");
        soon("health", || health(&environment), |said| said.contains("200 OK"));
        assert_eq!(allocate(), 0);
        assert_eq!(server.count_lines(&["a relay socket cannot be bound"]), 1, "one line a minute");
        assert_eq!(server.count_lines(&["no relay socket can be bound"]), 1);
        server.assert_healthy();
    });
}

#[test]
fn link_local_binding_is_answered() {
    alone_in_a_network(|| {
        ip("addr add fe80::1/64 dev near nodad");
        ip("addr add 169.254.7.7/16 dev near");
        ip("addr add 45.0.0.10/24 dev near");
        let index = fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap();
        let index = index
            .lines()
            .find(|line| {
                line.starts_with("fe8000000000000000000000000000010")
                    || line.starts_with("fe800000000000000000000000000001")
            })
            .unwrap();
        let index = u32::from_str_radix(index.split_whitespace().nth(1).unwrap(), 16).unwrap();
        for scope in ["room", "public"] {
            let environment = Arc::new(Environment::new());
            let settings = ["--listen", "::", "--relay-scope", scope];
            let server = ServerProcess::start(&environment, environment.command(&settings));
            let port = server.turn.port();
            for to in [format!("[fe80::1%{index}]:{port}"), format!("169.254.7.7:{port}")] {
                let mut socket = client(&to);
                let ours = socket.local_addr().unwrap();
                socket.send(&binding(1)).unwrap();
                let reply =
                    read(&socket.receive().unwrap_or_else(|| panic!("{to} in {scope} does not answer")));
                let mut mapped = XorMappedAddress::default();
                mapped.get_from_as(&reply, attr::ATTR_XORMAPPED_ADDRESS).unwrap();
                assert_eq!((mapped.ip, mapped.port), (ours.ip(), ours.port()));
                // The whole relay, too: the second request comes with a nonce that is bound to the address.
                assert_eq!(
                    code(&TurnClient::new(client(&to)).attempt(wire::METHOD_ALLOCATE, &[UDP], &[])),
                    0
                );
            }
        }
    });
}
