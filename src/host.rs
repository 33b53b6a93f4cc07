//! This host's own addresses: those of its interfaces, those to bind, and those to be found by.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

use crate::config::Listen;

/// Interfaces that containers and virtual machines make; nobody on the network reaches them.
const VIRTUAL: [&str; 5] = ["docker", "br-", "veth", "virbr", "cni"];

/// The addresses of this host's interfaces, as they are now; none where the kernel does not say.
pub fn interfaces() -> Vec<IpAddr> {
    if_addrs::get_if_addrs()
        .map_or_else(|_| Vec::new(), |found| found.iter().map(if_addrs::Interface::ip).collect())
}

/// This host's addresses in the local network: IPv4, and IPv6 only where there is no IPv4, since
/// those change by the day (RFC 8981) and each change would mean another certificate to accept.
pub fn lan_addresses() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let real = |name: &str| !VIRTUAL.iter().any(|prefix| name.starts_with(prefix));
    let all: Vec<_> = interfaces
        .iter()
        .filter(|interface| real(&interface.name) && !interface.is_loopback() && !interface.is_link_local())
        .map(if_addrs::Interface::ip)
        .collect();
    let v4: Vec<_> = all.iter().copied().filter(IpAddr::is_ipv4).collect();
    if v4.is_empty() { all } else { v4 }
}

/// Both families on one socket, unless addresses are named or the host has no IPv6.
pub fn sockets(listen: &Listen, port: u16) -> Vec<SocketAddr> {
    let addresses = match listen {
        Listen::These(addresses) => addresses.clone(),
        Listen::Any if has_ipv6() => vec![IpAddr::V6(Ipv6Addr::UNSPECIFIED)],
        Listen::Any => vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
    };
    addresses.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()
}

fn has_ipv6() -> bool {
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP));
    socket.is_ok_and(|socket| socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into()).is_ok())
}
