//! Addresses that appear, become deprecated and disappear while the server runs. Each test has a network
//! namespace, which ends with its thread; it is skipped if it may not create one.

use std::fs;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use stun::attributes as attr;
use stun::attributes::AttrType;
use stun::message as wire;
use stun::xoraddr::XorMappedAddress;

use crate::harness::environment::Environment;
use crate::harness::http_client::{self, Reply};
use crate::harness::server_process::{ServerProcess, exclusive, startup_error};
use crate::harness::turn_client::{TEST_TIMEOUT, TurnClient, UDP, Wire as _, binding, error_code, parse};

const IPV6_FAMILY: (AttrType, &[u8]) = (attr::ATTR_REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
/// Time for two reads of the interfaces.
const UPDATE_TIMEOUT: Duration = Duration::from_secs(15);

/// Runs `scenario` in a network namespace with `lo` and an interface `near`.
fn in_network_namespace(scenario: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || {
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
            return println!("skipped: no network namespace ({error})");
        }
        ip("link set lo up");
        ip("link add near type veth peer name far");
        fs::write("/proc/sys/net/ipv6/conf/near/use_tempaddr", "2").unwrap();
        fs::write("/proc/sys/net/ipv6/conf/near/dad_transmits", "0").unwrap();
        ip("link set near up");
        ip("link set far up");
        scenario();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn ip(line: &str) {
    let output = Command::new("ip").args(line.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {line}: {output:?}");
}

/// Repeats `query` until its result satisfies `condition`.
fn wait_until<T: std::fmt::Debug>(
    what: &str,
    mut query: impl FnMut() -> T,
    condition: impl Fn(&T) -> bool,
) -> T {
    let start = Instant::now();
    loop {
        let result = query();
        if condition(&result) {
            return result;
        }
        assert!(start.elapsed() < UPDATE_TIMEOUT, "{what}: {result:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn client(to: &str) -> UdpSocket {
    let to: SocketAddr = to.parse().unwrap();
    let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
    socket
}

/// The relayed address of an IPv6 allocation, or the error code.
fn allocate_ipv6(server: &ServerProcess) -> Result<String, u16> {
    let mut client = TurnClient::new(client(&format!("[::1]:{}", server.turn.port())));
    let reply = client.try_request(wire::METHOD_ALLOCATE, &[UDP, IPV6_FAMILY], &[]);
    if error_code(&reply) != 0 {
        return Err(error_code(&reply));
    }
    let mut relayed = XorMappedAddress::default();
    relayed.get_from_as(&reply, attr::ATTR_XOR_RELAYED_ADDRESS).unwrap();
    client.delete();
    Ok(relayed.ip.to_string())
}

/// The IPv6 addresses in `/test.json`.
fn test_addresses(server: &ServerProcess) -> Vec<String> {
    let body = server.get("/test.json").json();
    let probes = body["probes"].as_array().unwrap().iter();
    let udp = probes.filter(|probe| probe["name"] == "turn-udp" && probe["family"] == "ipv6");
    let host = |url: &str| url.split_once('[').unwrap().1.split_once(']').unwrap().0.to_owned();
    udp.map(|probe| host(probe["urls"][0].as_str().unwrap())).collect()
}

/// The detailed health on the metrics listener.
fn health(environment: &Environment) -> Reply {
    http_client::get(TcpStream::connect(environment.metrics).unwrap(), "/healthz")
}

#[test]
fn stable_ipv6_address_is_relayed_and_followed() {
    in_network_namespace(|| {
        // A deprecated address before and after the stable one: the order of the kernel is not defined.
        ip("addr add 2a00::d/64 dev near preferred_lft 0 nodad");
        ip("addr add 2a00::1/64 dev near mngtmpaddr nodad");
        ip("addr add 2a00::dd/64 dev near preferred_lft 0 nodad");
        let listed = fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap();
        assert!(
            listed.lines().filter(|line| line.ends_with("near")).count() >= 4,
            "no temporary address: {listed}"
        );
        for scope in ["public", "room"] {
            let environment = Arc::new(Environment::with_domain());
            let settings = ["--listen", "::", "--relay-scope", scope];
            let mut server = ServerProcess::start(&environment, environment.command(&settings));
            assert_eq!(
                (allocate_ipv6(&server), test_addresses(&server)),
                (Ok("2a00::1".into()), vec!["2a00::1".into()]),
                "{scope}"
            );
            ip("addr add 2a00::2/64 dev near nodad");
            ip("addr change 2a00::1/64 dev near preferred_lft 0");
            let relayed = || allocate_ipv6(&server).ok();
            wait_until("deprecated", relayed, |relayed| relayed.as_deref() == Some("2a00::2"));
            wait_until("deprecated", || test_addresses(&server), |listed| *listed == ["2a00::2"]);
            ip("addr change 2a00::1/64 dev near mngtmpaddr preferred_lft forever valid_lft forever");
            ip("addr del 2a00::2/64 dev near");
            wait_until("removed", relayed, |relayed| relayed.as_deref() == Some("2a00::1"));
            wait_until("removed", || test_addresses(&server), |listed| *listed == ["2a00::1"]);
            server.assert_healthy();
        }
    });
}

#[test]
fn missing_local_address_is_refused_or_logged() {
    in_network_namespace(|| {
        ip("addr add 10.9.0.1/24 dev near");
        let environment = Arc::new(Environment::new());
        let settings = |scope| ["--relay-scope", scope, "--external-ip", "45.0.0.10/10.9.0.99"];
        let guard = exclusive();
        let (error, _) = startup_error(environment.command(&settings("public")));
        assert_eq!(error.lines().count(), 1, "{error}");
        for part in
            ["external-ip 45.0.0.10/10.9.0.99", "10.9.0.99 is not an address of this host", "`ip address`"]
        {
            assert!(error.contains(part), "{error}");
        }
        let server =
            ServerProcess::start_exclusive(&environment, environment.command(&settings("room")), guard);
        assert_eq!(server.count_lines(&["external-ip maps to an address", "10.9.0.99"]), 1);
    });
}

#[test]
fn unbindable_relay_sockets_are_logged_and_in_healthz() {
    in_network_namespace(|| {
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
            error_code(&client.try_request(wire::METHOD_ALLOCATE, &[UDP], &[]))
        };
        assert_eq!(allocate(), 0);
        assert_eq!(health(&environment).status, 200);
        ip("addr del 10.9.0.1/24 dev near");
        for _ in 0..5 {
            assert_eq!(allocate(), 508);
        }
        server.wait_for_line("a relay socket cannot be bound");
        let down = wait_until("health", || health(&environment), |health| health.status == 503);
        assert!(down.text().contains("no relay socket can be bound at 10.9.0.1"), "{down:?}");
        assert_eq!(server.get("/healthz").status, 503);
        ip("addr add 10.9.0.1/24 dev near");
        wait_until("health", || health(&environment), |health| health.status == 200);
        assert_eq!(allocate(), 0);
        assert_eq!(server.count_lines(&["a relay socket cannot be bound"]), 1, "one line per minute");
        assert_eq!(server.count_lines(&["no relay socket can be bound"]), 1);
        server.assert_healthy();
    });
}

#[test]
fn link_local_binding_is_answered() {
    in_network_namespace(|| {
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
                let own = socket.local_addr().unwrap();
                socket.send(&binding(1)).unwrap();
                let reply =
                    parse(&socket.receive().unwrap_or_else(|| panic!("no reply from {to} in scope {scope}")));
                let mut mapped = XorMappedAddress::default();
                mapped.get_from_as(&reply, attr::ATTR_XORMAPPED_ADDRESS).unwrap();
                assert_eq!((mapped.ip, mapped.port), (own.ip(), own.port()));
                // An allocation works, too: its nonce is bound to the address.
                assert_eq!(
                    error_code(&TurnClient::new(client(&to)).try_request(wire::METHOD_ALLOCATE, &[UDP], &[])),
                    0
                );
            }
        }
    });
}
