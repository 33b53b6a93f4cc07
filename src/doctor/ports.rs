//! The listeners of the settings: whether their ports can be bound, and which programs hold them.
//!
//! Owners come from `/proc/net`, which lists sockets, and from the open files of processes, as far as this
//! user may read them.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use webrtc_box_relay::socket;

use super::report::{Finding, Level, Subject};
use super::service;
use crate::config::Settings;
use crate::net::interfaces::sockets;

const SUBJECT: Subject = Subject::Ports;
/// The name of the server's process, in `/proc/PID/comm`.
const SERVER: &str = "webrtc-box";
/// The name of systemd, which holds the sockets of a socket unit.
const SYSTEMD: &str = "systemd";

/// The states of a port that is as it should be, in the order of the report.
const STATES: [&str; 3] = [HELD_BY_SERVER, HELD_BY_SYSTEMD, FREE];
const HELD_BY_SERVER: &str = "held by the running server";
const HELD_BY_SYSTEMD: &str = "held by systemd for the server";
const FREE: &str = "free";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Protocol {
    Tcp,
    Udp,
}

/// A listener of the settings, and the result of a trial bind.
#[derive(Clone, Debug)]
pub(super) struct Listener {
    setting: &'static str,
    port: u16,
    protocol: Protocol,
    /// A socket unit of the server has systemd open it.
    by_systemd: bool,
    bind: Bind,
}

/// The result of a trial bind.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Bind {
    Free,
    /// The port is in use by these programs; none if this user may not see them.
    InUse(Vec<String>),
    /// This user may not bind it.
    Forbidden,
    /// `listen` names an address that this host does not have.
    NoAddress(IpAddr),
    /// The error of the system.
    Other(String),
}

/// The ports in use on this host, each with the processes that hold it as far as this user may see them.
#[derive(Debug, Default)]
pub(super) struct PortOwners(HashMap<(Protocol, u16), Vec<Process>>);

#[derive(Clone, Debug)]
struct Process {
    pid: u32,
    name: String,
}

/// Each table with its protocol and the state of a listening socket.
const TABLES: [(&str, Protocol, &str); 4] = [
    ("/proc/net/tcp", Protocol::Tcp, "0A"),
    ("/proc/net/tcp6", Protocol::Tcp, "0A"),
    ("/proc/net/udp", Protocol::Udp, "07"),
    ("/proc/net/udp6", Protocol::Udp, "07"),
];

/// Binds every listener of the settings and closes it again.
pub(super) fn observe(settings: &Settings, owners: &PortOwners) -> Vec<Listener> {
    let turns = settings.turns_port.filter(|_| settings.turn_port.is_some());
    let ports = [
        ("https-port", settings.https_port, Protocol::Tcp),
        ("http-port", settings.http_port, Protocol::Tcp),
        ("turn-port", settings.turn_port, Protocol::Udp),
        ("turn-port", settings.turn_port, Protocol::Tcp),
        ("turns-port", turns, Protocol::Tcp),
    ];
    let socket_unit_ports = service::socket_unit_ports();
    let listener = |(setting, port, protocol)| {
        let port = port?;
        let by_systemd = protocol == Protocol::Tcp && socket_unit_ports.contains(&port);
        let bind = owners.try_bind(&sockets(&settings.listen, port), protocol);
        Some(Listener { setting, port, protocol, by_systemd, bind })
    };
    let metrics = settings.metrics_listen.map(|address| {
        let (setting, port, protocol) = ("metrics-listen", address.port(), Protocol::Tcp);
        Listener { setting, port, protocol, by_systemd: false, bind: owners.try_bind(&[address], protocol) }
    });
    ports.into_iter().filter_map(listener).chain(metrics).collect()
}

fn bind(address: SocketAddr, protocol: Protocol) -> io::Result<()> {
    let socket = match protocol {
        Protocol::Tcp => {
            let socket = socket::tcp(address)?;
            // As the server does: connections in TIME_WAIT do not count.
            socket.set_reuse_address(true)?;
            socket
        }
        Protocol::Udp => socket::udp(address)?,
    };
    socket.bind(&address.into())
}

/// `running`: a server answers on this host. `has_service`: a service user exists, which may have more
/// privileges than this user. The ports of one state share a finding.
pub(super) fn evaluate(listeners: &[Listener], running: bool, has_service: bool) -> Vec<Finding> {
    let results: Vec<_> = listeners.iter().map(|one| (one, one.evaluate(running, has_service))).collect();
    let good = STATES.into_iter().filter_map(|state| {
        let ports = results.iter().filter(|(_, result)| *result == Ok(state));
        let ports: Vec<_> = ports.map(|(listener, _)| listener.to_string()).collect();
        (!ports.is_empty()).then(|| SUBJECT.ok(format!("{}: {state}", ports.join(", "))))
    });
    let problems = results.iter().filter_map(|(_, result)| result.clone().err());
    good.chain(problems).collect()
}

