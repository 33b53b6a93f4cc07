//! Which programs hold which ports, as far as this user may know: `/proc/net` names sockets, and the
//! descriptors of processes name theirs.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use crate::doctor::judge::ports::{OURS, Protocol};

/// The sockets of this host that wait for strangers, and who holds them.
#[derive(Debug, Default)]
pub(in crate::doctor) struct Holders {
    sockets: Vec<Socket>,
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

/// Each table, whose sockets they are, and the state of one that waits for strangers.
const TABLES: [(&str, Protocol, &str); 4] = [
    ("/proc/net/tcp", Protocol::Tcp, "0A"),
    ("/proc/net/tcp6", Protocol::Tcp, "0A"),
    ("/proc/net/udp", Protocol::Udp, "07"),
    ("/proc/net/udp6", Protocol::Udp, "07"),
];

impl Holders {
    /// As they are now; less where something cannot be read.
    pub(in crate::doctor) fn look() -> Self {
        let table =
            |(file, protocol, state)| sockets(&fs::read_to_string(file).unwrap_or_default(), protocol, state);
        let sockets: Vec<Socket> = TABLES.into_iter().flat_map(table).collect();
        let waiting: HashSet<u64> = sockets.iter().map(|socket| socket.inode).collect();
        let mut holders = Self { sockets, processes: HashMap::new() };
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        processes.for_each(|entry| holders.note(&entry.path(), &waiting));
        holders
    }

    /// Whether somebody, whoever it is, waits at the port.
    pub(in crate::doctor) fn is_taken(&self, protocol: Protocol, port: u16) -> bool {
        self.inodes(protocol, port).next().is_some()
    }

    /// The programs that hold the port, each once; none where this user may not know.
    pub(in crate::doctor) fn programs(&self, protocol: Protocol, port: u16) -> Vec<String> {
        let mut names: Vec<_> = self.at(protocol, port).map(|process| process.name.clone()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The process of a box that holds the port.
    pub(in crate::doctor) fn running_box(&self, protocol: Protocol, port: u16) -> Option<u32> {
        self.at(protocol, port).find(|process| process.name == OURS).map(|process| process.pid)
    }

    fn at(&self, protocol: Protocol, port: u16) -> impl Iterator<Item = &Process> {
        self.inodes(protocol, port).filter_map(|inode| self.processes.get(&inode)).flatten()
    }

    fn inodes(&self, protocol: Protocol, port: u16) -> impl Iterator<Item = u64> {
        let these = self.sockets.iter().filter(move |one| one.protocol == protocol && one.port == port);
        these.map(|socket| socket.inode)
    }

    /// Notes which of the `waiting` sockets the process at `place` holds.
    fn note(&mut self, place: &Path, waiting: &HashSet<u64>) {
        let Some(pid) = place.file_name().and_then(|name| name.to_str()?.parse().ok()) else { return };
        let held: Vec<u64> = fs::read_dir(place.join("fd"))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| inode(&fs::read_link(entry.path()).ok()?))
            .filter(|inode| waiting.contains(inode))
            .collect();
        if held.is_empty() {
            return;
        }
        let name = fs::read_to_string(place.join("comm")).unwrap_or_default().trim().to_owned();
        for inode in held {
            self.processes.entry(inode).or_default().push(Process { pid, name: name.clone() });
        }
    }
}

/// `socket:[12345]`.
fn inode(link: &Path) -> Option<u64> {
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The sockets in `state` of a table: `sl local_address rem_address st … inode`, numbers in hex but the inode.
fn sockets(table: &str, protocol: Protocol, state: &str) -> Vec<Socket> {
    let socket = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let (_, port) = words.get(1)?.split_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        let inode = words.get(9)?.parse().ok()?;
        (*words.get(3)? == state).then_some(Socket { protocol, port, inode })
    };
    table.lines().skip(1).filter_map(socket).collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_table_names_the_sockets_that_wait() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            \x20  0: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1\n\
            \x20  1: 0100007F:0050 0100007F:D2F4 01 00000000:00000000 00:00000000 00000000     0        0 4712 1\n";
        let waiting = Socket { protocol: Protocol::Tcp, port: 80, inode: 4711 };
        assert_eq!(sockets(table, Protocol::Tcp, "0A"), [waiting]);
        assert_eq!(sockets("", Protocol::Tcp, "0A"), []);
    }

    #[test]
    fn a_port_of_our_own_is_found_with_our_name() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let holders = Holders::look();
        assert!(holders.is_taken(Protocol::Tcp, port));
        let name = fs::read_to_string("/proc/self/comm").unwrap();
        assert_eq!(holders.programs(Protocol::Tcp, port), [name.trim()]);
        assert!(!holders.is_taken(Protocol::Udp, port) || !holders.programs(Protocol::Udp, port).is_empty());
    }
}
