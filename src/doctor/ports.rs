//! The listeners of the settings: whether their ports can be bound, and which programs hold them.
//!
//! Owners come from `/proc/net`, which lists sockets, and from the open files of processes, as far as this
//! user may read them.

use std::collections::{HashMap, HashSet};
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

/// The name of the server's process, in `/proc/PID/comm`.
const SERVER: &str = "webrtc-box";
/// The name of systemd, which holds the sockets of a socket unit.
const SYSTEMD: &str = "systemd";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// The listening sockets of this host and the processes that hold them.
#[derive(Debug, Default)]
pub(super) struct PortOwners {
    sockets: Vec<Socket>,
    /// By inode.
    processes: HashMap<u64, Vec<Process>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Socket {
    protocol: Protocol,
    port: u16,
    inode: u64,
}

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
    let ports = ports.into_iter().filter_map(|(setting, port, protocol)| Some((setting, port?, protocol)));
    let socket_unit_ports = service::socket_unit_ports();
    let listener = |(setting, port, protocol)| {
        let by_systemd = protocol == Protocol::Tcp && socket_unit_ports.contains(&port);
        let bind = owners.try_bind(&sockets(&settings.listen, port), protocol);
        Listener { setting, port, protocol, by_systemd, bind }
    };
    let metrics = settings.metrics_listen.map(|address| {
        let (setting, port, protocol) = ("metrics-listen", address.port(), Protocol::Tcp);
        Listener { setting, port, protocol, by_systemd: false, bind: owners.try_bind(&[address], protocol) }
    });
    ports.map(listener).chain(metrics).collect()
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
/// privileges than this user.
pub(super) fn evaluate(listeners: &[Listener], running: bool, has_service: bool) -> Vec<Finding> {
    let matching = |condition: &dyn Fn(&Listener) -> bool| {
        let listeners = listeners.iter().filter(|listener| condition(listener));
        listeners.map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    let is_ours = |listener: &Listener| listener.is_ours(running);
    let good = [
        (matching(&|it| is_ours(it) && !it.is_held_by_systemd()), "held by the running server"),
        (matching(&|it| is_ours(it) && it.is_held_by_systemd()), "held by systemd for the server"),
        (matching(&|it| it.bind == Bind::Free), "free"),
    ];
    let good = good.into_iter().filter(|(ports, _)| !ports.is_empty());
    let good = good.map(|(ports, state)| Finding::ok(Subject::Ports, format!("{ports}: {state}")));
    let others = listeners.iter().filter(|listener| !is_ours(listener));
    good.chain(others.filter_map(|listener| listener.problem(has_service))).collect()
}

impl Listener {
    fn is_ours(&self, running: bool) -> bool {
        match &self.bind {
            Bind::InUse(programs) if programs.is_empty() => running,
            Bind::InUse(programs) => {
                programs.iter().any(|program| program == SERVER) || self.is_held_by_systemd()
            }
            Bind::Free | Bind::Forbidden | Bind::NoAddress(_) | Bind::Other(_) => false,
        }
    }

    /// Whether the socket unit of the server holds it, with or without the running service.
    fn is_held_by_systemd(&self) -> bool {
        let systemd = |programs: &[String]| programs.iter().any(|program| program == SYSTEMD);
        matches!(&self.bind, Bind::InUse(programs) if self.by_systemd && systemd(programs))
    }

    fn problem(&self, has_service: bool) -> Option<Finding> {
        let setting = self.setting;
        let fail = |text: String, hint: String| Some(Finding::fail(Subject::Ports, text, hint));
        match &self.bind {
            Bind::Free => None,
            Bind::InUse(programs) if *programs == [SYSTEMD] => fail(
                format!("{self} is in use by a socket unit of another service"),
                format!("stop that unit (systemctl list-sockets shows it), or choose another {setting}"),
            ),
            Bind::InUse(programs) => {
                let program = match programs.as_slice() {
                    [] => "a program that this user cannot see".to_owned(),
                    programs => programs.join(" and "),
                };
                fail(
                    format!("{self} is in use by {program}"),
                    format!("stop that program, or choose another {setting}"),
                )
            }
            // The unit grants the privilege to the service, whatever this user may do.
            Bind::Forbidden => {
                let hint = "use the systemd unit, which grants it, or grant CAP_NET_BIND_SERVICE, \
                    or set the sysctl net.ipv4.ip_unprivileged_port_start to 80";
                let level = if has_service { Level::Warn } else { Level::Fail };
                let text = format!("{self} cannot be bound: this user needs a privilege for it");
                Some(Finding { level, ..Finding::fail(Subject::Ports, text, hint) })
            }
            Bind::NoAddress(ip) => fail(
                format!("listen {ip} is not an address of this host"),
                "take one that `ip address` shows, or leave listen out".to_owned(),
            ),
            Bind::Other(error) => {
                fail(format!("{self} cannot be bound: {error}"), format!("choose another {setting}"))
            }
        }
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
        let sockets: Vec<Socket> = TABLES.into_iter().flat_map(table).collect();
        let inodes: HashSet<u64> = sockets.iter().map(|socket| socket.inode).collect();
        let mut owners = Self { sockets, processes: HashMap::new() };
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        processes.for_each(|entry| owners.add_process(&entry.path(), &inodes));
        owners
    }

    /// The process of a server that holds one of the ports of these settings.
    pub(super) fn running_server(&self, settings: &Settings) -> Option<u32> {
        let ports = [settings.https_port, settings.http_port, settings.turn_port, settings.turns_port];
        let mut owners = ports.into_iter().flatten().flat_map(|port| self.processes(Protocol::Tcp, port));
        owners.find(|process| process.name == SERVER).map(|process| process.pid)
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
            io::ErrorKind::PermissionDenied if self.inodes(protocol, port).next().is_some() => {
                Bind::InUse(self.programs(protocol, port))
            }
            io::ErrorKind::PermissionDenied => Bind::Forbidden,
            io::ErrorKind::AddrNotAvailable => Bind::NoAddress(address.ip()),
            _ => Bind::Other(error.to_string()),
        }
    }

    /// The names of the programs that hold the port, without duplicates.
    fn programs(&self, protocol: Protocol, port: u16) -> Vec<String> {
        let mut names: Vec<_> = self.processes(protocol, port).map(|process| process.name.clone()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn processes(&self, protocol: Protocol, port: u16) -> impl Iterator<Item = &Process> {
        self.inodes(protocol, port).filter_map(|inode| self.processes.get(&inode)).flatten()
    }

    fn inodes(&self, protocol: Protocol, port: u16) -> impl Iterator<Item = u64> {
        let matches = move |socket: &&Socket| socket.protocol == protocol && socket.port == port;
        self.sockets.iter().filter(matches).map(|socket| socket.inode)
    }

    /// Adds the process in the folder `/proc/PID` to those of its `inodes`.
    fn add_process(&mut self, folder: &Path, inodes: &HashSet<u64>) {
        let Some(pid) = folder.file_name().and_then(|name| name.to_str()?.parse().ok()) else { return };
        let held: Vec<u64> = fs::read_dir(folder.join("fd"))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| socket_inode(&fs::read_link(entry.path()).ok()?))
            .filter(|inode| inodes.contains(inode))
            .collect();
        if held.is_empty() {
            return;
        }
        let name = fs::read_to_string(folder.join("comm")).unwrap_or_default().trim().to_owned();
        for inode in held {
            self.processes.entry(inode).or_default().push(Process { pid, name: name.clone() });
        }
    }
}

/// `socket:[12345]`.
fn socket_inode(link: &Path) -> Option<u64> {
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The sockets in `state` of a table: `sl local_address rem_address st … inode`; ports are hexadecimal.
fn listening(table: &str, protocol: Protocol, state: &str) -> Vec<Socket> {
    let socket = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (_, port) = fields.get(1)?.split_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        let inode = fields.get(9)?.parse().ok()?;
        (*fields.get(3)? == state).then_some(Socket { protocol, port, inode })
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
    fn a_trial_bind_tells_a_port_in_use_from_a_missing_address() {
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
        let socket = Socket { protocol: Protocol::Tcp, port: 80, inode: 4711 };
        assert_eq!(listening(table, Protocol::Tcp, "0A"), [socket]);
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