impl Listener {
    /// One of [`STATES`], or what is wrong.
    fn evaluate(&self, running: bool, has_service: bool) -> Result<&'static str, Finding> {
        let setting = self.setting;
        let has = |programs: &[String], name: &str| programs.iter().any(|program| program == name);
        Err(match &self.bind {
            Bind::Free => return Ok(FREE),
            // With or without the running service.
            Bind::InUse(programs) if self.by_systemd && has(programs, SYSTEMD) => return Ok(HELD_BY_SYSTEMD),
            Bind::InUse(programs) if has(programs, SERVER) => return Ok(HELD_BY_SERVER),
            Bind::InUse(programs) if programs.is_empty() && running => return Ok(HELD_BY_SERVER),
            Bind::InUse(programs) if *programs == [SYSTEMD] => SUBJECT.fail(
                format!("{self} is in use by a socket unit of another service"),
                format!("stop that unit (systemctl list-sockets shows it), or choose another {setting}"),
            ),
            Bind::InUse(programs) => {
                let program = match programs.as_slice() {
                    [] => "a program that this user cannot see".to_owned(),
                    programs => programs.join(" and "),
                };
                let hint = format!("stop that program, or choose another {setting}");
                SUBJECT.fail(format!("{self} is in use by {program}"), hint)
            }
            // The unit grants the privilege to the service, even if this user does not have it.
            Bind::Forbidden => {
                let hint = "use the systemd unit, which grants it, or grant CAP_NET_BIND_SERVICE, \
                    or set the sysctl net.ipv4.ip_unprivileged_port_start to 80";
                let level = if has_service { Level::Warn } else { Level::Fail };
                let text = format!("{self} cannot be bound: this user needs a privilege for it");
                Finding { level, ..SUBJECT.fail(text, hint) }
            }
            Bind::NoAddress(ip) => SUBJECT.fail(
                format!("listen {ip} is not an address of this host"),
                "take one that `ip address` shows, or leave listen out",
            ),
            Bind::Other(error) => {
                SUBJECT.fail(format!("{self} cannot be bound: {error}"), format!("choose another {setting}"))
            }
        })
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        write!(f, "{}/{protocol} ({})", self.port, self.setting)
    }
}

