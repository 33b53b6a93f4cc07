//! This host's own addresses: those of its interfaces, those to bind, and those to be found by.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

use crate::config::Listen;
use crate::net::addresses::InterfaceAddress;

/// Of an address, from `linux/if_addr.h`.
const TEMPORARY: u8 = 0x01;
const OPTIMISTIC: u8 = 0x04;
const DUPLICATE: u8 = 0x08;
const DEPRECATED: u8 = 0x20;
const TENTATIVE: u8 = 0x40;

/// Interfaces that containers and virtual machines make; nobody on the network reaches them.
const VIRTUAL: [&str; 5] = ["docker", "br-", "veth", "virbr", "cni"];

/// The addresses of this host's interfaces, as they are now; none where the kernel does not say.
pub fn interfaces() -> Vec<InterfaceAddress> {
    look().unwrap_or_default()
}

/// The same.
///
/// # Errors
/// The kernel does not say.
pub fn look() -> io::Result<Vec<InterfaceAddress>> {
    let found = if_addrs::get_if_addrs()?;
    let flags = ipv6_flags();
    Ok(found.iter().map(|interface| flagged(interface.ip(), &flags)).collect())
}

/// This host's addresses in the local network: IPv4, and IPv6 only where there is no IPv4, since
/// those change by the day (RFC 8981) and each change would mean another certificate to accept. Of
/// several IPv6 addresses only those that last, where there are such.
pub fn lan_addresses() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let flags = ipv6_flags();
    let real = |name: &str| !VIRTUAL.iter().any(|prefix| name.starts_with(prefix));
    let all: Vec<_> = interfaces
        .iter()
        .filter(|interface| real(&interface.name) && !interface.is_loopback() && !interface.is_link_local())
        .map(|interface| flagged(interface.ip(), &flags))
        .filter(|interface| !interface.tentative)
        .collect();
    let of = |fits: &dyn Fn(&InterfaceAddress) -> bool| -> Vec<_> {
        all.iter().filter(|interface| fits(interface)).map(|interface| interface.ip).collect()
    };
    let best = [of(&|it| it.ip.is_ipv4()), of(&|it| !it.deprecated && !it.temporary)];
    best.into_iter().find(|some| !some.is_empty()).unwrap_or_else(|| of(&|_| true))
}

fn flagged(ip: IpAddr, flags: &HashMap<Ipv6Addr, u8>) -> InterfaceAddress {
    let flags = match ip {
        IpAddr::V4(_) => 0,
        IpAddr::V6(ip) => flags.get(&ip).copied().unwrap_or_default(),
    };
    // Optimistic: in use while it is still looked for elsewhere (RFC 4429).
    let looked_for = flags & TENTATIVE != 0 && flags & OPTIMISTIC == 0;
    InterfaceAddress {
        ip,
        tentative: looked_for || flags & DUPLICATE != 0,
        deprecated: flags & DEPRECATED != 0,
        temporary: flags & TEMPORARY != 0,
    }
}

/// What the kernel says of each IPv6 address; nothing where it does not. The list of this process, since
/// systemd's `ProcSubset=pid` hides the one of all.
fn ipv6_flags() -> HashMap<Ipv6Addr, u8> {
    std::fs::read_to_string("/proc/self/net/if_inet6").map(|text| read_flags(&text)).unwrap_or_default()
}

/// Lines of address, index, length of the prefix, scope, flags (hexadecimal) and interface.
fn read_flags(text: &str) -> HashMap<Ipv6Addr, u8> {
    let line = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let ip = u128::from_str_radix(fields.next()?, 16).ok()?;
        let flags = u8::from_str_radix(fields.nth(3)?, 16).ok()?;
        Some((Ipv6Addr::from_bits(ip), flags))
    };
    text.lines().filter_map(line).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_of_an_ipv6_address_are_read_from_the_kernels_list() {
        let text = "\
            00000000000000000000000000000001 01 80 10 80       lo\n\
            2a000000000000000000000000000001 02 40 00 00     eth0\n\
            2a00000000000000000000000000000d 02 40 00 20     eth0\n\
            2a00000000000000000000000000000e 02 40 00 01     eth0\n\
            2a000000000000000000000000000007 02 40 00 40     eth0\n\
            2a000000000000000000000000000008 02 40 00 44     eth0\n\
            2a000000000000000000000000000009 02 40 00 c8     eth0\n\
            what no kernel says\n";
        let flags = read_flags(text);
        let known = |ip: &str| {
            let address = flagged(ip.parse().unwrap(), &flags);
            (address.tentative, address.deprecated, address.temporary)
        };
        assert_eq!(known("2a00::1"), (false, false, false));
        assert_eq!(known("2a00::d"), (false, true, false));
        assert_eq!(known("2a00::e"), (false, false, true));
        assert_eq!(known("2a00::7"), (true, false, false));
        assert_eq!(known("2a00::8"), (false, false, false), "optimistic: it is in use");
        assert_eq!(known("2a00::9"), (true, false, false), "somebody else has it");
        assert_eq!(known("2a00::ffff"), (false, false, false), "nothing is said of it");
        assert_eq!(known("10.0.0.1"), (false, false, false));
        assert_eq!(flags.len(), 7);
    }
}