impl PortOwners {
    /// Without what this user may not read.
    pub(super) fn observe() -> Self {
        let table = |(file, protocol, state)| {
            listening(&fs::read_to_string(file).unwrap_or_default(), protocol, state)
        };
        let sockets: HashMap<u64, (Protocol, u16)> = TABLES.into_iter().flat_map(table).collect();
        let mut owners: HashMap<_, Vec<_>> = sockets.values().map(|port| (*port, Vec::new())).collect();
        for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let held: Vec<_> = fs::read_dir(process.path().join("fd"))
                .into_iter()
                .flatten()
                .filter_map(|file| sockets.get(&socket_inode(&fs::read_link(file.ok()?.path()).ok()?)?))
                .collect();
            if held.is_empty() {
                continue;
            }
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default().trim().to_owned();
            for port in held {
                owners.entry(*port).or_default().push(Process { pid, name: name.clone() });
            }
        }
        Self(owners)
    }

    /// The process of a server that holds one of the ports of these settings.
    pub(super) fn running_server(&self, settings: &Settings) -> Option<u32> {
        let ports = [settings.https_port, settings.http_port, settings.turn_port, settings.turns_port];
        let owners = ports.into_iter().flatten().filter_map(|port| self.0.get(&(Protocol::Tcp, port)));
        owners.flatten().find(|process| process.name == SERVER).map(|process| process.pid)
    }

    /// The first address that cannot be bound decides.
    fn try_bind(&self, addresses: &[SocketAddr], protocol: Protocol) -> Bind {
        let failed = addresses.iter().find_map(|address| Some((*address, bind(*address, protocol).err()?)));
        failed.map_or(Bind::Free, |(address, error)| self.bind_error(address, protocol, &error))
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the system has forty kinds of error")]
    fn bind_error(&self, address: SocketAddr, protocol: Protocol, error: &io::Error) -> Bind {
        let port = address.port();
        match error.kind() {
            io::ErrorKind::AddrInUse => Bind::InUse(self.programs(protocol, port)),
            // The kernel checks the privilege before it checks whether the port is free.
            io::ErrorKind::PermissionDenied if self.0.contains_key(&(protocol, port)) => {
                Bind::InUse(self.programs(protocol, port))
            }
            io::ErrorKind::PermissionDenied => Bind::Forbidden,
            io::ErrorKind::AddrNotAvailable => Bind::NoAddress(address.ip()),
            _ => Bind::Other(error.to_string()),
        }
    }

    /// The names of the programs that hold the port, without duplicates.
    fn programs(&self, protocol: Protocol, port: u16) -> Vec<String> {
        let processes = self.0.get(&(protocol, port)).into_iter().flatten();
        let mut names: Vec<_> = processes.map(|process| process.name.clone()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// `socket:[12345]`.
fn socket_inode(link: &Path) -> Option<u64> {
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The inode and port of each socket in `state`. Fields of a line: `sl local_address rem_address st … inode`;
/// ports are hexadecimal.
fn listening(table: &str, protocol: Protocol, state: &str) -> Vec<(u64, (Protocol, u16))> {
    let socket = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (_, port) = fields.get(1)?.split_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        let inode = fields.get(9)?.parse().ok()?;
        (*fields.get(3)? == state).then_some((inode, (protocol, port)))
    };
    table.lines().skip(1).filter_map(socket).collect()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    fn listener(setting: &'static str, port: u16, bind: Bind) -> Listener {
        Listener { setting, port, protocol: Protocol::Tcp, by_systemd: false, bind }
    }

    fn http(bind: Bind, running: bool, has_service: bool) -> String {
        text(listener("http-port", 80, bind), running, has_service)
    }

    fn text(listener: Listener, running: bool, has_service: bool) -> String {
        let findings = evaluate(&[listener], running, has_service);
        findings.iter().map(|finding| format!("{} {finding}", finding.level)).collect::<Vec<_>>().join("\n")
    }

    fn in_use(programs: &[&str]) -> Bind {
        Bind::InUse(programs.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_port_of_the_running_server_is_ok_and_one_of_another_program_fails() {
        let ok = "ok 80/tcp (http-port): held by the running server";
        assert_eq!(http(in_use(&["webrtc-box"]), true, false), ok);
        for programs in [&["systemd"][..], &["systemd", "webrtc-box"]] {
            let held = "ok 80/tcp (http-port): held by systemd for the server";
            let listener = Listener { by_systemd: true, ..listener("http-port", 80, in_use(programs)) };
            assert_eq!(text(listener, false, true), held);
        }
        assert_eq!(
            http(in_use(&["nginx"]), true, false),
            "fail 80/tcp (http-port) is in use by nginx; stop that program, or choose another http-port"
        );
    }

    #[test]
    fn a_port_that_systemd_holds_for_another_service_fails() {
        let text = http(in_use(&["systemd"]), true, true);
        let start = "fail 80/tcp (http-port) is in use by a socket unit of another service; stop that unit";
        assert!(text.starts_with(start), "{text}");
    }

    #[test]
    fn a_port_of_an_invisible_program_is_ours_if_a_server_answers() {
        assert!(http(in_use(&[]), true, false).starts_with("ok"));
        assert!(http(in_use(&[]), false, false).contains("a program that this user cannot see"));
    }

    #[test]
    fn a_missing_privilege_is_a_warning_if_there_is_a_service() {
        assert!(http(Bind::Forbidden, false, false).starts_with("fail"));
        let warning = http(Bind::Forbidden, false, true);
        assert!(warning.starts_with("warn") && warning.contains("CAP_NET_BIND_SERVICE"), "{warning}");
    }

    #[test]
    fn free_ports_share_a_finding() {
        let two = [listener("https-port", 443, Bind::Free), listener("http-port", 80, Bind::Free)];
        let findings = evaluate(&two, false, false);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].text, "443/tcp (https-port), 80/tcp (http-port): free");
    }

    #[test]
    fn a_trial_bind_distinguishes_a_used_port_and_a_missing_address() {
        let (tcp, udp) = (TcpListener::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let bound = [(tcp.local_addr().unwrap(), Protocol::Tcp), (udp.local_addr().unwrap(), Protocol::Udp)];
        for (address, protocol) in bound {
            let bind = PortOwners::observe().try_bind(&[address], protocol);
            assert!(matches!(&bind, Bind::InUse(programs) if programs.len() == 1), "{bind:?}");
        }
        let missing = SocketAddr::from(([203, 0, 113, 77], 50_001));
        let bind = PortOwners::default().try_bind(&[missing], Protocol::Udp);
        assert_eq!(bind, Bind::NoAddress(missing.ip()));
    }

    #[test]
    fn a_table_lists_the_listening_sockets() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            \x20  0: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1\n\
            \x20  1: 0100007F:0050 0100007F:D2F4 01 00000000:00000000 00:00000000 00000000     0        0 4712 1\n";
        assert_eq!(listening(table, Protocol::Tcp, "0A"), [(4711, (Protocol::Tcp, 80))]);
        assert_eq!(listening("", Protocol::Tcp, "0A"), []);
    }

    #[test]
    fn the_program_that_holds_a_port_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let name = fs::read_to_string("/proc/self/comm").unwrap();
        assert_eq!(PortOwners::observe().programs(Protocol::Tcp, port), [name.trim()]);
    }
}
